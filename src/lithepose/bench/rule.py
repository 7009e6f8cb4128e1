"""The measuring rule of our own lifters: fixed cameras over motion capture, twelve limb joints.

Every clip is seen by four fixed cameras, drawn from its name and its place in the file: two phones
(landscape and portrait) and two of a laboratory. The whole clip is lifted as a user would lift it;
every frame counts. Root = mid-hips; joints = hips, knees, ankles, shoulders, elbows, wrists (1-6,
11-16 of the Human3.6M-17 order). Errors are frame-weighted means.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from lithepose.arrays import Floats
from lithepose.cameras import Camera, look_at
from lithepose.metrics.pose3d import mpjpe, n_mpjpe, p_mpjpe
from lithepose.mocap.motions import Motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.skeletons import LIMB_JOINTS

# name -> (image size, (lowest, highest) focal length over the long side): a phone's main camera
# films at 24 to 29 mm equivalent; the laboratory's are the field of view of Human3.6M's.
LENSES = {
    "phone": ((1920, 1080), (0.70, 0.85)),
    "phone-portrait": ((1080, 1920), (0.70, 0.85)),
    "laboratory": ((1000, 1000), (1.10, 1.20)),
    "laboratory-long": ((1000, 1000), (1.40, 1.60)),
}
HEIGHT_M = (0.5, 2.2)  # of the camera over the floor
DISTANCE_M = (2.2, 8.0)  # of the camera from the person's nearest moment
MISS_DEG = 6.0  # spread of the pitch and yaw by which the camera misses the person
ROLL_DEG = 3.0


@dataclass(frozen=True, kw_only=True)
class View:
    """A clip as one camera sees it.

    Attributes:
        name: "<clip> <lens>".
        subject: who moves.
        height_m: their stature.
        joints_camera: (T, 17, 3) metres, camera axes, the truth.
        keypoints: (T, 17, 2) pixels, exact.
        camera: the camera; its first focal length is the one.
        fps: frames per second.
    """

    name: str
    subject: str
    height_m: float
    joints_camera: Floats
    keypoints: Floats
    camera: Camera
    fps: float


def views(motions: Motions) -> Iterator[View]:
    """The rule's views of every clip, always the same."""
    for index, clip in enumerate(motions.clip):
        joints = motions.positions[motions.start[index] : motions.start[index + 1]].astype(float)
        for number, (lens, (image_size, focal)) in enumerate(LENSES.items()):
            # A checksum, because Python's own hash of text changes from run to run.
            name = zlib.crc32(str(clip).encode())
            random = np.random.default_rng([20261121, name, index, number])
            camera = _draw_camera(joints, image_size, focal, random)
            local = camera.world_to_camera(joints)
            yield View(
                name=f"{clip} {lens}",
                subject=str(motions.subject[index]),
                height_m=float(motions.height[index]),
                joints_camera=local,
                keypoints=camera.project(joints),
                camera=camera,
                fps=motions.fps,
            )


def seen_by_detector(view: View) -> tuple[Floats, Floats]:
    """What the measured detector sees of a view of the measuring rule, always the same.

    Returns:
        Keypoints (T, 17, 2) in pixels and confidences (T, 17).
    """
    centre, focal = np.array(view.camera.centre_px), view.camera.focal_px[0]
    rays = ((view.keypoints - centre) / focal)[None].astype(np.float32)
    random = np.random.default_rng([7, zlib.crc32(view.name.encode())])
    # The measurement as it stands, without training's stronger and weaker people.
    noise = replace(DetectorNoise.measured(), strength=(1.0, 1.0))
    seen, sure = noise(rays, view.joints_camera[None], np.array([view.fps]), random)
    return seen[0].astype(float) * focal + centre, sure[0].astype(float)


def _draw_camera(
    joints: Floats,
    image_size: tuple[int, int],
    focal: tuple[float, float],
    random: np.random.Generator,
) -> Camera:
    root = joints[:, 0]
    middle = (root.min(0) + root.max(0)) / 2
    azimuth = random.uniform(-np.pi, np.pi)
    distance = np.exp(random.uniform(*np.log(DISTANCE_M)))
    towards = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    # The distance is that of the nearest moment, so that nobody walks through the camera.
    reach = float(((root - middle) @ towards).max())
    position = middle + (distance + reach) * towards
    position[2] = float(joints[..., 2].min()) + random.uniform(*HEIGHT_M)
    offset = np.tan(np.radians(MISS_DEG)) * np.linalg.norm(middle - position)
    target = middle + offset * random.standard_normal(3)
    focal_px = max(image_size) * random.uniform(*focal)
    return Camera(
        focal_px=(focal_px, focal_px),
        centre_px=(image_size[0] / 2, image_size[1] / 2),
        image_size=image_size,
        rotation=look_at(position, target, ROLL_DEG * random.standard_normal()),
        position=position,
    )


@dataclass(frozen=True, kw_only=True)
class Score:
    """Errors in millimetres over the frames of some views.

    Attributes:
        frames: how many poses were compared.
        mpjpe: with the true stature known.
        mpjpe_no_height: with the standard stature assumed.
        n_mpjpe: after the best scale of each pose.
        p_mpjpe: after the best similarity transform of each pose, over the twelve limb joints.
    """

    frames: int
    mpjpe: float
    mpjpe_no_height: float
    n_mpjpe: float
    p_mpjpe: float


def score_view(view: View, lifted: Floats, assumed_height_m: float) -> dict[str, Floats]:
    """Errors of each frame in millimetres, named as in `Score`.

    Args:
        lifted: (T, 17, 3) metres, camera axes, lifted with the true stature.
        assumed_height_m: the stature that is assumed when none is known.
    """
    limbs = list(LIMB_JOINTS)
    found = (lifted - (lifted[:, 1:2] + lifted[:, 4:5]) / 2)[:, limbs]
    true = view.joints_camera
    true = (true - (true[:, 1:2] + true[:, 4:5]) / 2)[:, limbs]
    unknown = found * (assumed_height_m / view.height_m)
    return {
        "mpjpe": 1000 * mpjpe(found, true),
        "mpjpe_no_height": 1000 * mpjpe(unknown, true),
        "n_mpjpe": 1000 * n_mpjpe(found, true),
        "p_mpjpe": 1000 * p_mpjpe(found, true),
    }


def measure(
    motions: Motions,
    lift: Callable[[View], Floats],
    assumed_height_m: float,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Score]:
    """Lift every view and score it.

    Args:
        lift: view -> (T, 17, 3) metres, camera axes, with the true stature known.
        report: is told of every view.
    Returns:
        Subject -> score, and "all" -> the frame-weighted score of everyone.
    """
    errors: dict[str, list[dict[str, Floats]]] = {}
    for view in views(motions):
        scores = score_view(view, lift(view), assumed_height_m)
        errors.setdefault(view.subject, []).append(scores)
        report(view.name)
    everyone = [scores for rows in errors.values() for scores in rows]
    return {
        who: Score(
            frames=sum(len(row["mpjpe"]) for row in rows),
            **{k: float(np.mean(np.concatenate([row[k] for row in rows]))) for k in rows[0]},
        )
        for who, rows in [*sorted(errors.items()), ("all", everyone)]
    }
