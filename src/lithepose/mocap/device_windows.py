"""Training windows drawn on the device that trains: `lithepose.mocap.windows` in PyTorch.

A GPU lifts windows far faster than processors draw them, so here a whole batch is drawn where it is
used. The steps and their numbers are those of `draw_batch` and `DetectorNoise`, and the tests hold
the two against each other; only the random numbers are others. They are all drawn first, with
shapes that depend on the batch's size alone: what follows is one function of tensors without a
branch, which a compiler fuses and a GPU runs without waiting for the processor.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lithepose.anthropometry import STANDARD_HEIGHT_M, TRAINING_MEAN, TRAINING_SPREAD
from lithepose.bones import PARENTS
from lithepose.lifters.windows import LEAST_DEPTH, LEAST_SIZE, LIMBS, LOG_SIZE_CENTRE, MIRROR
from lithepose.mocap.motions import BONE_OF_JOINT, Motions
from lithepose.mocap.noise import (
    ARMS,
    COVER_EVERY,
    COVERS,
    HIDEABLE,
    LEGS,
    QUANTILES,
    DetectorNoise,
    JointErrors,
    autoregression,
)
from lithepose.mocap.windows import ClipSettings

_UPPER_ARMS_AND_FOREARMS = (12, 13, 15, 16)
_BENT = (2, 3, 5, 6, 12, 13, 15, 16)
# (joint, start and end of the line it moves along, spread): see `blur_definitions`.
_BLURRED = (
    (7, 0, 8, 0.06),
    (9, 9, 10, 0.20),
    (9, 8, 9, 0.15),
    (10, 9, 10, 0.20),
    (10, 8, 10, 0.10),
)
_DROPPED = ((7, 0.6), (9, 0.15), (10, 0.6))  # as in `draw_batch`


class DeviceClips(nn.Module):
    """Draws batches of training windows; moves between devices like a network.

    Args:
        motions: motion clips.
        settings: as for `draw_batch`.
        noise: a detector's errors; None leaves the 2D exact.
    """

    # Buffers, so that they move with the module.
    positions: Tensor
    start: Tensor
    lengths: Tensor
    height: Tensor
    bone_mean: Tensor
    bone_spread: Tensor
    bone_of_joint: Tensor
    mirror: Tensor
    parents: Tensor
    arms: Tensor
    bent: Tensor
    hideable: Tensor
    drop_share: Tensor
    offset: Tensor
    mixing: Tensor
    side: Tensor
    own_cover: Tensor
    to_mirror: Tensor
    is_bent: Tensor
    exchange_legs: Tensor
    exchange_arms: Tensor
    hidden_confidence: Tensor
    visible_confidence: Tensor

    def __init__(self, motions: Motions, settings: ClipSettings, noise: DetectorNoise | None):
        super().__init__()
        self.settings, self.noise, self.fps = settings, noise, motions.fps

        def keep(name: str, values: object, dtype: torch.dtype = torch.float32) -> None:
            tensor = torch.as_tensor(np.array(values), dtype=dtype)
            self.register_buffer(name, tensor, persistent=False)

        keep("positions", motions.positions)
        keep("start", motions.start, torch.int64)
        keep("lengths", motions.lengths)
        keep("height", motions.height)
        bones = list(TRAINING_MEAN)
        keep("bone_mean", [STANDARD_HEIGHT_M * TRAINING_MEAN[b] for b in bones])
        keep("bone_spread", [TRAINING_SPREAD[b] for b in bones])
        # The root has no bone: it takes the extra column, which is 1.
        column = [bones.index(b) if b else len(bones) for b in BONE_OF_JOINT]
        keep("bone_of_joint", column, torch.int64)
        keep("mirror", MIRROR, torch.int64)
        keep("to_mirror", [-1.0, 1.0, 1.0])
        keep("parents", np.maximum(PARENTS, 0), torch.int64)
        keep("arms", _UPPER_ARMS_AND_FOREARMS, torch.int64)
        keep("bent", _BENT, torch.int64)
        keep("hideable", HIDEABLE, torch.int64)
        keep("drop_share", [dict(_DROPPED).get(joint, 0.0) for joint in range(17)])
        if noise is None:
            return
        for state in ("visible", "hidden"):
            errors: JointErrors = getattr(noise, state)
            for name in ("constant", "wandering", "white", "burst", "burst_share", "confidence"):
                keep(f"{state}_{name}", getattr(errors, name))
        keep("offset", noise.offset * STANDARD_HEIGHT_M)
        # Frame rates are drawn evenly on a logarithmic scale: their median is the geometric mean.
        self.rate = math.sqrt(settings.fps[0] * settings.fps[1])
        lag = float(np.mean(noise.visible.wandering_s[LIMBS])) * self.rate
        keep("mixing", autoregression(settings.frames, lag))
        side = np.zeros((17, 1))
        side[[4, 5, 6, 11, 12, 13]], side[[1, 2, 3, 14, 15, 16]] = 1, -1
        keep("side", side)
        own = [np.isin(HIDEABLE, (first, second)) for first, second, _ in COVERS]
        keep("own_cover", own, torch.bool)
        keep("is_bent", np.isin(np.arange(17), _BENT)[:, None], torch.bool)
        for name, joints in (("exchange_legs", LEGS), ("exchange_arms", ARMS)):
            order = np.arange(17)
            order[joints] = MIRROR[joints]
            keep(name, order, torch.int64)

    def forward(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a batch.

        Args:
            count: B, windows.
            generator: on the device of this module.
        Returns:
            values (B, F, 17, 4) and targets (B, K, 17, 3), as in `lithepose.mocap.windows.Batch`.
        """
        return self.make(*self.numbers(count, generator))

    def numbers(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All random numbers of a batch: centre frames (B,) and a partner of each window (B,);
        uniform (B, 32) and normal (B, 96) ones of each window; and, where there is noise, normal
        (B, F, 17, 6) and uniform (B, F, 4) ones of each frame."""
        device, frames = self.positions.device, self.settings.frames
        centre = torch.randint(
            len(self.positions), (count,), generator=generator, device=device, dtype=torch.int64
        )
        # By sorting: a permutation drawn otherwise may wait for the processor.
        partner = torch.rand(count, generator=generator, device=device).argsort()
        uniform = torch.rand(count, 32, generator=generator, device=device)
        normal = torch.randn(count, 96, generator=generator, device=device)
        per_frame = (count, frames, 17, 6) if self.noise else (0,)
        slips = (count, frames, 4) if self.noise else (0,)
        return (
            centre,
            partner,
            uniform,
            normal,
            torch.randn(per_frame, generator=generator, device=device),
            torch.rand(slips, generator=generator, device=device),
        )

    def make(
        self,
        centre: Tensor,
        partner: Tensor,
        uniform: Tensor,
        normal: Tensor,
        per_frame: Tensor,
        slips: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The batch that given random numbers make; see `numbers` and `forward`."""
        uniforms, normals = iter(uniform.unbind(1)), _Columns(normal)
        settings = self.settings
        joints, clip = self._stretches(centre, next(uniforms))
        joints = self._varied(joints, clip, partner, next(uniforms), next(uniforms), normals)
        camera = self._seen_by_cameras(joints, [next(uniforms) for _ in range(3)], normals)

        seen = self._blurred(camera, normals)
        rays = seen[..., :2] / seen[..., 2:]
        confidence = torch.ones_like(rays[..., 0])
        if self.noise is not None:
            noisy_rays, noisy_confidence = self._noise(
                rays, camera, next(uniforms), normals, per_frame, slips
            )
            noisy = next(uniforms)[:, None, None] >= settings.clean
            rays = torch.where(noisy[..., None], noisy_rays, rays)
            confidence = torch.where(noisy, noisy_confidence, confidence)
        dropped = torch.stack([next(uniforms) for _ in range(17)], 1) < self.drop_share
        confidence = torch.where(dropped[:, None], 0.0, confidence)
        rays, confidence = _with_midpoints(rays, confidence)

        guess = torch.exp(settings.focal_guess * normals.take(1)[:, 0])
        guess = torch.where(next(uniforms) < settings.focal_known, 1.0, guess)
        values, rotation = look_at_person(rays / guess[:, None, None, None], confidence)

        first = settings.frames // 2 - settings.targets // 2
        targets = camera[:, first : first + settings.targets]
        targets = targets - targets[..., :1, :]
        return values, _turn(rotation.transpose(-1, -2), targets)

    def _stretches(self, centre: Tensor, rate: Tensor) -> tuple[Tensor, Tensor]:
        """`lithepose.mocap.windows.draw_stretches`: joints (B, F, 17, 3) and clips (B,)."""
        frames = self.settings.frames
        clip = torch.searchsorted(self.start, centre, right=True) - 1
        low, high = (math.log(f) for f in self.settings.fps)
        step = self.fps / torch.exp(low + (high - low) * rate)
        offset = torch.arange(frames, device=centre.device) - frames // 2
        # Counted from the centre: far into a long file float32 no longer resolves a frame's parts.
        time = offset * step[:, None]
        first = (self.start[clip] - centre)[:, None]
        last = (self.start[clip + 1] - 1 - centre)[:, None]
        time = torch.minimum(torch.maximum(time, first.float()), last.float())
        before = time.floor()
        share = (time - before)[..., None, None]
        before = before.long()
        after = torch.minimum(before + 1, last)
        at = centre[:, None]
        return torch.lerp(self.positions[at + before], self.positions[at + after], share), clip

    def _varied(
        self,
        joints: Tensor,
        clip: Tensor,
        partner: Tensor,
        exchange: Tensor,
        mirror: Tensor,
        normals: _Columns,
    ) -> Tensor:
        """`lithepose.mocap.windows.vary_poses`; arms come from any other window of the batch."""
        settings = self.settings
        root = joints[..., 0, :]
        vectors = joints - joints[..., self.parents, :]
        lengths = self.lengths[clip]  # (B, 17)

        frame = trunk_frame(joints)  # (B, F, 3, 3)
        between = frame[partner] @ frame.transpose(-1, -2)
        ratio = lengths[:, self.arms] / lengths[partner][:, self.arms]
        given = vectors[partner][:, :, self.arms] * ratio[:, None, :, None]
        takes = (exchange < settings.exchange_arms)[:, None, None, None]
        arms = torch.where(takes, given @ between, vectors[:, :, self.arms])
        vectors = vectors.index_copy(2, self.arms, arms)

        axis = normals.take(24).unflatten(1, (8, 3))
        angle = math.radians(settings.bend) * normals.take(8)
        turns = _rotations(axis, angle).transpose(-1, -2)  # (B, 8, 3, 3)
        limbs = vectors[:, :, self.bent, None, :] @ turns[:, None]
        vectors = vectors.index_copy(2, self.bent, limbs[..., 0, :])

        stature = (STANDARD_HEIGHT_M / self.height[clip])[:, None]  # (B, 1)
        spread = normals.take(len(self.bone_mean))
        if settings.redraw_bodies:
            drawn = self.bone_mean * (1 + self.bone_spread * spread).clamp(0.7, 1.4)
            drawn = torch.cat([drawn, torch.ones_like(stature)], 1)
            scale = drawn[:, self.bone_of_joint] / lengths
            scale = torch.cat([stature, scale[:, 1:]], 1)
        else:
            scale = stature.expand(-1, 17)
        varied = _from_bones(root * scale[:, None, :1], vectors * scale[:, None, :, None])

        mirrored = varied[..., self.mirror, :] * self.to_mirror
        return torch.where((mirror < settings.mirror)[:, None, None, None], mirrored, varied)

    def _seen_by_cameras(self, joints: Tensor, uniforms: list[Tensor], normals: _Columns) -> Tensor:
        """`lithepose.mocap.windows.place_cameras`: world axes to camera axes, metres."""
        settings = self.settings
        low, high = (math.log(d) for d in settings.distance_m)
        distance = torch.exp(low + (high - low) * uniforms[0])
        azimuth = 2 * math.pi * uniforms[1]
        low, high = settings.camera_height_m
        height = low + (high - low) * uniforms[2]
        middle = joints[:, settings.frames // 2, 0]
        floor = joints[..., 2].amin((1, 2))
        position = torch.stack(
            [
                middle[:, 0] + distance * torch.cos(azimuth),
                middle[:, 1] + distance * torch.sin(azimuth),
                floor + height,
            ],
            -1,
        )
        forward = nn.functional.normalize(middle - position, dim=-1)
        miss = _rotations(normals.take(3), math.radians(settings.tilt_deg) * normals.take(1)[:, 0])
        forward = (miss @ forward[..., None])[..., 0]
        down = torch.zeros_like(forward)
        down[:, 2] = -1
        right = nn.functional.normalize(torch.linalg.cross(down, forward), dim=-1, eps=1e-6)
        below = torch.linalg.cross(forward, right)
        roll = math.radians(settings.roll_deg) * normals.take(1)
        sine, cosine = torch.sin(roll), torch.cos(roll)
        rotation = torch.stack(
            [cosine * right + sine * below, cosine * below - sine * right, forward], 1
        )
        camera = _turn(rotation, joints - position[:, None, None])
        # Someone who walks past the camera is filmed from further off.
        nearer = (0.9 - camera[..., 2].amin((1, 2))).clamp_min(0)
        away = torch.zeros_like(position)
        away[:, 2] = nearer
        return camera + away[:, None, None]

    def _blurred(self, camera: Tensor, normals: _Columns) -> Tensor:
        """`lithepose.mocap.windows.blur_definitions`."""
        columns = list(camera.unbind(-2))
        for joint, start, end, spread in _BLURRED:
            amount = spread * normals.take(1)[:, None]
            columns[joint] = columns[joint] + amount * (camera[..., end, :] - camera[..., start, :])
        return torch.stack(columns, -2)

    def _noise(
        self,
        rays: Tensor,
        camera: Tensor,
        strength: Tensor,
        normals: _Columns,
        per_frame: Tensor,
        slips: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """`lithepose.mocap.noise.DetectorNoise`: noisy rays and confidences."""
        assert self.noise is not None
        hidden = self.hidden_joints(camera)  # (B, F, 17)

        def state(name: str) -> Tensor:
            return torch.where(
                hidden, getattr(self, f"hidden_{name}"), getattr(self, f"visible_{name}")
            )

        # Two axes of slow error and the unsureness wander over time, the rest is independent.
        wandering = torch.matmul(self.mixing, per_frame[..., :3].flatten(2))
        wandering = wandering.unflatten(2, (17, 3))
        slow, unsure = wandering[..., :2], wandering[..., 2]
        share = state("burst_share")
        burst = unsure > torch.log((1 - share) / share) / 1.702
        spread = torch.where(burst, state("burst"), state("wandering"))
        error = spread[..., None] * slow + state("white")[..., None] * per_frame[..., 3:5]
        constant = normals.take(34).unflatten(1, (1, 17, 2))
        error = error + state("constant")[..., None] * constant
        low, high = self.noise.strength
        strength = (low + (high - low) * strength)[:, None, None, None]

        limbs = _limbs(rays)
        size = (limbs - limbs.mean(-2, keepdim=True)).square().sum(-1).mean(-1).sqrt()
        amount = 1 + 0.5 * normals.take(1)[:, :, None, None]
        moved = camera + self.detector_offsets(camera) * amount
        seen = moved[..., :2] / moved[..., 2:].clamp_min(0.1)
        seen = seen + strength * error * size[..., None, None]

        level = torch.sigmoid(1.702 * (0.6 * per_frame[..., 5] - 0.8 * unsure))
        confidence = torch.where(
            hidden,
            _quantiles(level, self.hidden_confidence),
            _quantiles(level, self.visible_confidence),
        )
        for index, order in enumerate((self.exchange_legs, self.exchange_arms)):
            begins = slips[..., 2 * index] < self.noise.exchange_per_s / self.rate
            lasts = slips[..., 2 * index + 1] < 0.4
            goes_on = nn.functional.pad((begins & lasts)[:, :-1], (1, 0))
            exchanged = (begins | goes_on)[..., None]
            seen = torch.where(exchanged[..., None], seen[..., order, :], seen)
            confidence = torch.where(exchanged, confidence[..., order], confidence)
        return seen, confidence

    def hidden_joints(self, camera: Tensor) -> Tensor:
        """(B, F, 17), whether something of the body lies before a joint of (B, F, 17, 3)."""
        some = camera[:, ::COVER_EVERY]
        point = some[..., self.hideable, :]
        depth = point[..., 2]
        point = point[..., :2] / depth[..., None]
        covered = torch.zeros_like(depth, dtype=torch.bool)
        for (first, second, radius), own in zip(COVERS, self.own_cover, strict=True):
            start, end = some[..., first, None, :], some[..., second, None, :]
            a = start[..., :2] / start[..., 2:]
            along = end[..., :2] / end[..., 2:] - a
            away = point - a
            share = (away * along).sum(-1) / along.square().sum(-1).clamp_min(1e-8)
            share = share.clamp(0, 1)
            nearest = start[..., 2] + share * (end - start)[..., 2]
            gap = (away - share[..., None] * along).square().sum(-1)
            close = gap * nearest.square() < radius**2
            covered = covered | (close & (nearest < depth - radius) & ~own)
        hidden = torch.zeros(*some.shape[:3], dtype=torch.bool, device=camera.device)
        hidden = hidden.index_copy(2, self.hideable, covered)
        return hidden.repeat_interleave(COVER_EVERY, 1)[:, : camera.shape[1]]

    def detector_offsets(self, camera: Tensor) -> Tensor:
        """(B, F, 17, 3) metres, camera axes: the measured offsets on this body in this pose."""
        frame = trunk_frame(camera)  # columns left, forward, up
        left, forward, trunk_up = (frame[..., None, :, i] for i in range(3))
        towards = camera[..., self.parents, :] - camera
        towards = nn.functional.normalize(towards, dim=-1, eps=1e-6)
        up = torch.where(self.is_bent, towards, trunk_up)
        metres = self.offset
        sideways = metres[:, :1] * self.side * left
        return sideways + metres[:, 1:2] * forward + metres[:, 2:] * up


class _Columns:
    """Hands out the columns of a table of random numbers, each once."""

    def __init__(self, table: Tensor):
        self.table, self.used = table, 0

    def take(self, count: int) -> Tensor:
        """(B, count), the next columns."""
        self.used += count
        if self.used > self.table.shape[1]:
            raise IndexError(f"{self.used} random numbers wanted of {self.table.shape[1]}")
        return self.table[:, self.used - count : self.used]


def look_at_person(rays: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
    """`lithepose.lifters.windows.look_at_person`: values (B, F, 17, 4), rotation (B, 3, 3)."""
    seen = confidence > 0
    rays = torch.where(seen[..., None], rays, 0.0)
    weight = _limbs(seen[..., None]).float()
    total = weight.sum((1, 2)).clamp_min(1e-6)
    middle = (_limbs(rays) * weight).sum((1, 2)) / total  # (B, 2)
    ray = nn.functional.normalize(nn.functional.pad(middle, (0, 1), value=1.0), dim=-1)
    x, y, z = ray.unbind(-1)
    inverse = 1 / (1 + z)
    rotation = torch.stack(
        [
            torch.stack([1 - x * x * inverse, -x * y * inverse, x], -1),
            torch.stack([-x * y * inverse, 1 - y * y * inverse, y], -1),
            torch.stack([-x, -y, z], -1),
        ],
        -2,
    )
    turned = rays.flatten(1, 2) @ rotation[:, :2] + rotation[:, 2:]
    turned = turned[..., :2] / turned[..., 2:].clamp_min(LEAST_DEPTH)
    turned = turned.view(rays.shape)
    limbs = _limbs(turned)
    centre = (limbs * weight).sum(2, keepdim=True) / weight.sum(2, keepdim=True).clamp_min(1e-6)
    square = ((limbs - centre).square() * weight).sum((1, 2, 3)) / total[:, 0]
    size = square.sqrt().clamp_min(LEAST_SIZE)[:, None, None]  # (B, 1, 1)
    log_size = (size.log() - LOG_SIZE_CENTRE).expand(confidence.shape)
    place = torch.where(seen[..., None], turned / size[..., None], 0.0)
    sure = torch.where(seen, confidence, 0.0)
    return torch.cat([place, sure[..., None], log_size[..., None]], -1), rotation


def _limbs(joints: Tensor) -> Tensor:
    """The twelve limb joints of (..., 17, C), by slices: no index has to reach the device."""
    return torch.cat([joints[..., 1:7, :], joints[..., 11:17, :]], -2)


def mirrored(joints: Tensor) -> Tensor:
    """`mirror_sides` and `mirror_sides` of `lithepose.lifters.windows`: (..., 17, C)."""
    other = joints[..., MIRROR.tolist(), :]
    return torch.cat([-other[..., :1], other[..., 1:]], -1)


def trunk_frame(joints: Tensor) -> Tensor:
    """`lithepose.mocap.motions.trunk_frame`: (..., 3, 3), columns left, forward, up."""
    up = nn.functional.normalize(joints[..., 8, :] - joints[..., 0, :], dim=-1, eps=1e-6)
    left = joints[..., 11, :] - joints[..., 14, :]
    left = left - (left * up).sum(-1, keepdim=True) * up
    left = nn.functional.normalize(left, dim=-1, eps=1e-6)
    return torch.stack([left, torch.linalg.cross(left, up), up], -1)


def _rotations(axis: Tensor, angle: Tensor) -> Tensor:
    """(..., 3, 3) by angles in radians (...) about axes of any length (..., 3)."""
    x, y, z = nn.functional.normalize(axis, dim=-1).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    sine, cosine = angle.sin()[..., None, None], angle.cos()[..., None, None]
    eye = torch.eye(3, device=axis.device)
    return eye + sine * cross + (1 - cosine) * (cross @ cross)


def _turn(rotation: Tensor, vectors: Tensor) -> Tensor:
    """Rotate vectors (B, ..., 3) by (B, 3, 3)."""
    return (vectors.flatten(1, -2) @ rotation.transpose(-1, -2)).view(vectors.shape)


def _from_bones(root: Tensor, vectors: Tensor) -> Tensor:
    """`lithepose.bones.from_bones`."""
    joints = [root]
    for joint in range(1, 17):
        joints.append(joints[PARENTS[joint]] + vectors[..., joint, :])
    return torch.stack(joints, -2)


def _with_midpoints(points: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
    """`lithepose.lifters.windows.with_midpoints`."""
    place, sure = list(points.unbind(-2)), list(confidence.unbind(-1))
    for joint, left, right in ((0, 4, 1), (8, 11, 14)):
        place[joint] = (place[left] + place[right]) / 2
        sure[joint] = torch.minimum(sure[left], sure[right])
    return torch.stack(place, -2), torch.stack(sure, -1)


def _quantiles(level: Tensor, values: Tensor) -> Tensor:
    """Values at levels (..., 17) in [0, 1] of distributions known by quantiles (17, 7)."""
    result = values[:, 0].expand(level.shape)
    for index in range(len(QUANTILES) - 1):
        low, high = float(QUANTILES[index]), float(QUANTILES[index + 1])
        share = ((level - low) / (high - low)).clamp(0, 1)
        result = result + share * (values[:, index + 1] - values[:, index])
    return result


def compiled(clips: DeviceClips) -> Callable[[int, torch.Generator], tuple[Tensor, Tensor]]:
    """`clips` with its arithmetic compiled: worth the minute it takes on a GPU."""
    make = torch.compile(clips.make)
    return lambda count, generator: make(*clips.numbers(count, generator))
