"""Empty rooms and yards as a camera sees them, painted by formula.

World axes: z up, the floor at z = 0, metres. Textures belong to the world: a camera that moves sees
the same room from elsewhere, if the generator has the same seed.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image
from lithepose.cameras import Camera


def _texture(rng: np.random.Generator, kind: str, u: Floats, v: Floats) -> Floats:
    """Brightness factors (...,) of a surface at its coordinates u, v in metres."""
    grid = rng.normal(size=(64, 64)).astype(np.float32)

    def cells(u: Floats, v: Floats) -> Floats:
        """One number for each square of side 1, repeated after 64."""
        return grid[(np.floor(u) % 64).astype(int), (np.floor(v) % 64).astype(int)]

    fine = cells(u * 37, v * 37)
    soft = np.sin(u * 1.7 + 2 * np.sin(v * 0.9)) * np.sin(v * 1.3 + 1.5 * np.sin(u * 0.7))
    value = 1 + 0.03 * fine + 0.05 * soft
    if kind == "tiles":
        size = float(rng.uniform(0.3, 0.8))
        joint = (np.mod(u, size) < 0.015) | (np.mod(v, size) < 0.015)
        value = np.where(joint, 0.75, value + 0.04 * cells(u / size, v / size))
    elif kind == "boards":
        wide = float(rng.uniform(0.1, 0.2))
        board = np.floor(u / wide)
        along = v + 0.37 * board
        joint = (np.mod(u, wide) < 0.006) | (np.mod(along, 1.3) < 0.008)
        grain = np.sin(u * 160 + 3 * np.sin(v * 2.1 + board))
        value = np.where(joint, 0.6, value + 0.09 * cells(board, along / 1.3) + 0.03 * grain)
    elif kind == "rough":
        value = value + 0.08 * cells(u * 9, v * 9) + 0.05 * fine
    elif kind == "bricks":
        row = np.floor(v / 0.075)
        along = u + 0.12 * (row % 2)
        joint = (np.mod(v, 0.075) < 0.01) | (np.mod(along, 0.24) < 0.01)
        value = np.where(joint, 1.15, value + 0.1 * cells(row, along / 0.24))
    elif kind != "plain":
        raise ValueError(f"no texture named {kind!r}; known: plain, tiles, boards, rough, bricks")
    return value


_WALLS = ((0.80, 0.78, 0.73), (0.66, 0.70, 0.73), (0.72, 0.66, 0.58), (0.55, 0.60, 0.55),
          (0.85, 0.84, 0.82), (0.45, 0.45, 0.48), (0.62, 0.50, 0.44))  # fmt: skip
_FLOORS = ((0.55, 0.42, 0.30), (0.45, 0.45, 0.44), (0.62, 0.58, 0.52), (0.35, 0.36, 0.38),
           (0.40, 0.46, 0.33), (0.30, 0.24, 0.20))  # fmt: skip


def render_room(
    camera: Camera, rng: np.random.Generator, *, outdoors: bool | None = None
) -> tuple[Image, NDArray[np.bool_]]:
    """Draw an empty room or yard as the camera sees it.

    Returns:
        (H, W, 3) uint8 RGB and (H, W) bool, the pixels that show the floor.
    """
    width, height = camera.image_size
    if outdoors is None:
        outdoors = bool(rng.random() < 0.35)
    x = (np.arange(width) + 0.5 - camera.centre_px[0]) / camera.focal_px[0]
    y = (np.arange(height) + 0.5 - camera.centre_px[1]) / camera.focal_px[1]
    rays = np.stack([*np.meshgrid(x, y), np.ones((height, width))], axis=-1) @ camera.rotation
    position = np.asarray(camera.position, float)
    far = 22.0 if outdoors else 0.0
    back, left, front, right = rng.uniform(4, 6, 4) + far
    high = 40.0 if outdoors else rng.uniform(2.7, 4.0)
    room = np.array([[-back, -left, 0.0], [front, right, high]])
    # The camera must be inside: a room as large as it needs.
    room[0] = np.minimum(room[0], [position[0] - 1, position[1] - 1, 0])
    room[1] = np.maximum(room[1], [position[0] + 1, position[1] + 1, position[2] + 0.5])

    reach = np.full((height, width), np.inf)
    face = np.zeros((height, width), np.int8)
    for dimension in range(3):
        for side in (0, 1):
            with np.errstate(divide="ignore", invalid="ignore"):
                t = (room[side, dimension] - position[dimension]) / rays[..., dimension]
            nearer = (t > 1e-6) & (t < reach)
            reach = np.where(nearer, t, reach)
            face[nearer] = 2 * dimension + side
    point = position + reach[..., None] * rays

    picture = np.zeros((height, width, 3))
    wall_colour = np.asarray(_WALLS[rng.integers(len(_WALLS))]) * rng.uniform(0.85, 1.05)
    floor_colour = np.asarray(_FLOORS[rng.integers(len(_FLOORS))]) * rng.uniform(0.85, 1.1)
    wall_kind = str(rng.choice(["plain", "plain", "rough", "bricks", "boards"]))
    floor_kind = str(rng.choice(["tiles", "boards", "rough", "plain"]))
    for index in range(6):
        mask = face == index
        if not mask.any():
            continue
        x_here, y_here, z_here = point[mask].T
        along = y_here if index < 2 else x_here
        if index == 4:
            shade = _texture(rng, floor_kind, x_here, y_here)
            picture[mask] = floor_colour * shade[:, None]
        elif index == 5:
            picture[mask] = (0.62, 0.74, 0.90) if outdoors else (0.86, 0.86, 0.84)
        elif outdoors:
            picture[mask] = _horizon(rng, along, z_here)
        else:
            light = (1.0, 0.88, 0.94, 0.82)[index]
            colours = wall_colour * (_texture(rng, wall_kind, along, z_here) * light)[:, None]
            colours[z_here < 0.09] = 0.75 * light  # the skirting board
            picture[mask] = _wall_things(rng, colours, along, z_here)
    # Uneven light, and less of it in the corners of the picture.
    blot = max(width, height) / 2.5
    coarse = rng.normal(size=[max(int(side / blot), 2) + 1 for side in (height, width)])
    coarse = coarse.astype(np.float32)
    uneven = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    picture *= 1 + 0.10 * (uneven / 2)[..., None]
    corner = ((x[None] ** 2 + y[:, None] ** 2) / (x[-1] ** 2 + y[-1] ** 2))[..., None]
    picture *= 1 - 0.15 * corner
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8), face == 4


def _wall_things(rng: np.random.Generator, colours: Floats, u: Floats, z: Floats) -> Floats:
    """Pictures, doors, windows and shelves on a wall."""
    for _ in range(int(rng.integers(1, 6))):
        at, wide = rng.uniform(-5, 5), rng.uniform(0.3, 1.3)
        kind = rng.integers(4)
        low, high = ((0.0, 2.05), (0.9, 2.1), (1.2, 1.9), (0.0, 0.9))[kind]
        inside = (np.abs(u - at) < wide / 2) & (z > low) & (z < high)
        colour = rng.uniform(0.15, 0.95, 3) * 0.5 + 0.25
        frame = inside & ((np.abs(u - at) > wide / 2 - 0.05) | (z > high - 0.05))
        colours[inside] = colour
        if kind == 1:
            colours[inside] = np.array([0.85, 0.92, 1.0]) * (0.85 + 0.15 * z[inside, None] / 2)
        elif kind == 2:
            pattern = np.sin(u[inside] * 9 + 3 * np.sin(z[inside] * 7))
            colours[inside] = colour * (1 + 0.3 * pattern[:, None])
        colours[frame] = colour * 0.6
    return colours


def _horizon(rng: np.random.Generator, u: Floats, z: Floats) -> Floats:
    """Sky over a line of trees, hedges and houses."""
    sky = np.array([0.60, 0.74, 0.92]) + np.array([0.3, 0.18, 0.04]) * np.exp(-z / 8)[:, None]
    phase = rng.uniform(0, 6, 4)
    top = 3.5 + 1.2 * np.sin(u * 0.5 + phase[0]) + 0.6 * np.sin(u * 1.7 + phase[1])
    leaves = 0.8 + 0.25 * np.sin(u * 6 + 4 * np.sin(z * 5)) * np.sin(z * 7 + phase[2])
    green = np.array([0.22, 0.36, 0.18]) * rng.uniform(0.8, 1.3)
    colours = np.where((z < top)[:, None], green * leaves[:, None], sky)
    for _ in range(int(rng.integers(0, 4))):
        at, wide, high = rng.uniform(-20, 20), rng.uniform(4, 9), rng.uniform(3, 7)
        house = (np.abs(u - at) < wide / 2) & (z < high)
        colours[house] = rng.uniform(0.45, 0.85, 3) * 0.4 + 0.35
        window = house & (np.mod(u - at, 1.6) < 0.7) & (np.mod(z, 2.4) > 1.0) & (np.mod(z, 2.4) < 2)
        colours[window] = (0.25, 0.30, 0.36)
    return colours
