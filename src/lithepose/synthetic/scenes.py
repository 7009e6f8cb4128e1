"""Pictures of synthetic people: a camera, a light, a room, and frames with exact truth.

Figures (`lithepose.synthetic.bodies`) are drawn quad by quad from far to near at twice the
resolution, lit by one sun or lamp and the sky or ceiling, with shadows on themselves and on the
floor. World axes: z up, floor at z = 0, metres. Everything random comes from the generator that is
passed in: the same seed gives the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from lithepose.arrays import Floats, Image
from lithepose.cameras import Camera, look_at
from lithepose.synthetic.bodies import (
    BONES,
    JOINT_BONES,
    Appearance,
    Cloth,
    Figure,
    build_figure,
    random_body,
)
from lithepose.synthetic.movements import demo_motion

_OVERSAMPLING = 2
_SHIFT = 4  # binary digits of the fraction in OpenCV's drawing coordinates
_NOISE_UNIT = 256.0  # value of one standard deviation in the stored noise
_NOISE_SPARE = 64  # pixels by which the stored noise is larger than a frame


def aim_camera(
    position: ArrayLike,
    target: ArrayLike,
    *,
    focal_px: float,
    image_size: tuple[int, int],
    roll_deg: float = 0.0,
) -> Camera:
    """A camera without distortion at `position` that looks at `target` (world axes, metres).

    Raises:
        ValueError: position and target coincide, or the focal length is not positive.
    """
    width, height = image_size
    return Camera(
        focal_px=(float(focal_px), float(focal_px)),
        centre_px=(width / 2, height / 2),
        image_size=(int(width), int(height)),
        rotation=look_at(position, target, roll_deg),
        position=np.asarray(position, dtype=np.float64),
    )


@dataclass(frozen=True, kw_only=True)
class Box:
    """A piece of furniture standing on the floor, which may hide people.

    Attributes:
        centre: (x, y) on the floor, metres.
        size: (x, y, z) edge lengths, metres.
        colour: RGB in [0, 1].
        yaw: turn about the vertical, radians.
    """

    centre: tuple[float, float]
    size: tuple[float, float, float]
    colour: tuple[float, float, float]
    yaw: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything in a picture but the people.

    Attributes:
        camera: where the picture is taken; a camera without lens distortion.
        background: (H, W, 3) uint8 RGB, the empty room seen by the camera.
        floor: (H, W) bool, where the background shows the floor (it takes shadows).
        light: (3,) unit vector towards the light.
        light_strength, ambient: brightness of the direct light and of the light from all sides.
        tint: (3,) RGB factor of the light.
        boxes: furniture.
        noise: standard deviation of the sensor noise, grey values of 255.
        jpeg_quality: compression of the finished frame, or None for none.
        blur: standard deviation in pixels of the lens blur.
    """

    camera: Camera
    background: Image
    floor: NDArray[np.bool_]
    light: Floats
    light_strength: float = 0.65
    ambient: float = 0.45
    tint: Floats = field(default_factory=lambda: np.ones(3))
    boxes: tuple[Box, ...] = ()
    noise: float = 2.0
    jpeg_quality: int | None = 88
    blur: float = 0.5


@dataclass(frozen=True, kw_only=True)
class ClipTruth:
    """Exact truth of one person in a rendered clip.

    Attributes:
        joints_world, joints_camera: (T, 17, 3) metres.
        keypoints: (T, 17, 2) pixels, x right, y down, top-left pixel centred at (0.5, 0.5).
        visible: (T, 17) bool, in the picture and not hidden by the own body, others or furniture.
        fps: frames per second.
        camera: the camera.
    """

    joints_world: Floats
    joints_camera: Floats
    keypoints: Floats
    visible: NDArray[np.bool_]
    fps: float
    camera: Camera


# --- the room --------------------------------------------------------------------------------


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], size: float) -> Floats:
    """Noise in about [-1, 1] with features of `size` pixels."""
    small = rng.normal(size=(max(int(shape[0] / size), 2) + 1, max(int(shape[1] / size), 2) + 1))
    large = cv2.resize(small.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, dtype=np.float32) / 2


def _texture(rng: np.random.Generator, kind: str, u: Floats, v: Floats) -> Floats:
    """Brightness factors (...,) of a surface at its coordinates u, v in metres."""
    grid = rng.normal(size=(64, 64)).astype(np.float32)
    fine = grid[(np.floor(u * 37) % 64).astype(int), (np.floor(v * 37) % 64).astype(int)]
    soft = np.sin(u * 1.7 + 2 * np.sin(v * 0.9)) * np.sin(v * 1.3 + 1.5 * np.sin(u * 0.7))
    value = 1 + 0.03 * fine + 0.05 * soft
    if kind == "tiles":
        size = float(rng.uniform(0.3, 0.8))
        joint = (np.mod(u, size) < 0.015) | (np.mod(v, size) < 0.015)
        cell = grid[(np.floor(u / size) % 64).astype(int), (np.floor(v / size) % 64).astype(int)]
        value = np.where(joint, 0.75, value + 0.04 * cell)
    elif kind == "boards":
        wide = float(rng.uniform(0.1, 0.2))
        board = np.floor(u / wide)
        long = np.mod(v + 0.37 * board, 1.3)
        joint = (np.mod(u, wide) < 0.006) | (long < 0.008)
        number = np.floor((v + 0.37 * board) / 1.3)
        cell = grid[(board % 64).astype(int), (number % 64).astype(int)]
        grain = np.sin(u * 160 + 3 * np.sin(v * 2.1 + board))
        value = np.where(joint, 0.6, value + 0.09 * cell + 0.03 * grain)
    elif kind == "rough":
        coarse = grid[(np.floor(u * 9) % 64).astype(int), (np.floor(v * 9) % 64).astype(int)]
        value = value + 0.08 * coarse + 0.05 * fine
    elif kind == "bricks":
        row = np.floor(v / 0.075)
        joint = (np.mod(v, 0.075) < 0.01) | (np.mod(u + 0.12 * (row % 2), 0.24) < 0.01)
        column = np.floor((u + 0.12 * (row % 2)) / 0.24)
        cell = grid[(row % 64).astype(int), (column % 64).astype(int)]
        value = np.where(joint, 1.15, value + 0.1 * cell)
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
    far = 12.0 + 10 * outdoors
    room = np.array([
        [-rng.uniform(4, 6) - far * outdoors, -rng.uniform(4, 6) - far * outdoors, 0.0],
        [rng.uniform(4, 6) + far * outdoors, rng.uniform(4, 6) + far * outdoors,
         40.0 if outdoors else rng.uniform(2.7, 4.0)],
    ])  # fmt: skip
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
        here = point[mask]
        if index == 4:
            shade = _texture(rng, floor_kind, here[:, 0], here[:, 1])
            # Far floor fades a little: contact with the walls looks softer.
            picture[mask] = floor_colour * shade[:, None]
        elif index == 5:
            picture[mask] = (0.62, 0.74, 0.90) if outdoors else (0.86, 0.86, 0.84)
        else:
            along = here[:, 1] if index < 2 else here[:, 0]
            if outdoors:
                picture[mask] = _horizon(rng, along, here[:, 2])
            else:
                light = (1.0, 0.88, 0.94, 0.82)[index]
                shade = _texture(rng, wall_kind, along, here[:, 2]) * light
                colours = wall_colour * shade[:, None]
                skirting = here[:, 2] < 0.09
                colours[skirting] = 0.75 * light
                picture[mask] = _wall_things(rng, colours, along, here[:, 2])
    vignette = 1 + 0.10 * _smooth_noise(rng, (height, width), max(width, height) / 2.5)
    picture *= vignette[..., None]
    corner = ((x[None] ** 2 + y[:, None] ** 2) / (x[-1] ** 2 + y[-1] ** 2))[..., None]
    picture *= 1 - 0.15 * corner
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8), face == 4


def _wall_things(rng: np.random.Generator, colours: Floats, u: Floats, z: Floats) -> Floats:
    """Pictures, doors, windows and shelves on a wall."""
    for _ in range(int(rng.integers(1, 6))):
        at, wide = rng.uniform(-5, 5), rng.uniform(0.3, 1.3)
        kind = rng.integers(4)
        low, high = {0: (0.0, 2.05), 1: (0.9, 2.1), 2: (1.2, 1.9), 3: (0.0, 0.9)}[int(kind)]
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


def random_scene(
    camera: Camera, rng: np.random.Generator, *, outdoors: bool | None = None, boxes: int = 0
) -> Scene:
    """Draw a room, a light and a sensor for a camera; `boxes` pieces of furniture around."""
    background, floor = render_room(camera, rng, outdoors=outdoors)
    # Light from above, rather from the camera's side: photographs are seldom fully back-lit.
    azimuth = float(rng.uniform(-2.4, 2.4))
    elevation = float(rng.uniform(0.6, 1.3))
    back = np.asarray(camera.position, float) * (1, 1, 0)
    back = back / max(float(np.linalg.norm(back)), 1e-6)
    side = np.array([-back[1], back[0], 0])
    level = np.cos(azimuth) * back + np.sin(azimuth) * side
    light = np.cos(elevation) * level + np.array([0, 0, np.sin(elevation)])
    furniture = tuple(
        Box(
            centre=(float(rng.uniform(-2.5, 2.5)), float(rng.uniform(-2.5, 2.5))),
            size=tuple(rng.uniform((0.3, 0.3, 0.3), (1.0, 0.6, 0.9)).tolist()),
            colour=tuple(rng.uniform(0.2, 0.8, 3).tolist()),
            yaw=float(rng.uniform(0, np.pi)),
        )
        for _ in range(boxes)
    )
    return Scene(
        camera=camera,
        background=background,
        floor=floor,
        light=light / np.linalg.norm(light),
        light_strength=float(rng.uniform(0.35, 0.75)),
        ambient=float(rng.uniform(0.40, 0.60)),
        tint=np.clip(1 + rng.normal(0, 0.04, 3), 0.85, 1.15),
        boxes=furniture,
        noise=float(rng.uniform(0.5, 4.0)),
        jpeg_quality=int(rng.integers(70, 95)),
        blur=float(rng.uniform(0.3, 0.9)),
    )


# --- drawing ---------------------------------------------------------------------------------


def _box_mesh(box: Box) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Vertices, quads and normals (F, 3) of a box, in pieces small enough to sort by distance."""
    cosine, sine = np.cos(box.yaw), np.sin(box.yaw)
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    vertices, quads, normals, count = [], [], [], 0
    half = np.array(box.size) / 2
    for dimension in range(3):
        u, v = (dimension + 1) % 3, (dimension + 2) % 3
        nu, nv = (max(int(np.ceil(2 * half[d] / 0.12)), 1) for d in (u, v))
        for sign in (-1, 1):
            a, b = np.meshgrid(
                np.linspace(-1, 1, nu + 1), np.linspace(-1, 1, nv + 1), indexing="ij"
            )
            points = np.zeros((*a.shape, 3))
            points[..., u], points[..., v] = a * half[u], b * half[v]
            points[..., dimension] = sign * half[dimension]
            index = np.arange(a.size).reshape(a.shape)
            quad = np.stack([index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]], -1)
            quad = quad.reshape(-1, 4) if sign > 0 else quad.reshape(-1, 4)[:, ::-1]
            normal = np.zeros(3)
            normal[dimension] = sign
            vertices.append(points.reshape(-1, 3))
            quads.append(quad + count)
            normals.append(np.tile(normal @ turn.T, (len(quad), 1)))
            count += a.size
    points = np.concatenate(vertices) @ turn.T + (*box.centre, half[2])
    return points, np.concatenate(quads), np.concatenate(normals)


def _lit_share(
    points: Floats, blockers: Floats, light: Floats, cell: float = 0.03, bias: float = 0.06
) -> Floats:
    """(N,) 1 where the light reaches a point, falling to 0 where blockers (M, 3) are in its way."""
    across = np.cross(light, (0.0, 0.0, 1.0))
    norm = float(np.linalg.norm(across))
    across = across / norm if norm > 1e-6 else np.array([1.0, 0, 0])
    plane = np.stack([across, np.cross(light, across)], -1)
    low = np.floor((blockers @ plane).min(0) / cell) - 2
    u, v = (np.floor(blockers @ plane / cell) - low).astype(int).T
    front = np.full((u.max() + 3, v.max() + 3), np.inf)
    np.minimum.at(front, (u, v), -(blockers @ light))  # small: close to the light
    u, v = (np.floor(points @ plane / cell) - low).astype(int).T
    u, v = u.clip(1, front.shape[0] - 2), v.clip(1, front.shape[1] - 2)
    depth = -(points @ light)
    # The mean over neighbouring cells softens the edge of the shadow.
    share = np.zeros(len(points))
    for du in (-1, 0, 1):
        for dv in (-1, 0, 1):
            share += np.clip(1 - (depth - front[u + du, v + dv] - bias) / 0.03, 0, 1)
    return share / 9


@dataclass
class _Soup:
    """All quads of a frame, ready to draw; pixels are nan for vertices behind the camera."""

    vertices: Floats  # (V, 3) world
    pixels: Floats  # (V, 2)
    quads: NDArray[np.int64]  # (F, 4)
    distance: Floats  # (F,) from the camera along its axis, at the middle
    normals: Floats  # (F, 3)
    colours: Floats  # (F, 3)
    gloss: Floats  # (F,)
    owner: NDArray[np.int64]  # (F,) person, -1 furniture
    bones: NDArray[np.int64]  # (F,)

    def low(self) -> Floats:
        """(F, 2) the least pixel coordinates of each quad."""
        a, b, c, d = (self.pixels[self.quads[:, i]] for i in range(4))
        return np.minimum(np.minimum(a, b), np.minimum(c, d))

    def high(self) -> Floats:
        """(F, 2) the greatest pixel coordinates of each quad."""
        a, b, c, d = (self.pixels[self.quads[:, i]] for i in range(4))
        return np.maximum(np.maximum(a, b), np.maximum(c, d))


def _corner_sum(values: Floats, quads: NDArray[np.int64]) -> Floats:
    return values[quads[:, 0]] + values[quads[:, 1]] + values[quads[:, 2]] + values[quads[:, 3]]


def _gather(people: Sequence[tuple[Figure, Floats]], boxes: Sequence[Box], camera: Camera) -> _Soup:
    vertices, quads, normals, colours, gloss, owner, bones = ([] for _ in range(7))
    count = 0
    for number, (figure, joints) in enumerate(people):
        points, vertex_normals = figure.pose(joints)
        vertices.append(points)
        quads.append(figure.quads + count)
        normal = _corner_sum(vertex_normals, figure.quads)
        normals.append(normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9))
        colours.append(figure.colours)
        gloss.append(figure.gloss)
        owner.append(np.full(len(figure.quads), number))
        bones.append(figure.bones)
        count += len(points)
    for box in boxes:
        points, faces, box_normals = _box_mesh(box)
        vertices.append(points)
        quads.append(faces + count)
        normals.append(box_normals)
        colours.append(np.tile(box.colour, (len(faces), 1)))
        gloss.append(np.full(len(faces), 0.02))
        owner.append(np.full(len(faces), -1))
        bones.append(np.full(len(faces), -1))
        count += len(points)
    points, faces = np.concatenate(vertices), np.concatenate(quads)
    local = camera.world_to_camera(points)
    pixels = local[:, :2] / np.maximum(local[:, 2:], 0.15) * camera.focal_px + camera.centre_px
    pixels[local[:, 2] < 0.15] = np.nan
    return _Soup(
        vertices=points,
        pixels=pixels,
        quads=faces,
        distance=_corner_sum(local[:, 2], faces) / 4,
        normals=np.concatenate(normals),
        colours=np.concatenate(colours),
        gloss=np.concatenate(gloss),
        owner=np.concatenate(owner),
        bones=np.concatenate(bones),
    )


def _shade(soup: _Soup, keep: NDArray[np.int64], scene: Scene) -> Floats:
    """(K, 3) colours in [0, 1] of the quads `keep` under the scene's light."""
    centres = _corner_sum(soup.vertices, soup.quads[keep]) / 4
    normal = soup.normals[keep]
    lit = _lit_share(centres, soup.vertices, scene.light)
    sky = 0.75 + 0.25 * normal[:, 2]  # less light from the floor than from above
    view = scene.camera.position - centres
    view /= np.linalg.norm(view, axis=-1, keepdims=True)
    half = view + scene.light
    half /= np.linalg.norm(half, axis=-1, keepdims=True)
    shine = soup.gloss[keep] * np.clip((normal * half).sum(-1), 0, 1) ** 20 * lit
    direct = scene.light_strength * np.clip(normal @ scene.light, 0, 1) * lit
    fill = 0.12 * np.clip((normal * view).sum(-1), 0, 1)
    light = scene.ambient * sky + direct + fill
    return np.clip(soup.colours[keep] * light[:, None] * scene.tint + shine[:, None], 0, 1)


def _draw_floor_shadow(picture: Image, soup: _Soup, scene: Scene) -> None:
    """Darken the floor where the figures stand in the light, in place."""
    camera = scene.camera
    width, height = camera.image_size
    step = 4  # pixels of the picture per cell of the shadow
    mask = np.zeros((height // step + 1, width // step + 1), np.uint8)
    contact = np.zeros_like(mask)
    ground = soup.vertices - soup.vertices[:, 2:] / scene.light[2] * scene.light
    _splat(mask, ground, camera, step)
    # The sky is hidden under the feet whatever the light.
    low = soup.vertices[soup.vertices[:, 2] < 0.06] * (1, 1, 0)
    _splat(contact, low, camera, step)
    if not mask.any() and not contact.any():
        return
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    mask = cv2.GaussianBlur(mask, (0, 0), max(width, height) / 700)
    contact = cv2.GaussianBlur(cv2.dilate(contact, np.ones((3, 3), np.uint8)), (0, 0), 1.0)
    share = 0.75 * scene.light_strength / (scene.light_strength + scene.ambient)
    dark = np.maximum(mask * share, contact * 0.5) / 255
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    y0, y1 = rows[0] * step, min((rows[-1] + 1) * step, height)
    x0, x1 = columns[0] * step, min((columns[-1] + 1) * step, width)
    piece = dark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    piece = cv2.resize(piece, None, fx=step, fy=step, interpolation=cv2.INTER_LINEAR)
    piece = piece[: y1 - y0, : x1 - x0] * scene.floor[y0:y1, x0:x1]
    region = picture[y0:y1, x0:x1]
    picture[y0:y1, x0:x1] = (region * (1 - piece[..., None])).astype(np.uint8)


def _splat(mask: Image, points: Floats, camera: Camera, step: int) -> None:
    """Set the cells of a coarse mask in which world points are seen, in place."""
    local = camera.world_to_camera(points)
    local = local[local[:, 2] > 0.2]
    cell = (local[:, :2] / local[:, 2:] * camera.focal_px + camera.centre_px) / step
    inside = ((cell >= 0) & (cell < (mask.shape[1], mask.shape[0]))).all(-1)
    x, y = cell[inside].astype(int).T
    mask[y, x] = 255


def _visible(soup: _Soup, camera: Camera, joints: Floats, person: int) -> NDArray[np.bool_]:
    """(17,) whether the nearest surface at each joint's pixel is the joint's own part."""
    width, height = camera.image_size
    pixel = camera.project(joints)
    depth = camera.world_to_camera(joints)[:, 2]
    inside = ((pixel >= 0) & (pixel < (width, height))).all(-1)
    low, high = soup.low(), soup.high()
    visible = np.zeros(17, bool)
    for joint in np.flatnonzero(inside):
        u, v = pixel[joint]
        hit = (low[:, 0] <= u) & (high[:, 0] >= u) & (low[:, 1] <= v) & (high[:, 1] >= v)
        hit = np.flatnonzero(hit)
        corners = soup.pixels[soup.quads[hit]]
        edge, to = np.roll(corners, -1, axis=1) - corners, pixel[joint] - corners
        turn = edge[..., 0] * to[..., 1] - edge[..., 1] * to[..., 0]
        hit = hit[(turn >= 0).all(-1) | (turn <= 0).all(-1)]
        if len(hit) == 0:  # on the rim (the vertex of the head): nothing in front
            visible[joint] = True
            continue
        first = hit[soup.distance[hit].argmin()]
        own = soup.owner[first] == person and BONES[soup.bones[first]] in JOINT_BONES[joint]
        visible[joint] = own or soup.distance[first] > depth[joint]
        if joint == 9 and own:  # the nose lies on the skin: not to be seen through the head
            visible[joint] = soup.distance[first] > depth[joint] - 0.04
    return visible


def render_frame(
    people: Sequence[tuple[Figure, Floats]],
    scene: Scene,
    rng: np.random.Generator | None = None,
) -> Image:
    """Draw people in a scene.

    Args:
        people: (figure, (17, 3) joints in the world) of each person.
        rng: draws the sensor noise; None draws none.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: a pose does not fit its figure (see `Figure.pose`).
    """
    soup = _gather(people, scene.boxes, scene.camera) if people or scene.boxes else None
    return _render(soup, scene, rng)


def _render(soup: _Soup | None, scene: Scene, rng: np.random.Generator | None) -> Image:
    picture = scene.background.copy()
    if soup is not None:
        _draw_floor_shadow(picture, soup, scene)
        _draw_quads(picture, soup, scene)
    if scene.blur > 0:
        picture = cv2.GaussianBlur(picture, (0, 0), scene.blur)
    if rng is not None and scene.noise > 0:
        # One field of noise, shifted anew for each frame: drawing a field per frame costs as much
        # as drawing the people.
        height, width = picture.shape[:2]
        y, x = rng.integers(0, _NOISE_SPARE, 2)
        field_of_noise = _noise_field(height + _NOISE_SPARE, width + _NOISE_SPARE)
        noise = field_of_noise[y : y + height, x : x + width]
        picture = cv2.addWeighted(
            picture, 1.0, noise, scene.noise / _NOISE_UNIT, 0.0, dtype=cv2.CV_8U
        )
    image = np.asarray(picture, dtype=np.uint8)
    if scene.jpeg_quality is not None:
        quality = [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(image, dtype=np.uint8)


@cache
def _noise_field(height: int, width: int) -> NDArray[np.int16]:
    values = np.random.default_rng(0).standard_normal((height, width, 3), dtype=np.float32)
    return (values * _NOISE_UNIT).astype(np.int16)


def _draw_quads(picture: Image, soup: _Soup, scene: Scene) -> None:
    """Draw lit quads from far to near over the picture, in place, anti-aliased."""
    width, height = scene.camera.image_size
    a, b, c, d = (soup.pixels[soup.quads[:, i]] for i in range(4))
    across, other = c - a, d - b
    low, high = soup.low(), soup.high()
    # Image y points down: outsides that face the camera turn clockwise there. nan compares false.
    keep = across[:, 0] * other[:, 1] - across[:, 1] * other[:, 0] < 0
    keep &= (high[:, 0] > 0) & (high[:, 1] > 0) & (low[:, 0] < width) & (low[:, 1] < height)
    keep = np.flatnonzero(keep)
    if len(keep) == 0:
        return
    keep = keep[np.argsort(-soup.distance[keep], kind="stable")]
    x0, y0 = np.maximum(np.floor(low[keep].min(0)).astype(int) - 2, 0)
    x1, y1 = np.minimum(np.ceil(high[keep].max(0)).astype(int) + 2, (width, height))
    colours = _shade(soup, keep, scene) * 255
    n = _OVERSAMPLING
    canvas = cv2.resize(picture[y0:y1, x0:x1], None, fx=n, fy=n, interpolation=cv2.INTER_LINEAR)
    # Pixel centres lie at integers in OpenCV and at halves here.
    points = soup.pixels[soup.quads[keep]]
    points = np.round(((points - (x0, y0)) * n - 0.5) * 2**_SHIFT).astype(np.int32)
    fill = cv2.fillConvexPoly
    for quad, colour in zip(points, colours.tolist(), strict=True):
        fill(canvas, quad, colour, cv2.LINE_8, _SHIFT)
    picture[y0:y1, x0:x1] = cv2.resize(canvas, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)


class Clip:
    """A rendered clip: iterate over it for frames; `truth` holds the exact 3D of each person.

    Frames are rendered while iterating, and every pass gives the same pictures.

    Args:
        people: (figure, motion) of each person; all motions (T, 17, 3) of one length, world axes.
        scene: where they are seen.
        fps: frames per second.
        seed: of the sensor noise.
    """

    def __init__(
        self,
        people: Sequence[tuple[Figure, Floats]],
        scene: Scene,
        fps: float,
        seed: int = 0,
    ):
        lengths = {len(motion) for _, motion in people}
        if len(lengths) != 1:
            raise ValueError(
                f"all people of a clip need motions of one length, got {sorted(lengths)} frames"
            )
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        for _, motion in people:
            if np.asarray(motion).ndim != 3 or np.asarray(motion).shape[1:] != (17, 3):
                raise ValueError(f"a motion must be (T, 17, 3), got {np.asarray(motion).shape}")
        self.people = [(figure, np.asarray(motion, float)) for figure, motion in people]
        self.scene, self.fps, self.seed = scene, float(fps), seed

    def __len__(self) -> int:
        return len(self.people[0][1])

    def __iter__(self) -> Iterator[Image]:
        for frame in range(len(self)):
            yield self.frame(frame)

    def _soup(self, index: int) -> _Soup:
        people = [(figure, motion[index]) for figure, motion in self.people]
        return _gather(people, self.scene.boxes, self.scene.camera)

    def frame(self, index: int) -> Image:
        """Render one frame: (H, W, 3) uint8 RGB."""
        return _render(self._soup(index), self.scene, np.random.default_rng([self.seed, index]))

    def visibility(self, index: int) -> NDArray[np.bool_]:
        """(P, 17) whether each joint is seen in a frame."""
        soup = self._soup(index)
        return np.stack(
            [
                _visible(soup, self.scene.camera, motion[index], person)
                for person, (_, motion) in enumerate(self.people)
            ]
        )

    def truth(self, person: int = 0, *, visibility: bool = True) -> ClipTruth:
        """Exact truth of one person; without `visibility` all joints in the picture count."""
        motion = self.people[person][1]
        camera = self.scene.camera
        keypoints = camera.project(motion)
        if visibility:
            visible = np.stack([self.visibility(t)[person] for t in range(len(self))])
        else:
            width, height = camera.image_size
            inside = (keypoints >= 0) & (keypoints < (width, height))
            visible = np.asarray(inside.all(-1))
        return ClipTruth(
            joints_world=motion,
            joints_camera=camera.world_to_camera(motion),
            keypoints=keypoints,
            visible=visible,
            fps=self.fps,
            camera=camera,
        )


def demo_clip(
    *, image_size: tuple[int, int] = (960, 540), fps: float = 30.0, visibility: bool = False
) -> tuple[Clip, ClipTruth]:
    """A clip for demonstrations: someone walks up, turns, waves and squats before a phone.

    Always the same six seconds. Drawing takes about a tenth of a second per frame at the default
    size; a smaller picture at a lower rate shows the same scene in less time.

    Args:
        image_size: (width, height) in pixels; the field of view follows the longer side.
        fps: frames per second.
        visibility: work out which joints are hidden (about as slow as drawing) for the truth.

    Returns:
        The clip (iterate for (H, W, 3) uint8 RGB frames) and the exact truth of its person.
    """
    rng = np.random.default_rng(11)
    body = replace(random_body(rng), girth=1.0, bust=0.2, belly=1.0, muscle=1.0)
    look = Appearance(
        skin=(0.82, 0.62, 0.50), hair=(0.20, 0.12, 0.07), lips=(0.70, 0.40, 0.38),
        eyes=(0.15, 0.09, 0.05), shoes=(0.85, 0.85, 0.86), sleeve=0.65, leg=1.97, loose=0.009,
        shirt=Cloth(colour=(0.16, 0.42, 0.52), second=(0.85, 0.80, 0.62), pattern="print"),
        trousers=Cloth(colour=(0.17, 0.19, 0.26), second=(0.3, 0.3, 0.3)), shirt_hem=0.05,
    )  # fmt: skip
    motion = demo_motion(body, fps)
    wide = max(image_size)
    distance = 3.5 if image_size[0] >= image_size[1] else 5.2
    camera = aim_camera(
        np.array([0.35, -distance, 1.35]),
        np.array([-0.25, 0.0, 0.93]),
        focal_px=0.78 * wide,
        image_size=image_size,
        roll_deg=0.6,
    )
    scene = replace(
        random_scene(camera, np.random.default_rng(5), outdoors=False),
        light_strength=0.6,
        ambient=0.5,
        noise=1.5,
        jpeg_quality=None,
        light=np.array([0.45, -0.55, 0.70]) / np.linalg.norm([0.45, -0.55, 0.70]),
    )
    clip = Clip([(build_figure(body, look), motion)], scene, fps, seed=1)
    return clip, clip.truth(visibility=visibility)
