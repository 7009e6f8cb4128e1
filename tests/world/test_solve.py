"""From lifted people to a world: what is promised of it, and what each switch does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lithepose.bones import bones
from lithepose.poses import Track3D, segments
from lithepose.world.extremities import with_extremities
from lithepose.world.ground import ANKLES, Ground
from lithepose.world.rig import NODES, rig_points
from lithepose.world.solve import WorldOptions, solve_world


@pytest.fixture
def walker(film: Callable[..., Any]) -> tuple[Track3D, Any]:
    """Someone who walks, lifted with small errors, and the scene they are in."""
    scene = film("walk", seconds=3.0)
    random = np.random.default_rng(0)
    joints = scene.joints_camera + np.cumsum(random.normal(0, 0.002, (75, 1, 3)), axis=0)
    return track_of(scene, joints), scene


def track_of(scene: Any, joints: np.ndarray) -> Track3D:
    frames = len(joints)
    time_s = np.arange(frames) / scene.fps
    unseen = np.full((frames, 31, 2), np.nan)
    points, sure = with_extremities(
        joints, unseen, np.zeros((frames, 31)), time_s, scene.focal_px, scene.image_size
    )
    return Track3D(
        person=0,
        joints_camera=joints.astype(np.float32),
        confidence=np.isfinite(joints).all(-1).astype(np.float32),
        keypoints_2d=np.where(np.isfinite(joints[..., :2]), scene.keypoints, np.nan),
        derived=np.zeros(17, bool),
        time_s=time_s,
        fps=scene.fps,
        image_size=scene.image_size,
        focal_px=scene.focal_px,
        points_camera=points.astype(np.float32),
        confidence_3d=sure.astype(np.float32),
        metadata={"height_m": scene.height_m},
    )


def world_of(track: Track3D):
    assert track.world is not None
    return track.world


def test_the_world_is_upright_and_the_rig_gives_its_points(walker: tuple[Track3D, Any]):
    track, _ = walker
    solved = solve_world([track])[0]
    world = world_of(solved)
    again = rig_points(world.offsets, world.markers, world.points[:, 0], world.rotations)
    np.testing.assert_allclose(world.points, again, atol=1e-5)
    assert world.rotations.shape == (75, len(NODES), 4)
    assert np.isfinite(world.points).all()  # the rig knows where the ends of the body are
    assert world.points[..., 2].min() > -0.03
    assert world.points[:, 10, 2].max() < 1.05 * track.metadata["height_m"]
    # The camera in the scene is 1.4 m high and looks down by some seven degrees.
    assert world.camera_position == pytest.approx([0, 0, 1.4], abs=0.15)
    assert solved.metadata["world"]["pitch_deg"] == pytest.approx(-6.8, abs=2.5)
    assert world.has_path
    np.testing.assert_array_equal(solved.joints_camera, track.joints_camera)


def test_the_person_walks_as_far_as_they_did(walker: tuple[Track3D, Any]):
    track, scene = walker
    world = world_of(solve_world([track])[0])
    found = np.linalg.norm(world.points[-1, 0, :2] - world.points[0, 0, :2])
    way = scene.joints_camera[-1, 0] - scene.joints_camera[0, 0]
    assert found == pytest.approx(float(np.linalg.norm(way)), rel=0.08)


def test_standing_feet_are_still_and_bones_constant(walker: tuple[Track3D, Any]):
    track, _ = walker
    world = world_of(solve_world([track])[0])
    assert world.contact.any(0).all()
    for side, ankle in enumerate(ANKLES):
        for run in segments(world.contact[:, side]):
            foot = world.points[run, ankle]
            assert np.linalg.norm(foot - foot.mean(0), axis=-1).max() < 0.01
    # Nose and head top hang on the skull, not on each other.
    body = bones(world.points[:, :17].astype(float))[:, [*range(1, 9), *range(11, 17)]]
    lengths = np.linalg.norm(body, axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-4


def test_every_step_can_be_left_out(walker: tuple[Track3D, Any]):
    track, _ = walker
    plain = WorldOptions(smooth_hz=None, plant_feet=False, limit_joints=False)
    solved = solve_world([track], plain)[0]
    world, facts = world_of(solved), solved.metadata["world"]
    assert facts["smooth_hz"] is None
    assert not facts["feet_held"]
    assert not facts["joints_limited"]
    ground = Ground(
        up=world.camera_rotation[:, 2], camera_height_m=float(world.camera_position[2]), cues={}
    )
    # Nothing is left but a rigid turn and the path.
    poses = track.joints_camera - track.joints_camera[:, :1]
    turned = poses.astype(float) @ ground.rotation
    found = world.points[:, :17] - world.points[:, :1]
    np.testing.assert_allclose(found[:, :9], turned[:, :9], atol=2e-3)
    np.testing.assert_allclose(found[:, 11:], turned[:, 11:], atol=2e-3)


def test_what_is_told_is_used(walker: tuple[Track3D, Any]):
    track, _ = walker
    told = WorldOptions(pitch_deg=-5.0, camera_height_m=1.2)
    solved = solve_world([track], told)[0]
    facts = solved.metadata["world"]
    assert facts["pitch_deg"] == -5.0
    assert facts["roll_deg"] == 0
    assert facts["camera_height_m"] == 1.2
    assert facts["up_known"]
    assert world_of(solved).camera_position == pytest.approx([0, 0, 1.2])


@pytest.mark.parametrize(("options", "moves"), [(WorldOptions(), True), ("moving", False)])
def test_a_moving_camera_leaves_the_person_on_the_spot(
    walker: tuple[Track3D, Any], options: Any, moves: bool
):
    track, _ = walker
    if options == "moving":
        options = WorldOptions(camera="moving")
    solved = solve_world([track], options, moves=moves)[0]
    world = world_of(solved)
    assert not world.has_path
    assert not solved.metadata["world"]["path"]
    assert np.abs(world.points[:, 0, :2]).max() < 1e-4
    assert not world.contact.any()
    lowest = world.points[:, ANKLES, 2].min(1)
    np.testing.assert_allclose(lowest, lowest.mean(), atol=0.02)
    assert world.points[..., 2].min() > -0.04


def test_a_camera_said_to_be_still_is_still(walker: tuple[Track3D, Any]):
    assert world_of(solve_world([walker[0]], WorldOptions(camera="still"), moves=True)[0]).has_path


def test_people_share_one_world(walker: tuple[Track3D, Any]):
    track, scene = walker
    other = track_of(scene, scene.joints_camera + (0.8, 0, 0.5))
    other = replace(other, person=1)
    first, second = (world_of(person) for person in solve_world([track, other]))
    np.testing.assert_array_equal(first.camera_rotation, second.camera_rotation)
    np.testing.assert_array_equal(first.camera_position, second.camera_position)


def test_absences_stay_missing(walker: tuple[Track3D, Any]):
    _, scene = walker
    joints = scene.joints_camera.copy()
    joints[:5] = joints[30:40] = joints[-3:] = np.nan
    world = world_of(solve_world([track_of(scene, joints)])[0])
    gone = np.isnan(joints).all((1, 2))
    assert np.isnan(world.points[gone]).all()
    assert np.isnan(world.rotations[gone]).all()
    assert np.isfinite(world.points[~gone]).all()
    assert not world.contact[gone].any()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_moment_of_a_person_is_enough(walker: tuple[Track3D, Any], frames: int):
    _, scene = walker
    joints = np.full_like(scene.joints_camera, np.nan)
    joints[20 : 20 + frames] = scene.joints_camera[20 : 20 + frames]
    world = world_of(solve_world([track_of(scene, joints)])[0])
    assert np.isfinite(world.points[20 : 20 + frames]).all()
    assert np.isnan(world.points[:20]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pitch_deg": 95.0}, "pitch 95.0 is no tilt"),
        ({"roll_deg": float("nan")}, "roll nan is no tilt"),
        ({"camera_height_m": 1000.0}, "camera height 1000.0 m"),
        ({"smooth_hz": 0.0}, "smoothing at 0.0 Hz"),
        ({"camera": "flying"}, "known are auto, still, moving"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        WorldOptions(**options)


def test_shares_are_of_the_frames_with_the_person(film: Callable[..., Any]):
    scene = film("wave", seconds=2.0)
    joints = scene.joints_camera.copy()
    joints[25:] = np.nan
    assert solve_world([track_of(scene, joints)])[0].metadata["world"]["standing_share"] == 1.0


def test_toes_stay_over_the_floor_also_when_feet_are_not_held(walker: tuple[Track3D, Any]):
    world = world_of(solve_world([walker[0]], WorldOptions(plant_feet=False))[0])
    assert world.points[..., 2].min() > -0.05


def test_a_person_without_further_points_is_refused(walker: tuple[Track3D, Any]):
    with pytest.raises(ValueError, match="points_camera"):
        solve_world([replace(walker[0], points_camera=None)])


def test_long_clips_are_posed_in_parts_without_a_seam(
    walker: tuple[Track3D, Any], monkeypatch: pytest.MonkeyPatch
):
    whole = world_of(solve_world([walker[0]])[0])
    monkeypatch.setattr("lithepose.poses.PART_FRAMES", 20)
    monkeypatch.setattr("lithepose.poses.OVERLAP_FRAMES", 35)
    parts = world_of(solve_world([walker[0]])[0])
    np.testing.assert_allclose(parts.points, whole.points, atol=1e-5)
    np.testing.assert_allclose(parts.rotations, whole.rotations, atol=1e-3)
