"""Windows of sequences: which frames make them, and batches of them to train on.

`cut_windows` says which frames make the windows, and `SequenceExamples` draws batches of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lithepose.arrays import Floats, Indices
from lithepose.lifters.hot import centre_of
from lithepose.train.recipes import LiftingRecipe
from lithepose.train.sequences import NetworkSequence, mirrored


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Which frames make the windows of some sequences.

    Attributes:
        frames: T, frames of a window.
        start: (W,) its first frame, counted in the sequence; below 0 where the first frame is
            repeated.
        span: (W,) frames from its first to its last; less than T where it is stretched.
        sequence: (W,) which sequence it is of.
    """

    frames: int
    start: Indices
    span: Indices
    sequence: Indices

    def __len__(self) -> int:
        return len(self.start)

    def index(
        self, chosen: Indices, lengths: Indices, random: np.random.Generator | None = None
    ) -> Indices:
        """Frames of chosen windows, counted in their sequences: (n, T).

        Beyond the ends the first and the last frame are repeated. In a stretched window each place
        has the frame before it, or with `random` by chance the one after.
        """
        span = self.span[chosen, None]
        steps = np.arange(self.frames)[None]
        if (span < self.frames).any():
            even = steps * (span / self.frames)
            steps = np.floor(even).astype(np.int64)
            if random is not None:
                # Sorted, so that time never runs backwards.
                up = random.integers(2, size=steps.shape) * (even > steps)
                steps = np.sort(np.minimum(steps + up, span - 1), axis=1)
        frames = self.start[chosen, None] + steps
        return np.clip(frames, 0, lengths[self.sequence[chosen], None] - 1)


def cut_windows(lengths: Sequence[int], frames: int, stride: int, kind: str) -> Windows:
    """The windows of sequences of some lengths.

    Args:
        frames: T.
        stride: frames from a window to the next.
        kind: `"per_frame"`: one around each frame, or each `stride`th. `"padded"`: so many as cover
            the sequence, what hangs over shared by both ends (MixSTE's training, HoT). `"last"`:
            from the first frame on, the last window being the last T frames (MixSTE's test).
            `"inside"`: from the first frame on while they fit, the rest left out; a sequence
            shorter than a window is stretched to one (MotionBERT). `"inside-rest"`: as before, and
            the rest is stretched to a window too (MotionAGFormer on MPI-INF-3DHP).

    Raises:
        ValueError: another kind, or a stride below 1.
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1; found {stride}")
    starts, spans, owners = [], [], []
    for number, length in enumerate(lengths):
        span = None
        if kind == "per_frame":
            start = np.arange(0, length, stride) - centre_of(frames)
        elif kind == "padded":
            count = max(-(-(length - frames) // stride) + 1, 1)
            over = (count - 1) * stride + frames - length
            start = np.arange(count) * stride - over // 2
        elif kind == "last":
            start = np.arange(0, max(length - frames, 0) + 1, stride)
            if start[-1] + frames < length:
                start = np.append(start, length - frames)
        elif kind in ("inside", "inside-rest"):
            start = np.arange(0, length - frames + 1, stride)
            rest = start[-1] + stride if len(start) else 0
            if (kind == "inside-rest" and rest < length) or not len(start):
                span = np.full(len(start) + 1, frames)
                span[-1] = min(length - rest, frames)
                start = np.append(start, rest)
        else:
            known = "per_frame, padded, last, inside, inside-rest"
            raise ValueError(f"no windows of the kind {kind!r}; known: {known}")
        starts.append(start)
        spans.append(np.full(len(start), frames) if span is None else span)
        owners.append(np.full(len(start), number))
    return Windows(
        frames=frames,
        start=np.concatenate(starts).astype(np.int64),
        span=np.concatenate(spans).astype(np.int64),
        sequence=np.concatenate(owners).astype(np.int64),
    )


class SequenceExamples:
    """Training windows of sequences, one after another in memory.

    With `flip` "doubled" every window comes twice in an epoch, as it is and mirrored; with
    "random" once, mirrored by chance.

    Args:
        sequences: at least one, all with the same joints.
        recipe: its windows, stride, flip, and which frames of a window have targets.

    Raises:
        ValueError: there is nothing to cut windows from.
    """

    def __init__(self, sequences: Sequence[NetworkSequence], recipe: LiftingRecipe):
        if not sequences:
            raise ValueError("no sequences to train on: is it the training part of the data set?")
        self.skeleton, self.flip = recipe.skeleton, recipe.flip
        self.frames, self.targets_of_window = recipe.frames, recipe.targets
        self.rounded_by_chance = recipe.windows == "inside"
        self.lengths = np.array([len(sequence) for sequence in sequences])
        self.offset = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.windows = cut_windows(
            self.lengths.tolist(), recipe.frames, recipe.stride, recipe.windows
        )
        # (2N, J, C), the second half mirrored: exchanging joints in every window takes longer than
        # all else.
        self.inputs = _both_ways([sequence.inputs for sequence in sequences], self.skeleton)
        self.targets = _both_ways([sequence.targets for sequence in sequences], self.skeleton)
        self.lens: tuple[Floats, Floats, Floats] | None = None
        if recipe.refine:
            self.lens = lenses(sequences)

    def __len__(self) -> int:
        return len(self.windows) * (2 if self.flip == "doubled" else 1)

    def draw(self, indices: Indices, random: np.random.Generator) -> dict[str, Floats]:
        """Windows by number.

        Returns:
            inputs (n, T, J, C) and targets (n, K, J, 3), the K frames in the middle; for a recipe
            with refinement also root_depth (n, T), focal (n, T, 2) and centre (n, T, 2).
        """
        indices = np.asarray(indices)
        window = indices % len(self.windows)
        chance = random if self.rounded_by_chance else None
        frames = self.windows.index(window, self.lengths, chance)
        sequence = self.windows.sequence[window]
        frames += self.offset[sequence, None]
        turned = indices >= len(self.windows)
        if self.flip == "random":
            turned = random.random(len(indices)) < 0.5
        first = (self.frames - self.targets_of_window) // 2
        middle = slice(first, first + self.targets_of_window)
        way = frames + (len(self.inputs) // 2) * turned[:, None]
        batch = {"inputs": self.inputs[way], "targets": self.targets[way[:, middle]]}
        if self.lens is not None:
            focal, centre, root_depth = self.lens
            centre = np.repeat(centre[sequence, None], self.frames, 1)
            centre[turned, :, 0] *= -1
            batch["focal"] = np.repeat(focal[sequence, None], self.frames, 1)
            batch["centre"] = centre
            batch["root_depth"] = root_depth[frames]
        return batch


def _both_ways(parts: Sequence[Floats], skeleton: str) -> Floats:
    """Sequences (T, J, C) one after another, and all of them once more mirrored: (2N, J, C)."""
    return np.concatenate([*parts, *(mirrored(part, skeleton) for part in parts)])


def lenses(sequences: Sequence[NetworkSequence]) -> tuple[Floats, Floats, Floats]:
    """Focal lengths (S, 2), principal points (S, 2) and depths of the root (N,)."""
    found = []
    for sequence in sequences:
        if sequence.lens is None:
            raise ValueError(
                f"refinement needs calibrated cameras, and that of {sequence.subject} "
                f"{sequence.trial} is not known: train the recipe without it"
            )
        found.append(sequence.lens)
    return (
        np.stack([lens.focal for lens in found]),
        np.stack([lens.centre for lens in found]),
        np.concatenate([lens.root_depth for lens in found]),
    )
