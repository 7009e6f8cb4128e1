"""Skins of people as quads on samples: posing, visibility, shadows, in plain PyTorch.

The skins of all people are posed by one matrix product. A mesh whose quads are about a pixel wide
is lit and painted quad by quad, not pixel by pixel, and only visibility is found at twice the
resolution, with a z-buffer filled by scattering the least key, depth and quad number in one
integer. That is the idea of micropolygons (Cook, Carpenter and Catmull, "The Reyes image rendering
architecture", 1987), and it is what makes a picture cheap: painting costs as much as the person has
quads.

Two places wait for the device per chunk of pictures: the number of people and of quads in view, and
the number of samples under these quads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from lithepose.skeletons import SKELETONS, skeleton_named
from lithepose.synthetic.bodies import BONES, JOINT_BONES
from lithepose.synthetic.figures import POINT_BONES

OVERSAMPLING = 2
NEAREST = 0.15  # metres: nothing is drawn closer to the camera
SHADOW_CELL, SHADOW_CELLS = 0.03, 128  # metres, per side
_NUMBER_BITS = 31  # of a key; the bits above are the depth in tenths of a millimetre
_DEPTH_UNIT = 1e-4  # metres
_NOTHING = 2**62
_SKIN_ON_TOP = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


@dataclass(frozen=True)
class RenderAssets:
    """What pictures are drawn from, on one device.

    Attributes:
        vertices, normals, weights, quads, materials, bones: as in `FigureBank`; weights and quads
            wait in few bytes.
        middles: (N, F, 3) metres, float16, middles of the quads in the rest pose.
        backdrops: (K, 3, S, S) uint8, textures of walls, floors and occluders.
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


def affine(matrices: Tensor, points: Tensor) -> Tensor:
    """Points (B, N, 2) through (B, 2, 3)."""
    matrices = matrices[:, None]
    x, y = points[..., :1], points[..., 1:]
    return matrices[..., 0] * x + matrices[..., 1] * y + matrices[..., 2]


def project(points: Tensor) -> Tensor:
    return points[..., :2] / points[..., 2:].clamp(min=NEAREST)


def pixel_grid(size: tuple[int, int], device: torch.device) -> Tensor:
    """(H, W, 2) centres of the pixels."""
    x, y = (torch.arange(side, device=device) + 0.5 for side in size)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def over_pixels(forms: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H, W) values of linear forms (B, 3) of (x, y, 1) at the centres of the pixels."""
    x, y = (torch.arange(side, device=forms.device) + 0.5 for side in size)
    a, b, c = forms[..., None].unbind(1)
    return (a * x)[:, None] + (b * y + c)[..., None]


def square(matrices: Tensor) -> Tensor:
    """(B, 3, 3) of affine matrices (B, 2, 3)."""
    matrices = F.pad(matrices, (0, 0, 0, 1))
    matrices[:, 2, 2] = 1
    return matrices


def resized(pictures: Tensor, size: tuple[int, int], mode: str = "bilinear") -> Tensor:
    """Pictures (B, C, H, W) at another size (width, height)."""
    return F.interpolate(pictures, size=size[::-1], mode=mode, align_corners=False)


@dataclass(frozen=True)
class People:
    """The N people of a chunk, posed; V vertices each."""

    picture: Tensor  # (N,) which picture
    place: Tensor  # (N,) 0 for whom the picture is about
    figure: Tensor  # (N,)
    points: Tensor  # (N, V, 3) metres, camera axes
    normals: Tensor  # (N, V, 3)


@dataclass(frozen=True)
class Quads:
    """The M quads that face the camera and reach into their picture."""

    person: Tensor  # (M,) index into the chunk's people
    picture: Tensor  # (M,)
    quad: Tensor  # (M,) number within the figure
    vertices: Tensor  # (M, 4) index into all vertices of the chunk
    corners: Tensor  # (M, 4, 2) in samples
    low: Tensor  # (M, 2) first sample under the quad, x, y
    extent: Tensor  # (M, 2) samples across, x, y
    depth: Tensor  # (M,) metres


@dataclass(frozen=True)
class Layer:
    """People in B pictures of one size (width, height), before they are painted."""

    people: People
    quads: Quads
    size: tuple[int, int]
    z_buffer: Tensor  # (B, 2 H, 2 W) int64, key of the nearest quad: its depth above its number

    def nearest(self, *at: Tensor) -> tuple[Tensor, Tensor]:
        """Number of the quad at samples, M for nothing, and its depth in metres.

        Args:
            at: indices into `z_buffer`; all samples without.
        """
        keys = self.z_buffer[at] if at else self.z_buffer
        number = torch.where(keys < _NOTHING, keys & (2**_NUMBER_BITS - 1), len(self.quads.quad))
        return number, (keys >> _NUMBER_BITS) * _DEPTH_UNIT

    def colours(self, paint: Tensor) -> tuple[Tensor, Tensor]:
        """Painted people (B, 3, H, W), dark where they are not, and their cover (B, 1, H, W).

        Args:
            paint: (M, 3) colours of the quads.
        """
        # Quad number M stands for nothing: no colour, no cover.
        cover = torch.cat([paint, torch.ones_like(paint[:, :1])], 1)
        cover = F.pad(cover, (0, 0, 0, 1))[self.nearest()[0]].permute(0, 3, 1, 2)
        cover = F.avg_pool2d(cover, OVERSAMPLING)  # (B, 4, H, W)
        return cover[:, :3], cover[:, 3:]


def rasterise(
    assets: RenderAssets, people: People, to_pixels: Tensor, size: tuple[int, int]
) -> Layer:
    """Find what is seen of people in B pictures.

    Args:
        to_pixels: (B, 2, 3), from the plane at distance 1 to pixels.
        size: (width, height) in pixels.
    """
    quads = _find_quads(assets, people, to_pixels, size)
    return Layer(people, quads, size, fill_z_buffer(quads, len(to_pixels), size))


def pose_people(assets: RenderAssets, batch: Mapping[str, Tensor]) -> People:
    """Move the skins of B pictures to where their bones are.

    Args:
        batch: `figure` and `bones`, as `SyntheticCrops.draw` gives them.
    """
    picture, place = (batch["figure"] >= 0).nonzero(as_tuple=True)
    figure = batch["figure"][picture, place]
    bones = batch["bones"][picture, place].float()  # (N, B, 3, 4)
    # From where the hips are: products in TF32 have three digits, too few for camera distances.
    hips = bones[:, :1, :, 3]
    bones = torch.cat([bones[..., :3], (bones[..., 3] - hips)[..., None]], -1).flatten(2)
    blend = (assets.weights[figure].float() / 255) @ bones
    blend = blend.unflatten(2, (3, 4))  # (N, V, 3, 4)
    vertices, normals = assets.vertices[figure].float(), assets.normals[figure].float()
    points = (blend[..., :3] * vertices[:, :, None]).sum(-1) + blend[..., 3] + hips
    normals = F.normalize((blend[..., :3] * normals[:, :, None]).sum(-1), dim=-1)
    return People(picture, place, figure, points, normals)


def _find_quads(
    assets: RenderAssets, people: People, to_pixels: Tensor, size: tuple[int, int]
) -> Quads:
    device = assets.device
    count, each = people.points.shape[:2]
    pixels = affine(to_pixels[people.picture], project(people.points))
    samples = (pixels * OVERSAMPLING).flatten(0, 1)
    first = torch.arange(count, device=device)[:, None, None] * each
    vertices = (assets.quads[people.figure].long() + first).flatten(0, 1)  # (N F, 4)
    corners, depths = samples[vertices], people.points[..., 2].flatten()[vertices]
    across, other = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    # Image y points down: outsides that face the camera turn clockwise there.
    facing = across[:, 0] * other[:, 1] - across[:, 1] * other[:, 0] < 0
    most = torch.tensor(size, device=device) * OVERSAMPLING
    low = torch.ceil(corners.amin(1) - 0.5).clamp(min=0).minimum(most)
    high = torch.floor(corners.amax(1) - 0.5).clamp(min=-1).minimum(most - 1)
    extent = high - low + 1
    keep = facing & (extent > 0).all(-1) & (depths.amin(1) > NEAREST)
    index = keep.nonzero()[:, 0]
    quads = assets.quads.shape[1]
    person = index // quads
    return Quads(
        person=person,
        picture=people.picture[person],
        quad=index % quads,
        vertices=vertices[index],
        corners=corners[index],
        low=low[index].long(),
        extent=extent[index].long(),
        depth=depths[index].mean(1),
    )


def fill_z_buffer(quads: Quads, count: int, size: tuple[int, int]) -> Tensor:
    """(B, 2 H, 2 W) int64, the key of the nearest quad at each sample."""
    device = quads.person.device
    width, height = OVERSAMPLING * size[0], OVERSAMPLING * size[1]
    buffer = torch.full((count * height * width,), _NOTHING, dtype=torch.int64, device=device)
    # Two triangles, 0 1 2 and 0 2 3, whose five edges are lines a x + b y + c, >= 0 inside, in
    # samples from the first one under the quad.
    corners = quads.corners - (quads.low[:, None] + 0.5)
    start = corners[:, [0, 1, 2, 2, 3]]
    way = corners[:, [1, 2, 0, 3, 0]] - start
    constant = way[..., 0] * start[..., 1] - way[..., 1] * start[..., 0]
    edges = torch.stack([way[..., 1], -way[..., 0], constant], -1)  # (M, 5, 3)
    numbers = torch.arange(len(edges), device=device)
    key = ((quads.depth / _DEPTH_UNIT).long() << _NUMBER_BITS) + numbers

    samples = quads.extent[:, 0] * quads.extent[:, 1]
    ends = samples.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    quad = torch.repeat_interleave(numbers, samples, output_size=total)
    number = torch.arange(total, device=device, dtype=torch.int32)
    number -= (ends - samples).int()[quad]
    across = quads.extent[:, 0].int()[quad]
    y = number // across
    x = number - y * across
    lines = edges[quad]  # (S, 5, 3)
    value = torch.addcmul(lines[..., 2], lines[..., 0], x[:, None].float())
    value = torch.addcmul(value, lines[..., 1], y[:, None].float())
    # A hair's breadth outside counts: rounding must not leave cracks between neighbours.
    first = value[:, :3].amin(1)
    second = torch.minimum(-value[:, 2], value[:, 3:].amin(1))
    inside = torch.maximum(first, second) > -1e-3
    corner = (quads.picture * height + quads.low[:, 1]) * width + quads.low[:, 0]
    sample = corner[quad] + y * width + x
    value_key = torch.where(inside, key[quad], _NOTHING)
    buffer.scatter_reduce_(0, sample, value_key, "amin", include_self=True)
    return buffer.view(count, height, width)


def lit_share(
    people: People,
    centre: Tensor,
    towards: Tensor,
    points: Tensor,
    picture: Tensor,
    reach: int,
    bias: float,
    side: float = SHADOW_CELL,
) -> Tensor:
    """(M,) share of the light from `towards` (B, 3) that reaches points (M, 3) past the people.

    Args:
        centre: (B, 3) metres, the middle of the shadow map.
        picture: (M,) in which picture the points are.
        reach: distance in cells of the neighbours that soften the shadow.
        bias: metres by which a blocker must be nearer to the light.
        side: of a cell of the shadow map, metres.
    """
    cells = SHADOW_CELLS
    steep = towards[:, :1].abs() > 0.9
    helper = torch.cat([~steep, steep, torch.zeros_like(steep)], 1).float()
    across = F.normalize(torch.linalg.cross(towards, helper), dim=-1)
    axes = torch.stack([across, torch.linalg.cross(towards, across), -towards], 1)  # (B, 3, 3)

    def look(at: Tensor, which: Tensor) -> tuple[Tensor, Tensor]:
        local = (axes[which] * (at - centre[which])[..., None, :]).sum(-1)
        cell = (local[..., :2] / side + cells / 2).long().clamp(reach, cells - 1 - reach)
        flat = (which[..., None] * cells + cell[..., :1])[..., 0] * cells + cell[..., 1]
        return flat, local[..., 2]

    whose = people.picture[:, None].expand(people.points.shape[:2])
    cell, depth = look(people.points, whose)
    steps = (depth.clamp(-50, 50) / _DEPTH_UNIT).int()
    nearest = steps.new_full((len(towards) * cells * cells,), 2**30)
    nearest.scatter_reduce_(0, cell.flatten(), steps.flatten(), "amin", include_self=True)
    cell, depth = look(points, picture)
    lit = torch.zeros_like(depth)
    offsets = [0, reach, -reach, reach * cells, -reach * cells]
    for offset in offsets:
        before = depth - nearest[cell + offset] * _DEPTH_UNIT
        lit += (1 - (before - bias) / 0.03).clamp(0, 1)
    return lit / len(offsets)


def floor_shadow(
    batch: Mapping[str, Tensor], people: People, towards: Tensor, size: tuple[int, int]
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
    at = (affine(batch["to_pixels"][people.picture], project(ground)) / cell).floor()
    valid = (at >= 0).all(-1) & (at[..., 0] < width) & (at[..., 1] < height)
    valid &= ground[..., 2] > NEAREST
    flat = (people.picture[:, None] * height + at[..., 1]) * width + at[..., 0]
    spare = count * height * width  # where everything outside goes
    flat = torch.where(valid, flat, spare).long()
    mask = torch.zeros(spare + 1, device=towards.device)
    mask.index_fill_(0, flat.flatten(), 1.0)
    mask = mask[:-1].view(count, 1, height, width)
    return resized(F.avg_pool2d(F.max_pool2d(mask, 3, 1, 1), 3, 1, 1), size)


# --- truth ---------------------------------------------------------------------------------------


def hidden_joints(
    assets: RenderAssets,
    layer: Layer,
    pixels: Tensor,
    depth: Tensor,
    skeleton: str,
    place: int = 0,
) -> Tensor:
    """(B, J) bool, which joints of a person are behind another part of the body or somebody else.

    Args:
        pixels: (B, J, 2) where the joints are in the layer's picture.
        depth: (B, J) metres, their distance along the camera's axis.
        skeleton: which joints they are.
        place: of the person in the batch.
    """
    device = assets.device
    count, amount = depth.shape
    limits = OVERSAMPLING * torch.tensor(layer.size, device=device)
    sample = (pixels.nan_to_num() * OVERSAMPLING).floor().long().clamp(min=0).minimum(limits - 1)
    which, joint = torch.arange(count, device=device), torch.arange(amount, device=device)
    number, front = layer.nearest(which[:, None], sample[..., 1], sample[..., 0])
    nothing = number == len(layer.quads.quad)  # on the rim, like the head top: nothing is in front
    person = F.pad(layer.quads.person, (0, 1))[number]
    bone = assets.bones[layer.people.figure[person], F.pad(layer.quads.quad, (0, 1))[number]].long()
    own = torch.tensor(_own_bones(skeleton), device=device)[joint, bone]
    own = own & (layer.people.place[person] == place)
    names = skeleton_named(skeleton).joints
    on_top = torch.tensor([name in _SKIN_ON_TOP for name in names], device=device)
    # What lies on the skin is not to be seen through the head.
    through = front < depth - torch.where(on_top, 0.04, 0.0)
    return through & (on_top | ~own) & ~nothing


@cache
def _own_bones(skeleton: str) -> list[list[bool]]:
    """(J, B) bool, the bones whose surface in front of a joint does not hide it."""
    own = dict(zip(SKELETONS["h36m17"].joints, JOINT_BONES, strict=True))
    own |= {point: (bone,) for point, bone in POINT_BONES.items()}
    own["upper_neck"] = ("head", "neck", "chest")
    return [[bone in own[joint] for bone in BONES] for joint in skeleton_named(skeleton).joints]
