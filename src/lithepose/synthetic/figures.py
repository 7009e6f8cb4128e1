"""One synthetic person: a skin of quads that follows the bones of `lithepose.synthetic.bodies`.

Ellipsoids, tapered limbs and a lofted trunk in a rest pose (legs a little apart, arms half raised)
are blended into smooth implicit surfaces, which are turned into quads; each vertex remembers how
much it follows each bone, each quad what it is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.anthropometry import SEGMENTS, STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.rotations import from_axis_angle, rotate, unit
from lithepose.synthetic.appearance import MATERIAL_INDEX, Appearance
from lithepose.synthetic.bodies import ARM_ANGLE, BONE_INDEX, Body, rest_joints
from lithepose.synthetic.posing import pose_bones
from lithepose.synthetic.solids import (
    body_parts,
    bone_weights,
    foot_parts,
    hand_parts,
    head_parts,
    materials_of,
)
from lithepose.synthetic.surface import Part, axis_points, surface, vertex_normals

# Points of the skin that no joint is, and the bones that carry them; the tips bound a person's box.
POINT_BONES = {
    "left_eye": "head", "right_eye": "head", "left_ear": "head", "right_ear": "head",
    "upper_neck": "head", "left_fingertip": "l_hand", "right_fingertip": "r_hand",
    "left_toe": "l_foot", "right_toe": "r_foot", "left_heel": "l_foot", "right_heel": "r_foot",
}  # fmt: skip
POINTS = tuple(POINT_BONES)
POINT_BONE_INDEX = np.array([BONE_INDEX[bone] for bone in POINT_BONES.values()])


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Quads that follow bones.

    Attributes:
        vertices, normals: (V, 3) of the rest pose, metres and unit vectors.
        quads: (F, 4) vertex indices, counter-clockwise from outside.
        weights: (V, B) share of each bone of `BONES`; rows sum to 1.
        materials: (F,) index into `MATERIALS`.
        bones: (F,) the bone that each quad follows most.
    """

    vertices: Floats
    normals: Floats
    quads: NDArray[np.int64]
    weights: Floats
    materials: NDArray[np.int64]
    bones: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Figure(Mesh):
    """A person ready to be posed and drawn.

    Attributes:
        body, appearance: what it was built from.
        joints: (17, 3) metres, joints of the rest pose.
        points: (11, 3) metres, `POINTS` in the rest pose.
    """

    body: Body
    appearance: Appearance
    joints: Floats
    points: Floats

    def pose(self, joints_world: Floats) -> tuple[Floats, Floats]:
        """Move the skin onto 17 joints.

        Args:
            joints_world: (17, 3) metres, z up.

        Returns:
            vertices (V, 3) and unit normals (V, 3) in world axes.

        Raises:
            ValueError: wrong shape, missing joints, or a body of another size.
        """
        bones = pose_bones(self.body, np.asarray(joints_world)[None])[0]
        blend = np.einsum("vb,bij->vij", self.weights, bones)
        turned = rotate(blend[..., :3], self.vertices) + blend[..., 3]
        return turned, unit(rotate(blend[..., :3], self.normals))


def build_figure(
    body: Body,
    appearance: Appearance,
    *,
    cell: float = 0.019,
    detail: float = 0.6,
    more: Sequence[Part] = (),
) -> Figure:
    """Build the skin of a person; takes about a fifth of a second.

    Args:
        cell: size of a quad of the body in metres.
        detail: size of the quads of head, hands and feet, 1 for some that suit a small picture.
        more: solids beside the person's own, which follow a bone.
    """
    joints = rest_joints(body)
    h = body.head / (SEGMENTS["head"] * STANDARD_HEIGHT_M)
    meshes = []

    def add(parts: list[Part], axes, shift: Floats, turn: Floats, floor: float | None = None):
        points, quads = surface(parts, axes, floor)
        centres = points[quads].mean(1)
        materials = np.array([MATERIAL_INDEX[name] for name in materials_of(parts, centres)])
        if parts[0].bone == "neck":
            _mark_face(centres / h, materials)
        weights, placed = bone_weights(parts, points, body), points @ turn.T + shift
        normals, bones = vertex_normals(placed, quads), weights[quads].mean(1).argmax(-1)
        mesh = Mesh(vertices=placed, normals=normals, quads=quads, weights=weights,
                    materials=materials, bones=bones)  # fmt: skip
        meshes.append(mesh)

    parts = [*body_parts(body, appearance, joints), *more]
    low = np.min([part.low for part in parts], axis=0) - 2.5 * cell
    high = np.max([part.high for part in parts], axis=0) + 2.5 * cell
    axis, straight = axis_points, np.eye(3)
    add(parts, tuple(axis(low[d], high[d], cell) for d in range(3)), np.zeros(3), straight)

    fine, coarse = 0.0075 * h * detail, 0.016 * h * detail
    x = (axis(-0.13 * h, -0.055 * h, coarse), axis(-0.05 * h, 0.048 * h, fine),
         axis(0.055 * h, 0.13 * h, coarse))  # fmt: skip
    y = axis(-0.19 * h, 0.04 * h, coarse), axis(0.052 * h, 0.19 * h, fine)
    z = (axis(-body.neck - 0.08, -0.045 * h, coarse), axis(-0.033 * h, 0.1 * h, fine),
         axis(0.109 * h, 0.23 * h, coarse))  # fmt: skip
    axes = tuple(np.concatenate(pieces) for pieces in (x, y, z))
    add(head_parts(body, appearance), axes, joints[8] + (0, 0, body.neck), straight)

    s = body.scale
    for side, name, ankle, shoulder in ((1, "r", 3, 14), (-1, "l", 6, 11)):
        step = 0.0100 * s * detail
        axes = (axis(-0.06, 0.06, step), axis(-0.07, 0.08, step), axis(-0.22, 0.07, step))
        raised = from_axis_angle(np.array([0.0, 1.0, 0.0]), np.array(-side * ARM_ANGLE))
        add(hand_parts(body, side), axes, joints[shoulder + 2], raised)
        step = 0.017 * detail
        axes = (axis(-0.07, 0.07, step), axis(-0.10 * s, 0.23 * s, step), axis(-0.13, 0.13, step))
        add(foot_parts(body, name), axes, joints[ankle], straight, -body.ankle_height)

    points = _rest_points(body, joints, h)
    return Figure(body=body, appearance=appearance, joints=joints, points=points, **joined(meshes))


def joined(meshes: Sequence[Mesh]) -> dict[str, Any]:
    """The fields of one mesh of several."""
    arrays = {
        field.name: np.concatenate([getattr(mesh, field.name) for mesh in meshes])
        for field in fields(Mesh)
    }
    counts = [len(mesh.vertices) for mesh in meshes]
    arrays["quads"] += np.repeat(np.cumsum([0, *counts[:-1]]), [len(m.quads) for m in meshes])[
        :, None
    ]
    return arrays


def _mark_face(points: Floats, material: NDArray[np.int64]) -> None:
    """Eyes and brows among the quads of a head of the mean size, in place.

    They are a little larger than life: at the size people have in pictures, an eye is a dark spot
    of one quad.
    """
    x, y, z = points.T
    front = (y > 0.045) & (material == MATERIAL_INDEX["skin"])
    dx, dz = np.abs(x) - 0.032, z - 0.066
    material[front & ((dx / 0.018) ** 2 + (dz / 0.0085) ** 2 < 1)] = MATERIAL_INDEX["eye_white"]
    material[front & (dx**2 + dz**2 < 0.008**2)] = MATERIAL_INDEX["iris"]
    brow = front & (np.abs(dx) < 0.024) & (np.abs(dz - 0.023 + 12 * dx**2) < 0.005)
    material[brow] = MATERIAL_INDEX["brow"]


def _rest_points(body: Body, joints: Floats, h: float) -> Floats:
    """(11, 3) `POINTS`: eyes and ears where the head's solids have them, skull, tips."""
    skull = joints[8] + (0, 0, body.neck)
    s = body.scale
    places = {"upper_neck": skull}
    for side, name, ankle, shoulder in ((1, "right", 3, 14), (-1, "left", 6, 11)):
        places[f"{name}_eye"] = skull + h * np.array([side * 0.032, 0.074, 0.066])
        places[f"{name}_ear"] = skull + h * np.array([side * 0.081, -0.010, 0.048])
        arm = unit(joints[shoulder + 2] - joints[shoulder + 1])
        places[f"{name}_fingertip"] = joints[shoulder + 2] + 0.175 * s * arm
        places[f"{name}_toe"] = joints[ankle] + s * np.array([side * 0.008, 0.180, -0.065])
        places[f"{name}_heel"] = joints[ankle] + s * np.array([0.0, -0.070, -0.065])
    return np.stack([places[name] for name in POINTS])
