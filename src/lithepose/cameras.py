"""Cameras: projection, lens distortion, world <-> camera, pixels <-> rays and [-1, 1] coordinates.

Camera axes: x right, y down, z forward. World axes: z up. Rotations act on column vectors, and
`rotation` always takes world axes to camera axes. Pixels are continuous: the centre of the top-left
pixel is (0.5, 0.5). Points are (..., 3) and pixels (..., 2); leading axes are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lithepose.arrays import Array, Floats, namespace


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A calibrated camera in the world.

    Attributes:
        focal_px: (fx, fy) in pixels.
        centre_px: (cx, cy), the principal point in pixels.
        image_size: (width, height) in pixels.
        rotation: (3, 3), world axes -> camera axes.
        position: (3,), the camera's centre in world coordinates, metres.
        radial: k1, k2, k3 of `distort`.
        tangential: px, py of `distort`.
    """

    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    image_size: tuple[int, int]
    rotation: Floats
    position: Floats
    radial: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, dtype=np.float64)
        position = np.asarray(self.position, dtype=np.float64)
        if rotation.shape != (3, 3) or position.shape != (3,):
            raise ValueError(
                "a camera needs a (3, 3) rotation and a (3,) position; "
                f"found {rotation.shape} and {position.shape}"
            )
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-4):
            raise ValueError("the camera's rotation is not orthonormal: its rows must be unit axes")
        if np.linalg.det(rotation) < 0:
            raise ValueError("the camera's rotation mirrors (determinant -1): negate one axis")
        if min(self.focal_px) <= 0:
            raise ValueError(f"focal lengths must be positive pixels; found {self.focal_px}")
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "position", position)

    @classmethod
    def looking_from(
        cls,
        position: ArrayLike,
        target: ArrayLike,
        *,
        focal_px: float,
        image_size: tuple[int, int],
        roll_deg: float = 0.0,
    ) -> Camera:
        """An upright pinhole camera that sees a world point (3,) in the middle of its picture.

        Args:
            position, target, roll_deg: as in `look_at`.
            focal_px: focal length, pixels.
            image_size: (width, height) in pixels.

        Raises:
            ValueError: position and target coincide, or the focal length is not positive.
        """
        width, height = image_size
        return cls(
            focal_px=(float(focal_px), float(focal_px)),
            centre_px=(width / 2, height / 2),
            image_size=(int(width), int(height)),
            rotation=look_at(position, target, roll_deg),
            position=np.asarray(position, dtype=np.float64),
        )

    def world_to_camera(self, points_world: Floats) -> Floats:
        """Points (..., 3) in world coordinates to camera coordinates, same unit."""
        return world_to_camera(points_world, self.rotation, self.position)

    def camera_to_world(self, points_camera: Floats) -> Floats:
        """Points (..., 3) in camera coordinates to world coordinates, same unit."""
        return camera_to_world(points_camera, self.rotation, self.position)

    def project(self, points_world: Floats) -> Floats:
        """Pixels (..., 2) of world points (..., 3), lens distortion included; nan behind the
        camera. Pixels may lie outside the image."""
        lens = self.focal_px, self.centre_px, self.radial, self.tangential
        return project_distorted(self.world_to_camera(points_world), *lens)


def _check_last(array: ArrayLike, size: int, what: str) -> Floats:
    array = np.asarray(array)
    if array.ndim < 1 or array.shape[-1] != size:
        raise ValueError(f"{what} must be (..., {size}); found {array.shape}")
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)


def world_to_camera(points_world: Floats, rotation: Floats, position: Floats) -> Floats:
    """Rotate and shift points into camera axes.

    Args:
        points_world: (..., 3).
        rotation: (3, 3), or (..., 3, 3) with leading axes that broadcast against the points'.
        position: (3,) or (..., 3), the camera's centre in the world, unit of the points.

    Returns:
        (..., 3), camera axes, same unit.
    """
    points_world = _check_last(points_world, 3, "points_world")
    return np.einsum("...ij,...j->...i", rotation, points_world - position)


def camera_to_world(points_camera: Floats, rotation: Floats, position: Floats) -> Floats:
    """The inverse of `world_to_camera`, with the same arguments."""
    points_camera = _check_last(points_camera, 3, "points_camera")
    return np.einsum("...ji,...j->...i", rotation, points_camera) + position


def _flatten_depth(points_camera: Floats) -> Floats:
    """(x / z, y / z); nan where z <= 0, because a point behind the camera has no image."""
    depth = points_camera[..., 2:]
    in_front = depth > 0
    flat = points_camera[..., :2] / np.where(in_front, depth, 1.0)
    return np.where(in_front, flat, np.nan).astype(points_camera.dtype)


def project(points_camera: Floats, focal_px: ArrayLike, centre_px: ArrayLike) -> Floats:
    """Pinhole projection.

    Args:
        points_camera: (..., 3), camera axes, any unit.
        focal_px: one focal length, or (..., 2) for x and y.
        centre_px: (..., 2), the principal point.

    Returns:
        (..., 2) pixels; nan where a point is behind the camera (z <= 0) or missing.
    """
    points_camera = _check_last(points_camera, 3, "points_camera")
    return _to_pixels(_flatten_depth(points_camera), focal_px, centre_px)


def _to_pixels(flat: Floats, focal_px: ArrayLike, centre_px: ArrayLike) -> Floats:
    pixels = flat * np.asarray(focal_px) + np.asarray(centre_px)
    return pixels.astype(flat.dtype)


def distort(flat: Floats, radial: ArrayLike, tangential: ArrayLike) -> Floats:
    """Lens distortion on the plane z = 1, in the Human3.6M (VideoPose3D) form.

    With (x, y) the undistorted point and r2 = x^2 + y^2:
    (x, y) * (1 + k1 r2 + k2 r2^2 + k3 r2^3 + px x + py y) + r2 * (px, py).

    Trap: OpenCV's model has the factor 2 in other places and lists the tangential pair the other
    way round (its p1 goes with y, its p2 with x), so its coefficients don't fit here unchanged.

    Args:
        flat: (..., 2), x / z and y / z in camera axes.
        radial: (..., 3), k1, k2, k3.
        tangential: (..., 2), px, py.

    Returns:
        (..., 2), the distorted point on the same plane.
    """
    flat = _check_last(flat, 2, "flat")
    tangential = np.asarray(tangential)
    r2 = (flat**2).sum(axis=-1, keepdims=True)
    gain = _distortion_gain(flat, r2, radial, tangential)
    return (flat * gain + r2 * tangential).astype(flat.dtype)


def _distortion_gain(flat: Floats, r2: Floats, radial: ArrayLike, tangential: Floats) -> Floats:
    k1, k2, k3 = np.split(np.asarray(radial), 3, axis=-1)
    along = (flat * tangential).sum(axis=-1, keepdims=True)
    return 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3)) + along


def project_distorted(
    points_camera: Floats,
    focal_px: ArrayLike,
    centre_px: ArrayLike,
    radial: ArrayLike,
    tangential: ArrayLike,
) -> Floats:
    """Projection through a lens with distortion; `project` with `distort` in between.

    Args:
        points_camera: (..., 3), camera axes, any unit.
        focal_px: one focal length, or (..., 2) for x and y.
        centre_px: (..., 2), the principal point.
        radial: (..., 3), k1, k2, k3.
        tangential: (..., 2), px, py.

    Returns:
        (..., 2) pixels; nan where a point is behind the camera or missing. Far outside the image
        the polynomial means nothing: distortion is fitted inside it only.
    """
    points_camera = _check_last(points_camera, 3, "points_camera")
    flat = distort(_flatten_depth(points_camera), radial, tangential)
    return _to_pixels(flat, focal_px, centre_px)


def undistort(
    pixels: Floats,
    focal_px: ArrayLike,
    centre_px: ArrayLike,
    radial: ArrayLike,
    tangential: ArrayLike,
) -> Floats:
    """Pixels as a lens without distortion would give them.

    `distort` has no closed inverse: the point is found by fixed-point iteration, dividing the
    observed point by the distortion at the current guess. Inside the image of a usual lens 30
    rounds reach rounding error.

    Args:
        pixels: (..., 2), observed.
        focal_px, centre_px, radial, tangential: as in `project_distorted`.

    Returns:
        (..., 2) pixels.
    """
    pixels = _check_last(pixels, 2, "pixels")
    tangential = np.asarray(tangential)
    observed = (pixels - np.asarray(centre_px)) / np.asarray(focal_px)
    flat = observed
    for _ in range(30):
        r2 = (flat**2).sum(axis=-1, keepdims=True)
        flat = (observed - r2 * tangential) / _distortion_gain(flat, r2, radial, tangential)
    return _to_pixels(flat, focal_px, centre_px).astype(pixels.dtype)


def unproject(
    pixels: Floats, focal_px: ArrayLike, centre_px: ArrayLike, depth: ArrayLike = 1.0
) -> Floats:
    """Points at a given depth behind pixels of a pinhole camera.

    Args:
        pixels: (..., 2).
        focal_px: one focal length, or (..., 2) for x and y.
        centre_px: (..., 2), the principal point.
        depth: z of the points, one value or one per pixel (...).

    Returns:
        (..., 3), camera axes, unit of `depth`.
    """
    pixels = _check_last(pixels, 2, "pixels")
    flat = (pixels - np.asarray(centre_px)) / np.asarray(focal_px)
    plane = np.concatenate([flat, np.ones_like(flat[..., :1])], axis=-1)
    return (plane * np.asarray(depth)[..., None]).astype(pixels.dtype)


def rotation_to_ray(direction: Floats) -> Floats:
    """The smallest rotation that turns the camera's view axis (0, 0, 1) into a direction.

    With R the result, `R @ (0, 0, 1)` is the direction and R has no roll about it: R turns about an
    axis in the image plane. A virtual camera that looks along the direction therefore has the
    person in its centre, and `points_virtual = R.T @ points_camera` (points as columns) gives what
    it sees; `R @ points_virtual` brings a result back.

    Args:
        direction: (..., 3), any positive length. Straight backwards, where every axis is as short,
            the half turn about x is taken.

    Returns:
        (..., 3, 3); nan where the direction is missing or has length 0.
    """
    direction = _check_last(direction, 3, "direction")
    length = np.linalg.norm(direction, axis=-1, keepdims=True)
    ray = direction / np.where(length > 0, length, np.nan)
    backwards = ray[..., 2:] < -1 + 1e-6
    rotation = rotation_to_unit_ray(np.where(backwards, (0.0, 0.0, 1.0), ray))
    half_turn = np.diag([1.0, -1.0, -1.0])
    return np.where(backwards[..., None], half_turn, rotation).astype(direction.dtype)


def rotation_to_unit_ray(ray: Array) -> Array:
    """`rotation_to_ray` for unit vectors (..., 3) that don't point backwards, also in PyTorch."""
    xp = namespace(ray)
    x, y, z = ray[..., 0], ray[..., 1], ray[..., 2]
    # Rodrigues' formula for the axis (-y, x, 0) with cosine z and sine |(x, y)|.
    inverse = 1.0 / (1.0 + z)
    entries = [
        *(1 - x * x * inverse, -x * y * inverse, x),
        *(-x * y * inverse, 1 - y * y * inverse, y),
        *(-x, -y, z),
    ]
    return xp.stack(entries, -1).reshape(*ray.shape[:-1], 3, 3)


def look_at(position: ArrayLike, target: ArrayLike, roll_deg: ArrayLike = 0.0) -> Floats:
    """Rotation of an upright camera that looks from one world point to another.

    Args:
        position: (..., 3), the camera's centre, world axes (z up).
        target: (..., 3), the point to see in the image centre.
        roll_deg: degrees about the view axis; positive turns the camera clockwise as seen from
            behind it, so the picture turns counter-clockwise.

    Returns:
        (..., 3, 3), world axes -> camera axes. Looking straight up or down, where the horizon gives
        no hint, the image's right is world x.

    Raises:
        ValueError: position and target coincide.
    """
    forward = _check_last(target, 3, "target") - _check_last(position, 3, "position")
    distance = np.linalg.norm(forward, axis=-1, keepdims=True)
    if (distance == 0).any():
        raise ValueError("the camera's position and target coincide: no direction to look in")
    forward = forward / distance
    # Right = forward x up, which has no length when looking along the vertical.
    x, y = forward[..., 0], forward[..., 1]
    right = np.stack([y, -x, np.zeros_like(x)], axis=-1)
    level = np.linalg.norm(right, axis=-1, keepdims=True)
    vertical = level < 1e-9
    right = np.where(vertical, [1.0, 0.0, 0.0], right / np.where(vertical, 1.0, level))
    down = np.cross(forward, right)
    roll = np.radians(np.asarray(roll_deg, dtype=np.float64))[..., None]
    rolled_right = np.cos(roll) * right + np.sin(roll) * down
    rolled_down = np.cos(roll) * down - np.sin(roll) * right
    return np.stack(np.broadcast_arrays(rolled_right, rolled_down, forward), axis=-2)


def focal_from_fov(fov_deg: float, image_size: Sequence[int]) -> float:
    """Focal length in pixels of a lens with a given horizontal field of view.

    Args:
        fov_deg: full opening angle in degrees, between 0 and 180.
        image_size: (width, height) in pixels.

    Raises:
        ValueError: an angle outside (0, 180), a picture without pixels.
    """
    if not 0 < fov_deg < 180:
        raise ValueError(f"a field of view is between 0 and 180 degrees; found {fov_deg}")
    if min(image_size) <= 0:
        raise ValueError(f"image_size is (width, height) in pixels; found {tuple(image_size)}")
    return 0.5 * image_size[0] / math.tan(math.radians(fov_deg) / 2)


def normalise_pixels(pixels: Floats, image_size: ArrayLike) -> Floats:
    """Pixels (..., 2) to screen coordinates: the width spans [-1, 1], y keeps the aspect.

    Args:
        pixels: (..., 2).
        image_size: (width, height), or (..., 2) with leading axes that broadcast.
    """
    pixels = _check_last(pixels, 2, "pixels")
    size = np.asarray(image_size, dtype=pixels.dtype)
    width = size[..., :1]
    return (2 * pixels - size) / width


def denormalise_pixels(screen: Floats, image_size: ArrayLike) -> Floats:
    """The inverse of `normalise_pixels`."""
    screen = _check_last(screen, 2, "screen")
    size = np.asarray(image_size, dtype=screen.dtype)
    width = size[..., :1]
    return (screen * width + size) / 2


def focal_of_35mm(focal_mm: float, image_size: tuple[int, int]) -> float:
    """Focal length in pixels of a focal length "as on 35 mm film".

    Two cameras are equal in that sense if their diagonals span the same angle; a frame of film is
    36 by 24 mm.

    Args:
        focal_mm: millimetres.
        image_size: (width, height) in pixels.
    """
    return focal_mm * math.hypot(*image_size) / math.hypot(36, 24)
