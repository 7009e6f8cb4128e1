"""From a person before a camera to a person in a world: a path, a floor, standing feet, a rig.

`lithepose.pipeline` first gives each lifted person a place before the camera (`fit_root_path`) and
their head, hands and feet (`with_extremities`). `solve_world` then places everyone in one world.
Inside, calls go one way:

    solve ─┬─ ground        up and the floor, from all people
           ├─ contacts      which feet stand, what that says of the path, feet locked in place
           ├─ path          where the hips are, also tied to standing feet
           ├─ smooth        low pass without delay
           └─ rig_pose ─ joint_limits ─ rig    rotations of a figure fitted to the person

    extremities             eyes, ears, heels, toes and knuckles, before any world
    angles ─ joint_limits   rotations as clinicians name them, for plots

Contacts know the ground and the path; nothing calls back to what called it.
"""

from lithepose.world.angles import joint_angles
from lithepose.world.extremities import with_extremities
from lithepose.world.joint_limits import JOINT_LIMITS, limit_rotations
from lithepose.world.path import fit_root_path
from lithepose.world.rig import (
    MARKER_NODES,
    NODE_PARENTS,
    NODES,
    fit_rig,
    pose_nodes,
    rig_points,
)
from lithepose.world.rig_pose import pose_rig
from lithepose.world.solve import WorldOptions, solve_world

__all__ = [
    "JOINT_LIMITS",
    "MARKER_NODES",
    "NODES",
    "NODE_PARENTS",
    "WorldOptions",
    "fit_rig",
    "fit_root_path",
    "joint_angles",
    "limit_rotations",
    "pose_nodes",
    "pose_rig",
    "rig_points",
    "solve_world",
    "with_extremities",
]
