"""Training pictures of synthetic people, drawn on the device that trains, many at once.

`SyntheticCrops` (`lithepose.synthetic.crops`) says who stands how before which camera; here
that becomes pictures. Everything that is colour is drawn here, from the generator that is passed
in: skin, hair and clothes, textures, light, floor and wall, occluders, and what a camera does to a
picture. The same seed gives the same pictures on the same device, for the same size of chunks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor

from lithepose.skeletons import skeleton_named
from lithepose.synthetic.backdrops import backdrop, occluders, paint_backdrops
from lithepose.synthetic.batch_rng import BatchRng
from lithepose.synthetic.camera_effects import camera_effects
from lithepose.synthetic.figure_bank import MeshBank
from lithepose.synthetic.paint import paint, sample_light, sample_looks
from lithepose.synthetic.rasteriser import (
    NEAREST,
    RenderAssets,
    affine,
    hidden_joints,
    over_pixels,
    pose_people,
    project,
    rasterise,
    square,
)

HIDDEN, VISIBLE = 1, 2  # as in COCO; 0 is outside the picture
_NEEDED = (
    "figure", "bones", "joints", "to_pixels", "to_plane", "to_frame", "up", "camera_height",
    "light",
)  # fmt: skip


def open_assets(
    bank: MeshBank,
    device: torch.device | str = "cpu",
    *,
    backdrops: int = 256,
    backdrop_size: int = 256,
    seed: int = 0,
) -> RenderAssets:
    """Move a bank to a device and paint backdrops there.

    Args:
        backdrops: how many; each picture shows pieces of three of them.
        backdrop_size: side in pixels.
        seed: of the backdrops.
    """
    device = torch.device(device)
    generator = torch.Generator(device=device).manual_seed(seed)
    numbers = np.arange(len(bank))[:, None]
    middles = np.zeros((*bank.quads.shape[:2], 3), np.float32)
    for corner in range(4):
        middles += bank.vertices[numbers, bank.quads[:, :, corner]].astype(np.float32) / 4

    def put(array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    arrays = {field.name: put(getattr(bank, field.name)) for field in fields(MeshBank)}
    return RenderAssets(
        **arrays,
        middles=put(middles.astype(np.float16)),
        backdrops=paint_backdrops(backdrops, backdrop_size, generator),
    )


@torch.no_grad()
def render(
    assets: RenderAssets,
    batch: Mapping[str, Tensor],
    generator: torch.Generator,
    *,
    size: tuple[int, int] = (256, 256),
    skeleton: str = "coco17",
    chunk: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw a batch of pictures.

    Args:
        batch: what `SyntheticCrops.draw` gives, as tensors on the device of the assets.
        generator: on that device.
        size: (width, height) in pixels; the one the crops were drawn for.
        skeleton: the joints the crops were drawn for.
        chunk: pictures drawn at once, which bounds the memory: about 60 MB per picture. By default
            128 on a GPU, where fewer would not keep it busy, and 8 on a processor.
    Returns:
        images (B, 3, H, W) float32 in [0, 1]; joints (B, J, 2) pixels, x right, y down, the centre
        of the top-left pixel at (0.5, 0.5); visible (B, J) uint8, as COCO marks it: 2 seen, 1
        hidden by the body itself, by others or by occluders, 0 outside the picture.
    Raises:
        ValueError: the batch lacks an array, lies on another device or is for other joints.
    """
    _check(assets, batch, size, skeleton)
    count = len(batch["figure"])
    chunk = chunk or (8 if assets.device.type == "cpu" else 128)
    results = []
    # The posed skin needs all of its digits, whatever the network is trained in.
    with torch.autocast(assets.device.type, enabled=False):
        for start in range(0, count, chunk):
            part = {name: value[start : start + chunk] for name, value in batch.items()}
            results.append(_render(assets, part, generator, size, skeleton))
    images, joints, visible = (torch.cat(parts) for parts in zip(*results, strict=True))
    return images, joints, visible


def _check(
    assets: RenderAssets, batch: Mapping[str, Tensor], size: tuple[int, int], skeleton: str
) -> None:
    missing = [name for name in _NEEDED if name not in batch]
    if missing:
        raise ValueError(f"the batch has no {', '.join(missing)}: draw it with SyntheticCrops")
    if len(batch["figure"]) == 0:
        raise ValueError("the batch has no pictures")
    where = batch["figure"].device
    if where.type != assets.device.type:
        raise ValueError(f"the batch is on {where}, the assets on {assets.device}: move one")
    wanted, found = len(skeleton_named(skeleton)), batch["joints"].shape[1]
    if wanted != found:
        raise ValueError(
            f"{skeleton} has {wanted} joints and the batch {found}: draw and render the same set"
        )
    if min(size) < 8 or size[0] % 8 or size[1] % 8:
        raise ValueError(f"width and height must be multiples of 8, got {size}")


def _render(
    assets: RenderAssets,
    batch: Mapping[str, Tensor],
    generator: torch.Generator,
    size: tuple[int, int],
    skeleton: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """`render` for one chunk."""
    rng = BatchRng(len(batch["figure"]), generator)
    light = sample_light(batch, rng)
    layer = rasterise(assets, pose_people(assets, batch), batch["to_pixels"], size)
    looks = sample_looks(BatchRng(len(layer.people.figure), generator))
    colour, cover = layer.colours(paint(assets, batch, layer, light, looks))
    picture = backdrop(assets, batch, layer.people, light, rng, size)
    picture = torch.addcmul(colour, 1 - cover, picture)
    front, front_cover = occluders(assets, rng, size)
    picture = camera_effects(torch.lerp(picture, front, front_cover), rng)

    plane = project(batch["joints"])
    joints = affine(batch["to_pixels"], plane)
    aside, down = (batch["to_frame"] @ square(batch["to_plane"])).unbind(1)
    inside = (over_pixels(aside, size).abs() < 1) & (over_pixels(down, size).abs() < 1)
    picture = picture * inside[:, None]

    limits = torch.tensor(size, device=assets.device)
    depth = batch["joints"][..., 2]
    inside = ((joints >= 0) & (joints < limits)).all(-1)
    inside &= affine(batch["to_frame"], plane).abs().amax(-1) < 1
    inside &= depth > NEAREST
    pixel = joints.nan_to_num().floor().long().clamp(min=0).minimum(limits - 1)
    which = torch.arange(len(joints), device=assets.device)[:, None]
    hidden = front_cover[which, 0, pixel[..., 1], pixel[..., 0]] > 0.5
    hidden |= hidden_joints(assets, layer, joints, depth, skeleton)
    visible = torch.where(inside, torch.where(hidden, HIDDEN, VISIBLE), 0).to(torch.uint8)
    return picture.clamp(0, 1), joints, visible
