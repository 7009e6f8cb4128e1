"""COCO keypoints: 17 joints of people in pictures, as the original files give them.

`docs/data/coco.md` says how to get the files.

Source: Lin et al., Microsoft COCO, ECCV 2014, and cocodataset.org/#format-data. Which people are
used, and how boxes are cut to the picture: HRNet's and MMPose 0.29's rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.datasets.images import People

GUIDE = "docs/data/coco.md"
SKELETON = "coco17"
PERSON = 1  # the category of people
# HRNet's boxes for val2017, of a detector with an AP of 56.4 for people.
BOXES_FILE = "COCO_val2017_detections_AP_H_56_person.json"

# Where the files of a split may lie in the folder of the data set: as unpacked, or beside the
# annotations as in small excerpts.
ANNOTATIONS = ("annotations/person_keypoints_{split}.json", "person_keypoints_{split}.json")
PICTURES = ("{split}", "images/{split}")


@dataclass(frozen=True, kw_only=True)
class CocoAnnotations:
    """An annotation file and the folder of its pictures.

    Attributes:
        path: the file.
        folder: the pictures.
        pictures: id -> the picture's entry: file_name, width, height.
        persons: the entries of people, as they stand in the file.
    """

    path: Path
    folder: Path
    pictures: Mapping[int, Mapping[str, Any]]
    persons: Sequence[Mapping[str, Any]]

    def people(self) -> People:
        """Those that are trained on, and tested on with ground-truth boxes.

        Crowds, people without a labelled joint and boxes outside the picture are left out. Boxes
        are cut to the picture.
        """
        chosen, boxes = [], []
        for person in self.persons:
            box = self._box_inside(person)
            labelled = person.get("num_keypoints", 1) and max(person["keypoints"], default=0)
            if box is not None and labelled and not person.get("iscrowd", 0):
                chosen.append(person)
                boxes.append(box)
        keypoints = np.array([p["keypoints"] for p in chosen], float).reshape(-1, 17, 3)
        visible = keypoints[..., 2] > 0
        return self._people(
            [person["image_id"] for person in chosen],
            boxes,
            np.ones(len(chosen)),
            np.where(visible[..., None], keypoints[..., :2], np.nan),
            visible,
        )

    def detected_people(self, boxes: str | Path, lowest_score: float = 0.0) -> People:
        """Boxes of a detector instead of the annotated ones; their joints are unknown.

        Args:
            boxes: a JSON list of {image_id, category_id, bbox [left, top, width, height], score};
                other categories than people are passed over.
            lowest_score: boxes below it are left out.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged or no such list, or is of other pictures.
        """
        path = Path(boxes)
        content = read_json(path, "a file of detected boxes is named in docs/data/coco.md")
        try:
            found = [
                (int(d["image_id"]), [float(v) for v in d["bbox"]], float(d["score"]))
                for d in content
                if d["category_id"] == PERSON and d["score"] >= lowest_score
            ]
            kept = [(i, box, score) for i, box, score in found if min(box[2:4]) > 0]
            corners = np.array([box for _, box, _ in kept], float).reshape(-1, 4)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"{path}: should be a list of image_id, category_id, bbox (left, top, width, "
                "height) and score, as detectors write for COCO"
            ) from error
        strange = sorted({i for i, _, _ in kept} - set(self.pictures))
        if strange:
            raise ValueError(
                f"{path}: has boxes in picture {strange[0]}, which {self.path.name} does not know: "
                "are these the boxes of another split?"
            )
        return self._people(
            [i for i, _, _ in kept],
            corners,
            np.array([score for _, _, score in kept], float),
            np.full((len(kept), 17, 2), np.nan),
            np.zeros((len(kept), 17), bool),
        )

    def _box_inside(self, person: Mapping[str, Any]) -> tuple[float, ...] | None:
        """The box cut to the picture; None if nothing of it is inside."""
        picture = self.pictures[person["image_id"]]
        x, y, w, h = person["bbox"]
        left, top = max(0.0, x), max(0.0, y)
        # From the cut corner on, and to the last pixel's centre: as everybody's training does.
        right, bottom = min(picture["width"] - 1, left + w), min(picture["height"] - 1, top + h)
        # An area of 0 marks faulty entries.
        if person.get("area", 1) <= 0 or right <= left or bottom <= top:
            return None
        return left, top, right - left, bottom - top

    def _people(
        self, ids: Sequence[int], boxes: Any, scores: Any, joints: Any, visible: Any
    ) -> People:
        pictures = [self.pictures[i] for i in ids]
        sizes = [(picture["width"], picture["height"]) for picture in pictures]
        return People(
            skeleton=SKELETON,
            folder=self.folder,
            files=tuple(str(picture["file_name"]) for picture in pictures),
            picture_ids=np.array(ids, np.int64),
            picture_sizes=np.array(sizes, np.int64).reshape(-1, 2),
            boxes=np.array(boxes, float).reshape(-1, 4),
            scores=scores,
            joints=joints,
            visible=visible,
        )


def read_annotations(path: str | Path, folder: str | Path) -> CocoAnnotations:
    """Read an annotation file; pictures are not looked at.

    Args:
        path: such as `person_keypoints_val2017.json`.
        folder: where its pictures are.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds no keypoints of people.
    """
    path = Path(path)
    content = read_json(path)
    try:
        pictures = {int(p["id"]): p for p in content["images"]}
        persons = [p for p in content["annotations"] if p["category_id"] == PERSON]
        for picture in pictures.values():
            _ = picture["file_name"], int(picture["width"]), int(picture["height"])
        for person in persons:
            if len(person["keypoints"]) != 51 or len(person["bbox"]) != 4:
                raise KeyError(f"annotation {person.get('id')}")
            if person["image_id"] not in pictures:
                raise KeyError(f"picture {person['image_id']}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: should hold images, and annotations of people with 17 joints and boxes "
            f"({error}): it is another file of COCO, or damaged"
        ) from error
    return CocoAnnotations(path=path, folder=Path(folder), pictures=pictures, persons=persons)


def read_coco(root: str | Path, split: str = "val2017") -> CocoAnnotations:
    """Read a split of the data set from its folder.

    Args:
        root: holds `annotations/person_keypoints_<split>.json` and the pictures in `<split>/` or
            `images/<split>/`.
        split: "train2017" or "val2017".

    Raises:
        FileNotFoundError: the annotations or the folder of the pictures are missing.
        ValueError: the file is damaged.
    """
    root = Path(root)
    files = [root / name.format(split=split) for name in ANNOTATIONS]
    folders = [root / name.format(split=split) for name in PICTURES]
    path = next((path for path in files if path.is_file()), None)
    folder = next((folder for folder in folders if folder.is_dir()), None)
    if path is None or folder is None:
        lacking = files[0] if path is None else folders[0]
        raise FileNotFoundError(f"no {lacking}: {GUIDE} says how to get and lay out the data set")
    return read_annotations(path, folder)


def read_json(path: Path, advice: str = f"{GUIDE} says how to get it") -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is no such file; the message ends with the advice.
        ValueError: it is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"no file at {path}: {advice}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is damaged or cut off ({error}): get it again") from error
