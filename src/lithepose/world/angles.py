"""Joint rotations named as clinicians name them."""

from __future__ import annotations

import numpy as np

from lithepose.arrays import Floats
from lithepose.rotations import dot, from_quaternions, unit
from lithepose.world.joint_limits import HINGES
from lithepose.world.rig import NODES, check_rotations


def joint_angles(rotations: Floats) -> dict[str, Floats]:
    """Angles as clinicians name them, for plots: (T,) degrees by name, nan where no person was.

    All are 0 for someone who stands upright with arms hanging and feet flat. `left_` and `right_`:

    - `knee_flexion`, `elbow_flexion`: positive bent, negative over-extended.
    - `hip_flexion`: of the thigh against the pelvis, seen from the side; forwards positive.
    - `hip_abduction`: of the thigh against the pelvis' plane of symmetry; outwards positive.
    - `ankle_dorsiflexion`: of the foot against the shin; toes up positive.
    - `shoulder_flexion`, `shoulder_abduction`: how far the upper arm is raised from hanging along
      the trunk (0 to 180), split by the direction: all flexion if raised forwards (negative
      backwards), all abduction if raised outwards (negative inwards). An arm straight up has no
      direction, and may change from one to the other there.

    and `trunk_lean`, of the line of the trunk against the vertical, seen from the side of the
    pelvis; forwards positive. The pelvis tilts with the lower trunk, since 17 joints tell nothing
    else.

    Args:
        rotations: (T, N, 4) quaternions w, x, y, z, world axes with z up.
    Raises:
        ValueError: the shape is wrong.
    """
    rotations = check_rotations(rotations)
    whole = np.asarray(np.isfinite(rotations).all(axis=(1, 2)))
    rotations = np.where(whole[:, None, None], rotations, [1.0, 0, 0, 0])
    rotation = dict(zip(NODES, np.moveaxis(from_quaternions(rotations), 1, 0), strict=True))
    angles: dict[str, Floats] = {}
    for side, out in (("left", 1), ("right", -1)):
        name = side.capitalize()
        thigh = -rotation[f"{name}UpLeg"][..., 2]
        arm = out * (rotation[f"{name}Shoulder"] @ rotation[f"{name}Arm"])[..., 0]
        toes = -rotation[f"{name}Foot"][..., 1]
        raised = np.arctan2(np.hypot(arm[:, 0], arm[:, 1]), -arm[:, 2])
        outwards = np.arctan2(out * arm[:, 0], -arm[:, 1])
        angles |= {
            f"{side}_hip_flexion": np.arctan2(-thigh[:, 1], -thigh[:, 2]),
            f"{side}_hip_abduction": np.arcsin(np.clip(out * thigh[:, 0], -1, 1)),
            f"{side}_knee_flexion": HINGES[f"{name}Leg"].angles(rotation[f"{name}Leg"])[0],
            f"{side}_ankle_dorsiflexion": np.arctan2(toes[:, 2], -toes[:, 1]),
            f"{side}_shoulder_flexion": raised * np.cos(outwards),
            f"{side}_shoulder_abduction": raised * np.sin(outwards),
            f"{side}_elbow_flexion": HINGES[f"{name}ForeArm"].angles(rotation[f"{name}ForeArm"])[0],
        }
    _, y, z = np.eye(3)
    lower = rotation["Hips"] @ rotation["Spine"]
    trunk = lower[..., 2] + (lower @ rotation["Spine1"])[..., 2]
    ahead = unit(np.cross(rotation["Hips"][..., 0], z), -y)
    angles["trunk_lean"] = np.arctan2(dot(trunk, ahead), trunk[..., 2])
    return {name: np.where(whole, np.rad2deg(angle), np.nan) for name, angle in angles.items()}
