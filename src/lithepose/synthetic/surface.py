"""Smooth closed surfaces from solids that melt into one another.

Each solid is an implicit function, negative inside and about metres near its surface. Their smooth
minimum on a grid is turned into quads by surface nets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
    margin = 0.04  # metres around a part where its neighbours notice it
    for part in parts:
        block, inner = [], []
        for axis, low, high in zip(axes, part.low, part.high, strict=True):
            first, last = np.searchsorted(axis, (low - margin, high + margin))
            block.append(slice(max(first - 1, 0), last + 1))
            inner.append(axis[block[-1]])
        grid = np.stack(np.meshgrid(*inner, indexing="ij"), axis=-1)
        if grid.size:
            here = tuple(block)
            field_values[here] = _melt(field_values[here], part.distance(grid), part.blend)
    if floor is not None:
        field_values = np.maximum(field_values, floor - axes[2][None, None, :])
    border = np.pad(np.zeros([n - 2 for n in shape], bool), 1, constant_values=True)
    field_values[border] = np.maximum(field_values[border], 1e-3)  # outside: the surface is closed

    inside = field_values < 0
    corners = list(product((0, 1), repeat=3))
    count = sliding_window_view(inside, (2, 2, 2)).sum((-3, -2, -1))  # corners inside, by cell
    cells = np.argwhere((count > 0) & (count < 8))
    number = np.full(count.shape, -1, np.int64)
    number[tuple(cells.T)] = np.arange(len(cells))

    total, crossings = np.zeros((len(cells), 3)), np.zeros(len(cells))
    for start, way in product(corners, np.eye(3, dtype=int)):
        if way @ start:
            continue
        a, b = cells + start, cells + start + way
        value_a, value_b = field_values[tuple(a.T)], field_values[tuple(b.T)]
        crossed = (value_a < 0) != (value_b < 0)
        share = np.where(crossed, value_a / np.where(crossed, value_a - value_b, 1), 0)
        point_a, point_b = (np.stack([axes[d][at[:, d]] for d in range(3)], -1) for at in (a, b))
        point = point_a + share[:, None] * (point_b - point_a)
        total += np.where(crossed[:, None], point, 0)
        crossings += crossed
    vertices = total / crossings[:, None]

    quads = []
    for dimension in range(3):
        # The border is outside: no edge of it is crossed, and every crossed one has four cells.
        edges = np.argwhere(np.diff(inside, axis=dimension))
        u, v = np.roll(np.eye(3, dtype=int), -dimension, axis=0)[1:]
        quad = np.stack([number[tuple((edges - back).T)] for back in (u + v, v, 0 * u, u)], -1)
        # The quad runs counter-clockwise around +axis: right where the solid ends along +axis.
        outward = inside[tuple(edges.T)]
        quads.append(np.where(outward[:, None], quad, quad[:, ::-1]))
    return vertices, np.concatenate(quads)


def vertex_normals(vertices: Floats, quads: NDArray[np.int64]) -> Floats:
    corner = vertices[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    corners = quads.ravel()
    summed = [np.bincount(corners, np.repeat(each, 4), len(vertices)) for each in normal.T]
    summed = np.stack(summed, -1)
    return summed / np.maximum(np.linalg.norm(summed, axis=-1, keepdims=True), 1e-12)
