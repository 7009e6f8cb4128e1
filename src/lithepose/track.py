"""Detections of every frame become one 2D track per person.

`build_tracks` decides who is who from frame to frame, `select_people` whom the clip is about,
`repair_left_right` undoes frames in which the detector took left for right, and `fill_gaps`
bridges short absences. Each takes and returns plain values and can be left out.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise, product
from typing import Literal

import numpy as np

from lithepose.arrays import Flags, Floats, Indices
from lithepose.poses import MAX_GAP_S, Detections, Track2D, usual_step
from lithepose.skeletons import SKELETONS

logger = logging.getLogger(__name__)

# Assignment: joints of one person stray from their predicted place by this share of the body's
# size from one frame to the next, and by so much more per second without an observation.
_STRAY = 0.08
_STRAY_PER_SECOND = 0.25
_MAX_STRAY = 0.4
_MAX_COST = 0.85  # 0 is the predicted pose, 1 is nowhere near it
_MAX_PREDICTION_S = 0.3  # a person seen longer ago has probably not kept their velocity
MIN_SEEN_S = 0.3  # who is seen for less is taken for a false detection
_SAME_SIZE = 1.8  # bodies of one person are larger or smaller by no more, from shot to shot
_MAX_PASSERS_BY = 50  # tracks of a clip so slow that one frame makes a track

# Left/right repair.
# In units of one pair of joints that is nowhere near its prediction.
_CHANGE_COST = 8.0  # of each change between "as is" and "swapped"
_ERROR_SPREADS = 3.0  # errors of so many times the usual one are half surprising
_SWAPPED_COST = 0.2  # of each swapped frame of full confidence
# Lags in frames (place, and the earlier frame that gives the velocity, or None for no velocity).
_PREDICTORS = ((1, 2), (2, 3), (3, 4), (1, None), (2, None), (3, None), (4, None))
_LEAST_NOISE = 0.004  # of the body's size: below this, differences mean nothing


@dataclass(eq=False)
class _Person:
    """A track while it grows."""

    first_frame: int
    frames: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)  # index of the person in each frame's detections
    identity: int | None = None  # where the detections tell it
    keypoints: Floats = field(default_factory=lambda: np.empty(0))  # last seen, (J, 2)
    confidence: Floats = field(default_factory=lambda: np.empty(0))
    velocity: Floats = field(default_factory=lambda: np.zeros(2))  # pixels per second
    seen_s: float = 0.0

    def add(self, frame: int, row: int, time_s: float, detections: Detections) -> None:
        keypoints = np.asarray(detections.keypoints[row], dtype=float)
        if self.frames:
            moved = keypoints - self.keypoints  # (J, 2)
            moved = moved[np.isfinite(moved).all(axis=1)]
            if len(moved):
                velocity = np.median(moved, axis=0) / max(time_s - self.seen_s, 1e-6)
                # A single displacement is noisy; after two, half of the old value stays.
                first = len(self.frames) == 1
                self.velocity = velocity if first else (self.velocity + velocity) / 2
        self.keypoints = keypoints
        self.confidence = np.asarray(detections.confidence[row], dtype=float)
        self.seen_s = time_s
        self.frames.append(frame)
        self.rows.append(row)

    def predict(self, time_s: float) -> Floats:
        """(J, 2) where the joints should be at a time, at constant velocity."""
        return self.keypoints + self.velocity * min(time_s - self.seen_s, _MAX_PREDICTION_S)


def build_tracks(
    detections: Sequence[Detections],
    *,
    time_s: Floats,
    image_size: tuple[int, int],
    fps: float,
    max_gap_s: float = 1.0,
) -> list[Track2D]:
    """Follow each person through a clip.

    In every frame the people seen are assigned to the tracks so far at the least total cost, which
    is the distance of their joints from where each track should be by now, relative to the size of
    the body. Who fits no track starts a new one. Detections that say who each person is are taken
    at their word, however long somebody was away.

    Args:
        detections: of every frame of the clip, in order; a frame may be empty.
        time_s: (T,) time stamps in seconds, ascending.
        image_size: (width, height) of the frames in pixels.
        fps: mean frame rate.
        max_gap_s: a person who is back within this time, or in the next frame however late that
            comes, keeps the identity; later it is a new one.

    Returns:
        The tracks by first appearance, `person` counted from 1; all span all T frames, with nan
        where the person was not seen. Tracks seen in fewer frames than `MIN_SEEN_S` has are left
        out as false, but one that is seen in half of the clip's frames is always kept.

    Raises:
        ValueError: there are not as many time stamps as frames, time stamps do not ascend, or the
            skeleton changes within the clip.
    """
    times = np.asarray(time_s, dtype=float)
    if times.shape != (len(detections),):
        raise ValueError(f"{len(detections)} frames but time stamps of shape {times.shape}")
    steps = np.diff(times)
    if (steps <= 0).any():
        frame = int(np.argmax(steps <= 0)) + 1
        raise ValueError(
            f"time stamps must ascend: frame {frame} is at {times[frame]} s, the one before at "
            f"{times[frame - 1]} s"
        )
    skeletons = {d.skeleton for d in detections}
    if len(skeletons) > 1:
        raise ValueError(f"detections of one clip have several skeletons: {sorted(skeletons)}")

    usual_s = usual_step(times)
    slow = usual_s > max_gap_s  # whoever is there may be anywhere in the next frame
    people: list[_Person] = []
    waiting: list[_Person] = []
    for frame, (now, found) in enumerate(zip(times, detections, strict=True)):
        if found.person is None:
            waiting = [
                person
                for person in waiting
                if now - person.seen_s <= max_gap_s or person.frames[-1] == frame - 1
            ]
            taken = _assign(waiting, found, float(now))
            if slow:
                taken |= _nearest_left(waiting, found, taken)
        else:
            by_identity = {person.identity: person for person in people}
            named = ((row, by_identity.get(int(who))) for row, who in enumerate(found.person))
            taken = {row: person for row, person in named if person is not None}
        for row in range(len(found)):
            person = taken.get(row)
            if person is None:
                identity = None if found.person is None else int(found.person[row])
                person = _Person(first_frame=frame, identity=identity)
                people.append(person)
                waiting.append(person)
            person.add(frame, row, float(now), found)

    # A mean rate that a hole has pulled down says nothing of how many frames a moment has; and of
    # a clip that shows a moment in less than two, one frame is all there can be.
    rate = max(fps, 1 / usual_s) if (steps > max(max_gap_s, 4 * usual_s)).any() else fps
    needed = min(max(MIN_SEEN_S * rate, 1.0 if slow else 2.0), 0.5 * len(detections))
    kept = [person for person in people if len(person.frames) >= needed]
    if slow and len(kept) > _MAX_PASSERS_BY:
        # Each track spans all frames of the clip: thousands would not fit into memory.
        kept.sort(key=lambda person: len(person.frames), reverse=True)
        kept = sorted(kept[:_MAX_PASSERS_BY], key=lambda person: person.first_frame)
    if len(kept) < len(people):
        logger.info("dropped %d tracks of fewer than %.0f frames", len(people) - len(kept), needed)
    return [
        _as_track(number, person, detections, times, image_size, fps)
        for number, person in enumerate(kept, 1)
    ]


def select_people(
    tracks: Sequence[Track2D], which: Literal["one", "largest", "all"]
) -> list[Track2D]:
    """Choose among the people of a clip; identities stay as they are.

    Args:
        which: "one" is the person whom the clip shows most: size times confidence, summed over the
            frames. "largest" is who is largest while in view, however briefly. "all" is everyone.

    Raises:
        ValueError: `which` is none of these.
    """
    if which not in ("one", "largest", "all"):
        raise ValueError(f"cannot select people by {which!r}; known: all, largest, one")
    if which == "all" or len(tracks) < 2:
        return list(tracks)

    def prominence(track: Track2D) -> float:
        sizes = body_size(track.keypoints)
        if which == "largest":
            return float(np.nanmedian(sizes))
        return float(np.nansum(sizes * track.confidence.mean(axis=1)))

    return [max(tracks, key=prominence)]


def join_tracks(tracks: Sequence[Track2D]) -> list[Track2D]:
    """Take a person who left for longer than tracks are kept, and came back, for the same one.

    Meant for clips of which one person is wanted. The most prominent track takes in every track
    that shares no frame with it and whose body is about as large in the picture.

    Args:
        tracks: of one clip.

    Returns:
        The joined track, and those that did not fit.
    """
    if len(tracks) < 2:
        return list(tracks)
    joined = select_people(tracks, "one")[0]
    size = float(np.nanmedian(body_size(joined.keypoints)))
    rest = []
    for track in tracks:
        if track.person == joined.person:
            continue
        seen = np.asarray(np.isfinite(track.keypoints).any(axis=(1, 2)))
        ratio = float(np.nanmedian(body_size(track.keypoints))) / size
        apart = not (seen & np.isfinite(joined.keypoints).any(axis=(1, 2))).any()
        if not apart or not 1 / _SAME_SIZE <= ratio <= _SAME_SIZE:
            rest.append(track)
            continue
        world = joined.world
        if world is not None and track.world is not None:
            world = np.where(seen[:, None, None], track.world, world)
        joined = replace(
            joined,
            keypoints=np.where(seen[:, None, None], track.keypoints, joined.keypoints),
            confidence=np.where(seen[:, None], track.confidence, joined.confidence),
            world=world,
        )
    return [joined, *rest]


def body_size(keypoints: Floats) -> Floats:
    """Diagonal of the box around the joints, in pixels: (..., J, 2) -> (...); nan if none is seen.

    It changes far less with the view and the pose than the height or a bone's length does.
    """
    seen = np.isfinite(keypoints).all(axis=-1, keepdims=True)
    high = np.where(seen, keypoints, -np.inf).max(axis=-2)
    low = np.where(seen, keypoints, np.inf).min(axis=-2)
    with np.errstate(invalid="ignore"):
        size = np.linalg.norm(high - low, axis=-1)
    return np.where(np.isfinite(size), size, np.nan)


def fill_gaps(track: Track2D, max_gap_s: float = 0.25) -> Track2D:
    """Interpolate joints over short absences, linearly in time.

    Args:
        max_gap_s: the longest time between the two observations around a gap that is filled.
            Longer gaps, and those at the ends of the clip, stay nan.

    Returns:
        A new track. Filled joints have half the lower confidence of their two observations.
    """
    keypoints, confidence = track.keypoints.copy(), track.confidence.copy()
    world = None if track.world is None else track.world.copy()
    times = np.asarray(track.time_s, dtype=float)
    for joint in range(keypoints.shape[1]):
        seen = np.flatnonzero(np.isfinite(keypoints[:, joint]).all(axis=1))
        for before, after in pairwise(seen):
            if after - before < 2 or times[after] - times[before] > max_gap_s:
                continue
            gap = slice(before + 1, after)
            part = ((times[gap] - times[before]) / (times[after] - times[before]))[:, None]
            for values in (keypoints, world):
                if values is not None:
                    start, end = values[before, joint], values[after, joint]
                    values[gap, joint] = start + part * (end - start)
            confidence[gap, joint] = 0.5 * min(confidence[before, joint], confidence[after, joint])
    return replace(track, keypoints=keypoints, confidence=confidence, world=world)


def repair_left_right(track: Track2D) -> tuple[Track2D, Flags]:
    """Undo the frames in which the detector took the body's left side for its right.

    For every frame there are two readings, as it is and with all left and right joints swapped.
    Dynamic programming finds the sequence of readings in which the joints move most steadily (each
    is predicted from the frames before, at rest and at constant velocity), with a price for every
    change of reading. In a side view the legs pass each other at every step without a jump in
    place: there the velocity, not the distance, is what tells them apart.

    Continuity cannot say which of a sequence and its mirror image is right. That is decided by
    vote: each frame read as swapped has a small price, by its confidence, so that within each
    segment of the clip without a long absence the reading of the majority is kept. A swap
    that lasts for most of a segment is therefore not found.

    Args:
        track: in a skeleton of `lithepose.skeletons.SKELETONS` that knows left and right.

    Returns:
        The repaired track (keypoints, confidence and `world` swapped where needed), and (T,)
        which frames were swapped.
    """
    skeleton = SKELETONS[track.skeleton]
    pairs = np.array(skeleton.pairs, dtype=np.int64).reshape(-1, 2)
    swapped = _find_swaps(track, pairs)
    if not swapped.any():
        return track, swapped
    order = list(skeleton.mirror)

    def swap(values: Floats) -> Floats:
        return np.where(swapped[:, None, None], values[:, order], values)

    return replace(
        track,
        keypoints=swap(track.keypoints),
        confidence=np.where(swapped[:, None], track.confidence[:, order], track.confidence),
        world=None if track.world is None else swap(track.world),
    ), swapped


def _find_swaps(track: Track2D, pairs: Indices) -> Flags:
    """Frames (T,) in which the left and right joints of `pairs` (N, 2) are swapped; False in
    frames without any of these joints. See `repair_left_right` for how."""
    swapped = np.zeros(len(track.keypoints), dtype=bool)
    times = np.asarray(track.time_s, dtype=float)
    sides = np.asarray(track.keypoints, dtype=float)[:, pairs]  # (T, N, 2 sides, 2)
    seen = np.flatnonzero(np.isfinite(sides).all(axis=-1).reshape(len(sides), -1).any(axis=1))
    if len(seen) < 3:
        return swapped
    # Unit of length: the body's size, by a running median, as a single frame may be wrong.
    size = _running_median(body_size(track.keypoints[seen]), 15)
    trust = np.nan_to_num(track.confidence[:, pairs].mean(axis=(1, 2)))
    holes = np.flatnonzero(np.diff(times[seen]) > MAX_GAP_S) + 1
    for frames, large in zip(np.split(seen, holes), np.split(size, holes), strict=True):
        relative = sides[frames] / large[:, None, None, None]
        swapped[frames] = _steadiest_reading(relative, times[frames], trust[frames])
    return swapped


def _steadiest_reading(sides: Floats, times: Floats, trust: Floats) -> Flags:
    """The dynamic programme of `_find_swaps` for one segment: sides (T, N, 2 sides, 2) in body
    sizes, times and trust in each frame's reading as it is, (T,).

    A frame is compared with what each of `_PREDICTORS` makes of the four frames before it. So
    many, because an undecided detector often gives a blend of both readings for a frame or three:
    nothing can be predicted from those, and something has to reach across them.
    """
    count = len(sides)
    # Axes: frame t, then the readings of t-4, t-3, t-2 and t-1: like that of t (0) or not (1). A
    # motion and its mirror image cost the same, so this covers both readings of t.
    cost = np.zeros((count, 2, 2, 2, 2))
    for later, earlier in _PREDICTORS:
        fits = _prediction_cost(sides, times, later, earlier)  # (T, 2 of earlier, 2 of later)
        shape = [count, *(2 if lag in (later, earlier) else 1 for lag in (4, 3, 2, 1))]
        cost += fits.reshape(shape)
    unlike = np.array([[0, 1], [1, 0]])
    vote = _SWAPPED_COST * trust[:, None] * np.arange(2)  # (T, 2)

    # best[a, b, c, d]: least cost of all readings so far that end with a, b, c, d. Before the clip
    # four frames are imagined that are all read as the first one.
    best = np.full((2, 2, 2, 2), np.inf)
    best[0, 0, 0, 0] = best[1, 1, 1, 1] = 0
    came_from = np.empty((count, 2, 2, 2, 2), dtype=int)
    for t in range(count):
        # total[a, b, c, d, e], e the reading of frame t.
        total = best[..., None] + np.stack([cost[t], cost[t, ::-1, ::-1, ::-1, ::-1]], axis=-1)
        total += _CHANGE_COST * unlike + vote[t]
        came_from[t] = total.argmin(axis=0)
        best = total.min(axis=0)

    state = [int(index) for index in np.unravel_index(best.argmin(), best.shape)]
    reading = np.zeros(count, dtype=bool)
    for t in range(count - 1, -1, -1):
        reading[t] = state[-1]
        state = [int(came_from[t][tuple(state)]), *state[:-1]]
    return reading


def _prediction_cost(sides: Floats, times: Floats, later: int, earlier: int | None) -> Floats:
    """How badly each frame fits what one or two frames before it predict: the frame `later` frames
    ago gives the place, and with the one `earlier` ago the velocity, none if that is None.

    (T, 2, 2), or (T, 2) without `earlier`: by the readings of these frames (earlier first), as they
    are (0) or swapped (1). 0 where the clip has no such frames.
    """
    readings = np.stack([sides, sides[:, :, ::-1]])  # (2, T, N, 2, 2)
    lag = later if earlier is None else earlier
    count = len(sides) - lag
    cost = np.zeros((len(sides), *((2,) if earlier is None else (2, 2))))
    if count < 1:
        return cost
    before = slice(lag - later, len(sides) - later)
    predicted = place = readings[:, before]  # (2, T - lag, N, 2, 2)
    ahead = times[lag:] - times[before]
    if earlier is not None:
        ratio = ahead / (times[before] - times[:count])
        moved = place - readings[:, None, :count]  # (2 of earlier, 2 of later, T - lag, N, 2, 2)
        predicted = place + ratio[:, None, None, None] * moved
    error = np.linalg.norm(sides[lag:] - predicted, axis=-1)  # (..., T - lag, N, 2)

    # How far each pair usually is from its prediction: this holds the detector's noise as well as
    # the speed of the motion and the frame rate. Most frames are no swap; the median ignores
    # the others.
    alike = error[0] if earlier is None else error[0, 0]
    usual = alike.transpose(1, 0, 2).reshape(sides.shape[1], -1)  # (N, T * 2)
    noise = np.array([np.median(e[np.isfinite(e)]) if np.isfinite(e).any() else 1 for e in usual])
    noise = np.maximum(noise, _LEAST_NOISE)[:, None]
    # After missing frames a prediction reaches further and is less certain.
    growth = np.maximum(ahead / (later * np.median(np.diff(times))), 1)[:, None, None]
    # Welsch's cost is level far out: what fits neither reading votes for neither.
    each = 1 - np.exp(-((error / (_ERROR_SPREADS * noise * growth)) ** 2) / 2)
    # Both joints of a pair tend to err together: a mean, not a sum, counts their evidence once.
    each = np.where(np.isfinite(each), each, 0.0).mean(axis=-1).sum(axis=-1)
    cost[lag:] = np.moveaxis(each, -1, 0)
    return cost


def _running_median(values: Floats, width: int) -> Floats:
    half = width // 2
    padded = np.pad(values, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)


def _assign(people: Sequence[_Person], found: Detections, now: float) -> dict[int, _Person]:
    """Row of `found` -> the person it continues."""
    if not people or not len(found):
        return {}
    import lap

    cost = np.array(
        [[_cost(person, found, row, now) for row in range(len(found))] for person in people]
    )
    _, columns, _ = lap.lapjv(cost, extend_cost=True, cost_limit=_MAX_COST)
    return {int(row): person for person, row in zip(people, columns, strict=True) if row >= 0}


def _nearest_left(
    people: Sequence[_Person], found: Detections, taken: dict[int, _Person]
) -> dict[int, _Person]:
    """Row of `found` -> a person, for those whom `_assign` left over on both sides: the nearest, if
    they are about as large."""
    rows = [row for row in range(len(found)) if row not in taken]
    pairs = []
    for row, person in product(rows, (each for each in people if each not in taken.values())):
        seen = np.asarray(found.keypoints[row], dtype=float)
        ratio = body_size(seen) / body_size(person.keypoints)
        if 1 / _SAME_SIZE <= ratio <= _SAME_SIZE:
            apart = np.nanmedian(seen, axis=0) - np.nanmedian(person.keypoints, axis=0)
            pairs.append((float(np.hypot(*apart)), row, person))
    nearest: dict[int, _Person] = {}
    for _, row, person in sorted(pairs, key=lambda pair: pair[0]):
        if row not in nearest and person not in nearest.values():
            nearest[row] = person
    return nearest


def _cost(person: _Person, found: Detections, row: int, now: float) -> float:
    """How little a detection looks like the continuation of a person: 0 exactly, 1 not at all.

    Half of it is the likeness of the pose (as object keypoint similarity is formed), half that of
    the place alone, which also holds when the detector has swapped left and right.
    """
    predicted = person.predict(now)
    seen = np.asarray(found.keypoints[row], dtype=float)
    apart = np.linalg.norm(seen - predicted, axis=1)
    common = np.isfinite(apart)
    if not common.any():
        return 1.0
    scale = float(np.fmax(body_size(person.keypoints), body_size(seen)))
    stray = min(_STRAY + _STRAY_PER_SECOND * (now - person.seen_s), _MAX_STRAY)
    spread = 2 * (stray * max(scale, 1e-6)) ** 2
    # Joints that are guesses in either frame say less, but never nothing.
    sure = np.asarray(found.confidence[row], dtype=float)
    weight = 0.1 + person.confidence[common] * sure[common]
    pose = np.average(np.exp(-(apart[common] ** 2) / spread), weights=weight)
    shift = np.average((seen - predicted)[common], axis=0, weights=weight)
    place = np.exp(-float(shift @ shift) / spread)
    return float(1 - (pose + place) / 2)


def _as_track(
    number: int,
    person: _Person,
    detections: Sequence[Detections],
    times: Floats,
    image_size: tuple[int, int],
    fps: float,
) -> Track2D:
    first = detections[person.first_frame]
    joints = first.keypoints.shape[1]
    # Single precision is a ten-thousandth of a pixel, and an hour of video is 100,000 frames.
    shape = (len(detections), joints)
    keypoints = np.full((*shape, 2), np.nan, np.float32)
    confidence = np.zeros(shape, np.float32)
    world = None if first.world is None else np.full((*shape, 3), np.nan, np.float32)
    for frame, row in zip(person.frames, person.rows, strict=True):
        found = detections[frame]
        keypoints[frame], confidence[frame] = found.keypoints[row], found.confidence[row]
        if world is not None and found.world is not None:
            world[frame] = found.world[row]
    return Track2D(
        person=number,
        keypoints=keypoints,
        confidence=confidence,
        skeleton=first.skeleton,
        time_s=times,
        fps=fps,
        image_size=image_size,
        world=world,
    )
