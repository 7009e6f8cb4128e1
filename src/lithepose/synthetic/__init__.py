"""Rendered people with exactly known joints.

Who they are and how they stand is NumPy: `bodies`, `appearance`, `figures` and `figure_bank` (made
of `solids` and `surface`), `movements`, `posing`, `crops`. What they look like is PyTorch:
`rasteriser` finds what is seen of posed people, `paint` colours it; `render` makes training
pictures of that (with `backdrops` and `camera_effects`), `scenes` makes clips (in `rooms`).
"""

__all__ = [
    "appearance",
    "bodies",
    "crops",
    "figure_bank",
    "figures",
    "movements",
    "posing",
    "render",
    "rooms",
    "scenes",
]
