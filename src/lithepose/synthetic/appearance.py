"""What synthetic people wear and look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MATERIALS = (
    "skin", "hair", "lips", "eye_white", "iris", "brow", "shoes", "shirt", "trousers", "second",
)  # fmt: skip
MATERIAL_INDEX = {name: index for index, name in enumerate(MATERIALS)}
Colour = tuple[float, float, float]  # RGB in [0, 1]
PATTERNS = ("plain", "stripes", "checks", "spots", "print", "yoke", "sides")


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """Colour and pattern of a garment: RGB in [0, 1], `pattern` one of `PATTERNS`."""

    colour: Colour
    second: Colour
    pattern: str = "plain"
    period: float = 0.06  # metres

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise ValueError(
                f"no cloth pattern named {self.pattern!r}; known: {', '.join(PATTERNS)}"
            )


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """What a person wears and looks like.

    Attributes:
        skin, hair, lips, eyes, shoes: RGB in [0, 1].
        shirt, trousers: the garments.
        sleeve: covered part of the arm, 0 (none) to 2 (to the wrist; 1 is the elbow).
        leg: covered part of the leg, from the hip, 0.5 (shorts) to 2 (to the ankle).
        loose: how far the cloth stands off, metres.
        shirt_hem: lower end of the shirt below the hip joints, metres (negative: above).
        hair_style: short, long, bun, bald or cap.
        beard: whether the chin is covered with hair.
    """

    skin: Colour
    hair: Colour
    lips: Colour
    eyes: Colour
    shoes: Colour
    shirt: Cloth
    trousers: Cloth
    sleeve: float = 0.6
    leg: float = 2.0
    loose: float = 0.008
    shirt_hem: float = 0.02
    hair_style: str = "short"
    beard: bool = False

    def palettes(self) -> tuple[list[Colour], list[Colour]]:
        """Colours of `MATERIALS`, and the second ones of what has a pattern."""
        white = (0.86, 0.84, 0.82)
        red, green, blue = (0.6 * h + 0.2 * s for h, s in zip(self.hair, self.skin, strict=True))
        first = [self.skin, self.hair, self.lips, white, self.eyes, (red, green, blue), self.shoes,
                 self.shirt.colour, self.trousers.colour, self.shirt.second]  # fmt: skip
        return first, [*first[:7], self.shirt.second, self.trousers.second, first[9]]


SKINS = ((0.93, 0.76, 0.66), (0.87, 0.67, 0.54), (0.78, 0.57, 0.43), (0.60, 0.41, 0.29),
          (0.42, 0.28, 0.20), (0.95, 0.80, 0.72))  # fmt: skip
HAIRS = ((0.08, 0.06, 0.05), (0.20, 0.12, 0.07), (0.38, 0.24, 0.13), (0.72, 0.57, 0.35),
          (0.55, 0.53, 0.51), (0.40, 0.16, 0.08))  # fmt: skip
CLOTHS = ((0.10, 0.11, 0.14), (0.15, 0.20, 0.35), (0.30, 0.42, 0.60), (0.85, 0.85, 0.83),
          (0.55, 0.12, 0.13), (0.20, 0.38, 0.26), (0.52, 0.50, 0.46), (0.70, 0.58, 0.40),
          (0.82, 0.66, 0.20), (0.45, 0.28, 0.42), (0.75, 0.42, 0.38),
          (0.35, 0.60, 0.65))  # fmt: skip


def _tint(rng: np.random.Generator, colour: Colour, amount: float = 0.05) -> Colour:
    tinted = np.clip(np.asarray(colour) * (1 + rng.normal(0, amount)), 0.03, 0.97)
    red, green, blue = np.clip(tinted + rng.normal(0, amount / 3, 3), 0.03, 0.97).tolist()
    return red, green, blue


def random_appearance(rng: np.random.Generator) -> Appearance:
    """Draw skin, hair and clothes."""
    skin = _tint(rng, SKINS[rng.integers(len(SKINS))])

    def cloth(patterns: tuple[str, ...]) -> Cloth:
        first, second = rng.choice(len(CLOTHS), 2, replace=False)
        return Cloth(
            colour=_tint(rng, CLOTHS[first], 0.1),
            second=_tint(rng, CLOTHS[second], 0.1),
            pattern=str(rng.choice(patterns)),
            period=float(rng.uniform(0.04, 0.12)),
        )

    return Appearance(
        skin=skin,
        hair=_tint(rng, HAIRS[rng.integers(len(HAIRS))]),
        lips=_tint(rng, (skin[0] * 0.85, skin[1] * 0.62, skin[2] * 0.62), 0.03),
        eyes=_tint(rng, ((0.15, 0.09, 0.05), (0.2, 0.3, 0.4), (0.2, 0.25, 0.1))[rng.integers(3)]),
        shoes=_tint(rng, ((0.08, 0.08, 0.09), (0.9, 0.9, 0.9), (0.35, 0.2, 0.12))[rng.integers(3)]),
        shirt=cloth(("plain", "plain", "stripes", "checks", "print")),
        trousers=cloth(("plain", "plain", "plain", "checks")),
        sleeve=float(rng.choice([0.3, 0.6, 0.6, 0.75, 1.5, 1.95, 1.95])),
        leg=float(rng.choice([0.6, 0.8, 1.0, 1.97, 1.97, 1.97, 1.97])),
        loose=float(rng.uniform(0.004, 0.016)),
        shirt_hem=float(rng.uniform(-0.06, 0.12)),
        hair_style=str(rng.choice(["short", "short", "short", "long", "bun", "bald", "cap"])),
        beard=bool(rng.random() < 0.15),
    )
