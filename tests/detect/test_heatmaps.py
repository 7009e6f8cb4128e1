"""Crops, targets and decoding, against recorded numbers of MMPose 0.29 and by round trips."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from lithepose.detect.heatmaps import (
    Decoder,
    Encoding,
    crop,
    crop_matrix,
    decode,
    encode,
    frame_boxes,
    geometry_of,
    mirror_heatmaps,
    normalise_images,
    to_picture,
    transform_points,
)

BOX = np.array([280.79, 44.73, 218.7, 346.68])
SQUARE, UPRIGHT = (256, 256), (192, 256)
JOINT = np.array([[101.3, 77.8]])
SEEN = np.ones(1)


def test_boxes_become_regions_of_the_input_shape():
    centre, size = frame_boxes(BOX, SQUARE)
    np.testing.assert_allclose(centre, [390.14, 218.07])
    np.testing.assert_allclose(size, [433.35, 433.35])
    np.testing.assert_allclose(frame_boxes(BOX, UPRIGHT)[1], [325.0125, 433.35])
    # A wide box grows in height: 400 x 100 at 3:4 is 400 x 533.3, padded 500 x 666.7.
    np.testing.assert_allclose(frame_boxes([[0, 0, 400, 100]], UPRIGHT)[1], [[500, 2000 / 3]])


@pytest.mark.parametrize(
    ("input_size", "rotation", "geometry", "expected"),
    [
        (SQUARE, 0, "standard", [[0.59074654, 0, -102.473865], [0, 0.59074654, -0.824103]]),
        (
            SQUARE,
            30,
            "standard",
            [[0.51160155, 0.29537329, -136.008293], [-0.29537329, 0.51160155, 131.671980]],
        ),
        (UPRIGHT, 0, "standard", [[0.59074654, 0, -134.473865], [0, 0.59074654, -0.824103]]),
        (SQUARE, 0, "udp", [[0.58843893, 0, -102.073578], [0, 0.58843893, -0.820884]]),
        # UDP's own code turns the other way.
        (
            SQUARE,
            -30,
            "udp",
            [[0.50960308, -0.29421946, -7.156102], [0.29421946, 0.50960308, -98.415924]],
        ),
    ],
)
def test_matrices_equal_recorded_ones(input_size, rotation, geometry, expected):
    matrix = crop_matrix(*frame_boxes(BOX, input_size), input_size, rotation, geometry)
    np.testing.assert_allclose(matrix, expected, atol=1e-4)  # recorded in single precision


def test_matrices_of_many_people_are_those_of_each():
    centres, sizes = frame_boxes(np.stack([BOX, BOX + 7]), SQUARE)
    turns = np.array([0.0, 30.0])
    both = crop_matrix(centres, sizes, SQUARE, turns)
    for i in range(2):
        one = crop_matrix(centres[i], sizes[i], SQUARE, turns[i])
        np.testing.assert_array_equal(both[i], one)
    matrix = crop_matrix(*frame_boxes(BOX, SQUARE), SQUARE)
    point = transform_points(matrix, np.array([[367.0, 81.0]]))
    np.testing.assert_allclose(point, [[114.330116, 47.026367]], atol=1e-5)


def test_a_crop_shows_the_picture_where_the_matrix_says():
    picture = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(picture, (210, 120), 12, (250, 120, 10), -1, cv2.LINE_AA)
    matrix = crop_matrix(np.array([200.0, 150.0]), np.array([200.0, 200.0]), SQUARE, 40.0)
    shown = crop(picture, matrix, SQUARE)
    assert shown.shape == (256, 256, 3)
    mass = shown[..., 0].astype(float)
    middle = [(mass * np.arange(256)).sum(), (mass.T * np.arange(256)).sum()] / mass.sum()
    expected = transform_points(matrix, np.array([[210.0, 120.0]]))[0]
    np.testing.assert_allclose(middle, expected, atol=0.1)
    assert crop(picture, matrix + [[0, 0, 900], [0, 0, 0]], SQUARE).max() == 0  # black outside


def test_images_are_normalised_as_imagenet_networks_expect():
    image = np.full((1, 4, 4, 3), [255, 0, 128], np.uint8)
    out = normalise_images(image)
    assert out.shape == (1, 3, 4, 4)
    assert out.dtype == np.float32
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(out[0, :, 2, 1], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("encoding", "values", "total"),
    [
        ("msra", {(25, 19): 1, (24, 20): 0.7788007, (25, 13): 0.0111090, (25, 12): 0}, 25.081291),
        ("dark", {(25, 19): 0.9622167, (24, 20): 0.7731628, (25, 13): 0.0054425}, 25.132742),
        ("udp", {(25, 19): 0.9938128, (24, 20): 0.8124694}, 25.07938),
    ],
)
def test_targets_equal_recorded_ones(encoding: Encoding, values, total):
    heatmaps, weights = encode(JOINT, SEEN, SQUARE, encoding)
    assert heatmaps.shape == (1, 64, 64)
    assert weights == 1
    for (x, y), value in values.items():
        assert heatmaps[0, y, x] == pytest.approx(value, abs=1e-6)
    assert heatmaps.sum() == pytest.approx(total, abs=1e-4)


def test_targets_at_the_border_are_cut_and_beyond_it_dropped():
    heatmaps, weights = encode(np.array([[2.0, 250.0]]), SEEN, SQUARE)
    assert weights == 1
    assert np.unravel_index(heatmaps[0].argmax(), (64, 64)) == (63, 1)
    assert heatmaps.sum() == pytest.approx(11.675457, abs=1e-4)
    # Six heatmap pixels, 24 of the input, is as far as a window reaches.
    joints = np.array([[-25.0, 100.0], [-30.0, 100.0], [100.0, 277.0], [100.0, 283.0]])
    for encoding in ("msra", "dark", "udp"):
        heatmaps, weights = encode(joints, np.ones(4), SQUARE, encoding)
        assert weights.tolist()[1::2] == [0, 0], encoding
        assert heatmaps[1::2].max() == 0
    _, weights = encode(joints, np.ones(4), SQUARE)
    assert weights.tolist() == [1, 0, 1, 0]


def test_unknown_joints_have_no_target_wherever_they_are():
    joints = np.array([[[100.0, 100.0], [np.nan, np.nan]]])
    heatmaps, weights = encode(joints, np.array([[0.0, 0.0]]), UPRIGHT)
    assert heatmaps.shape == (1, 2, 64, 48)
    assert heatmaps.max() == 0
    assert weights.max() == 0
    _, weights = encode(joints, np.array([[1.5, 0.0]]), UPRIGHT)
    assert weights.tolist() == [[1.5, 0.0]]


@pytest.mark.parametrize(
    ("encoding", "decoder", "expected"),
    [
        ("msra", "quarter", (342.742371, 130.045776)),
        ("msra", "dark", (342.742371, 130.045776)),
        ("dark", "quarter", (344.435120, 131.738586)),
        ("dark", "dark", (344.941833, 133.090851)),
        ("udp", "udp", (345.615479, 133.609467)),
    ],
)
def test_decoded_points_equal_recorded_ones(encoding: Encoding, decoder: Decoder, expected):
    centre, size = frame_boxes(BOX, SQUARE)
    heatmaps, _ = encode(JOINT, SEEN, SQUARE, encoding)
    points, scores = decode(heatmaps, decoder)
    point = to_picture(points, centre, size, (64, 64), geometry_of(decoder))
    np.testing.assert_allclose(point[0], expected, atol=2e-4)
    assert scores[0] == pytest.approx(heatmaps.max())


@pytest.mark.parametrize(
    ("kind", "within_px"),
    # A quarter offset on a rounded target is off by up to half a heatmap pixel in x and y; one
    # heatmap pixel of this region is 433.35 / 64 = 6.8 pixels of the picture.
    [(("dark", "dark"), 0.1), (("udp", "udp"), 0.1), (("msra", "quarter"), 4.8)],
)
@pytest.mark.parametrize("input_size", [SQUARE, UPRIGHT])
def test_joints_survive_the_way_through_heatmaps(kind, within_px: float, input_size):
    encoding, decoder = kind
    centres, sizes = frame_boxes(np.tile(BOX, (20, 1)), input_size)
    random = np.random.default_rng(3)
    # Up to six heatmap pixels from the edges: the blur of the Newton step needs its neighbours, and
    # the padding leaves them to every joint inside the box.
    inner = random.uniform(24, np.array(input_size) - 25, (20, 17, 2))
    geometry = geometry_of(encoding)
    matrix = crop_matrix(centres, sizes, input_size, geometry=geometry)
    linear = np.linalg.inv(matrix[..., :2])
    joints = (inner - matrix[:, None, :, 2]) @ np.swapaxes(linear, 1, 2)
    heatmaps, weights = encode(
        transform_points(matrix, joints), np.ones((20, 17)), input_size, encoding
    )
    assert weights.min() == 1
    points, _ = decode(heatmaps, decoder)
    size = (input_size[0] // 4, input_size[1] // 4)
    error = np.linalg.norm(to_picture(points, centres, sizes, size, geometry) - joints, axis=-1)
    assert error.max() < within_px
    if encoding == "msra":
        assert error.mean() > 1  # what quarter offsets cost


def test_maps_without_a_peak_have_no_place():
    heatmaps = np.zeros((2, 64, 48), np.float32)
    heatmaps[1] = -1
    for decoder in ("quarter", "dark", "udp"):
        points, scores = decode(heatmaps, decoder)
        assert (points == -1).all()
        assert scores.tolist() == [0, -1]


@pytest.mark.parametrize("decoder", ["quarter", "dark", "udp"])
def test_peaks_in_the_corners_and_noise_decode_to_finite_points_near_the_peak(decoder: Decoder):
    heatmaps = np.random.default_rng(0).normal(0, 1e-3, (4, 4, 64, 64)).astype(np.float32)
    corners = [(0, 0), (63, 0), (0, 63), (63, 63)]
    for joint, (x, y) in enumerate(corners):
        heatmaps[:, joint, y, x] = 1
    points, scores = decode(heatmaps, decoder)
    assert points.shape == (4, 4, 2)
    assert (scores == 1).all()
    assert np.abs(points - np.array(corners)).max() < 3
    for person in range(4):  # a person's result is independent of the others
        np.testing.assert_allclose(decode(heatmaps[person], decoder)[0], points[person], atol=1e-5)


def test_the_blur_of_the_newton_step_is_opencvs():
    from lithepose.detect.heatmaps import _blur

    maps = np.random.default_rng(1).random((2, 64, 48)).astype(np.float32)
    for mine, theirs in (("zero", cv2.BORDER_CONSTANT), ("reflect", cv2.BORDER_REFLECT_101)):
        for blurred, original in zip(_blur(maps, mine), maps, strict=True):
            expected = cv2.GaussianBlur(original, (11, 11), 0, borderType=theirs)
            np.testing.assert_allclose(blurred, expected, atol=1e-6)


def test_mirrored_heatmaps_come_back():
    mirror = (0, 2, 1)
    heatmaps = np.random.default_rng(2).random((5, 3, 8, 6)).astype(np.float32)
    seen_mirrored = heatmaps[:, list(mirror), :, ::-1]
    np.testing.assert_array_equal(mirror_heatmaps(seen_mirrored, mirror, "udp"), heatmaps)
    shifted = mirror_heatmaps(seen_mirrored, mirror)
    np.testing.assert_array_equal(shifted[..., 1:], heatmaps[..., :-1])
    np.testing.assert_array_equal(shifted[..., 0], heatmaps[..., 0])


def test_the_flip_shift_of_the_standard_geometry_aligns_the_two_maps():
    """A joint at x lies at 255 - x in the mirrored crop: on maps 64 wide, one pixel apart."""
    joint = np.array([[102.0, 80.0]])
    direct, _ = encode(joint, SEEN, SQUARE, "dark")
    mirrored, _ = encode(np.array([[255 - 102.0, 80.0]]), SEEN, SQUARE, "dark")
    plain = decode(mirror_heatmaps(mirrored, (0,), "udp"), "dark")[0] - decode(direct, "dark")[0]
    shifted = decode(mirror_heatmaps(mirrored, (0,)), "dark")[0] - decode(direct, "dark")[0]
    np.testing.assert_allclose(plain[0], [-0.75, 0], atol=2e-3)
    np.testing.assert_allclose(shifted[0], [0.25, 0], atol=2e-3)


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="width and height above 0"):
        frame_boxes([[0, 0, 0, 10]], SQUARE)
    with pytest.raises(ValueError, match="width and height above 0"):
        frame_boxes([[0, np.nan, 5, 10]], SQUARE)
    with pytest.raises(ValueError, match="multiples of 4"):
        encode(JOINT, SEEN, (254, 256))
    with pytest.raises(ValueError, match=r"known: msra, dark, udp, quarter"):
        geometry_of("soft-argmax")
    with pytest.raises(ValueError, match="nan or infinity"):
        decode(np.full((1, 64, 64), np.nan, np.float32))
    with pytest.raises(ValueError, match="too small"):
        decode(np.ones((1, 4, 64), np.float32), "dark")
