"""Drawing synthetic training pictures: who stands how before which camera, and what is cut out.

`SyntheticCrops` draws everything that is geometry, as small NumPy arrays for many pictures at once;
`lithepose.synthetic.render` turns them into pictures on the device that trains. Poses come from
motion capture where the user has some, and from code: the motions of
`lithepose.synthetic.movements` and random rotations within what joints can do.

Camera axes are x right, y down, z forward, world axes z up, metres. "The plane" is the picture
plane at distance 1, (x / z, y / z): boxes and frames live on it, so that no picture has a size
until it is cut out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.anthropometry import ANKLE_HEIGHT_M, STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.cameras import look_at
from lithepose.mocap.motions import Motions, read_motions, trunk_frame
from lithepose.rotations import from_axis_angle, rotate, unit
from lithepose.skeletons import SKELETONS, skeleton_named
from lithepose.synthetic.bodies import BONES, Body, random_body
from lithepose.synthetic.figure_bank import FigureBank
from lithepose.synthetic.figures import POINT_BONE_INDEX, POINTS
from lithepose.synthetic.movements import MOTIONS, motion
from lithepose.synthetic.posing import bone_transforms, with_lengths
from lithepose.world import NODES, fit_rig, limit_rotations, rig_points

PEOPLE = 3  # at most in a picture: the one that is cut out and two others
PADDING = 1.25  # crop over box
_H36M = SKELETONS["h36m17"]
_MIRROR = np.array(_H36M.mirror)
_ARMS = {11: (12, 13), 14: (15, 16)}
SCALE_LIMIT, ROTATION_DEG = 0.5, 40.0
_NEAREST = 0.15  # metres: nothing is drawn closer to the camera
_UPPER_BODY = frozenset(
    {"nose", "head_top", "upper_neck", "thorax", "neck"}
    | {f"{s}_{j}" for s in ("left", "right") for j in ("eye", "ear", "shoulder", "elbow", "wrist")}
)


@dataclass(frozen=True, kw_only=True)
class CropSettings:
    """How crops are drawn; the defaults are the usual augmentation of top-down networks.

    Attributes:
        size: (width, height) of a crop in pixels.
        skeleton: the joints: "coco17" or "mpii16".
        shift: probability that the centre moves, by up to 0.16 of the crop's side.
        half_body: probability that only the upper or the lower body is cut out.
        scale: standard deviation of the crop's size about 1; it stays within 1 +- `SCALE_LIMIT`.
        rotated: probability of a rotation, of standard deviation `ROTATION_DEG` and at most twice
            that.
        truncated: probability that the picture's frame cuts the person.
        others: probabilities of 0, 1 and 2 other people.

    Source of shift, half body, scale and rotation: MMPose 0.29's COCO pipeline.
    """

    size: tuple[int, int] = (256, 256)
    skeleton: str = "coco17"
    shift: float = 0.3
    half_body: float = 0.3
    scale: float = 0.5
    rotated: float = 0.6
    truncated: float = 0.35
    others: tuple[float, float, float] = (0.5, 0.3, 0.2)


# Crops as a test would make them: the box, padded, and nothing else.
PLAIN = CropSettings(shift=0.0, half_body=0.0, scale=0.0, rotated=0.0)


# --- poses ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PoseLibrary:
    """Poses of many people.

    Attributes:
        joints: (K, 17, 3) metres, z up.
        trunk, shoulders: (K,) metres, the lengths of trunk and shoulder line of each pose's person;
            a bent back is shorter than its trunk.
    """

    joints: Floats
    trunk: Floats
    shoulders: Floats

    def __len__(self) -> int:
        return len(self.joints)


def library_of(motions: Motions) -> PoseLibrary:
    """Every frame of recorded motions."""
    clip = np.repeat(np.arange(len(motions)), np.diff(motions.start))
    return PoseLibrary(
        joints=motions.positions,
        trunk=motions.lengths[clip, _H36M.index("thorax")],
        shoulders=motions.lengths[clip, _H36M.index("left_shoulder")],
    )


def made_poses(count: int, seed: int) -> PoseLibrary:
    """Poses from code alone: half of them moments of the motions by formula, half random rotations.

    Raises:
        ValueError: fewer than one pose.
    """
    if count < 1:
        raise ValueError(f"a pose library needs at least one pose, got {count}")
    random = np.random.default_rng(seed)
    poses, bodies = [], []
    moments = 8  # of each motion
    for _ in range(-(-count // (2 * moments))):
        body = random_body(random)
        frames = motion(str(random.choice(sorted(MOTIONS))), 3.0, 10, body, random)
        poses.extend(frames[random.integers(len(frames), size=moments)])
        bodies += [body] * moments
    body = random_body(random)
    poses.extend(_random_poses(body, count - count // 2, random))
    bodies += [body] * (len(poses) - len(bodies))
    order = random.permutation(len(poses))[:count]
    return PoseLibrary(
        joints=np.stack(poses)[order].astype(np.float32),
        trunk=np.array([body.trunk for body in bodies], np.float32)[order],
        shoulders=np.array([body.shoulder_width for body in bodies], np.float32)[order],
    )


# How far random poses turn each joint, degrees; the limits of the joints then cut that short.
_SPREAD_DEG = {
    "Spine": 15, "Spine1": 18, "Chest": 10, "Neck": 15, "Head": 20, "LeftArm": 65, "RightArm": 65,
    "LeftForeArm": 60, "RightForeArm": 60, "LeftUpLeg": 35, "RightUpLeg": 35, "LeftLeg": 50,
    "RightLeg": 50,
}  # fmt: skip


def _random_poses(body: Body, count: int, random: np.random.Generator) -> Floats:
    """(count, 17, 3) poses whose hands stay out of the trunk."""
    points = np.full((1, 31, 3), np.nan)
    points[:, :17] = motion("wave", 1.0, 2, body, random)[:1]
    offsets, markers = fit_rig(points)
    spread = np.radians([_SPREAD_DEG.get(node, 0) for node in NODES])
    hanging = np.radians(60)  # arms hang half of the time: T-poses are rare
    found = np.empty((0, 17, 3))
    while len(found) < count:
        turns = spread[:, None] * random.normal(size=(64, len(NODES), 3))
        for node, side in (("LeftArm", 1), ("RightArm", -1)):
            turns[:, NODES.index(node), 1] += side * hanging * random.random(64)
        angle = np.linalg.norm(turns, axis=-1, keepdims=True)
        axis = np.sin(angle / 2) * turns / np.maximum(angle, 1e-9)
        limited, _ = limit_rotations(np.concatenate([np.cos(angle / 2), axis], -1))
        posed = rig_points(offsets, markers, np.zeros((64, 3)), limited)[:, :17]
        found = np.concatenate([found, posed[_hands_outside(posed)]])
    return found[:count]


def _hands_outside(joints: Floats) -> NDArray[np.bool_]:
    """(T,) whether elbows and wrists are outside of trunk and head."""
    axis = joints[:, 8] - joints[:, 0]
    seen = joints[:, [12, 13, 15, 16]] - joints[:, :1]
    length2 = (axis**2).sum(-1)[:, None]
    along = (seen * axis[:, None]).sum(-1) / length2
    aside = np.linalg.norm(seen - along[..., None] * axis[:, None], axis=-1)
    in_trunk = (along > -0.1) & (along < 1.1) & (aside < 0.15)
    head = joints[:, [9, 10]].mean(1)
    in_head = np.linalg.norm(joints[:, [13, 16]] - head[:, None], axis=-1) < 0.16
    return np.asarray(~in_trunk.any(-1) & ~in_head.any(-1))


def repose(library: PoseLibrary, chosen: NDArray[np.int64], rest: Floats) -> Floats:
    """Poses of a library on other bodies, directions kept: (M, 17, 3), the pelvis at the origin.

    Args:
        chosen: (M,) poses.
        rest: (M, 17, 3) rest joints of the bodies.
    """
    seen = library.joints[chosen].astype(np.float64)
    face = np.linalg.norm(seen[:, 9] - seen[:, 10], axis=-1)
    return with_lengths(seen, rest, library.trunk[chosen], face, library.shoulders[chosen])


# --- crops ---------------------------------------------------------------------------------------


class SyntheticCrops:
    """Endless synthetic training pictures, as numbers.

    Args:
        bank: who there is; only sizes are kept, so that workers copy little.
        libraries: poses and the share of each library.
        settings: how crops are drawn.
        epoch: how many examples are called an epoch.
    Raises:
        ValueError: a share is not positive, a library is missing, or the skeleton cannot be made.
    """

    def __init__(
        self,
        bank: FigureBank,
        libraries: list[tuple[PoseLibrary, float]],
        settings: CropSettings | None = None,
        epoch: int = 100_000,
    ):
        if not libraries or min(share for _, share in libraries) <= 0:
            raise ValueError("crops need at least one pose library, each with a positive share")
        self.settings = settings or CropSettings()
        if self.settings.skeleton not in ("coco17", "mpii16"):
            raise ValueError(
                f"synthetic crops have the joints of coco17 or mpii16, not of "
                f"{self.settings.skeleton!r}"
            )
        self.rest = bank.joints.astype(np.float64)
        self.rest_points = bank.points.astype(np.float64)
        self.sizes = bank.sizes
        self.libraries = [library for library, _ in libraries]
        shares = np.array([share for _, share in libraries], float)
        self.shares = shares / shares.sum()
        self.epoch = epoch
        skeleton = skeleton_named(self.settings.skeleton)
        names = (*_H36M.joints, *POINTS)
        self.picked = np.array([names.index(joint) for joint in skeleton.joints])
        self.upper = np.array([joint in _UPPER_BODY for joint in skeleton.joints])

    def __len__(self) -> int:
        return self.epoch

    def draw(
        self, indices: NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """Draw B = len(indices) pictures; the indices themselves decide nothing.

        Returns:
            figure: (B, P) int64, who stands in each place, -1 for nobody; place 0 is cut out.
            bones: (B, P, bones, 3, 4) float32, from the rest pose to camera axes, metres.
            joints: (B, J, 3) float32, of place 0 in camera axes, metres.
            to_pixels: (B, 2, 3), the plane's (x, y, 1) to crop pixels.
            to_plane: (B, 2, 3), crop pixels (x, y, 1) to the plane.
            to_frame: (B, 2, 3), the plane's (x, y, 1) to the frame of the picture the crop is from,
                which reaches from -1 to 1.
            up: (B, 3) unit vector, camera axes; camera_height: (B,) metres over the floor.
            light: (B, 3) unit vector towards the sun or lamp, camera axes.
            box: (B,) the longer side of the person's box in crop pixels.
        """
        count = len(indices)
        others = random.choice(3, size=count, p=self.settings.others)
        present = np.arange(PEOPLE) <= others[:, None]
        row, place = np.nonzero(present)
        figure = random.integers(len(self.rest), size=len(row))
        rotation, position, light = _draw_cameras(count, random)
        joints = self._poses(figure, random)
        joints += self._places(row, place, -position[:, 1], random)[:, None]

        matrices = bone_transforms(self.rest[figure], self.sizes[figure], joints)
        carried = matrices[:, POINT_BONE_INDEX]
        points = rotate(carried[..., :3], self.rest_points[figure]) + carried[..., 3]
        points = np.concatenate([joints, points], axis=1)  # (M, 17 + 11, 3), world

        turn, eye = rotation[row], position[row]
        points = np.einsum("mij,mkj->mki", turn, points - eye[:, None])
        seen = np.einsum("mij,mbjk->mbik", turn, matrices)
        seen[..., 3] -= rotate(turn, eye)[:, None]
        first = place == 0
        bones = np.zeros((count, PEOPLE, len(BONES), 3, 4))
        bones[row, place] = seen
        who = np.full((count, PEOPLE), -1, np.int64)
        who[row, place] = figure
        arrays = {
            "bones": bones,
            "joints": points[first][:, self.picked],
            **self._cut(points[first], random),
            "up": rotation[:, :, 2],
            "camera_height": position[:, 2],
            "light": np.einsum("bij,bj->bi", rotation, light),
        }
        return {"figure": who} | {k: value.astype(np.float32) for k, value in arrays.items()}

    def _poses(self, figure: NDArray[np.int64], random: np.random.Generator) -> Floats:
        """(M, 17, 3) poses of figures that face all ways, on or above the floor at 0."""
        count = len(figure)
        source = random.choice(len(self.libraries), size=count, p=self.shares)
        rest, sizes = self.rest[figure], self.sizes[figure]
        joints = np.empty((count, 17, 3))
        for number, library in enumerate(self.libraries):
            mine = np.flatnonzero(source == number)
            chosen = random.integers(len(library), size=len(mine))
            joints[mine] = repose(library, chosen, rest[mine])
        mirrored = (random.random(count) < 0.5)[:, None, None]
        joints = np.where(mirrored, joints[:, _MIRROR] * (-1, 1, 1), joints)
        joints = _exchange_arms(joints, random.random((2, count)) < 0.15)
        joints = _jitter_limbs(joints, random.random(count) < 0.5, random)

        # Most people in pictures look somewhere near the camera, which is where -y is.
        hips = joints[:, 1] - joints[:, 4]
        facing = np.arctan2(hips[:, 1], hips[:, 0])  # 0: towards +y
        towards = random.random(count) < 0.5
        there, anywhere = random.normal(0, 0.8, count), random.uniform(-np.pi, np.pi, count)
        wanted = np.where(towards, np.pi + there, anywhere)
        upright = from_axis_angle(np.array([0.0, 0.0, 1.0]), wanted - facing)
        way = random.uniform(-np.pi, np.pi, count)
        level = np.stack([np.cos(way), np.sin(way), np.zeros(count)], -1)
        fallen = np.where(random.random(count) < 0.08, random.uniform(0, np.pi, count), 0)
        joints = np.einsum("mij,mkj->mki", from_axis_angle(level, fallen) @ upright, joints)

        margin = np.full((count, 17), 0.09)
        margin[:, [3, 6]] = ANKLE_HEIGHT_M * sizes[:, :1] / STANDARD_HEIGHT_M
        low = (joints[..., 2] - margin).min(-1)
        jump = np.where(random.random(count) < 0.12, random.uniform(0, 0.6, count), 0)
        joints[..., 2] += (jump - low)[:, None]
        return joints

    def _places(self, row, place, distance: Floats, random: np.random.Generator) -> Floats:
        """(M, 3) where people stand: the first at the origin, others beside, before and behind."""
        side = random.choice([-1.0, 1.0], size=len(row))
        aside = side * random.uniform(0.15, 1.3, len(row))
        ahead = random.uniform(-0.8, 3.0, len(row))
        # Nobody stands inside another, nor closer to the camera than a metre.
        clear = np.sign(ahead) * np.maximum(np.abs(ahead), 0.45)
        ahead = np.where(np.abs(aside) < 0.45, clear, ahead)
        ahead = np.maximum(ahead, 1.0 - distance[row])
        aside = np.where(np.hypot(aside, ahead) < 0.4, side * 0.6, aside)
        where = np.stack([aside, ahead, np.zeros(len(row))], -1)
        return where * (place > 0)[:, None]

    def _cut(self, points: Floats, random: np.random.Generator) -> dict[str, Floats]:
        """Frame and crop of the people with these points (B, 28, 3), camera axes."""
        settings = self.settings
        count = len(points)
        plane = points[..., :2] / np.maximum(points[..., 2:], _NEAREST)
        low, high = plane.min(1), plane.max(1)
        margin = 0.03 * (high - low).max(-1, keepdims=True)  # flesh around the joints
        low, high = low - margin, high + margin
        frame_low, frame_high = self._frames(low, high, random)
        low, high = np.maximum(low, frame_low), np.minimum(high, frame_high)
        whole = (high - low).max(-1)

        width, height = settings.size
        aspect = width / height
        centre, side = _square(low, high, aspect)  # side: of the width
        shifted = (random.random(count) < settings.shift)[:, None]
        centre = centre + shifted * random.uniform(-1, 1, (count, 2)) ** 2 * 0.16 * side[:, None]
        side = side * PADDING

        joints = plane[:, self.picked]
        inside = ((joints > frame_low[:, None]) & (joints < frame_high[:, None])).all(-1)
        half = (random.random(count) < settings.half_body) & (inside.sum(-1) > 8)
        want_upper = random.normal(size=count) < 0.5
        upper, lower = inside & self.upper, inside & ~self.upper
        use_upper = (want_upper & (upper.sum(-1) > 2)) | (lower.sum(-1) <= 2)
        chosen = np.where(use_upper[:, None], upper, lower)
        half &= chosen.sum(-1) >= 2
        part_low = np.where(chosen[..., None], joints, np.inf).min(1)
        part_high = np.where(chosen[..., None], joints, -np.inf).max(1)
        part_low = np.where(half[:, None], part_low, low)
        part_high = np.where(half[:, None], part_high, high)
        part_centre, part_side = _square(part_low, part_high, aspect)
        centre = np.where(half[:, None], part_centre, centre)
        side = np.where(half, np.maximum(1.5 * part_side, 0.45 * side), side)

        factor = 1 + settings.scale * random.normal(size=count)
        side = side * np.clip(factor, 1 - SCALE_LIMIT, 1 + SCALE_LIMIT)
        turn = ROTATION_DEG * np.clip(random.normal(size=count), -2, 2)
        turn = np.radians(turn) * (random.random(count) < settings.rotated)
        cosine, sine = np.cos(turn), np.sin(turn)
        spin = np.stack([cosine, sine, -sine, cosine], -1).reshape(count, 2, 2)
        pixels = width / side  # per unit of the plane
        middle = np.array([width / 2, height / 2])
        forth = pixels[:, None, None] * spin
        back = np.swapaxes(spin, 1, 2) / pixels[:, None, None]
        frame = 2 / (frame_high - frame_low)
        frame_middle = (frame_high + frame_low) / 2
        maps = {
            "to_pixels": (forth, middle - rotate(forth, centre)),
            "to_plane": (back, centre - back @ middle),
            "to_frame": (frame[:, :, None] * np.eye(2), -frame * frame_middle),
        }
        cut = {name: np.concatenate([a, b[..., None]], -1) for name, (a, b) in maps.items()}
        return cut | {"box": pixels * whole}

    def _frames(self, low: Floats, high: Floats, random: np.random.Generator):
        """Corners (B, 2) of the pictures around boxes; some cut into the box."""
        count = len(low)
        extent = (high - low).max(-1, keepdims=True)
        frame_low = low - extent * 2 ** random.uniform(-3, 2, (count, 2))
        frame_high = high + extent * 2 ** random.uniform(-3, 2, (count, 2))
        cut = random.random(count) < self.settings.truncated
        # The lower edge cuts people most often: legs are what pictures leave out.
        edge = random.choice(4, size=count, p=(0.12, 0.12, 0.08, 0.68))
        deep = random.uniform(0.02, 0.5, count) * np.where(edge == 2, 0.4, 1)
        for number in range(4):
            axis, far = number // 2, number % 2
            here = cut & (edge == number)
            span = (high - low)[here, axis]
            if far:
                frame_high[here, axis] = high[here, axis] - deep[here] * span
            else:
                frame_low[here, axis] = low[here, axis] + deep[here] * span
        return frame_low, frame_high


def _square(low: Floats, high: Floats, aspect: float) -> tuple[Floats, Floats]:
    """Centres (B, 2) and widths (B,) of boxes grown to width / height = aspect."""
    extent = high - low
    return (low + high) / 2, np.maximum(extent[:, 0], aspect * extent[:, 1])


def _draw_cameras(count: int, random: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Cameras that look at the origin's person from -y, and a light for each: rotations (B, 3, 3)
    world to camera, positions (B, 3) in metres, unit vectors (B, 3) towards lights, world axes."""
    distance = np.exp(random.uniform(np.log(1.7), np.log(14), count))  # over the floor, metres
    kind = random.random(count)
    height = np.clip(random.normal(1.4, 0.35, count), 0.3, 2.4)
    height = np.where(kind < 0.12, random.uniform(0.15, 0.8, count), height)
    high = random.uniform(0.3, 1.1, count) * distance + 1.0
    height = np.where(kind > 0.85, np.minimum(high, 7.0), height)
    position = np.stack([np.zeros(count), -distance, height], -1)
    level = look_at(position, np.tile([0.0, 0.0, 0.9], (count, 1)))
    # Off the middle of the picture people are sheared as by a wide lens.
    yaw, pitch = random.normal(0, 0.22, count), random.normal(0, 0.12, count)
    roll = random.normal(0, 0.07, count)
    axes = np.eye(3)
    turn = from_axis_angle(axes[2], roll)
    turn = turn @ from_axis_angle(axes[0], np.clip(pitch, -0.4, 0.4))
    turn = turn @ from_axis_angle(axes[1], np.clip(yaw, -0.6, 0.6))

    azimuth, elevation = random.normal(0, 1.2, count), random.uniform(0.3, 1.4, count)
    flat = np.cos(elevation)
    light = [np.sin(azimuth) * flat, -np.cos(azimuth) * flat, np.sin(elevation)]
    return turn @ level, position, np.stack(light, -1)


def _exchange_arms(joints: Floats, which: NDArray[np.bool_]) -> Floats:
    """Give some arms (2, M) the directions that the next person's has against the trunk."""
    out = joints.copy()
    trunk = trunk_frame(joints)
    for side, (shoulder, arm) in enumerate(_ARMS.items()):
        own = joints[:, [shoulder, *arm]]
        ways = np.diff(own, axis=1)
        local = np.einsum("mji,mkj->mki", trunk, ways)
        other = np.einsum("mij,mkj->mki", trunk, np.roll(local, 1, axis=0))
        lengths = np.linalg.norm(ways, axis=-1, keepdims=True)
        moved = own[:, :1] + np.cumsum(unit(other) * lengths, axis=1)
        out[:, list(arm)] = np.where(which[side][:, None, None], moved, out[:, list(arm)])
    return out


def _jitter_limbs(joints: Floats, which: NDArray[np.bool_], random: np.random.Generator) -> Floats:
    """Turn limbs of some people by about ten degrees, each by itself."""
    out = joints.copy()
    for first in (1, 4, 11, 14):
        for a in (first, first + 1):
            way = joints[:, a + 1] - joints[:, a]
            length = np.linalg.norm(way, axis=-1, keepdims=True)
            moved = unit(way / length + 0.17 * random.normal(size=way.shape)) * length
            out[:, a + 1] = out[:, a] + np.where(which[:, None], moved, way)
    return out


def crops_from(
    bank: FigureBank,
    *,
    motions: str | Path | None,
    made: int,
    seed: int,
    settings: CropSettings | None = None,
    epoch: int = 100_000,
) -> SyntheticCrops:
    """Crops whose poses are from a motion file, if there is one, and from code.

    Args:
        motions: a file that `read_motions` reads, or None for poses from code alone.
        made: how many poses to make by code; a quarter of the people have one of them beside
            recorded ones.
        seed: of the poses from code.
    """
    libraries = [(made_poses(made, seed), 1.0)]
    if motions is not None:
        libraries.append((library_of(read_motions(motions)), 3.0))
    return SyntheticCrops(bank, libraries, settings, epoch)
