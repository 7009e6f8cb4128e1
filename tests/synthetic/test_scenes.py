"""Pictures of synthetic people against their truth."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lithepose.cameras import Camera
from lithepose.synthetic.appearance import random_appearance
from lithepose.synthetic.bodies import BONES, random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.movements import motion
from lithepose.synthetic.scenes import (
    Box,
    Clip,
    Scene,
    random_scene,
)

# A bone that is fixed to each of the 17 joints.
FIXED_TO = (
    "pelvis", "r_hip", "r_knee", "r_foot", "l_hip", "l_knee", "l_foot", "waist", "chest", "head",
    "head", "l_shoulder", "l_elbow", "l_hand", "r_shoulder", "r_elbow", "r_hand",
)  # fmt: skip


@pytest.fixture(scope="module")
def figure():
    rng = np.random.default_rng(4)
    return build_figure(random_body(rng), random_appearance(rng), cell=0.03, detail=1.5)


def dark_scene(camera) -> Scene:
    width, height = camera.image_size
    return Scene(
        camera=camera,
        background=np.zeros((height, width, 3), np.uint8),
        floor=np.zeros((height, width), bool),
        light=np.array([0.0, -0.6, 0.8]),
        noise=0,
        jpeg_quality=None,
        blur=0,
    )


def front_camera(size=(320, 320)):
    return Camera.looking_from((0.4, 3.5, 1.3), (0, 0, 0.9), focal_px=400, image_size=size)


def marker_figure(figure, joint):
    """Nothing but a small white ball around one joint."""
    steps = np.linspace(0, 2 * np.pi, 13)[:-1]
    heights = np.linspace(-0.999, 0.999, 9)
    ring = [
        [(np.sqrt(1 - h * h) * np.cos(a), np.sqrt(1 - h * h) * np.sin(a), h) for a in steps]
        for h in heights
    ]
    ball = np.array(ring).reshape(-1, 3)
    index = np.arange(len(ball)).reshape(9, 12)
    following = np.roll(index, -1, axis=1)
    quads = np.stack([index[:-1], following[:-1], following[1:], index[1:]], -1).reshape(-1, 4)
    weights = np.zeros((len(ball), len(BONES)))
    weights[:, BONES.index(FIXED_TO[joint])] = 1
    return replace(
        figure,
        vertices=figure.joints[joint] + 0.03 * ball,
        normals=ball,
        quads=quads,
        weights=weights,
        materials=np.zeros(len(quads), int),
        bones=np.zeros(len(quads), int),
    )


@pytest.mark.parametrize("name", ["walk", "jumping_jacks", "squat"])
def test_joints_are_drawn_where_they_project(figure, name):
    camera = front_camera()
    scene = replace(dark_scene(camera), ambient=20.0)  # all of the ball equally white
    pose = motion(name, 2.0, 10, figure.body, np.random.default_rng(0))[7]
    pose = pose - pose[0] * (1, 1, 0)
    for joint in range(17):
        picture = Clip([(marker_figure(figure, joint), pose[None])], scene, 10).frame(0)
        light = picture.astype(float).sum(-1)
        y, x = np.mgrid[:320, :320] + 0.5
        seen = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
        np.testing.assert_allclose(seen, camera.project(pose[joint]), atol=0.2, err_msg=str(joint))


def test_pictures_repeat_with_the_seed_and_change_with_it(figure):
    camera = front_camera((160, 160))
    pose = motion("wave", 1.0, 10, figure.body, np.random.default_rng(0))[:2]

    def first_frame(seed):
        scene = random_scene(camera, np.random.default_rng(seed))
        return Clip([(figure, pose)], scene, 10, seed=seed).frame(0)

    np.testing.assert_array_equal(first_frame(1), first_frame(1))
    assert (first_frame(1) != first_frame(2)).any()


def test_hidden_joints_are_told_apart(figure):
    pose = motion("walk", 1.0, 10, figure.body, np.random.default_rng(0))[0]
    pose = pose - pose[0] * (1, 1, 0)
    # From the person's right (+x): the left arm is behind the trunk, the right one is not.
    camera = Camera.looking_from((4.0, 0, 1.0), (0, 0, 0.9), focal_px=400, image_size=(320, 320))
    visible = Clip([(figure, pose[None])], dark_scene(camera), 30).truth().visible[0]
    assert visible[[14, 15, 2, 3]].all()
    assert not visible[11]
    # From behind nobody sees the nose.
    camera = Camera.looking_from((0, -4.0, 1.4), (0, 0, 1.0), focal_px=400, image_size=(320, 320))
    assert not Clip([(figure, pose[None])], dark_scene(camera), 30).truth().visible[0, 9]
    camera = Camera.looking_from((0, 4.0, 1.4), (0, 0, 1.0), focal_px=400, image_size=(320, 320))
    assert Clip([(figure, pose[None])], dark_scene(camera), 30).truth().visible[0, 9]


def test_furniture_and_other_people_hide_joints(figure):
    pose = motion("wave", 1.0, 10, figure.body, np.random.default_rng(0))[0]
    camera = front_camera()
    box = Box(centre=(0.1, 1.0), size=(1.5, 0.3, 0.7), colour=(0.5, 0.4, 0.3))
    scene = replace(dark_scene(camera), boxes=(box,))
    visible = Clip([(figure, pose[None])], scene, 30).truth().visible[0]
    assert not visible[[2, 3, 5, 6]].any()
    assert visible[[9, 11, 14]].all()

    shift = 0.8 * (camera.position - pose[0]) / np.linalg.norm(camera.position - pose[0])
    people = [(figure, pose[None]), (figure, (pose + shift * (1, 1, 0))[None])]
    clip = Clip(people, dark_scene(camera), 30)
    assert clip.truth(0).visible[0].sum() < 9 < clip.truth(1).visible[0].sum()


def test_joints_outside_the_picture_are_not_visible(figure):
    pose = motion("wave", 1.0, 10, figure.body, np.random.default_rng(0))[0]
    camera = Camera.looking_from((0, 2.0, 1.5), (0, 0, 1.5), focal_px=400, image_size=(320, 320))
    truth = Clip([(figure, pose[None])], dark_scene(camera), 30).truth()
    assert (truth.keypoints[0, [3, 6], 1] > 320).all()
    assert not truth.visible[0, [3, 6]].any()


def test_a_person_partly_behind_the_camera_is_drawn_without_harm(figure):
    pose = motion("jumping_jacks", 1.0, 10, figure.body, np.random.default_rng(0))[5]
    camera = Camera.looking_from((0.0, 0.4, 1.2), (0, 0, 1.0), focal_px=300, image_size=(120, 160))
    scene = random_scene(camera, np.random.default_rng(0))
    picture = Clip([(figure, pose[None])], scene, 10).frame(0)
    assert picture.shape == (160, 120, 3)
    assert picture.dtype == np.uint8


def test_wrong_clips_are_refused(figure):
    camera = front_camera()
    pose = figure.joints[None]
    with pytest.raises(ValueError, match="one length"):
        Clip([(figure, pose), (figure, np.repeat(pose, 2, axis=0))], dark_scene(camera), 30)
    with pytest.raises(ValueError, match="fps must be positive"):
        Clip([(figure, pose)], dark_scene(camera), 0)
    with pytest.raises(ValueError, match=r"\(T, 17, 3\)"):
        Clip([(figure, pose[0])], dark_scene(camera), 30)
    with pytest.raises(ValueError, match="coincide"):
        Camera.looking_from((0, 0, 1), (0, 0, 1), focal_px=500, image_size=(10, 10))


def test_the_code_of_the_guide_runs():
    guide = Path(__file__).parents[2] / "docs" / "guides" / "synthetic_people.md"
    for block in re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, {})
