"""What becomes of a clip."""

from __future__ import annotations

from dataclasses import dataclass, field

from lithepose.poses import Track3D
from lithepose.video import CameraMotion


class NoPersonError(ValueError):
    """Nobody was found in the whole clip."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a clip.

    Attributes:
        people: in the order of their numbers, from 1.
        frames: T, frames of the clip; every array of every person has as many.
        fps: mean frame rate.
        image_size: (width, height) of the upright frames in pixels.
        seconds: how long each stage took.
        problem: what of the video could not be decoded, or None.
        camera: what the camera did; None for keypoints, or where it was told.
        warnings: what was assumed, and what the result therefore is not.
    """

    people: list[Track3D]
    frames: int
    fps: float
    image_size: tuple[int, int]
    seconds: dict[str, float] = field(default_factory=dict)
    problem: str | None = None
    camera: CameraMotion | None = None
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        width, height = self.image_size
        people = f"{len(self.people)} {'person' if len(self.people) == 1 else 'people'}"
        spent = "".join(f", {stage} {took:.1f} s" for stage, took in self.seconds.items())
        lines = [
            f"Result({people}, {self.frames} frames, {self.fps:.4g} frames/s, {width}x{height}"
            f"{spent})",
            *map(repr, self.people),
        ]
        if self.camera is not None:
            lines.append(f"camera: {self.camera.kind}")
        if self.problem is not None:
            lines.append(f"problem: {self.problem}")
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n  ".join(lines)
