"""What goes wrong, and by how much: hidden limbs, odd cameras, flips, crowds, guesses, short clips.

    python benchmarks/limits.py CACHE --motions MOTIONS.npz [--only NAME ...] [--pictures FOLDER]

Prints the tables of docs/limits.md. Rendered people are drawn and detected once and then kept in
the folder CACHE, which should be this benchmark's own. Errors are in millimetres, of the twelve
limb joints about the mid-hips, the height and the lens told unless a table is about them; "shape"
is what is left after the best turn, shift and scale of each pose. "Virtual views" are MOTIONS seen
by virtual cameras, with the measured errors of the detector added to the exact 2D.
"""

from __future__ import annotations

import argparse
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from detector_noise import draw_motion, load_motions
from lithepose.anthropometry import ANKLE_HEIGHT
from lithepose.arrays import Floats
from lithepose.cameras import Camera, look_at
from lithepose.detect import create_detector
from lithepose.lifters.default import default_lifter
from lithepose.metrics.pose3d import p_mpjpe
from lithepose.mocap.motions import Motions, read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.pipeline import lift_track, track_from_arrays
from lithepose.pipeline.lift import MOST_PEOPLE
from lithepose.poses import Detections, Track2D, Track3D
from lithepose.skeletons import LIMB_JOINTS
from lithepose.synthetic.appearance import random_appearance
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.movements import motion
from lithepose.synthetic.posing import rebone
from lithepose.synthetic.scenes import Box, Clip, Scene, random_scene
from lithepose.track import build_tracks, join_tracks
from lithepose.view import draw_still
from lithepose.world import WorldOptions, solve_world
from world import Filmed, film

LIMBS = list(LIMB_JOINTS)
FPS = 25.0
FILMED = 20  # clips made as in benchmarks/world.py
FILMED_S = 5.0
SIZE = (960, 540)
FOCAL_PX = 0.78 * SIZE[0]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What the measurements share."""

    cache: Path
    motions: Motions
    recorded: list[tuple[Floats, float]]
    pictures: Path | None

    @cached_property
    def lifter(self):
        return default_lifter()

    @cached_property
    def filmed(self) -> list[Filmed]:
        """People who walk, turn, squat, wave and move as recorded."""
        return [film(i, self.recorded, FILMED_S, self.cache) for i in range(FILMED)]

    def clip_of(self, index: int) -> tuple[Floats, float]:
        """Joints (T, 17, 3) of a recorded clip at 25 frames/s, and the stature."""
        start, end = self.motions.start[index : index + 2]
        step = round(self.motions.fps / FPS)
        joints = self.motions.positions[start:end:step].astype(float)
        return joints, float(self.motions.height[index])

    def lift(self, filmed: Filmed, *, height: bool = True, lens: bool = True) -> Track3D:
        return lift_track(
            filmed.track,
            self.lifter,
            height_m=filmed.stature if height else None,
            focal_px=filmed.camera.focal_px[0] if lens else None,
        )


# --- errors ----------------------------------------------------------------------------------


def about_hips(joints: Floats) -> Floats:
    """(T, 12, 3) limb joints relative to the middle of the hips."""
    joints = joints.astype(float)
    return (joints - (joints[:, [1]] + joints[:, [4]]) / 2)[:, LIMBS]


def limb_errors(lifted: Floats, true: Floats) -> Floats:
    """(T, 12) mm; nan in frames without a person."""
    return 1000 * np.linalg.norm(about_hips(lifted) - about_hips(true), axis=-1)


def shape_errors(lifted: Floats, true: Floats) -> Floats:
    """(T,) mm, after the best rotation, shift and scale of each pose."""
    found = np.isfinite(lifted).all((1, 2))
    errors = np.full(len(lifted), np.nan)
    errors[found] = 1000 * p_mpjpe(about_hips(lifted[found]), about_hips(true[found]))
    return errors


def tilt_error(lifted: Track3D, camera: Camera) -> float:
    """Degrees between the vertical that was found and the true one."""
    assert lifted.world is not None
    up = (0.0, 0.0, 1.0)
    cosine = (lifted.world.camera_rotation @ up) @ (camera.rotation @ up)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def share_found(lifted: Track3D) -> float:
    return float(np.isfinite(lifted.joints_camera).all((1, 2)).mean())


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    def text(value: object) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    print(f"\n{title}\n")
    print("| " + " | ".join(header) + " |")
    print("| --- |" + " ---: |" * (len(header) - 1))
    for row in rows:
        print("| " + " | ".join(map(text, row)) + " |", flush=True)


# --- people ----------------------------------------------------------------------------------


def seen_by(
    name: str, joints: Floats, height: float, camera: Camera, *, pan_deg_s: float = 0.0
) -> Filmed:
    """A recorded motion as a virtual camera sees it, with the detector's errors.

    A camera that pans turns to its right about the picture's vertical, from where it is said to be.
    """
    local = camera.world_to_camera(joints)
    angle = np.radians(pan_deg_s) * np.arange(len(joints)) / FPS
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y, z = np.moveaxis(local, -1, 0)
    local = np.stack([cosine * x - sine * z, y, sine * x + cosine * z], axis=-1)
    centre, focal = np.array(camera.centre_px), camera.focal_px[0]
    rays = (local[..., :2] / local[..., 2:])[None].astype(np.float32)
    noise = replace(DetectorNoise.measured(), strength=(1.0, 1.0))
    random = np.random.default_rng([8, zlib.crc32(name.encode())])
    seen, sure = noise(rays, local[None].astype(np.float32), np.array([FPS]), random)
    track = track_from_arrays(
        seen[0].astype(float) * focal + centre,
        image_size=camera.image_size,
        fps=FPS,
        skeleton="h36m17",
        confidence=sure[0].astype(float),
    )
    return Filmed(
        kind=name,
        track=track,
        joints_world=joints,
        camera=camera,
        stature=height,
        ankle_height=ANKLE_HEIGHT * height,
    )


def camera_around(
    joints: Floats, pitch_deg: float, azimuth_deg: float, *, distance_m: float = 4.0
) -> Camera:
    """A phone that looks at the middle of a motion, `distance_m` from its nearest moment."""
    root = joints[:, 0]
    middle = (root.min(0) + root.max(0)) / 2
    pitch, azimuth = np.radians([pitch_deg, azimuth_deg])
    towards = np.array(
        [np.cos(azimuth) * np.cos(pitch), np.sin(azimuth) * np.cos(pitch), -np.sin(pitch)]
    )
    reach = float(((root - middle) @ towards).max())
    position = middle + (distance_m + reach) * towards
    size, focal = (1920, 1080), 0.78 * 1920
    return Camera(
        focal_px=(focal, focal),
        centre_px=(size[0] / 2, size[1] / 2),
        image_size=size,
        rotation=look_at(position, middle, 0.0),
        position=position,
    )


def detect(setup: Setup, name: str, clip: Clip, people: int | str = "one") -> list[Detections]:
    """What the detector sees in every frame of a clip; kept in the cache."""
    path = setup.cache / f"limits-{name}.npz"
    if not path.exists():
        detector = create_detector("blazepose", people=people)
        found = [detector.detect(frame, i / clip.fps) for i, frame in enumerate(clip)]
        setup.cache.mkdir(parents=True, exist_ok=True)
        np.savez(
            path,
            count=[len(each) for each in found],
            keypoints=np.concatenate([each.keypoints for each in found]),
            confidence=np.concatenate([each.confidence for each in found]),
            score=np.concatenate([each.score for each in found]),
        )
    with np.load(path) as kept:
        ends = np.cumsum(kept["count"])[:-1]
        parts = [np.split(kept[key], ends) for key in ("keypoints", "confidence", "score")]
    return [
        Detections(keypoints=points, confidence=sure, score=score, skeleton="blazepose33")
        for points, sure, score in zip(*parts, strict=True)
    ]


def tracks_of(found: list[Detections], clip: Clip) -> list[Track2D]:
    return build_tracks(
        found,
        time_s=np.arange(len(found)) / clip.fps,
        image_size=clip.scene.camera.image_size,
        fps=clip.fps,
    )


def filmed_clip(setup: Setup, name: str, clip: Clip) -> Filmed | None:
    """The one person of a clip as the command would follow them; None if nobody was found."""
    tracks = join_tracks(tracks_of(detect(setup, name, clip), clip))
    if not tracks:
        return None
    figure, joints = clip.people[0]
    return Filmed(
        kind=name,
        track=max(tracks, key=lambda each: np.isfinite(each.keypoints).sum()),
        joints_world=joints,
        camera=clip.scene.camera,
        stature=figure.body.stature,
        ankle_height=figure.body.ankle_height,
    )


def centred(joints: Floats) -> Floats:
    middle = (joints[:, 0].min(0) + joints[:, 0].max(0)) / 2
    return joints - middle * (1, 1, 0)


def keep_picture(setup: Setup, name: str, clip: Clip, lifted: Track3D, index: int) -> None:
    """The picture of one frame beside its 3D, for the page."""
    if setup.pictures is None:
        return
    still = draw_still(clip.frame(index), lifted, index, max_lines=480)
    setup.pictures.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 84]
    coded = cv2.imencode(".jpg", np.ascontiguousarray(still[..., ::-1]), quality)[1]
    (setup.pictures / f"{name}.jpg").write_bytes(coded.tobytes())


# --- the limits ------------------------------------------------------------------------------


def hidden(setup: Setup) -> None:
    """Joints behind the own body, and legs behind a table or below the picture."""
    errors, seen = [], []
    for number, filmed in enumerate(setup.filmed):
        path = setup.cache / f"limits-visible-{number}.npy"
        every = slice(None, None, 5)
        if not path.exists():
            # The same body as in the clip; another look, which hides the same joints.
            body = random_body(np.random.default_rng([2026, number]))
            figure = build_figure(body, random_appearance(np.random.default_rng(number)))
            width, height = filmed.camera.image_size
            blank = np.zeros((height, width, 3), np.uint8)
            scene = Scene(
                camera=filmed.camera,
                background=blank,
                floor=np.zeros((height, width), bool),
                light=np.array([0.0, 0.0, 1.0]),
            )
            clip = Clip([(figure, filmed.joints_world[every])], scene, FPS)
            np.save(path, clip.truth().visible)
        lifted = setup.lift(filmed).joints_camera[every]
        true = filmed.camera.world_to_camera(filmed.joints_world[every])
        errors.append(limb_errors(lifted, true))
        seen.append(np.load(path)[:, LIMBS])
    every, visible = np.concatenate(errors), np.concatenate(seen)
    found = np.isfinite(every)
    rows = []
    parts = {
        "all twelve": range(12),
        "elbows": (7, 10),
        "wrists": (8, 11),
        "knees": (1, 4),
        "ankles": (2, 5),
    }
    for part, columns in parts.items():
        of, at = every[:, columns], visible[:, columns]
        ok = found[:, columns]
        rows.append(
            (
                part,
                f"{np.mean(~at[ok]):.0%}",
                float(np.median(of[ok & at])),
                float(np.median(of[ok & ~at])),
                float(np.percentile(of[ok & ~at], 90)),
            )
        )
    print_table(
        "Joints that are hidden in single frames (rendered people)",
        ("joints", "hidden", "seen: median, mm", "hidden: median", "hidden: 90 %"),
        rows,
    )

    rows = []
    cases = ("whole body in view", "legs behind a table", "picture ends at the hips")
    for case, title in enumerate(cases):
        arms, legs, shape, sure = [], [], [], []
        for number, name in enumerate(("wave", "squat", "walk")):
            rng = np.random.default_rng([31, number])
            body = random_body(rng)
            joints = centred(motion(name, 1.6, FPS, body, rng))
            if name == "walk":
                joints = joints - joints[:, :1] * (1, 1, 0)  # on the spot, behind the table
            look = random_appearance(rng)
            position, target = np.array([0.8, 3.6, 1.5]), np.array([0.0, 0.0, 0.9])
            if case == 2:
                position, target = np.array([0.5, 2.3, 1.5]), np.array([0.0, 0.0, 1.45])
            camera = Camera.looking_from(position, target, focal_px=FOCAL_PX, image_size=SIZE)
            scene = random_scene(camera, np.random.default_rng([32, number]), outdoors=False)
            if case == 1:
                table = Box(centre=(0.15, 0.75), size=(1.7, 0.5, 0.85), colour=(0.55, 0.4, 0.27))
                scene = replace(scene, boxes=(table,))
            clip = Clip([(build_figure(body, look), joints)], scene, FPS, seed=number)
            filmed = filmed_clip(setup, f"hidden-{case}-{name}", clip)
            if filmed is None:
                continue
            lifted = setup.lift(filmed)
            off = limb_errors(lifted.joints_camera, camera.world_to_camera(joints))
            arms.append(off[:, 6:])
            legs.append(off[:, [1, 2, 4, 5]])
            shape.append(shape_errors(lifted.joints_camera, camera.world_to_camera(joints)))
            sure.append(np.asarray(lifted.confidence_3d)[:, [2, 3, 5, 6]])
            if case == 1 and name == "squat":
                keep_picture(setup, "limits_hidden", clip, lifted, 22)
        rows.append(
            (
                title,
                float(np.nanmean(np.concatenate(arms))),
                float(np.nanmean(np.concatenate(legs))),
                float(np.nanmean(np.concatenate(shape))),
                float(np.nanmean(np.concatenate(sure))),
            )
        )
    print_table(
        "Hidden or cut off for the whole clip (rendered people; mean errors)",
        ("", "arms, mm", "knees and ankles", "shape", "confidence_3d of knees and ankles"),
        rows,
    )


def pitch(setup: Setup) -> None:
    """Cameras that look down steeply."""
    rows = []
    for pitch_deg in (-5.0, -15.0, -30.0, -45.0, -60.0):
        errors, shapes, tilts, floors = [], [], [], []
        for index in range(0, len(setup.motions), 2):
            joints, height = setup.clip_of(index)
            joints = joints[:100]
            camera = camera_around(joints, pitch_deg, 77.0 * index)
            filmed = seen_by(f"pitch {index}", joints, height, camera)
            lifted = solve_world([setup.lift(filmed)])[0]
            true = camera.world_to_camera(joints)
            errors.append(np.nanmean(limb_errors(lifted.joints_camera, true)))
            shapes.append(np.nanmean(shape_errors(lifted.joints_camera, true)))
            tilts.append(tilt_error(lifted, camera))
            assert lifted.world is not None
            floors.append(abs(lifted.world.camera_position[2] - camera.position[2]))
        rows.append(
            (
                f"{pitch_deg:.0f}°",
                float(np.mean(errors)),
                float(np.mean(shapes)),
                float(np.median(tilts)),
                float(np.percentile(tilts, 90)),
                100 * float(np.median(floors)),
            )
        )
    print_table(
        "Cameras that look down (virtual views, 16 clips of up to 4 s, at 4 m)",
        ("pitch", "MPJPE, mm", "shape", "vertical: median, °", "90 %", "camera height, cm"),
        rows,
    )


BINS = ((0, 30), (30, 60), (60, 120), (120, 181))
FLIPS = ("49_06", "49_07", "49_08")


def flips(setup: Setup) -> None:
    """People who bend over, lie, do cartwheels."""

    def tilt(joints: Floats) -> Floats:
        trunk = joints[:, 8] - joints[:, 0]
        return np.degrees(np.arccos(trunk[:, 2] / np.linalg.norm(trunk, axis=-1)))

    every: list[list[Floats]] = [[], [], []]  # tilts, MPJPE, shape of virtual views
    for index in range(len(setup.motions)):
        joints, height = setup.clip_of(index)
        flip = str(setup.motions.clip[index]) in FLIPS
        for turn in range(8 if flip else 1):
            part = joints if flip else joints[:100]
            camera = camera_around(part, -8.0, 77.0 * index + 45.0 * turn)
            filmed = seen_by(f"flips {index} {turn}", part, height, camera)
            lifted = setup.lift(filmed).joints_camera
            true = camera.world_to_camera(part)
            every[0].append(tilt(part))
            every[1].append(limb_errors(lifted, true).mean(-1))
            every[2].append(shape_errors(lifted, true))

    drawn: list[list[Floats]] = [[], [], []]
    for name in FLIPS:
        index = int(np.flatnonzero(setup.motions.clip == name)[0])
        joints, _ = setup.clip_of(index)
        rng = np.random.default_rng([33, index])
        body = random_body(rng)
        joints = centred(rebone(joints, body))
        lowest = float(np.percentile(joints[:, [3, 6], 2].min(1), 3))
        joints = joints + (0, 0, body.ankle_height - lowest)
        reach = float(np.abs(joints[..., :2]).max())
        camera = Camera.looking_from(
            (0.5, -max(4.5, 1.9 * reach), 1.4), (0, 0, 0.9), focal_px=FOCAL_PX, image_size=SIZE
        )
        clip = Clip(
            [(build_figure(body, random_appearance(rng)), joints)],
            random_scene(camera, rng, outdoors=False),
            FPS,
            seed=index,
        )
        filmed = filmed_clip(setup, f"flips-{name}", clip)
        assert filmed is not None
        lifted = setup.lift(filmed)
        true = camera.world_to_camera(joints)
        drawn[0].append(tilt(joints))
        drawn[1].append(limb_errors(lifted.joints_camera, true).mean(-1))
        drawn[2].append(shape_errors(lifted.joints_camera, true))
        if name == FLIPS[0]:
            keep_picture(setup, "limits_flip", clip, lifted, int(np.argmax(drawn[0][-1])))
    rows = []
    virtual, rendered = (
        [np.concatenate(column) for column in columns] for columns in (every, drawn)
    )
    for low, high in BINS:
        name = f"{low} to {high}°" if high < 180 else f"over {low}° (upside down)"
        row: list[object] = [name]
        for tilts, errors, shapes in (virtual, rendered):
            here = (tilts >= low) & (tilts < high)
            row += [
                int(here.sum()),
                f"{np.isfinite(errors[here]).mean():.0%}",
                float(np.nanmean(errors[here])),
                float(np.nanmean(shapes[here])),
            ]
        rows.append(row)
    header = ("frames", "found", "MPJPE, mm", "shape")
    print_table(
        "Tilt of the trunk against the vertical (virtual views; then rendered cartwheels)",
        ("tilt", *header, *header),
        rows,
    )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two people in one clip: what became of them."""

    found: float  # share of frames and people
    swaps: int
    spare: int  # tracks beyond two
    errors: Floats


def watch_pair(setup: Setup, name: str, clip: Clip) -> Pair:
    """Follow both people of a clip and lift every track."""
    tracks = tracks_of(detect(setup, name, clip, MOST_PEOPLE), clip)
    truth = [clip.truth(person, visibility=False) for person in range(2)]
    size = [np.ptp(each.keypoints, axis=1).max(-1) for each in truth]  # (T,)
    taken = np.zeros((2, len(clip)), bool)
    swaps, errors = 0, []
    for track in tracks:
        lifted = setup.lift(
            Filmed(
                kind=name,
                track=track,
                joints_world=clip.people[0][1],
                camera=clip.scene.camera,
                stature=clip.people[0][0].body.stature,
                ankle_height=0.08,
            )
        )
        points = lifted.keypoints_2d[:, LIMBS].astype(float)
        away = np.stack(
            [
                np.linalg.norm(points - each.keypoints[:, LIMBS], axis=-1).mean(-1) / wide
                for each, wide in zip(truth, size, strict=True)
            ]
        )  # (2, T)
        here = np.isfinite(away).all(0)
        whose = np.where(away[0] <= away[1], 0, 1)
        near = here & (away.min(0) < 0.2)
        course = whose[near]
        swaps += int((np.diff(course) != 0).sum())
        for person in range(2):
            mine = near & (whose == person)
            taken[person] |= mine
            if mine.any():
                off = limb_errors(lifted.joints_camera[mine], truth[person].joints_camera[mine])
                errors.append(off.mean(-1))
    return Pair(
        found=float(taken.mean()),
        swaps=swaps,
        spare=max(0, len(tracks) - 2),
        errors=np.concatenate(errors) if errors else np.zeros(0),
    )


def pairs(setup: Setup) -> None:
    """Two people side by side, and two who pass each other."""
    rows = []
    for title, apart in (
        ("1.5 m apart", 1.5),
        ("0.8 m apart", 0.8),
        ("0.4 m apart (touching)", 0.4),
        ("walking past each other", None),
    ):
        made = []
        for number, names in enumerate((("wave", "squat"), ("reach", "turn"), ("walk", "walk"))):
            rng = np.random.default_rng([34, number])
            people = []
            for side, name in zip((-1, 1), names, strict=True):
                body = random_body(rng)
                joints = centred(motion("walk" if apart is None else name, 1.8, FPS, body, rng))
                if apart is None:
                    joints = joints * (side, side, 1) + (0.45 * side, 0, 0)
                else:
                    joints = joints + (side * apart / 2, 0, 0)
                people.append((build_figure(body, random_appearance(rng)), joints))
            position = (0.4, 4.6, 1.4) if apart is not None else (5.2, 0.6, 1.4)
            camera = Camera.looking_from(position, (0, 0, 0.9), focal_px=FOCAL_PX, image_size=SIZE)
            scene = random_scene(camera, np.random.default_rng([35, number]))
            clip = Clip(people, scene, FPS, seed=number)
            name = f"pairs-{'past' if apart is None else apart}-{number}"
            made.append(watch_pair(setup, name, clip))
        errors = np.concatenate([each.errors for each in made])
        rows.append(
            (
                title,
                f"{np.mean([each.found for each in made]):.0%}",
                sum(each.swaps for each in made),
                sum(each.spare for each in made),
                float(np.nanmedian(errors)),
                float(np.nanpercentile(errors, 90)),
            )
        )
    print_table(
        "Two people (three clips of 1.8 s each)",
        ("", "found", "swaps of identity", "spare tracks", "MPJPE: median, mm", "90 %"),
        rows,
    )


def distance_ratio(lifted: Track3D, filmed: Filmed) -> float:
    """Median distance from the camera over the true one."""
    true = np.linalg.norm(filmed.camera.world_to_camera(filmed.joints_world)[:, 0], axis=-1)
    found = np.linalg.norm(lifted.joints_camera[:, 0].astype(float), axis=-1)
    return float(np.nanmedian(found / true))


def guesses(setup: Setup) -> None:
    """Height and lens unknown."""
    cases = {
        "both told": (True, True),
        "height unknown": (False, True),
        "lens unknown": (True, False),
        "both unknown": (False, False),
    }
    rows, kept = [], {}
    for case, (height, lens) in cases.items():
        found = []
        for filmed in setup.filmed:
            lifted = solve_world([setup.lift(filmed, height=height, lens=lens)])[0]
            assert lifted.world is not None
            local = filmed.camera.world_to_camera(filmed.joints_world)
            own = lifted.world.points[:, 0].astype(float)
            seen = np.flatnonzero(np.isfinite(own).all(-1))
            ends = [seen[0], seen[-1]]
            way = np.linalg.norm(np.diff(own[ends, :2], axis=0))
            true_way = np.linalg.norm(np.diff(filmed.joints_world[ends, 0, :2], axis=0))
            legs = (2, 3, 5, 6)
            size = bone_sum(lifted.joints_camera.astype(float), legs) / bone_sum(local, legs)
            found.append(
                (
                    np.nanmean(limb_errors(lifted.joints_camera, local)),
                    np.nanmean(shape_errors(lifted.joints_camera, local)),
                    size,
                    distance_ratio(lifted, filmed),
                    way / true_way if true_way > 1 else np.nan,
                    tilt_error(lifted, filmed.camera),
                )
            )
        table = np.array(found)
        kept[case] = table
        off = np.abs(table[:, 2:5] - 1)
        rows.append(
            (
                case,
                float(table[:, 0].mean()),
                float(table[:, 1].mean()),
                *(f"{np.nanmedian(off[:, i]):.1%}, {np.nanmax(off[:, i]):.0%}" for i in range(3)),
                float(np.median(table[:, 5])),
            )
        )
    print_table(
        f"Height and lens ({FILMED} rendered clips; size, distance, way: median, worst)",
        ("", "MPJPE, mm", "shape", "size off", "distance off", "way walked off", "vertical, °"),
        rows,
    )
    stature = np.array([each.stature for each in setup.filmed])
    assumed = 1.71 / stature
    lens = np.array([max(f.camera.image_size) / f.camera.focal_px[0] for f in setup.filmed])
    size = kept["height unknown"][:, 2] / kept["both told"][:, 2]
    far = kept["height unknown"][:, 3] / kept["both told"][:, 3]
    wide = kept["lens unknown"][:, 3] / kept["both told"][:, 3]
    print(
        f"\nstature {stature.min():.2f} to {stature.max():.2f} m; size over the told one against "
        f"1.71 m over the stature: off by at most {np.abs(size / assumed - 1).max():.1%}, "
        f"distance {np.abs(far / assumed - 1).max():.1%}. Guessed over true focal length "
        f"{lens.min():.2f} to {lens.max():.2f}: distance against it off by "
        f"{np.median(np.abs(wide / lens - 1)):.1%} (median), "
        f"{np.abs(wide / lens - 1).max():.1%} (most)"
    )


def bone_sum(joints: Floats, ends: Sequence[int]) -> float:
    """Length in metres of thighs and shins together."""
    starts = [end - 1 for end in ends]
    return float(np.nanmedian(np.linalg.norm(joints[:, ends] - joints[:, starts], axis=-1).sum(-1)))


def far(setup: Setup) -> None:
    """People who are small in the picture."""
    rows = []
    for pixels in (400, 200, 150, 100, 60):
        found, errors, shapes, ratios = [], [], [], []
        for number, name in enumerate(("wave", "recorded", "squat")):
            rng = np.random.default_rng([36, number])
            body = random_body(rng)
            if name == "recorded":
                joints = draw_motion(setup.recorded, body, FPS, 1.4, rng)
            else:
                joints = centred(motion(name, 1.4, FPS, body, rng))
            distance = FOCAL_PX * body.stature / pixels
            camera = Camera.looking_from(
                (0.3 * distance, 0.95 * distance, 1.5),
                (0, 0, 0.9),
                focal_px=FOCAL_PX,
                image_size=SIZE,
            )
            scene = random_scene(camera, np.random.default_rng([37, number]))
            figure = build_figure(body, random_appearance(rng))
            clip = Clip([(figure, joints)], scene, FPS, seed=number)
            filmed = filmed_clip(setup, f"far-{pixels}-{name}", clip)
            if filmed is None:
                found.append(0.0)
                continue
            lifted = setup.lift(filmed)
            true = camera.world_to_camera(joints)
            found.append(share_found(lifted))
            errors.append(limb_errors(lifted.joints_camera, true).mean(-1))
            shapes.append(shape_errors(lifted.joints_camera, true))
            ratios.append(abs(distance_ratio(lifted, filmed) - 1))
        if errors:
            numbers: list[object] = [
                float(np.nanmean(np.concatenate(errors))),
                float(np.nanmean(np.concatenate(shapes))),
                f"{np.mean(ratios):.1%}",
            ]
        else:
            numbers = ["", "", ""]
        rows.append((f"{pixels} px", f"{np.mean(found):.0%}", *numbers))
    print_table(
        f"Height of the person in a picture of {SIZE[0]} x {SIZE[1]} (three rendered clips each)",
        ("height", "found", "MPJPE, mm", "shape", "distance off"),
        rows,
    )


def short(setup: Setup) -> None:
    """Clips of few frames, against the same frames of whole clips."""
    lengths = (1, 3, 10, 30)
    rows = []
    cases = []
    for index in range(len(setup.motions)):
        joints, height = setup.clip_of(index)
        if len(joints) >= 60:
            joints = joints[:125]
            camera = camera_around(joints, -6.0, 77.0 * index)
            filmed = seen_by(f"short {index}", joints, height, camera)
            cases.append((filmed, solve_world([setup.lift(filmed)])[0]))
    for length in lengths:
        found = []
        for filmed, whole in cases:
            start = len(filmed.joints_world) // 2
            cut = slice(start, start + length)
            true = filmed.camera.world_to_camera(filmed.joints_world[cut])
            lifted = solve_world([setup.lift(replace(filmed, track=cut_out(filmed.track, cut)))])[0]
            found.append(
                (
                    np.nanmean(limb_errors(lifted.joints_camera, true)),
                    np.nanmean(limb_errors(whole.joints_camera[cut], true)),
                    np.nanmean(shape_errors(lifted.joints_camera, true)),
                    np.nanmean(shape_errors(whole.joints_camera[cut], true)),
                    tilt_error(lifted, filmed.camera),
                    tilt_error(whole, filmed.camera),
                )
            )
        table = np.array(found)
        rows.append(
            (
                f"{length}",
                *(float(value) for value in table[:, :4].mean(0)),
                *(float(value) for value in np.median(table[:, 4:], axis=0)),
            )
        )
    print_table(
        f"Clips of few frames; the same frames in clips of 60 to 125 frames ({len(cases)} virtual "
        "views, 25 frames/s)",
        ("frames", "MPJPE, mm", "in the whole", "shape", "in the whole", "vertical, °", "whole"),
        rows,
    )


def cut_out(track: Track2D, cut: slice) -> Track2D:
    return replace(
        track,
        keypoints=track.keypoints[cut],
        confidence=track.confidence[cut],
        time_s=track.time_s[cut] - track.time_s[cut][0],
    )


def levels(setup: Setup) -> None:
    """People on something that is not the floor."""
    source, height = setup.clip_of(int(np.flatnonzero(setup.motions.clip == "131_02")[0]))
    source = source[:175]
    before_end = (len(source) - 1 - np.arange(len(source))) / FPS
    rows = []
    for title, stage_m, down_s in (
        ("on the floor", 0.0, 7.0),
        ("on a stage of 0.5 m", 0.5, 0.0),
        ("jumps off the stage, 0.1 s on the floor", 0.5, 0.1),
        ("jumps off the stage, 0.5 s on the floor", 0.5, 0.5),
        ("jumps off the stage, 3 s on the floor", 0.5, 3.0),
        ("the same, pitch and roll told", 0.5, 3.0),
    ):
        # Down within 0.3 s, faster and faster.
        fallen = np.clip((down_s + 0.3 - before_end) / 0.3, 0, 1) ** 2
        joints = source + ((1 - fallen) * stage_m)[:, None, None] * (0, 0, 1)
        offs, tilts = [], []
        for turn in range(6):
            camera = camera_around(joints, -6.0, 60.0 * turn + 20)
            filmed = seen_by(f"levels {turn}", joints, height, camera)
            known = WorldOptions(pitch_deg=-6.0, roll_deg=0.0)
            options = known if title.endswith("told") else WorldOptions()
            lifted = solve_world([setup.lift(filmed)], options)[0]
            assert lifted.world is not None
            offs.append(100 * (lifted.world.points[:, 0, 2] - joints[:, 0, 2]))
            tilts.append(tilt_error(lifted, camera))
        off = np.concatenate(offs)
        down = np.tile(fallen >= 1, 6)
        row: list[object] = [title]
        for here in (~down, down):
            row.append(f"{np.nanmedian(off[here]):+.0f}" if stage_m and here.any() else "")
        if not stage_m:
            row[2] = f"{np.nanmedian(off):+.0f}"
        rows.append([*row, round(float(np.median(tilts)), 1)])
    print_table(
        "Height of the hips over the floor, error in cm (one walker, 7 s, six virtual views)",
        ("", "while up: median", "while down: median", "vertical, °"),
        rows,
    )


def moving(setup: Setup) -> None:
    """A camera that pans, taken as still."""
    source, height = setup.clip_of(int(np.flatnonzero(setup.motions.clip == "131_01")[0]))
    rows = []
    for pan_deg_s in (0.0, 1.0, 3.0):
        errors, paths, ways = [], [], []
        for turn in range(6):
            camera = camera_around(source, -6.0, 60.0 * turn + 20)
            filmed = seen_by(f"moving {turn}", source, height, camera, pan_deg_s=pan_deg_s)
            lifted = solve_world([setup.lift(filmed)])[0]
            true = camera.world_to_camera(source)
            errors.append(np.nanmean(shape_errors(lifted.joints_camera, true)))
            # Both worlds begin under the camera: y ahead, so that only the heading is to be turned.
            right, ahead = camera.rotation[0], camera.rotation[2] * (1, 1, 0)
            level = np.stack([right * (1, 1, 0), ahead / np.linalg.norm(ahead)])
            way = (source[:, 0] - camera.position) @ level.T
            assert lifted.world is not None
            found = lifted.world.points[:, 0, :2].astype(float)
            paths.append(np.linalg.norm(found - way, axis=-1))
            ends = np.linalg.norm(found[-1] - found[0]), np.linalg.norm(way[-1] - way[0])
            ways.append(abs(ends[0] / ends[1] - 1))
        rows.append(
            (
                f"{pan_deg_s:.0f}°/s",
                float(np.mean(errors)),
                100 * float(np.nanmean(paths)),
                100 * float(np.nanmean([path[-1] for path in paths])),
                f"{np.mean(ways):.0%}",
            )
        )
    print_table(
        f"A panning camera taken as still (one walker, {len(source) / FPS:.0f} s, six views)",
        ("pan", "shape, mm", "hips' place: mean, cm", "at the end, cm", "start to end off"),
        rows,
    )


LIMITS = {
    "hidden": hidden,
    "pitch": pitch,
    "flips": flips,
    "pairs": pairs,
    "guesses": guesses,
    "far": far,
    "short": short,
    "levels": levels,
    "moving": moving,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what goes wrong, and by how much.")
    parser.add_argument("cache", type=Path, help="folder for drawn and detected clips")
    parser.add_argument("--motions", type=Path, required=True, help="npz of joints")
    parser.add_argument("--only", nargs="+", choices=sorted(LIMITS), default=list(LIMITS))
    parser.add_argument("--pictures", type=Path, help="folder for the pictures of the page")
    arguments = parser.parse_args()
    setup = Setup(
        cache=arguments.cache,
        motions=read_motions(arguments.motions),
        recorded=load_motions(arguments.motions),
        pictures=arguments.pictures,
    )
    for name in arguments.only:
        start = time.monotonic()
        LIMITS[name](setup)
        print(f"\n({name}: {time.monotonic() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
