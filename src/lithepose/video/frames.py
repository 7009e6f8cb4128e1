"""What every source of frames shares: a frame, and why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lithepose.arrays import Image

# Time stamps that differ by less than this are the same moment (container clocks tick at 1/90000 s
# or slower, so nothing real is this short).
SAME_TIME_S = 1e-6


class VideoError(ValueError):
    """A video cannot be read as asked; the message says why and what to do."""


class VideoWarning(UserWarning):
    """A video was read, but not all of it could be decoded."""


@dataclass(frozen=True)
class Frame:
    """One shown frame of a clip.

    Attributes:
        index: position among the frames handed out, from 0.
        time_s: seconds since the first frame handed out; strictly ascending.
        image: (H, W, 3) RGB, upright, square pixels.
    """

    index: int
    time_s: float
    image: Image


class TimedImage(NamedTuple):
    time_s: float  # in seconds of the whole clip
    image: Image
