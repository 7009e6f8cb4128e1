"""From people before a camera to people in a world: a floor, a path, standing feet, rotations.

Every step can be switched off (`WorldOptions`) and says in the result's metadata what it did:

1. the vertical and the floor, from all people of the clip together (`lithepose.world.ground`);
2. each person's path once more, now knowing which feet stand where;
3. smoothing without delay;
4. standing feet locked in place;
5. the rig: every node's rotation, inside the limits of human joints (`lithepose.world.rig`).

The joints in camera axes stay as they were lifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lithepose.anthropometry import ANKLE_HEIGHT
from lithepose.arrays import Flags, Floats
from lithepose.bones import bone_lengths, with_lengths
from lithepose.lifters.windows import with_midpoints
from lithepose.poses import Track3D, World, overlapping_parts, segments
from lithepose.rotations import from_axis_angle, rotate, unit
from lithepose.skeletons import SKELETONS
from lithepose.world.contacts import find_contacts, lock_feet, path_ties
from lithepose.world.extremities import CARRIERS
from lithepose.world.ground import ANKLES, Ground, fit_ground, up_of_tilt
from lithepose.world.joint_limits import limit_rotations
from lithepose.world.path import fit_root_path
from lithepose.world.rig import MARKER_NODES, NODES, fit_rig, rig_points
from lithepose.world.rig_pose import pose_rig
from lithepose.world.smooth import low_pass

_BODY = SKELETONS["lithepose31"]
_FEET = tuple(
    [_BODY.index(f"{side}_{part}") for part in ("heel", "big_toe", "small_toe")]
    for side in ("left", "right")
)
_TOES = (NODES.index("LeftToeBase"), NODES.index("RightToeBase"))
_ROUNDS = 3
_FIT_FRAMES = 4000  # medians of so many are as good as those of all
TILT_RANGE_DEG = (-89.0, 89.0)
CAMERA_HEIGHT_RANGE_M = (-20.0, 100.0)


@dataclass(frozen=True, kw_only=True)
class WorldOptions:
    """What is known of the scene, and what is done to the motion.

    Attributes:
        pitch_deg, roll_deg: how far the camera looks above the horizon, and how far its picture is
            turned clockwise, in degrees; None: estimated. One that is missing beside the other
            counts as 0.
        camera_height_m: of the camera over the floor; None: estimated.
        camera: "still", "moving", or "auto" to take what was seen in the video.
        smooth_hz: cut-off of the smoothing; None leaves the motion as it is.
        plant_feet: hold standing feet still.
        limit_joints: keep joints inside their anatomical limits.
    Raises:
        ValueError: a value is out of range.
    """

    pitch_deg: float | None = None
    roll_deg: float | None = None
    camera_height_m: float | None = None
    camera: Literal["auto", "still", "moving"] = "auto"
    smooth_hz: float | None = 6.0
    plant_feet: bool = True
    limit_joints: bool = True

    def __post_init__(self) -> None:
        low, high = TILT_RANGE_DEG
        for name, tilt in (("pitch", self.pitch_deg), ("roll", self.roll_deg)):
            if tilt is not None and not low <= tilt <= high:
                raise ValueError(f"{name} {tilt} is no tilt: give degrees from {low} to {high}")
        low, high = CAMERA_HEIGHT_RANGE_M
        if self.camera_height_m is not None and not low <= self.camera_height_m <= high:
            raise ValueError(
                f"camera height {self.camera_height_m} m: give metres between {low} and {high}"
            )
        if self.camera not in ("auto", "still", "moving"):
            raise ValueError(f"camera is {self.camera!r}: known are auto, still, moving")
        if self.smooth_hz is not None and not self.smooth_hz > 0:
            raise ValueError(
                f"smoothing at {self.smooth_hz} Hz: give a positive cut-off, or None for none"
            )

    @property
    def up(self) -> Floats | None:
        """(3,) the vertical in camera axes, if it is given."""
        if self.pitch_deg is None and self.roll_deg is None:
            return None
        return up_of_tilt(self.pitch_deg or 0.0, self.roll_deg or 0.0)


@dataclass
class _Person:
    """One person on the way to the world; arrays in camera axes, metres."""

    track: Track3D
    poses: Floats  # (T, 17, 3) around the root
    root: Floats  # (T, 3)
    rays: Floats
    confidence: Floats
    runs: list[slice]
    contact: Flags
    ankle_height_m: float

    @classmethod
    def of(cls, track: Track3D) -> _Person:
        joints = track.joints_camera.astype(np.float64)
        present = np.isfinite(joints).all((1, 2))
        points = track.keypoints_2d.astype(np.float64)
        confidence = np.where(track.derived | ~np.isfinite(points).all(-1), 0, track.confidence)
        points, confidence = with_midpoints(points, confidence)
        rays = (points - np.array(track.image_size) / 2) / track.focal_px
        return cls(
            track=track,
            poses=joints - joints[:, :1],
            root=joints[:, 0].copy(),
            rays=rays,
            confidence=confidence,
            runs=segments(np.asarray(present), track.time_s),
            contact=np.zeros((len(joints), 2), bool),
            ankle_height_m=ANKLE_HEIGHT * float(track.metadata["height_m"]),
        )

    @property
    def frames(self) -> int:
        """In how many frames the person is."""
        return sum(run.stop - run.start for run in self.runs)

    @property
    def joints(self) -> Floats:
        return self.poses + self.root[:, None]

    def find_contacts(self, ground: Ground) -> None:
        ankles = ground.to_world(self.joints[:, ANKLES])
        for run in self.runs:
            self.contact[run] = find_contacts(ankles[run], self.track.time_s[run])

    def fit_path(self, ground: Ground) -> None:
        for run in self.runs:
            poses, time_s = self.poses[run], self.track.time_s[run]
            ties = path_ties(
                poses, self.root[run], self.contact[run], time_s, ground, self.ankle_height_m
            )
            self.root[run] = fit_root_path(
                poses, self.rays[run], self.confidence[run], time_s, ties
            )


def solve_world(
    people: Sequence[Track3D], options: WorldOptions | None = None, *, moves: bool = False
) -> list[Track3D]:
    """Give the people of one clip their motion in the world.

    Args:
        people: with `points_camera`; all of one clip, seen by one camera.
        options: by default everything is estimated and done.
        moves: whether the video's background moves, so that the camera must have.
    Returns:
        The same people with `world`, and what was done under "world" in their metadata.
    Raises:
        ValueError: somebody has no `points_camera`.
    """
    if any(track.points_camera is None for track in people):
        raise ValueError("a person needs points_camera to be placed in the world: lift them anew")
    options = options or WorldOptions()
    moving = options.camera == "moving" or (options.camera == "auto" and moves)
    parts = [_Person.of(track) for track in people]
    ground = _ground_of(parts, options, moving)
    return [_solve_person(part, ground, options, moving) for part in parts]


def _ground_of(parts: Sequence[_Person], options: WorldOptions, moving: bool) -> Ground:
    """The ground, and by the way each person's contacts and path on it."""

    def fit() -> Ground:
        return fit_ground(
            [part.joints for part in parts],
            [part.contact for part in parts],
            [part.ankle_height_m for part in parts],
            [part.track.time_s for part in parts],
            up=options.up,
            camera_height_m=options.camera_height_m,
        )

    ground = fit()
    if moving:  # nobody's feet stand still in its picture
        return ground
    for turn in range(_ROUNDS):
        for part in parts:
            if turn > 0:
                part.fit_path(ground)
            part.find_contacts(ground)
        ground = fit()
    return ground


def _solve_person(part: _Person, ground: Ground, options: WorldOptions, moving: bool) -> Track3D:
    track = part.track
    assert track.points_camera is not None
    old = track.points_camera.astype(np.float64)
    points = ground.to_world(old - old[:, :1] + part.root[:, None])
    if moving:
        points = _on_the_spot(points, part.ankle_height_m)
    lengths = bone_lengths(points[:, :17])
    for run in part.runs:
        here, time_s = points[run].copy(), track.time_s[run]
        if options.smooth_hz is not None:
            whole = np.isfinite(here).all((0, 2))
            here[:, whole] = low_pass(here[:, whole], time_s, options.smooth_hz)
            here = _moved_along(here, with_lengths(here[:, :17], lengths))
        if options.plant_feet and not moving:
            locked = lock_feet(here[:, :17], part.contact[run], time_s, part.ankle_height_m)
            here = _moved_along(here, locked)
        points[run] = here
    seen = np.flatnonzero(np.isfinite(points[:, 0, 0]))
    offsets, markers = fit_rig(points[seen[:: 1 + len(seen) // _FIT_FRAMES]])
    standing = part.contact & options.plant_feet
    _flatten_feet(points, standing, offsets, markers)
    _raise_toes(points, standing)
    posed, rotations, limited = _posed(offsets, markers, points, track.confidence_3d, options)
    world = World(
        points=posed,
        offsets=offsets.astype(np.float32),
        markers=markers.astype(np.float32),
        rotations=rotations,
        contact=part.contact,
        camera_rotation=ground.rotation,
        camera_position=ground.position,
        has_path=not moving,
    )
    done = _facts(ground, options, moving, part, limited)
    return replace(track, world=world, metadata={**track.metadata, "world": done})


def _posed(
    offsets: Floats,
    markers: Floats,
    points: Floats,
    confidence: Floats | None,
    options: WorldOptions,
) -> tuple[Floats, Floats, float]:
    """The points (T, 31, 3) on the rig, its rotations (T, N, 4), and in which share of the frames a
    joint met its limit."""
    frames = len(points)
    posed = np.empty((frames, len(_BODY), 3), np.float32)
    rotations = np.empty((frames, len(NODES), 4), np.float32)
    met = np.zeros(frames, bool)
    for wide, inner, own in overlapping_parts(frames):
        part = pose_rig(
            offsets, markers, points[wide], None if confidence is None else confidence[wide]
        )
        if options.limit_joints:
            part, moved = limit_rotations(part)
            met[wide] |= (np.nan_to_num(moved) > 0.5).any(-1)
        rotations[own] = part[inner]
        posed[own] = rig_points(offsets, markers, points[own, 0], rotations[own])
    return posed, rotations, float(met.sum() / np.isfinite(points[:, 0, 0]).sum())


def _moved_along(points: Floats, joints: Floats) -> Floats:
    """New places of the 17 joints; the further points keep theirs beside their carriers."""
    further = points[:, 17:] + joints[:, CARRIERS] - points[:, CARRIERS]
    return np.concatenate([joints, further], axis=1)


def _on_the_spot(points: Floats, ankle_height_m: float) -> Floats:
    """Without a path: hips over the origin, the lower foot on the floor."""
    moved = points - points[:, :1]
    moved[..., 2] += ankle_height_m - moved[:, ANKLES, 2].min(1)[:, None]
    return moved


def _flatten_feet(points: Floats, contact: Flags, offsets: Floats, markers: Floats) -> None:
    """Flatten feet that stand; changes `points`."""
    for side, foot in enumerate(_FEET):
        stands = contact[:, side]
        for joint in foot:
            node = MARKER_NODES[joint]
            below = markers[joint, 2] + (offsets[node, 2] if node in _TOES else 0.0)
            points[stands, joint, 2] = points[stands, ANKLES[side], 2] + float(below)


def _raise_toes(points: Floats, contact: Flags) -> None:
    """Turn feet that don't stand so that their toes come out of the floor; changes `points`."""
    for side, foot in enumerate(_FEET):
        stands = contact[:, side]
        ankle = points[:, ANKLES[side]]
        toes = (points[:, foot[1]] + points[:, foot[2]]) / 2 - ankle
        level = np.linalg.norm(toes[:, :2], axis=-1)
        down = np.arctan2(-toes[:, 2], level)
        most = np.arcsin(np.clip(ankle[:, 2] / np.linalg.norm(toes, axis=-1), -1, 1))
        # Someone below the floor has jumped off what was taken for it.
        angle = np.where(stands | (ankle[:, 2] < 0), 0, np.maximum(down - most, 0))
        # A turn about the level axis across the foot: toes up.
        across = unit(np.stack([toes[:, 1], -toes[:, 0], np.zeros(len(toes))], -1), np.eye(3)[0])
        turns = from_axis_angle(across, angle)
        points[:, foot] = ankle[:, None] + rotate(turns[:, None], points[:, foot] - ankle[:, None])


def _facts(
    ground: Ground, options: WorldOptions, moving: bool, part: _Person, limited: float
) -> dict[str, Any]:
    up = ground.up
    return {
        "path": not moving,
        "camera": "moving" if moving else "still",
        "camera_height_m": round(ground.camera_height_m, 3),
        "pitch_deg": round(float(np.degrees(np.arcsin(np.clip(up[2], -1, 1)))), 2),
        "roll_deg": round(float(np.degrees(np.arctan2(up[0], -up[1]))), 2),
        **ground.cues,
        "smooth_hz": options.smooth_hz,
        "feet_held": options.plant_feet and not moving,
        "standing_share": round(float(part.contact.any(1).sum() / part.frames), 3),
        "joints_limited": options.limit_joints,
        "frames_limited_share": round(limited, 4),
    }
