"""Projection, distortion, rays and the rotations between world and camera."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from lithepose.cameras import (
    Camera,
    camera_to_world,
    denormalise_pixels,
    focal_from_fov,
    focal_of_35mm,
    look_at,
    normalise_pixels,
    project,
    project_distorted,
    rotation_to_ray,
    undistort,
    unproject,
    world_to_camera,
)
from lithepose.rotations import from_quaternions

# The first camera of Human3.6M: strong enough distortion to matter.
FOCAL = (1145.0494384765625, 1143.7811279296875)
CENTRE = (512.54150390625, 515.4514770507812)
RADIAL = (-0.20709891617298126, 0.24777518212795258, -0.0030751503072679043)
TANGENTIAL = (-0.0009756988729350269, -0.00142447161488235)


def make_camera(**changes) -> Camera:
    position = np.array([1.0, -4.0, 1.5])
    values = {
        "focal_px": FOCAL,
        "centre_px": CENTRE,
        "image_size": (1000, 1002),
        "rotation": look_at(position, [0.0, 0.0, 1.0]),
        "position": position,
    }
    return Camera(**{**values, **changes})


def unit_directions(count: int) -> np.ndarray:
    rays = np.random.default_rng(0).normal(size=(count, 3))
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def test_a_point_projects_where_similar_triangles_put_it():
    # 1 m right and 2 m up at 4 m: 100 * (1 / 4) + 50 = 75, 200 * (-2 / 4) + 60 = -40.
    np.testing.assert_allclose(project(np.array([1.0, -2.0, 4.0]), (100, 200), (50, 60)), (75, -40))


def test_points_behind_the_camera_have_no_pixel():
    points = np.array([[0.1, 0.1, 1.0], [0.1, 0.1, 0.0], [0.1, 0.1, -1.0], [np.nan] * 3])
    pixels = project(points, 100.0, (0.0, 0.0))
    assert np.isnan(pixels).all(axis=-1).tolist() == [False, True, True, True]
    distorted = project_distorted(points, FOCAL, CENTRE, RADIAL, TANGENTIAL)
    assert np.isnan(distorted).all(axis=-1).tolist() == [False, True, True, True]


def test_unproject_undoes_project_for_any_leading_axes():
    points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 6), size=(2, 3, 17, 3))
    pixels = project(points, FOCAL, CENTRE)
    np.testing.assert_allclose(unproject(pixels, FOCAL, CENTRE, points[..., 2]), points, atol=1e-12)


def test_distortion_matches_the_formula_written_out():
    x, y, z = 0.4, -0.3, 2.0
    u, v = x / z, y / z
    r2 = u * u + v * v
    k1, k2, k3 = RADIAL
    px, py = TANGENTIAL
    gain = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + px * u + py * v
    expected = (
        FOCAL[0] * (u * gain + px * r2) + CENTRE[0],
        FOCAL[1] * (v * gain + py * r2) + CENTRE[1],
    )
    pixels = project_distorted(np.array([x, y, z]), FOCAL, CENTRE, RADIAL, TANGENTIAL)
    np.testing.assert_allclose(pixels, expected, rtol=1e-14)


def test_without_coefficients_the_lens_is_a_pinhole():
    points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 6), size=(5, 3))
    np.testing.assert_array_equal(
        project_distorted(points, FOCAL, CENTRE, (0, 0, 0), (0, 0)), project(points, FOCAL, CENTRE)
    )


def test_undistort_undoes_distortion_over_the_whole_image():
    grid = np.stack(np.meshgrid(np.linspace(0, 1000, 21), np.linspace(0, 1002, 21)), axis=-1)
    clean = undistort(grid, FOCAL, CENTRE, RADIAL, TANGENTIAL)
    again = project_distorted(unproject(clean, FOCAL, CENTRE), FOCAL, CENTRE, RADIAL, TANGENTIAL)
    np.testing.assert_allclose(again, grid, atol=1e-6)
    assert np.abs(clean - grid).max() > 5  # the lens does something


@pytest.mark.shared
def test_projection_of_recorded_human36m_poses_meets_their_pixels(shared):
    with shared("samples/h36m/cameras.pkl").open("rb") as file:
        cameras = pickle.load(file)
    with np.load(shared("samples/h36m/test_h36m_body3d.npz")) as data:
        names, pixels, points = data["imgname"], data["part"], data["S"]
    for name, seen, pose in zip(names, pixels, points, strict=True):
        camera = cameras[name.split("/")[0], name.split(".")[1].split("/")[0]]
        result = project_distorted(
            pose[:, :3].astype(np.float64),
            camera["f"].ravel(),
            camera["c"].ravel(),
            camera["k"].ravel(),
            camera["p"].ravel()[::-1],  # these files list py before px
        )
        np.testing.assert_allclose(result, seen[:, :2], atol=1e-3)


@pytest.mark.shared
def test_projection_of_recorded_3dhp_poses_meets_their_pixels(shared):
    with shared("samples/mpi_inf_3dhp/cameras_train.pkl").open("rb") as file:
        cameras = pickle.load(file)
    with shared("samples/mpi_inf_3dhp/cameras_test.pkl").open("rb") as file:
        cameras |= pickle.load(file)
    for part in ("train", "test"):
        with np.load(shared(f"samples/mpi_inf_3dhp/test_3dhp_{part}.npz")) as data:
            names, pixels, points = data["imgname"], data["part"], data["S"]
        for name, seen, pose in zip(names, pixels, points, strict=True):
            camera = cameras[name.rsplit("_", 1)[0]]
            result = project(pose[:, :3], camera["f"].ravel(), camera["c"].ravel())
            # The annotations themselves are not exact projections.
            assert np.linalg.norm(result - seen[:, :2], axis=-1).mean() < 2.0


def test_world_to_camera_and_back_is_the_identity():
    camera = make_camera()
    points = np.random.default_rng(0).normal(size=(4, 17, 3))
    np.testing.assert_allclose(
        camera.camera_to_world(camera.world_to_camera(points)), points, atol=1e-12
    )


def test_cameras_may_differ_along_the_batch():
    positions = np.random.default_rng(0).normal((0, -5, 0), size=(4, 1, 3))
    rotations = look_at(positions, np.zeros(3))
    points = np.random.default_rng(1).normal(size=(4, 17, 3))
    batch = world_to_camera(points, rotations, positions)
    for i in range(4):
        one = world_to_camera(points[i], rotations[i, 0], positions[i, 0])
        np.testing.assert_allclose(batch[i], one, atol=1e-12)
    np.testing.assert_allclose(camera_to_world(batch, rotations, positions), points, atol=1e-12)


def test_a_camera_sees_its_target_in_the_centre_and_the_sky_above():
    camera = make_camera()
    target, higher = np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.5])
    np.testing.assert_allclose(camera.project(target), CENTRE, atol=1e-9)
    assert camera.project(higher)[1] < CENTRE[1]
    assert camera.project(higher)[0] == pytest.approx(CENTRE[0])
    # From (1, -4) looking north, east is on the right.
    assert camera.project(np.array([0.5, 0.0, 1.0]))[0] > CENTRE[0]


def test_the_cameras_own_lens_is_used():
    camera = make_camera(radial=RADIAL, tangential=TANGENTIAL)
    points = np.random.default_rng(0).uniform(-0.5, 0.5, size=(17, 3))
    expected = project_distorted(camera.world_to_camera(points), FOCAL, CENTRE, RADIAL, TANGENTIAL)
    np.testing.assert_array_equal(camera.project(points), expected)


def test_rolling_the_camera_clockwise_turns_the_picture_the_other_way():
    position, target = np.array([0.0, -4.0, 1.0]), np.array([0.0, 0.0, 1.0])
    above = np.array([0.0, 0.0, 2.0])
    rolled = world_to_camera(above, look_at(position, target, 90.0), position)
    # The point above stood at the top; counter-clockwise by a quarter it stands at the left.
    np.testing.assert_allclose(rolled, (-1, 0, 4), atol=1e-12)


@pytest.mark.parametrize("up", [1.0, -1.0])
def test_looking_along_the_vertical_still_gives_a_rotation(up):
    rotation = look_at([0.0, 0.0, 0.0], [0.0, 0.0, up])
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    np.testing.assert_allclose(rotation[0], (1, 0, 0))


def test_rotation_to_ray_takes_the_view_axis_to_the_direction_without_roll():
    rays = unit_directions(200).reshape(10, 20, 3)
    rotation = rotation_to_ray(rays)
    np.testing.assert_allclose(rotation[..., 2], rays, atol=1e-12)
    np.testing.assert_allclose(
        rotation @ np.swapaxes(rotation, -1, -2),
        np.broadcast_to(np.eye(3), rotation.shape),
        atol=1e-10,
    )
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0, atol=1e-10)
    # Minimal: the angle of the rotation (from its trace) is the angle to the view axis.
    cosine = (np.trace(rotation, axis1=-2, axis2=-1) - 1) / 2
    np.testing.assert_allclose(cosine, rays[..., 2], atol=1e-10)
    # About an axis in the image plane, which it leaves alone.
    axis = np.stack([-rays[..., 1], rays[..., 0], np.zeros_like(rays[..., 0])], axis=-1)
    np.testing.assert_allclose(np.einsum("...ij,...j->...i", rotation, axis), axis, atol=1e-10)


def test_rotation_to_ray_handles_the_ends_of_the_axis_and_missing_directions():
    directions = np.array([[0, 0, 5.0], [0, 0, -1.0], [0, 0, 0], [np.nan, 0, 1]])
    rotation = rotation_to_ray(directions)
    np.testing.assert_array_equal(rotation[0], np.eye(3))
    np.testing.assert_array_equal(rotation[1], np.diag([1.0, -1.0, -1.0]))
    assert np.isnan(rotation[2]).all()
    assert np.isnan(rotation[3]).any()


def test_the_virtual_camera_sees_the_person_in_its_centre():
    person = np.array([1.5, 0.4, 3.0])
    virtual = rotation_to_ray(person).T @ person
    np.testing.assert_allclose(virtual, (0, 0, float(np.linalg.norm(person))), atol=1e-12)


def test_a_published_human36m_orientation_stands_upright():
    # Camera 0 of subject 1: its y axis must point to the floor, its z axis towards the origin.
    orientation = [
        0.1407056450843811,
        -0.1500701755285263,
        -0.755240797996521,
        0.6223280429840088,
    ]
    rotation = from_quaternions(np.array(orientation)).T
    position = np.array([1.8411070556640625, 4.95528466796875, 1.5634454345703125])
    assert rotation[1, 2] < -0.9
    assert rotation[2] @ (-position) > 0.9 * np.linalg.norm(position)


def test_focal_length_from_the_field_of_view():
    # 90 degrees over 1000 pixels: half the side at 45 degrees, so 500.
    assert focal_from_fov(90, (1000, 600)) == pytest.approx(500)


def test_screen_coordinates_span_the_width_and_keep_the_aspect():
    corners = np.array([[0.0, 0.0], [1000.0, 500.0], [500.0, 250.0]])
    screen = normalise_pixels(corners, (1000, 500))
    np.testing.assert_allclose(screen, [(-1, -0.5), (1, 0.5), (0, 0)])
    np.testing.assert_allclose(denormalise_pixels(screen, (1000, 500)), corners)


def test_float32_points_stay_float32():
    points = np.ones((2, 17, 3), dtype=np.float32)
    assert project(points, FOCAL, CENTRE).dtype == np.float32
    assert project_distorted(points, FOCAL, CENTRE, RADIAL, TANGENTIAL).dtype == np.float32
    assert rotation_to_ray(points).dtype == np.float32
    assert normalise_pixels(points[..., :2], (1000, 1000)).dtype == np.float32


def test_bad_cameras_and_angles_are_named():
    with pytest.raises(ValueError, match="not orthonormal"):
        make_camera(rotation=np.ones((3, 3)))
    with pytest.raises(ValueError, match="mirrors"):
        make_camera(rotation=np.diag([-1.0, 1.0, 1.0]))
    with pytest.raises(ValueError, match=r"\(3, 3\) rotation and .*found \(2, 2\)"):
        make_camera(rotation=np.eye(2))
    with pytest.raises(ValueError, match="focal lengths must be positive"):
        make_camera(focal_px=(0.0, 1.0))
    with pytest.raises(ValueError, match="coincide"):
        look_at([1.0, 2, 3], [1.0, 2, 3])
    with pytest.raises(ValueError, match=r"points_camera must be \(\.\.\., 3\); found \(17, 2\)"):
        project(np.zeros((17, 2)), 1.0, (0, 0))
    with pytest.raises(ValueError, match="between 0 and 180 degrees; found 180"):
        focal_from_fov(180, (10, 10))
    with pytest.raises(ValueError, match=r"\(width, height\)"):
        focal_from_fov(60, (0, 10))


def test_a_focal_length_as_on_film_spans_the_same_diagonal():
    # 43.27 mm is the diagonal of the film: half of it away, the diagonal spans a right angle.
    focal = focal_of_35mm(np.hypot(36, 24) / 2, (1920, 1080))
    assert focal == pytest.approx(np.hypot(1920, 1080) / 2)
    assert focal_of_35mm(26, (1080, 1920)) == focal_of_35mm(26, (1920, 1080))
