"""A detector's errors, as measured on rendered people, added to exact 2D joints.

The measurement (docs/benchmarks/detector_noise.md) gives for every joint, in units of the person's
size in the image and separately for visible and hidden joints: a part constant over a clip, a part
that wanders (first-order autoregression), a white part, and rare bursts of large errors; a place on
the body at which the detector puts the joint; how sure it says it is; and how often left and right
legs or arms are swapped for a moment. Which joints are hidden follows here from the pose: what lies
behind the trunk, the head or another limb.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from importlib.resources import files
from itertools import pairwise
from operator import or_
from typing import Any, NamedTuple

import numpy as np

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.arrays import Array, Floats, changed_where, namespace, single
from lithepose.lifters.windows import LIMBS, MIRROR, limb_joints
from lithepose.mocap.motions import trunk_frame
from lithepose.rotations import unit
from lithepose.skeletons import SKELETONS

_BODY = SKELETONS["h36m17"]
_PARENTS = np.array(_BODY.parents)
# The two legs, and the two arms, in the order of h36m17.
_LEGS, _ARMS = (slice(1, 4), slice(4, 7)), (slice(11, 14), slice(14, 17))
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
# Joints that get hidden, and what hides them: (first joint, second joint, radius in metres). A
# limb does not hide its own joints.
HIDEABLE = np.array([2, 3, 5, 6, 9, 12, 13, 15, 16])
COVERS = (
    (0, 8, 0.13),
    (9, 10, 0.08),
    *((1, 2, 0.07), (2, 3, 0.05), (4, 5, 0.07), (5, 6, 0.05)),
    *((11, 12, 0.045), (12, 13, 0.04), (14, 15, 0.045), (15, 16, 0.04)),
)
COVER_EVERY = 3  # frames; hiding changes slowly


@dataclass(frozen=True, kw_only=True)
class JointErrors:
    """Errors of the 17 joints in one state (visible or hidden); arrays (17,), in person sizes.

    Attributes:
        constant: spread of the part constant over a clip.
        wandering, wandering_s: spread and correlation time in seconds of the slow part.
        white: spread of the part independent from frame to frame.
        burst, burst_share: spread of large errors, and the share of frames that have them.
        confidence: (17, 7) quantiles at 0, 5, 25, 50, 75, 95, 100 %.
    """

    constant: Floats
    wandering: Floats
    wandering_s: Floats
    white: Floats
    burst: Floats
    burst_share: Floats
    confidence: Floats


@dataclass(frozen=True, kw_only=True)
class DetectorNoise:
    """A detector's errors, and how they are added to what a camera sees.

    Attributes:
        visible, hidden: errors in the two states.
        offset: (17, 3) statures, outward (to the joint's own side), forward and up (towards the
            parent joint for knees, ankles, elbows, wrists): where the detector puts the joint.
        swaps_per_s: how often left and right legs, and arms, are swapped for one or two frames.
        strength: (lowest, highest) factor on all errors, drawn for each clip, because people in
            photographs are harder or easier to see than rendered ones.
    """

    visible: JointErrors
    hidden: JointErrors
    offset: Floats
    swaps_per_s: float
    strength: tuple[float, float] = (0.6, 1.6)

    @classmethod
    def measured(cls) -> DetectorNoise:
        """The errors of the default detector, from the file in this package."""
        text = (files("lithepose.mocap") / "detector_noise.json").read_text(encoding="utf-8")
        record = json.loads(text)
        rows = [record["joints"][name] for name in _BODY.joints]
        exchanges = record["exchanges"]
        return cls(
            visible=_errors(rows, "visible"),
            hidden=_errors(rows, "hidden"),
            offset=_both_sides(np.array([row["body_offset"] for row in rows])),
            swaps_per_s=(exchanges["legs"]["onsets_per_s"] + exchanges["arms"]["onsets_per_s"]) / 2,
        )

    def __call__(
        self, rays: Floats, camera: Floats, fps: Floats, random: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Noisy rays (B, F, 17, 2) and confidences (B, F, 17) of exact rays (B, F, 17, 2) to joints
        (B, F, 17, 3) in camera axes, at (B,) frames per second."""
        count, frames = rays.shape[:2]
        tables = self.tables(frames, float(np.median(fps)))
        return add_noise(rays, camera, tables, self.draw(count, frames, random))

    def tables(self, frames: int, rate: float) -> NoiseTables:
        """What adding noise to windows of so many frames, and frames per second, looks up."""
        states = (self.visible, self.hidden)

        def both(name: str) -> Floats:
            return np.stack([getattr(state, name) for state in states])

        side = np.zeros((17, 1), np.float32)
        side[[4, 5, 6, 11, 12, 13]], side[[1, 2, 3, 14, 15, 16]] = 1, -1
        metres = self.offset * STANDARD_HEIGHT_M
        lag = float(np.mean(self.visible.wandering_s[LIMBS])) * rate
        column = np.full(17, len(HIDEABLE))
        column[HIDEABLE] = np.arange(len(HIDEABLE))
        return NoiseTables(
            strength=self.strength,
            swap_share=self.swaps_per_s / rate,
            constant=both("constant"),
            wandering=both("wandering"),
            white=both("white"),
            burst=both("burst"),
            burst_over=_normal_quantile(1 - both("burst_share")),
            confidence=both("confidence"),
            outward_m=metres[:, :1] * side,
            forward_m=metres[:, 1:2],
            upward_m=metres[:, 2:],
            mixing=autoregression(frames, lag),
            parents=np.maximum(_PARENTS, 0),
            up_the_limb=np.isin(np.arange(17), (2, 3, 5, 6, 12, 13, 15, 16))[:, None],
            hideable=HIDEABLE,
            not_own=np.array([~np.isin(HIDEABLE, cover[:2]) for cover in COVERS]),
            looked_at=np.arange(frames)[:, None] // COVER_EVERY,
            hideable_column=column,
        )

    def draw(self, count: int, frames: int, random: np.random.Generator) -> NoiseNumbers:
        """Draw the numbers of windows with NumPy."""

        def normal(*shape: int) -> Floats:
            return random.standard_normal((count, *shape), dtype=np.float32)

        return NoiseNumbers(
            slow=normal(frames, 17, 2),
            unsure=normal(frames, 17),
            white=normal(frames, 17, 2),
            constant=normal(1, 17, 2),
            strength=random.random(count),
            offset=random.standard_normal(count),
            level=normal(frames, 17),
            slips=random.random((4, count, frames)),
        )


class NoiseTables(NamedTuple):
    """What `add_noise` looks up; arrays of one kind. Pairs are of visible and hidden joints."""

    strength: tuple[float, float]  # lowest and highest
    swap_share: float  # of frames, in which a left-right swap begins
    constant: Array  # (2, 17), this and the next three as in `JointErrors`
    wandering: Array
    white: Array
    burst: Array
    burst_over: Array  # (2, 17) how unsure a joint is at least where a burst happens
    confidence: Array  # (2, 17, 7) as in `JointErrors`
    outward_m: Array  # (17, 1) offset to the left, or to the right
    forward_m: Array  # (17, 1)
    upward_m: Array  # (17, 1)
    mixing: Array  # (F, F) of `autoregression`
    parents: Array  # (17,) the joint at the other end of each joint's bone
    up_the_limb: Array  # (17, 1) whether the upward offset is towards the parent
    hideable: Array  # `HIDEABLE`
    not_own: Array  # (10, 9) whether such a joint is none of the cover's own
    looked_at: Array  # (F, 1) in which of the frames that are looked at a frame's hiding is seen
    hideable_column: Array  # (17,) each joint's place in `HIDEABLE`, 9 for those never hidden


class NoiseNumbers(NamedTuple):
    """Random numbers of N windows with noise, normal unless uniform."""

    slow: Array  # (N, F, 17, 2) of the wandering part
    unsure: Array  # (N, F, 17) high where a burst happens, and where trust is low
    white: Array  # (N, F, 17, 2)
    constant: Array  # (N, 1, 17, 2)
    strength: Array  # (N,) uniform
    offset: Array  # (N,) how much a window's offsets differ from the measured ones
    level: Array  # (N, F, 17) of the confidence
    # Four times (N, F), uniform: whether a left-right swap of the legs begins, and whether it lasts
    # a second frame; then of the arms.
    slips: Array | Sequence[Array]


def add_noise(
    rays: Array, camera: Array, tables: NoiseTables, numbers: NoiseNumbers
) -> tuple[Array, Array]:
    """What given random numbers make of rays (N, F, 17, 2) to joints (N, F, 17, 3) in camera axes.

    Returns:
        Noisy rays, and confidences (N, F, 17).
    """
    xp = namespace(rays)
    hidden = hidden_joints(camera, tables)  # (N, F, 17)

    def of_state(pair: Array) -> Array:
        return xp.where(hidden, pair[1], pair[0])

    slow = tables.mixing @ numbers.slow.reshape(*rays.shape[:2], -1)
    unsure = tables.mixing @ numbers.unsure
    burst = unsure > of_state(tables.burst_over)
    spread = xp.where(burst, of_state(tables.burst), of_state(tables.wandering))
    error = spread[..., None] * slow.reshape(rays.shape)
    error = error + of_state(tables.white)[..., None] * numbers.white
    error = error + of_state(tables.constant)[..., None] * numbers.constant
    low, high = tables.strength
    strength = single(low + (high - low) * numbers.strength)[:, None, None, None]

    limbs = limb_joints(rays)
    size = xp.sqrt(((limbs - limbs.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1))
    amount = (1 + 0.5 * numbers.offset)[:, None, None, None]
    moved = camera + detector_offsets(camera, tables) * amount
    seen = moved[..., :2] / xp.clip(moved[..., 2:], 0.1, None)
    seen = single(seen + strength * error * size[..., None, None])

    # The joints that err most are, as a rule, those that the detector is least sure of.
    level = _normal_share(0.6 * numbers.level - 0.8 * unsure)
    confidence = of_state(tables.confidence[..., 0])
    for i, (start, end) in enumerate(pairwise(QUANTILES)):
        rise = tables.confidence[..., i + 1] - tables.confidence[..., i]
        confidence = confidence + xp.clip((level - start) / (end - start), 0, 1) * of_state(rise)
    for sides, slips in ((_LEGS, numbers.slips[:2]), (_ARMS, numbers.slips[2:])):
        seen, confidence = _swapped(seen, confidence, sides, slips, tables)
    return seen, confidence


def hidden_joints(camera: Array, tables: NoiseTables) -> Array:
    """(N, F, 17), whether something of the body lies before a joint of (N, F, 17, 3)."""
    xp = namespace(camera)
    some = camera[:, ::COVER_EVERY]
    joints = some[..., tables.hideable, :]
    depth = joints[..., 2]
    x, y = joints[..., 0] / depth, joints[..., 1] / depth

    def covered(first: int, second: int, radius: float) -> Array:
        start, end = some[..., first, None, :], some[..., second, None, :]
        start_x, start_y = start[..., 0] / start[..., 2], start[..., 1] / start[..., 2]
        # Written out in x and y: sums over an axis of two are slow.
        along_x = end[..., 0] / end[..., 2] - start_x
        along_y = end[..., 1] / end[..., 2] - start_y
        from_x, from_y = x - start_x, y - start_y
        length = xp.clip(along_x * along_x + along_y * along_y, 1e-8, None)
        share = xp.clip((from_x * along_x + from_y * along_y) / length, 0, 1)
        nearest = start[..., 2] + share * (end[..., 2] - start[..., 2])
        gap = (from_x - share * along_x) ** 2 + (from_y - share * along_y) ** 2
        return (gap * nearest**2 < radius**2) & (nearest < depth - radius)

    others = zip(COVERS, tables.not_own, strict=True)
    hidden = reduce(or_, (covered(*cover) & allowed for cover, allowed in others))
    never = xp.zeros_like(hidden[..., :1])
    hidden = xp.concatenate([hidden, never], -1)
    return hidden[:, tables.looked_at, tables.hideable_column]


def detector_offsets(camera: Array, tables: NoiseTables) -> Array:
    """(N, F, 17, 3) metres, camera axes: the measured offsets on this body in this pose."""
    frame = trunk_frame(camera)  # columns left, forward, up
    left, forward, trunk_up = (frame[..., None, :, i] for i in range(3))
    towards = unit(camera[..., tables.parents, :] - camera)
    up = namespace(camera).where(tables.up_the_limb, towards, trunk_up)
    return tables.outward_m * left + tables.forward_m * forward + tables.upward_m * up


def _swapped(
    seen: Array,
    confidence: Array,
    sides: tuple[slice, slice],
    slips: Array | Sequence[Array],
    tables: NoiseTables,
) -> tuple[Array, Array]:
    """Rays and confidences with left and right swapped in some frames, and in some frames after."""
    xp, (first, second), (begins, lasts) = namespace(seen), sides, slips
    begins = begins < tables.swap_share
    goes_on = (begins & (lasts < 0.4))[:, :-1]
    parts = (slice(first.start), second, first, slice(second.stop, None))

    def swapped(rows: Array) -> tuple[Array, Array]:
        points, sure = seen[rows], confidence[rows]
        return (
            xp.concatenate([points[..., part, :] for part in parts], -2),
            xp.concatenate([sure[..., part] for part in parts], -1),
        )

    swap = xp.concatenate([begins[:, :1], begins[:, 1:] | goes_on], 1)
    return changed_where(swap, swapped, seen, confidence)


def _both_sides(values: Floats) -> Floats:
    """Left and right joints averaged, (17, ...)."""
    return ((values + values[MIRROR]) / 2).astype(np.float32)


def _errors(rows: list[dict[str, Any]], state: str) -> JointErrors:
    # A state too rare to be measured is taken to be as the visible one.
    states = [
        row["visible"] | {name: value for name, value in row[state].items() if value is not None}
        for row in rows
    ]

    def column(name: str, default: float) -> Floats:
        values = [default if (v := of.get(name)) is None else v for of in states]
        return _both_sides(np.array(values, np.float32))

    quantiles = [of["confidence_quantiles_5_25_50_75_95"] for of in states]
    quantiles = [[0.5 * of[0], *of, (1 + of[-1]) / 2] for of in quantiles]
    return JointErrors(
        constant=column("clip_sigma", 0.03),
        wandering=column("slow_sigma", 0.04),
        wandering_s=np.maximum(column("slow_tau_s", 0.15), 0.02),
        white=column("white_sigma", 0.01),
        burst=column("tail_sigma", 0.15),
        burst_share=np.clip(column("tail_share", 0.05), 0.001, 0.5),
        confidence=_both_sides(np.array(quantiles, np.float32)),
    )


def autoregression(frames: int, lag: float) -> Floats:
    """(F, F) matrix that turns white noise over frames into noise of unit spread whose correlation
    falls to 1/e over `lag` frames."""
    step = np.exp(-1 / max(lag, 1e-3))
    power = np.arange(frames)[:, None] - np.arange(frames)
    matrix = np.where(power >= 0, step ** np.maximum(power, 0), 0) * np.sqrt(1 - step**2)
    matrix[:, 0] = step ** np.arange(frames)
    return matrix.astype(np.float32)


def _normal_share(values: Array) -> Array:
    """About the share of a normal distribution below each value (logistic form, error < 0.01)."""
    return 1 / (1 + namespace(values).exp(-1.702 * values))


def _normal_quantile(share: Floats) -> Floats:
    """The inverse of `_normal_share`."""
    return np.log(share / (1 - share)) / 1.702
