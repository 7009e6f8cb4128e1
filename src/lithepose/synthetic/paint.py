"""Light, colours and patterns of people: drawn at random or told, then laid on quads in view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lithepose.synthetic.appearance import (
    CLOTHS,
    HAIRS,
    MATERIAL_INDEX,
    MATERIALS,
    PATTERNS,
    SKINS,
    Appearance,
)
from lithepose.synthetic.batch_rng import BatchRng
from lithepose.synthetic.rasteriser import SHADOW_CELL, Layer, RenderAssets, lit_share


@dataclass(frozen=True)
class Light:
    towards: Tensor  # (B, 3) camera axes
    direct: Tensor  # (B, 3) RGB
    ambient: Tensor  # (B, 3) RGB, from above
    share: Tensor  # (B,) how deep shadows are on the floor
    cell: float = SHADOW_CELL  # metres: shadows reach 64 cells from the joints' middle


def sample_light(batch: Mapping[str, Tensor], rng: BatchRng) -> Light:
    strength = rng.uniform(0.1, 0.8, 1)
    warmth = 0.10 * rng.normal(1) * torch.tensor([1.0, 0.0, -1.0], device=rng.device)
    ambient = rng.uniform(0.42, 0.72, 1)
    direct, sky = strength * (1 + warmth).clamp(0.7, 1.3), ambient * (1 - 0.5 * warmth)
    return Light(batch["light"], direct, sky, (strength / (strength + ambient))[:, 0])


@dataclass(frozen=True)
class Waves:
    """Smooth noise in about [-1, 1] over the rest pose, another for each of N people."""

    lengths: tuple[float, ...]  # L, metres
    way: Tensor  # (N, L, 3)
    bend: Tensor  # (N, L, 3)
    phase: Tensor  # (N, L)

    def at(self, person: Tensor, rest: Tensor) -> Tensor:
        """(M,) the noise at points `rest` (M, 3) of people (M,)."""
        total = torch.zeros_like(rest[:, 0])
        way, bend, phase = self.way[person], self.bend[person], self.phase[person]
        for i, length in enumerate(self.lengths):
            total += torch.sin(6.28 / length * (rest * way[:, i]).sum(-1) + phase[:, i]
                               + 2 * torch.sin((rest * bend[:, i]).sum(-1)))  # fmt: skip
        return total / len(self.lengths)


def _sample_waves(rng: BatchRng, lengths: tuple[float, ...]) -> Waves:
    drawn = [(F.normalize(rng.normal(3), dim=-1), rng.normal(3) * 5, 6.28 * rng.uniform())
             for _ in lengths]  # fmt: skip
    return Waves(lengths, *(torch.stack(each, 1) for each in zip(*drawn, strict=True)))


@dataclass(frozen=True)
class Pattern:
    """Of one garment of N people; lengths in metres."""

    kind: Tensor  # (N,) index into `PATTERNS`
    period: Tensor  # (N,)
    turn: Tensor  # (N,) radians
    share: Tensor  # (N,) of a stripe in its period
    height: Tensor  # (N,) where the yoke begins
    spots: Waves
    print_size: tuple[Tensor, Tensor]  # (N,) half width and half height

    def at(self, person: Tensor, rest: Tensor) -> Tensor:
        """(M,) how much of the second colour there is at points `rest` (M, 3) of people (M,)."""
        turn, period = self.turn[person], self.period[person]
        u = (rest[:, 0] + 0.4 * rest[:, 1]) / period
        v = rest[:, 2] / period
        along = torch.cos(turn) * v + torch.sin(turn) * u
        other = torch.cos(turn) * u - torch.sin(turn) * v
        stripes = (along % 1 < self.share[person]).float()
        checks = 0.5 * (along % 1 < 0.5).float() + 0.5 * (other % 1 < 0.5).float()
        spots = (self.spots.at(person, rest) > 0.25).float()
        wide, tall = (half[person] for half in self.print_size)
        chest = (rest[:, 0].abs() < wide) & ((rest[:, 2] - 0.32).abs() < tall)
        chest = chest & (rest[:, 1] > 0.03)
        printed = chest.float() * (0.6 + 0.4 * (other % 1 < 0.5).float())
        yoke = (rest[:, 2] > self.height[person]).float()
        sides = ((rest[:, 0].abs() % 0.16) < 0.03).float()
        kinds = torch.stack([torch.zeros_like(u), stripes, checks, spots, printed, yoke, sides])
        return kinds.gather(0, self.kind[person][None])[0]


def _sample_pattern(rng: BatchRng, plain: float) -> Pattern:
    kind = torch.where(rng.chance(plain), 0, 1 + rng.below(len(PATTERNS) - 1))
    period = torch.exp(rng.uniform(np.log(0.03), np.log(0.2)))
    turn = torch.where(rng.chance(0.7), 1.5708 * rng.below(2).float(), rng.uniform(0, 3.14))
    share, height = rng.uniform(0.15, 0.6), rng.uniform(0.1, 0.45)
    spots = _sample_waves(rng, (0.13, 0.09, 0.07))
    print_size = rng.uniform(0.04, 0.12), rng.uniform(0.03, 0.12)
    return Pattern(kind, period, turn, share, height, spots, print_size)


@dataclass(frozen=True)
class Looks:
    """Colours and patterns of N people."""

    first: Tensor  # (N, materials, 3) RGB in [0, 1]
    second: Tensor  # (N, materials, 3), of what has a pattern
    patterns: dict[str, Pattern]  # of the materials that may have one
    folds: Waves


def sample_looks(rng: BatchRng) -> Looks:
    """Draw skin, hair and clothes."""
    first, second = _sample_palettes(rng)
    patterns = {name: _sample_pattern(rng, plain) for name, plain in _PLAIN.items()}
    return Looks(first, second, patterns, _sample_waves(rng, (0.22, 0.12, 0.06)))


_PLAIN = {"shirt": 0.4, "trousers": 0.7}  # share of garments without a pattern


def looks_of(appearances: Sequence[Appearance], rng: BatchRng) -> Looks:
    """The looks that people are said to have; folds and what nobody says are drawn."""
    drawn = sample_looks(rng)
    device = drawn.first.device

    def tensor(values) -> Tensor:
        return torch.tensor(values, device=device)

    first, second = zip(*(appearance.palettes() for appearance in appearances), strict=True)
    patterns = {}
    for name, pattern in drawn.patterns.items():
        cloths = [getattr(appearance, name) for appearance in appearances]
        kinds = [PATTERNS.index(cloth.pattern) for cloth in cloths]
        periods = [cloth.period for cloth in cloths]
        patterns[name] = replace(pattern, kind=tensor(kinds), period=tensor(periods))
    return Looks(tensor(first), tensor(second), patterns, drawn.folds)


def _sample_palettes(rng: BatchRng) -> tuple[Tensor, Tensor]:
    """(N, materials, 3) twice: first colours, and second ones for what has a pattern."""
    device = rng.device

    def choose(table) -> Tensor:
        colours = torch.tensor(table, device=device)
        return colours[rng.below(len(table))] * (1 + 0.08 * rng.normal(1)) + 0.02 * rng.normal(3)

    def cloth() -> Tensor:
        vivid = muted(rng, rng.uniform(0.02, 0.95, 3))
        grey = rng.uniform(0.03, 0.9, 1) + 0.02 * rng.normal(3)
        kind = rng.uniform()[:, None]
        return torch.where(kind < 0.45, choose(CLOTHS), torch.where(kind < 0.75, vivid, grey))

    skin, hair = choose(SKINS), choose(HAIRS)
    lips = skin * torch.tensor([0.88, 0.62, 0.62], device=device)
    white = 0.80 + 0.03 * rng.normal(3)
    iris = 0.12 + 0.1 * rng.uniform(0, 1, 3)
    brow = 0.6 * hair + 0.2 * skin
    shirt, trousers = cloth(), cloth()
    # Overalls, dresses, swimsuits: one cloth. Bare chests and legs: no cloth at all.
    trousers = torch.where(rng.chance(0.15, 1), shirt, trousers)
    shirt = torch.where(rng.chance(0.05, 1), skin, shirt)
    trousers = torch.where(rng.chance(0.03, 1), skin, trousers)
    shoes = torch.where(rng.chance(0.12, 1), skin, cloth())
    first = [skin, hair, lips, white, iris, brow, shoes, shirt, trousers, cloth()]
    second = [*first[:7], cloth(), cloth(), first[9]]
    return torch.stack(first, 1).clamp(0.02, 0.97), torch.stack(second, 1).clamp(0.02, 0.97)


def muted(rng: BatchRng, colours: Tensor) -> Tensor:
    """Random colours (..., 3) as the world has them: most are half-way to grey."""
    grey = colours.mean(-1, keepdim=True)
    return colours + rng.uniform(0.0, 1.0, *grey.shape[1:]) ** 0.5 * (grey - colours)


def paint(
    assets: RenderAssets, batch: Mapping[str, Tensor], layer: Layer, light: Light, looks: Looks
) -> Tensor:
    """(M, 3) lit colours of the quads in view.

    Args:
        batch: `joints`, `up` and `light`, as `SyntheticCrops.draw` gives them.
    """
    people, person, picture = layer.people, layer.quads.person, layer.quads.picture
    figure = people.figure[person]
    material = assets.materials[figure, layer.quads.quad].long()
    rest = assets.middles[figure, layer.quads.quad].float()
    points = people.points.flatten(0, 1)[layer.quads.vertices].mean(1)
    normals = F.normalize(people.normals.flatten(0, 1)[layer.quads.vertices].mean(1), dim=-1)

    colour = looks.first[person, material]
    mix = torch.zeros_like(rest[:, 0])
    for name, pattern in looks.patterns.items():
        mix = torch.where(material == MATERIAL_INDEX[name], pattern.at(person, rest), mix)
    colour = colour + mix[:, None] * (looks.second[person, material] - colour)
    finer = torch.where(material == MATERIAL_INDEX["hair"], 5.0, 1.0)
    folds = looks.folds.at(person, rest * finer[:, None])
    colour = colour * (1 + _of_materials(_ROUGH, 0.10, rest.device)[material] * folds)[:, None]

    def lit(towards: Tensor, reach: int, bias: float) -> Tensor:
        centre = batch["joints"].mean(1)
        return lit_share(people, centre, towards, points, picture, reach, bias, light.cell)

    sky = 0.72 + 0.28 * (normals * batch["up"][picture]).sum(-1)
    open_sky = lit(batch["up"], 2, 0.08)
    ambient = light.ambient[picture] * (sky * (0.5 + 0.5 * open_sky))[:, None]
    towards = light.towards[picture]
    reached = lit(light.towards, 1, 0.06)
    slope = ((normals * towards).sum(-1)).clamp(min=0)
    direct = light.direct[picture] * (reached * slope)[:, None]
    view = F.normalize(-points, dim=-1)
    fill = 0.10 * (normals * view).sum(-1).clamp(min=0)
    half = F.normalize(view + towards, dim=-1)
    gloss = _of_materials(_GLOSS, 0.02, rest.device)[material]
    shine = gloss * reached * (normals * half).sum(-1).clamp(0, 1) ** 20
    return colour * (ambient + direct + fill[:, None]) + shine[:, None] * light.direct[picture]


_ROUGH = {"skin": 0.04, "hair": 0.28, "shirt": 0.17, "trousers": 0.15}  # how deep folds are
_GLOSS = {"skin": 0.12, "hair": 0.14, "shoes": 0.16, "iris": 0.3}  # strength of the highlight


def _of_materials(values: Mapping[str, float], others: float, device: torch.device) -> Tensor:
    return torch.tensor([values.get(name, others) for name in MATERIALS], device=device)
