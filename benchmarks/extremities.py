"""How well head, hands and feet are found on rendered people whose turns are known exactly.

    python benchmarks/extremities.py --motions MOTIONS.npz [--clips 24] [--keep FOLDER]

Renders clips of people who also turn their wrists and ankles, detects and lifts them as the command
does, and compares the turns of head, hands and feet, and the 31 points, with the truth: from joints
alone, from BlazePose's own 3D alone, and as `with_extremities` joins them. `--keep` stores what was
detected and lifted, so that a second run measures without rendering.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detector_noise import draw_camera, draw_motion, load_motions
from lithepose.anthropometry import BLAZEPOSE_WORLD
from lithepose.arrays import Floats
from lithepose.detect import create_detector
from lithepose.lifters.default import default_lifter
from lithepose.pipeline import lift_track
from lithepose.rotations import from_rotation_vectors, transpose
from lithepose.skeletons import SKELETONS, convert
from lithepose.synthetic.appearance import random_appearance
from lithepose.synthetic.bodies import BONES, Body, random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.posing import bone_rotations
from lithepose.synthetic.scenes import Clip, random_scene
from lithepose.track import build_tracks, fill_gaps, join_tracks, repair_left_right, select_people
from lithepose.world import extremities

POINTS = SKELETONS["lithepose31"].joints
PARTS = ("head", "left_hand", "right_hand", "left_foot", "right_foot")
PART_BONES = [BONES.index(name) for name in ("head", "l_hand", "r_hand", "l_foot", "r_foot")]
FPS = 30.0

# Where a figure carries the points, metres on a person of 1.71 m: right, forward, up of the base of
# the skull, of the wrist (arm hanging) and of the ankle; of the right side.
HEAD = {"eye": (0.032, 0.072, 0.066), "ear": (0.084, -0.012, 0.048)}
HAND = {"index": (0.0, 0.027, -0.085), "pinky": (0.0, -0.028, -0.085)}
FOOT = {
    "heel": (0.0, -0.070, -0.056),
    "big_toe": (-0.010, 0.182, -0.064),
    "small_toe": (0.048, 0.140, -0.064),
}
# Spread in degrees about right, forward and up of how people turn wrists and ankles.
HAND_SPREAD = (8.0, 20.0, 35.0)
FOOT_SPREAD = (12.0, 4.0, 8.0)
TOES_OUT_DEG = 6.0


def turn_bone(clip: Clip, bone: int, turns: Floats) -> None:
    """Turn a hand or foot of the clip's person about its joint, in place.

    Args:
        turns: (T, 3, 3) in the part's own axes.
    """
    figure, joints = clip.people[0]
    joint = {"r_hand": 16, "l_hand": 13, "r_foot": 3, "l_foot": 6}[BONES[bone]]
    axes = bone_rotations(figure.body, joints)[:, bone] @ hanging(bone)
    by = axes @ turns @ transpose(axes)
    moved = clip.bones[0][:, bone]  # (T, 3, 4), a view
    moved[..., :3] = by @ moved[..., :3]
    moved[..., 3] = joints[:, joint] - moved[..., :3] @ figure.joints[joint]


def hanging(bone: int) -> Floats:
    """(3, 3) axes of a part in the figure's rest pose, whose arms are half raised."""
    side = {"r_hand": 1, "l_hand": -1}.get(BONES[bone], 0)
    angle = -side * np.deg2rad(45.0)
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])


def wander(frames: int, spread: tuple[float, ...], rng: np.random.Generator) -> Floats:
    """(T, 3) radians, angles that change within about half a second."""
    at = np.arange(frames) / FPS
    rate, phase = rng.uniform(0.1, 0.9, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3))
    waves = np.sin(2 * np.pi * rate * at[:, None, None] + phase).sum(1)
    return np.radians(np.array(spread)) * (0.7 * waves + 0.7 * rng.normal(size=3))


@dataclass
class Sample:
    """One clip, T frames: what was detected and lifted, and the truth in camera axes."""

    keypoints: Floats  # (T, 33, 2) pixels
    confidence: Floats  # (T, 33)
    detector_world: Floats  # (T, 33, 3)
    joints: Floats  # (T, 17, 3) lifted
    image_size: Floats
    focal_px: Floats
    stature: Floats
    points: Floats  # (T, 31, 3) true
    rotations: Floats  # (T, 5, 3, 3) true, columns right, forward, up of PARTS

    @property
    def time_s(self) -> Floats:
        return np.arange(len(self.joints)) / FPS


def true_points(body: Body, joints: Floats, rotations: Floats) -> Floats:
    """(T, 31, 3) of world joints (T, 17, 3) and the parts' rotations (T, 5, 3, 3)."""
    points = np.full((len(joints), len(POINTS), 3), np.nan)
    points[:, :17] = joints
    skull = joints[:, 10] - rotations[:, 0, :, 2] * body.head
    for side, sign, wrist, ankle in (("left", -1, 13, 6), ("right", 1, 16, 3)):
        hand, foot = (PARTS.index(f"{side}_{part}") for part in ("hand", "foot"))
        for part, at, places, scale in (
            (0, skull, HEAD, body.head / 0.106 / 1.71),
            (hand, joints[:, wrist], HAND, body.scale),
            (foot, joints[:, ankle], FOOT, body.scale),
        ):
            for name, place in places.items():
                local = np.array(place) * (sign, 1, 1) * scale
                points[:, POINTS.index(f"{side}_{name}")] = at + rotations[:, part] @ local
    return points


def make_sample(number: int, seed: int, motions: list, seconds: float, detector, lifter) -> Sample:
    rng = np.random.default_rng([seed, number])
    body = random_body(rng)
    joints = draw_motion(motions, body, FPS, seconds, rng)
    camera = draw_camera(joints, rng)
    figure = build_figure(body, random_appearance(rng))
    rotations = bone_rotations(body, joints)[:, PART_BONES]
    turns: dict[int, Floats] = {}
    for part, bone in enumerate(PART_BONES):
        local = hanging(bone)
        rotations[:, part] = rotations[:, part] @ local
        if part == 0:
            continue
        spread = HAND_SPREAD if "hand" in BONES[bone] else FOOT_SPREAD
        angles = wander(len(joints), spread, rng)
        if "foot" in BONES[bone]:
            angles[:, 2] += np.radians(TOES_OUT_DEG) * (1 if BONES[bone][0] == "l" else -1)
        turns[bone] = from_rotation_vectors(angles)
        rotations[:, part] = rotations[:, part] @ turns[bone]

    clip = Clip([(figure, joints)], random_scene(camera, rng), FPS, seed=number)
    for bone, turn in turns.items():
        turn_bone(clip, bone, turn)
    detector.reset()
    found = [detector.detect(frame, t / FPS) for t, frame in enumerate(clip)]
    tracks = build_tracks(
        found, time_s=np.arange(len(clip)) / FPS, image_size=camera.image_size, fps=FPS
    )
    track = select_people(join_tracks(tracks), "one")[0]
    track = fill_gaps(repair_left_right(track)[0], 0.5)
    lifted = lift_track(track, lifter, height_m=body.stature, focal_px=float(camera.focal_px[0]))
    assert track.world is not None
    return Sample(
        keypoints=track.keypoints,
        confidence=track.confidence,
        detector_world=track.world,
        joints=lifted.joints_camera,
        image_size=np.array(camera.image_size),
        focal_px=np.array(float(camera.focal_px[0])),
        stature=np.array(body.stature),
        points=camera.world_to_camera(true_points(body, joints, rotations)),
        rotations=camera.rotation @ rotations,
    )


def samples(arguments: argparse.Namespace) -> list[Sample]:
    """The clips, from the folder where they are kept as far as they are there."""
    motions = load_motions(arguments.motions)
    detector, lifter = create_detector("blazepose"), default_lifter()
    made = []
    for number in range(arguments.clips):
        path = arguments.keep and arguments.keep / f"{arguments.seed}-{number}.npz"
        if path and path.exists():
            made.append(Sample(**np.load(path)))
            continue
        sample = make_sample(number, arguments.seed, motions, arguments.seconds, detector, lifter)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, **vars(sample))
        made.append(sample)
        print(f"clip {number + 1} of {arguments.clips}", flush=True)
    return made


# --- measuring -------------------------------------------------------------------------------


def unpacked(
    sample: Sample,
) -> tuple[NDArray[np.intp], Floats, Floats, Floats, Floats]:
    """Frames with a person: indices, lifted joints, and keypoints, confidence and the detector's
    3D in the order of `lithepose31`."""
    there = np.flatnonzero(np.isfinite(sample.joints).all((1, 2)))
    keypoints, confidence, _ = convert(
        sample.keypoints[there], sample.confidence[there], "blazepose33", "lithepose31"
    )
    world = convert(sample.detector_world[there], None, "blazepose33", "lithepose31")[0]
    return there, sample.joints[there].astype(float), keypoints, confidence, world


def rays_of(sample: Sample, keypoints: Floats) -> Floats:
    return (keypoints - sample.image_size / 2) / sample.focal_px


def angle(a: Floats, b: Floats) -> Floats:
    """Degrees between rotations (..., 3, 3)."""
    cosine = (np.einsum("...ij,...ij->...", a, b) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def pointing(a: Floats, b: Floats, part: str) -> Floats:
    """Degrees between where two turns point: a head's and a foot's forward, a hand's fingers."""
    axis = 2 if "hand" in part else 1
    return np.degrees(np.arccos(np.clip((a[..., axis] * b[..., axis]).sum(-1), -1, 1)))


def steadiness(rotations: Floats) -> Floats:
    """Degrees between one frame's turn to the next and the one after it."""
    step = rotations[:-1].transpose(0, 2, 1) @ rotations[1:]
    return angle(step[:-1], step[1:])


def turns_of_detector(world: Floats) -> Floats:
    """(T, 5, 3, 3) rotations that bring the parts' templates onto the detector's own 3D."""
    turns = np.empty((len(world), len(PARTS), 3, 3))
    for number, part in enumerate(extremities.PARTS.values()):
        has = [i for i, name in enumerate(part.names) if name != "small_toe"]
        place = world[:, np.array(part.points)[has]]
        own = part.positions(BLAZEPOSE_WORLD)[has]
        place = place - place.mean(1, keepdims=True)
        u, _, vt = np.linalg.svd(np.einsum("tni,nj->tij", place, own - own.mean(0)))
        u[..., -1] *= np.linalg.det(u @ vt)[:, None]
        turns[:, number] = u @ vt
    return turns


def report_turns(made: list[Sample]) -> None:
    rows: dict[str, dict[str, list[Floats]]] = {}
    for sample in made:
        there, joints, keypoints, confidence, world = unpacked(sample)
        rays, times = rays_of(sample, keypoints), sample.time_s[there]
        height = extremities.stature(joints)

        fit = partial(
            extremities.fit_rotations,
            rays=rays,
            confidence=confidence,
            time_s=times,
            height=height,
        )
        true = sample.rotations[there]
        for who, turns in (
            ("truth", true),
            ("joints alone", extremities.rest_rotations(joints)),
            ("BlazePose's own 3D alone", turns_of_detector(world)),
            ("joints and picture", fit(joints)[0]),
            ("joints, picture, BlazePose's 3D", fit(joints, world=world)[0]),
            ("the same from true joints", fit(sample.points[there, :17], world=world)[0]),
        ):
            row = rows.setdefault(who, {})
            for number, part in enumerate(PARTS):
                kind = part.split("_")[-1]
                a, b = true[:, number], turns[:, number]
                row.setdefault(f"{kind} turn", []).append(angle(a, b))
                row.setdefault(f"{kind} points", []).append(pointing(a, b, part))
                row.setdefault(f"{kind} jitter", []).append(steadiness(b))
    columns = list(rows["truth"])
    print("Degrees, median / 90 %; jitter: change of the turn from frame to frame\n")
    print("| | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for who, row in rows.items():
        cells = [np.quantile(np.concatenate(row[column]), (0.5, 0.9)) for column in columns]
        print(f"| {who} | " + " | ".join(f"{m:.1f} / {n:.1f}" for m, n in cells) + " |")


def report_confidence(made: list[Sample]) -> None:
    errors, sure, spent, frames = [], [], 0.0, 0
    for sample in made:
        there, joints, keypoints, confidence, world = unpacked(sample)
        begin = time.process_time()
        points, each = extremities.with_extremities(
            joints, keypoints, confidence, sample.time_s[there],
            float(sample.focal_px), (int(sample.image_size[0]), int(sample.image_size[1])), world,
        )  # fmt: skip
        spent, frames = spent + time.process_time() - begin, frames + len(there)
        true = sample.points[there]
        miss = (points - points[:, :1]) - (true - true[:, :1])
        errors.append(1000 * np.linalg.norm(miss, axis=-1))
        sure.append(each)
    error, certainty = np.concatenate(errors), np.concatenate(sure)
    edges = (0, 0.2, 0.4, 0.6, 0.8, 1.01)
    print("\nMedian error about the pelvis in mm by confidence in 3D (and how many of 1000)\n")
    heads = [f"{a} to {min(b, 1)}" for a, b in pairwise(edges)]
    print("| | " + " | ".join(heads) + " |\n|---|" + "---:|" * len(heads))
    for name in dict.fromkeys(point.split("_", 1)[-1] for point in POINTS):
        which = [i for i, point in enumerate(POINTS) if point.split("_", 1)[-1] == name]
        cells = []
        for low, high in pairwise(edges):
            within = (certainty[:, which] >= low) & (certainty[:, which] < high)
            share = 1000 * within.mean()
            middle = np.median(error[:, which][within]) if within.sum() >= 20 else np.nan
            cells.append(f"{middle:.0f} ({share:.0f})" if within.sum() >= 20 else "")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(f"\n{frames} frames; {1000 * spent / frames:.2f} ms per frame in such short clips")


def report_places(made: list[Sample]) -> None:
    """Where BlazePose sees the points of head, hands and feet: the tables of `extremities`."""
    print(
        "\nWhere BlazePose sees the points, and has them in its own 3D, in 1/1000 of the stature\n"
    )
    print("| part | point | right | forward | up | own 3D: right | forward | up |")
    print("|---|---|---:|---:|---:|---:|---:|---:|")
    seen: dict[tuple[str, str], list[tuple[Floats, Floats, Floats]]] = {}
    for sample in made:
        there, _, keypoints, confidence, world = unpacked(sample)
        rays, stature = rays_of(sample, keypoints), float(sample.stature)
        for number, part in enumerate(extremities.PARTS.values()):
            turn, points = sample.rotations[there, number], list(part.points)
            if part.kind == "head":
                at = sample.points[there, 10] - 0.106 * stature * turn[..., 2]
                middle = world[:, points].mean(1)
            else:
                at, middle = sample.points[there, points[0]], world[:, points[0]]
            for point, name, side in zip(points, part.names, part.sides, strict=True):
                mirror = np.array((side, 1, 1))
                # Two equations for the place: on the line of sight, X - x Z = 0.
                sight = np.zeros((len(there), 2, 3))
                sight[:, 0, 0] = sight[:, 1, 1] = 1
                sight[..., 2] = -rays[:, point]
                own = np.einsum("tji,tj->ti", turn, world[:, point] - middle) * mirror / stature
                use = confidence[:, point] > 0.5
                place = (sight @ turn * mirror * stature)[use], -(sight @ at[..., None])[use, :, 0]
                seen.setdefault((part.kind, name), []).append((*place, own[use]))
    for (kind, name), parts in seen.items():
        matrix, right, own = (np.concatenate(each) for each in zip(*parts, strict=True))
        if len(matrix) < 100:
            continue
        place = np.zeros(3)
        for _ in range(20):  # least absolute errors by re-weighting
            miss = np.linalg.norm(matrix @ place - right, axis=-1)
            weight = 1 / np.maximum(miss, 0.005)
            normal = np.einsum("n,nij,nik->jk", weight, matrix, matrix)
            place = np.linalg.solve(normal, np.einsum("n,nij,ni->j", weight, matrix, right))
        cells = [f"{1000 * x:.0f}" for x in (*place, *np.median(own, axis=0))]
        print(f"| {kind} | {name} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure head, hands and feet on rendered people.")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--motions", type=Path, help="npz of joints; without it built-in motions")
    parser.add_argument("--keep", type=Path, help="folder for what was detected and lifted")
    arguments = parser.parse_args()
    made = samples(arguments)
    report_turns(made)
    report_confidence(made)
    report_places(made)


if __name__ == "__main__":
    main()
