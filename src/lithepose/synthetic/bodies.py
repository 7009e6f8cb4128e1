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

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

_ARM_ANGLE = np.deg2rad(45.0)  # rest pose: arms this far out of the vertical
_LEG_ANGLE = np.deg2rad(6.0)


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


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """Colour and pattern of a garment: RGB in [0, 1], `pattern` plain, stripes, checks or print."""

    colour: tuple[float, float, float]
    second: tuple[float, float, float]
    pattern: str = "plain"
    period: float = 0.06  # metres


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """What a person wears and looks like.

    Attributes:
        skin, hair, lips, eyes, shoes: RGB in [0, 1].
        shirt, trousers: the garments.
        sleeve: covered part of the arm, 0 (none) to 2 (to the wrist; 1 is the elbow).
        leg: covered part of the leg, from the hip, 0.5 (shorts) to 2 (to the ankle).
        loose: how far the cloth stands off, metres.
        shirt_hem: lower end of the shirt below the hip joints, metres (negative: above).
        hair_style: short, long, bun, bald or cap.
        beard: whether the chin is covered with hair.
    """

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    lips: tuple[float, float, float]
    eyes: tuple[float, float, float]
    shoes: tuple[float, float, float]
    shirt: Cloth
    trousers: Cloth
    sleeve: float = 0.6
    leg: float = 2.0
    loose: float = 0.008
    shirt_hem: float = 0.02
    hair_style: str = "short"
    beard: bool = False


_SKINS = ((0.93, 0.76, 0.66), (0.87, 0.67, 0.54), (0.78, 0.57, 0.43), (0.60, 0.41, 0.29),
          (0.42, 0.28, 0.20), (0.95, 0.80, 0.72))  # fmt: skip
_HAIRS = ((0.08, 0.06, 0.05), (0.20, 0.12, 0.07), (0.38, 0.24, 0.13), (0.72, 0.57, 0.35),
          (0.55, 0.53, 0.51), (0.40, 0.16, 0.08))  # fmt: skip
_CLOTH = ((0.10, 0.11, 0.14), (0.15, 0.20, 0.35), (0.30, 0.42, 0.60), (0.85, 0.85, 0.83),
          (0.55, 0.12, 0.13), (0.20, 0.38, 0.26), (0.52, 0.50, 0.46), (0.70, 0.58, 0.40),
          (0.82, 0.66, 0.20), (0.45, 0.28, 0.42), (0.75, 0.42, 0.38),
          (0.35, 0.60, 0.65))  # fmt: skip


def _tint(rng: np.random.Generator, colour: tuple[float, ...], amount: float = 0.05):
    tinted = np.clip(np.asarray(colour) * (1 + rng.normal(0, amount)), 0.03, 0.97)
    tinted = np.clip(tinted + rng.normal(0, amount / 3, 3), 0.03, 0.97)
    return (float(tinted[0]), float(tinted[1]), float(tinted[2]))


def random_appearance(rng: np.random.Generator) -> Appearance:
    """Draw skin, hair and clothes."""
    skin = _tint(rng, _SKINS[rng.integers(len(_SKINS))])

    def cloth(patterns: tuple[str, ...]) -> Cloth:
        first, second = rng.choice(len(_CLOTH), 2, replace=False)
        return Cloth(
            colour=_tint(rng, _CLOTH[first], 0.1),
            second=_tint(rng, _CLOTH[second], 0.1),
            pattern=str(rng.choice(patterns)),
            period=float(rng.uniform(0.04, 0.12)),
        )

    return Appearance(
        skin=skin,
        hair=_tint(rng, _HAIRS[rng.integers(len(_HAIRS))]),
        lips=_tint(rng, (skin[0] * 0.85, skin[1] * 0.62, skin[2] * 0.62), 0.03),
        eyes=_tint(rng, ((0.15, 0.09, 0.05), (0.2, 0.3, 0.4), (0.2, 0.25, 0.1))[rng.integers(3)]),
        shoes=_tint(rng, ((0.08, 0.08, 0.09), (0.9, 0.9, 0.9), (0.35, 0.2, 0.12))[rng.integers(3)]),
        shirt=cloth(("plain", "plain", "stripes", "checks", "print")),
        trousers=cloth(("plain", "plain", "plain", "checks")),
        sleeve=float(rng.choice([0.3, 0.6, 0.6, 0.75, 1.5, 1.95, 1.95])),
        leg=float(rng.choice([0.6, 0.8, 1.0, 1.97, 1.97, 1.97, 1.97])),
        loose=float(rng.uniform(0.004, 0.016)),
        shirt_hem=float(rng.uniform(-0.06, 0.12)),
        hair_style=str(rng.choice(["short", "short", "short", "long", "bun", "bald", "cap"])),
        beard=bool(rng.random() < 0.15),
    )


# --- implicit surfaces -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A solid of the rest pose: `distance` is negative inside, about metres near the surface."""

    bone: str
    material: str
    distance: Callable[[Floats], Floats]
    low: Floats
    high: Floats
    blend: float = 0.02  # metres over which it melts into its neighbours


def _ellipsoid(bone: str, material: str, centre, radii, blend=0.015, axes=None) -> _Part:
    centre, radii = np.asarray(centre, float), np.asarray(radii, float)
    turn = np.eye(3) if axes is None else np.asarray(axes, float)  # columns: axes of the radii

    def distance(points: Floats) -> Floats:
        local = (points - centre) @ turn
        inner = np.linalg.norm(local / radii, axis=-1)
        # Value over gradient length: close to a distance near the surface for any radii.
        gradient = np.linalg.norm(local / radii**2, axis=-1)
        return inner * (inner - 1) / np.maximum(gradient, 1e-6)

    reach = np.abs(turn) @ radii
    return _Part(bone, material, distance, centre - reach, centre + reach, blend)


def _limb(bone, material, start, end, radii, *, span=(0.0, 1.0), bulge=None, blend=0.02) -> _Part:
    """A tapered limb: `radii` is ((t, metres), ...) along it, `bulge` (vector, t, width) bends
    the middle of the cross-section out, `span` cuts it (a sleeve covers part of an arm)."""
    start, end = np.asarray(start, float), np.asarray(end, float)
    axis = end - start
    length2 = float(axis @ axis)
    knots, values = np.asarray(radii, float).T

    def distance(points: Floats) -> Floats:
        raw = (points - start) @ axis / length2
        along = np.clip(raw, *span)
        centre = start + along[..., None] * axis
        if bulge is not None:
            vector, at, width = bulge
            centre = centre + np.exp(-(((along - at) / width) ** 2))[..., None] * np.asarray(vector)
        return np.linalg.norm(points - centre, axis=-1) - np.interp(along, knots, values)

    reach = float(values.max()) + (0.03 if bulge is not None else 0.0)
    a, b = start + span[0] * axis, start + span[1] * axis
    return _Part(
        bone, material, distance, np.minimum(a, b) - reach, np.maximum(a, b) + reach, blend
    )


def _loft(bone, material, heights, widths, depths, offsets, *, blend=0.03) -> _Part:
    """A trunk: superelliptic sections with half `widths` and `depths` at `heights`, shifted
    forward by `offsets`."""
    heights = np.asarray(heights, float)

    def distance(points: Floats) -> Floats:
        z = points[..., 2]
        a, b = np.interp(z, heights, widths), np.interp(z, heights, depths)
        c = np.interp(z, heights, offsets)
        x, y = np.abs(points[..., 0]), np.abs(points[..., 1] - c)
        power = 2.4
        inner = ((x / a) ** power + (y / b) ** power) ** (1 / power)
        around = (inner - 1) * np.minimum(a, b)
        outside = np.maximum(heights[0] - z, z - heights[-1])
        return np.maximum(around, outside)

    wide = float(max(np.max(widths), np.max(depths)) + 0.05)
    low = np.array([-wide, -wide, heights[0]])
    return _Part(bone, material, distance, low, np.array([wide, wide, heights[-1]]), blend)


def _melt(a: Floats, b: Floats, width: float) -> Floats:
    """Smooth minimum of two distances (polynomial, `width` metres)."""
    gap = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - gap * gap * width / 4


def _axis(low: float, high: float, step: float) -> Floats:
    return np.arange(low, high + step, step)


def _surface(parts: list[_Part], axes: tuple[Floats, Floats, Floats], floor: float | None = None):
    """Quads of the blended surface of `parts` on a rectilinear grid (surface nets).

    Every grid cell that the surface crosses gets one vertex, at the mean of the crossings of its
    edges; every grid edge that is crossed gets the quad of its four cells.

    Returns:
        vertices (V, 3) metres and quads (F, 4), counter-clockwise seen from outside.

    Source: the idea of S. Gibson, "Constrained elastic surface nets", 1998.
    """
    shape = tuple(len(axis) for axis in axes)
    field_values = np.full(shape, 0.2)
    for part in parts:
        margin = 0.04
        block = tuple(
            slice(
                max(int(np.searchsorted(axis, low - margin)) - 1, 0),
                min(int(np.searchsorted(axis, high + margin)) + 1, len(axis)),
            )
            for axis, low, high in zip(axes, part.low, part.high, strict=True)
        )
        if any(s.start >= s.stop for s in block):
            continue
        grid = np.stack(
            np.meshgrid(*(a[s] for a, s in zip(axes, block, strict=True)), indexing="ij"), axis=-1
        )
        field_values[block] = _melt(field_values[block], part.distance(grid), part.blend)
    if floor is not None:
        field_values = np.maximum(field_values, floor - axes[2][None, None, :])
    for dimension in range(3):  # a closed surface: the border of the grid is outside
        for border in (0, -1):
            index = [slice(None)] * 3
            index[dimension] = border  # type: ignore[call-overload]
            field_values[tuple(index)] = np.maximum(field_values[tuple(index)], 1e-3)

    inside = field_values < 0
    corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    cell_shape = tuple(n - 1 for n in shape)
    count = np.zeros(cell_shape, np.int8)
    for i, j, k in corners:
        count += inside[i : i + cell_shape[0], j : j + cell_shape[1], k : k + cell_shape[2]]
    cells = np.argwhere((count > 0) & (count < 8))
    number = np.full(cell_shape, -1, np.int64)
    number[tuple(cells.T)] = np.arange(len(cells))

    total, crossings = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for start in corners:
        for dimension in range(3):
            if start[dimension]:
                continue
            end = list(start)
            end[dimension] = 1
            a, b = cells + start, cells + end
            value_a, value_b = field_values[tuple(a.T)], field_values[tuple(b.T)]
            crossed = (value_a < 0) != (value_b < 0)
            share = np.where(crossed, value_a / np.where(crossed, value_a - value_b, 1), 0)
            point_a = np.stack([axes[d][a[:, d]] for d in range(3)], -1)
            point_b = np.stack([axes[d][b[:, d]] for d in range(3)], -1)
            point = point_a + share[:, None] * (point_b - point_a)
            total += np.where(crossed[:, None], point, 0)
            crossings += crossed
    vertices = total / crossings[:, None]

    quads = []
    for dimension in range(3):
        first, second = (dimension + 1) % 3, (dimension + 2) % 3
        here = [slice(None)] * 3
        there = [slice(None)] * 3
        here[dimension], there[dimension] = slice(0, -1), slice(1, None)
        a, b = inside[tuple(here)], inside[tuple(there)]
        edges = np.argwhere(a != b)
        keep = (edges[:, first] > 0) & (edges[:, second] > 0)
        keep &= (edges[:, first] < shape[first] - 1) & (edges[:, second] < shape[second] - 1)
        edges = edges[keep]
        around = []
        for u, v in ((1, 1), (0, 1), (0, 0), (1, 0)):
            cell = edges.copy()
            cell[:, first] -= u
            cell[:, second] -= v
            around.append(number[tuple(cell.T)])
        quad = np.stack(around, -1)
        # The quad runs counter-clockwise around +axis: right where the solid ends along +axis.
        outward = inside[tuple(edges.T)]
        quads.append(np.where(outward[:, None], quad, quad[:, ::-1]))
    return vertices, np.concatenate(quads)


def _vertex_normals(vertices: Floats, quads: NDArray[np.int64]) -> Floats:
    corner = vertices[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    summed = np.stack(
        [np.bincount(quads.ravel(), np.repeat(normal[:, d], 4), len(vertices)) for d in range(3)],
        -1,
    )
    return summed / np.maximum(np.linalg.norm(summed, axis=-1, keepdims=True), 1e-12)


# --- the rest pose ---------------------------------------------------------------------------


def rest_joints(body: Body) -> Floats:
    """(17, 3) joints of the rest pose: x right, y forward, z up, mid-hips at the origin."""
    joints = np.zeros((17, 3))
    joints[7] = (0, 0, 0.47 * body.trunk)
    joints[8] = (0, 0, body.trunk)
    skull = joints[8] + (0, 0, body.neck)
    joints[9] = skull + np.array([0, body.nose_forward, body.nose_up])
    joints[10] = skull + np.array([0, 0, body.head])
    for side, hip, shoulder in ((1, 1, 14), (-1, 4, 11)):
        leg = np.array([side * np.sin(_LEG_ANGLE), 0, -np.cos(_LEG_ANGLE)])
        arm = np.array([side * np.sin(_ARM_ANGLE), 0, -np.cos(_ARM_ANGLE)])
        joints[hip] = (side * body.hip_width / 2, 0, 0)
        joints[hip + 1] = joints[hip] + body.thigh * leg
        joints[hip + 2] = joints[hip + 1] + body.shin * leg
        joints[shoulder] = joints[8] + (side * body.shoulder_width / 2, 0, 0)
        joints[shoulder + 1] = joints[shoulder] + body.upper_arm * arm
        joints[shoulder + 2] = joints[shoulder + 1] + body.forearm * arm
    return joints


def _body_parts(body: Body, look: Appearance, joints: Floats) -> list[_Part]:
    s, g = body.scale, body.scale * body.girth
    m = g * (0.5 + 0.5 * body.muscle)
    loose = look.loose
    trunk = body.trunk
    shirt, trousers = "shirt", "trousers"
    parts: list[_Part] = []

    # Trunk: (height in trunk lengths, half width, half depth, forward offset), metres at the mean.
    sections = np.array([
        (-0.21, 0.095, 0.070, -0.005), (-0.11, 0.152, 0.100, -0.012), (0.00, 0.168, 0.112, -0.014),
        (0.12, 0.164, 0.108, -0.008), (0.28, 0.148, 0.100, 0.004), (0.42, 0.138, 0.096, 0.006),
        (0.58, 0.146, 0.104, 0.004), (0.75, 0.160, 0.114, 0.002), (0.88, 0.162, 0.110, -0.004),
        (0.97, 0.148, 0.094, -0.010), (1.04, 0.108, 0.074, -0.018), (1.10, 0.062, 0.056, -0.024),
    ])  # fmt: skip
    height = sections[:, 0]
    hip_zone = np.clip(1 - np.abs(height) / 0.35, 0, 1)
    chest_zone = np.clip(1 - np.abs(height - 0.8) / 0.4, 0, 1)
    belly_zone = np.clip(1 - np.abs(height - 0.3) / 0.35, 0, 1)
    width = sections[:, 1] * g * (1 + (body.hips - 1) * hip_zone + (body.chest - 1) * chest_zone)
    width = width * (1 + 0.5 * (body.belly - 1) * belly_zone)
    # The outside follows the joints, so that a wide skeleton does not stick out of a slim trunk.
    width = np.where(
        height < 0.5, np.maximum(width, hip_zone * (body.hip_width / 2 + 0.055 * s)), width
    )
    depth = sections[:, 2] * g * (1 + (body.chest - 1) * chest_zone)
    depth = depth * (1 + (body.belly - 1) * belly_zone)
    offset = sections[:, 3] * s + 0.08 * s * (body.belly - 1) * belly_zone
    hem = -look.shirt_hem
    cut = height * trunk
    under = cut < 0.6 * trunk
    parts.append(
        _loft("trunk", trousers, cut[under], width[under] + 0.4 * loose,
              depth[under] + 0.4 * loose, offset[under])
    )  # fmt: skip
    above = np.concatenate([[hem], cut[cut > hem + 0.01]])

    def at(values: Floats) -> Floats:
        return np.interp(above, cut, values)

    parts.append(
        _loft("trunk", shirt, above, at(width) + 0.4 * loose + 0.006,
              at(depth) + 0.4 * loose + 0.006, at(offset), blend=0.008)
    )  # fmt: skip
    chest_z = joints[8, 2]
    for side in (1, -1):
        name = "r" if side > 0 else "l"
        hip, shoulder = (1, 14) if side > 0 else (4, 11)
        # Buttocks, breast muscle or bust, slope of the shoulder.
        parts.append(
            _ellipsoid("pelvis", trousers, (side * 0.075 * g, -0.068 * g, -0.035 * s),
                       (0.082 * g, 0.068 * g, 0.085 * g), blend=0.03)
        )  # fmt: skip
        bust = 0.03 * body.bust
        parts.append(
            _ellipsoid("chest", shirt,
                       (side * 0.075 * g, 0.062 * g + 0.6 * bust, chest_z - 0.125 * s),
                       (0.075 * g, 0.045 * g + bust, 0.065 * g), blend=0.035)
        )  # fmt: skip
        shoulder_at = joints[shoulder]
        acromion = shoulder_at + s * np.array([-side * 0.015, -0.008, 0.006])
        parts.append(
            _limb("chest", shirt, (side * 0.045 * s, -0.02 * s, chest_z + 0.058 * s),
                  acromion,
                  ((0, 0.042 * m), (1, 0.046 * m)), blend=0.04)
        )  # fmt: skip
        # Arm: bare arm and sleeve lie on each other, the thicker one shows.
        arm = ((0, 0.049 * m), (0.25, 0.050 * m), (0.6, 0.043 * m), (1, 0.036 * m))
        fore = ((0, 0.037 * m), (0.25, 0.041 * m), (0.7, 0.031 * m), (1, 0.026 * m))
        elbow, wrist = joints[shoulder + 1], joints[shoulder + 2]
        parts.append(
            _ellipsoid(f"{name}_shoulder", shirt, shoulder_at, (0.053 * m + 0.5 * loose,) * 3, 0.03)
        )
        biceps = ((0, 0.006 * m, 0), 0.5, 0.25)
        parts.append(_limb(f"{name}_upper_arm", "skin", shoulder_at, elbow, arm, bulge=biceps))
        parts.append(_ellipsoid(f"{name}_elbow", "skin", elbow, (0.037 * m,) * 3))
        parts.append(_limb(f"{name}_forearm", "skin", elbow, wrist, fore))
        upper = min(look.sleeve, 1.0)
        wider = tuple((t, r + 0.004 + loose * (0.6 + 0.6 * t)) for t, r in arm)
        parts.append(
            _limb(f"{name}_upper_arm", shirt, shoulder_at, elbow, wider, span=(0, upper),
                  bulge=biceps, blend=0.01)
        )  # fmt: skip
        if look.sleeve > 1:
            wider = tuple((t, r + 0.004 + loose) for t, r in fore)
            parts.append(_ellipsoid(f"{name}_elbow", shirt, elbow, (0.040 * m + loose,) * 3))
            parts.append(
                _limb(f"{name}_forearm", shirt, elbow, wrist, wider, span=(0, look.sleeve - 1),
                      blend=0.01)
            )  # fmt: skip
        # Leg.
        thigh = ((0, 0.080 * g), (0.3, 0.079 * g), (0.7, 0.062 * g), (1, 0.050 * g))
        shin = ((0, 0.049 * g), (0.25, 0.052 * g), (0.6, 0.042 * g), (0.9, 0.033 * g),
                (1, 0.033 * g))  # fmt: skip
        calf = ((0, -0.014 * m, 0), 0.28, 0.22)
        hip_at, knee, ankle = joints[hip], joints[hip + 1], joints[hip + 2]
        kneecap = knee + np.array([0, 0.004, 0])
        parts.append(_ellipsoid(f"{name}_hip", trousers, hip_at, (0.082 * g,) * 3, 0.03))
        parts.append(_limb(f"{name}_thigh", "skin", hip_at, knee, thigh))
        parts.append(_ellipsoid(f"{name}_knee", "skin", kneecap, (0.051 * g,) * 3))
        parts.append(_limb(f"{name}_shin", "skin", knee, ankle, shin, bulge=calf))
        upper = min(look.leg, 1.0)
        wider = tuple((t, r + 0.003 + loose * (0.4 + 0.6 * t)) for t, r in thigh)
        parts.append(
            _limb(f"{name}_thigh", trousers, hip_at, knee, wider, span=(0, upper), blend=0.01)
        )
        if look.leg > 1:
            wider = tuple((t, r + 0.004 + loose * (1 + 0.6 * t)) for t, r in shin)
            parts.append(_ellipsoid(f"{name}_knee", trousers, kneecap, (0.053 * g + loose,) * 3))
            parts.append(
                _limb(f"{name}_shin", trousers, knee, ankle, wider, span=(0, look.leg - 1),
                      bulge=calf, blend=0.01)
            )  # fmt: skip
    return parts


def _foot_parts(body: Body, side: str) -> list[_Part]:
    """A shoe around the ankle at the origin, toes along +y, sole at -ankle height."""
    s = body.scale
    bone = f"{side}_foot"
    out = 0.008 if side == "r" else -0.008
    return [
        _limb(bone, "skin", (0, 0, 0.06 * s), (0, -0.005 * s, -0.03 * s),
              ((0, 0.033 * s), (1, 0.036 * s))),
        _ellipsoid(bone, "shoes", (0, -0.022 * s, -0.048 * s), (0.036 * s, 0.050 * s, 0.048 * s)),
        _ellipsoid(bone, "shoes", (out * s, 0.055 * s, -0.050 * s),
                   (0.042 * s, 0.085 * s, 0.042 * s), 0.03),
        _ellipsoid(bone, "shoes", (out * s, 0.115 * s, -0.060 * s),
                   (0.046 * s, 0.070 * s, 0.028 * s), 0.03),
    ]  # fmt: skip


def _hand_parts(body: Body, side: int) -> list[_Part]:
    """A hand at the origin, fingers along -z, palm towards the body (-x for the right hand)."""
    s = body.scale
    bone = "r_hand" if side > 0 else "l_hand"
    parts = [
        _limb(bone, "skin", (0, 0, 0.03 * s), (0, 0, -0.02 * s), ((0, 0.026 * s), (1, 0.024 * s))),
        _ellipsoid(bone, "skin", (0, 0, -0.055 * s), (0.016 * s, 0.040 * s, 0.052 * s), 0.02),
        _limb(bone, "skin", (0, 0.026 * s, -0.03 * s), (-side * 0.012 * s, 0.052 * s, -0.085 * s),
              ((0, 0.014 * s), (1, 0.010 * s)), blend=0.01),
    ]  # fmt: skip
    for finger, length in ((0.027, 0.165), (0.009, 0.180), (-0.010, 0.172), (-0.028, 0.148)):
        parts.append(
            _limb(bone, "skin", (0, finger * s, -0.085 * s),
                  (-side * 0.022 * s, 0.85 * finger * s, -length * s),
                  ((0, 0.0105 * s), (1, 0.0085 * s)), blend=0.006)
        )  # fmt: skip
    return parts


def _head_parts(body: Body, look: Appearance) -> list[_Part]:
    """Head and neck around the base of the skull at the origin; y forward, z up."""
    h = body.head / (SEGMENTS["head"] * STANDARD_HEIGHT_M)
    nose_y, nose_z = body.nose_forward, body.nose_up
    g = np.sqrt(body.girth)

    def blob(bone, material, centre, radii, blend=0.02):
        return _ellipsoid(bone, material, np.multiply(centre, h), np.multiply(radii, h), blend)

    parts = [
        _limb("neck", "skin", (0, -0.028 * h, -body.neck - 0.02), (0, -0.014 * h, 0.02),
              ((0, 0.061 * h * g), (0.4, 0.051 * h * g), (1, 0.048 * h * g)), blend=0.02),
        blob("head", "skin", (0, -0.014, 0.083), (0.075, 0.097, 0.0985)),
        blob("head", "skin", (0, 0.026, 0.036), (0.061, 0.060, 0.084), 0.03),
        blob("head", "skin", (0, 0.062, -0.024), (0.026, 0.026, 0.024), 0.03),  # chin
        blob("head", "skin", (0, 0.071, 0.082), (0.045, 0.011, 0.009), 0.010),  # brow
        blob("head", "lips", (0, 0.079, 0.002), (0.023, 0.009, 0.008), 0.006),
        _limb("head", "skin", (0, nose_y - 0.022 * h, nose_z + 0.042 * h),
              (0, nose_y - 0.0125 * h, nose_z + 0.001 * h),
              ((0, 0.006 * h), (0.5, 0.009 * h), (1, 0.0135 * h)), blend=0.006),
        blob("head", "skin", (0.013, 0.086, 0.026), (0.009, 0.010, 0.009), 0.006),  # nostrils
        blob("head", "skin", (-0.013, 0.086, 0.026), (0.009, 0.010, 0.009), 0.006),
        blob("head", "skin", (0.040, 0.052, 0.038), (0.022, 0.022, 0.022), 0.03),  # cheeks
        blob("head", "skin", (-0.040, 0.052, 0.038), (0.022, 0.022, 0.022), 0.03),
    ]  # fmt: skip
    for side in (1, -1):
        parts.append(
            blob("head", "skin", (side * 0.077, -0.012, 0.048), (0.009, 0.017, 0.030), 0.006)
        )
    style = look.hair_style
    if style in ("short", "long", "bun"):
        parts.append(blob("head", "hair", (0, -0.024, 0.094), (0.083, 0.098, 0.096), 0.004))
        parts.append(blob("head", "hair", (0, -0.062, 0.050), (0.074, 0.058, 0.072), 0.01))
        parts.append(blob("head", "hair", (0, 0.040, 0.155), (0.058, 0.038, 0.030), 0.02))
    if style == "long":
        parts.append(blob("head", "hair", (0, -0.066, -0.01), (0.080, 0.046, 0.105), 0.01))
        for side in (1, -1):
            parts.append(
                blob("head", "hair", (side * 0.074, -0.02, 0.02), (0.022, 0.040, 0.090), 0.01)
            )
    if style == "bun":
        parts.append(blob("head", "hair", (0, -0.125, 0.120), (0.040, 0.035, 0.038), 0.01))
    if style == "cap":
        parts.append(blob("head", "shirt2", (0, -0.012, 0.118), (0.086, 0.104, 0.075), 0.004))
        parts.append(blob("head", "shirt2", (0, 0.105, 0.110), (0.062, 0.060, 0.007), 0.006))
        parts.append(blob("head", "hair", (0, -0.050, 0.060), (0.078, 0.062, 0.060), 0.004))
    if look.beard:
        parts.append(blob("head", "hair", (0, 0.052, -0.022), (0.052, 0.038, 0.036), 0.008))
    return parts


def _paint_face(points: Floats, colours: Floats, look: Appearance, h: float) -> None:
    """Eyes, brows, mouth line and cheeks on the colours (F, 3) of the head's quads, in place."""
    x, y, z = (points / h).T
    front = y > 0.045
    dx, dz = (np.abs(x) - 0.032), z - 0.066
    eye = front & ((dx / 0.0155) ** 2 + (dz / 0.0075) ** 2 < 1)
    hair = np.asarray(look.hair)
    socket = front & ((dx / 0.026) ** 2 + (dz / 0.018) ** 2 < 1)
    colours[socket] *= 0.86
    colours[eye] = (0.88, 0.86, 0.84)
    colours[eye & (dx**2 + dz**2 < 0.0068**2)] = look.eyes
    lash = front & (np.abs(dx) < 0.018) & (np.abs(dz - 0.008 + 10 * dx**2) < 0.0032)
    colours[lash] = 0.35 * hair + 0.03
    brow = front & (np.abs(dx) < 0.024) & (np.abs(dz - 0.023 + 12 * dx**2) < 0.0045)
    colours[brow] = 0.6 * hair + 0.25 * np.asarray(look.skin)
    mouth = front & (np.abs(x) < 0.024) & (np.abs(z - 0.002) < 0.0022)
    colours[mouth] = 0.45 * np.asarray(look.lips)
    nostril = (
        front & (np.abs(np.abs(x) - 0.009) < 0.005) & (np.abs(z - 0.0175) < 0.003) & (y > 0.08)
    )
    colours[nostril] *= 0.55


def _cloth_colours(cloth: Cloth, points: Floats) -> Floats:
    """(F, 3) colours of a garment at rest-pose `points`."""
    first, second = np.asarray(cloth.colour), np.asarray(cloth.second)
    x, y, z = points.T
    if cloth.pattern == "stripes":
        mix = (np.mod(z, cloth.period) < 0.4 * cloth.period).astype(float)
    elif cloth.pattern == "checks":
        a = np.mod(z, cloth.period) < 0.5 * cloth.period
        b = np.mod(x + 0.4 * y, cloth.period) < 0.5 * cloth.period
        mix = 0.5 * a + 0.5 * b
    elif cloth.pattern == "print":  # a round print on the chest
        mix = ((x**2 + (z - 0.32) ** 2 < 0.075**2) & (y > 0.03)).astype(float)
    elif cloth.pattern == "plain":
        mix = np.zeros(len(points))
    else:
        raise ValueError(
            f"no cloth pattern named {cloth.pattern!r}; known: plain, stripes, checks, print"
        )
    return first + mix[:, None] * (second - first)


def _folds(points: Floats, seed: int) -> Floats:
    """(N,) smooth noise in about [-1, 1] over the rest pose: the light and dark of folds."""
    rng = np.random.default_rng(seed)
    value = np.zeros(len(points))
    for size in (0.22, 0.13, 0.08):
        direction = rng.normal(size=3) * (1, 1, 0.7)
        other = rng.normal(size=3)
        phase = 2 * np.sin(points @ other / 0.25)
        value += np.sin(2 * np.pi * points @ direction / (size * 1.7) + phase + rng.uniform(0, 6))
    return value / 3


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A person ready to be posed and drawn.

    Attributes:
        body, appearance: what it was built from.
        joints: (17, 3) joints of the rest pose.
        vertices, normals: (V, 3) of the rest pose.
        quads: (F, 4) vertex indices, counter-clockwise from outside.
        weights: (V, B) share of each bone of `BONES`; rows sum to 1.
        colours: (F, 3) RGB in [0, 1], the paint without light.
        bones: (F,) the bone that each quad follows most.
        gloss: (F,) strength of the highlight (skin and shoes shine a little).
    """

    body: Body
    appearance: Appearance
    joints: Floats
    vertices: Floats
    normals: Floats
    quads: NDArray[np.int64]
    weights: Floats
    colours: Floats
    bones: NDArray[np.int64]
    gloss: Floats

    def pose(self, joints_world: Floats) -> tuple[Floats, Floats]:
        """Move the skin onto 17 joints.

        Args:
            joints_world: (17, 3) metres, z up.

        Returns:
            vertices (V, 3) and unit normals (V, 3) in world axes.

        Raises:
            ValueError: wrong shape, missing joints, or a body of another size.
        """
        matrices, offsets, rotations = _bone_transforms(self.body, self.joints, joints_world)
        # One product for all: (V, B) @ (B, 9 + 3 + 9).
        bones = len(BONES)
        parts = [matrices.reshape(bones, 9), offsets, rotations.reshape(bones, 9)]
        blend = self.weights @ np.concatenate(parts, axis=1)
        x, y, z = (self.vertices[:, i, None] for i in range(3))
        vertices = blend[:, 0:9:3] * x + blend[:, 1:9:3] * y + blend[:, 2:9:3] * z + blend[:, 9:12]
        x, y, z = (self.normals[:, i, None] for i in range(3))
        normals = blend[:, 12::3] * x + blend[:, 13::3] * y + blend[:, 14::3] * z
        length = np.sqrt((normals * normals).sum(-1, keepdims=True))
        return vertices, normals / np.maximum(length, 1e-9)


def build_figure(body: Body, appearance: Appearance, *, cell: float = 0.019) -> Figure:
    """Build the skin of a person; takes about a second.

    Args:
        cell: size of a quad of the body in metres; head and hands are finer.
    """
    joints = rest_joints(body)
    skull = joints[8] + (0, 0, body.neck)
    pieces = []

    parts = _body_parts(body, appearance, joints)
    low = np.min([p.low for p in parts], axis=0) - 2.5 * cell
    high = np.max([p.high for p in parts], axis=0) + 2.5 * cell
    axes = tuple(_axis(low[d], high[d], cell) for d in range(3))
    pieces.append((*_surface(parts, axes), parts, np.zeros(3), np.eye(3)))  # type: ignore[arg-type]

    h = body.head / (SEGMENTS["head"] * STANDARD_HEIGHT_M)
    fine, coarse = 0.0045 * h, 0.009 * h
    x = np.concatenate([_axis(-0.13 * h, -0.055 * h, coarse), _axis(-0.05 * h, 0.048 * h, fine),
                        _axis(0.055 * h, 0.13 * h, coarse)])  # fmt: skip
    y = np.concatenate([_axis(-0.19 * h, 0.04 * h, coarse), _axis(0.052 * h, 0.19 * h, fine)])
    z = np.concatenate([_axis(-body.neck - 0.08, -0.045 * h, coarse),
                        _axis(-0.035 * h, 0.1 * h, fine),
                        _axis(0.107 * h, 0.23 * h, coarse)])  # fmt: skip
    parts = _head_parts(body, appearance)
    pieces.append((*_surface(parts, (x, y, z)), parts, skull, np.eye(3)))

    for side, name, shoulder in ((1, "r", 14), (-1, "l", 11)):
        parts = _hand_parts(body, side)
        step = 0.0065 * body.scale
        axes = (_axis(-0.06, 0.06, step), _axis(-0.07, 0.08, step), _axis(-0.22, 0.07, step))
        angle = -side * _ARM_ANGLE
        turn = np.array(
            [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        )
        pieces.append((*_surface(parts, axes), parts, joints[shoulder + 2], turn))
        parts = _foot_parts(body, name)
        step = 0.011
        s = body.scale
        axes = (
            _axis(-0.07, 0.07, step),
            _axis(-0.10 * s, 0.23 * s, step),
            _axis(-0.13, 0.13, step),
        )
        ankle = joints[3 if side > 0 else 6]
        surface = _surface(parts, axes, floor=-body.ankle_height)
        pieces.append((*surface, parts, ankle, np.eye(3)))

    vertices, normals, quads, weights, colours, bones, gloss = [], [], [], [], [], [], []
    count = 0
    for points, faces, parts, shift, turn in pieces:
        local_centres = points[faces].mean(1)
        material = _materials(parts, local_centres)
        placed = points @ turn.T + shift
        weight = _weights(parts, points, body)
        vertices.append(placed)
        normals.append(_vertex_normals(placed, faces))
        quads.append(faces + count)
        weights.append(weight)
        bones.append(weight[faces].mean(1).argmax(-1))
        centres = placed[faces].mean(1)
        colour, shine = _paint(material, centres, appearance)
        if parts[0].bone == "neck":
            skin = material == "skin"
            painted = colour.copy()
            _paint_face(local_centres, painted, appearance, h)
            colour = np.where((skin | (material == "lips"))[:, None], painted, colour)
        colours.append(colour)
        gloss.append(shine)
        count += len(points)
    return Figure(
        body=body,
        appearance=appearance,
        joints=joints,
        vertices=np.concatenate(vertices),
        normals=np.concatenate(normals),
        quads=np.concatenate(quads),
        weights=np.concatenate(weights),
        colours=np.clip(np.concatenate(colours), 0.01, 1),
        bones=np.concatenate(bones),
        gloss=np.concatenate(gloss),
    )


def _materials(parts: list[_Part], points: Floats) -> NDArray[np.str_]:
    distance = np.stack([part.distance(points) for part in parts])
    return np.array([part.material for part in parts])[distance.argmin(0)]


def _weights(parts: list[_Part], points: Floats, body: Body) -> Floats:
    """(V, B) bone shares: each part pulls at the vertices near its surface."""
    softness = 0.014
    weights = np.zeros((len(points), len(BONES)))
    for part in parts:
        pull = np.exp(-np.maximum(part.distance(points), 0) / softness)
        if part.bone == "trunk":  # shared by pelvis, waist and chest according to the height
            height = points[:, 2] / body.trunk
            pelvis = np.clip((0.42 - height) / 0.30, 0, 1)
            chest = np.clip((height - 0.42) / 0.30, 0, 1)
            pelvis, chest = pelvis * pelvis * (3 - 2 * pelvis), chest * chest * (3 - 2 * chest)
            weights[:, _BONE["pelvis"]] += pull * pelvis
            weights[:, _BONE["chest"]] += pull * chest
            weights[:, _BONE["waist"]] += pull * (1 - pelvis - chest)
        elif part.bone == "neck":
            height = np.clip((points[:, 2] + body.neck) / body.neck, 0, 1)
            weights[:, _BONE["chest"]] += pull * np.clip(1 - 2 * height, 0, 1)
            weights[:, _BONE["neck"]] += pull * (1 - np.abs(1 - 2 * height))
            weights[:, _BONE["head"]] += pull * np.clip(2 * height - 1, 0, 1)
        else:
            weights[:, _BONE[part.bone]] += pull
    return weights / weights.sum(-1, keepdims=True)


def _paint(material: NDArray[np.str_], points: Floats, look: Appearance) -> tuple[Floats, Floats]:
    colours = np.zeros((len(points), 3))
    plain = {"skin": look.skin, "hair": look.hair, "lips": look.lips, "shoes": look.shoes,
             "shirt2": look.shirt.second}  # fmt: skip
    for name, colour in plain.items():
        colours[material == name] = colour
    for name, cloth, seed in (("shirt", look.shirt, 1), ("trousers", look.trousers, 2)):
        mask = material == name
        colours[mask] = _cloth_colours(cloth, points[mask])
        colours[mask] *= 1 + 0.10 * _folds(points[mask], seed)[:, None]
    skin = material == "skin"
    colours[skin] *= 1 + 0.03 * _folds(points[skin], 3)[:, None]
    hair = material == "hair"
    colours[hair] *= 1 + 0.25 * _folds(points[hair] * 6, 4)[:, None]
    gloss = np.select([skin, hair, material == "shoes"], [0.10, 0.12, 0.15], 0.02)
    return colours, gloss


# --- posing ----------------------------------------------------------------------------------


def _unit(vector: Floats) -> Floats:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _turn_between(a: Floats, b: Floats) -> Floats:
    """The smallest rotation that takes the unit vector a to the unit vector b."""
    axis = np.cross(a, b)
    cosine = float(a @ b)
    if cosine < -0.9999:  # half a turn: any axis across a will do
        across = _unit(np.cross(a, (1.0, 0, 0) if abs(a[0]) < 0.9 else (0, 1.0, 0)))
        return 2 * np.outer(across, across) - np.eye(3)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + k + k @ k / (1 + cosine)


def _turn_about(axis: Floats, angle: float) -> Floats:
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def _frame(right: Floats, up: Floats) -> Floats:
    """Columns x right, y forward, z up; `up` is kept, `right` made square to it."""
    z = _unit(up)
    x = _unit(right - (right @ z) * z)
    return np.stack([x, np.cross(z, x), z], axis=-1)


def _half(a: Floats, b: Floats) -> Floats:
    """Rotation half-way between two rotations (polar part of the mean)."""
    u, _, vt = np.linalg.svd(a + b)
    if np.linalg.det(u @ vt) < 0:
        u[:, -1] *= -1
    return u @ vt


def _hinged(parent: Floats, rest_dir, rest_hinge, direction, bend_axis, bend: float) -> Floats:
    """Turn a limb from its rest direction, twisted so that its hinge lies on the bend axis.

    The twist of a straight limb is unknown from its joints: it then follows the parent without
    twist; it follows the plane of the bend as far as the next joint is bent.
    """
    turned = _turn_between(parent @ rest_dir, direction) @ parent
    share = float(np.clip((bend - 0.17) / 0.5, 0, 1))
    if share == 0:
        return turned
    hinge = turned @ rest_hinge
    angle = float(np.arctan2(np.cross(hinge, bend_axis) @ direction, hinge @ bend_axis))
    # Past a right angle the bend contradicts the anatomy (noise): don't wring the limb.
    angle = float(np.clip(angle, -1.6, 1.6))
    return _turn_about(direction, share * angle) @ turned


def head_frame(body: Body, joints: Floats) -> Floats:
    """(3, 3) head axes (columns right, forward, up) of one pose from thorax, nose and vertex."""
    to_nose = joints[9] - joints[10]
    right = _unit(np.cross(to_nose, joints[10] - joints[8]))
    # In the head, the line from the vertex to the nose leans this far out of straight down.
    lean = np.arctan2(body.nose_forward, body.head - body.nose_up)
    up = -_turn_about(right, lean) @ _unit(to_nose)
    turned = _frame(right, up)
    other = _frame(right, -_turn_about(right, -lean) @ _unit(to_nose))
    # The sign of the lean follows from the nose being in front of the skull's own axis.
    expected = np.array([0, body.nose_forward, body.nose_up - body.head])
    first = np.linalg.norm(turned @ expected - to_nose)
    return turned if first <= np.linalg.norm(other @ expected - to_nose) else other


def foot_directions(body: Body, joints: Floats, shin_frames: tuple[Floats, Floats]) -> list[Floats]:
    """Frames of the right and left foot, invented from the shin and the height over the floor.

    A foot near the floor lies flat, or stands on its toes when the ankle is a little higher; a
    foot in the air keeps square to its shin.
    """
    frames = []
    for shin, ankle in zip(shin_frames, (joints[3], joints[6]), strict=True):
        forward = shin[:, 1]
        flat = forward * (1, 1, 0)
        length = float(np.linalg.norm(flat))
        height = float(ankle[2]) - body.ankle_height
        near = float(np.clip(1.0 - (height - 0.10) / 0.15, 0, 1)) * float(length > 0.2)
        if near == 0:
            frames.append(shin)
            continue
        flat = flat / length
        tip = float(np.clip(height / (0.16 * body.scale), 0.0, 0.8))
        planted = flat * np.sqrt(1 - tip**2) - np.array([0, 0, tip])
        level = np.cross(flat, (0.0, 0.0, 1.0))
        on_floor = np.stack([level, planted, np.cross(level, planted)], -1)
        frames.append(_half_way(shin, on_floor, near))
    return frames


def _half_way(a: Floats, b: Floats, share: float) -> Floats:
    u, _, vt = np.linalg.svd((1 - share) * a + share * b)
    return u @ vt


def _bone_transforms(body: Body, rest: Floats, joints: Floats):
    """Matrices (B, 3, 3) and offsets (B, 3) that take the rest pose to `joints`, and the pure
    rotations (B, 3, 3) among them."""
    joints = np.asarray(joints, dtype=np.float64)
    if joints.shape != (17, 3):
        raise ValueError(f"a pose must be (17, 3) joints in metres, got {joints.shape}")
    if not np.isfinite(joints).all():
        raise ValueError("a figure needs all 17 joints of a pose: fill the missing ones first")

    rotations = np.tile(np.eye(3), (len(BONES), 1, 1))
    start, end = np.zeros((2, len(BONES), 3))  # rest joint of each bone, and the same joint posed
    stretch = np.ones(len(BONES))
    along = np.zeros((len(BONES), 3))

    def put(name: str, rotation: Floats, joint_rest: Floats, joint_posed: Floats) -> None:
        index = _BONE[name]
        rotations[index], start[index], end[index] = rotation, joint_rest, joint_posed

    def lengthen(name: str, a: int, b: int) -> None:
        index = _BONE[name]
        wanted = float(np.linalg.norm(joints[b] - joints[a]))
        own = float(np.linalg.norm(rest[b] - rest[a]))
        if not 0.5 < wanted / own < 2:
            raise ValueError(
                f"the pose's {name.replace('_', ' ')} is {wanted:.3f} m and the body's is "
                f"{own:.3f} m: give the motion the body's sizes (rebone) or fit the body (fit_body)"
            )
        stretch[index], along[index] = wanted / own, _unit(rest[b] - rest[a])

    pelvis = _frame(joints[1] - joints[4], joints[7] - joints[0])
    chest = _frame(joints[14] - joints[11], joints[8] - joints[7])
    waist = _half(pelvis, chest)
    head = head_frame(body, joints)
    skull_rest = rest[8] + (0, 0, body.neck)
    skull = joints[10] - head[:, 2] * body.head
    put("pelvis", pelvis, rest[0], joints[0])
    put("waist", waist, rest[7], joints[7])
    put("chest", chest, rest[8], joints[8])
    put("neck", _half(chest, head), skull_rest - (0, 0, body.neck / 2), (skull + joints[8]) / 2)
    put("head", head, skull_rest, skull)
    lengthen("pelvis", 0, 7)
    lengthen("chest", 7, 8)

    shins = []
    for side, name, hip, shoulder in ((1, "r", 1, 14), (-1, "l", 4, 11)):
        thigh_dir, shin_dir = (
            _unit(joints[hip + 1] - joints[hip]),
            _unit(joints[hip + 2] - joints[hip + 1]),
        )
        rest_dir = _unit(rest[hip + 1] - rest[hip])
        hinge_rest = np.array([np.cos(_LEG_ANGLE), 0, side * np.sin(_LEG_ANGLE)])
        bend = float(np.arccos(np.clip(thigh_dir @ shin_dir, -1, 1)))
        axis = -_unit(np.cross(thigh_dir, shin_dir))
        thigh = _hinged(pelvis, rest_dir, hinge_rest, thigh_dir, axis, bend)
        shin = _turn_between(thigh @ rest_dir, shin_dir) @ thigh
        put(f"{name}_hip", _half(pelvis, thigh), rest[hip], joints[hip])
        put(f"{name}_thigh", thigh, rest[hip], joints[hip])
        put(f"{name}_knee", _half(thigh, shin), rest[hip + 1], joints[hip + 1])
        put(f"{name}_shin", shin, rest[hip + 1], joints[hip + 1])
        lengthen(f"{name}_thigh", hip, hip + 1)
        lengthen(f"{name}_shin", hip + 1, hip + 2)
        shins.append(shin)

        arm_dir = _unit(joints[shoulder + 1] - joints[shoulder])
        fore_dir = _unit(joints[shoulder + 2] - joints[shoulder + 1])
        rest_dir = _unit(rest[shoulder + 1] - rest[shoulder])
        hinge_rest = np.array([np.cos(_ARM_ANGLE), 0, side * np.sin(_ARM_ANGLE)])
        bend = float(np.arccos(np.clip(arm_dir @ fore_dir, -1, 1)))
        axis = _unit(np.cross(arm_dir, fore_dir))
        upper = _hinged(chest, rest_dir, hinge_rest, arm_dir, axis, bend)
        fore = _turn_between(upper @ rest_dir, fore_dir) @ upper
        put(f"{name}_shoulder", _half(chest, upper), rest[shoulder], joints[shoulder])
        put(f"{name}_upper_arm", upper, rest[shoulder], joints[shoulder])
        put(f"{name}_elbow", _half(upper, fore), rest[shoulder + 1], joints[shoulder + 1])
        put(f"{name}_forearm", fore, rest[shoulder + 1], joints[shoulder + 1])
        lengthen(f"{name}_upper_arm", shoulder, shoulder + 1)
        lengthen(f"{name}_forearm", shoulder + 1, shoulder + 2)
        put(f"{name}_hand", fore, rest[shoulder + 2], joints[shoulder + 2])
    feet = foot_directions(body, joints, (shins[0], shins[1]))
    put("r_foot", feet[0], rest[3], joints[3])
    put("l_foot", feet[1], rest[6], joints[6])

    scaled = np.eye(3) + (stretch - 1)[:, None, None] * along[:, :, None] * along[:, None, :]
    matrices = rotations @ scaled
    offsets = end - np.einsum("bij,bj->bi", matrices, start)
    return matrices, offsets, rotations


def bone_rotations(body: Body, joints_world: Floats) -> Floats:
    """(B, 3, 3) axes of each bone of `BONES` in one pose (17, 3): columns the rest pose's right,
    forward and up as they stand in the world now."""
    return _bone_transforms(body, rest_joints(body), joints_world)[2]


def rebone(joints: Floats, body: Body) -> Floats:
    """Give a motion the segment lengths of a body, keeping every direction and the heights.

    Args:
        joints: (T, 17, 3) metres, z up.

    Returns:
        (T, 17, 3). The pelvis path is scaled with the leg length, so planted feet stay planted.
    """
    joints = np.asarray(joints, dtype=np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (17, 3):
        raise ValueError(f"joints must be (T, 17, 3), got {joints.shape}")

    def unit(a: int, b: int) -> Floats:
        d = joints[:, b] - joints[:, a]
        return d / np.maximum(np.linalg.norm(d, axis=-1, keepdims=True), 1e-9)

    def span(a: int, b: int) -> Floats:
        return np.linalg.norm(joints[:, a] - joints[:, b], axis=-1)

    out = np.empty_like(joints)
    leg = float(np.median(span(1, 2) + span(2, 3)))
    ratio = (body.thigh + body.shin) / leg
    out[:, 0] = joints[:, 0] * ratio
    trunk = body.trunk / max(float(np.percentile(span(0, 8), 90)), 1e-6)
    out[:, 7] = out[:, 0] + trunk * (joints[:, 7] - joints[:, 0])
    out[:, 8] = out[:, 0] + trunk * (joints[:, 8] - joints[:, 0])
    face = float(np.hypot(body.nose_forward, body.head - body.nose_up))
    head = face / max(float(np.median(span(9, 10))), 1e-6)
    out[:, 9] = out[:, 8] + head * (joints[:, 9] - joints[:, 8])
    out[:, 10] = out[:, 8] + head * (joints[:, 10] - joints[:, 8])
    shoulders = body.shoulder_width / max(float(np.median(span(11, 14))), 1e-6)
    for hip, shoulder, sign in ((1, 14, 1), (4, 11, -1)):
        out[:, hip] = out[:, 0] + sign * 0.5 * body.hip_width * unit(4, 1)
        out[:, hip + 1] = out[:, hip] + body.thigh * unit(hip, hip + 1)
        out[:, hip + 2] = out[:, hip + 1] + body.shin * unit(hip + 1, hip + 2)
        out[:, shoulder] = out[:, 8] + shoulders * (joints[:, shoulder] - joints[:, 8])
        out[:, shoulder + 1] = out[:, shoulder] + body.upper_arm * unit(shoulder, shoulder + 1)
        out[:, shoulder + 2] = out[:, shoulder + 1] + body.forearm * unit(
            shoulder + 1, shoulder + 2
        )
    return out
