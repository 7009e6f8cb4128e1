"""Behind and in front of people: painted textures, floors and walls in perspective, occluders."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from lithepose.synthetic.appearance import SKINS
from lithepose.synthetic.batch_rng import BatchRng, turned, wide
from lithepose.synthetic.paint import Light, muted
from lithepose.synthetic.rasteriser import (
    People,
    RenderAssets,
    floor_shadow,
    over_pixels,
    pixel_grid,
    resized,
    square,
)


def _noise(rng: BatchRng, channels: int, side: int, octaves: int, falloff: float) -> Tensor:
    """(B, channels, side, side) noise of several octaves, about unit spread."""
    total, weights = torch.zeros(1, device=rng.device), 0.0
    for octave in range(octaves):
        cells, weight = 3 * 2**octave, falloff**octave
        if cells > side:
            break
        small = rng.normal(channels, cells, cells)
        large = F.interpolate(small, size=(side, side), mode="bilinear", align_corners=True)
        total = total + weight * large
        weights += weight**2 * 0.5
    return total / weights**0.5


def paint_backdrops(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, 3, side, side) uint8 textures: noise, courses and tiles, heaps of shapes, limbs."""
    parts = [_paint_some(min(32, count - start), side, generator) for start in range(0, count, 32)]
    return torch.cat(parts) if parts else torch.zeros((0, 3, side, side), dtype=torch.uint8)


_SHAPES = 48  # at most in a backdrop


def _paint_some(count: int, side: int, generator: torch.Generator) -> Tensor:
    rng = BatchRng(count, generator)
    device = generator.device
    x, y = (pixel_grid((side, side), device) / side).unbind(-1)  # (S, S)
    grain, broad = _noise(rng, 1, side, 7, 0.75), _noise(rng, 3, side, 4, 0.5)
    base = rng.uniform(0.05, 0.95, 1) + 0.05 * rng.normal(3)
    strength = wide(rng.uniform(0.0, 0.14, 1))
    picture = wide(base) + strength * (0.3 * broad + 0.3 * broad[:, :1] + 0.6 * grain)
    # Courses of bricks, boards, tiles, stripes, windows.
    nx, ny = torch.exp(rng.uniform(0.7, 3.4)), torch.exp(rng.uniform(0.7, 3.4))
    joint = rng.uniform(0.02, 0.5)
    row = (y * wide(ny)).floor()
    shift = wide(rng.chance(0.5).float()) * 0.5 * (row % 2)
    gap = ((y * wide(ny)) % 1 < wide(joint)) | ((x * wide(nx) + shift) % 1 < wide(joint))
    amount = torch.where(rng.chance(0.45), rng.uniform(-0.35, 0.35), 0.0)
    picture = picture + (wide(amount) * gap)[:, None]

    skins = torch.tensor(SKINS, device=device)
    palette = muted(rng, rng.uniform(0.03, 0.97, 4, 3))
    wanted = torch.where(rng.chance(0.3), 0, rng.below(_SHAPES))
    for number in range(_SHAPES):
        centre = rng.uniform(-0.1, 1.1, 2)
        long = 0.03 * torch.exp(rng.uniform(0, 2.6)) * torch.exp(rng.normal() / 4)
        thin = long * rng.uniform(0.12, 1)
        turn = torch.where(rng.chance(0.5), 0.05 * rng.normal(), rng.uniform(0, 3.14))
        u, v = turned(turn, x - wide(centre[:, 0]), y - wide(centre[:, 1]))
        kind = wide(rng.below(4))
        u, a, b = u.abs(), wide(thin), wide(long)
        capsule = torch.hypot(u, (v.abs() - b + a).clamp(min=0)) - a
        box = torch.maximum(u - a, v.abs() - b)
        oval = (torch.hypot(u / a, v / b) - 1) * a
        edge = torch.where(kind == 0, box, torch.where(kind == 1, oval, capsule))
        cover = (0.5 - edge * side).clamp(0, 1) * wide((number < wanted).float())
        colour = palette[torch.arange(count, device=device), rng.below(4)] + 0.06 * rng.normal(3)
        # Limbs: capsules in the colours of skin and shaded as if they were round.
        limb = (kind[:, 0, 0] == 3) & rng.chance(0.6)
        colour = torch.where(limb[:, None], skins[rng.below(len(SKINS))], colour)
        colour = wide(colour * rng.uniform(0.6, 1.1, 1))
        round_ = 1 - 0.45 * (u / a).clamp(max=1) ** 2
        shade = torch.where(kind >= 2, round_, 1 + wide(0.3 * rng.normal()) * v)
        fill = colour * shade[:, None] + 0.5 * strength * grain
        picture = picture + cover[:, None] * (fill - picture)
    return (255 * picture.clamp(0, 1)).to(torch.uint8)


def _look_up(assets: RenderAssets, rng: BatchRng, at: Tensor) -> Tensor:
    """(B, 3, H, W) one backdrop each, looked up at (B, H, W, 2); 1 is the side of a backdrop."""
    chosen = assets.backdrops[rng.below(len(assets.backdrops))].float() / 255
    # Mirrored copies beyond the border; wrapped first, where far floor would lose all digits.
    picture = F.grid_sample(
        chosen, at % 4 * 2 - 1, mode="bilinear", padding_mode="reflection", align_corners=False
    )
    gain = torch.exp(0.25 * rng.normal(1, 1, 1) + 0.06 * rng.normal(3, 1, 1))
    return picture * gain


def backdrop(
    assets: RenderAssets,
    batch: Mapping[str, Tensor],
    people: People,
    light: Light,
    rng: BatchRng,
    size: tuple[int, int],
) -> Tensor:
    """(B, 3, H, W) floor and wall in perspective, or a flat backdrop, with the people's shadows."""
    up = batch["up"]
    axis_z = torch.tensor([0.0, 0.0, 1.0], device=assets.device)
    forward = F.normalize(axis_z - up * up[:, 2:], dim=-1)
    turn = rng.uniform(-0.9, 0.9, 1)
    right = torch.linalg.cross(forward, up)
    forward, right = (torch.cos(turn) * forward + torch.sin(turn) * right,
                      torch.cos(turn) * right - torch.sin(turn) * forward)  # fmt: skip

    axes = torch.stack([up, forward, right], 1)
    rays = axes @ square(batch["to_plane"])  # along these axes, by pixel
    climb, ahead, aside = (over_pixels(form, size) for form in rays.unbind(1))
    to_floor = torch.where(climb < -1e-4, wide(batch["camera_height"]) / -climb, 1e4)
    distance = torch.exp(rng.uniform(0.5, 3.0)) + batch["joints"][..., 2].mean(1)
    to_wall = torch.where(ahead > 1e-4, wide(distance) / ahead.clamp(min=1e-4), 1e4)
    on_floor = to_floor < to_wall
    reach = torch.minimum(to_floor, to_wall).clamp(max=1e3)
    scale = torch.exp(rng.uniform(-0.3, 2.0))
    moved = rng.uniform(0, 4, 4)
    floor_at = torch.stack([aside, ahead], -1) * (reach / wide(scale))[..., None]
    floor = _look_up(assets, rng, floor_at + moved[:, None, None, :2])
    scale = scale * torch.exp(0.4 * rng.normal())
    rise = wide(batch["camera_height"]) + climb * reach
    wall_at = torch.stack([aside * reach, -rise], -1) / wide(scale)[..., None]
    wall = _look_up(assets, rng, wall_at + moved[:, None, None, 2:])
    room = torch.where(on_floor[:, None], floor, wall)
    # A shadow on the floor, and less light under the feet.
    shadow = floor_shadow(batch, people, light.towards, size) * wide(light.share)[:, None]
    contact = floor_shadow(batch, people, up, size) * 0.45
    room = room * (1 - torch.maximum(shadow, contact) * on_floor[:, None])

    zoom = torch.exp(rng.uniform(-1.6, 0.3))
    spin = 0.15 * rng.normal()
    flat = (pixel_grid(size, assets.device) / size[0] - 0.5) * wide(zoom, 3)
    flat = torch.stack(turned(-spin, *flat.unbind(-1)), -1)
    flat = _look_up(assets, rng, flat + rng.uniform(0, 4, 2)[:, None, None])
    picture = torch.where(wide(rng.chance(0.35), 3), flat, room)
    # Out of focus: seen through a coarser grid.
    coarse = resized(F.avg_pool2d(picture, 8), size)
    soft = torch.where(rng.chance(0.3), rng.uniform(0.3, 1), 0.0)
    return torch.lerp(picture, coarse, wide(soft, 3))


def occluders(assets: RenderAssets, rng: BatchRng, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(B, 3, H, W) colour and (B, 1, H, W) cover of boxes, bars, ovals, leaves."""
    width, height = size
    grid = pixel_grid(size, assets.device) / torch.tensor(size, device=assets.device)
    zoom = wide(torch.exp(rng.uniform(-2.0, 0.0)), 3)
    fill = _look_up(assets, rng, grid * zoom + rng.uniform(0, 4, 2)[:, None, None])
    flat = wide(muted(rng, rng.uniform(0.02, 0.95, 3)))
    fill = torch.where(wide(rng.chance(0.4), 3), flat, fill)
    leaves = resized(rng.normal(1, 20, 20), size, "bicubic")[:, 0]
    cover = torch.zeros((rng.count, height, width), device=assets.device)
    for probability in (0.35, 0.18):
        centre = 0.5 + 0.25 * rng.normal(2)
        turn = torch.where(rng.chance(0.6), 0.08 * rng.normal(), rng.uniform(0, 3.14))
        aside, below = (grid - centre[:, None, None]).unbind(-1)
        u, v = (each.abs() for each in turned(turn, aside, below))
        kind = rng.below(5)
        # Boxes and ovals, bars right across, leaves in an oval.
        a = torch.where(kind == 1, rng.uniform(0.008, 0.05), rng.uniform(0.04, 0.22))
        b = torch.where(kind == 1, 2.0, rng.uniform(0.05, 0.25))
        a, b, kind = wide(a), wide(b), wide(kind)
        box = torch.maximum(u - a, v - b)
        oval = (torch.hypot(u / a, v / b) - 1) * torch.minimum(a, b)
        edge = torch.where((kind == 2) | (kind == 3), oval, box)
        new = (0.5 - edge * width).clamp(0, 1)
        leafy = ((leaves - 0.2) * 6).clamp(0, 1) * (1.5 - torch.hypot(u, v) * 3).clamp(0, 1)
        new = torch.where(kind == 4, leafy, new) * wide(rng.chance(probability).float())
        cover = torch.maximum(cover, new)
    return fill, cover[:, None]
