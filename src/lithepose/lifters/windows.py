"""Windows: what a lifter sees of a track, and how its answers become a track again.

A lifter of F frames sees each window through a *virtual camera* that looks straight at the person:
the same eye, turned by the least rotation (no roll) so that its axis passes through the middle of
the limb joints over the window. In that camera the joints are divided by the person's angular size.
So the input does not depend on image size, on the person's size in the image or on their position
in it, while perspective is kept: true rays are rotated, not shifted, and the angular size itself is
an input channel, from which the network can tell a near person from a far one.

Inputs have four channels (x, y, confidence, log angular size); outputs are metres around the
mid-hips in the virtual camera's axes for a body of `STANDARD_HEIGHT_M`, and `unrotate` turns them
into camera axes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from lithepose.arrays import Array, Floats, namespace, single
from lithepose.cameras import rotation_to_unit_ray
from lithepose.rotations import rotate_all, unit
from lithepose.skeletons import LIMB_JOINTS, SKELETONS

LIMBS = np.array(LIMB_JOINTS)
MIRROR = np.array(SKELETONS["h36m17"].mirror)
CHANNELS = 4  # x, y, confidence, log angular size
# A person 5 m away has about this log angular size; subtracting it centres the channel.
LOG_SIZE_CENTRE = -2.4
# The rate that lifters of windows are trained around, and the range they are trained for.
LIFT_FPS = 25.0
FPS_RANGE = (18.0, 36.0)
_BATCH = 32  # windows lifted at once
# Rays further than about 75 degrees from the virtual axis are clamped: they mean a broken track.
LEAST_DEPTH = 0.25
LEAST_SIZE = 1e-4


class WindowInputs(NamedTuple):
    """What a lifter needs of some windows.

    Attributes:
        values: (B, F, 17, 4) float32: x, y in units of the person's angular size, confidence in
            [0, 1], log angular size (the same for all joints of a window).
        rotation: (B, 3, 3), virtual camera axes to camera axes.
    """

    values: Array
    rotation: Array


def limb_joints(joints: Array) -> Array:
    """The twelve of hips, knees, ankles, shoulders, elbows, wrists of (..., 17, C)."""
    if namespace(joints) is np:
        return joints[..., LIMBS, :]
    # By slices: no index has to reach the device that holds the tensor.
    return namespace(joints).concatenate([joints[..., 1:7, :], joints[..., 11:17, :]], -2)


def with_midpoints(points: Array, confidence: Array) -> tuple[Array, Array]:
    """Replace pelvis and thorax by the midpoints of hips and shoulders.

    Data sets disagree on where these two joints lie; their midpoints are the same everywhere, so
    the lifter is trained on those and reads nothing else.

    Args:
        points: (..., 17, 2), confidence: (..., 17); of NumPy or PyTorch.
    """
    xp = namespace(points)

    def replaced(values: Array, middle: Callable[[Array, Array], Array]) -> Array:
        pelvis = middle(values[..., 4:5, :], values[..., 1:2, :])
        thorax = middle(values[..., 11:12, :], values[..., 14:15, :])
        return xp.concatenate([pelvis, values[..., 1:8, :], thorax, values[..., 9:, :]], -2)

    points = replaced(points, lambda left, right: (left + right) / 2)
    return points, replaced(confidence[..., None], xp.minimum)[..., 0]


def look_at_person(rays: Array, confidence: Array) -> WindowInputs:
    """Turn a virtual camera at the person and scale by their angular size.

    Args:
        rays: (B, F, 17, 2), pixels minus the principal point, divided by the focal length.
            Values of joints with confidence 0 are not read and may be nan.
        confidence: (B, F, 17) in [0, 1]; 0 marks a missing joint.
    Returns:
        The windows' inputs, of NumPy or PyTorch as the arguments; missing joints are zero in all
        of the first three channels.
    """
    xp = namespace(rays)
    seen = confidence > 0
    rays = single(xp.where(seen[..., None], rays, 0))
    weight = single(limb_joints(seen[..., None]))
    total = xp.clip(weight.sum((1, 2)), 1e-6, None)
    middle = (limb_joints(rays) * weight).sum((1, 2)) / total  # (B, 2)
    rotation = rotation_to_unit_ray(unit(xp.concatenate([middle, xp.ones_like(total)], -1)))

    # Rows (x, y, 1) times the rotation: camera axes to the virtual camera's.
    turned = rays.reshape(len(rays), -1, 2) @ rotation[:, :2] + rotation[:, 2:]
    turned = turned[..., :2] / xp.clip(turned[..., 2:], LEAST_DEPTH, None)
    turned = turned.reshape(rays.shape)  # (B, F, 17, 2)

    limbs = limb_joints(turned)
    per_frame = xp.clip(weight.sum(2, keepdims=True), 1e-6, None)
    centre = (limbs * weight).sum(2, keepdims=True) / per_frame
    size = xp.sqrt((((limbs - centre) ** 2) * weight).sum((1, 2, 3)) / total[:, 0])
    size = xp.clip(size, LEAST_SIZE, None)[:, None, None]  # (B, 1, 1)
    channels = [
        xp.where(seen, turned[..., 0] / size, 0),
        xp.where(seen, turned[..., 1] / size, 0),
        single(xp.where(seen, confidence, 0)),
        xp.broadcast_to(xp.log(size) - LOG_SIZE_CENTRE, confidence.shape),
    ]
    return WindowInputs(xp.stack(channels, -1), rotation)


def unrotate(poses: Array, rotation: Array) -> Array:
    """Turn poses (B, K, 17, 3) from virtual camera axes into camera axes."""
    return rotate_all(rotation, poses)


def mirror_sides(joints: Array) -> Array:
    """Window inputs (..., 17, 4) or poses (..., 17, 3) of the mirrored person: x negated, sides
    exchanged."""
    # By slices, as in `limb_joints`.
    parts = ((0, 1), (4, 7), (1, 4), (7, 11), (14, 17), (11, 14))
    other = namespace(joints).concatenate([joints[..., a:b, :] for a, b in parts], -2)
    other[..., 0] *= -1
    return other


class WindowLifter(Protocol):
    """A lifter as the pipeline needs it: (B, frames, 17, 4) -> (B, targets, 17, 3), float32."""

    frames: int
    targets: int

    def __call__(self, values: Floats, /) -> Floats: ...


def lift_windows(rays: Floats, confidence: Floats, time_s: Floats, lifter: WindowLifter) -> Floats:
    """Lift a stretch in which the person is always there.

    Frame rates that the lifter was not trained for are brought into its range: faster clips are
    lifted as interleaved slower ones (every n-th frame from each of n starts), slower or uneven
    ones are resampled and the result read at the frames' times.

    Args:
        rays: (T, 17, 2), pixels minus the principal point over the focal length.
        confidence: (T, 17), 0 where a joint is missing.
        time_s: (T,) ascending.
    Returns:
        (T, 17, 3) metres around the mid-hips, camera axes, for a body of standard height.
    """
    count = len(rays)
    rays = np.where(confidence[..., None] > 0, rays, 0)
    steps = np.diff(time_s)
    step = float(np.median(steps)) if len(steps) else 1 / LIFT_FPS
    uneven = len(steps) > 0 and bool((np.abs(steps - step) > 0.25 * step).any())
    if uneven or 1 / step < FPS_RANGE[0]:
        # From the first to the last time stamp: read beyond its grid, a pose would come late.
        span = time_s[-1] - time_s[0]
        grid = np.linspace(time_s[0], time_s[-1], max(2, round(span * LIFT_FPS) + 1))
        sampled, sure = _sample(rays, confidence, time_s, grid)
        poses = _lift_even(sampled, sure, lifter)
        flat = poses.reshape(len(grid), -1)
        columns = [np.interp(time_s, grid, column) for column in flat.T]
        return np.stack(columns, -1).reshape(count, 17, 3)
    stride = max(1, round(1 / step / LIFT_FPS))
    while 1 / step / stride > FPS_RANGE[1]:
        stride += 1
    poses = np.empty((count, 17, 3))
    for first in range(min(stride, count)):
        poses[first::stride] = _lift_even(rays[first::stride], confidence[first::stride], lifter)
    return poses


def _sample(
    rays: Floats, confidence: Floats, time_s: Floats, grid: Floats
) -> tuple[Floats, Floats]:
    """Linear interpolation onto other times; a joint missing on either side is missing."""
    after = np.clip(np.searchsorted(time_s, grid), 1, max(1, len(time_s) - 1))
    after = np.minimum(after, len(time_s) - 1)
    before = np.maximum(after - 1, 0)
    span = np.maximum(time_s[after] - time_s[before], 1e-9)
    share = np.clip((grid - time_s[before]) / span, 0, 1)[:, None]
    sampled = rays[before] * (1 - share[..., None]) + rays[after] * share[..., None]
    both = np.minimum(confidence[before], confidence[after])
    return sampled, np.where(both > 0, both, 0)


def _lift_even(rays: Floats, confidence: Floats, lifter: WindowLifter) -> Floats:
    """Lift a stretch at the lifter's own rate: overlapping windows, each also mirrored."""
    count = len(rays)
    hop = max(1, lifter.targets // 3)
    reach, half = lifter.frames // 2, lifter.targets // 2
    centres = np.arange(0, count + hop - 1, hop)
    offset = np.arange(-half, half + 1)
    # Frames in the middle of a window's answer have seen most on both sides.
    weight = (half + 1 - np.abs(offset)).astype(float)
    total, share = np.zeros((count, 17, 3)), np.zeros(count)
    for start in range(0, len(centres), _BATCH):
        batch = centres[start : start + _BATCH]
        index = np.clip(batch[:, None] + np.arange(-reach, reach + 1), 0, count - 1)
        inputs = look_at_person(rays[index], confidence[index])
        both = np.concatenate([inputs.values, mirror_sides(inputs.values)])
        straight, turned = np.split(lifter(both), 2)
        poses = unrotate((straight + mirror_sides(turned)) / 2, inputs.rotation)
        frame = batch[:, None] + offset  # (B, K)
        inside = (frame >= 0) & (frame < count)
        given = np.broadcast_to(weight, frame.shape)[inside]
        np.add.at(total, frame[inside], poses[inside] * given[:, None, None])
        np.add.at(share, frame[inside], given)
    poses = total / share[:, None, None]
    # The root is the middle of the hips by definition; the network's own answer for it is not used.
    poses -= (poses[:, 1:2] + poses[:, 4:5]) / 2
    poses[:, 0] = 0
    return poses
