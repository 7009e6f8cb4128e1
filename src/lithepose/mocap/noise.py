"""A detector's errors, as measured on rendered people, added to exact 2D joints.

The measurement (docs/benchmarks/detector_noise.md) gives for every joint, in units of the person's
size in the image and separately for visible and hidden joints: a part constant over a clip, a part
that wanders (first-order autoregression), a white part, and rare bursts of large errors; a place on
the body at which the detector puts the joint; how sure it says it is; and how often legs or arms
are exchanged for a moment. Which joints are hidden follows here from the pose: what lies behind the
trunk, the head or another limb.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.lifters.windows import LIMBS, MIRROR
from lithepose.mocap.motions import trunk_frame
from lithepose.skeletons import SKELETONS

_BODY = SKELETONS["h36m17"]
_PARENTS = np.array(_BODY.parents)
LEGS, ARMS = np.array([1, 2, 3, 4, 5, 6]), np.array([11, 12, 13, 14, 15, 16])
QUANTILES = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])
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
    """Adds a detector's errors to what a camera sees; see `lithepose.mocap.windows.Noise`.

    Attributes:
        visible, hidden: errors in the two states.
        offset: (17, 3) statures, outward (to the joint's own side), forward and up (towards the
            parent joint for knees, ankles, elbows, wrists): where the detector puts the joint.
        exchange_per_s: how often legs, and how often arms, are exchanged for one or two frames.
        strength: (lowest, highest) factor on all errors, drawn for each clip, because people in
            photographs are harder or easier to see than rendered ones.
    """

    visible: JointErrors
    hidden: JointErrors
    offset: Floats
    exchange_per_s: float
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
            exchange_per_s=(exchanges["legs"]["onsets_per_s"] + exchanges["arms"]["onsets_per_s"])
            / 2,
        )

    def __call__(
        self, rays: Floats, camera: Floats, fps: Floats, random: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """See `lithepose.mocap.windows.Noise`: (B, F, 17, 2) rays of `camera` (B, F, 17, 3) joints
        at (B,) frames per second become noisy rays and confidences (B, F, 17)."""
        count, frames = rays.shape[:2]
        rate = float(np.median(fps))
        hidden = self._hidden(camera)  # (B, F, 17)

        def state(name: str) -> Floats:
            return np.where(hidden, getattr(self.hidden, name), getattr(self.visible, name))

        wander_s = float(np.mean(self.visible.wandering_s[LIMBS]))
        mixing = autoregression(frames, wander_s * rate)

        def normal(*shape: int) -> Floats:
            return random.standard_normal(shape, dtype=np.float32)

        def wandering(columns: int) -> Floats:
            return mixing @ normal(count, frames, columns)

        slow = wandering(34).reshape(count, frames, 17, 2)
        unsure = wandering(17)  # (B, F, 17): high where a burst happens, and where trust is low
        burst = unsure > _normal_quantile(1 - state("burst_share"))
        spread = np.where(burst, state("burst"), state("wandering"))
        error = spread[..., None] * slow + state("white")[..., None] * normal(*rays.shape)
        error += state("constant")[..., None] * normal(count, 1, 17, 2)
        strength = random.uniform(*self.strength, (count, 1, 1, 1)).astype(np.float32)

        limbs = rays[..., LIMBS, :]
        size = np.sqrt(((limbs - limbs.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1))
        moved = camera + self._offsets(camera) * random.normal(1, 0.5, (count, 1, 1, 1))
        seen = moved[..., :2] / np.maximum(moved[..., 2:], 0.1)
        seen = seen + strength * error * size[..., None, None]

        # The joints that err most are, as a rule, those that the detector is least sure of.
        level = _normal_share(0.6 * normal(count, frames, 17) - 0.8 * unsure)
        confidence = np.empty(hidden.shape, np.float32)
        for joint in range(17):
            sure = np.interp(level[..., joint], QUANTILES, self.visible.confidence[joint])
            least = np.interp(level[..., joint], QUANTILES, self.hidden.confidence[joint])
            confidence[..., joint] = np.where(hidden[..., joint], least, sure)
        for joints in (LEGS, ARMS):
            begins = random.random((count, frames)) < self.exchange_per_s / rate
            lasts = random.random((count, frames)) < 0.4
            exchanged = begins.copy()
            exchanged[:, 1:] |= begins[:, :-1] & lasts[:, :-1]
            clip, frame = np.nonzero(exchanged)
            for values in (seen, confidence):
                values[clip[:, None], frame[:, None], joints] = values[
                    clip[:, None], frame[:, None], MIRROR[joints]
                ]
        return seen.astype(np.float32), confidence

    def _hidden(self, camera: Floats) -> NDArray[np.bool_]:
        """(B, F, 17), whether something of the body lies before a joint."""
        some = camera[:, ::COVER_EVERY]
        depth = some[..., HIDEABLE, 2]
        point = some[..., HIDEABLE, :2] / depth[..., None]
        covered = np.zeros(depth.shape, bool)
        for first, second, radius in COVERS:
            own = np.isin(HIDEABLE, (first, second))
            start, end = some[..., first, :], some[..., second, :]
            a, b = (joint[..., :2] / joint[..., 2:] for joint in (start, end))
            along = b - a
            # Written out in x and y: sums over an axis of two are slow.
            x, y = along[..., None, 0], along[..., None, 1]
            from_x, from_y = point[..., 0] - a[..., None, 0], point[..., 1] - a[..., None, 1]
            share = (from_x * x + from_y * y) / np.maximum(x * x + y * y, 1e-8)
            share = np.clip(share, 0, 1)
            nearest = start[..., None, 2] + share * (end - start)[..., None, 2]
            gap = (from_x - share * x) ** 2 + (from_y - share * y) ** 2
            close = gap * nearest**2 < radius**2
            covered |= close & (nearest < depth - radius) & ~own
        hidden = np.zeros((*some.shape[:2], 17), bool)
        hidden[..., HIDEABLE] = covered
        return np.repeat(hidden, COVER_EVERY, axis=1)[:, : camera.shape[1]]

    def _offsets(self, camera: Floats) -> Floats:
        """(B, F, 17, 3) metres, camera axes: the measured offsets on this body in this pose."""
        frame = trunk_frame(camera)  # columns left, forward, up
        left, forward, trunk_up = (frame[..., None, :, i] for i in range(3))
        side = np.zeros((17, 1), np.float32)
        side[[4, 5, 6, 11, 12, 13]] = 1
        side[[1, 2, 3, 14, 15, 16]] = -1
        towards = camera[..., _PARENTS, :] - camera
        towards /= np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-6)
        limb = np.isin(np.arange(17), (2, 3, 5, 6, 12, 13, 15, 16))[:, None]
        up = np.where(limb, towards, trunk_up)
        metres = self.offset * STANDARD_HEIGHT_M
        return metres[:, :1] * side * left + metres[:, 1:2] * forward + metres[:, 2:] * up


def _both_sides(values: Floats) -> Floats:
    """Left and right joints averaged, (17, ...)."""
    return ((values + values[MIRROR]) / 2).astype(np.float32)


def _errors(rows: list[dict[str, Any]], state: str) -> JointErrors:
    def column(name: str, default: float) -> Floats:
        found = [row[state].get(name) for row in rows]
        seen = [row["visible"].get(name) for row in rows]
        # A state too rare to be measured is taken to be as the visible one.
        values = [
            f if f is not None else s if s is not None else default
            for f, s in zip(found, seen, strict=True)
        ]
        return _both_sides(np.array(values, np.float32))

    quantiles = []
    for row in rows:
        of = (
            row[state].get("confidence_quantiles_5_25_50_75_95")
            or row["visible"]["confidence_quantiles_5_25_50_75_95"]
        )
        quantiles.append([0.5 * of[0], *of, (1 + of[-1]) / 2])
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


def _normal_share(values: Floats) -> Floats:
    """About the share of a normal distribution below each value (logistic form, error < 0.01)."""
    return 1 / (1 + np.exp(-1.702 * values))


def _normal_quantile(share: Floats) -> Floats:
    """The inverse of `_normal_share`."""
    return np.log(share / (1 - share)) / 1.702
