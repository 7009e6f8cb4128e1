"""Recipes of lifters on the research data sets, one value per published way to train a network.

Where no source tells a value, the comment beside it says so. Results are those of the named source;
a recipe whose `expected` is empty has no published result.

Source: the papers named in each recipe and their authors' public code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from lithepose.lifters import LIFTERS
from lithepose.metrics.protocols import METRICS, protocol_named
from lithepose.train.fields import check_choices
from lithepose.train.recipes.base import Expected, Recipe
from lithepose.train.settings import Optimisation

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

# Adam with amsgrad, ×0.95 per epoch and ×0.5 instead after every fifth: the recipe that HTNet,
# MHFormer and GraphMLP share, at rates and batches of their own.
_HALVING = Optimisation(
    optimiser="adam",
    amsgrad=True,
    learning_rate=1e-3,
    schedule="exponential-halving",
    gamma=0.95,
    halve_every=5,
    epochs=20,
    batch=256,
    seed=1,
)
_HUMAN36M = LiftingRecipe(
    name="",
    network="htnet",
    dataset="human36m",
    keypoints="cpn_ft_h36m_dbb",
    windows="per_frame",
    stride=1,
    test_windows="per_frame",
    protocol="human36m",
    optimisation=_HALVING,
    source="",
)

_README = "README of the authors' code"
_LATER = "tables of later papers"
_HTNET = replace(
    _HUMAN36M,
    network="htnet",
    protocol="human36m-htnet",
    # The published rows are of 15 epochs; the code's default goes on to 299.
    optimisation=replace(_HALVING, learning_rate=5e-4, epochs=15, batch=512),
    source="Cai et al., HTNet (arXiv 2302.09790), the authors' code",
)
# Inferred: the code has the rate and not the wiring. As its relative GraphMLP does, the trained
# network and the refinement go on together on the loss of the refined pose alone; for how long no
# source tells.
_HTNET_REFINED = replace(
    _HTNET,
    refine=True,
    optimisation=replace(_HTNET.optimisation, learning_rate=1e-5, schedule="constant", epochs=5),
    notes=(
        "start from the weights of the recipe without refinement (--from)",
        "told the true depth of the root: a protocol of its own",
        "how the authors trained it is inferred",
    ),
)

_NANOHTNET = replace(
    _HUMAN36M,
    network="nanohtnet-243-9",
    optimisation=replace(
        _HALVING,
        learning_rate=5e-4,
        gamma=1.0,
        epochs=49,  # at most: theirs stops 30 epochs after the best
        batch=256,
    ),
    source="Cai et al., NanoHTNet (arXiv 2501.15763), the authors' code",
)

_MIXSTE = replace(
    _HUMAN36M,
    network="mixste-243",
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
    source="Li et al., HoT (arXiv 2311.12028), the authors' code, which trains MixSTE alike",
)
_MIXSTE_AUTHORS = replace(
    _MIXSTE,
    test_windows="last",
    loss="mixste-squared",
    protocol="human36m-mixste",
    optimisation=replace(_MIXSTE.optimisation, epochs=256, seed=1234),
    source="Zhang et al., MixSTE (arXiv 2203.00859), the authors' code",
    notes=(
        "the authors' training multiplies the gradient by the loss's value",
        "the seed of the weights is not published",
    ),
)

_MHFORMER = replace(
    _HUMAN36M,
    network="mhformer-351",
    optimisation=replace(_HALVING, epochs=20, batch=128),
    source="Li et al., MHFormer (arXiv 2111.12707), the authors' code",
)

# The optimiser is not published: VideoPose3D's, whose epochs, batch, rate and decay it shares.
_CONVFORMER = replace(
    _HUMAN36M,
    network="convformer-243",
    protocol="human36m-videopose3d",
    optimisation=replace(_HALVING, schedule="exponential", gamma=0.95, epochs=60, batch=1024),
    source="Diaz-Arias and Shin, ConvFormer (arXiv 2304.02147)",
    notes=("the optimiser is inferred from VideoPose3D, whose other values the paper has",),
)

# In training the authors' pruning breaks ties at random; in tests ours does not.
_RANDOM_TIES: Mapping[str, Any] = {"random_ties": True}

# Nothing of it could be read in the paper: GraphMLP's, the closest relative.
_AMPOSE = replace(
    _HUMAN36M,
    network="ampose",
    source="inferred: a reconstruction of AMPose (arXiv 2210.04216), trained as GraphMLP",
    notes=("not comparable with AMPose's published results",),
)

_MOTIONBERT = replace(
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
_MOTIONAGFORMER = replace(
    _MOTIONBERT,
    network="motionagformer-b",
    protocol="human36m-motionagformer",
    optimisation=replace(_MOTIONBERT.optimisation, learning_rate=5e-4, epochs=60, batch=16, seed=0),
    source="Mehraban et al., MotionAGFormer (arXiv 2310.16288), the authors' configuration",
)
_MOTIONAGFORMER_3DHP = replace(
    _MOTIONAGFORMER,
    dataset="mpi-inf-3dhp-image",
    keypoints="annotated",
    windows="inside-rest",
    stride=9,
    test_windows="per_frame",
    # The loss is theirs of Human3.6M, inferred: no source says that it differs.
    protocol="mpi-inf-3dhp",
    optimisation=replace(
        _MOTIONAGFORMER.optimisation,
        optimiser="adam",
        amsgrad=True,
        weight_decay=0.0,
        epochs=90,
        seed=1,
    ),
    notes=("joints stay in the data set's order, which the graph's edges do not know",),
)


def _results(source: str, *, papers: bool = False, **values: float | None) -> tuple[Expected, ...]:
    """Published results by metric, millimetres or percent; None where nothing is published."""
    return tuple(
        Expected(metric=metric, value=value, source=source, papers=papers)
        for metric, value in values.items()
        if value is not None
    )


def _htnet() -> Iterable[LiftingRecipe]:
    for keypoints, suffix, plain, refined in (
        ("cpn_ft_h36m_dbb", "cpn", 48.9, 47.6),
        ("gt", "gt", 34.0, 31.9),
    ):
        yield replace(
            _HTNET,
            name=f"htnet-{suffix}",
            keypoints=keypoints,
            expected=_results(_README, mpjpe=plain),
        )
        yield replace(
            _HTNET_REFINED,
            name=f"htnet-{suffix}-refine",
            keypoints=keypoints,
            expected=_results(_README, mpjpe=refined),
        )


def _nanohtnet() -> Iterable[LiftingRecipe]:
    figure = "a figure of the authors' code, which names only the frames that are kept"
    values = {"nanohtnet-243-9": 44.5, "nanohtnet-243-27": 43.5}
    for network in ("nanohtnet-27-9", "nanohtnet-81-9", "nanohtnet-243-9", "nanohtnet-243-27"):
        found = values.get(network)
        yield replace(
            _NANOHTNET,
            name=f"{network}-cpn",
            network=network,
            expected=_results(figure, mpjpe=found),
            notes=("whether the figure's networks were pre-trained is not told",) if found else (),
        )


def _mixste() -> Iterable[LiftingRecipe]:
    figure = "a figure of the authors' code of HoT"
    yield replace(_MIXSTE, name="mixste-243-cpn", expected=_results(figure, mpjpe=40.9))
    yield replace(
        _MIXSTE,
        name="hot-mixste-243-cpn",
        network="hot-mixste-243",
        overrides=_RANDOM_TIES,
        expected=_results(figure, mpjpe=41.0),
    )
    yield replace(
        _MIXSTE,
        name="tpc-mixste-243-cpn",
        network="tpc-mixste-243",
        overrides=_RANDOM_TIES,
        test_windows="per_frame",
        protocol="human36m",
        expected=_results(figure, mpjpe=39.9),
    )
    for frames, keypoints, suffix, p1, p2 in (
        (243, "cpn_ft_h36m_dbb", "cpn", 40.9, 32.6),
        (81, "cpn_ft_h36m_dbb", "cpn", 42.4, None),
        (243, "gt", "gt", 21.6, None),
        (81, "gt", "gt", 25.9, None),
    ):
        yield replace(
            _MIXSTE_AUTHORS,
            name=f"mixste-{frames}-{suffix}-squared",
            network=f"mixste-{frames}",
            keypoints=keypoints,
            stride=frames,
            # Their batch is 1024 frames.
            optimisation=replace(_MIXSTE_AUTHORS.optimisation, batch=1024 // frames),
            expected=_results(_LATER, mpjpe=p1, p_mpjpe=p2),
        )
    yield replace(
        _MIXSTE_AUTHORS,
        name="mixste-27-3dhp",
        network="mixste-27",
        dataset="mpi-inf-3dhp",
        keypoints="annotated",
        stride=27,
        protocol="mpi-inf-3dhp",
        optimisation=replace(_MIXSTE_AUTHORS.optimisation, batch=1024 // 27),
        expected=_results(_LATER, mpjpe=54.9, pck=94.4, auc=66.5),
        notes=("how the authors trained on this data set is not published: as on Human3.6M",),
    )


def _mhformer() -> Iterable[LiftingRecipe]:
    # The authors' loop ends one epoch before its 20.
    authors = replace(_MHFORMER.optimisation, epochs=19)
    for frames, batch, p1, p2 in (
        (27, 256, None, None),
        (81, 256, None, None),
        (351, 128, 43.0, 34.4),
    ):
        yield replace(
            _MHFORMER,
            name=f"mhformer-{frames}-cpn",
            network=f"mhformer-{frames}",
            optimisation=replace(authors, batch=batch),
            expected=_results(_README, mpjpe=p1, p_mpjpe=p2),
            # 256 is published for 81 frames only.
            notes=("the batch is that of 81 frames",) if frames == 27 else (),
        )
    yield replace(
        _MHFORMER,
        name="mhformer-351-gt",
        keypoints="gt",
        optimisation=authors,
        expected=_results(_LATER, mpjpe=30.5),
    )
    yield replace(
        _MHFORMER,
        name="tpc-mhformer-351-cpn",
        network="tpc-mhformer-351",
        overrides=_RANDOM_TIES,
        optimisation=replace(_MHFORMER.optimisation, batch=210),
        source="Li et al., HoT (arXiv 2311.12028), the authors' code",
    )
    yield replace(
        _MHFORMER,
        name="mhformer-9-3dhp",
        network="mhformer-27",
        overrides={"frames": 9},
        dataset="mpi-inf-3dhp",
        keypoints="annotated",
        protocol="mpi-inf-3dhp",
        optimisation=replace(authors, batch=256),
        expected=_results(_LATER, mpjpe=58.0, pck=93.8, auc=63.3),
        notes=("how the authors trained on this data set is not published: as on Human3.6M",),
    )


def _convformer() -> Iterable[LiftingRecipe]:
    paper = "the paper's tables"
    for frames, p1, p2, velocity in (
        (9, 49.4, None, None),
        (27, 47.7, None, None),
        (81, 45.0, None, None),
        (143, 43.7, 34.5, 2.1),
        (243, 43.2, 34.2, None),
    ):
        yield replace(
            _CONVFORMER,
            name=f"convformer-{frames}-cpn",
            network=f"convformer-{frames}",
            expected=_results(paper, papers=True, mpjpe=p1, p_mpjpe=p2, mpjve=velocity),
        )
    for frames, p1, velocity in ((143, 29.9, 1.2), (243, 29.8, None)):
        yield replace(
            _CONVFORMER,
            name=f"convformer-{frames}-gt",
            network=f"convformer-{frames}",
            keypoints="gt",
            expected=_results(paper, papers=True, mpjpe=p1, mpjve=velocity),
        )
    yield replace(
        _CONVFORMER,
        name="convformer-9-3dhp",
        network="convformer-9",
        dataset="mpi-inf-3dhp",
        keypoints="annotated",
        protocol="mpi-inf-3dhp",
        expected=_results(paper, papers=True, pck=96.4, auc=69.8, mpjpe=53.6),
        notes=(*_CONVFORMER.notes, "2D and schedule on this data set are inferred"),
    )
    # The plain mean of the nine cells that the paper prints.
    for frames, mean in ((9, None), (27, 17.6), (43, 15.3)):
        yield replace(
            _CONVFORMER,
            name=f"convformer-{frames}-humaneva",
            network="convformer-9" if frames == 9 else "convformer-27",
            overrides={"frames": frames, "joints": 15},
            dataset="humaneva-i",
            keypoints="detectron_pt_coco",
            protocol="humaneva-i",
            # Inferred: VideoPose3D's recipe of HumanEva-I.
            optimisation=replace(_CONVFORMER.optimisation, gamma=0.996, epochs=1000, batch=128),
            expected=_results(f"{paper}, mean of nine cells", papers=True, p_mpjpe=mean),
            notes=(*_CONVFORMER.notes, "2D and schedule on this data set are inferred"),
        )


def _image_space() -> Iterable[LiftingRecipe]:
    yield replace(
        _MOTIONBERT,
        name="motionbert-sh",
        expected=_results(_README, mpjpe=39.2) + _results(_LATER, p_mpjpe=32.9),
    )
    yield replace(
        _MOTIONBERT,
        name="motionbert-sh-finetuned",
        optimisation=replace(_MOTIONBERT.optimisation, epochs=60),
        expected=_results(_README, mpjpe=37.2)
        + _results("MMPose's table, of the same weights", p_mpjpe=32.2),
        notes=("start from the authors' pre-trained weights, converted (--from)",),
    )
    yield replace(_MOTIONBERT, name="motionbert-gt", keypoints="orthographic")
    yield replace(
        _MOTIONBERT,
        name="motionbert-lite-sh",
        network="motionbert-lite",
        # The rate is that of the wide network: theirs for this size is of fine-tuning.
        expected=_results("a figure of the authors' code of HoT", mpjpe=39.8),
    )
    yield replace(
        _MOTIONBERT,
        name="hot-motionbert-243-sh",
        network="hot-motionbert-243",
        overrides=_RANDOM_TIES,
        source="the host's recipe; Li et al., HoT (arXiv 2311.12028), publish no training of it",
        expected=_results("a figure of the authors' code of HoT", mpjpe=39.8),
        notes=("whether that figure's 2D is this one is not told",),
    )
    for size, frames, p1, p2 in (
        ("xs", 27, None, None),
        ("s", 81, None, None),
        ("b", 243, 38.4, None),
        ("l", 243, 38.4, 32.5),
    ):
        yield replace(
            _MOTIONAGFORMER,
            name=f"motionagformer-{size}-sh",
            network=f"motionagformer-{size}",
            stride=frames // 3,
            expected=_results("the paper's abstract", papers=True, mpjpe=p1)
            + _results(_LATER, p_mpjpe=p2),
        )
    for size, frames, p1 in (("xs", 27, 28.1), ("s", 81, 26.5), ("b", 243, 19.4), ("l", 243, None)):
        yield replace(
            _MOTIONAGFORMER,
            name=f"motionagformer-{size}-gt",
            network=f"motionagformer-{size}",
            keypoints="orthographic",
            stride=frames // 3,
            expected=_results(_LATER, mpjpe=p1),
        )
    yield replace(
        _MOTIONAGFORMER,
        name="hot-motionagformer-243-sh",
        network="hot-motionagformer-243",
        overrides=_RANDOM_TIES,
        source="the host's recipe; Li et al., HoT (arXiv 2311.12028), publish no training of it",
    )
    for size, frames, pck, auc, p1 in (
        ("xs", 27, None, None, 19.2),
        ("s", 81, 98.3, 84.5, 17.1),
        ("b", 81, None, 84.2, 18.2),
        ("l", 81, 98.2, 85.3, 16.2),
    ):
        yield replace(
            _MOTIONAGFORMER_3DHP,
            name=f"motionagformer-{size}-3dhp",
            network=f"motionagformer-{size}",
            overrides={"frames": frames},
            expected=_results(_LATER, pck=pck, auc=auc, mpjpe=p1),
        )


def _ampose() -> Iterable[LiftingRecipe]:
    for keypoints, suffix in (("cpn_ft_h36m_dbb", "cpn"), ("gt", "gt")):
        yield replace(_AMPOSE, name=f"ampose-{suffix}", keypoints=keypoints)


LIFTING_RECIPES = {
    recipe.name: recipe
    for family in (_ampose, _convformer, _htnet, _mhformer, _mixste, _image_space, _nanohtnet)
    for recipe in family()
}
