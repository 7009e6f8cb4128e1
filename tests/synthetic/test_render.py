"""Pictures drawn by the batch: what is in front, where joints are, what is seen of them."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch

from lithepose.skeletons import SKELETONS
from lithepose.synthetic import render as rendering
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.crops import (
    CropSettings,
    PoseLibrary,
    SyntheticCrops,
    made_poses,
    repose,
)
from lithepose.synthetic.figure_bank import build_bank
from lithepose.synthetic.figures import POINT_BONE_INDEX, POINTS
from lithepose.synthetic.movements import motion
from lithepose.synthetic.posing import bone_transforms
from lithepose.synthetic.rasteriser import (
    Layer,
    People,
    Quads,
    affine,
    fill_z_buffer,
    pose_people,
    project,
    rasterise,
)
from lithepose.synthetic.render import HIDDEN, VISIBLE, open_assets, render

SIZE = (64, 96)
COCO = SKELETONS["coco17"]
FACE = [COCO.index(name) for name in ("nose", "left_eye", "right_eye")]


@pytest.fixture(scope="module")
def bank():
    return build_bank(2, 3, cell=0.04)


@pytest.fixture(scope="module")
def assets(bank):
    return open_assets(bank, backdrops=2, backdrop_size=32)


def drawn(bank, count, seed=0, **settings):
    crops = SyntheticCrops(bank, [(made_poses(20, 1), 1.0)], CropSettings(size=SIZE, **settings))
    batch = crops.draw(np.arange(count), np.random.default_rng(seed))
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def standing(bank, *, away=False, other=None):
    """One upright person four metres before a level camera; `other` stands that far before or
    behind on the same line of sight."""
    body = random_body(np.random.default_rng(0))
    pose = motion("wave", 1.0, 2, body, np.random.default_rng(0))[:1].astype(np.float32)
    library = PoseLibrary(joints=pose, trunk=np.array([body.trunk]),
                          shoulders=np.array([body.shoulder_width]))  # fmt: skip
    rest = bank.joints[:1].astype(float)
    joints = repose(library, np.array([0]), rest)
    if not away:  # the motion faces +y, away from the camera
        joints = joints * (-1, -1, 1)
    joints[..., 2] += 0.083 * bank.sizes[0, 0] / 1.71 - joints[..., [3, 6], 2].min()
    bones = bone_transforms(rest, bank.sizes[:1], joints)
    points = np.einsum("kij,kj->ki", bones[0, POINT_BONE_INDEX, :, :3], bank.points[0])
    points = np.concatenate([joints[0], points + bones[0, POINT_BONE_INDEX, :, 3]])
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # right, down, forward
    camera = np.array([0, -4.0, 1.0])
    points = (points - camera) @ turn.T
    seen = np.einsum("ij,bjk->bik", turn, bones[0])
    seen[..., 3] -= turn @ camera
    names = (*SKELETONS["h36m17"].joints, *POINTS)
    joints = points[[names.index(joint) for joint in COCO.joints]]
    figure = np.full((1, 3), -1)
    figure[0, 0] = 0
    all_bones = np.zeros((1, 3, *seen.shape))
    all_bones[0, 0] = seen
    if other is not None:
        # As large in the picture, but nearer or farther: nearer in everything by one factor.
        factor = (4.0 + other) / 4.0
        figure[0, 1] = 0
        all_bones[0, 1] = factor * seen
    focal = 110.0
    batch = {
        "figure": figure,
        "bones": all_bones.astype(np.float32),
        "joints": joints[None].astype(np.float32),
        "to_pixels": np.array([[[focal, 0, 32], [0, focal, 48]]], np.float32),
        "to_plane": np.array([[[1 / focal, 0, -32 / focal], [0, 1 / focal, -48 / focal]]],
                             np.float32),
        "to_frame": np.array([[[0.5, 0, 0], [0, 0.5, 0]]], np.float32),
        "up": np.array([[0.0, -1, 0]], np.float32),
        "camera_height": np.array([1.0], np.float32),
        "light": np.array([[0.0, -0.8, -0.6]], np.float32),
    }  # fmt: skip
    return {name: torch.from_numpy(value) for name, value in batch.items()}


def clear(batch, assets, monkeypatch):
    """Render without occluders."""
    front = rendering.occluders

    def nothing(*arguments):
        fill, cover = front(*arguments)
        return fill, torch.zeros_like(cover)

    monkeypatch.setattr(rendering, "occluders", nothing)
    return render(assets, batch, torch.Generator().manual_seed(1), size=SIZE)


def test_pictures_have_their_form_and_their_range(bank, assets):
    batch = drawn(bank, 3)
    images, joints, visible = render(assets, batch, torch.Generator().manual_seed(1), size=SIZE)
    assert images.shape == (3, 3, 96, 64)
    assert images.dtype == torch.float32
    assert joints.shape == (3, 17, 2)
    assert visible.shape == (3, 17)
    assert 0 <= images.min() < images.max() <= 1
    assert images.std((1, 2, 3)).min() > 0.01


def test_the_same_seed_draws_the_same_pictures(bank, assets):
    batch = drawn(bank, 3)

    def again(seed):
        return render(assets, batch, torch.Generator().manual_seed(seed), size=SIZE)

    first, second, other = again(1), again(1), again(2)
    for one, same in zip(first, second, strict=True):
        assert torch.equal(one, same)
    assert not torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])  # where joints are is not chance's


def test_joints_are_where_the_camera_projects_them(bank, assets, monkeypatch):
    batch = standing(bank)
    _, joints, _ = clear(batch, assets, monkeypatch)
    x, y, z = batch["joints"][0].T
    expected = torch.stack([110 * x / z + 32, 110 * y / z + 48], -1)
    torch.testing.assert_close(joints[0], expected)


def test_joints_lie_on_the_drawn_body(bank, assets):
    batch = drawn(bank, 12, others=(1.0, 0.0, 0.0))
    layer = rasterise(assets, pose_people(assets, batch), batch["to_pixels"], SIZE)
    number, surface = layer.nearest()
    pixels = affine(batch["to_pixels"], project(batch["joints"]))
    depth = batch["joints"][..., 2]
    limbs = [COCO.index(f"{side}_{joint}") for side in ("left", "right")
             for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip
    looked = 0
    for picture in range(12):
        for joint in limbs:
            x, y = (2 * pixels[picture, joint]).floor().long().tolist()
            if 0 <= x < 2 * 64 and 0 <= y < 2 * 96:
                looked += 1
                at = picture, y, x
                assert number[at] < len(layer.quads.quad)  # inside of the silhouette
                assert surface[at] < depth[picture, joint] + 0.03  # and the skin before the joint
    assert looked > 80


def test_the_silhouette_is_that_of_the_posed_vertices(bank, assets):
    batch = standing(bank)
    people = pose_people(assets, batch)
    layer = rasterise(assets, people, batch["to_pixels"], SIZE)
    hit = layer.nearest()[0][0] < len(layer.quads.quad)
    at = 2 * affine(batch["to_pixels"], project(people.points))[0]
    rows, columns = hit.any(1).nonzero()[:, 0], hit.any(0).nonzero()[:, 0]
    used = at[assets.quads[0].long().unique()]
    assert abs(rows[0] - used[:, 1].min()) < 2
    assert abs(rows[-1] + 1 - used[:, 1].max()) < 2
    assert abs(columns[0] - used[:, 0].min()) < 2
    assert abs(columns[-1] + 1 - used[:, 0].max()) < 2
    # No cracks: between shoulders and hips all samples are hit.
    joints = 2 * affine(batch["to_pixels"], project(batch["joints"]))[0]
    corners = joints[[COCO.index(f"{side}_{joint}") for side in ("left", "right")
                      for joint in ("shoulder", "hip")]]  # fmt: skip
    top, bottom = corners[[0, 2], 1].max().ceil().long(), corners[[1, 3], 1].min().long()
    left, right = corners[1:4:2, 0].min().ceil().long(), corners[1:4:2, 0].max().long()
    assert hit[top:bottom, left:right].all()
    assert bottom - top > 20


def quads_by_hand(*corners_and_depths):
    corners = torch.tensor([corners for corners, _ in corners_and_depths])
    count = len(corners)
    zero = torch.zeros(count, dtype=torch.long)
    low = torch.ceil(corners.amin(1) - 0.5)
    return Quads(
        person=zero, picture=zero, quad=zero, vertices=zero[:, None], corners=corners,
        low=low.long(), extent=(torch.floor(corners.amax(1) - 0.5) - low + 1).long(),
        depth=torch.tensor([depth for _, depth in corners_and_depths]),
    )  # fmt: skip


def test_quads_cover_the_samples_inside_them_and_the_nearer_one_wins():
    # Clockwise as seen in the picture, x right and y down: it faces the camera.
    square = [[1.0, 1.0], [1.0, 4.0], [4.0, 4.0], [4.0, 1.0]]
    slanted = [[2.0, 0.0], [2.0, 3.0], [6.0, 7.0], [6.0, 4.0]]
    quads = quads_by_hand((square, 2.0), (slanted, 1.0))
    people = cast(People, None)  # not asked for
    number, depth = Layer(people, quads, (4, 4), fill_z_buffer(quads, 1, (4, 4))).nearest()
    assert depth[number == 1].unique().tolist() == pytest.approx([1.0])
    number = torch.where(number == 2, 9, number)[0]
    # Sample (x, y) is at (x + 0.5, y + 0.5). The slanted one reaches from y = x - 2 to y = x + 1.
    expected = torch.full((8, 8), 9)
    expected[1:4, 1:4] = 0
    for x in range(2, 6):
        for y in range(8):
            if x - 2 <= y <= x + 1:
                expected[y, x] = 1
    on_edge = {(2, 0), (3, 1), (4, 2), (5, 3), (2, 3), (3, 4), (4, 5), (5, 6)}
    for y in range(8):
        for x in range(8):
            if (x, y) not in on_edge:
                assert number[y, x] == expected[y, x], (x, y)


def test_who_stands_in_front_hides_and_who_stands_behind_does_not(bank, assets, monkeypatch):
    _, _, alone = clear(standing(bank), assets, monkeypatch)
    _, _, behind = clear(standing(bank, other=1.5), assets, monkeypatch)
    _, _, before = clear(standing(bank, other=-1.5), assets, monkeypatch)
    assert torch.equal(alone, behind)
    assert (alone == VISIBLE).sum() >= 13
    assert (before == HIDDEN).sum() >= 15  # all but joints on the rim


def test_faces_are_hidden_by_the_back_of_the_head(bank, assets, monkeypatch):
    _, _, facing = clear(standing(bank), assets, monkeypatch)
    _, _, away = clear(standing(bank, away=True), assets, monkeypatch)
    assert (facing[0, FACE] == VISIBLE).all()
    assert (away[0, FACE] == HIDDEN).all()


def test_joints_beyond_the_frame_are_not_in_the_picture_which_is_black_there(
    bank, assets, monkeypatch
):
    batch = standing(bank)
    # The frame ends at y = 0.1 of the plane, 11 pixels below the middle.
    batch["to_frame"] = torch.tensor([[[0.5, 0, 0], [0, 1 / 1.1, 1 - 0.1 / 1.1]]])
    images, joints, visible = clear(batch, assets, monkeypatch)
    assert (visible[0, joints[0, :, 1] > 60] == 0).all()
    assert (visible[0, joints[0, :, 1] < 58] > 0).all()
    assert images[0, :, 60:].max() == 0
    assert images[0, :, :58].max() > 0


def testoccluders_hide_what_they_cover(bank, assets, monkeypatch):
    front = rendering.occluders

    def lower_half(*arguments):
        fill, cover = front(*arguments)
        cover = torch.zeros_like(cover)
        cover[:, :, 48:] = 1
        return fill, cover

    monkeypatch.setattr(rendering, "occluders", lower_half)
    batch = standing(bank)
    _, joints, visible = render(assets, batch, torch.Generator().manual_seed(1), size=SIZE)
    assert (visible[0, joints[0, :, 1] > 48] == HIDDEN).all()
    assert (visible[0, FACE] == VISIBLE).all()


def test_batches_that_cannot_be_drawn_are_refused(bank, assets):
    batch = drawn(bank, 2)
    generator = torch.Generator()
    with pytest.raises(ValueError, match="has no bones, light"):
        render(assets, {k: v for k, v in batch.items() if k not in ("bones", "light")}, generator)
    with pytest.raises(ValueError, match="mpii16 has 16 joints and the batch 17"):
        render(assets, batch, generator, size=SIZE, skeleton="mpii16")
    with pytest.raises(ValueError, match="multiples of 8"):
        render(assets, batch, generator, size=(60, 60))
    with pytest.raises(ValueError, match="no pictures"):
        render(assets, {name: value[:0] for name, value in batch.items()}, generator, size=SIZE)
