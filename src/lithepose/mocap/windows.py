"""Training windows: motion capture seen by virtual cameras through a detector's errors.

Every window is drawn anew: a stretch of motion at a drawn frame rate, a drawn body, perhaps another
clip's arms, a drawn camera that looks roughly at the person, a focal length that the lifter may
only guess, and the noise of a detector. One call makes a whole batch with NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.bones import bones, from_bones
from lithepose.lifters.windows import MIRROR, look_at_person, with_midpoints
from lithepose.mocap.motions import Motions, draw_bodies, trunk_frame

# (rays (B, F, 17, 2), joints in camera axes (B, F, 17, 3), frames per second (B,), random)
#   -> (rays, confidence (B, F, 17)): what a detector would have seen.
Noise = Callable[
    [Floats, Floats, Floats, np.random.Generator],
    tuple[Floats, Floats],
]


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How training windows are drawn.

    Attributes:
        frames: F, frames of a window.
        targets: K, frames in its middle that are to be lifted.
        fps: (lowest, highest) frame rate, drawn log-uniformly; motion faster or slower than
            recorded comes with it.
        redraw_bodies: draw segment lengths anew for each window.
        exchange_arms: share of windows whose arms move as in another clip.
        bend: spread in degrees of a constant turn given to each limb segment of a window.
        mirror: share of mirrored windows.
        distance_m: (lowest, highest) distance of the camera, drawn log-uniformly.
        camera_height_m: (lowest, highest) height over the floor.
        roll_deg: spread of the camera's roll.
        tilt_deg: spread of the angle by which the camera misses the person.
        focal_known: share of windows whose focal length the lifter knows.
        focal_guess: spread of the logarithm of the guessed focal length over the true one.
        clean: share of windows without detector noise.
    """

    frames: int = 81
    targets: int = 9
    fps: tuple[float, float] = (18.0, 36.0)
    redraw_bodies: bool = True
    exchange_arms: float = 0.3
    bend: float = 5.0
    mirror: float = 0.5
    distance_m: tuple[float, float] = (2.0, 9.0)
    camera_height_m: tuple[float, float] = (0.3, 2.6)
    roll_deg: float = 4.0
    tilt_deg: float = 10.0
    focal_known: float = 0.5
    focal_guess: float = 0.3
    clean: float = 0.25


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Windows for one training step.

    Attributes:
        values: (B, F, 17, 4) float32, inputs as `look_at_person` makes them.
        targets: (B, K, 17, 3) float32, metres around the mid-hips in the virtual camera's axes for
            a body of standard height.
    """

    values: Floats
    targets: Floats


def draw_stretches(
    motions: Motions, count: int, settings: ClipSettings, random: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Draw stretches of motion, every recorded frame being as likely a centre as any other.

    Returns:
        joints (count, F, 17, 3) metres, world axes; the clip of each (count,); frames per second
        (count,). Beyond a clip's ends its first or last pose stands still.
    """
    centre = random.integers(0, len(motions.positions), count)
    return stretches_around(motions, centre, settings, random)


def stretches_around(
    motions: Motions, centre: NDArray[np.int64], settings: ClipSettings, random: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Stretches of motion around recorded frames (count,), each at a drawn frame rate; returns as
    `draw_stretches`."""
    count = len(centre)
    clip = np.searchsorted(motions.start, centre, side="right") - 1
    low, high = np.log(settings.fps)
    fps = np.exp(random.uniform(low, high, count))
    offset = np.arange(settings.frames) - settings.frames // 2
    time = centre[:, None] + offset * (motions.fps / fps)[:, None]
    time = np.clip(time, motions.start[clip][:, None], motions.start[clip + 1][:, None] - 1)
    before = np.floor(time).astype(np.int64)
    after = np.minimum(before + 1, motions.start[clip + 1][:, None] - 1)
    share = (time - before).astype(np.float32)[..., None, None]
    joints = motions.positions[before] * (1 - share) + motions.positions[after] * share
    return joints, clip, fps


def _small_rotations(angle: Floats, random: np.random.Generator) -> Floats:
    """Rotations (..., 3, 3) by given angles in radians (...,) about random axes."""
    axis = random.standard_normal((*angle.shape, 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    x, y, z = np.moveaxis(axis, -1, 0)
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*angle.shape, 3, 3)
    sine, cosine = np.sin(angle)[..., None, None], np.cos(angle)[..., None, None]
    return (np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)).astype(np.float32)


def vary_poses(
    joints: Floats,
    clip: NDArray[np.int64],
    motions: Motions,
    settings: ClipSettings,
    random: np.random.Generator,
) -> Floats:
    """Give stretches of motion other arms, slightly other limb directions, other bodies and sides.

    Args:
        joints: (B, F, 17, 3) metres, world axes, from `draw_stretches`, and their clips (B,).
    Returns:
        Joints of bodies of standard height.
    """
    count = len(joints)
    vectors = bones(joints)  # (B, F, 17, 3)
    lengths = motions.lengths[clip]  # (B, 17)

    arms = np.array([12, 13, 15, 16])
    takes = np.flatnonzero(random.random(count) < settings.exchange_arms)
    if len(takes):
        gives = random.permutation(takes)
        between = trunk_frame(joints[gives]) @ np.swapaxes(trunk_frame(joints[takes]), -1, -2)
        ratio = lengths[takes][:, arms] / lengths[gives][:, arms]
        given = vectors[gives][:, :, arms] * ratio[:, None, :, None]
        vectors[takes[:, None, None], np.arange(joints.shape[1])[:, None], arms] = given @ between
    if settings.bend:
        limbs = np.array([2, 3, 5, 6, 12, 13, 15, 16])
        angle = np.radians(settings.bend) * random.standard_normal((count, len(limbs)))
        turns = np.swapaxes(_small_rotations(angle, random), -1, -2)  # (B, 8, 3, 3)
        for i, joint in enumerate(limbs):
            vectors[:, :, joint] = vectors[:, :, joint] @ turns[:, i]
    if settings.redraw_bodies:
        scale = draw_bodies(count, STANDARD_HEIGHT_M, random) / lengths
    else:
        scale = np.repeat((STANDARD_HEIGHT_M / motions.height[clip])[:, None], 17, 1)
    scale[:, 0] = STANDARD_HEIGHT_M / motions.height[clip]
    vectors = vectors * scale[:, None, :, None].astype(np.float32)
    varied = from_bones(joints[..., 0, :] * scale[:, None, :1].astype(np.float32), vectors)

    flipped = random.random(count) < settings.mirror
    mirrored = varied[flipped][..., MIRROR, :]
    mirrored[..., 0] *= -1
    varied[flipped] = mirrored
    return varied


def turn(rotation: Floats, vectors: Floats) -> Floats:
    """Rotate vectors (B, ..., 3) by (B, 3, 3): one batched product, far faster than einsum."""
    flat = vectors.reshape(len(vectors), -1, 3)
    return (flat @ np.swapaxes(rotation, -1, -2)).reshape(vectors.shape)


def place_cameras(joints: Floats, settings: ClipSettings, random: np.random.Generator) -> Floats:
    """Put a camera before each stretch: joints (B, F, 17, 3), world axes to camera axes, metres."""
    count, frames = joints.shape[:2]
    low, high = np.log(settings.distance_m)
    distance = np.exp(random.uniform(low, high, count))
    azimuth = random.uniform(-np.pi, np.pi, count)
    height = random.uniform(*settings.camera_height_m, count)
    middle = joints[:, frames // 2, 0]  # (B, 3)
    # The camera stands on the floor of the scene, also where the person has climbed.
    floor = joints[..., 2].min((1, 2))
    position = np.stack(
        [
            middle[:, 0] + distance * np.cos(azimuth),
            middle[:, 1] + distance * np.sin(azimuth),
            floor + height,
        ],
        -1,
    )
    forward = middle - position
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    miss = np.radians(settings.tilt_deg) * random.standard_normal(count)
    forward = turn(_small_rotations(miss, random), forward)
    down = np.array([0.0, 0.0, -1.0])
    right = np.cross(down, forward)
    right /= np.maximum(np.linalg.norm(right, axis=-1, keepdims=True), 1e-6)
    below = np.cross(forward, right)
    roll = np.radians(settings.roll_deg) * random.standard_normal((count, 1))
    right, below = (
        np.cos(roll) * right + np.sin(roll) * below,
        np.cos(roll) * below - np.sin(roll) * right,
    )
    rotation = np.stack([right, below, forward], 1).astype(np.float32)  # world -> camera
    camera = turn(rotation, joints - position[:, None, None].astype(np.float32))
    # Someone who walks past the camera is filmed from further off.
    nearest = camera[..., 2].min((1, 2))
    camera[..., 2] += np.maximum(0.9 - nearest, 0)[:, None, None]
    return camera


def blur_definitions(camera: Floats, random: np.random.Generator) -> Floats:
    """Move spine, nose and head top as other data sets and detectors define them.

    Each moves along lines between trunk and head joints by an amount constant over a window;
    (B, F, 17, 3) in, the same out. Only the 2D is made from the result.
    """
    moved = camera.copy()

    def along(joint: int, start: int, end: int, spread: float) -> None:
        amount = spread * random.standard_normal((len(camera), 1, 1)).astype(np.float32)
        moved[..., joint, :] += amount * (camera[..., end, :] - camera[..., start, :])

    along(7, 0, 8, 0.06)
    along(9, 9, 10, 0.20)
    along(9, 8, 9, 0.15)
    along(10, 9, 10, 0.20)
    along(10, 8, 10, 0.10)
    return moved


def observe(
    camera: Floats,
    fps: Floats,
    settings: ClipSettings,
    noise: Noise | None,
    random: np.random.Generator,
) -> tuple[Floats, Floats]:
    """What a detector tells of stretches before their cameras.

    Args:
        camera: (B, F, 17, 3) metres, camera axes; fps: (B,).
    Returns:
        rays (B, F, 17, 2) and confidence (B, F, 17), 0 for joints that the detector does not know.
    """
    count = len(camera)
    seen = blur_definitions(camera, random)
    rays = seen[..., :2] / seen[..., 2:]
    confidence = np.ones(rays.shape[:-1], np.float32)
    if noise is not None:
        noisy = np.flatnonzero(random.random(count) >= settings.clean)
        rays[noisy], confidence[noisy] = noise(rays[noisy], camera[noisy], fps[noisy], random)
    # Many detectors know neither spine nor head top, some not the nose.
    for joint, share in ((7, 0.6), (9, 0.15), (10, 0.6)):
        confidence[random.random(count) < share, :, joint] = 0
    return with_midpoints(rays, confidence)


def focal_errors(count: int, settings: ClipSettings, random: np.random.Generator) -> Floats:
    """(count,), the focal length that the lifter takes over the true one; 1 where it is known."""
    guess = np.exp(settings.focal_guess * random.standard_normal(count))
    guess[random.random(count) < settings.focal_known] = 1
    return guess


def draw_batch(
    motions: Motions,
    count: int,
    settings: ClipSettings,
    noise: Noise | None,
    random: np.random.Generator,
) -> Batch:
    """Draw one batch of training windows.

    Args:
        noise: adds a detector's errors; None leaves the 2D exact in every window.
    """
    joints, clip, fps = draw_stretches(motions, count, settings, random)
    joints = vary_poses(joints, clip, motions, settings, random)
    camera = place_cameras(joints, settings, random)
    rays, confidence = observe(camera, fps, settings, noise, random)

    guess = focal_errors(count, settings, random)
    inputs = look_at_person(rays / guess[:, None, None, None], confidence)

    first = settings.frames // 2 - settings.targets // 2
    targets = camera[:, first : first + settings.targets]
    targets = targets - targets[..., :1, :]
    targets = turn(np.swapaxes(inputs.rotation, -1, -2), targets)
    return Batch(
        values=inputs.values.astype(np.float32), targets=np.ascontiguousarray(targets, np.float32)
    )


def draw_views(
    motions: Motions,
    centre: NDArray[np.int64],
    views: int,
    settings: ClipSettings,
    noise: Noise | None,
    random: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Draw windows that several cameras, each placed by itself, see at once.

    The motion, the body and the side are drawn once for a window. Camera, definitions of joints and
    detector errors are drawn for each view.

    Args:
        centre: (B,) recorded frames around which to cut the windows.
        views: V, cameras of each window.
        noise: as for `draw_batch`.
    Returns:
        rays (B, V, F, 17, 2) and confidence (B, V, F, 17), as a detector gives them.
    """
    joints, clip, fps = stretches_around(motions, centre, settings, random)
    joints = vary_poses(joints, clip, motions, settings, random)
    camera = place_cameras(np.repeat(joints, views, axis=0), settings, random)
    rays, confidence = observe(camera, np.repeat(fps, views), settings, noise, random)
    shape = (len(centre), views)
    return rays.reshape(*shape, *rays.shape[1:]), confidence.reshape(*shape, *confidence.shape[1:])
