"""Between a picture and a network that answers in heatmaps: crop, encode, decode, and back.

    box -> centre, size -> matrix -> crop -> (network) -> heatmaps -> points -> picture

The people of a call are handled together. Coordinates count pixels as the data sets do: the centre
of the first pixel is (0, 0). Our own 2D (docs/conventions.md) is half a pixel more in x and y.

Two geometries are in use. "standard" counts pixels: a crop of 256 pixels is shrunk to 64 by 256/64.
"udp" measures the distances between their centres: 255/63. What is trained in one must be decoded
in the same.

Source: Sun et al., Deep high-resolution representation learning (HRNet), CVPR 2019, for the
standard geometry, its targets and the quarter offset; Zhang et al., Distribution-aware coordinate
representation (DARK), CVPR 2020; Huang et al., The devil is in the details (UDP), CVPR 2020.
Details that the papers leave open are MMPose 0.29's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats

Geometry = Literal["standard", "udp"]
Encoding = Literal["msra", "dark", "udp"]
Decoder = Literal["quarter", "dark", "udp"]

PADDING = 1.25  # how much larger than the person's box the crop is
STRIDE = 4  # input pixels of one heatmap pixel
SIGMA = 2.0  # of the target's Gaussian, heatmap pixels
WINDOW = 6  # the target's Gaussian is cut off this many pixels from its middle: 3 sigma
# The width of the blur before a Newton step, and the sigma that OpenCV gives that width.
BLUR, BLUR_SIGMA = 11, 2.0

# Of ImageNet, by which image networks expect their input normalised.
MEAN_RGB = (0.485, 0.456, 0.406)
STD_RGB = (0.229, 0.224, 0.225)
# The same of 0 to 255; all have three digits then.
MEAN_255, STD_255 = (tuple(round(255 * x, 3) for x in values) for values in (MEAN_RGB, STD_RGB))


def geometry_of(kind: Encoding | Decoder) -> Geometry:
    """The geometry that belongs to an encoding or a decoder.

    Raises:
        ValueError: there is none of that name.
    """
    known = dict.fromkeys((*get_args(Encoding), *get_args(Decoder)))
    if kind not in known:
        raise ValueError(f"no encoding or decoder named {kind!r}; known: {', '.join(known)}")
    return "udp" if kind == "udp" else "standard"


def frame_boxes(
    boxes: Floats, input_size: tuple[int, int], padding: float = PADDING
) -> tuple[Floats, Floats]:
    """The regions to crop around people: their boxes, grown to the input's shape and padded.

    Args:
        boxes: (..., 4) left, top, width, height in pixels.
        input_size: (width, height) of the network's input.
        padding: factor of the size.
    Returns:
        Centres (..., 2) and sizes (..., 2), width and height, in pixels.
    Raises:
        ValueError: a box is empty or not finite.
    """
    boxes = np.asarray(boxes, float)
    corner, extent = boxes[..., :2], boxes[..., 2:]
    if not (np.isfinite(boxes).all() and (extent > 0).all()):
        raise ValueError("boxes are left, top, width, height, with width and height above 0")
    aspect = input_size[0] / input_size[1]
    width = np.maximum(extent[..., 0], extent[..., 1] * aspect)
    return corner + extent / 2, padding * np.stack([width, width / aspect], axis=-1)


def crop_matrix(
    centres: Floats,
    sizes: Floats,
    input_size: tuple[int, int],
    rotation_deg: float | Floats = 0.0,
    geometry: Geometry = "standard",
) -> Floats:
    """Affine maps from the picture to the network's input.

    Args:
        centres: (..., 2) middle of the region to crop, pixels of the picture.
        sizes: (..., 2) its width and height; the standard geometry goes by the width alone.
        input_size: (width, height) of the input.
        rotation_deg: by how much the region is turned, clockwise as seen in the picture, so that
            what it shows appears turned the other way.
    Returns:
        (..., 2, 3): input = matrix @ (x, y, 1).
    """
    centres, sizes = np.asarray(centres, float), np.asarray(sizes, float)
    angle = np.radians(np.asarray(rotation_deg, float))
    size = np.array(input_size, float)
    if geometry == "standard":
        factor = np.broadcast_to(size[:1] / sizes[..., :1], sizes.shape)
        middle = size / 2
    else:
        factor = (size - 1) / sizes
        middle = (size - 1) / 2
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    linear = factor[..., :, None] * turn
    shift = middle - (linear @ centres[..., None])[..., 0]
    return np.concatenate([linear, shift[..., None]], axis=-1)


def transform_points(matrix: Floats, points: Floats) -> Floats:
    """Map points: matrix (..., 2, 3) and points (..., J, 2) to (..., J, 2)."""
    return points @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def crop(
    image: NDArray[np.uint8], matrix: Floats, input_size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Cut a person out of a picture (H, W, 3): (height, width, 3), black beyond the edges."""
    return np.asarray(cv2.warpAffine(image, matrix, input_size, flags=cv2.INTER_LINEAR), np.uint8)


def normalise_images(
    images: NDArray[np.uint8],
    mean: Sequence[float] = MEAN_255,
    std: Sequence[float] = STD_255,
    *,
    bgr: bool = False,
) -> NDArray[np.float32]:
    """Pictures (..., H, W, 3) RGB, 0 to 255, as a network's input (..., 3, H, W).

    Args:
        mean, std: of each channel in the network's own order, in 0 to 255; ImageNet's by default.
        bgr: whether that order is blue, green, red.
    """
    values = np.empty((*images.shape[:-3], 3, *images.shape[-3:-1]), np.float32)
    for index in np.ndindex(images.shape[:-3]):
        # Plane by plane is ten times as fast as the whole array in its other order.
        channels = cv2.split(images[index])[:: -1 if bgr else 1]
        for channel, plane, offset, spread in zip(channels, values[index], mean, std, strict=True):
            np.multiply(channel, np.float32(1 / spread), out=plane)
            plane -= np.float32(offset / spread)
    return values


def heatmap_size(input_size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the heatmaps of an input.

    Raises:
        ValueError: the input is no multiple of the stride.
    """
    if any(side % STRIDE or side <= 0 for side in input_size):
        raise ValueError(
            f"an input of {input_size} pixels: both sides must be multiples of {STRIDE}"
        )
    return input_size[0] // STRIDE, input_size[1] // STRIDE


def encode(
    joints: Floats, weights: Floats, input_size: tuple[int, int], encoding: Encoding = "msra"
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Target heatmaps: a Gaussian of height 1 at each joint.

    "msra" rounds its middle to a pixel, "dark" does not and fills the whole map, "udp" is
    fractional in its own geometry. "msra" and "udp" are cut off at `WINDOW`.

    Args:
        joints: (..., J, 2) pixels of the input; of joints with weight 0 anything, nan too.
        weights: (..., J), 0 where a joint is not known.
        input_size: (width, height) of the input.
    Returns:
        Heatmaps (..., J, height, width), zero where the weight is, and the weights (..., J), which
        are 0 too where a joint's Gaussian lies wholly outside.
    """
    weights = np.asarray(weights, np.float32)
    return heatmap_targets(np, np.asarray(joints), weights, input_size, encoding)


def heatmap_targets(
    xp: Any,
    joints: Any,
    weights: Any,
    input_size: tuple[int, int],
    encoding: Encoding,
    **where: Any,
) -> tuple[Any, Any]:
    """As `encode`, of arrays or, with `torch` for `xp`, of tensors, on their device.

    Args:
        xp: `numpy` or `torch`.
        where: `device=` of the tensors.
    """
    size = heatmap_size(input_size)
    weights = xp.asarray(weights, dtype=xp.float32)
    joints = xp.where(weights[..., None] > 0, joints, 0.0)
    profiles = []  # the Gaussian is the product of its profiles in x and in y
    for axis, (side, pixels) in enumerate(zip(size, input_size, strict=True)):
        scale = (side - 1) / (pixels - 1) if geometry_of(encoding) == "udp" else 1 / STRIDE
        middle = joints[..., axis] * scale
        # What decides whether a joint is seen, and where its window lies.
        anchor = middle if encoding == "dark" else xp.floor(middle + 0.5)
        weights = weights * ((anchor + WINDOW >= 0) & (anchor - WINDOW < side))
        if encoding == "msra":
            middle = anchor
        place = xp.arange(side, **where)
        profile = xp.exp((place - middle[..., None]) ** 2 / (-2 * SIGMA**2))
        if encoding != "dark":
            profile = profile * (xp.abs(place - anchor[..., None]) <= WINDOW)
        profiles.append(xp.asarray(profile, dtype=xp.float32))
    along_x, along_y = profiles
    along_y = along_y * (weights > 0)[..., None]
    return along_y[..., :, None] * along_x[..., None, :], weights


def mirror_heatmaps(
    heatmaps: NDArray[np.float32], mirror: tuple[int, ...], geometry: Geometry = "standard"
) -> NDArray[np.float32]:
    """Heatmaps of mirrored crops as those of the crops themselves.

    Args:
        heatmaps: (..., J, H, W).
        mirror: joint order with left and right exchanged (`Skeleton.mirror`).
        geometry: in the standard one a mirrored map is a pixel off, which is corrected.
    """
    turned = heatmaps[..., list(mirror), :, ::-1]
    if geometry == "udp":
        return turned
    return np.concatenate([turned[..., :1], turned[..., :-1]], axis=-1)


def decode(heatmaps: NDArray[np.float32], decoder: Decoder = "quarter") -> tuple[Floats, Floats]:
    """Where each heatmap has its peak, to a fraction of a pixel.

    "quarter" goes a quarter of a pixel towards the higher neighbour in x and in y; "dark" and "udp"
    take one Newton step on the logarithm of the blurred map, each in its geometry. On exact targets
    of their own they are right to 0.001 pixels, but nearer than five pixels to the edges, where the
    blur lacks neighbours, 0.05 ("dark") and 0.5 pixels ("udp") off at three; the padding of boxes
    keeps their joints away from there. "quarter" on its rounded targets is up to 0.5 pixels off in
    each direction, by 0.25 in the mean.

    Args:
        heatmaps: (..., J, H, W).
    Returns:
        Points (..., J, 2) in heatmap pixels, (-1, -1) where nothing is above 0, and scores
        (..., J), the maxima.
    Raises:
        ValueError: a map holds nan or infinity or is too small, or the decoder is not known.
    """
    geometry_of(decoder)
    height, width = heatmaps.shape[-2:]
    if min(height, width) <= BLUR // 2:
        raise ValueError(f"heatmaps of {width} x {height} pixels are too small to decode")
    maps = np.ascontiguousarray(heatmaps, np.float32).reshape(-1, height, width)
    best = maps.reshape(len(maps), -1).argmax(-1)
    number = np.arange(len(maps))
    scores = maps.reshape(len(maps), -1)[number, best]
    if not np.isfinite(scores).all():
        raise ValueError("a heatmap holds nan or infinity: the network or its input is broken")
    y, x = np.divmod(best, width)
    found = scores > 0
    if decoder == "quarter":
        offset = _quarter_offset(maps, x, y)
    else:
        offset = _dark_offset(maps, x, y, scores) if decoder == "dark" else _udp_offset(maps, x, y)
    points = np.where(found[:, None], np.stack([x, y], -1) + offset, -1.0)
    return points.reshape(*heatmaps.shape[:-2], 2), scores.reshape(heatmaps.shape[:-2])


def to_picture(
    points: Floats,
    centres: Floats,
    sizes: Floats,
    size: tuple[int, int],
    geometry: Geometry = "standard",
) -> Floats:
    """Points of heatmaps as points of the picture, for crops that were not turned.

    Args:
        points: (..., J, 2) heatmap pixels.
        centres, sizes: (..., 2) as of `frame_boxes`.
        size: (width, height) of the heatmaps.
    """
    spans = np.array(size, float) - (geometry == "udp")
    centres, sizes = np.asarray(centres)[..., None, :], np.asarray(sizes)[..., None, :]
    return points * (sizes / spans) + centres - sizes / 2


def _quarter_offset(maps: NDArray[np.float32], x: NDArray[Any], y: NDArray[Any]) -> Floats:
    height, width = maps.shape[1:]
    within = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
    # Places without neighbours look at a place that has some; their offset is dropped.
    i, x, y = np.arange(len(maps)), x.clip(1, width - 2), y.clip(1, height - 2)
    slope = np.stack([maps[i, y, x + 1] - maps[i, y, x - 1], maps[i, y + 1, x] - maps[i, y - 1, x]])
    return 0.25 * (np.sign(slope) * within).T


def _dark_offset(
    maps: NDArray[np.float32], x: NDArray[Any], y: NDArray[Any], scores: Floats
) -> Floats:
    height, width = maps.shape[1:]
    blurred = _blur(maps, "zero")
    # The old maximum comes back after the blur, so that the floor under the logarithm is the same.
    highest = blurred.max((1, 2))
    scale = np.where(highest > 0, scores / np.where(highest > 0, highest, 1), 0)
    within = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    i, x, y = np.arange(len(maps)), x.clip(2, width - 3), y.clip(2, height - 3)

    def at(right: int, down: int) -> Floats:
        values = scale * blurred[i, y + down, x + right]
        return np.log(np.maximum(values, 1e-10), dtype=float)

    gradient = np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)]) / 2
    xx = (at(2, 0) - 2 * at(0, 0) + at(-2, 0)) / 4
    yy = (at(0, 2) - 2 * at(0, 0) + at(0, -2)) / 4
    xy = (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / 4
    return _newton_step(gradient, xx, yy, xy, within)


def _udp_offset(maps: NDArray[np.float32], x: NDArray[Any], y: NDArray[Any]) -> Floats:
    height, width = maps.shape[1:]
    blurred = _blur(maps, "reflect")
    i = np.arange(len(maps))

    def at(right: int, down: int) -> Floats:
        values = blurred[i, (y + down).clip(0, height - 1), (x + right).clip(0, width - 1)]
        return np.log(values.clip(0.001, 50), dtype=float)

    gradient = np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)]) / 2
    # A flat place has no curvature to divide by.
    tiny = float(np.finfo(np.float32).eps)
    xx = at(1, 0) - 2 * at(0, 0) + at(-1, 0) + tiny
    yy = at(0, 1) - 2 * at(0, 0) + at(0, -1) + tiny
    xy = at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)
    return _newton_step(gradient, xx, yy, xy / 2, np.ones(len(maps), bool))


def _newton_step(
    gradient: Floats, xx: Floats, yy: Floats, xy: Floats, where: NDArray[np.bool_]
) -> Floats:
    """Minus the inverse of the second differences times the first (2, n): (n, 2), else 0."""
    determinant = xx * yy - xy * xy
    where = where & (determinant != 0)
    determinant = np.where(where, determinant, 1.0)
    step = np.stack([yy * gradient[0] - xy * gradient[1], xx * gradient[1] - xy * gradient[0]])
    return -np.where(where, step / determinant, 0.0).T


def _blur(maps: NDArray[np.float32], beyond: Literal["zero", "reflect"]) -> NDArray[np.float32]:
    """Gaussian blur of each map: beyond its edges is nothing, or the map as in a mirror."""
    down, across = (_blur_matrix(side, beyond) for side in maps.shape[1:])
    # Two products of matrices are faster than a call of a filter for each map.
    return np.asarray(down @ maps @ across.T, np.float32)


@cache
def _blur_matrix(side: int, beyond: Literal["zero", "reflect"]) -> NDArray[np.float32]:
    kernel = cv2.getGaussianKernel(BLUR, BLUR_SIGMA)[:, 0]
    reach = BLUR // 2
    padded = np.pad(
        np.eye(side), ((reach, reach), (0, 0)), "constant" if beyond == "zero" else "reflect"
    )
    rows = [kernel @ padded[i : i + BLUR] for i in range(side)]
    return np.array(rows, np.float32)
