"""Smooth closed surfaces from solids that melt into one another.

Each solid is an implicit function, negative inside and about metres near its surface. Their smooth
minimum on a grid is turned into quads by surface nets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats


@dataclass(frozen=True)
class Part:
    """A solid of the rest pose: `distance` is negative inside, about metres near the surface."""

    bone: str
    material: str
    distance: Callable[[Floats], Floats]
    low: Floats
    high: Floats
    blend: float = 0.02  # metres over which it melts into its neighbours


def ellipsoid(bone: str, material: str, centre, radii, blend=0.015) -> Part:
    centre, radii = np.asarray(centre, float), np.asarray(radii, float)

    def distance(points: Floats) -> Floats:
        local = points - centre
        inner = np.linalg.norm(local / radii, axis=-1)
        # Value over gradient length: close to a distance near the surface for any radii.
        gradient = np.linalg.norm(local / radii**2, axis=-1)
        return inner * (inner - 1) / np.maximum(gradient, 1e-6)

    return Part(bone, material, distance, centre - radii, centre + radii, blend)


def limb(bone, material, start, end, radii, *, span=(0.0, 1.0), bulge=None, blend=0.02) -> Part:
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
    return Part(bone, material, distance, np.minimum(a, b) - reach, np.maximum(a, b) + reach, blend)


def loft(bone, material, heights, widths, depths, offsets, *, blend=0.03) -> Part:
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
    return Part(bone, material, distance, low, np.array([wide, wide, heights[-1]]), blend)


def _melt(a: Floats, b: Floats, width: float) -> Floats:
    """Smooth minimum of two distances (polynomial, `width` metres)."""
    gap = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - gap * gap * width / 4


def axis_points(low: float, high: float, step: float) -> Floats:
    return np.arange(low, high + step, step)


def surface(parts: list[Part], axes: tuple[Floats, Floats, Floats], floor: float | None = None):
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


def vertex_normals(vertices: Floats, quads: NDArray[np.int64]) -> Floats:
    corner = vertices[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    summed = np.stack(
        [np.bincount(quads.ravel(), np.repeat(normal[:, d], 4), len(vertices)) for d in range(3)],
        -1,
    )
    return summed / np.maximum(np.linalg.norm(summed, axis=-1, keepdims=True), 1e-12)
