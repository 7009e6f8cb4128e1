"""The values between the stages: how they show themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lithepose.poses import Detections, Track2D, Track3D, World, segments

TRACK = Track2D(
    person=2,
    keypoints=np.zeros((400, 33, 2)),
    confidence=np.zeros((400, 33)),
    skeleton="blazepose33",
    time_s=np.arange(400) / 29.97,
    fps=30000 / 1001,
    image_size=(1920, 1080),
)
WORLD = World(
    points=np.zeros((400, 31, 3)),
    offsets=np.zeros((19, 3)),
    markers=np.zeros((31, 3)),
    rotations=np.zeros((400, 19, 4)),
    contact=np.zeros((400, 2), bool),
    camera_rotation=np.eye(3),
    camera_position=np.zeros(3),
)
PERSON = Track3D(
    person=2,
    joints_camera=np.zeros((400, 17, 3)),
    confidence=np.zeros((400, 17)),
    keypoints_2d=np.zeros((400, 17, 2)),
    derived=np.zeros(17, bool),
    time_s=np.arange(400) / 25,
    fps=25.0,
    image_size=(640, 480),
    focal_px=640.3,
    metadata={"lifter": "x" * 1000},
)


def test_detections_show_their_people_and_joints():
    found = Detections(
        keypoints=np.zeros((2, 17, 2)),
        confidence=np.zeros((2, 17)),
        score=np.zeros(2),
        skeleton="coco17",
    )
    assert repr(found) == "Detections(coco17, keypoints=(2, 17, 2))"
    with_3d = replace(found, world=np.zeros((2, 17, 3)), person=np.arange(2))
    assert repr(with_3d) == (
        "Detections(coco17, keypoints=(2, 17, 2), world=(2, 17, 3), person=(2,))"
    )


def test_a_track_shows_whom_it_follows_and_how_long():
    assert repr(TRACK) == (
        "Track2D(person 2, blazepose33, keypoints=(400, 33, 2), 29.97 frames/s, 1920x1080)"
    )


def test_a_person_in_3d_shows_what_there_is_of_them():
    assert repr(PERSON) == (
        "Track3D(person 2, joints_camera=(400, 17, 3), 25 frames/s, 640x480, focal 640 px)"
    )
    complete = replace(PERSON, points_camera=np.zeros((400, 31, 3)), world=WORLD)
    assert repr(complete) == (
        "Track3D(person 2, joints_camera=(400, 17, 3), points_camera=(400, 31, 3), "
        "world=(400, 31, 3), 25 frames/s, 640x480, focal 640 px)"
    )


def test_a_world_shows_its_shapes_and_whether_there_is_a_path():
    assert repr(WORLD) == "World(points=(400, 31, 3), rotations=(400, 19, 4), with a path)"
    assert repr(replace(WORLD, has_path=False)).endswith(", without a path)")


def test_segments_end_at_holes_in_time():
    flags = np.array([0, 1, 1, 1, 0, 1, 1, 1, 0], bool)
    time_s = np.array([0, 0.1, 0.2, 3600, 3601, 3601.5, 3602.1, 3602.2, 3602.3])
    assert segments(flags) == [slice(1, 4), slice(5, 8)]
    found = [slice(1, 3), slice(3, 4), slice(5, 6), slice(6, 8)]
    assert segments(flags, time_s) == found
    assert segments(np.ones(5, bool), np.arange(5) * 10.0) == [slice(i, i + 1) for i in range(5)]
    assert segments(np.ones(5, bool), np.arange(5) / 2) == [slice(0, 5)]
    assert segments(np.zeros(3, bool), np.arange(3.0)) == []
