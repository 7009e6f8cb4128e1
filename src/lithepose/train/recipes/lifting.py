"""Recipes of lifters on the research data sets, one value per published way to train a network.

Where no source tells a value, the comment beside it says so. Results are those of the named source;
a recipe whose `expected` is empty has no published result.

Source: the papers named in each recipe and their authors' public code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, ClassVar

from lithepose.lifters import LIFTERS
from lithepose.metrics.protocols import METRICS, protocol_named
from lithepose.train.recipes.base import Expected, Recipe
from lithepose.train.settings import Optimisation, check_choices

# Data set of a lifter's recipe -> the joint set that its networks work in, and its 2D sources.
# "human36m": VideoPose3D's files. "human36m-image": MotionBERT's file, poses in the scale of the
# picture. "mpi-inf-3dhp" in metres and in Human3.6M's order; "-image" in its own order and in the
# scale of the picture, as MotionAGFormer is trained. "humaneva-i": VideoPose3D's files.
DATASETS: dict[str, tuple[str, tuple[str, ...]]] = {
    "human36m": ("h36m17", ("cpn_ft_h36m_dbb", "gt", "detectron_pt_coco")),
    "human36m-image": ("h36m17", ("stacked_hourglass", "orthographic")),
    "mpi-inf-3dhp": ("h36m17", ("annotated",)),
    "mpi-inf-3dhp-image": ("mpi_inf_3dhp17", ("annotated",)),
    "humaneva-i": ("humaneva15", ("detectron_pt_coco", "gt")),
}
LOSSES = ("mpjpe", "mixste", "mixste-squared", "motionbert")
FLIPS = ("doubled", "random", "none")
TRAIN_WINDOWS = ("per_frame", "padded", "inside", "inside-rest")
TEST_WINDOWS = ("per_frame", "padded", "last", "inside")


@dataclass(frozen=True, kw_only=True)
class LiftingRecipe(Recipe):
    """How a lifter is trained and tested on a research data set; a batch counts windows.

    Attributes:
        dataset: key in `DATASETS`.
        keypoints: where the 2D is from: "gt" and the like are the last part of the file's name.
        windows: how training windows are cut, `lithepose.train.tasks.lifting.cut_windows` tells the
            kinds.
        stride: frames from one training window to the next.
        test_windows: how test windows are cut; their stride is 1 around centre frames and else the
            length of a window.
        loss: "mpjpe", "mixste", "mixste-squared" or "motionbert" (`lithepose.train.tasks.lifting`).
        refine: train HTNet's refinement too, which is told the true depth of the root.
        flip: "doubled" has every window once more mirrored, "random" mirrors by chance.
        flip_test: average with the prediction of the mirrored input.
        protocol: key in `PROTOCOLS`, by which the expected result is measured.
    """

    dataset: str
    keypoints: str
    windows: str
    stride: int
    test_windows: str
    loss: str = "mpjpe"
    refine: bool = False
    flip: str = "doubled"
    flip_test: bool = True
    protocol: str

    written: ClassVar = {"task": "lithepose.train.lifting:LiftingTask"}

    def __post_init__(self) -> None:
        check_choices(
            ("lifter", self.network, LIFTERS),
            ("data set", self.dataset, DATASETS),
            ("loss", self.loss, LOSSES),
            ("flip", self.flip, FLIPS),
            ("windows", self.windows, TRAIN_WINDOWS),
            ("test_windows", self.test_windows, TEST_WINDOWS),
        )
        sources = DATASETS[self.dataset][1]
        if self.keypoints not in sources:
            raise ValueError(
                f"{self.dataset} has no 2D {self.keypoints!r}; known: {', '.join(sources)}"
            )
        if self.stride < 1:
            raise ValueError(f"stride must be at least 1; found {self.stride}")
        if unknown := [e.metric for e in self.expected if e.metric not in METRICS]:
            raise ValueError(f"no metric {unknown[0]!r}; known: {', '.join(METRICS)}")
        protocol_named(self.protocol)
        if self.refine and (self.dataset != "human36m" or self.frames != 1):
            raise ValueError("refinement is for lifters of single frames and calibrated cameras")

    @property
    def frames(self) -> int:
        """T, frames of a window."""
        host = self.overrides.get("host_settings", {})
        frames = LIFTERS[self.network].frames_in
        return int(self.overrides.get("frames", host.get("frames", frames)))

    @property
    def targets(self) -> int:
        """K, frames in the middle of a window that have targets: those that the network gives."""
        row = LIFTERS[self.network]
        if row.frames_in == 1:
            return 1
        if row.family == "hot" or row.which_frames == "all":
            return self.frames  # an hourglass for the centre frame is trained on all that it keeps
        return int(self.overrides.get("kept_frames", row.frames_out))

    @property
    def channels(self) -> int:
        """C, numbers per joint and frame that go in."""
        host = self.overrides.get("host_settings", {})
        channels = LIFTERS[self.network].in_channels
        return int(self.overrides.get("in_channels", host.get("in_channels", channels)))

    @property
    def skeleton(self) -> str:
        """Joint set that the network works in."""
        return DATASETS[self.dataset][0]

    @property
    def seen(self) -> tuple[str, str]:
        given = "single frames"
        if self.frames > 1:
            given = f"{self.frames} frames, every {self.stride}"
        return f"{self.dataset}, {self.keypoints}", given


# --- the published settings -------------------------------------------------------------------

_OF_OPTIMISATION = {one.name for one in fields(Optimisation)}


def _like(
    recipe: LiftingRecipe, name: str = "", network: str = "", frames: int = 0, **changes: Any
) -> LiftingRecipe:
    """A recipe with other fields, its own or of its optimisation."""
    how = {key: changes.pop(key) for key in _OF_OPTIMISATION & changes.keys()}
    changes.setdefault("optimisation", replace(recipe.optimisation, **how))
    if frames:
        changes["overrides"] = {"frames": frames, **recipe.overrides}
    return replace(recipe, name=name, network=network or recipe.network, **changes)


_GT: dict[str, Any] = {"keypoints": "gt"}
_ON_3DHP: dict[str, Any] = {
    "dataset": "mpi-inf-3dhp",
    "keypoints": "annotated",
    "protocol": "mpi-inf-3dhp",
}
_ALIKE_ON_3DHP: dict[str, Any] = {
    **_ON_3DHP,
    "notes": ("how the authors trained on this data set is not published: as on Human3.6M",),
}
_HOT = "Li et al., HoT (arXiv 2311.12028)"
# In training the authors' pruning breaks ties at random; in tests ours does not.
_RANDOM_TIES: Mapping[str, Any] = {"random_ties": True}
_HOSTED: dict[str, Any] = {
    "overrides": _RANDOM_TIES,
    "source": f"the host's recipe; {_HOT}, publish no training of it",
}

# Adam with amsgrad, ×0.95 per epoch and ×0.5 instead after every fifth: the recipe that HTNet,
# MHFormer and GraphMLP share, at rates and batches of their own.
_HUMAN36M = LiftingRecipe(
    name="",
    network="htnet",
    dataset="human36m",
    keypoints="cpn_ft_h36m_dbb",
    windows="per_frame",
    stride=1,
    test_windows="per_frame",
    protocol="human36m",
    optimisation=Optimisation(
        optimiser="adam",
        amsgrad=True,
        learning_rate=1e-3,
        schedule="exponential-halving",
        gamma=0.95,
        halve_every=5,
        epochs=20,
        batch=256,
        seed=1,
    ),
    source="",
)

# Nothing of it could be read in the paper: GraphMLP's, the closest relative.
_AMPOSE = _like(
    _HUMAN36M,
    network="ampose",
    source="inferred: a reconstruction of AMPose (arXiv 2210.04216), trained as GraphMLP",
    notes=("not comparable with AMPose's published results",),
)

# The optimiser is not published: VideoPose3D's, whose epochs, batch, rate and decay it shares.
_CONVFORMER = _like(
    _HUMAN36M,
    protocol="human36m-videopose3d",
    schedule="exponential",
    gamma=0.95,
    epochs=60,
    batch=1024,
    source="Diaz-Arias and Shin, ConvFormer (arXiv 2304.02147)",
    notes=("the optimiser is inferred from VideoPose3D, whose other values the paper has",),
)
_ELSEWHERE = (*_CONVFORMER.notes, "2D and schedule on this data set are inferred")
# Inferred: VideoPose3D's recipe of HumanEva-I.
_CONVFORMER_HUMANEVA = _like(
    _CONVFORMER,
    dataset="humaneva-i",
    keypoints="detectron_pt_coco",
    overrides={"joints": 15},
    protocol="humaneva-i",
    gamma=0.996,
    epochs=1000,
    batch=128,
    notes=_ELSEWHERE,
)

_HTNET = _like(
    _HUMAN36M,
    network="htnet",
    protocol="human36m-htnet",
    # The published rows are of 15 epochs; the code's default goes on to 299.
    learning_rate=5e-4,
    epochs=15,
    batch=512,
    source="Cai et al., HTNet (arXiv 2302.09790), the authors' code",
)
# Inferred: the code has the rate and not the wiring. As its relative GraphMLP does, the trained
# network and the refinement go on together on the loss of the refined pose alone; for how long no
# source tells.
_HTNET_REFINED = _like(
    _HTNET,
    refine=True,
    learning_rate=1e-5,
    schedule="constant",
    epochs=5,
    notes=(
        "start from the weights of the recipe without refinement (--from)",
        "told the true depth of the root: a protocol of its own",
        "how the authors trained it is inferred",
    ),
)

# The authors' loop ends one epoch before its 20.
_MHFORMER = _like(
    _HUMAN36M,
    epochs=19,
    batch=128,
    source="Li et al., MHFormer (arXiv 2111.12707), the authors' code",
)
_BATCH_OF_81 = ("the batch is that of 81 frames",)
_TPC_MHFORMER = _like(
    _MHFORMER,
    overrides=_RANDOM_TIES,
    epochs=20,
    batch=210,
    source=f"{_HOT}, the authors' code",
)

_MIXSTE = _like(
    _HUMAN36M,
    windows="padded",
    stride=243,
    test_windows="padded",
    loss="mixste",
    protocol="human36m-hot",
    optimisation=Optimisation(
        optimiser="adamw",
        learning_rate=4e-5,
        weight_decay=0.1,
        schedule="exponential",
        gamma=0.99,
        epochs=160,
        batch=4,
        seed=1126,
    ),
    source=f"{_HOT}, the authors' code, which trains MixSTE alike",
)
_TPC_MIXSTE = _like(_MIXSTE, overrides=_RANDOM_TIES, test_windows="per_frame", protocol="human36m")
_MIXSTE_AUTHORS = _like(
    _MIXSTE,
    test_windows="last",
    loss="mixste-squared",
    protocol="human36m-mixste",
    epochs=256,
    seed=1234,
    source="Zhang et al., MixSTE (arXiv 2203.00859), the authors' code",
    notes=(
        "the authors' training multiplies the gradient by the loss's value",
        "the seed of the weights is not published",
    ),
)
_MOTIONBERT = _like(
    _HUMAN36M,
    network="motionbert",
    dataset="human36m-image",
    keypoints="stacked_hourglass",
    windows="inside",
    stride=81,
    test_windows="inside",
    loss="motionbert",
    flip="random",
    protocol="human36m-motionbert",
    optimisation=Optimisation(
        optimiser="adamw",
        learning_rate=2e-4,
        weight_decay=0.01,
        schedule="exponential",
        gamma=0.99,
        epochs=120,
        batch=32,
        seed=0,
    ),
    source="Zhu et al., MotionBERT (arXiv 2210.06551), the authors' configuration",
)
_FINETUNED = ("start from the authors' pre-trained weights, converted (--from)",)
_WHICH_2D = ("whether that figure's 2D is this one is not told",)

_AGFORMER = _like(
    _MOTIONBERT,
    protocol="human36m-motionagformer",
    learning_rate=5e-4,
    epochs=60,
    batch=16,
    source="Mehraban et al., MotionAGFormer (arXiv 2310.16288), the authors' configuration",
)
_AGFORMER_GT = _like(_AGFORMER, keypoints="orthographic")
_AGFORMER_3DHP = _like(
    _AGFORMER,
    dataset="mpi-inf-3dhp-image",
    keypoints="annotated",
    windows="inside-rest",
    stride=9,
    test_windows="per_frame",
    # The loss is theirs of Human3.6M, inferred: no source says that it differs.
    protocol="mpi-inf-3dhp",
    optimiser="adam",
    amsgrad=True,
    weight_decay=0.0,
    epochs=90,
    seed=1,
    notes=("joints stay in the data set's order, which the graph's edges do not know",),
)

_NANOHTNET = _like(
    _HUMAN36M,
    learning_rate=5e-4,
    gamma=1.0,
    epochs=49,  # at most: theirs stops 30 epochs after the best
    source="Cai et al., NanoHTNet (arXiv 2501.15763), the authors' code",
)
_PRETRAINED = ("whether the figure's networks were pre-trained is not told",)


_RECIPES = (
    _like(_AMPOSE, "ampose-cpn"),
    _like(_AMPOSE, "ampose-gt", **_GT),
    _like(_CONVFORMER, "convformer-9-cpn", "convformer-9"),
    _like(_CONVFORMER, "convformer-27-cpn", "convformer-27"),
    _like(_CONVFORMER, "convformer-81-cpn", "convformer-81"),
    _like(_CONVFORMER, "convformer-143-cpn", "convformer-143"),
    _like(_CONVFORMER, "convformer-243-cpn", "convformer-243"),
    _like(_CONVFORMER, "convformer-143-gt", "convformer-143", **_GT),
    _like(_CONVFORMER, "convformer-243-gt", "convformer-243", **_GT),
    _like(_CONVFORMER, "convformer-9-3dhp", "convformer-9", **_ON_3DHP, notes=_ELSEWHERE),
    _like(_CONVFORMER_HUMANEVA, "convformer-9-humaneva", "convformer-9", frames=9),
    _like(_CONVFORMER_HUMANEVA, "convformer-27-humaneva", "convformer-27", frames=27),
    _like(_CONVFORMER_HUMANEVA, "convformer-43-humaneva", "convformer-27", frames=43),
    _like(_HTNET, "htnet-cpn"),
    _like(_HTNET_REFINED, "htnet-cpn-refine"),
    _like(_HTNET, "htnet-gt", **_GT),
    _like(_HTNET_REFINED, "htnet-gt-refine", **_GT),
    # 256 is published for 81 frames only.
    _like(_MHFORMER, "mhformer-27-cpn", "mhformer-27", batch=256, notes=_BATCH_OF_81),
    _like(_MHFORMER, "mhformer-81-cpn", "mhformer-81", batch=256),
    _like(_MHFORMER, "mhformer-351-cpn", "mhformer-351"),
    _like(_MHFORMER, "mhformer-351-gt", "mhformer-351", **_GT),
    _like(_TPC_MHFORMER, "tpc-mhformer-351-cpn", "tpc-mhformer-351"),
    _like(_MHFORMER, "mhformer-9-3dhp", "mhformer-27", **_ALIKE_ON_3DHP, frames=9, batch=256),
    _like(_MIXSTE, "mixste-243-cpn", "mixste-243"),
    _like(_MIXSTE, "hot-mixste-243-cpn", "hot-mixste-243", overrides=_RANDOM_TIES),
    _like(_TPC_MIXSTE, "tpc-mixste-243-cpn", "tpc-mixste-243"),
    # The authors' batch is 1024 frames.
    _like(_MIXSTE_AUTHORS, "mixste-243-cpn-squared", "mixste-243"),
    _like(_MIXSTE_AUTHORS, "mixste-81-cpn-squared", "mixste-81", stride=81, batch=12),
    _like(_MIXSTE_AUTHORS, "mixste-243-gt-squared", "mixste-243", **_GT),
    _like(_MIXSTE_AUTHORS, "mixste-81-gt-squared", "mixste-81", stride=81, batch=12, **_GT),
    _like(_MIXSTE_AUTHORS, "mixste-27-3dhp", "mixste-27", **_ALIKE_ON_3DHP, stride=27, batch=37),
    _like(_MOTIONBERT, "motionbert-sh"),
    _like(_MOTIONBERT, "motionbert-sh-finetuned", epochs=60, notes=_FINETUNED),
    _like(_MOTIONBERT, "motionbert-gt", keypoints="orthographic"),
    # The rate is that of the wide network: theirs for this size is of fine-tuning.
    _like(_MOTIONBERT, "motionbert-lite-sh", "motionbert-lite"),
    _like(_MOTIONBERT, "hot-motionbert-243-sh", "hot-motionbert-243", **_HOSTED, notes=_WHICH_2D),
    _like(_AGFORMER, "motionagformer-xs-sh", "motionagformer-xs", stride=9),
    _like(_AGFORMER, "motionagformer-s-sh", "motionagformer-s", stride=27),
    _like(_AGFORMER, "motionagformer-b-sh", "motionagformer-b"),
    _like(_AGFORMER, "motionagformer-l-sh", "motionagformer-l"),
    _like(_AGFORMER_GT, "motionagformer-xs-gt", "motionagformer-xs", stride=9),
    _like(_AGFORMER_GT, "motionagformer-s-gt", "motionagformer-s", stride=27),
    _like(_AGFORMER_GT, "motionagformer-b-gt", "motionagformer-b"),
    _like(_AGFORMER_GT, "motionagformer-l-gt", "motionagformer-l"),
    _like(_AGFORMER, "hot-motionagformer-243-sh", "hot-motionagformer-243", **_HOSTED),
    _like(_AGFORMER_3DHP, "motionagformer-xs-3dhp", "motionagformer-xs", frames=27),
    _like(_AGFORMER_3DHP, "motionagformer-s-3dhp", "motionagformer-s", frames=81),
    _like(_AGFORMER_3DHP, "motionagformer-b-3dhp", "motionagformer-b", frames=81),
    _like(_AGFORMER_3DHP, "motionagformer-l-3dhp", "motionagformer-l", frames=81),
    _like(_NANOHTNET, "nanohtnet-27-9-cpn", "nanohtnet-27-9"),
    _like(_NANOHTNET, "nanohtnet-81-9-cpn", "nanohtnet-81-9"),
    _like(_NANOHTNET, "nanohtnet-243-9-cpn", "nanohtnet-243-9", notes=_PRETRAINED),
    _like(_NANOHTNET, "nanohtnet-243-27-cpn", "nanohtnet-243-27", notes=_PRETRAINED),
)

# --- what is published of them ----------------------------------------------------------------


def _printed(source: str, *, papers: bool = False, **values: float) -> tuple[Expected, ...]:
    """Results by metric, millimetres or percent."""
    return tuple(
        Expected(metric=metric, value=value, source=source, papers=papers)
        for metric, value in values.items()
    )


_ABSTRACT = partial(_printed, "the paper's abstract", papers=True)
_PAPER = partial(_printed, "the paper's tables", papers=True)
# The plain mean of the nine cells that the paper prints.
_NINE_CELLS = partial(_printed, "the paper's tables, mean of nine cells", papers=True)
_README = partial(_printed, "README of the authors' code")
_LATER = partial(_printed, "tables of later papers")
_MMPOSE = partial(_printed, "MMPose's table, of the same weights")
_HOT_FIGURE = partial(_printed, "a figure of the authors' code of HoT")
_FIGURE = "a figure of the authors' code, which names only the frames that are kept"
_PUBLISHED = {
    "convformer-9-cpn": _PAPER(mpjpe=49.4),
    "convformer-27-cpn": _PAPER(mpjpe=47.7),
    "convformer-81-cpn": _PAPER(mpjpe=45.0),
    "convformer-143-cpn": _PAPER(mpjpe=43.7, p_mpjpe=34.5, mpjve=2.1),
    "convformer-243-cpn": _PAPER(mpjpe=43.2, p_mpjpe=34.2),
    "convformer-143-gt": _PAPER(mpjpe=29.9, mpjve=1.2),
    "convformer-243-gt": _PAPER(mpjpe=29.8),
    "convformer-9-3dhp": _PAPER(pck=96.4, auc=69.8, mpjpe=53.6),
    "convformer-27-humaneva": _NINE_CELLS(p_mpjpe=17.6),
    "convformer-43-humaneva": _NINE_CELLS(p_mpjpe=15.3),
    "htnet-cpn": _README(mpjpe=48.9),
    "htnet-cpn-refine": _README(mpjpe=47.6),
    "htnet-gt": _README(mpjpe=34.0),
    "htnet-gt-refine": _README(mpjpe=31.9),
    "mhformer-351-cpn": _README(mpjpe=43.0, p_mpjpe=34.4),
    "mhformer-351-gt": _LATER(mpjpe=30.5),
    "mhformer-9-3dhp": _LATER(mpjpe=58.0, pck=93.8, auc=63.3),
    "mixste-243-cpn": _HOT_FIGURE(mpjpe=40.9),
    "hot-mixste-243-cpn": _HOT_FIGURE(mpjpe=41.0),
    "tpc-mixste-243-cpn": _HOT_FIGURE(mpjpe=39.9),
    "mixste-243-cpn-squared": _LATER(mpjpe=40.9, p_mpjpe=32.6),
    "mixste-81-cpn-squared": _LATER(mpjpe=42.4),
    "mixste-243-gt-squared": _LATER(mpjpe=21.6),
    "mixste-81-gt-squared": _LATER(mpjpe=25.9),
    "mixste-27-3dhp": _LATER(mpjpe=54.9, pck=94.4, auc=66.5),
    "motionbert-sh": _README(mpjpe=39.2) + _LATER(p_mpjpe=32.9),
    "motionbert-sh-finetuned": _README(mpjpe=37.2) + _MMPOSE(p_mpjpe=32.2),
    "motionbert-lite-sh": _HOT_FIGURE(mpjpe=39.8),
    "hot-motionbert-243-sh": _HOT_FIGURE(mpjpe=39.8),
    "motionagformer-b-sh": _ABSTRACT(mpjpe=38.4),
    "motionagformer-l-sh": _ABSTRACT(mpjpe=38.4) + _LATER(p_mpjpe=32.5),
    "motionagformer-xs-gt": _LATER(mpjpe=28.1),
    "motionagformer-s-gt": _LATER(mpjpe=26.5),
    "motionagformer-b-gt": _LATER(mpjpe=19.4),
    "motionagformer-xs-3dhp": _LATER(mpjpe=19.2),
    "motionagformer-s-3dhp": _LATER(pck=98.3, auc=84.5, mpjpe=17.1),
    "motionagformer-b-3dhp": _LATER(auc=84.2, mpjpe=18.2),
    "motionagformer-l-3dhp": _LATER(pck=98.2, auc=85.3, mpjpe=16.2),
    "nanohtnet-243-9-cpn": _printed(_FIGURE, mpjpe=44.5),
    "nanohtnet-243-27-cpn": _printed(_FIGURE, mpjpe=43.5),
}
LIFTING_RECIPES = {
    recipe.name: replace(recipe, expected=_PUBLISHED.get(recipe.name, ())) for recipe in _RECIPES
}
