"""Figures of motion capture: what is read of them, what of that is fit to use, and how it is put on
a body of 17 joints.

What is recorded is how limbs are directed; what a copy of the database says of their lengths is
often a puppet's. So poses are rebuilt: directions from the file, lengths from a body.

Source axes are y up; figures face +z in their rest pose. Made positions are z up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lithepose.anthropometry import ANKLE_HEIGHT
from lithepose.arrays import Floats
from lithepose.formats.asfamc import INCH_M, read_amc, read_asf
from lithepose.formats.bvh import read_bvh
from lithepose.rotations import from_quaternions, slerp, to_quaternions, unit

CMU_FPS = 120.0  # of AMC files, which don't say
_SIDES = ("right", "left")


# ---- The four kinds of figures -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """Where a kind of file has what the recipe needs.

    Attributes:
        unit_m: metres of a unit of length, for BVH files, which don't say.
        joints: the nodes at hip, knee, ankle, shoulder, elbow and wrist, {} for the side.
        sides: what stands there for right and left.
        spine: the spine point is the middle of these nodes.
        head: the node that is turned as the head is.
        lead: frames of the file before the first that can be used: an added T-pose and what
            blends from it.
        rest: frames added to the recording at its beginning, so that frame `rest` is the
            recording's first.
    """

    unit_m: float
    joints: tuple[str, ...]
    sides: tuple[str, str]
    spine: tuple[str, ...]
    head: str
    lead: int
    rest: int

    def joint(self, at: int, side: str) -> str:
        return self.joints[at].format(self.sides[_SIDES.index(side)])

    def nodes(self) -> set[str]:
        named = {self.joint(at, side) for at in range(len(self.joints)) for side in _SIDES}
        return named | {*self.spine, self.head}


FIGURES = {
    # CMU's own. Its bones are named by the joint they begin at; here by the one they end at.
    "amc": _Figure(
        unit_m=INCH_M / 0.45,
        joints=("{}hipjoint", "{}femur", "{}tibia", "{}clavicle", "{}humerus", "{}radius"),
        sides=("r", "l"), spine=("lowerback",), head="head", lead=0, rest=0,
    ),
    # BVH made by amc2bvh.
    "max": _Figure(
        unit_m=INCH_M / 0.45,
        joints=("{}Hip", "{}Knee", "{}Ankle", "{}Shoulder", "{}Elbow", "{}Wrist"),
        sides=("Right", "Left"), spine=("Chest",), head="Head", lead=3, rest=1,
    ),
    # The "Daz-friendly" BVH release.
    "daz": _Figure(
        unit_m=0.01,
        joints=("{}Thigh", "{}Shin", "{}Foot", "{}Shldr", "{}ForeArm", "{}Hand"),
        sides=("r", "l"), spine=("abdomen", "chest"), head="head", lead=11, rest=1,
    ),
    # BVH of Reallusion's figure; the T-pose stands in the place of the first two frames.
    "iclone": _Figure(
        unit_m=0.01,
        joints=tuple(f"CC_Base_{{}}_{name}" for name in
                     ("Thigh", "Calf", "Foot", "Upperarm", "Forearm", "Hand")),
        sides=("R", "L"), spine=("CC_Base_Spine02",), head="CC_Base_Head", lead=2, rest=0,
    ),
}  # fmt: skip
# The puppet's joints lie beside the limbs' axes, so limbs are directed as these vectors of the
# joints' own axes. Measured against the same recordings as ASF/AMC, subjects 01 to 03.
_DAZ_LIMBS = {
    "left": ((-0.01317, -0.99587, -0.08983), (-0.01403, -0.99587, -0.08974),
             (0.98969, -0.14323, -0.00032), (0.98997, -0.14129, 0.00054)),
    "right": ((0.00577, -0.99579, -0.09143), (0.00613, -0.99615, -0.08744),
              (-0.98981, -0.14237, -0.00275), (-0.98941, -0.14511, -0.00128)),
}  # fmt: skip
# amc2bvh leaves out the thorax bone: this many units along the Y axis of the node before it.
_MAX_THORAX = 2.068
_MAX_CHEST = "Chest2"
# From CMU's head to one that looks ahead: 15.8 degrees down, and 0.4 degrees to the side that came
# with the subjects it was measured on.
_GAZE = np.array(
    [[0.99997, 0.00721, -0.00254], [-0.00624, 0.96235, 0.27175], [0.00441, -0.27173, 0.96236]]
)


def guess_figure(names: Iterable[str]) -> str:
    """Which of `FIGURES` has such nodes.

    Raises:
        ValueError: none has.
    """
    found = set(names)
    for name, figure in FIGURES.items():
        if figure.nodes() <= found:
            return name
    raise ValueError(
        "its joints are named as in none of the known kinds of files: "
        + "; ".join(f"{name} ({figure.joint(0, 'left')} ...)" for name, figure in FIGURES.items())
    )


@dataclass(frozen=True, kw_only=True)
class Limbs:
    """What the recipe takes from a recording, T frames; y up, metres of the source's figure.

    Attributes:
        fps: frames per second.
        pelvis: (T, 3) the middle of the hips.
        leg_m: thigh and shin of the figure, which scales its way over the floor.
        hips: (T, 3) unit vectors from the right hip to the left.
        trunk: (T, 3) from the middle of the hips to the middle of the shoulders.
        spine: (T, 3) from the middle of the hips to the spine point.
        shoulders: (T, 3) from the right shoulder to the left.
        head: (T, 3, 3) turn of the head; at rest it faces +z with the vertex along +y.
        directions: (T, 2, 4, 3) unit vectors along thigh, shin, upper arm and forearm of the right
            and left side.
    """

    fps: float
    pelvis: Floats
    leg_m: float
    hips: Floats
    trunk: Floats
    spine: Floats
    shoulders: Floats
    head: Floats
    directions: Floats

    def __len__(self) -> int:
        return len(self.pelvis)

    def __getitem__(self, frames: slice) -> Limbs:
        return self._each(lambda values: values[frames])

    def _each(self, change: Callable[[Floats], Floats]) -> Limbs:
        names = ("pelvis", "hips", "trunk", "spine", "shoulders", "head", "directions")
        return replace(self, **{name: change(getattr(self, name)) for name in names})

    def resampled(self, fps: float) -> Limbs:
        """At another frame rate: directions between two frames are interpolated linearly, the
        head along the shortest turn."""
        count = int((len(self) - 1) * fps / self.fps) + 1
        at = np.arange(count) * self.fps / fps
        # The last frame pairs with itself, so that a clip of one frame is no exception.
        before = np.minimum(at.astype(int), len(self) - 1)
        after = np.minimum(before + 1, len(self) - 1)
        share = at - before

        def between(values: Floats) -> Floats:
            weight = share.reshape(-1, *[1] * (values.ndim - 1))
            return values[before] * (1 - weight) + values[after] * weight

        mixed = self._each(between)
        heads = to_quaternions(self.head)
        return replace(
            mixed,
            fps=fps,
            hips=unit(mixed.hips),
            directions=unit(mixed.directions),
            head=from_quaternions(slerp(heads[before], heads[after], share[:, None])),
        )


def limbs_of(
    positions: Floats,
    rotations: Floats,
    names: Sequence[str],
    *,
    fps: float,
    figure: str | None = None,
) -> Limbs:
    """What the recipe takes from a figure after forward kinematics.

    Args:
        positions: (T, N, 3) metres, y up: for `amc` the ends of the bones, for others the joints.
        rotations: (T, N, 3, 3) how the nodes are turned against the file's axes.
        names: of the N nodes.
        fps: frames per second.
        figure: which of `FIGURES` it is; guessed from the names where it isn't told.

    Raises:
        ValueError: no such figure, nodes are missing, there is no frame, or a limb has no length.
    """
    figure = figure or guess_figure(names)
    if figure not in FIGURES:
        raise ValueError(f"no kind of file is called {figure!r}; known: {', '.join(FIGURES)}")
    known = FIGURES[figure]
    missing = sorted(known.nodes() - set(names))
    if missing:
        raise ValueError(f"a file of kind {figure} has the joints {', '.join(missing)} too")
    if not len(positions):
        raise ValueError("there are no frames in it")
    index = {name: at for at, name in enumerate(names)}

    which = np.array([[index[known.joint(at, side)] for at in range(6)] for side in _SIDES])
    joints = positions[:, which]  # (T, 2 sides, 6 joints, 3)
    if figure == "max":
        thorax = rotations[:, index[_MAX_CHEST], :, 1] * _MAX_THORAX * known.unit_m
        joints[:, :, 3:] += thorax[:, None, None]
    links = joints[:, :, [1, 2, 4, 5]] - joints[:, :, [0, 1, 3, 4]]
    directions = links
    if figure == "daz":
        own = np.array([_DAZ_LIMBS[side] for side in _SIDES])  # (2, 4, 3)
        directions = (rotations[:, which[:, [0, 1, 3, 4]]] @ own[..., None])[..., 0]
    head = rotations[:, index[known.head]]
    hips, shoulders = joints[:, 1, 0] - joints[:, 0, 0], joints[:, 1, 3] - joints[:, 0, 3]
    pelvis, middle = joints[:, :, 0].mean(1), joints[:, :, 3].mean(1)
    spine = np.mean([positions[:, index[name]] for name in known.spine], axis=0) - pelvis
    for vectors in (links, hips, shoulders, middle - pelvis, spine):
        if (np.linalg.norm(vectors, axis=-1) < 1e-6).any():
            raise ValueError("a limb, the trunk, the hips or the shoulders have no length")
    # Of the left leg alone, as in the files that the shipped model was trained on.
    leg = np.linalg.norm(links[:, 1, :2], axis=-1).sum(-1)
    return Limbs(
        fps=fps,
        pelvis=pelvis,
        leg_m=float(np.median(leg)),
        hips=unit(hips),
        trunk=middle - pelvis,
        spine=spine,
        shoulders=shoulders,
        head=head if figure == "daz" else head @ _GAZE,
        directions=unit(directions),
    )


def read_limbs(
    path: str | os.PathLike[str],
    *,
    skeleton: str | os.PathLike[str] | None = None,
    figure: str | None = None,
) -> tuple[Limbs, str]:
    """Read a recording: what the recipe takes from it, and which of `FIGURES` it is.

    Args:
        path: an .amc or .bvh file.
        skeleton: the .asf file of an .amc file.
        figure: which of `FIGURES` it is; guessed from the names of its joints.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it can't be read, or is of no known kind.
    """
    path = Path(path)
    if path.suffix.lower() == ".amc":
        if skeleton is None:
            raise ValueError(f"{path} is a motion without its skeleton: give the .asf file too")
        motion = read_amc(path, read_asf(skeleton))
        names, fps, unit_m = motion.skeleton.names, motion.fps or CMU_FPS, 1.0
    else:
        motion = read_bvh(path)
        names, fps, unit_m = motion.names, 1 / motion.frame_time_s, 0.0
    try:
        figure = figure or guess_figure(names)
        if not unit_m and figure in FIGURES:
            unit_m = FIGURES[figure].unit_m
        positions, rotations = motion.places()
        return limbs_of(positions * unit_m, rotations, names, fps=fps, figure=figure), figure
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


# ---- The recipe ----------------------------------------------------------------------------------


def positions17(limbs: Limbs, body: Mapping[str, float]) -> Floats:
    """Put a recording on a body: (T, 17, 3) metres in the order `h36m17`, z up, not yet on the
    floor.

    Shoulders and spine keep their motion against the trunk, so those distances vary; their middle
    values are the body's.

    Args:
        limbs: the recording.
        body: stature and segments by name, metres, as in `FILE_NAMES`.
    """
    pelvis = limbs.pelvis * ((body["thigh"] + body["shin"]) / limbs.leg_m)
    trunk, spine, shoulders = (
        vectors * (length / reduce(np.linalg.norm(vectors, axis=-1)))
        for vectors, length, reduce in (
            # Nearly the longest it gets: a bent back brings hips and shoulders nearer.
            (limbs.trunk, body["trunk"], lambda lengths: np.percentile(lengths, 90)),
            (limbs.spine, 0.47 * body["trunk"], np.median),
            (limbs.shoulders, body["shoulder_width"], np.median),
        )
    )
    thorax = pelvis + trunk
    up, ahead = limbs.head[..., 1], limbs.head[..., 2]
    skull = thorax + body["neck"] * unit(unit(trunk) + up)
    joints = np.empty((len(limbs), 17, 3))
    joints[:, 0], joints[:, 7], joints[:, 8] = pelvis, pelvis + spine, thorax
    joints[:, 9] = skull + body["nose_forward"] * ahead + body["nose_up"] * up
    joints[:, 10] = skull + body["head"] * up
    thigh, shin, upper_arm, forearm = np.moveaxis(limbs.directions, 2, 0)  # each (T, 2, 3)
    for side, (hip, shoulder, sign) in enumerate(((1, 14, -0.5), (4, 11, 0.5))):
        joints[:, hip] = pelvis + sign * body["hip_width"] * limbs.hips
        joints[:, hip + 1] = joints[:, hip] + body["thigh"] * thigh[:, side]
        joints[:, hip + 2] = joints[:, hip + 1] + body["shin"] * shin[:, side]
        joints[:, shoulder] = thorax + sign * shoulders
        joints[:, shoulder + 1] = joints[:, shoulder] + body["upper_arm"] * upper_arm[:, side]
        joints[:, shoulder + 2] = joints[:, shoulder + 1] + body["forearm"] * forearm[:, side]
    return np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], -1)


def on_the_floor(stretches: Sequence[Floats], height_m: float) -> list[Floats]:
    """Shift the stretches (T, 17, 3) of one clip together: the floor at z = 0, where the ankles
    nearly at their lowest say it is, and the first pelvis over the origin."""
    together = np.concatenate(stretches)
    lowest = np.percentile(together[:, [3, 6], 2].min(1), 3)
    shift = np.append(-together[0, 0, :2], ANKLE_HEIGHT * height_m - lowest)
    return [joints + shift for joints in stretches]


# ---- What of a recording is fit to use -----------------------------------------------------------

_FASTEST_DEG_S, _FASTEST_M_S = 3000.0, 10.0
_SLOW_FPS, _FASTEST_SLOW_DEG_S = 45.0, 2600.0  # few frames a second round fast turns off
_KNEE_DEG = 35.0
_MARGIN_S, _SHORTEST_S = 0.025, 0.6


def usable_stretches(limbs: Limbs, first: int = 0) -> list[tuple[int, int]]:
    """The stretches (first frame, frame after the last) of a recording that show a body's motion.

    Left out, with a fortieth of a second to both sides: limbs that turn faster than 3000 degrees a
    second (2600 below 45 frames a second), a pelvis faster than 10 m/s, knees bent more than 35
    degrees the wrong way. Stretches shorter than 0.6 s are left out, too.

    Args:
        limbs: the recording.
        first: frames at the beginning to leave out in any case.
    """
    flat = limbs.directions.reshape(len(limbs), -1, 3)
    cosine = np.clip((flat[1:] * flat[:-1]).sum(-1), -1, 1)
    turning = np.degrees(np.arccos(cosine)).max(1, initial=0) * limbs.fps
    moving = np.linalg.norm(np.diff(limbs.pelvis, axis=0), axis=-1) * limbs.fps
    fastest = _FASTEST_DEG_S if limbs.fps > _SLOW_FPS else _FASTEST_SLOW_DEG_S
    leap = (turning > fastest) | (moving > _FASTEST_M_S)
    # Knees bend about the hips' axis; positive is the right way.
    thigh, shin = limbs.directions[:, :, 0], limbs.directions[:, :, 1]
    bend = (np.cross(thigh, shin) * limbs.hips[:, None]).sum(-1)
    bad = (bend < -np.sin(np.radians(_KNEE_DEG))).any(1)
    bad[1:] |= leap
    bad[:-1] |= leap
    spread = np.ones(2 * int(_MARGIN_S * limbs.fps) + 1)
    bad = np.convolve(bad, spread)[len(spread) // 2 :][: len(bad)] > 0
    bad[:first] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[True], bad, [True]]).astype(int)))
    stretches = edges.reshape(-1, 2).tolist()
    shortest = _SHORTEST_S * limbs.fps
    return [(start, end) for start, end in stretches if end - start >= shortest]
