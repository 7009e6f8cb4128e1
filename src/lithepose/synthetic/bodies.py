"""Bodies of synthetic people: measured proportions and the rest pose.

Axes of the rest pose: x to the person's right, y forward, z up, metres, mid-hips at the origin.
Joints are the 17 of Human3.6M in world axes, z up, with the thorax at the middle of the shoulders,
the nose at its tip and the head top at the top of the skull.

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
)
from lithepose.arrays import Floats

# Bones of the skin. "half" bones sit at a joint and turn half-way between their neighbours.
BONES = (
    "pelvis", "waist", "chest", "neck", "head",
    "r_hip", "r_thigh", "r_knee", "r_shin", "r_foot",
    "l_hip", "l_thigh", "l_knee", "l_shin", "l_foot",
    "r_shoulder", "r_upper_arm", "r_elbow", "r_forearm", "r_hand",
    "l_shoulder", "l_upper_arm", "l_elbow", "l_forearm", "l_hand",
)  # fmt: skip
BONE_INDEX = {name: index for index, name in enumerate(BONES)}

# A joint counts as visible when the nearest surface in front of it belongs to one of these bones.
JOINT_BONES: tuple[tuple[str, ...], ...] = (
    ("pelvis", "waist", "r_hip", "l_hip", "r_thigh", "l_thigh"),
    ("pelvis", "r_hip", "r_thigh"), ("r_thigh", "r_knee", "r_shin"), ("r_shin", "r_foot"),
    ("pelvis", "l_hip", "l_thigh"), ("l_thigh", "l_knee", "l_shin"), ("l_shin", "l_foot"),
    ("pelvis", "waist", "chest"), ("chest", "neck", "head", "r_shoulder", "l_shoulder"),
    ("head",), ("head",),
    ("chest", "l_shoulder", "l_upper_arm"), ("l_upper_arm", "l_elbow", "l_forearm"),
    ("l_forearm", "l_hand"),
    ("chest", "r_shoulder", "r_upper_arm"), ("r_upper_arm", "r_elbow", "r_forearm"),
    ("r_forearm", "r_hand"),
)  # fmt: skip

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
            from there to the head top, the nose tip forward of and above the base of the skull.
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


def rest_joints(body: Body) -> Floats:
    """(17, 3) joints of the rest pose: x right, y forward, z up, mid-hips at the origin."""
    joints = np.zeros((17, 3))
    joints[7] = (0, 0, 0.47 * body.trunk)
    joints[8] = (0, 0, body.trunk)
    skull = joints[8] + (0, 0, body.neck)
    joints[9] = skull + (0, body.nose_forward, body.nose_up)
    joints[10] = skull + (0, 0, body.head)
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
