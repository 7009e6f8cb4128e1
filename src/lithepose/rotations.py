"""Rotations and unit vectors, with any leading axes.

Matrices (..., 3, 3) act on column vectors. Quaternions (..., 4) are w, x, y, z, with w at least 0
where they come from here. Angles are radians, positive by the right-hand rule. `unit`, `dot`,
`cross`, `rotate_all`, `from_axis_angle` and `from_quaternions` take tensors of PyTorch too.
"""

from __future__ import annotations

import numpy as np

from lithepose.arrays import Array, Floats, namespace


def unit(vectors: Array, otherwise: Array | None = None) -> Array:
    """Vectors (..., 3) at unit length.

    Args:
        otherwise: (..., 3) what a vector without length becomes; zero by default.
    """
    xp = namespace(vectors)
    length = xp.sqrt(dot(vectors, vectors))[..., None]
    scaled = vectors / xp.clip(length, 1e-9, None)
    return scaled if otherwise is None else xp.where(length > 1e-9, scaled, otherwise)


def dot(a: Array, b: Array) -> Array:
    """Scalar products (...) of vectors (..., 3)."""
    # Written out: sums over an axis of three are slow.
    return a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2]


def cross(a: Array, b: Array) -> Array:
    """Vector products (..., 3)."""
    (ax, ay, az), (bx, by, bz) = ((v[..., 0], v[..., 1], v[..., 2]) for v in (a, b))
    return namespace(a).stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def rotate(matrices: Floats, vectors: Floats) -> Floats:
    """Matrices (..., 3, 3) times vectors (..., 3)."""
    return np.einsum("...ij,...j->...i", matrices, vectors)


def rotate_all(matrices: Array, vectors: Array) -> Array:
    """Matrices (B, 3, 3) times vectors (B, ..., 3), many for each: far faster than `rotate`."""
    flat = vectors.reshape(len(vectors), -1, 3)
    return (flat @ namespace(flat).swapaxes(matrices, -1, -2)).reshape(vectors.shape)


def transpose(matrices: Floats) -> Floats:
    """The inverse rotations (..., 3, 3)."""
    return np.swapaxes(matrices, -1, -2)


def relative(parents: Floats, rotations: Floats) -> Floats:
    """Rotations (..., 3, 3) seen from the axes of their parents, (..., 3, 3)."""
    return transpose(parents) @ rotations


def cross_matrices(vectors: Floats) -> Floats:
    """Matrices (..., 3, 3) that take the cross product with vectors (..., 3)."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)


def axial_vectors(matrices: Floats) -> Floats:
    """Twice the vectors (..., 3) whose `cross_matrices` are the antisymmetric parts of matrices
    (..., 3, 3)."""
    return matrices[..., (2, 0, 1), (1, 2, 0)] - matrices[..., (1, 2, 0), (2, 0, 1)]


def from_axis_angle(axis: Array, angle: Array) -> Array:
    """Rotations (..., 3, 3) by `angle` (...) about unit vectors `axis` (..., 3)."""
    xp = namespace(axis)
    half = (np.asarray(angle) if xp is np else angle)[..., None] / 2
    axis = xp.broadcast_to(axis, (*half.shape[:-1], 3))
    return from_quaternions(xp.concatenate([xp.cos(half), xp.sin(half) * axis], -1))


def from_rotation_vectors(vectors: Floats) -> Floats:
    """Rotations (..., 3, 3) about vectors (..., 3), by their length."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    outer = vectors[..., :, None] * vectors[..., None, :]
    turned = np.sinc(angle / np.pi) * cross_matrices(vectors)
    return np.cos(angle) * np.eye(3) + turned + np.sinc(angle / (2 * np.pi)) ** 2 / 2 * outer


def to_rotation_vectors(rotations: Floats) -> Floats:
    """The inverse of `from_rotation_vectors`; rotations of nearly 180 degrees lose their axis."""
    axial = axial_vectors(rotations)
    sine = np.linalg.norm(axial, axis=-1)
    angle = np.arctan2(sine, np.trace(rotations, axis1=-2, axis2=-1) - 1)
    return axial * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 0.5)[..., None]


def from_euler(angles: Floats, order: str) -> Floats:
    """Rotations R = R1 R2 ... about coordinate axes.

    Args:
        angles: (..., N) radians.
        order: the N axes, letters x, y, z.
    Returns:
        (..., 3, 3); of no axes the identity.
    """
    angles = np.asarray(angles, dtype=np.float64)
    result = np.broadcast_to(np.eye(3), (*angles.shape[:-1], 3, 3))
    for at, letter in enumerate(order):
        axis = "xyz".index(letter)
        second, third = (axis + 1) % 3, (axis + 2) % 3
        cosine, sine = np.cos(angles[..., at]), np.sin(angles[..., at])
        about = np.zeros(result.shape)
        about[..., axis, axis] = 1
        about[..., second, second] = about[..., third, third] = cosine
        about[..., third, second], about[..., second, third] = sine, -sine
        result = result @ about
    return result


def twist(axis: Floats, rotations: Floats) -> Floats:
    """Angles (...) in [-pi, pi) of the part of rotations (..., 3, 3) that is about the unit vector
    `axis` (3,); what is left of them is a swing of the axis."""
    q = to_quaternions(rotations)
    angle = 2 * np.arctan2(q[..., 1:] @ axis, q[..., 0])
    return (angle + np.pi) % (2 * np.pi) - np.pi


def swing(start: Floats, end: Floats) -> Floats:
    """The smallest rotations (..., 3, 3) that turn unit vectors `start` into `end`."""
    start, end = np.broadcast_arrays(start, end)
    scalar = 1 + dot(start, end)[..., None]
    q = np.concatenate([scalar, np.cross(start, end)], -1)
    # Opposite vectors: half a turn about anything across.
    eye = np.eye(3)
    across = np.cross(start, unit(np.cross(start, eye[0]), eye[1]))
    half_turn = np.concatenate([np.zeros_like(scalar), unit(across, eye[2])], -1)
    return from_quaternions(np.where(scalar > 1e-12, q, half_turn))


def axes_along(first: Floats, second: Floats, order: str) -> Floats:
    """Rotations from two directions.

    Args:
        first: (..., 3), along which axis `order[0]` of the result lies.
        second: (..., 3), to which axis `order[1]` is as near as it can be.
        order: two of the letters x, y, z.
    Returns:
        (..., 3, 3), the axes as columns, right-handed.
    """
    one, two = ("xyz".index(letter) for letter in order)
    eye = np.eye(3)
    first = unit(first, eye[one])
    second = second - dot(second, first)[..., None] * first
    # Parallel vectors leave the second axis open: any that is across will do.
    across = eye[np.argmin(np.abs(first), axis=-1)]
    across = across - dot(across, first)[..., None] * first
    second = unit(second, unit(across, eye[two]))
    axes = np.empty((*np.shape(second), 3))
    axes[..., one], axes[..., two] = first, second
    cyclic = (two - one) % 3 == 1
    axes[..., 3 - one - two] = np.cross(first, second) if cyclic else np.cross(second, first)
    return axes


def nearest_rotation(products: Floats) -> Floats:
    """The rotations R (..., 3, 3) with the greatest trace of Rᵀ B: Kabsch's solution for sums B of
    products of seen and rest vectors."""
    left, _, right = np.linalg.svd(products)
    left[..., :, 2] *= np.sign(np.linalg.det(left @ right))[..., None]
    return left @ right


def to_quaternions(rotations: Floats) -> Floats:
    """Unit quaternions (..., 4), w, x, y, z with w >= 0, of rotation matrices (..., 3, 3)."""
    m = np.asarray(rotations, dtype=np.float64)
    # Four ways to the same quaternion: from the largest of w, x, y, z, which no rounding harms.
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    square = np.stack([trace, m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], -1)
    square[..., 1:] = 2 * square[..., 1:] - trace[..., None]
    x, y, z = np.moveaxis(axial_vectors(m), -1, 0)
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    diagonal = 1 + square
    rows = (
        (diagonal[..., 0], x, y, z),
        (x, diagonal[..., 1], xy, xz),
        (y, xy, diagonal[..., 2], yz),
        (z, xz, yz, diagonal[..., 3]),
    )
    ways = np.stack([np.stack(row, -1) for row in rows], -2)  # (..., 4 ways, 4)
    best = np.argmax(square, axis=-1)[..., None, None]
    chosen = np.take_along_axis(ways, best, axis=-2)[..., 0, :]
    with np.errstate(invalid="ignore"):
        chosen = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.where(chosen[..., :1] < 0, -chosen, chosen)


def from_quaternions(quaternions: Array) -> Array:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), w, x, y, z, of any length but 0."""
    xp = namespace(quaternions)
    q = np.asarray(quaternions, np.float64) if xp is np else quaternions
    q = q / xp.linalg.norm(q, axis=-1, keepdims=True)
    w, x, y, z = (q[..., i] for i in range(4))
    entries = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return xp.stack(entries, -1).reshape(*q.shape[:-1], 3, 3)


def slerp(start: Floats, end: Floats, share: Floats) -> Floats:
    """The rotations part of the way between unit quaternions (..., 4), on the shorter way.

    Args:
        share: (..., 1), 0 at the start and 1 at the end.
    """
    cosine = np.sum(start * end, axis=-1, keepdims=True)
    end = np.where(cosine < 0, -end, end)
    angle = np.arccos(np.minimum(np.abs(cosine), 1))
    sine = np.sin(angle)
    # Below a thousandth of a degree a straight line is the same.
    near = sine < 1e-5
    safe = np.where(near, 1, sine)
    first = np.where(near, 1 - share, np.sin((1 - share) * angle) / safe)
    second = np.where(near, share, np.sin(share * angle) / safe)
    between = first * start + second * end
    return between / np.linalg.norm(between, axis=-1, keepdims=True)


def halfway(first: Floats, second: Floats) -> Floats:
    """The rotations (..., 3, 3) half-way between two, on the shorter way."""
    middle = slerp(to_quaternions(first), to_quaternions(second), np.array([0.5]))
    return from_quaternions(middle)
