"""Head, hands and feet: the 14 points of `lithepose31` that no lifter gives, found in 3D.

Head, hands and feet are rigid, so one rotation each says where their points are. Three things
decide it: the points seen in 2D, which lie on known lines of sight; the detector's own 3D, if it
has one, which can tell near from far; and anatomy, a rest pose against trunk, forearm or shin. Each
is weighted by how well it is known, the rotation that fits best is found in every frame, and what a
part does against its rest pose is then averaged over neighbouring frames. A part that was not seen
thus follows its neighbours in time and, farther away, its rest pose.

Axes of a part: right, forward and up of a person who stands upright with hanging arms, palms to
the body. A part's rotation takes them to camera axes (x right, y down, z forward).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lithepose.anthropometry import (
    BLAZEPOSE_SEES,
    BLAZEPOSE_WORLD,
    SEGMENTS,
    TEMPLATE,
    Template,
)
from lithepose.arrays import Floats
from lithepose.poses import overlapping_parts
from lithepose.rotations import (
    axes_along,
    cross_matrices,
    dot,
    from_rotation_vectors,
    swing,
    to_rotation_vectors,
    transpose,
    unit,
)
from lithepose.skeletons import skeleton_named

_BODY = skeleton_named("lithepose31")
_PARENTS = np.array(_BODY.parents[:17])
_LIMB_ENDS = [2, 3, 5, 6, 12, 13, 15, 16]  # knees, ankles, elbows, wrists

# Bones that tell the stature: joints of both sides, and the bone's share of it.
STATURE_BONES = (
    (((1, 2), (4, 5)), SEGMENTS["thigh"]),
    (((2, 3), (5, 6)), SEGMENTS["shin"]),
    (((0, 8),), SEGMENTS["trunk"]),
)
STATURES_M = (0.3, 4.0)  # outside, the joints are in another unit

# How far, in degrees about right, forward and up, parts turn from their rest pose; for the head,
# whose rest pose comes from the lifted nose and head top, how far that is off.
REST_SPREAD_DEG = {"head": (10, 8, 12), "hand": (15, 25, 40), "foot": (20, 10, 18)}
# A turn beyond so many spreads is no person's: this is what keeps feet from pointing backwards.
MOST_SPREADS = 2.5
# How far a seen point is from where its part's rotation puts it, in shares of the stature.
PICTURE_SPREAD = {"head": 0.006, "hand": 0.008, "foot": 0.010}
# The same of the detector's own 3D, whose errors are large and shared by a part's points.
WORLD_SPREAD = 0.08
# Errors beyond so many spreads count less and less.
OUTLIER = 3.0
# How strongly hips and shoulders speak on the twist of a limb, against its own bend, and shoulders
# on the turn of the head, against nose and head top.
TRUNK_VOTE = 0.3
HEAD_VOTE = 0.5
# From the face turned towards the camera by this much it counts in full, and away by it, not at all
# (sine of the angle): detectors invent faces on the backs of heads.
FACING = 0.4
SMOOTH_S = 0.1  # standard deviation of the average over time
ROUNDS = 3  # of the fit; more change nothing that could be measured

# What the confidence in 3D is made of: misses and spreads in shares of the stature at which it is
# halved, what is left of it where nothing was seen, and what a limb along the line of sight costs.
HALF_MISS = 0.03
HALF_SPREAD = 0.03
UNSEEN = 0.3
ALONG_SIGHT = 0.5


@dataclass(frozen=True)
class _Part:
    """A rigid part of the body."""

    kind: str  # its key in the templates
    # Points of `lithepose31` that show how it is turned; the carrier of a hand or foot comes first.
    joints: tuple[str, ...]

    @property
    def points(self) -> list[int]:
        """The joints' numbers in `lithepose31`."""
        return [_BODY.index(joint) for joint in self.joints]

    @property
    def names(self) -> list[str]:
        """The joints' names in the templates."""
        return [joint.removeprefix("left_").removeprefix("right_") for joint in self.joints]

    @property
    def sides(self) -> list[int]:
        """-1 for joints of the left side, else 1."""
        return [-1 if joint.startswith("left_") else 1 for joint in self.joints]

    def positions(self, template: Template) -> Floats:
        """(N, 3) shares of the stature, part axes."""
        positions = np.array([template[self.kind][name] for name in self.names])
        positions[:, 0] *= self.sides
        return positions


PARTS = {"head": _Part("head", ("nose", "left_eye", "right_eye", "left_ear", "right_ear"))} | {
    f"{side}_{kind}": _Part(kind, tuple(f"{side}_{name}" for name in names))
    for kind, names in (
        ("hand", ("wrist", "index", "pinky")),
        ("foot", ("ankle", "heel", "big_toe", "small_toe")),
    )
    for side in ("left", "right")
}
_HEAD_MIDDLE = np.add(TEMPLATE["head"]["nose"], TEMPLATE["head"]["head_top"]) / 2
# The joint with which each of the 14 further points moves: nose, ankles, wrists.
CARRIERS = [9, 9, 9, 9, *_BODY.parents[21:]]
_MOST = max(len(part.joints) for part in PARTS.values())


def with_extremities(
    joints_camera: Floats,
    keypoints: Floats,
    confidence: Floats,
    time_s: Floats,
    focal_px: float,
    image_size: tuple[int, int],
    detector_world: Floats | None = None,
    *,
    skeleton: str = "blazepose33",
) -> tuple[Floats, Floats]:
    """Add eyes, ears, heels, toes and knuckles to lifted joints, and their confidence.

    Args:
        joints_camera: (T, 17, 3) metres, camera axes, absolute; a frame with nan has no person.
        keypoints: (T, 31, 2) pixels, the observed points of `lithepose31`; nan where missing.
        confidence: (T, 31) in [0, 1], of the keypoints.
        time_s: (T,) seconds, ascending.
        focal_px: focal length in pixels.
        image_size: (width, height) in pixels.
        detector_world: (T, 31, 3) metres, the detector's own 3D, camera axes, about any centre; nan
            where missing.
        skeleton: the joint set of the detector. BlazePose's points lie elsewhere than their names
            say (`BLAZEPOSE_SEES`); others are taken at their word.
    Returns:
        points (T, 31, 3) float64 metres, camera axes; the first 17 are `joints_camera`, all are nan
        in frames without a person. Confidence (T, 31) in [0, 1], see `confidence_in_3d`; 0 where a
        point is nan.
    Raises:
        ValueError: shapes don't fit each other, the joint set is unknown, times don't ascend, focal
            length or image size are not positive, or the joints are not in metres.
    """
    skeleton_named(skeleton)
    joints = np.asarray(joints_camera, dtype=np.float64)
    _check(joints, keypoints, confidence, time_s, focal_px, image_size, detector_world)
    points = np.full((len(joints), len(_BODY), 3), np.nan)
    points[:, :17] = joints
    confidence_3d = np.zeros((len(joints), len(_BODY)))
    there = np.isfinite(joints).all((1, 2)) & (joints[..., 2] > 0).all(1)
    if not there.any():
        return points, confidence_3d

    joints = joints[there]
    height = stature(joints)
    if not STATURES_M[0] <= height <= STATURES_M[1]:
        raise ValueError(
            f"the joints are those of a person {height:.3g} m tall: give joints_camera in metres"
        )
    rays = (np.asarray(keypoints, np.float64)[there] - np.array(image_size) / 2) / focal_px
    trust = np.clip(np.nan_to_num(np.asarray(confidence, np.float64)[there]), 0, 1)
    trust[~np.isfinite(rays).all(-1)] = 0
    world = None if detector_world is None else np.asarray(detector_world, np.float64)[there]
    times = np.asarray(time_s, np.float64)[there]
    frames = np.flatnonzero(there)
    for part, inner, own in overlapping_parts(len(joints)):
        of_detector = None if world is None else world[part]
        seen = joints[part], rays[part], trust[part], times[part]
        rotations, covariance = fit_rotations(*seen, height, of_detector, skeleton)
        placed, unsure = _place(joints[part], rotations, covariance, height)
        certain = confidence_in_3d(placed, rays[part], trust[part], unsure, height)
        points[frames[own]], confidence_3d[frames[own]] = placed[inner], certain[inner]
    return points, confidence_3d


def _check(joints, keypoints, confidence, time_s, focal_px, image_size, world) -> None:
    frames = len(joints)
    shapes = {
        "joints_camera": (joints, (frames, 17, 3)),
        "keypoints": (keypoints, (frames, 31, 2)),
        "confidence": (confidence, (frames, 31)),
        "time_s": (time_s, (frames,)),
    }
    if world is not None:
        shapes["detector_world"] = (world, (frames, 31, 3))
    for name, (array, shape) in shapes.items():
        if np.shape(array) != shape:
            raise ValueError(
                f"{name} has shape {np.shape(array)}: for {frames} frames give {shape}, the points "
                "in the order of lithepose31"
            )
    if (np.diff(time_s) <= 0).any() or not np.isfinite(time_s).all():
        raise ValueError("time_s does not ascend: give the frames in order, with their seconds")
    if not (np.isfinite(focal_px) and focal_px > 0):
        raise ValueError(f"focal_px is {focal_px}: give a positive focal length in pixels")
    if len(image_size) != 2 or not all(np.isfinite(side) and side > 0 for side in image_size):
        raise ValueError(f"image_size is {image_size}: give (width, height) in pixels")


def stature(joints: Floats) -> float:
    """A person's height in metres, from thighs, shins and trunk.

    Args:
        joints: (T, 17, 3) metres; nan frames are left out, one frame must be whole.
    """
    heights = []
    for bones, share in STATURE_BONES:
        ends = np.array(bones)
        lengths = np.linalg.norm(joints[:, ends[:, 0]] - joints[:, ends[:, 1]], axis=-1)
        heights.append(np.nanmedian(lengths) / share)
    return float(np.mean(heights))


# --- rotations -------------------------------------------------------------------------------


def rest_rotations(joints: Floats) -> Floats:
    """How head, hands and feet are turned as far as the joints tell.

    Args:
        joints: (T, 17, 3) camera axes, finite.
    Returns:
        (T, 5, 3, 3) in the order of `PARTS`.
    """
    hips = unit(joints[:, 1] - joints[:, 4])
    chest = axes_along(joints[:, 8] - joints[:, 0], joints[:, 14] - joints[:, 11], "zx")
    rest = [_rest_head(joints, chest[..., 0])]
    for side, shoulder in ((-1, 11), (1, 14)):
        upper = unit(joints[:, shoulder + 1] - joints[:, shoulder])
        fore = unit(joints[:, shoulder + 2] - joints[:, shoulder + 1])
        # Arms half raised to the side are least twisted; from there the shortest way leads to
        # where a straight arm points. A bent elbow shows its axis by itself.
        raised = chest @ from_rotation_vectors(np.array([0.0, -side * np.pi / 4, 0.0]))
        straight = (swing(-raised[..., 2], fore) @ raised)[..., 0]
        rest.append(axes_along(-fore, TRUNK_VOTE * straight + np.cross(upper, fore), "zx"))
    for hip in (4, 1):
        thigh = unit(joints[:, hip + 1] - joints[:, hip])
        shin = unit(joints[:, hip + 2] - joints[:, hip + 1])
        # A foot is square to its shin and looks where the knee bends, or where the hips look.
        rest.append(axes_along(-shin, TRUNK_VOTE * hips - np.cross(thigh, shin), "zx"))
    return np.stack(rest, axis=1)


def _rest_head(joints: Floats, shoulders: Floats) -> Floats:
    """(T, 3, 3) of nose, head top and thorax, leaning on the shoulders."""
    to_nose = unit(joints[:, 9] - joints[:, 10])
    across = unit(np.cross(to_nose, joints[:, 10] - joints[:, 8]))
    # Nobody looks backwards: where the line's sense is lost, the shoulders know it.
    sense = np.where(dot(across, shoulders) < 0, -1, 1)[:, None]
    across = across * sense + HEAD_VOTE * shoulders
    right = unit(across - dot(across, to_nose)[:, None] * to_nose)
    _, forward, up = np.subtract(TEMPLATE["head"]["head_top"], TEMPLATE["head"]["nose"])
    lean = np.arctan2(-forward, up)  # of the line from head top to nose, out of straight down
    upright = -np.cos(lean) * to_nose - np.sin(lean) * np.cross(to_nose, right)
    return axes_along(upright, right, "zx")


# --- the fit ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Observed:
    """What was seen of all parts; P parts, N points each, T frames last: long inner axes are what
    makes arithmetic on whole arrays fast."""

    shape: Floats  # (P, N, 3) metres, part axes, where the detector sees the points
    rays: Floats  # (P, N, 2, T), 0 where not seen
    depth: Floats  # (P, T) metres
    weight: Floats  # (P, N, T), one over the variance in square metres, 0 where not seen
    # (P, 3, 3, T), sum of the detector's 3D times its template, weighted; camera by part axes.
    pull: Floats
    spin: Floats  # (P, 3, 3, T), its information about turns in part axes


def _observe(
    joints: Floats,
    rays: Floats,
    confidence: Floats,
    height: float,
    world: Floats | None,
    skeleton: str,
    facing: Floats,
) -> _Observed:
    frames, parts = len(joints), len(PARTS)
    is_blazepose = skeleton == "blazepose33"
    shape = np.zeros((parts, _MOST, 3))
    seen_rays = np.zeros((parts, _MOST, 2, frames))
    depth = np.zeros((parts, frames))
    weight = np.zeros((parts, _MOST, frames))
    pull, spin = np.zeros((2, parts, 3, 3, frames))
    for number, part in enumerate(PARTS.values()):
        points, count = part.points, len(part.points)
        own = part.positions(BLAZEPOSE_SEES if is_blazepose else TEMPLATE)
        if part.kind == "head":
            own = own - _HEAD_MIDDLE
            depth[number] = joints[:, [9, 10], 2].mean(1)
        else:
            depth[number] = joints[:, points[0], 2]
        shape[number, :count] = own * height
        trust = confidence[:, points].T * (facing if part.kind == "head" else 1)  # (N, T)
        seen_rays[number, :count] = np.nan_to_num(rays[:, points]).transpose(1, 2, 0)
        weight[number, :count] = (trust / (PICTURE_SPREAD[part.kind] * height)) ** 2
        if world is None:
            continue
        place = world[:, points]
        share = np.where(np.isfinite(place).all(-1), trust.T, 0)[..., None]  # (T, N, 1)
        middle = np.maximum(share.sum(1, keepdims=True), 1e-9)
        place = np.nan_to_num(place)
        place = place - (share * place).sum(1, keepdims=True) / middle
        own = part.positions(BLAZEPOSE_WORLD if is_blazepose else TEMPLATE) * height
        own = own - (share * own).sum(1, keepdims=True) / middle
        share = share / (WORLD_SPREAD * height) ** 2
        pull[number] = np.einsum("tni,tnj->ijt", share * place, own)
        inertia = np.einsum("tni,tnj->ijt", share * own, own)
        spin[number] = np.eye(3)[..., None] * np.trace(inertia) - inertia
    return _Observed(shape=shape, rays=seen_rays, depth=depth, weight=weight, pull=pull, spin=spin)


def _evidence(observed: _Observed, rotations: Floats) -> tuple[Floats, Floats]:
    """What was seen says this about small turns of the parts, (T, P, 3, 3), about their own axes,
    in radians: half the gradient (T, P, 3) and the curvature (T, P, 3, 3) of the sum of squared
    errors."""
    frames, parts = rotations.shape[:2]
    rows = rotations.transpose(1, 3, 2, 0).reshape(parts, 3, 3 * frames)  # part axis; camera, T
    placed = (observed.shape @ rows).reshape(parts, _MOST, 3, frames)
    # R exp(w) x changes by R (w × x), so row a of R by w · (x × a).
    cross = cross_matrices(observed.shape).reshape(parts, 3 * _MOST, 3)
    moves = (cross @ rows).reshape(parts, _MOST, 3, 3, frames)  # (P, N, turn, camera axis, T)
    # A point is on its line of sight where X - x Z = 0: an error in metres at its depth. Where the
    # part is across the line of sight does not matter: the mean is taken out.
    weight = observed.weight[:, :, None]  # (P, N, 1, T)
    deep = placed[:, :, 2:] + observed.depth[:, None, None]
    error = placed[:, :, :2] - observed.rays * deep  # (P, N, 2, T)
    # Cauchy's weights: an outlier is not followed, however far it is, nor moves the mean.
    share = robust = weight
    for _ in range(3):
        share = robust / np.maximum(robust.sum(1, keepdims=True), 1e-9)
        error = error - (share * error).sum(1, keepdims=True)
        robust = weight / (1 + weight * (error**2).sum(2, keepdims=True) / OUTLIER**2)
    slope = moves[:, :, :, :2] - observed.rays[:, :, None] * moves[:, :, :, 2:]
    slope = slope - (share[:, :, None] * slope).sum(1, keepdims=True)  # (P, N, turn, 2, T)
    scaled = slope * robust[:, :, None]
    gradient = (scaled * error[:, :, None]).sum((1, 3))  # (P, turn, T)
    curve = np.empty((parts, 3, 3, frames))
    for i in range(3):
        for j in range(i + 1):
            curve[:, i, j] = curve[:, j, i] = (scaled[:, :, i] * slope[:, :, j]).sum((1, 2))

    # The detector's 3D: the sum of |R x - d|² changes by -2 w · sum of x × R'd.
    turned = np.einsum("tpki,pkjt->pijt", rotations, observed.pull)  # R'd by x
    gradient -= turned[:, (2, 0, 1), (1, 2, 0)] - turned[:, (1, 2, 0), (2, 0, 1)]
    curve += observed.spin
    return gradient.transpose(2, 0, 1), curve.transpose(3, 0, 1, 2)


def fit_rotations(
    joints: Floats,
    rays: Floats,
    confidence: Floats,
    time_s: Floats,
    height: float,
    world: Floats | None = None,
    skeleton: str = "blazepose33",
) -> tuple[Floats, Floats]:
    """How head, hands and feet are turned.

    Args:
        joints: (T, 17, 3) metres, camera axes, absolute, finite.
        rays: (T, 31, 2), pixels minus the principal point over the focal length; nan if unseen.
        confidence: (T, 31) in [0, 1]; 0 where unseen.
        time_s: (T,) seconds, ascending.
        height: stature in metres.
        world: (T, 31, 3) metres, the detector's own 3D, or None.
        skeleton: the joint set of the detector.
    Returns:
        rotations (T, 5, 3, 3) in the order of `PARTS`, and the covariance (T, 5, 3, 3) in square
        radians of their errors about the parts' own axes, as far as the spreads above are right.
    """
    rest = rest_rotations(joints)
    facing = -dot(rest[:, 0, :, 1], unit(joints[:, 10]))
    facing = np.clip(0.5 + facing / (2 * FACING), 0, 1)
    observed = _observe(joints, rays, confidence, height, world, skeleton, facing)
    spread = np.radians([REST_SPREAD_DEG[part.kind] for part in PARTS.values()])  # (P, 3)
    hold = np.eye(3) / spread[:, None] ** 2  # (P, 3, 3)

    most = MOST_SPREADS * spread
    turn = np.zeros(rest.shape[:-1])
    for _ in range(ROUNDS):
        gradient, curve = _evidence(observed, rest @ from_rotation_vectors(turn))
        slope = gradient + (hold @ turn[..., None])[..., 0]
        step = -np.linalg.solve(curve + hold, slope[..., None])[..., 0]
        step *= np.minimum(1, 0.5 / np.maximum(np.linalg.norm(step, axis=-1), 1e-9))[..., None]
        turn = to_rotation_vectors(from_rotation_vectors(turn) @ from_rotation_vectors(step))
        turn = np.clip(turn, -most, most)
    # The average is of what was seen, not of what came out: a frame that saw nothing has no vote.
    gradient, curve = _evidence(observed, rest @ from_rotation_vectors(turn))
    curve, seen = _average(curve, (curve @ turn[..., None])[..., 0] - gradient, time_s)
    turn = np.clip(np.linalg.solve(curve + hold, seen[..., None])[..., 0], -most, most)
    return rest @ from_rotation_vectors(turn), np.linalg.inv(curve + hold)


def _average(curve: Floats, seen: Floats, time_s: Floats) -> tuple[Floats, Floats]:
    """Means of curve (T, P, 3, 3) and seen (T, P, 3) over neighbouring frames, weighted by a bell
    of `SMOOTH_S`, the same before and after."""
    frames = len(time_s)
    flat = np.concatenate([curve.reshape(frames, -1), seen.reshape(frames, -1)], axis=-1)
    mean = np.empty_like(flat)
    block, reach = 64, 5 * SMOOTH_S  # frames at once; seconds
    for start in range(0, frames, block):
        here = slice(start, min(start + block, frames))
        ends = time_s[start] - reach, time_s[here.stop - 1] + reach
        near = slice(*np.searchsorted(time_s, ends))
        apart = np.abs(time_s[here, None] - time_s[near])
        # Cut off, and not as small as numbers get: those are slow to multiply.
        bell = np.exp(-((np.minimum(apart, reach) / SMOOTH_S) ** 2) / 2)
        bell = np.where(apart < reach, bell, 0)
        mean[here] = bell @ flat[near] / bell.sum(1, keepdims=True)
    first, second = np.split(mean, [curve[0].size], axis=1)
    return first.reshape(curve.shape), second.reshape(seen.shape)


# --- positions and confidence -------------------------------------------------------------------


def _place(
    joints: Floats, rotations: Floats, covariance: Floats, height: float
) -> tuple[Floats, Floats]:
    """The 31 points (T, 31, 3), and the spread in metres (T, 31) that their parts' turns leave.

    The joints stay as they are. A head's own place is where nose and head top fit its turn best.
    """
    points = np.full((len(joints), len(_BODY), 3), np.nan)
    points[:, :17] = joints
    unsure = np.zeros((len(joints), len(_BODY)))
    for number, part in enumerate(PARTS.values()):
        rotation = rotations[:, number]
        if part.kind == "head":
            origin = (joints[:, 9] + joints[:, 10]) / 2 - rotation @ (_HEAD_MIDDLE * height)
        else:
            origin = joints[:, part.points[0]]
        # The first point is a joint: of the head the nose.
        own = part.positions(TEMPLATE)[1:] * height
        added = part.points[1:]
        points[:, added] = origin[:, None] + own @ transpose(rotation)
        arm = cross_matrices(own)  # (N, 3, 3)
        moved = np.einsum("nij,tjk,nik->tn", arm, covariance[:, number], arm)
        unsure[:, added] = np.sqrt(moved)
    return points, unsure


def confidence_in_3d(
    points: Floats, rays: Floats, confidence: Floats, unsure: Floats, height: float
) -> Floats:
    """How far each point can be trusted, from 0 to 1.

    Of a joint, the product of three: `UNSEEN` plus the rest times its confidence in 2D; one half at
    a miss of `HALF_MISS` between its place and the line of sight to where it was seen, less
    beyond; and, at the ends of thighs, shins and arms, less the more the limb points along the line
    of sight, since its length in depth is then guessed. Of another point, what its joint has, times
    one half where the turn of its part leaves a spread of `HALF_SPREAD`.

    Args:
        points: (T, 31, 3) metres, camera axes.
        rays: (T, 31, 2), pixels minus the principal point over the focal length; nan if unseen.
        confidence: (T, 31) of the 2D, 0 if unseen.
        unsure: (T, 31) metres, how far points may be off on the part they belong to.
        height: stature in metres.
    Returns:
        (T, 31).
    """
    joints = points[:, :17]
    miss = np.linalg.norm(joints[..., :2] - rays[:, :17] * joints[..., 2:], axis=-1) / height
    miss = np.where(confidence[:, :17] > 0, miss, 0)
    bone = unit(joints[:, _LIMB_ENDS] - joints[:, _PARENTS[_LIMB_ENDS]])
    along = np.zeros(joints.shape[:-1])
    along[:, _LIMB_ENDS] = dot(bone, unit(joints[:, _LIMB_ENDS])) ** 2
    seen = UNSEEN + (1 - UNSEEN) * confidence[:, :17]
    found = np.empty(points.shape[:-1])
    found[:, :17] = seen * (1 - ALONG_SIGHT * along) / (1 + (miss / HALF_MISS) ** 2)
    found[:, 17:] = found[:, CARRIERS] / (1 + (unsure[:, 17:] / (HALF_SPREAD * height)) ** 2)
    return found
