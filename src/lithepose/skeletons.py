"""Joint sets as data, and conversions between them derived from the joint names.

Two joints of different sets are the same joint exactly when they carry the same name. A joint that
a source lacks is built from joints that it has, by the linear rules in `RULES`; so a conversion is
one matrix, in 2D as in 3D. Sets that call different anatomy by one word get different names here:

- `thorax` is the mid-point of the shoulder joints, `neck` the base of the neck a few centimetres
  above, `upper_neck` where the neck meets the skull.
- `head` is the centre of the head (between the ears), `head_top` the vertex, `nose` the nose tip.
- `foot_index` is the tip of the second toe (BlazePose), `big_toe` and `small_toe` the outer ones.

`docs/conventions.md` lists the joints of each set and how `h36m17` differs from the original
Human3.6M joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from lithepose.arrays import Flags, Floats


@dataclass(frozen=True)
class Skeleton:
    """A joint set: names in order, a tree over them, and the edges to draw.

    Attributes:
        name: key in `SKELETONS`.
        joints: joint names in order; `left_` and `right_` mark sides, from the person's own view.
        parents: index of each joint's parent, -1 for the one root.
        limbs: (first, second) joint indices of the edges to draw; the tree, unless given, as by a
            set without a pelvis, which draws the trunk as a quadrilateral.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    limbs: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.limbs:
            tree = tuple((parent, i) for i, parent in enumerate(self.parents) if parent >= 0)
            object.__setattr__(self, "limbs", tree)

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint by name.

        Raises:
            ValueError: the set has no such joint.
        """
        if joint not in self.joints:
            raise ValueError(f"{self.name} has no joint {joint!r}; known: {', '.join(self.joints)}")
        return self.joints.index(joint)

    @property
    def root(self) -> int:
        """Index of the joint without a parent."""
        return self.parents.index(-1)

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """(left index, right index) of every joint that exists on both sides."""
        return tuple(
            (i, self.joints.index("right_" + joint.removeprefix("left_")))
            for i, joint in enumerate(self.joints)
            if joint.startswith("left_")
        )

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """Permutation that exchanges left and right: `keypoints[..., mirror, :]` with x negated is
        the mirrored person."""
        order = list(range(len(self.joints)))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return tuple(order)


# fmt: off
_H36M17 = Skeleton(
    "h36m17",
    (
        "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
        "spine", "thorax", "nose", "head_top", "left_shoulder", "left_elbow", "left_wrist",
        "right_shoulder", "right_elbow", "right_wrist",
    ),
    (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
)

_COCO17 = Skeleton(
    "coco17",
    (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    (-1, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 5, 6, 11, 12, 13, 14),
    (
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
        (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
)

_BLAZEPOSE33 = Skeleton(
    "blazepose33",
    (
        "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye",
        "right_eye_outer", "left_ear", "right_ear", "left_mouth", "right_mouth", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_pinky",
        "right_pinky", "left_index", "right_index", "left_thumb", "right_thumb", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel",
        "right_heel", "left_foot_index", "right_foot_index",
    ),
    (
        -1, 0, 1, 2, 0, 4, 5, 3, 6, 0, 0, 0, 0, 11, 12, 13, 14, 15, 16, 15, 16, 15, 16, 11, 12, 23,
        24, 25, 26, 27, 28, 29, 30,
    ),
    (
        (0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12),
        (11, 13), (13, 15), (15, 17), (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18),
        (16, 20), (16, 22), (18, 20), (11, 23), (12, 24), (23, 24), (23, 25), (25, 27), (27, 29),
        (27, 31), (29, 31), (24, 26), (26, 28), (28, 30), (28, 32), (30, 32),
    ),
)

_HALPE26 = Skeleton(
    "halpe26",
    (
        "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
        "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head_top", "neck",
        "pelvis", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe",
        "left_heel", "right_heel",
    ),
    (
        18, 0, 0, 1, 2, 18, 18, 5, 6, 7, 8, 19, 19, 11, 12, 13, 14, 0, 19, -1, 15, 16, 15, 16, 15,
        16,
    ),
)

# Joint 1 of BODY_25 is called "Neck" but was trained as the mean of the two shoulders: our thorax.
_BODY25 = Skeleton(
    "body25",
    (
        "nose", "thorax", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
        "left_elbow", "left_wrist", "pelvis", "right_hip", "right_knee", "right_ankle", "left_hip",
        "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe",
        "right_heel",
    ),
    (
        1, 8, 1, 2, 3, 1, 5, 6, -1, 8, 9, 10, 8, 12, 13, 0, 0, 15, 16, 14, 19, 14, 11, 22, 11,
    ),
)

# The 18 joints of OpenPose's COCO model and of what copies its layout; joint 1 as in BODY_25.
_OPENPOSE18 = Skeleton(
    "openpose18",
    (
        "nose", "thorax", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
        "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip",
        "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
    ),
    (1, -1, 1, 2, 3, 1, 5, 6, 1, 8, 9, 1, 11, 12, 0, 0, 14, 15),
)

# Of the 133 points of COCO-WholeBody those with a use here: body, feet and outer knuckles.
_WHOLEBODY27 = Skeleton(
    "wholebody27",
    (
        *_COCO17.joints, "left_big_toe", "left_small_toe", "left_heel", "right_big_toe",
        "right_small_toe", "right_heel", "left_index", "left_pinky", "right_index", "right_pinky",
    ),
    (*_COCO17.parents, 15, 15, 15, 16, 16, 16, 9, 9, 10, 10),
    (
        *_COCO17.limbs, (15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22), (9, 23),
        (9, 24), (10, 25), (10, 26),
    ),
)

_MPII16 = Skeleton(
    "mpii16",
    (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis",
        "thorax", "upper_neck", "head_top", "right_wrist", "right_elbow", "right_shoulder",
        "left_shoulder", "left_elbow", "left_wrist",
    ),
    (1, 2, 6, 6, 3, 4, -1, 6, 7, 8, 11, 12, 7, 7, 13, 14),
    (
        (0, 1), (1, 2), (2, 6), (6, 3), (3, 4), (4, 5), (6, 7), (7, 8), (8, 9), (8, 12), (12, 11),
        (11, 10), (8, 13), (13, 14), (14, 15),
    ),
)

_MPI_INF_3DHP17 = Skeleton(
    "mpi_inf_3dhp17",
    (
        "head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
        "left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip",
        "left_knee", "left_ankle", "pelvis", "spine", "head",
    ),
    # Head and head top both hang on the neck, as in the data set's own tool.
    (1, 15, 1, 2, 3, 1, 5, 6, 14, 8, 9, 14, 11, 12, -1, 14, 1),
)

_HUMANEVA15 = Skeleton(
    "humaneva15",
    (
        "pelvis", "thorax", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder",
        "right_elbow", "right_wrist", "left_hip", "left_knee", "left_ankle", "right_hip",
        "right_knee", "right_ankle", "head",
    ),
    (-1, 0, 1, 2, 3, 1, 5, 6, 0, 8, 9, 0, 11, 12, 1),
)

# The 17 joints of a result and what shows how head, feet and hands are turned: `index` and `pinky`
# are the knuckles where those fingers begin.
_LITHEPOSE31 = Skeleton(
    "lithepose31",
    (
        *_H36M17.joints, "left_eye", "right_eye", "left_ear", "right_ear", "left_heel",
        "right_heel", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe",
        "left_index", "right_index", "left_pinky", "right_pinky",
    ),
    (
        *_H36M17.parents, 9, 9, 17, 18, 6, 3, 6, 3, 6, 3, 13, 16, 13, 16,
    ),
)
# fmt: on

SKELETONS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (
        _BLAZEPOSE33,
        _COCO17,
        _H36M17,
        _HALPE26,
        _BODY25,
        _MPII16,
        _MPI_INF_3DHP17,
        _HUMANEVA15,
        _LITHEPOSE31,
        _OPENPOSE18,
        _WHOLEBODY27,
    )
}

# Sets with face and hands, by their number of points: the joint set that is used of them, and where
# its joints stand. COCO-WholeBody's hands begin at 91 (left) and 112 (right), in each of which the
# index finger's knuckle is 5 and the little finger's 17; of Halpe-136 the first 26 are Halpe-26.
PARTS_OF_LARGER: dict[int, tuple[str, tuple[int, ...]]] = {
    133: ("wholebody27", (*range(23), 96, 108, 117, 129)),
    136: ("halpe26", tuple(range(26))),
}

# Joint counts that only one set in use has. 17 is COCO, Human3.6M or MPI-INF-3DHP; 15 has rivals
# outside this package: neither is guessed.
ONLY_SET_OF = {
    33: "blazepose33",
    27: "wholebody27",
    26: "halpe26",
    25: "body25",
    18: "openpose18",
    16: "mpii16",
}

# Hips, knees, ankles, shoulders, elbows and wrists of h36m17: the joints on which all 2D detectors
# agree, so the ones by which results from different joint sets can be compared.
LIMB_JOINTS = (1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16)


@dataclass(frozen=True)
class Rule:
    """A missing joint as a weighted sum of others.

    Attributes:
        weights: joint name -> weight; the weights sum to 1, so the rule moves with the person.
        trust: confidence of the result = the lowest confidence of its sources times this.
    """

    weights: dict[str, float]
    trust: float


def _between(first: str, second: str, fraction: float, trust: float) -> Rule:
    """The point `fraction` of the way from the first joint to the second."""
    return Rule({first: 1 - fraction, second: fraction}, trust)


# For each joint the rules in order of preference; the first whose sources exist (seen or derived
# themselves) is used. The head's numbers are least-squares fits over CMU motion capture rebuilt
# with average proportions (ears 0.030 of the height above and 0.006 before the base of the skull,
# which is 0.025 before the line of the trunk): the head top from ears, thorax and nose with 16 mm
# mean error; the ears' place on the way from thorax to head top 0.60.
RULES: dict[str, tuple[Rule, ...]] = {
    "pelvis": (_between("left_hip", "right_hip", 0.5, 1.0),),
    "thorax": (_between("left_shoulder", "right_shoulder", 0.5, 1.0), Rule({"neck": 1.0}, 0.8)),
    "spine": (_between("pelvis", "thorax", 0.47, 0.8),),
    "neck": (_between("thorax", "head", 0.2, 0.7),),
    "upper_neck": (_between("thorax", "head_top", 0.43, 0.6), _between("thorax", "head", 0.7, 0.6)),
    "head": (_between("left_ear", "right_ear", 0.5, 0.9), _between("thorax", "head_top", 0.6, 0.7)),
    "head_top": (
        Rule({"left_ear": 1.0415, "right_ear": 1.0415, "thorax": -0.640, "nose": -0.443}, 0.5),
        _between("thorax", "head", 1 / 0.6, 0.4),
    ),
    # The centre of the head stands in for the tip of the nose, some 10 cm behind it.
    "nose": (Rule({"head": 1.0}, 0.4),),
    "left_big_toe": (Rule({"left_foot_index": 1.0}, 0.8),),
    "right_big_toe": (Rule({"right_foot_index": 1.0}, 0.8),),
    "left_foot_index": (_between("left_big_toe", "left_small_toe", 0.5, 0.8),),
    "right_foot_index": (_between("right_big_toe", "right_small_toe", 0.5, 0.8),),
}


@dataclass(frozen=True, eq=False)
class Conversion:
    """How one joint set is made from another.

    Attributes:
        weights: (J_target, J_source); a row of zeros where the joint cannot be made.
        uses: (J_target, J_source) bool, the source joints that a target joint needs.
        trust: (J_target,) factor on the confidence; 1 where a joint is taken over as it is.
        derived: (J_target,) bool, joints calculated from others.
    """

    weights: Floats
    uses: Flags
    trust: Floats
    derived: Flags


def skeleton_named(name: str) -> Skeleton:
    """The joint set of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in SKELETONS:
        raise ValueError(f"no skeleton named {name!r}; known: {', '.join(sorted(SKELETONS))}")
    return SKELETONS[name]


def joint_set(joints: int, name: str | None, origin: str) -> str:
    """The name of the set of so many joints, if it is known and has as many.

    Args:
        origin: what messages call the file that has the joints.

    Raises:
        ValueError: no name is given, or one of a set of another number of joints.
    """
    if name is None:
        fitting = [s.name for s in SKELETONS.values() if len(s) == joints]
        if not fitting:
            raise ValueError(
                f"{origin} has {joints} joints, which no known joint set has: "
                + ", ".join(f"{s.name} {len(s)}" for s in SKELETONS.values())
            )
        raise ValueError(
            f"{origin} does not say which {joints} joints it has: pass skeleton= one of "
            f"{', '.join(fitting)}"
        )
    expected = len(skeleton_named(name))
    if expected != joints:
        raise ValueError(f"{origin} has {joints} joints, but {name} has {expected}")
    return name


def _resolve(
    joint: str, source: Skeleton, visiting: frozenset[str]
) -> tuple[dict[str, float], float] | None:
    """Weights over joints of the source that make `joint`, and the trust in it; None if no rule
    leads back to the source. `visiting` breaks circles such as head <-> head_top."""
    if joint in source.joints:
        return {joint: 1.0}, 1.0
    for rule in RULES.get(joint, ()):
        total: dict[str, float] = {}
        trust = rule.trust
        for part, weight in rule.weights.items():
            found = None if part in visiting else _resolve(part, source, visiting | {joint})
            if found is None:
                break
            for seen, inner in found[0].items():
                total[seen] = total.get(seen, 0.0) + weight * inner
            trust = min(trust, rule.trust * found[1])
        else:
            return total, trust
    return None


@cache
def conversion(source: str, target: str) -> Conversion:
    """The matrix that turns joint set `source` into `target`.

    Raises:
        ValueError: a name is not in `SKELETONS`.
    """
    given, wanted = skeleton_named(source), skeleton_named(target)
    weights = np.zeros((len(wanted), len(given)))
    trust = np.zeros(len(wanted))
    derived = np.zeros(len(wanted), dtype=bool)
    for row, joint in enumerate(wanted.joints):
        found = _resolve(joint, given, frozenset())
        if found is None:
            continue
        for seen, weight in found[0].items():
            weights[row, given.joints.index(seen)] = weight
        trust[row] = found[1]
        derived[row] = joint not in given.joints
    uses = weights != 0
    for array in (weights, uses, trust, derived):
        array.setflags(write=False)  # shared by all callers through the cache
    return Conversion(weights, uses, trust, derived)


def convert(
    keypoints: Floats, confidence: Floats | None, source: str, target: str
) -> tuple[Floats, Floats, Flags]:
    """Rearrange keypoints from one joint set to another, building the joints the source lacks.

    Args:
        keypoints: (..., J_source, D) in 2D or 3D, any unit; a joint with a nan coordinate is
            missing.
        confidence: (..., J_source) in [0, 1], or None to count every joint present as 1.
        source: name of the joint set of `keypoints`.
        target: name of the joint set to make.

    Returns:
        keypoints (..., J_target, D), nan where a joint or any joint it is built from is missing;
        confidence (..., J_target), for a built joint the lowest of its sources times the `trust`
        of its rules, 0 where missing; derived (J_target,) bool, the joints that were built.

    Raises:
        ValueError: an unknown joint set, or arrays whose shapes don't fit it.
    """
    given = skeleton_named(source)
    plan = conversion(source, target)
    keypoints = np.asarray(keypoints)
    if keypoints.ndim < 2 or keypoints.shape[-2] != len(given):
        raise ValueError(
            f"{source} has {len(given)} joints, so keypoints must be (..., {len(given)}, D); "
            f"found {keypoints.shape}"
        )
    if not np.issubdtype(keypoints.dtype, np.floating):
        keypoints = keypoints.astype(np.float64)
    present = np.asarray(np.isfinite(keypoints).all(axis=-1))  # (..., J_source)
    confidence = present.astype(keypoints.dtype) if confidence is None else np.asarray(confidence)
    if confidence.shape != keypoints.shape[:-1]:
        raise ValueError(
            f"confidence must be one value per keypoint, {keypoints.shape[:-1]}; "
            f"found {confidence.shape}"
        )

    filled = np.where(present[..., None], keypoints, 0.0)
    # Weights in the keypoints' own type: float32 clips stay float32.
    moved = np.einsum("ts,...sd->...td", plan.weights.astype(keypoints.dtype), filled)
    lost = ~present @ plan.uses.T  # (..., J_target), any needed source missing
    lost |= ~plan.uses.any(axis=1)
    moved[lost] = np.nan

    needed = np.where(plan.uses, confidence[..., None, :], np.inf).min(axis=-1)
    trusted = (np.where(lost, 0.0, needed) * plan.trust).astype(confidence.dtype)
    return moved, trusted, plan.derived.copy()
