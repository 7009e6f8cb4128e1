"""Synthetic people: a body with measured proportions, clothes, and a skin that follows 17 joints.

A figure is built once per person. Ellipsoids, tapered limbs and a lofted trunk in a rest pose (legs
a little apart, arms half raised) are blended into one smooth implicit surface, which is turned
into quads; each vertex remembers how much it follows each bone. Posing is then linear blend
skinning with extra half-way bones at the joints, which keeps bent knees and shoulders from
collapsing. The joint centres of the skin are exactly the joints it is posed with, so a rendered
picture has exact 3D truth. `lithepose.synthetic.scenes` draws figures,
`lithepose.synthetic.movements` moves them.

Axes of the rest pose: x to the person's right, y forward, z up, metres, mid-hips at the origin.
Joints are the 17 of Human3.6M in world axes, z up, with the thorax at the middle of the shoulders,
the nose at its tip and the head top at the vertex.

Proportions (fractions of the stature) follow the usual tables of human segment lengths; girths
were chosen to look like adults between slim and stout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lithepose.anthropometry import (
    ANKLE_HEIGHT_M,
    DRAWN_HEIGHTS_M,
    HEIGHT_SPREAD_M,
    SEGMENTS,
    STANDARD_HEIGHT_M,
    STATURE_SEGMENTS,
)
from lithepose.arrays import Floats

PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
LIMB_JOINTS = (1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15, 16)

# Bones of the skin. "half" bones sit at a joint and turn half-way between their neighbours.
BONES = (
    "pelvis", "waist", "chest", "neck", "head",
    "r_hip", "r_thigh", "r_knee", "r_shin", "r_foot",
    "l_hip", "l_thigh", "l_knee", "l_shin", "l_foot",
    "r_shoulder", "r_upper_arm", "r_elbow", "r_forearm", "r_hand",
    "l_shoulder", "l_upper_arm", "l_elbow", "l_forearm", "l_hand",
)  # fmt: skip
_BONE = {name: index for index, name in enumerate(BONES)}

# A joint counts as visible when the nearest surface in front of it belongs to one of these bones.
JOINT_BONES: tuple[tuple[str, ...], ...] = (
    ("pelvis", "waist", "r_hip", "l_hip", "r_thigh", "l_thigh"),
    ("pelvis", "r_hip", "r_thigh"),
    ("r_thigh", "r_knee", "r_shin"),
    ("r_shin", "r_foot"),
    ("pelvis", "l_hip", "l_thigh"),
    ("l_thigh", "l_knee", "l_shin"),
    ("l_shin", "l_foot"),
    ("pelvis", "waist", "chest"),
    ("chest", "neck", "head", "r_shoulder", "l_shoulder"),
    ("head",),
    ("head",),
    ("chest", "l_shoulder", "l_upper_arm"),
    ("l_upper_arm", "l_elbow", "l_forearm"),
    ("l_forearm", "l_hand"),
    ("chest", "r_shoulder", "r_upper_arm"),
    ("r_upper_arm", "r_elbow", "r_forearm"),
    ("r_forearm", "r_hand"),
)

ARM_ANGLE = np.deg2rad(45.0)  # rest pose: arms this far out of the vertical
LEG_ANGLE = np.deg2rad(6.0)


@dataclass(frozen=True, kw_only=True)
class Body:
    """Sizes of one person.

    Attributes:
        stature: height in metres.
        thigh, shin, hip_width, trunk, shoulder_width, upper_arm, forearm, neck, head, nose_forward,
            nose_up: lengths between joints in metres; `hip_width` and `shoulder_width` from joint
            centre to joint centre, `neck` from the mid-shoulders to the base of the skull, `head`
            from there to the vertex, the nose tip forward of and above the base of the skull.
        girth: thickness of trunk and limbs, 1 for the mean.
        hips, chest, belly, bust, muscle: shape of the trunk and limbs, 1 (bust: 0) for the mean.
    """

    stature: float
    thigh: float
    shin: float
    hip_width: float
    trunk: float
    shoulder_width: float
    upper_arm: float
    forearm: float
    neck: float
    head: float
    nose_forward: float
    nose_up: float
    girth: float = 1.0
    hips: float = 1.0
    chest: float = 1.0
    belly: float = 1.0
    bust: float = 0.0
    muscle: float = 1.0

    @property
    def scale(self) -> float:
        """Stature relative to the mean person."""
        return self.stature / STANDARD_HEIGHT_M

    @property
    def ankle_height(self) -> float:
        """Height in metres of the ankle joint over the floor when the foot stands flat."""
        return ANKLE_HEIGHT_M * self.scale


def random_body(rng: np.random.Generator) -> Body:
    """Draw an adult: stature, lengths around the mean proportions, and shape."""
    stature = float(np.clip(rng.normal(STANDARD_HEIGHT_M, HEIGHT_SPREAD_M), *DRAWN_HEIGHTS_M))
    lengths = {
        name: fraction * stature * float(np.clip(1 + rng.normal(0, 0.03), 0.93, 1.07))
        for name, fraction in SEGMENTS.items()
    }
    # One number between a broad-shouldered and a broad-hipped build keeps the shape consistent.
    build = float(rng.uniform(-1, 1))
    girth = float(np.clip(rng.normal(1.02, 0.1), 0.85, 1.3))
    return Body(
        stature=stature,
        **lengths,
        girth=girth,
        hips=1 - 0.05 * build + float(rng.normal(0, 0.02)),
        chest=1 + 0.05 * build + float(rng.normal(0, 0.02)),
        belly=float(np.clip(rng.normal(1 + 0.8 * (girth - 1), 0.05), 0.9, 1.4)),
        bust=float(np.clip(-build, 0, 1)) if rng.random() < 0.9 else 0.0,
        muscle=float(np.clip(rng.normal(1 + 0.1 * build, 0.06), 0.85, 1.2)),
    )


def fit_body(joints: Floats, rng: np.random.Generator) -> Body:
    """Draw a body whose segment lengths are those of a motion.

    Args:
        joints: (T, 17, 3) metres, z up, with segment lengths that are constant over time.

    Raises:
        ValueError: the shape is wrong or the lengths are not those of a person.
    """
    joints = np.asarray(joints, dtype=np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (17, 3):
        raise ValueError(f"joints must be (T, 17, 3), got {joints.shape}")

    def span(a: int, b: int) -> float:
        return float(np.median(np.linalg.norm(joints[:, a] - joints[:, b], axis=-1)))

    trunk = float(np.percentile(np.linalg.norm(joints[:, 8] - joints[:, 0], axis=-1), 90))
    lengths = {
        "thigh": (span(1, 2) + span(4, 5)) / 2, "shin": (span(2, 3) + span(5, 6)) / 2,
        "hip_width": span(1, 4), "trunk": trunk, "shoulder_width": span(11, 14),
        "upper_arm": (span(11, 12) + span(14, 15)) / 2,
        "forearm": (span(12, 13) + span(15, 16)) / 2,
    }  # fmt: skip
    stature = float(np.mean([lengths[k] / SEGMENTS[k] for k in STATURE_SEGMENTS]))
    if not 1.0 < stature < 2.4:
        raise ValueError(
            f"the segment lengths belong to a stature of {stature:.2f} m: joints must be metres"
        )
    shape = random_body(rng)
    head = {k: SEGMENTS[k] * stature for k in ("neck", "head", "nose_forward", "nose_up")}
    return Body(
        stature=stature, **lengths, **head, girth=shape.girth, hips=shape.hips,
        chest=shape.chest, belly=shape.belly, bust=shape.bust, muscle=shape.muscle,
    )  # fmt: skip


def rest_joints(body: Body) -> Floats:
    """(17, 3) joints of the rest pose: x right, y forward, z up, mid-hips at the origin."""
    joints = np.zeros((17, 3))
    joints[7] = (0, 0, 0.47 * body.trunk)
    joints[8] = (0, 0, body.trunk)
    skull = joints[8] + (0, 0, body.neck)
    joints[9] = skull + np.array([0, body.nose_forward, body.nose_up])
    joints[10] = skull + np.array([0, 0, body.head])
    for side, hip, shoulder in ((1, 1, 14), (-1, 4, 11)):
        leg = np.array([side * np.sin(LEG_ANGLE), 0, -np.cos(LEG_ANGLE)])
        arm = np.array([side * np.sin(ARM_ANGLE), 0, -np.cos(ARM_ANGLE)])
        joints[hip] = (side * body.hip_width / 2, 0, 0)
        joints[hip + 1] = joints[hip] + body.thigh * leg
        joints[hip + 2] = joints[hip + 1] + body.shin * leg
        joints[shoulder] = joints[8] + (side * body.shoulder_width / 2, 0, 0)
        joints[shoulder + 1] = joints[shoulder] + body.upper_arm * arm
        joints[shoulder + 2] = joints[shoulder + 1] + body.forearm * arm
    return joints
