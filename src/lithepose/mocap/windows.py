"""Training windows: motion capture seen by virtual cameras through a detector's errors.

Every window is drawn anew: a stretch of motion at a drawn frame rate, a drawn body, perhaps another
clip's arms, a drawn camera that looks roughly at the person, a focal length that the lifter may
only guess, and the noise of a detector. All random numbers are drawn first; what follows is a
function of arrays that are NumPy's or PyTorch's, without a branch on their values. `draw_batch` and
`draw_views` draw the numbers with NumPy, `lithepose.mocap.device_windows` on the device that
trains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lithepose.anthropometry import STANDARD_HEIGHT_M, TRAINING_MEAN, TRAINING_SPREAD
from lithepose.arrays import Array, Floats, Indices, changed_where, namespace, single, whole
from lithepose.bones import PARENTS, from_bones
from lithepose.lifters.windows import WindowInputs, look_at_person, mirror_sides, with_midpoints
from lithepose.mocap.motions import BONE_OF_JOINT, Motions, trunk_frame
from lithepose.mocap.noise import DetectorNoise, NoiseNumbers, NoiseTables, add_noise
from lithepose.rotations import cross, from_axis_angle, rotate_all, unit

# Where virtual cameras stand and look.
DISTANCE_M = (2.0, 9.0)  # drawn log-uniformly
CAMERA_HEIGHT_M = (0.3, 2.6)  # over the floor
NEAREST_M = 0.9  # someone who walks past the camera is filmed from further off
TILT_DEG = 10.0  # spread of the angle by which the camera misses the person
ROLL_DEG = 4.0  # spread
# Spread of the logarithm of the guessed focal length over the true one.
FOCAL_GUESS = 0.3
# Upper and lower legs and arms: the bones that are bent, the last four of which are exchanged.
BENT = (2, 3, 5, 6, 12, 13, 15, 16)
# Spine, nose and head top lie elsewhere in other data sets and for other detectors: (joint, start
# and end of a line between trunk and head joints along which it moves, spread of the amount).
BLUR = (
    (7, 0, 8, 0.06),
    (9, 9, 10, 0.20),
    (9, 8, 9, 0.15),
    (10, 9, 10, 0.20),
    (10, 8, 10, 0.10),
)
# Many detectors know neither spine nor head top, some not the nose: joint -> share of windows.
UNKNOWN = {7: 0.6, 9: 0.15, 10: 0.6}


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
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
        focal_known: share of windows whose focal length the lifter knows.
        clean: share of windows without detector noise.
    """

    frames: int = 81
    targets: int = 9
    fps: tuple[float, float] = (18.0, 36.0)
    redraw_bodies: bool = True
    exchange_arms: float = 0.3
    bend: float = 5.0
    mirror: float = 0.5
    focal_known: float = 0.5
    clean: float = 0.25


class Batch(NamedTuple):
    """Windows for one training step.

    Attributes:
        values: (B, F, 17, 4) float32, inputs as `look_at_person` makes them.
        targets: (B, K, 17, 3) float32, metres around the mid-hips in the virtual camera's axes for
            a body of standard height.
    """

    values: Array
    targets: Array


# --- what windows are made of -----------------------------------------------------------------


class Tables(NamedTuple):
    """Motions, and what making windows looks up; arrays of one kind."""

    fps: float  # this and the next four as in `Motions`
    positions: Array
    start: Array
    lengths: Array
    height: Array
    offsets: Array  # (F,) the frames of a window, counted from its middle
    parents: Array  # (17,) the joint at the other end of each joint's bone
    bone_mean: Array  # (9,) metres, of the segments of drawn bodies
    bone_spread: Array  # (9,) relative to the mean
    bone_of_joint: Array  # (17,) which segment each joint's bone is; 9 at the root
    unknown_share: Array  # (17,) `UNKNOWN` of each joint


class MotionNumbers(NamedTuple):
    """Random numbers of the motion in B windows; uniform in [0, 1) unless normal."""

    centre: Array  # (B,) recorded frames in the middle
    rate: Array  # (B,) the frame rate
    exchange: Array  # (B,) whether the arms move as in another window
    partner: Array  # (N,) whose: places among the windows that `changed_where` works out
    bend: Array  # (B, 8) normal, by how much each of `BENT` is turned
    bend_axis: Array  # (B, 8, 3) normal
    bones: Array  # (B, 9) normal, lengths of a drawn body's segments
    mirror: Array  # (B,) whether the window is mirrored


class ViewNumbers(NamedTuple):
    """Random numbers of how B windows are seen; uniform in [0, 1) unless normal."""

    distance: Array  # (B,) of the camera
    azimuth: Array  # (B,) turns around the person
    height: Array  # (B,) of the camera
    tilt: Array  # (B,) normal
    tilt_axis: Array  # (B, 3) normal
    roll: Array  # (B,) normal
    blur: Array  # (B, 5) normal, the movements of `BLUR`
    clean: Array  # (B,) whether the 2D stays exact
    noise: NoiseNumbers | None  # of the windows that `changed_where` works out
    unknown: Array  # (B, 17) whether the detector does not know a joint


def tables_of(motions: Motions, settings: WindowSettings) -> Tables:
    """What making windows of some motions looks up, in NumPy."""
    bones = list(TRAINING_MEAN)
    return Tables(
        fps=motions.fps,
        positions=motions.positions,
        start=motions.start,
        lengths=motions.lengths,
        height=motions.height,
        offsets=np.arange(settings.frames) - settings.frames // 2,
        parents=np.maximum(PARENTS, 0),
        bone_mean=np.array([STANDARD_HEIGHT_M * TRAINING_MEAN[bone] for bone in bones]),
        bone_spread=np.array([TRAINING_SPREAD[bone] for bone in bones]),
        bone_of_joint=np.array([bones.index(b) if b else len(bones) for b in BONE_OF_JOINT]),
        unknown_share=np.array([UNKNOWN.get(joint, 0.0) for joint in range(17)]),
    )


def log_uniform(limits: tuple[float, float], number: Array) -> Array:
    """Uniform numbers in [0, 1) as numbers between limits, uniform in the logarithm."""
    low, high = (math.log(limit) for limit in limits)
    return namespace(number).exp(low + (high - low) * number)


# --- from random numbers to windows -----------------------------------------------------------


def make_windows(
    motion: MotionNumbers,
    view: ViewNumbers,
    focal: Array,
    tables: Tables,
    noise: NoiseTables | None,
    settings: WindowSettings,
) -> Batch:
    """The windows that given random numbers make.

    Args:
        focal: (B,) as of `focal_errors`.
        noise: a detector's errors; None leaves the 2D exact in every window.
    """
    joints, clip = cut_stretches(motion, tables, settings)
    camera = place_cameras(vary_poses(joints, clip, motion, tables, settings), view)
    rays, confidence = observe(camera, view, tables, noise, settings)
    inputs = look_at_person(rays / focal[:, None, None, None], confidence)
    return Batch(inputs.values, _targets(camera, inputs, settings))


def cut_stretches(
    numbers: MotionNumbers, tables: Tables, settings: WindowSettings
) -> tuple[Array, Array]:
    """Stretches of motion around recorded frames, each at a drawn frame rate.

    Returns:
        joints (B, F, 17, 3) metres, world axes; the clip of each (B,). Beyond a clip's ends its
        first or last pose stands still.
    """
    xp, centre = namespace(numbers.centre), numbers.centre
    clip = xp.searchsorted(tables.start, centre, side="right") - 1
    end = tables.start[clip + 1][:, None]
    # Counted from the centre: far into a long file float32 no longer resolves a frame's parts.
    first, last = tables.start[clip][:, None] - centre[:, None], end - 1 - centre[:, None]
    time = tables.offsets * (tables.fps / log_uniform(settings.fps, numbers.rate))[:, None]
    time = xp.minimum(xp.maximum(time, first), last)
    before = xp.floor(time)
    share = single(time - before)[..., None, None]
    at = centre[:, None] + whole(before)
    after = xp.minimum(at + 1, end - 1)
    return tables.positions[at] * (1 - share) + tables.positions[after] * share, clip


def vary_poses(
    joints: Array, clip: Array, numbers: MotionNumbers, tables: Tables, settings: WindowSettings
) -> Array:
    """Give stretches of motion other arms, slightly other limb directions, other bodies and sides.

    Args:
        joints, clip: as `cut_stretches` gives them.
    Returns:
        Joints of bodies of standard height.
    """
    xp = namespace(joints)
    vectors = joints - joints[..., tables.parents, :]  # (B, F, 17, 3), zero at the root
    lengths = tables.lengths[clip]  # (B, 17)

    legs = xp.concatenate([vectors[:, :, 2:4], vectors[:, :, 5:7]], 2)
    arms = xp.concatenate([vectors[:, :, 12:14], vectors[:, :, 15:17]], 2)

    def exchanged(rows: Array) -> tuple[Array]:
        trunk, arm_lengths = trunk_frame(joints[rows]), lengths[rows][:, 12:14]
        between = trunk[numbers.partner] @ xp.swapaxes(trunk, -1, -2)
        ratio = arm_lengths / arm_lengths[numbers.partner]
        given = arms[rows][numbers.partner] * xp.concatenate([ratio, ratio], 1)[:, None, :, None]
        return (given @ between,)

    (arms,) = changed_where(numbers.exchange < settings.exchange_arms, exchanged, arms)

    bend = from_axis_angle(unit(numbers.bend_axis), math.radians(settings.bend) * numbers.bend)
    limbs = xp.swapaxes(xp.concatenate([legs, arms], 2), 1, 2)  # (B, 8, F, 3)
    limbs = xp.swapaxes(limbs @ xp.swapaxes(single(bend), -1, -2), 1, 2)
    parts = (
        *(vectors[:, :, :2], limbs[:, :, :2], vectors[:, :, 4:5], limbs[:, :, 2:4]),
        *(vectors[:, :, 7:12], limbs[:, :, 4:6], vectors[:, :, 14:15], limbs[:, :, 6:]),
    )
    vectors = xp.concatenate(parts, 2)

    scale = (STANDARD_HEIGHT_M / tables.height[clip])[:, None]  # (B, 1)
    if settings.redraw_bodies:
        drawn = tables.bone_mean * xp.clip(1 + tables.bone_spread * numbers.bones, 0.7, 1.4)
        # The root has no bone, its "length" is 1: its way through the room is scaled as the person.
        scale = single(xp.concatenate([drawn, scale], 1)[:, tables.bone_of_joint]) / lengths
    varied = from_bones(joints[..., 0, :] * scale[:, None, :1], vectors * scale[:, None, :, None])
    mirrors = numbers.mirror < settings.mirror
    return changed_where(mirrors, lambda rows: (mirror_sides(varied[rows]),), varied)[0]


def place_cameras(joints: Array, numbers: ViewNumbers) -> Array:
    """Put a camera before each stretch: joints (B, F, 17, 3), world axes to camera axes, metres."""
    xp = namespace(joints)
    distance, azimuth = log_uniform(DISTANCE_M, numbers.distance), 2 * math.pi * numbers.azimuth
    low, high = CAMERA_HEIGHT_M
    middle = joints[:, joints.shape[1] // 2, 0]  # (B, 3)
    # The camera stands on the floor of the scene, also where the person has climbed.
    floor = xp.amin(joints[..., 2], (1, 2))
    place = [
        middle[:, 0] + distance * xp.cos(azimuth),
        middle[:, 1] + distance * xp.sin(azimuth),
        floor + (low + (high - low) * numbers.height),
    ]
    position = xp.stack(place, -1)
    miss = from_axis_angle(unit(numbers.tilt_axis), math.radians(TILT_DEG) * numbers.tilt)
    forward = rotate_all(single(miss), unit(middle - position))
    # Down, (0, 0, -1), times forward.
    right = unit(xp.stack([forward[:, 1], -forward[:, 0], xp.zeros_like(floor)], -1))
    below = cross(forward, right)
    roll = math.radians(ROLL_DEG) * numbers.roll[:, None]
    cosine, sine = xp.cos(roll), xp.sin(roll)
    axes = [cosine * right + sine * below, cosine * below - sine * right, forward]
    rotation = single(xp.stack(axes, 1))  # world -> camera
    camera = rotate_all(rotation, joints - single(position)[:, None, None])
    nearest = xp.amin(camera[..., 2], (1, 2))
    camera[..., 2] += xp.clip(NEAREST_M - nearest, 0, None)[:, None, None]
    return camera


def blur_definitions(camera: Array, amounts: Array) -> Array:
    """Move spine, nose and head top as other data sets and detectors define them.

    The movements of `BLUR` are constant over a window; only the 2D is made from the result.

    Args:
        camera: (B, F, 17, 3), any axes; amounts: (B, 5) normal.
    """
    moved = {joint: camera[..., joint, :] for joint in (7, 9, 10)}
    for index, (joint, start, end, spread) in enumerate(BLUR):
        amount = spread * single(amounts[:, index, None, None])
        moved[joint] = moved[joint] + amount * (camera[..., end, :] - camera[..., start, :])
    spine, nose, head_top = (joint[..., None, :] for joint in moved.values())
    parts = [camera[..., :7, :], spine, camera[..., 8:9, :], nose, head_top, camera[..., 11:, :]]
    return namespace(camera).concatenate(parts, -2)


def observe(
    camera: Array,
    numbers: ViewNumbers,
    tables: Tables,
    noise: NoiseTables | None,
    settings: WindowSettings,
) -> tuple[Array, Array]:
    """What a detector tells of stretches before their cameras.

    Args:
        camera: (B, F, 17, 3) metres, camera axes.
    Returns:
        rays (B, F, 17, 2) and confidence (B, F, 17), 0 for joints that the detector does not know.
    """
    xp = namespace(camera)
    seen = blur_definitions(camera, numbers.blur)
    rays = seen[..., :2] / seen[..., 2:]
    confidence = xp.ones_like(rays[..., 0])
    if noise is not None:
        drawn = numbers.noise
        assert drawn is not None
        rays, confidence = changed_where(
            numbers.clean >= settings.clean,
            lambda rows: add_noise(rays[rows], camera[rows], noise, drawn),
            rays,
            confidence,
        )
    unknown = numbers.unknown < tables.unknown_share
    return with_midpoints(rays, xp.where(unknown[:, None], 0, confidence))


def focal_errors(guess: Array, known: Array, settings: WindowSettings) -> Array:
    """(B,), the focal length that the lifter takes over the true one; 1 where it is known.

    Args:
        guess: (B,) normal, known: (B,) uniform numbers.
    """
    xp = namespace(guess)
    return xp.where(known < settings.focal_known, 1.0, xp.exp(FOCAL_GUESS * guess))


def _targets(camera: Array, inputs: WindowInputs, settings: WindowSettings) -> Array:
    first = settings.frames // 2 - settings.targets // 2
    targets = camera[:, first : first + settings.targets]
    targets = targets - targets[..., :1, :]
    return rotate_all(namespace(targets).swapaxes(inputs.rotation, -1, -2), targets)


# --- drawn with NumPy -------------------------------------------------------------------------


def draw_batch(
    motions: Motions,
    count: int,
    settings: WindowSettings,
    noise: DetectorNoise | None,
    random: np.random.Generator,
) -> Batch:
    """Draw one batch of training windows, every recorded frame being as likely a centre as others.

    Args:
        noise: adds a detector's errors; None leaves the 2D exact in every window.
    """
    motion = draw_motion(random.integers(0, len(motions.positions), count), settings, random)
    view, errors = draw_view(motion.rate, settings, noise, random)
    focal = draw_focal_errors(count, settings, random)
    return make_windows(motion, view, focal, tables_of(motions, settings), errors, settings)


def draw_views(
    motions: Motions,
    centre: Indices,
    views: int,
    settings: WindowSettings,
    noise: DetectorNoise | None,
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
    motion = draw_motion(centre, settings, random)
    view, errors = draw_view(np.repeat(motion.rate, views), settings, noise, random)
    tables = tables_of(motions, settings)
    joints = vary_poses(*cut_stretches(motion, tables, settings), motion, tables, settings)
    camera = place_cameras(np.repeat(joints, views, axis=0), view)
    rays, confidence = observe(camera, view, tables, errors, settings)
    shape = (len(centre), views)
    return rays.reshape(*shape, *rays.shape[1:]), confidence.reshape(*shape, *confidence.shape[1:])


def draw_motion(
    centre: Indices, settings: WindowSettings, random: np.random.Generator
) -> MotionNumbers:
    """Draw the motion of windows around recorded frames (B,)."""
    count = len(centre)
    rate, exchange = random.random(count), random.random(count)
    partner = random.permutation(int((exchange < settings.exchange_arms).sum()))
    bend, axis, bones = np.zeros((count, 8)), np.zeros((count, 8, 3)), np.zeros((count, 9))
    if settings.bend:
        bend, axis = random.standard_normal(bend.shape), random.standard_normal(axis.shape)
    if settings.redraw_bodies:
        bones = random.standard_normal((9, count)).T
    mirror = random.random(count)
    return MotionNumbers(centre, rate, exchange, partner, bend, axis, bones, mirror)


def draw_view(
    rate: Floats,
    settings: WindowSettings,
    noise: DetectorNoise | None,
    random: np.random.Generator,
) -> tuple[ViewNumbers, NoiseTables | None]:
    """Draw how windows are seen.

    Args:
        rate: (B,) as in `MotionNumbers`: a detector's errors depend on it.
    Returns:
        The numbers, and what adding the noise looks up.
    """
    count = len(rate)
    numbers = ViewNumbers(
        distance=random.random(count),
        azimuth=random.uniform(-0.5, 0.5, count),
        height=random.random(count),
        tilt=random.standard_normal(count),
        tilt_axis=random.standard_normal((count, 3)),
        roll=random.standard_normal(count),
        blur=random.standard_normal((len(BLUR), count)).T,
        clean=random.random(count) if noise else np.zeros(count),
        noise=None,
        unknown=np.ones((count, 17)),
    )
    tables, noisy = None, numbers.clean >= settings.clean
    if noise is not None and noisy.any():
        rates = log_uniform(settings.fps, rate[noisy])
        tables = noise.tables(settings.frames, float(np.median(rates)))
        drawn = noise.draw(int(noisy.sum()), settings.frames, random)
        numbers = numbers._replace(noise=drawn)
    for joint in UNKNOWN:
        numbers.unknown[:, joint] = random.random(count)
    return numbers, tables


def draw_focal_errors(count: int, settings: WindowSettings, random: np.random.Generator) -> Floats:
    """Draw `focal_errors`, (count,)."""
    return focal_errors(random.standard_normal(count), random.random(count), settings)
