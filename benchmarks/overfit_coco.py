"""Does the whole way learn? A small network trained on four pictures of COCO until it knows them.

    python benchmarks/overfit_coco.py ../shared/samples/coco

The folder holds `test_coco.json`, an excerpt of val2017 with 12 people, and its pictures. They are
read, cropped, encoded, trained on by the engine, predicted, decoded and scored by the same code as
a full training, without chance but mirroring. Everything right gives an AP near 100 %.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from lithepose.train.checkpoints import BEST, kept_weights
from lithepose.train.engine import run
from lithepose.train.recipes import ImageRecipe
from lithepose.train.recipes.images import IMAGE_RECIPES
from lithepose.train.settings import Optimisation, RunSettings
from lithepose.train.tasks.images import ImageTask, evaluate_images

# Half the widths of HEViTPose-T, and one block in each stage.
SMALL = {"widths": (32, 64, 96), "depths": (1, 1, 1), "head_filters": (64, 64)}


def recipe_of(size: int, steps: int, whole: bool) -> ImageRecipe:
    """The recipe of HEViTPose-T for COCO, with nothing left to chance but mirroring."""
    return replace(
        IMAGE_RECIPES["hevitpose-t-coco"],
        name="overfit",
        overrides={"image_size": (size, size)} | ({} if whole else SMALL),
        # In the standard geometry a mirrored crop of the test is a pixel off those of the training,
        # which a network notices that knows its pictures by heart; in this one they are the same.
        encoding="udp",
        decoder="udp",
        turn=0.0,
        scale=0.0,
        shift=0.0,
        half_body=0.0,
        optimisation=Optimisation(
            optimiser="adam",
            learning_rate=1e-3,
            schedule="cosine",
            steps=steps,
            batch=12,
            warmup=20,
        ),
    )


def lay_out(samples: Path, root: Path) -> None:
    """The excerpt as a data set whose training and test pictures are the same."""
    (root / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        shutil.copytree(samples, root / split, ignore=shutil.ignore_patterns("*.json"))
        annotations = root / "annotations" / f"person_keypoints_{split}.json"
        shutil.copy(samples / "test_coco.json", annotations)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n")[0])
    parser.add_argument("samples", type=Path)
    parser.add_argument("--whole", action="store_true", help="HEViTPose-T, not a smaller one")
    parser.add_argument("--size", type=int, default=128, help="side of the crops, pixels")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = recipe_of(options.size, options.steps, options.whole)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "coco"
        lay_out(options.samples, root)
        task = ImageTask(recipe, root)
        settings = RunSettings(
            device=options.device, workers=0, save_every=50, chunk=12, tensorboard=False
        )
        out, begin = Path(folder) / "run", time.process_time()
        for progress in run(task, recipe.optimisation, settings, out, described={}):
            print(
                f"step {progress.step}: loss {progress.loss:.2e}, AP {progress.scores['ap']:.1f}, "
                f"{time.process_time() - begin:.0f} s of the processor",
                flush=True,
            )
        network = task.build()
        network.load_state_dict(kept_weights(out / BEST))
        results = evaluate_images(
            network,
            recipe.network,
            root,
            dataset="coco",
            split="val2017",
            flip=recipe.flip_test,
            decoder=recipe.decoder,
        )
        print(f"\n{results.as_markdown('HEViTPose-T' if options.whole else 'smaller than T')}")


if __name__ == "__main__":
    main()
