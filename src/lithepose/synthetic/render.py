"""Pictures of synthetic people drawn on the device that trains, many at once, in plain PyTorch.

`SyntheticCrops` (`lithepose.synthetic.crops`) says who stands how before which camera; here
that becomes pictures. The skins of all people are posed by one matrix product. A mesh whose quads
are about a pixel wide is lit and painted quad by quad, not pixel by pixel, and only visibility is
found at twice the resolution, with a depth buffer filled by scattering the least key, depth and
quad number in one integer. That is the idea of micropolygons (Cook, Carpenter and Catmull, "The
Reyes image rendering architecture", 1987), and it is what makes a picture cheap: painting costs as
much as the person has quads.

Everything that is colour is drawn here, from the generator that is passed in: skin, hair and
clothes, textures, light, floor and wall, things in front, and what a camera does to a picture. The
same seed gives the same pictures on the same device, for the same size of chunks.

Two places wait for the device per chunk of pictures: the number of people and of quads in view, and
the number of samples under these quads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lithepose.skeletons import SKELETONS, skeleton_named
from lithepose.synthetic.bodies import _CLOTH, _HAIRS, _SKINS, BONES, JOINT_BONES
from lithepose.synthetic.figure_bank import MATERIALS, POINT_BONES, POINTS, FigureBank

OVERSAMPLING = 2
HIDDEN, VISIBLE = 1, 2  # as in COCO; 0 is outside the picture
_NUMBER_BITS = 31  # of a key; the bits above are the depth in tenths of a millimetre
_DEPTH_UNIT = 1e-4  # metres
_NOTHING = 2**62
_NEAREST = 0.15  # metres
_SHADOW_CELL, _SHADOW_CELLS = 0.03, 128  # metres, per side
_MATERIAL = {name: index for index, name in enumerate(MATERIALS)}
_SKIN_ON_TOP = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


@dataclass(frozen=True)
class Studio:
    """What pictures are drawn from, on one device.

    Attributes:
        vertices, normals, weights, quads, materials, bones: as in `FigureBank`; weights and quads
            wait in few bytes.
        middles: (N, F, 3) metres, float16, middles of the quads in the rest pose.
        backdrops: (K, 3, S, S) uint8, textures of walls, floors and things in front.
    """

    vertices: Tensor
    normals: Tensor
    weights: Tensor
    quads: Tensor
    materials: Tensor
    bones: Tensor
    middles: Tensor
    backdrops: Tensor

    @property
    def device(self) -> torch.device:
        return self.vertices.device


def open_studio(
    bank: FigureBank,
    device: torch.device | str = "cpu",
    *,
    backdrops: int = 256,
    backdrop_size: int = 256,
    seed: int = 0,
) -> Studio:
    """Move a bank to a device and paint backdrops there.

    Args:
        backdrops: how many; each picture shows pieces of three of them.
        backdrop_size: side in pixels.
        seed: of the backdrops.
    """
    device = torch.device(device)
    generator = torch.Generator(device=device).manual_seed(seed)
    numbers = np.arange(len(bank))[:, None, None]
    middles = np.zeros((*bank.quads.shape[:2], 3), np.float32)
    for corner in range(4):
        middles += bank.vertices[numbers[..., 0], bank.quads[:, :, corner]].astype(np.float32) / 4

    def put(array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return Studio(
        vertices=put(bank.vertices),
        normals=put(bank.normals),
        weights=put(bank.weights),
        quads=put(bank.quads),
        materials=put(bank.materials),
        bones=put(bank.bones),
        middles=put(middles.astype(np.float16)),
        backdrops=_paint_backdrops(backdrops, backdrop_size, generator),
    )


class _Dice:
    """Random numbers for each of `count` pictures (or people), from one generator."""

    def __init__(self, count: int, generator: torch.Generator):
        self.count, self.generator = count, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        drawn = torch.rand(
            (self.count, *shape), generator=self.generator, device=self.generator.device
        )
        return low + (high - low) * drawn

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(
            (self.count, *shape), generator=self.generator, device=self.generator.device
        )

    def chance(self, probability: float, *shape: int) -> Tensor:
        return self.uniform(0, 1, *shape) < probability

    def below(self, high: int, *shape: int) -> Tensor:
        return torch.randint(
            high, (self.count, *shape), generator=self.generator, device=self.generator.device
        )


@torch.no_grad()
def render(
    studio: Studio,
    batch: Mapping[str, Tensor],
    generator: torch.Generator,
    *,
    size: tuple[int, int] = (256, 256),
    skeleton: str = "coco17",
    chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a batch of pictures.

    Args:
        batch: what `SyntheticCrops.draw` gives, as tensors on the studio's device.
        generator: on the studio's device.
        size: (width, height) in pixels; the one the crops were drawn for.
        skeleton: the joints the crops were drawn for.
        chunk: pictures drawn at once, which bounds the memory: about 60 MB per picture. By default
            128 on a GPU, where fewer would not keep it busy, and 8 on a processor.
    Returns:
        images (B, 3, H, W) float32 in [0, 1]; joints (B, J, 2) pixels, x right, y down, the centre
        of the top-left pixel at (0.5, 0.5); visible (B, J) uint8, as COCO marks it: 2 seen, 1
        hidden by the body itself, by others or by things, 0 outside the picture.
    Raises:
        ValueError: the batch lacks an array, lies on another device or is for other joints.
    """
    _check(studio, batch, size, skeleton)
    count = len(batch["figure"])
    chunk = chunk or (8 if studio.device.type == "cpu" else 128)
    results = []
    # The posed skin needs all of its digits, whatever the network is trained in.
    with torch.autocast(studio.device.type, enabled=False):
        for start in range(0, count, chunk):
            part = {name: value[start : start + chunk] for name, value in batch.items()}
            results.append(_render(studio, part, generator, size, skeleton))
    images, joints, visible = (torch.cat(parts) for parts in zip(*results, strict=True))
    return images, joints, visible


_NEEDED = (
    "figure", "bones", "joints", "to_pixels", "to_plane", "to_frame", "up", "camera_height",
    "light",
)  # fmt: skip


def _check(studio: Studio, batch: Mapping[str, Tensor], size: tuple[int, int], skeleton: str):
    missing = [name for name in _NEEDED if name not in batch]
    if missing:
        raise ValueError(f"the batch has no {', '.join(missing)}: draw it with SyntheticCrops")
    if len(batch["figure"]) == 0:
        raise ValueError("the batch has no pictures")
    where = batch["figure"].device
    if where.type != studio.device.type:
        raise ValueError(f"the batch is on {where}, the studio on {studio.device}: move one")
    wanted, found = len(skeleton_named(skeleton)), batch["joints"].shape[1]
    if wanted != found:
        raise ValueError(
            f"{skeleton} has {wanted} joints and the batch {found}: draw and render the same set"
        )
    if min(size) < 8 or size[0] % 8 or size[1] % 8:
        raise ValueError(f"width and height must be multiples of 8, got {size}")


def _render(
    studio: Studio,
    batch: Mapping[str, Tensor],
    generator: torch.Generator,
    size: tuple[int, int],
    skeleton: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """`render` for one chunk."""
    count = len(batch["figure"])
    dice = _Dice(count, generator)
    light = _draw_light(batch, dice)
    people = _pose(studio, batch)
    seen = _find_quads(studio, batch, people, size)
    paint = _paint(studio, batch, people, seen, light, generator)
    keys = _depth_buffer(seen, count, size)

    # Quad number M stands for nothing: no colour, no cover.
    numbers = torch.where(keys < _NOTHING, keys & (2**_NUMBER_BITS - 1), len(paint))
    cover = torch.cat([paint, torch.ones_like(paint[:, :1])], 1)
    cover = F.pad(cover, (0, 0, 0, 1))[numbers]
    height, width = size[1], size[0]
    cover = cover.view(count, OVERSAMPLING * height, OVERSAMPLING * width, 4).permute(0, 3, 1, 2)
    cover = F.avg_pool2d(cover, OVERSAMPLING)  # (B, 4, H, W)

    picture = _backdrop(studio, batch, people, light, dice, size)
    picture = torch.addcmul(cover[:, :3], 1 - cover[:, 3:], picture)
    front, front_cover = _things_in_front(studio, dice, size)
    picture = torch.lerp(picture, front, front_cover)
    picture = _camera_effects(picture, dice)

    plane = _project(batch["joints"])
    joints = _affine(batch["to_pixels"], plane)
    to_plane = F.pad(batch["to_plane"], (0, 0, 0, 1))
    to_plane[:, 2, 2] = 1
    aside, down = (batch["to_frame"] @ to_plane).unbind(1)
    inside = (_over_pixels(aside, size).abs() < 1) & (_over_pixels(down, size).abs() < 1)
    picture = picture * inside[:, None]

    visible = _visibility(
        studio, batch, people, seen, keys, front_cover, joints, plane, size, skeleton
    )
    return picture.clamp(0, 1), joints, visible


def _affine(matrices: Tensor, points: Tensor) -> Tensor:
    """Points (B, N, 2) through (B, 2, 3)."""
    matrices = matrices[:, None]
    x, y = points[..., :1], points[..., 1:]
    return matrices[..., 0] * x + matrices[..., 1] * y + matrices[..., 2]


def _project(points: Tensor) -> Tensor:
    return points[..., :2] / points[..., 2:].clamp(min=_NEAREST)


def _pixel_grid(size: tuple[int, int], device: torch.device) -> Tensor:
    """(H, W, 2) centres of the pixels."""
    x = torch.arange(size[0], device=device) + 0.5
    y = torch.arange(size[1], device=device) + 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def _over_pixels(forms: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H, W) values of linear forms (B, 3) of (x, y, 1) at the centres of the pixels."""
    x = torch.arange(size[0], device=forms.device) + 0.5
    y = torch.arange(size[1], device=forms.device) + 0.5
    a, b, c = forms[..., None].unbind(1)
    return (a * x)[:, None] + (b * y + c)[..., None]


# --- people --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _People:
    """The N people of a chunk, posed; V vertices each."""

    picture: Tensor  # (N,) which picture
    place: Tensor  # (N,) 0 for whom the picture is about
    figure: Tensor  # (N,)
    points: Tensor  # (N, V, 3) metres, camera axes
    normals: Tensor  # (N, V, 3)


def _pose(studio: Studio, batch: Mapping[str, Tensor]) -> _People:
    picture, place = (batch["figure"] >= 0).nonzero(as_tuple=True)
    figure = batch["figure"][picture, place]
    bones = batch["bones"][picture, place].float()  # (N, B, 3, 4)
    # From where the hips are: products in TF32 have three digits, too few for camera distances.
    hips = bones[:, :1, :, 3]
    bones = torch.cat([bones[..., :3], (bones[..., 3] - hips)[..., None]], -1).flatten(2)
    blend = (studio.weights[figure].float() / 255) @ bones
    blend = blend.unflatten(2, (3, 4))  # (N, V, 3, 4)
    vertices, normals = studio.vertices[figure].float(), studio.normals[figure].float()
    points = (blend[..., :3] * vertices[:, :, None]).sum(-1) + blend[..., 3] + hips
    normals = F.normalize((blend[..., :3] * normals[:, :, None]).sum(-1), dim=-1)
    return _People(picture, place, figure, points, normals)


@dataclass(frozen=True)
class _Seen:
    """The M quads that face the camera and reach into their picture."""

    person: Tensor  # (M,) index into the chunk's people
    picture: Tensor  # (M,)
    quad: Tensor  # (M,) number within the figure
    vertices: Tensor  # (M, 4) index into all vertices of the chunk
    corners: Tensor  # (M, 4, 2) in samples
    low: Tensor  # (M, 2) first sample under the quad, x, y
    extent: Tensor  # (M, 2) samples across, x, y
    depth: Tensor  # (M,) metres


def _find_quads(
    studio: Studio, batch: Mapping[str, Tensor], people: _People, size: tuple[int, int]
) -> _Seen:
    device = studio.device
    count, each = people.points.shape[:2]
    pixels = _affine(batch["to_pixels"][people.picture], _project(people.points))
    samples = (pixels * OVERSAMPLING).flatten(0, 1)
    first = torch.arange(count, device=device)[:, None, None] * each
    vertices = (studio.quads[people.figure].long() + first).flatten(0, 1)  # (N F, 4)
    corners = samples[vertices]
    depths = people.points[..., 2].flatten()[vertices]
    across, other = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    # Image y points down: outsides that face the camera turn clockwise there.
    facing = across[:, 0] * other[:, 1] - across[:, 1] * other[:, 0] < 0
    most = torch.tensor(size, device=device) * OVERSAMPLING
    low = torch.ceil(corners.amin(1) - 0.5).clamp(min=0).minimum(most)
    high = torch.floor(corners.amax(1) - 0.5).clamp(min=-1).minimum(most - 1)
    extent = high - low + 1
    keep = facing & (extent > 0).all(-1) & (depths.amin(1) > _NEAREST)
    index = keep.nonzero()[:, 0]
    quads = studio.quads.shape[1]
    person = index // quads
    return _Seen(
        person=person,
        picture=people.picture[person],
        quad=index % quads,
        vertices=vertices[index],
        corners=corners[index],
        low=low[index].long(),
        extent=extent[index].long(),
        depth=depths[index].mean(1),
    )


def _depth_buffer(seen: _Seen, count: int, size: tuple[int, int]) -> Tensor:
    """(B H W,) at twice the resolution: key of the nearest quad, depth above its number."""
    device = seen.person.device
    width, height = OVERSAMPLING * size[0], OVERSAMPLING * size[1]
    buffer = torch.full((count * height * width,), _NOTHING, dtype=torch.int64, device=device)
    # Two triangles, 0 1 2 and 0 2 3, whose five edges are lines a x + b y + c, >= 0 inside, in
    # samples from the first one under the quad.
    corners = seen.corners - (seen.low[:, None] + 0.5)
    start = corners[:, [0, 1, 2, 2, 3]]
    way = corners[:, [1, 2, 0, 3, 0]] - start
    constant = way[..., 0] * start[..., 1] - way[..., 1] * start[..., 0]
    edges = torch.stack([way[..., 1], -way[..., 0], constant], -1)  # (M, 5, 3)
    key = (seen.depth / _DEPTH_UNIT).long() << _NUMBER_BITS
    key = key + torch.arange(len(key), device=device)

    samples = seen.extent[:, 0] * seen.extent[:, 1]
    ends = samples.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    quad = torch.repeat_interleave(
        torch.arange(len(samples), device=device), samples, output_size=total
    )
    number = torch.arange(total, device=device, dtype=torch.int32)
    number -= (ends - samples).int()[quad]
    across = seen.extent[:, 0].int()[quad]
    y = number // across
    x = number - y * across
    lines = edges[quad]  # (S, 5, 3)
    value = torch.addcmul(lines[..., 2], lines[..., 0], x[:, None].float())
    value = torch.addcmul(value, lines[..., 1], y[:, None].float())
    # A hair's breadth outside counts: rounding must not leave cracks between neighbours.
    first = value[:, :3].amin(1)
    second = torch.minimum(-value[:, 2], value[:, 3:].amin(1))
    inside = torch.maximum(first, second) > -1e-3
    corner = (seen.picture * height + seen.low[:, 1]) * width + seen.low[:, 0]
    sample = corner[quad] + y * width + x
    value_key = torch.where(inside, key[quad], _NOTHING)
    return buffer.scatter_reduce_(0, sample, value_key, "amin", include_self=True)


# --- light and paint -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Light:
    towards: Tensor  # (B, 3) camera axes
    direct: Tensor  # (B, 3) RGB
    ambient: Tensor  # (B, 3) RGB, from above
    share: Tensor  # (B,) how deep shadows are on the floor


def _draw_light(batch: Mapping[str, Tensor], dice: _Dice) -> _Light:
    strength = dice.uniform(0.1, 0.8)[:, None]
    warmth = 0.10 * dice.normal(1)
    tint = torch.cat([1 + warmth, torch.ones_like(warmth), 1 - warmth], 1).clamp(0.7, 1.3)
    cool = torch.cat([1 - 0.5 * warmth, torch.ones_like(warmth), 1 + 0.5 * warmth], 1)
    ambient = dice.uniform(0.42, 0.72)[:, None]
    share = (strength / (strength + ambient))[:, 0]
    return _Light(batch["light"], strength * tint, ambient * cool, share)


def _lit(
    batch: Mapping[str, Tensor],
    people: _People,
    towards: Tensor,
    points: Tensor,
    picture: Tensor,
    reach: int,
    bias: float,
) -> Tensor:
    """(M,) share of the light from `towards` (B, 3) that reaches points (M, 3) past the people.

    `reach` is the distance in cells of the neighbours that soften the shadow, `bias` the metres by
    which a blocker must be nearer to the light.
    """
    cells = _SHADOW_CELLS
    steep = towards[:, :1].abs() > 0.9
    helper = torch.cat([~steep, steep, torch.zeros_like(steep)], 1).float()
    across = F.normalize(torch.linalg.cross(towards, helper), dim=-1)
    axes = torch.stack([across, torch.linalg.cross(towards, across), -towards], 1)  # (B, 3, 3)
    origin = batch["joints"].mean(1)

    def look(at: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        local = (axes[which] * (at - origin[which])[..., None, :]).sum(-1)
        cell = (local[..., :2] / _SHADOW_CELL + cells / 2).long().clamp(reach, cells - 1 - reach)
        flat = (which[..., None] * cells + cell[..., :1])[..., 0] * cells + cell[..., 1]
        return flat, local[..., 2]

    whose = people.picture[:, None].expand(people.points.shape[:2])
    cell, depth = look(people.points, whose)
    nearest = torch.full(
        (len(towards) * cells * cells,), 2**30, dtype=torch.int32, device=points.device
    )
    steps = (depth.clamp(-50, 50) / _DEPTH_UNIT).int()
    nearest.scatter_reduce_(0, cell.flatten(), steps.flatten(), "amin", include_self=True)
    cell, depth = look(points, picture)
    lit = torch.zeros_like(depth)
    offsets = [0, reach, -reach, reach * cells, -reach * cells]
    for offset in offsets:
        before = depth - nearest[cell + offset] * _DEPTH_UNIT
        lit += (1 - (before - bias) / 0.03).clamp(0, 1)
    return lit / len(offsets)


def _paint(
    studio: Studio,
    batch: Mapping[str, Tensor],
    people: _People,
    seen: _Seen,
    light: _Light,
    generator: torch.Generator,
) -> Tensor:
    """(M, 3) lit colours of the quads in view."""
    person, picture = seen.person, seen.picture
    figure = people.figure[person]
    material = studio.materials[figure, seen.quad].long()
    rest = studio.middles[figure, seen.quad].float()
    points = people.points.flatten(0, 1)[seen.vertices].mean(1)
    normals = F.normalize(people.normals.flatten(0, 1)[seen.vertices].mean(1), dim=-1)

    dice = _Dice(len(people.figure), generator)
    first, second = _palettes(dice)
    colour = first[person, material]
    mix = _patterns(dice, person, material, rest)
    colour = colour + mix[:, None] * (second[person, material] - colour)
    rough = torch.full((len(MATERIALS),), 0.10, device=rest.device)
    for name, amount in (("skin", 0.04), ("hair", 0.28), ("shirt", 0.17), ("trousers", 0.15)):
        rough[_MATERIAL[name]] = amount
    finer = torch.where(material == _MATERIAL["hair"], 5.0, 1.0)
    folds = _waves(dice, person, rest * finer[:, None], (0.22, 0.12, 0.06))
    colour = colour * (1 + rough[material] * folds)[:, None]

    up = batch["up"][picture]
    sky = 0.72 + 0.28 * (normals * up).sum(-1)
    open_sky = _lit(batch, people, batch["up"], points, picture, 2, 0.08)
    ambient = light.ambient[picture] * (sky * (0.5 + 0.5 * open_sky))[:, None]
    towards = light.towards[picture]
    lit = _lit(batch, people, light.towards, points, picture, 1, 0.06)
    slope = ((normals * towards).sum(-1)).clamp(min=0)
    direct = light.direct[picture] * (lit * slope)[:, None]
    view = F.normalize(-points, dim=-1)
    fill = 0.10 * (normals * view).sum(-1).clamp(min=0)
    half = F.normalize(view + towards, dim=-1)
    gloss = torch.full((len(MATERIALS),), 0.02, device=rest.device)
    for name, amount in (("skin", 0.12), ("hair", 0.14), ("shoes", 0.16), ("iris", 0.3)):
        gloss[_MATERIAL[name]] = amount
    shine = gloss[material] * lit * (normals * half).sum(-1).clamp(0, 1) ** 20
    return colour * (ambient + direct + fill[:, None]) + shine[:, None] * light.direct[picture]


def _palettes(dice: _Dice) -> tuple[Tensor, Tensor]:
    """(N, materials, 3) twice: first colours, and second ones for what has a pattern."""
    device = dice.generator.device

    def choose(table) -> Tensor:
        colours = torch.tensor(table, device=device)
        return colours[dice.below(len(table))] * (1 + 0.08 * dice.normal(1)) + 0.02 * dice.normal(3)

    def cloth() -> Tensor:
        vivid = _muted(dice, dice.uniform(0.02, 0.95, 3))
        grey = dice.uniform(0.03, 0.9, 1) + 0.02 * dice.normal(3)
        kind = dice.uniform()[:, None]
        return torch.where(kind < 0.45, choose(_CLOTH), torch.where(kind < 0.75, vivid, grey))

    skin, hair = choose(_SKINS), choose(_HAIRS)
    lips = skin * torch.tensor([0.88, 0.62, 0.62], device=device)
    white = 0.80 + 0.03 * dice.normal(3)
    iris = 0.12 + 0.1 * dice.uniform(0, 1, 3)
    brow = 0.6 * hair + 0.2 * skin
    shirt, trousers = cloth(), cloth()
    # Overalls, dresses, swimsuits: one cloth. Bare chests and legs: no cloth at all.
    trousers = torch.where(dice.chance(0.15)[:, None], shirt, trousers)
    shirt = torch.where(dice.chance(0.05)[:, None], skin, shirt)
    trousers = torch.where(dice.chance(0.03)[:, None], skin, trousers)
    shoes = torch.where(dice.chance(0.12)[:, None], skin, cloth())
    first = [skin, hair, lips, white, iris, brow, shoes, shirt, trousers, cloth()]
    second = [*first[:7], cloth(), cloth(), first[9]]
    return torch.stack(first, 1).clamp(0.02, 0.97), torch.stack(second, 1).clamp(0.02, 0.97)


def _waves(dice: _Dice, person: Tensor, rest: Tensor, lengths: tuple[float, ...]) -> Tensor:
    """(M,) smooth noise in about [-1, 1] over the rest pose, another for each person."""
    total = torch.zeros_like(rest[:, 0])
    for length in lengths:
        way = F.normalize(dice.normal(3), dim=-1)[person]
        bend = (dice.normal(3) * 5)[person]
        phase = (6.28 * dice.uniform())[person]
        total += torch.sin(6.28 / length * (rest * way).sum(-1) + phase
                           + 2 * torch.sin((rest * bend).sum(-1)))  # fmt: skip
    return total / len(lengths)


def _patterns(dice: _Dice, person: Tensor, material: Tensor, rest: Tensor) -> Tensor:
    """(M,) how much of the second colour each quad of a garment has."""
    mix = torch.zeros_like(rest[:, 0])
    for name, plain in (("shirt", 0.4), ("trousers", 0.7)):
        kind = torch.where(dice.chance(plain), 0, 1 + dice.below(6))[person]
        period = torch.exp(dice.uniform(np.log(0.03), np.log(0.2)))[person]
        turn = torch.where(dice.chance(0.7), 1.5708 * dice.below(2).float(),
                           dice.uniform(0, 3.14))[person]  # fmt: skip
        share = dice.uniform(0.15, 0.6)[person]
        height = dice.uniform(0.1, 0.45)[person]
        u = (rest[:, 0] + 0.4 * rest[:, 1]) / period
        v = rest[:, 2] / period
        along = torch.cos(turn) * v + torch.sin(turn) * u
        other = torch.cos(turn) * u - torch.sin(turn) * v
        stripes = (along % 1 < share).float()
        checks = 0.5 * (along % 1 < 0.5).float() + 0.5 * (other % 1 < 0.5).float()
        spots = (_waves(dice, person, rest, (0.13, 0.09, 0.07)) > 0.25).float()
        wide, tall = dice.uniform(0.04, 0.12)[person], dice.uniform(0.03, 0.12)[person]
        chest = (rest[:, 0].abs() < wide) & ((rest[:, 2] - 0.32).abs() < tall)
        chest = chest & (rest[:, 1] > 0.03)
        printed = chest.float() * (0.6 + 0.4 * (other % 1 < 0.5).float())
        yoke = (rest[:, 2] > height).float()
        sides = ((rest[:, 0].abs() % 0.16) < 0.03).float()
        kinds = torch.stack([torch.zeros_like(mix), stripes, checks, spots, printed, yoke, sides])
        chosen = kinds.gather(0, kind[None])[0]
        mix = torch.where(material == _MATERIAL[name], chosen, mix)
    return mix


# --- behind and in front -------------------------------------------------------------------------


def _noise(count: int, channels: int, side: int, octaves: int, generator, falloff=0.6) -> Tensor:
    """(count, channels, side, side) noise of several octaves, about unit spread."""
    total = torch.zeros((count, channels, side, side), device=generator.device)
    weight, weights = 1.0, 0.0
    cells = 3
    for _ in range(octaves):
        if cells > side:
            break
        small = torch.randn(
            (count, channels, cells, cells), generator=generator, device=generator.device
        )
        large = F.interpolate(small, size=(side, side), mode="bilinear", align_corners=True)
        total += weight * large
        weights += weight**2 * 0.5
        weight *= falloff
        cells *= 2
    return total / weights**0.5


def _paint_backdrops(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, 3, side, side) uint8 textures: noise, courses and tiles, heaps of shapes, limbs."""
    parts = [_paint_some(min(32, count - start), side, generator) for start in range(0, count, 32)]
    return torch.cat(parts)


_SHAPES = 48  # at most in a backdrop


def _muted(dice: _Dice, colours: Tensor) -> Tensor:
    """Random colours (..., 3) as the world has them: most are half-way to grey."""
    grey = colours.mean(-1, keepdim=True)
    return colours + dice.uniform(0.0, 1.0, *grey.shape[1:]) ** 0.5 * (grey - colours)


def _paint_some(count: int, side: int, generator: torch.Generator) -> Tensor:
    dice = _Dice(count, generator)
    device = generator.device
    grid = _pixel_grid((side, side), device) / side  # (S, S, 2)
    x, y = grid[..., 0], grid[..., 1]

    def wide(values: Tensor) -> Tensor:
        return values[:, None, None]

    grain = _noise(count, 1, side, 7, generator, 0.75)
    broad = _noise(count, 3, side, 4, generator, 0.5)
    base = dice.uniform(0.05, 0.95, 1) + 0.05 * dice.normal(3)
    strength = dice.uniform(0.0, 0.14, 1)[:, :, None, None]
    picture = base[:, :, None, None] + strength * (0.3 * broad + 0.3 * broad[:, :1] + 0.6 * grain)
    # Courses of bricks, boards, tiles, stripes, windows.
    nx, ny = torch.exp(dice.uniform(0.7, 3.4)), torch.exp(dice.uniform(0.7, 3.4))
    joint = dice.uniform(0.02, 0.5)
    row = (y * wide(ny)).floor()
    shift = wide(dice.chance(0.5).float()) * 0.5 * (row % 2)
    gap = ((y * wide(ny)) % 1 < wide(joint)) | ((x * wide(nx) + shift) % 1 < wide(joint))
    amount = torch.where(dice.chance(0.45), dice.uniform(-0.35, 0.35), 0.0)
    picture = picture + (wide(amount) * gap)[:, None]

    skins = torch.tensor(_SKINS, device=device)
    palette = _muted(dice, dice.uniform(0.03, 0.97, 4, 3))
    wanted = torch.where(dice.chance(0.3), 0, dice.below(_SHAPES))
    for number in range(_SHAPES):
        centre = dice.uniform(-0.1, 1.1, 2)
        long = 0.03 * torch.exp(dice.uniform(0, 2.6)) * torch.exp(wide(dice.normal())[:, 0, 0] / 4)
        thin = long * dice.uniform(0.12, 1)
        turn = torch.where(dice.chance(0.5), 0.05 * dice.normal(), dice.uniform(0, 3.14))
        dx, dy = x - wide(centre[:, 0]), y - wide(centre[:, 1])
        u = wide(torch.cos(turn)) * dx + wide(torch.sin(turn)) * dy
        v = wide(torch.cos(turn)) * dy - wide(torch.sin(turn)) * dx
        kind = wide(dice.below(4))
        u, v, a, b = u.abs(), v, wide(thin), wide(long)
        capsule = torch.hypot(u, (v.abs() - b + a).clamp(min=0)) - a
        box = torch.maximum(u - a, v.abs() - b)
        oval = (torch.hypot(u / a, v / b) - 1) * a
        edge = torch.where(kind == 0, box, torch.where(kind == 1, oval, capsule))
        cover = (0.5 - edge * side).clamp(0, 1) * wide((number < wanted).float())
        colour = palette[torch.arange(count, device=device), dice.below(4)] + 0.06 * dice.normal(3)
        # Limbs: capsules in the colours of skin and shaded as if they were round.
        limb = (kind[:, 0, 0] == 3) & dice.chance(0.6)
        colour = torch.where(limb[:, None], skins[dice.below(len(_SKINS))], colour)
        colour = colour * dice.uniform(0.6, 1.1, 1)
        round_ = 1 - 0.45 * (u / a).clamp(max=1) ** 2
        shade = torch.where(kind >= 2, round_, 1 + wide(0.3 * dice.normal()) * v)
        fill = colour[:, :, None, None] * shade[:, None] + 0.5 * strength * grain
        picture = picture + cover[:, None] * (fill - picture)
    return (255 * picture.clamp(0, 1)).to(torch.uint8)


def _sample(studio: Studio, dice: _Dice, at: Tensor) -> Tensor:
    """(B, 3, H, W) one backdrop each, looked up at (B, H, W, 2); 1 is the side of a backdrop."""
    chosen = studio.backdrops[dice.below(len(studio.backdrops))].float() / 255
    # Mirrored copies beyond the border; wrapped first, where far floor would lose all digits.
    picture = F.grid_sample(
        chosen, at % 4 * 2 - 1, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    gain = torch.exp(0.25 * dice.normal(1, 1, 1) + 0.06 * dice.normal(3, 1, 1))
    return picture * gain


def _backdrop(
    studio: Studio,
    batch: Mapping[str, Tensor],
    people: _People,
    light: _Light,
    dice: _Dice,
    size: tuple[int, int],
) -> Tensor:
    """(B, 3, H, W) floor and wall in perspective, or a flat backdrop, with the people's shadows."""
    width, height = size

    def wide(values: Tensor) -> Tensor:
        return values[:, None, None]

    grid = _pixel_grid(size, studio.device)
    up = batch["up"]
    axis_z = torch.tensor([0.0, 0.0, 1.0], device=studio.device)
    forward = F.normalize(axis_z - up * up[:, 2:], dim=-1)
    turn = dice.uniform(-0.9, 0.9, 1)
    right = torch.linalg.cross(forward, up)
    forward, right = (torch.cos(turn) * forward + torch.sin(turn) * right,
                      torch.cos(turn) * right - torch.sin(turn) * forward)  # fmt: skip

    to_plane = F.pad(batch["to_plane"], (0, 0, 0, 1))
    to_plane[:, 2, 2] = 1
    rays = torch.stack([up, forward, right], 1) @ to_plane  # along these axes, by pixel
    climb, ahead, aside = (_over_pixels(form, size) for form in rays.unbind(1))
    to_floor = torch.where(climb < -1e-4, wide(batch["camera_height"]) / -climb, 1e4)
    distance = torch.exp(dice.uniform(0.5, 3.0)) + batch["joints"][..., 2].mean(1)
    to_wall = torch.where(ahead > 1e-4, wide(distance) / ahead.clamp(min=1e-4), 1e4)
    on_floor = to_floor < to_wall
    reach = torch.minimum(to_floor, to_wall).clamp(max=1e3)
    scale = torch.exp(dice.uniform(-0.3, 2.0))
    moved = dice.uniform(0, 4, 4)
    floor_at = torch.stack([aside, ahead], -1) * (reach / wide(scale))[..., None]
    floor = _sample(studio, dice, floor_at + moved[:, None, None, :2])
    scale = scale * torch.exp(0.4 * dice.normal())
    rise = wide(batch["camera_height"]) + climb * reach
    wall_at = torch.stack([aside * reach, -rise], -1) / wide(scale)[..., None]
    wall = _sample(studio, dice, wall_at + moved[:, None, None, 2:])
    room = torch.where(on_floor[:, None], floor, wall)
    # A shadow on the floor, and less light under the feet.
    shadow = _floor_shadow(batch, people, light.towards, size) * wide(light.share)[:, None]
    contact = _floor_shadow(batch, people, up, size) * 0.45
    room = room * (1 - torch.maximum(shadow, contact) * on_floor[:, None])

    zoom = torch.exp(dice.uniform(-1.6, 0.3))
    spin = 0.15 * dice.normal()
    flat = (grid / width - 0.5) * zoom[:, None, None, None]
    flat = torch.stack(
        [
            wide(torch.cos(spin)) * flat[..., 0] - wide(torch.sin(spin)) * flat[..., 1],
            wide(torch.sin(spin)) * flat[..., 0] + wide(torch.cos(spin)) * flat[..., 1],
        ],
        -1,
    )
    flat = _sample(studio, dice, flat + dice.uniform(0, 4, 2)[:, None, None])
    picture = torch.where(dice.chance(0.35)[:, None, None, None], flat, room)
    # Out of focus: seen through a coarser grid.
    coarse = F.interpolate(
        F.avg_pool2d(picture, 8), size=(height, width), mode="bilinear", align_corners=False
    )
    soft = torch.where(dice.chance(0.3), dice.uniform(0.3, 1), 0.0)[:, None, None, None]
    return torch.lerp(picture, coarse, soft)


def _floor_shadow(
    batch: Mapping[str, Tensor], people: _People, towards: Tensor, size: tuple[int, int]
) -> Tensor:
    """(B, 1, H, W) in [0, 1] where the people keep light from `towards` off the floor."""
    cell = 4  # pixels
    width, height = size[0] // cell, size[1] // cell
    count = len(towards)
    up = batch["up"][people.picture][:, None]
    way = towards[people.picture][:, None]
    over = batch["camera_height"][people.picture][:, None] + (people.points * up).sum(-1)
    steep = (way * up).sum(-1).clamp(min=0.15)
    ground = people.points - (over / steep)[..., None] * way
    at = (_affine(batch["to_pixels"][people.picture], _project(ground)) / cell).floor()
    valid = (at >= 0).all(-1) & (at[..., 0] < width) & (at[..., 1] < height)
    valid &= ground[..., 2] > _NEAREST
    flat = (people.picture[:, None] * height + at[..., 1]) * width + at[..., 0]
    spare = count * height * width  # where everything outside goes
    flat = torch.where(valid, flat, spare).long()
    mask = torch.zeros(spare + 1, device=towards.device)
    mask.index_fill_(0, flat.flatten(), 1.0)
    mask = mask[:-1].view(count, 1, height, width)
    mask = F.avg_pool2d(F.max_pool2d(mask, 3, 1, 1), 3, 1, 1)
    return F.interpolate(mask, size=(size[1], size[0]), mode="bilinear", align_corners=False)


def _things_in_front(studio: Studio, dice: _Dice, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) colour and (B, 1, H, W) cover of boxes, bars, ovals, leaves."""
    width, height = size
    count = dice.count
    grid = _pixel_grid(size, studio.device) / torch.tensor(size, device=studio.device)
    zoom = torch.exp(dice.uniform(-2.0, 0.0))[:, None, None, None]
    at = (grid * zoom + dice.uniform(0, 4, 2)[:, None, None]).expand(count, height, width, 2)
    fill = _sample(studio, dice, at)
    flat = _muted(dice, dice.uniform(0.02, 0.95, 3))[:, :, None, None].expand_as(fill)
    fill = torch.where(dice.chance(0.4)[:, None, None, None], flat, fill)
    leaves = F.interpolate(
        dice.normal(1, 20, 20), size=(height, width), mode="bicubic", align_corners=False
    )[:, 0]

    def wide(values: Tensor) -> Tensor:
        return values[:, None, None]

    cover = torch.zeros((count, height, width), device=studio.device)
    for probability in (0.35, 0.18):
        centre = 0.5 + 0.25 * dice.normal(2)
        turn = torch.where(dice.chance(0.6), 0.08 * dice.normal(), dice.uniform(0, 3.14))
        dx, dy = grid[..., 0] - wide(centre[:, 0]), grid[..., 1] - wide(centre[:, 1])
        u = (wide(torch.cos(turn)) * dx + wide(torch.sin(turn)) * dy).abs()
        v = (wide(torch.cos(turn)) * dy - wide(torch.sin(turn)) * dx).abs()
        kind = dice.below(5)
        # Boxes and ovals, bars right across, leaves in an oval.
        a = torch.where(kind == 1, dice.uniform(0.008, 0.05), dice.uniform(0.04, 0.22))
        b = torch.where(kind == 1, 2.0, dice.uniform(0.05, 0.25))
        a, b, kind = wide(a), wide(b), wide(kind)
        box = torch.maximum(u - a, v - b)
        oval = (torch.hypot(u / a, v / b) - 1) * torch.minimum(a, b)
        edge = torch.where((kind == 2) | (kind == 3), oval, box)
        new = (0.5 - edge * width).clamp(0, 1)
        leafy = ((leaves - 0.2) * 6).clamp(0, 1) * (1.5 - torch.hypot(u, v) * 3).clamp(0, 1)
        new = torch.where(kind == 4, leafy, new) * wide(dice.chance(probability).float())
        cover = torch.maximum(cover, new)
    return fill, cover[:, None]


# --- the camera ----------------------------------------------------------------------------------

_BLUR = 9  # pixels, side of the blur's kernel


def _camera_effects(picture: Tensor, dice: _Dice) -> Tensor:
    """Blur, coarse pixels, exposure, colour, noise and compression, each for some pictures."""
    count, _, height, width = picture.shape
    device = picture.device

    def wide(values: Tensor) -> Tensor:
        return values[:, None, None, None]

    # A round spot, drawn out along a line by motion.
    reach = torch.arange(_BLUR, device=device) - _BLUR // 2
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    sharp = dice.uniform(0.3, 0.75)
    spread = torch.where(dice.chance(0.25), dice.uniform(0.75, 2.0), sharp)
    drawn = torch.where(dice.chance(0.15), dice.uniform(0.5, 3.0), 0.0)
    turn = dice.uniform(0, 3.14)
    along = torch.cos(turn)[:, None, None] * x + torch.sin(turn)[:, None, None] * y
    across = torch.cos(turn)[:, None, None] * y - torch.sin(turn)[:, None, None] * x
    wider = (spread**2 + drawn**2)[:, None, None]
    kernel = torch.exp(-(along**2) / (2 * wider) - across**2 / (2 * spread[:, None, None] ** 2))
    kernel = kernel / kernel.sum((1, 2), keepdim=True)
    kernel = kernel.repeat_interleave(3, 0)[:, None]
    edge = _BLUR // 2
    padded = F.pad(picture, (edge, edge, edge, edge), mode="replicate")
    padded = padded.reshape(1, 3 * count, height + 2 * edge, width + 2 * edge)
    picture = F.conv2d(padded, kernel, groups=3 * count).view(count, 3, height, width)

    # Small people, enlarged.
    kind = wide(dice.uniform())
    for factor, low, high in ((2, 0.0, 0.22), (4, 0.22, 0.30)):
        small = F.avg_pool2d(picture, factor)
        small = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
        picture = torch.where((kind >= low) & (kind < high), small, picture)

    exposure = torch.exp(0.2 * dice.normal())
    balance = torch.exp(0.05 * dice.normal(3))
    contrast = torch.exp(0.16 * dice.normal())
    gain = (contrast * exposure)[:, None] * balance
    picture = torch.addcmul(wide(0.45 * (1 - contrast)), gain[:, :, None, None], picture)
    grey = picture.mean(1, keepdim=True)
    saturation = torch.where(dice.chance(0.06), 0.0, torch.exp(0.2 * dice.normal()))
    picture = torch.lerp(grey, picture, wide(saturation))
    picture = picture.clamp(0, 1) ** wide(torch.exp(0.15 * dice.normal()))
    noise = wide(torch.where(dice.chance(0.2), dice.uniform(0.02, 0.06), dice.uniform(0, 0.02)))
    grain = dice.normal(3, height, width)
    # Sensors and what reads them out make noise that is half alike in the three colours.
    picture = torch.addcmul(picture, noise, 0.6 * grain + 0.7 * grain.roll(1, 1))
    return _compress(picture.clamp(0, 1), dice)


def _compress(picture: Tensor, dice: _Dice) -> Tensor:
    """JPEG without its file: the cosine transform of 8 x 8 blocks, rounded to coarse steps."""
    count, _, height, width = picture.shape
    device = picture.device
    k = torch.arange(8, device=device, dtype=torch.float32)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * torch.pi / 16) / 2
    basis[0] /= 2**0.5
    to_ycc = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], device=device
    )
    to_rgb = torch.tensor(
        [[1.0, 0.0, 1.402], [1.0, -0.344, -0.714], [1.0, 1.772, 0.0]], device=device
    )
    ycc = torch.einsum("ij,bjhw->bihw", to_ycc, picture)
    blocks = ycc.view(count, 3, height // 8, 8, width // 8, 8).transpose(3, 4)
    terms = basis @ blocks @ basis.T
    # Steps grow with the frequency and are twice as coarse in colour, about as in the usual tables.
    ramp = 1 + 0.55 * (k[:, None] + k[None])
    coarse = torch.where(dice.chance(0.6), torch.exp(dice.uniform(-5.0, -2.7)), 1e-4)
    colour = torch.tensor([1.0, 2.0, 2.0], device=device)[None, :, None, None, None, None]
    step = coarse[:, None, None, None, None, None] * ramp * colour
    terms = (terms / step).round() * step
    blocks = basis.T @ terms @ basis
    ycc = blocks.transpose(3, 4).reshape(count, 3, height, width)
    return torch.einsum("ij,bjhw->bihw", to_rgb, ycc)


# --- truth ---------------------------------------------------------------------------------------


def _own_bones(skeleton: str) -> np.ndarray:
    """(J, B) bool, the bones whose surface in front of a joint does not hide it."""
    own = dict(zip(SKELETONS["h36m17"].joints, JOINT_BONES, strict=True))
    own |= {point: (bone,) for point, bone in zip(POINTS, POINT_BONES, strict=True)}
    own["upper_neck"] = ("head", "neck", "chest")
    table = np.zeros((len(skeleton_named(skeleton)), len(BONES)), bool)
    for row, joint in enumerate(skeleton_named(skeleton).joints):
        table[row, [BONES.index(bone) for bone in own[joint]]] = True
    return table


def _visibility(
    studio: Studio,
    batch: Mapping[str, Tensor],
    people: _People,
    seen: _Seen,
    keys: Tensor,
    front_cover: Tensor,
    joints: Tensor,
    plane: Tensor,
    size: tuple[int, int],
    skeleton: str,
) -> Tensor:
    """(B, J) 0, HIDDEN or VISIBLE."""
    device = studio.device
    width, height = size
    count, amount = joints.shape[:2]
    limits = torch.tensor(size, device=device)
    inside = ((joints >= 0) & (joints < limits)).all(-1)
    inside &= _affine(batch["to_frame"], plane).abs().amax(-1) < 1
    inside &= batch["joints"][..., 2] > _NEAREST
    whole = joints.nan_to_num().floor().long().clamp(min=0).minimum(limits - 1)
    which = torch.arange(count, device=device)[:, None]
    behind_thing = front_cover[which, 0, whole[..., 1], whole[..., 0]] > 0.5

    sample = (joints * OVERSAMPLING).floor().long().clamp(min=0)
    sample = sample.minimum(limits * OVERSAMPLING - 1)
    row = which * (OVERSAMPLING * height) + sample[..., 1]
    key = keys[row * (OVERSAMPLING * width) + sample[..., 0]]
    nothing = key >= _NOTHING  # on the rim, like the vertex of the head: nothing is in front
    number = torch.where(nothing, len(seen.person), key & (2**_NUMBER_BITS - 1))
    front = (key >> _NUMBER_BITS) * _DEPTH_UNIT
    person = F.pad(seen.person, (0, 1))[number]
    bone = studio.bones[people.figure[person], F.pad(seen.quad, (0, 1))[number]].long()
    own = torch.from_numpy(_own_bones(skeleton)).to(device)
    own = own[torch.arange(amount, device=device)[None], bone] & (people.place[person] == 0)
    depth = batch["joints"][..., 2]
    names = skeleton_named(skeleton).joints
    on_top = torch.tensor([name in _SKIN_ON_TOP for name in names], device=device)
    # What lies on the skin is not to be seen through the head.
    through = front < depth - torch.where(on_top, 0.04, 0.0)
    hidden = through & (on_top | ~own) & ~nothing
    hidden |= behind_thing
    return torch.where(inside, torch.where(hidden, HIDDEN, VISIBLE), 0).to(torch.uint8)
