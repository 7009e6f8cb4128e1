"""A HEViTPose trained on synthetic people, beside BlazePose: on such people, photos, and video.

    python benchmarks/hevitpose_synthetic.py WEIGHTS --motions FOLDER --samples ../shared/samples \
        --video ../shared/video [--sheet docs/pictures/hevitpose_synthetic.jpg] [--photos FILE.jpg]

WEIGHTS is what `lithepose train hevitpose-t-coco-synthetic` leaves; each other option asks for one
part. FOLDER holds `cmu17_test.npz` (docs/data/mocap.md), whose motions neither training nor
validation has. The samples are excerpts: four pictures of COCO's val2017 with 12 annotated people
and a file of detected boxes, and five people of MPII. The video folder holds `walk_single.mp4` and
MediaPipe's landmarks of it.

Both networks are told the same boxes. BlazePose, which was trained on photographs and puts its crop
where it likes, looks for the person in the box first, places the landmarks, and places them again
in the crop that follows from them. On video each works as in `lithepose lift`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import lithepose
from lithepose.arrays import Floats
from lithepose.datasets.coco import read_annotations
from lithepose.datasets.images import People
from lithepose.datasets.mpii import read_people
from lithepose.deploy.export import export_pose_network
from lithepose.detect import create_detector
from lithepose.detect.blazepose import BlazePose, Crop, is_followable
from lithepose.detect.heatmaps import (
    STRIDE,
    crop,
    crop_matrix,
    decode,
    frame_boxes,
    transform_points,
)
from lithepose.detect.sizes import POSE_NETWORKS
from lithepose.metrics.pose2d import CocoResults, coco_ap, oks_nms, pck, person_scores
from lithepose.metrics.pose3d import p_mpjpe
from lithepose.poses import Track3D
from lithepose.skeletons import LIMB_JOINTS, SKELETONS, convert
from lithepose.train.networks import normalised
from lithepose.train.recipes import SyntheticRecipe
from lithepose.train.runs import read_trained
from lithepose.train.tasks.images import EvalSettings, predict
from lithepose.train.tasks.synthetic import SyntheticTest
from lithepose.video import open_video

CPU = torch.device("cpu")
COCO, MPII = SKELETONS["coco17"], SKELETONS["mpii16"]
LIMBS = [joint for joint in MPII.joints if joint in COCO.joints]  # the twelve of both
PADDING = 1.25
COLUMNS, ROWS, CELL = 8, 3, 152  # of the sheet: pictures across and down, pixels of each
YELLOW, GREEN, RED = (255, 210, 0), (0, 230, 0), (240, 40, 40)


def blazepose_in(
    detector: BlazePose, picture: NDArray[np.uint8], middle: Floats, side: float
) -> Floats:
    """COCO's joints (17, 3), x, y, confidence, of the person in a square; pixels from the corner
    of the first one."""
    square = Crop(float(middle[0]), float(middle[1]), float(side))
    # Of several people the one whose hips are near the middle of the box, the surest first.
    found = [
        (score, candidate)
        for candidate, score in detector.person_detector.find(picture, square)
        if np.hypot(candidate.x - square.x, candidate.y - square.y) < 0.25 * side
    ]
    where = max(found, key=lambda one: one[0])[1] if found else square
    person = detector.place_landmarks(picture, where)
    if is_followable(person, picture.shape[:2]):
        person = detector.place_landmarks(picture, person.next_crop)
    points, confidence, _ = convert(person.keypoints, person.confidence, "blazepose33", "coco17")
    return np.concatenate([points, confidence[:, None]], axis=1)


def blazepose_of(detector: BlazePose, people: People) -> Floats:
    """BlazePose's joints (N, 17, 3) of people in photographs, pixels as `People` counts them."""
    centres, sizes = frame_boxes(people.boxes, (256, 256), PADDING)
    out = np.empty((len(people), 17, 3))
    for i, (centre, size) in enumerate(zip(centres, sizes, strict=True)):
        out[i] = blazepose_in(detector, people.picture(i), centre + 0.5, size[0])
        out[i, :, :2] -= 0.5
    return out


# --- synthetic people -----------------------------------------------------------------------------


def on_synthetic(network: nn.Module, test: SyntheticTest, sheet: Path | None) -> None:
    """Print the joints' PCK of both networks."""
    pictures = test.pictures(CPU)
    print(test.measure(network).as_markdown())
    detector = BlazePose()
    middle = np.array(test.examples.settings.size) / 2
    images = np.ascontiguousarray(pictures.images.permute(0, 2, 3, 1).numpy())
    placed = np.stack([blazepose_in(detector, image, middle, 2 * middle[0]) for image in images])
    print("BlazePose on the same pictures\n")
    print(test.score(placed[..., :2], pictures).as_markdown())
    if sheet is None:
        return
    shown = pictures.images[: COLUMNS * ROWS].float() / 255
    with torch.inference_mode():
        heatmaps = network(normalised(shown)).numpy()
    points = decode(heatmaps, test.recipe.decoder)[0] * STRIDE + 0.5
    cells = [
        drawn(image, joints, truth, seen > 0, size)
        for image, joints, truth, seen, size in zip(
            images[: len(points)],
            points,
            pictures.joints[: len(points)],
            pictures.visible[: len(points)],
            pictures.box[: len(points)],
            strict=True,
        )
    ]
    write_sheet(sheet, cells)
    print(sheet)


def drawn(
    image: NDArray[np.uint8], joints: Floats, truth: Floats, counted: NDArray[np.bool_], size: float
) -> NDArray[np.uint8]:
    """A crop with the joints as placed, in yellow; the true ones are green dots, and red ones where
    the placed joint is more than a tenth of the box's longer side off."""
    scale = 2 * CELL / image.shape[0]
    out = np.asarray(cv2.resize(image, (2 * CELL, 2 * CELL)), np.uint8)

    def pixel(point: Floats) -> tuple[int, int]:
        x, y = np.round(16 * (scale * point - 0.5)).astype(int).tolist()
        return x, y

    for start, end in COCO.limbs:
        if counted[start] and counted[end]:
            cv2.line(out, pixel(joints[start]), pixel(joints[end]), YELLOW, 2, cv2.LINE_AA, 4)
    wrong = np.linalg.norm(joints - truth, axis=-1) > 0.1 * size
    for at, off in zip(truth[counted], wrong[counted], strict=True):
        cv2.circle(out, pixel(at), 16 * 4, RED if off else GREEN, -1, cv2.LINE_AA, 4)
    return np.asarray(cv2.resize(out, (CELL, CELL), interpolation=cv2.INTER_AREA), np.uint8)


def write_sheet(path: Path, cells: list[NDArray[np.uint8]]) -> None:
    """Cells (CELL, CELL, 3) RGB in rows of `COLUMNS`."""
    empty = np.full((CELL, CELL, 3), 255, np.uint8)
    cells = cells + [empty] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[i : i + COLUMNS], 1) for i in range(0, len(cells), COLUMNS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])


# --- photographs ----------------------------------------------------------------------------------


def average_precision(keypoints: Floats, people: People, truth: Path) -> CocoResults:
    """COCO's AP of people (N, 17, 3), doubles dropped as in the papers' protocol."""
    scores = person_scores(keypoints[..., 2], people.scores)
    areas = frame_boxes(people.boxes, (256, 256))[1].prod(-1)
    detections = []
    for picture in np.unique(people.picture_ids):
        here = np.flatnonzero(people.picture_ids == picture)
        for i in here[oks_nms(keypoints[here, :, :2], scores[here], areas[here])]:
            flat = [float(v) for v in keypoints[i].ravel()]
            detections.append(
                {"image_id": int(picture), "category_id": 1, "keypoints": flat,
                 "score": float(scores[i])}
            )  # fmt: skip
    return coco_ap(truth, detections)


def on_photographs(
    network: nn.Module, recipe: SyntheticRecipe, samples: Path, sheet: Path | None
) -> None:
    """Print the tables of COCO's and of MPII's excerpt.

    MPII's has no head boxes: the length of a head is the distance from its neck to its top. Its
    people have no boxes either, so PCK is of the extent of the annotated joints.
    """
    settings = EvalSettings(
        image_size=recipe.image_size, flip=recipe.flip_test, decoder=recipe.decoder
    )
    detector = BlazePose()
    truth = samples / "coco" / "test_coco.json"
    annotations = read_annotations(truth, samples / "coco")
    annotated = annotations.people()
    detected = annotations.detected_people(samples / "coco" / "test_coco_det_AP_H_56.json")
    names = ("AP", "AP50", "AP75", "AR")
    print("| COCO | boxes | AP | AP50 | AP75 | AR | PCK@0.1 | PCK@0.2 |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    cells = []
    for boxes, people in (("annotated", annotated), ("detected", detected)):
        found = {
            recipe.name: predict(network, people, settings, CPU),
            "BlazePose": blazepose_of(detector, people),
        }
        for name, keypoints in found.items():
            values = average_precision(keypoints, people, truth).values
            row = [f"{values[each]:.1f}" for each in names] + ["", ""]
            if boxes == "annotated":
                sizes = people.boxes[:, 2:].max(-1)
                row[4:] = [
                    f"{pck(keypoints[..., :2], people.joints, people.visible, sizes, t)[0]:.1f}"
                    for t in (0.1, 0.2)
                ]
                cells += photographs(people, keypoints)
            print(f"| {name} | {boxes} | {' | '.join(row)} |")

    people = read_people(samples / "mpii" / "test_mpii.json", samples / "mpii")
    heads = np.linalg.norm(
        people.joints[:, MPII.index("head_top")] - people.joints[:, MPII.index("upper_neck")],
        axis=-1,
    )
    ours, theirs = [COCO.index(j) for j in LIMBS], [MPII.index(j) for j in LIMBS]
    asked = replace(
        people,
        skeleton="coco17",
        joints=np.full((len(people), 17, 2), np.nan),
        visible=np.zeros((len(people), 17), bool),
    )
    target, counted = people.joints[:, theirs], people.visible[:, theirs]
    print(f"\n| MPII, {int(counted.sum())} limb joints | PCKh@0.5 | PCK@0.1 | PCK@0.2 |")
    print("| --- | ---: | ---: | ---: |")
    lows, highs = np.nanmin(people.joints, axis=1), np.nanmax(people.joints, axis=1)
    sizes = (highs - lows).max(-1)
    for name, keypoints in (
        (recipe.name, predict(network, asked, settings, CPU)),
        ("BlazePose", blazepose_of(detector, asked)),
    ):
        points = keypoints[:, ours, :2]
        row = [pck(points, target, counted, heads, 0.5)[0]]
        row += [pck(points, target, counted, sizes, t)[0] for t in (0.1, 0.2)]
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in row)} |")
        shown = replace(asked, joints=np.full((len(people), 17, 2), np.nan))
        shown.joints[:, ours], shown.visible[:, ours] = target, counted
        cells += photographs(shown, keypoints)
    if sheet is not None:
        write_sheet(sheet, cells)


def photographs(people: People, keypoints: Floats) -> list[NDArray[np.uint8]]:
    """Cells of a sheet: people cut out by their boxes."""
    centres, sizes = frame_boxes(people.boxes, (256, 256))
    matrices = crop_matrix(centres, sizes, (256, 256))
    return [
        drawn(
            crop(people.picture(i), matrices[i], (256, 256)),
            transform_points(matrices[i], keypoints[i, :, :2]) + 0.5,
            np.nan_to_num(transform_points(matrices[i], people.joints[i]) + 0.5),
            people.visible[i],
            256 / PADDING,
        )
        for i in range(len(people))
    ]


# --- video ----------------------------------------------------------------------------------------


def on_video(network: nn.Module, recipe: SyntheticRecipe, folder: Path) -> None:
    """Print distances from recorded landmarks, and speeds, of the network as an ONNX file."""
    with np.load(folder / "walk_single_mediapipe2d.npz") as archive:
        recorded = archive["kp2d"].astype(float)
    clip = folder / "walk_single.mp4"
    height = np.ptp(recorded[..., 1], axis=1)
    limbs = [COCO.index(joint) for joint in LIMBS]
    truth = convert(recorded, None, "blazepose33", "coco17")[0][:, limbs]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "hevitpose.onnx"
        example = torch.rand(2, 3, recipe.image_size[1], recipe.image_size[0])
        worst = export_pose_network(network, path, example, {"skeleton": "coco17"})
        print(f"\nONNX file: {path.stat().st_size / 1e6:.1f} MB, differs by {worst:.1e} at most")
        detectors = {
            recipe.name: create_detector(path, threads=1),
            "BlazePose": create_detector("blazepose", threads=1),
        }
        points: dict[str, list[Floats]] = {name: [] for name in detectors}
        wall, processor = dict.fromkeys(detectors, 0.0), dict.fromkeys(detectors, 0.0)
        with open_video(clip) as frames:
            for frame in frames:
                for name, detector in detectors.items():  # in turns: what else runs meets both
                    begun, used = time.perf_counter(), time.process_time()
                    found = detector.detect(frame.image, frame.time_s)
                    wall[name] += time.perf_counter() - begun
                    processor[name] += time.process_time() - used
                    if len(found):
                        first = int(np.argmax(found.score))
                        placed = convert(found.keypoints[first], None, found.skeleton, "coco17")[0][
                            limbs
                        ]
                    else:
                        placed = np.full((len(limbs), 2), np.nan)
                    points[name].append(placed)
        print(
            f"{len(recorded)} frames; the person is {np.median(height):.0f} px high (the extent of "
            "the recorded landmarks)\n"
        )
        print(
            "| limb joints against | recorded, median | 95 % | BlazePose, median | frames without "
            "| frames/s | of processor time |"
        )
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        blaze = np.stack(points["BlazePose"])
        for name, placed in points.items():
            each = np.stack(placed)
            apart = 100 * np.linalg.norm(each - truth, axis=-1) / height[:, None]
            other = 100 * np.linalg.norm(each - blaze, axis=-1) / height[:, None]
            without = int(np.isnan(apart).any(-1).sum())
            print(
                f"| {name} | {np.nanmedian(apart):.1f} % | {np.nanpercentile(apart, 95):.1f} % | "
                f"{np.nanmedian(other):.1f} % | {without} | {len(each) / wall[name]:.1f} | "
                f"{len(each) / processor[name]:.1f} |"
            )
        lifted = {}
        for name, detector in ((recipe.name, str(path)), ("BlazePose", "blazepose")):
            begun = time.perf_counter()
            result = lithepose.lift(clip, detector=detector)
            lifted[name] = result.people[0]
            print(f"\nlithepose.lift with {name}: {time.perf_counter() - begun:.0f} s")
        limbs17 = list(LIMB_JOINTS)
        wanted = convert(recorded, None, "blazepose33", "h36m17")[0][:, limbs17]
        for name, track in lifted.items():
            apart = np.linalg.norm(track.keypoints_2d[:, limbs17] - wanted, axis=-1)
            share = np.nanmedian(100 * apart / height[:, None])
            print(f"{name}: 2D of the result, median {share:.1f} % of the height from the recorded")
        compare_3d(*lifted.values())


def compare_3d(ours: Track3D, theirs: Track3D) -> None:
    """Print how far the limb joints of two results lie apart after the best similarity."""
    at = list(LIMB_JOINTS)
    a, b = (track.joints_camera[:, at] for track in (ours, theirs))
    both = np.isfinite(a).all((1, 2)) & np.isfinite(b).all((1, 2))
    apart = 1e3 * p_mpjpe(a[both], b[both]).mean()
    print(f"3D limbs of both results: P-MPJPE {apart:.0f} mm, {both.sum()} frames")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--motions", type=Path, help="folder of motion files")
    parser.add_argument("--pictures", type=int, help="synthetic ones  [default: the recipe's]")
    parser.add_argument("--processes", type=int, default=1, help="that build the people")
    parser.add_argument("--samples", type=Path, help="excerpts of COCO and MPII")
    parser.add_argument("--video", type=Path, help="folder of the clip and its landmarks")
    parser.add_argument("--sheet", type=Path, help="write a sheet of synthetic pictures (.jpg)")
    parser.add_argument("--photos", type=Path, help="write a sheet of the photographs (.jpg)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    network, recipe = read_trained(options.weights)
    if (
        not isinstance(recipe, SyntheticRecipe)
        or POSE_NETWORKS[recipe.network].skeleton != COCO.name
    ):
        raise SystemExit(f"{options.weights} is of {recipe.name}: pass one of COCO's joints")
    if options.motions:
        tested = replace(recipe, test_pictures=options.pictures or recipe.test_pictures)
        test = SyntheticTest(tested, options.motions, "test", processes=options.processes)
        on_synthetic(network, test, options.sheet)
    if options.samples:
        on_photographs(network, recipe, options.samples, options.photos)
    if options.video:
        on_video(network, recipe, options.video)


if __name__ == "__main__":
    main()
