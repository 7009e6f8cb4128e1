"""Clips of synthetic people: a camera, a light, a room, and frames with exact truth.

People (`lithepose.synthetic.figures`) are drawn by the rasteriser that draws training pictures,
before a room that is painted once per clip. World axes: z up, floor at z = 0, metres. Everything
random comes from the generator or seed that is passed in: the same seed gives the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image
from lithepose.cameras import Camera
from lithepose.rotations import from_axis_angle
from lithepose.synthetic.appearance import MATERIALS, Appearance, Cloth
from lithepose.synthetic.batch_rng import BatchRng
from lithepose.synthetic.bodies import BONES
from lithepose.synthetic.figure_bank import bank_meshes
from lithepose.synthetic.figures import Figure, Mesh, joined
from lithepose.synthetic.paint import Light, Looks, looks_of, paint
from lithepose.synthetic.posing import pose_bones
from lithepose.synthetic.rasteriser import (
    SHADOW_CELL,
    SHADOW_CELLS,
    Layer,
    RenderAssets,
    affine,
    floor_shadow,
    hidden_joints,
    pose_people,
    project,
    rasterise,
)
from lithepose.synthetic.render import open_assets
from lithepose.synthetic.rooms import render_room

_NOISE_UNIT = 256.0  # value of one standard deviation in the stored noise
_NOISE_SPARE = 64  # pixels by which the stored noise is larger than a frame


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

    def mesh(self) -> Mesh:
        """Six faces around the origin, in pieces small enough to sort by distance."""
        faces = []
        half = np.array(self.size) / 2
        for dimension in range(3):
            u, v = (dimension + 1) % 3, (dimension + 2) % 3
            steps = [np.linspace(-1, 1, max(int(np.ceil(2 * half[d] / 0.12)), 1) + 1)
                     for d in (u, v)]  # fmt: skip
            a, b = np.meshgrid(*steps, indexing="ij")
            for sign in (-1, 1):
                points, normal = np.zeros((2, a.size, 3))
                points[:, u], points[:, v] = a.ravel() * half[u], b.ravel() * half[v]
                points[:, dimension], normal[:, dimension] = sign * half[dimension], sign
                index = np.arange(a.size).reshape(a.shape)
                quad = [index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]]
                quads = np.stack(quad, -1).reshape(-1, 4)[:, ::sign]
                weights = np.tile(np.eye(1, len(BONES)), (a.size, 1))
                material = np.full(len(quads), MATERIALS.index("second"))
                bones = np.zeros(len(quads), int)
                face = Mesh(vertices=points, normals=normal, quads=quads, weights=weights,
                            materials=material, bones=bones)  # fmt: skip
                faces.append(face)
        return Mesh(**joined(faces))

    @property
    def looks(self) -> Appearance:
        """The colour, as what somebody wears."""
        cloth = Cloth(colour=self.colour, second=self.colour)
        parts = dict.fromkeys(("skin", "hair", "lips", "eyes", "shoes"), self.colour)
        return Appearance(**parts, shirt=cloth, trousers=cloth)

    def transform(self) -> Floats:
        """(3, 4) from the box's own axes to the world."""
        turn = from_axis_angle(np.array([0.0, 0.0, 1.0]), np.array(self.yaw))
        return np.column_stack([turn, (*self.centre, self.size[2] / 2)])


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
    light = np.cos(elevation) * level + (0, 0, np.sin(elevation))
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


class Clip:
    """A rendered clip: iterate over it for frames; `truth` holds the exact 3D of each person.

    Frames are rendered while iterating, and every pass gives the same pictures.

    Args:
        people: (figure, motion) of each person; all motions (T, 17, 3) of one length, world axes.
        scene: where they are seen.
        fps: frames per second.
        seed: of the sensor noise and of what the figures' appearance leaves open.
    Attributes:
        bones: (T, B, 3, 4) of each person, what carries the skin from its rest pose to the world.
    Raises:
        ValueError: motions of different lengths, or that do not fit their figures.
    """

    def __init__(
        self, people: Sequence[tuple[Figure, Floats]], scene: Scene, fps: float, seed: int = 0
    ):
        lengths = {len(motion) for _, motion in people}
        if len(lengths) != 1:
            raise ValueError(
                f"all people of a clip need motions of one length, got {sorted(lengths)} frames"
            )
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        self.people = [(figure, np.asarray(motion, float)) for figure, motion in people]
        self.bones = [pose_bones(figure.body, motion) for figure, motion in self.people]
        self.scene, self.fps, self.seed = scene, float(fps), seed

    def __len__(self) -> int:
        return len(self.people[0][1])

    def __iter__(self) -> Iterator[Image]:
        for frame in range(len(self)):
            yield self.frame(frame)

    @torch.no_grad()
    def frame(self, index: int) -> Image:
        """Render one frame: (H, W, 3) uint8 RGB."""
        scene = self.scene
        picture = scene.background.astype(np.float32)
        batch = self._batch(index)
        layer, (x, y) = self._layer(batch)
        light = self._light(batch)
        dark = _shadows(batch, layer, light, scene.camera.image_size)
        picture *= 1 - (dark * scene.floor)[..., None]
        if min(layer.size):
            painted = paint(self._assets, batch, layer, light, self._looks)
            colour, cover = (each[0].permute(1, 2, 0).numpy() for each in layer.colours(painted))
            region = picture[y : y + layer.size[1], x : x + layer.size[0]]
            region *= 1 - cover
            region += 255 * colour
        return _develop(picture, scene, np.random.default_rng([self.seed, index]))

    @torch.no_grad()
    def visibility(self, index: int) -> NDArray[np.bool_]:
        """(P, 17) whether each joint is in a frame and not hidden."""
        camera = self.scene.camera
        joints = np.stack([motion[index] for _, motion in self.people])  # (P, 17, 3)
        pixels = camera.project(joints)
        layer, corner = self._layer(self._batch(index))
        seen = _in_picture(camera, pixels)
        if min(layer.size):
            at = torch.tensor(pixels - corner).float()[:, None]
            far = torch.tensor(camera.world_to_camera(joints)[..., 2]).float()[:, None]
            for who, here in enumerate(seen):
                hidden = hidden_joints(self._assets, layer, at[who], far[who], "h36m17", who)
                here &= ~hidden[0].numpy()
        return seen

    def truth(self, person: int = 0, *, visibility: bool = True) -> ClipTruth:
        """Exact truth of one person; without `visibility` all joints in the picture count."""
        motion = self.people[person][1]
        camera = self.scene.camera
        keypoints = camera.project(motion)
        if visibility:
            visible = np.stack([self.visibility(t)[person] for t in range(len(self))])
        else:
            visible = _in_picture(camera, keypoints)
        return ClipTruth(
            joints_world=motion,
            joints_camera=camera.world_to_camera(motion),
            keypoints=keypoints,
            visible=visible,
            fps=self.fps,
            camera=camera,
        )

    @cached_property
    def _assets(self) -> RenderAssets:
        meshes = [figure for figure, _ in self.people] + [box.mesh() for box in self.scene.boxes]
        return open_assets(bank_meshes(meshes), backdrops=0)

    @cached_property
    def _looks(self) -> Looks:
        looks = [figure.appearance for figure, _ in self.people]
        looks += [box.looks for box in self.scene.boxes]
        return looks_of(looks, BatchRng(len(looks), torch.Generator().manual_seed(self.seed)))

    def _batch(self, index: int) -> dict[str, torch.Tensor]:
        """What `rasterise`, `paint` and `floor_shadow` read, of one whole frame."""
        camera = self.scene.camera
        standing = [np.tile(box.transform(), (len(BONES), 1, 1)) for box in self.scene.boxes]
        bones = np.stack([bones[index] for bones in self.bones] + standing)
        bones[..., 3] -= camera.position
        (fx, fy), (cx, cy) = camera.focal_px, camera.centre_px
        joints = np.concatenate([motion[index] for _, motion in self.people])
        arrays = {
            "bones": camera.rotation @ bones,
            "joints": camera.world_to_camera(joints),
            "to_pixels": np.array([[fx, 0, cx], [0, fy, cy]]),
            "up": camera.rotation[:, 2],
            "camera_height": camera.position[2],
            "light": camera.rotation @ self.scene.light,
        }
        batch = {k: torch.tensor(v, dtype=torch.float32)[None] for k, v in arrays.items()}
        return batch | {"figure": torch.arange(len(bones))[None]}

    def _light(self, batch: dict[str, torch.Tensor]) -> Light:
        scene = self.scene
        tint = torch.tensor(scene.tint, dtype=torch.float32)[None]
        share = 0.75 * scene.light_strength / (scene.light_strength + scene.ambient)
        # Everything that stands there casts shadows, wherever it is.
        places = batch["bones"][0, :, 0, :, 3]
        reach = float((places - batch["joints"][0].mean(0)).norm(dim=-1).max()) + 1.3
        cell = max(SHADOW_CELL, 2 * reach / SHADOW_CELLS)
        direct, ambient = scene.light_strength * tint, scene.ambient * tint
        return Light(batch["light"], direct, ambient, torch.tensor([share]), cell)

    def _layer(self, batch: dict[str, torch.Tensor]) -> tuple[Layer, tuple[int, int]]:
        """Everybody and everything, and the corner (x, y) of the part of the frame it fills."""
        people = pose_people(self._assets, batch)
        to_pixels = batch["to_pixels"].clone()
        at = affine(to_pixels, project(people.points.flatten(0, 1)[None]))[0]
        limits = torch.tensor(self.scene.camera.image_size)
        low = at.amin(0).floor().clamp(min=0).minimum(limits).long()
        high = at.amax(0).ceil().clamp(min=0).minimum(limits).long().maximum(low)
        to_pixels[0, :, 2] -= low
        (x, y), (width, height) = low.tolist(), (high - low).tolist()
        return rasterise(self._assets, people, to_pixels, (width, height)), (x, y)


def _in_picture(camera: Camera, pixels: Floats) -> NDArray[np.bool_]:
    return np.asarray(((pixels >= 0) & (pixels < camera.image_size)).all(-1))


def _shadows(
    batch: dict[str, torch.Tensor], layer: Layer, light: Light, size: tuple[int, int]
) -> Floats:
    """(H, W) how much darker the floor is under and behind who stands in the light."""
    width, height = (-(-side // 4) * 4 for side in size)
    sun, under = (
        floor_shadow(batch, layer.people, towards, (width, height))[0, 0].numpy()
        for towards in (light.towards, batch["up"])
    )
    under = cv2.GaussianBlur(under, (0, 0), max(size) / 80)
    return np.maximum(float(light.share) * sun, 0.4 * under)[: size[1], : size[0]]


def _develop(picture: Floats, scene: Scene, rng: np.random.Generator) -> Image:
    """Blur, sensor noise and compression of a picture (H, W, 3) in grey values of 255."""
    image = np.clip(picture, 0, 255).astype(np.uint8)
    if scene.blur > 0:
        image = cv2.GaussianBlur(image, (0, 0), scene.blur)
    if scene.noise > 0:
        # One field of noise, shifted anew for each frame: drawing a field per frame costs as much
        # as drawing the people.
        height, width = image.shape[:2]
        y, x = rng.integers(0, _NOISE_SPARE, 2)
        noise = _noise(height + _NOISE_SPARE, width + _NOISE_SPARE)[y:, x:][:height, :width]
        image = cv2.addWeighted(image, 1.0, noise, scene.noise / _NOISE_UNIT, 0.0, dtype=cv2.CV_8U)
    if scene.jpeg_quality is not None:
        quality = [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg_quality]
        _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
    return np.ascontiguousarray(image, dtype=np.uint8)


@cache
def _noise(height: int, width: int) -> NDArray[np.int16]:
    values = np.random.default_rng(0).standard_normal((height, width, 3), dtype=np.float32)
    return (values * _NOISE_UNIT).astype(np.int16)
