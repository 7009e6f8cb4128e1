"""Recipes: one value per published way to train a network, with the result to expect.

`RECIPES` is the table; it loads without PyTorch. A recipe says all that decides the result:
network, data and where their 2D is from, windows, loss, mirroring, optimisation, and by which
protocol and which windows the network is tested.

    lithepose train --list
    lithepose train mixste-243-cpn --data data/h36m --out runs/mixste

Where no source tells a value, the comment beside it says so. Results are those of the named source;
a recipe whose `expected` is empty has no published result.

Source: the papers named in each recipe and their authors' public code.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from lithepose.lifters import LIFTERS
from lithepose.metrics.protocols import METRICS, protocol_named
from lithepose.train.recipe_parts import Expected, check_choices, read_change
from lithepose.train.settings import Optimisation, fitting, kinds_of
from lithepose.train.tasks.images import IMAGE_RECIPES, ImageRecipe
from lithepose.train.tasks.synthetic import SYNTHETIC_RECIPES, SyntheticRecipe

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
class LiftingRecipe:
    """How a lifter is trained and tested on a research data set.

    Attributes:
        name: key in `RECIPES`.
        network: key in `lithepose.lifters.LIFTERS`.
        overrides: fields of its config that differ from the table's.
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
        optimisation: how it is trained; its batch counts windows.
        expected: published results.
        source: where the recipe is from.
        notes: what else a reader must know, such as what is inferred.
    """

    name: str
    network: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
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
    optimisation: Optimisation
    expected: tuple[Expected, ...] = ()
    source: str
    notes: tuple[str, ...] = ()
    # A path, not a class: the table must load without PyTorch.
    task: Literal["lithepose.train.lifting:LiftingTask"] = "lithepose.train.lifting:LiftingTask"

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


@dataclass(frozen=True, kw_only=True)
class MotionRecipe:
    """The training of the lifter that the package ships, from motion capture that may be shipped.

    What decides it is `lithepose.train.tasks.shipped.DEFAULT`, which needs PyTorch.

    Attributes:
        name: key in `RECIPES`.
        network: key in `lithepose.lifters.LIFTERS`.
        expected: none in the published tables; the page of the model has what was measured.
        source: where the recipe is from.
    """

    name: str
    network: str
    expected: tuple[Expected, ...] = ()
    source: str
    # A path, not a class: the table must load without PyTorch.
    task: str = "lithepose.train.supervised:LifterTask"


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

_HTNET_README = "README of the authors' code"
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
_CONVFORMER_PAPER = "the paper's tables"

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


def _result(value: float, source: str, *, metric: str = "mpjpe", papers: bool = True) -> Expected:
    """A published result, of MPJPE in millimetres unless another metric is named."""
    return Expected(metric=metric, value=value, source=source, papers=papers)


def _htnet() -> Iterable[LiftingRecipe]:
    for keypoints, suffix, plain, refined in (
        ("cpn_ft_h36m_dbb", "cpn", 48.9, 47.6),
        ("gt", "gt", 34.0, 31.9),
    ):
        yield replace(
            _HTNET,
            name=f"htnet-{suffix}",
            keypoints=keypoints,
            expected=(_result(plain, _HTNET_README, papers=False),),
        )
        yield replace(
            _HTNET_REFINED,
            name=f"htnet-{suffix}-refine",
            keypoints=keypoints,
            expected=(_result(refined, _HTNET_README, papers=False),),
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
            expected=(_result(found, figure, papers=False),) if found else (),
            notes=("whether the figure's networks were pre-trained is not told",) if found else (),
        )


def _mixste() -> Iterable[LiftingRecipe]:
    figure, table = "a figure of the authors' code of HoT", "tables of later papers"
    yield replace(_MIXSTE, name="mixste-243-cpn", expected=(_result(40.9, figure, papers=False),))
    yield replace(
        _MIXSTE,
        name="hot-mixste-243-cpn",
        network="hot-mixste-243",
        overrides=_RANDOM_TIES,
        expected=(_result(41.0, figure, papers=False),),
    )
    yield replace(
        _MIXSTE,
        name="tpc-mixste-243-cpn",
        network="tpc-mixste-243",
        overrides=_RANDOM_TIES,
        test_windows="per_frame",
        protocol="human36m",
        expected=(_result(39.9, figure, papers=False),),
    )
    for frames, keypoints, suffix, p1, p2 in (
        (243, "cpn_ft_h36m_dbb", "cpn", 40.9, 32.6),
        (81, "cpn_ft_h36m_dbb", "cpn", 42.4, None),
        (243, "gt", "gt", 21.6, None),
        (81, "gt", "gt", 25.9, None),
    ):
        results = [_result(p1, table, papers=False)]
        if p2 is not None:
            results.append(_result(p2, table, metric="p_mpjpe", papers=False))
        yield replace(
            _MIXSTE_AUTHORS,
            name=f"mixste-{frames}-{suffix}-squared",
            network=f"mixste-{frames}",
            keypoints=keypoints,
            stride=frames,
            # Their batch is 1024 frames.
            optimisation=replace(_MIXSTE_AUTHORS.optimisation, batch=1024 // frames),
            expected=tuple(results),
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
        expected=(
            _result(54.9, table, papers=False),
            _result(94.4, table, metric="pck", papers=False),
            _result(66.5, table, metric="auc", papers=False),
        ),
        notes=("how the authors trained on this data set is not published: as on Human3.6M",),
    )


def _mhformer() -> Iterable[LiftingRecipe]:
    table = "tables of later papers"
    # The authors' loop ends one epoch before its 20.
    authors = replace(_MHFORMER.optimisation, epochs=19)
    for frames, batch, results in (
        (27, 256, ()),
        (81, 256, ()),
        (
            351,
            128,
            (
                _result(43.0, "README of the authors' code", papers=False),
                _result(34.4, "README of the authors' code", metric="p_mpjpe", papers=False),
            ),
        ),
    ):
        yield replace(
            _MHFORMER,
            name=f"mhformer-{frames}-cpn",
            network=f"mhformer-{frames}",
            optimisation=replace(authors, batch=batch),
            expected=results,
            # 256 is published for 81 frames only.
            notes=("the batch is that of 81 frames",) if frames == 27 else (),
        )
    yield replace(
        _MHFORMER,
        name="mhformer-351-gt",
        keypoints="gt",
        optimisation=authors,
        expected=(_result(30.5, table, papers=False),),
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
        expected=(
            _result(58.0, table, papers=False),
            _result(93.8, table, metric="pck", papers=False),
            _result(63.3, table, metric="auc", papers=False),
        ),
        notes=("how the authors trained on this data set is not published: as on Human3.6M",),
    )


def _convformer() -> Iterable[LiftingRecipe]:
    paper = _CONVFORMER_PAPER
    for frames, p1, p2, velocity in (
        (9, 49.4, None, None),
        (27, 47.7, None, None),
        (81, 45.0, None, None),
        (143, 43.7, 34.5, 2.1),
        (243, 43.2, 34.2, None),
    ):
        found = {"mpjpe": p1, "p_mpjpe": p2, "mpjve": velocity}
        yield replace(
            _CONVFORMER,
            name=f"convformer-{frames}-cpn",
            network=f"convformer-{frames}",
            expected=tuple(_result(v, paper, metric=m) for m, v in found.items() if v),
        )
    for frames, p1, velocity in ((143, 29.9, 1.2), (243, 29.8, None)):
        found = {"mpjpe": p1, "mpjve": velocity}
        yield replace(
            _CONVFORMER,
            name=f"convformer-{frames}-gt",
            network=f"convformer-{frames}",
            keypoints="gt",
            expected=tuple(_result(v, paper, metric=m) for m, v in found.items() if v),
        )
    yield replace(
        _CONVFORMER,
        name="convformer-9-3dhp",
        network="convformer-9",
        dataset="mpi-inf-3dhp",
        keypoints="annotated",
        protocol="mpi-inf-3dhp",
        expected=(
            _result(96.4, paper, metric="pck"),
            _result(69.8, paper, metric="auc"),
            _result(53.6, paper),
        ),
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
            expected=(_result(mean, f"{paper}, mean of nine cells", metric="p_mpjpe"),)
            if mean
            else (),
            notes=(*_CONVFORMER.notes, "2D and schedule on this data set are inferred"),
        )


def _image_space() -> Iterable[LiftingRecipe]:
    table = "tables of later papers"
    yield replace(
        _MOTIONBERT,
        name="motionbert-sh",
        expected=(
            _result(39.2, "README of the authors' code", papers=False),
            _result(32.9, table, metric="p_mpjpe", papers=False),
        ),
    )
    yield replace(
        _MOTIONBERT,
        name="motionbert-sh-finetuned",
        optimisation=replace(_MOTIONBERT.optimisation, epochs=60),
        expected=(
            _result(37.2, "README of the authors' code", papers=False),
            _result(32.2, "MMPose's table, of the same weights", metric="p_mpjpe", papers=False),
        ),
        notes=("start from the authors' pre-trained weights, converted (--from)",),
    )
    yield replace(_MOTIONBERT, name="motionbert-gt", keypoints="orthographic")
    yield replace(
        _MOTIONBERT,
        name="motionbert-lite-sh",
        network="motionbert-lite",
        # The rate is that of the wide network: theirs for this size is of fine-tuning.
        expected=(_result(39.8, "a figure of the authors' code of HoT", papers=False),),
    )
    yield replace(
        _MOTIONBERT,
        name="hot-motionbert-243-sh",
        network="hot-motionbert-243",
        overrides=_RANDOM_TIES,
        source="the host's recipe; Li et al., HoT (arXiv 2311.12028), publish no training of it",
        expected=(_result(39.8, "a figure of the authors' code of HoT", papers=False),),
        notes=("whether that figure's 2D is this one is not told",),
    )
    for size, frames, found in (
        ("xs", 27, {}),
        ("s", 81, {}),
        ("b", 243, {"mpjpe": (38.4, True)}),
        ("l", 243, {"mpjpe": (38.4, True), "p_mpjpe": (32.5, False)}),
    ):
        yield replace(
            _MOTIONAGFORMER,
            name=f"motionagformer-{size}-sh",
            network=f"motionagformer-{size}",
            stride=frames // 3,
            expected=tuple(
                _result(v, "the paper's abstract" if own else table, metric=metric, papers=own)
                for metric, (v, own) in found.items()
            ),
        )
    for size, frames, p1 in (("xs", 27, 28.1), ("s", 81, 26.5), ("b", 243, 19.4), ("l", 243, None)):
        yield replace(
            _MOTIONAGFORMER,
            name=f"motionagformer-{size}-gt",
            network=f"motionagformer-{size}",
            keypoints="orthographic",
            stride=frames // 3,
            expected=(_result(p1, table, papers=False),) if p1 else (),
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
        found = {"pck": pck, "auc": auc, "mpjpe": p1}
        yield replace(
            _MOTIONAGFORMER_3DHP,
            name=f"motionagformer-{size}-3dhp",
            network=f"motionagformer-{size}",
            overrides={"frames": frames},
            expected=tuple(
                _result(v, table, metric=m, papers=False) for m, v in found.items() if v
            ),
        )


def _ampose() -> Iterable[LiftingRecipe]:
    for keypoints, suffix in (("cpn_ft_h36m_dbb", "cpn"), ("gt", "gt")):
        yield replace(_AMPOSE, name=f"ampose-{suffix}", keypoints=keypoints)


_SECTIONS: tuple[Callable[[], Iterable[LiftingRecipe]], ...] = (
    _ampose,
    _convformer,
    _htnet,
    _mhformer,
    _mixste,
    _image_space,
    _nanohtnet,
)
_SHIPPED = MotionRecipe(
    name="lithepose-81-9",
    network="nanohtnet-81-9",
    source="our own; docs/models/lithepose-81-9.md has what it gives",
)
# A recipe that is trained by the engine on its own terms, written down and read back.
Recipe = LiftingRecipe | ImageRecipe | SyntheticRecipe
RECIPES: dict[str, Recipe | MotionRecipe] = {
    recipe.name: recipe
    for recipe in (
        _SHIPPED,
        *(recipe for section in _SECTIONS for recipe in section()),
        *IMAGE_RECIPES.values(),
        *SYNTHETIC_RECIPES.values(),
    )
}


def recipe_named(name: str) -> Recipe | MotionRecipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe named {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


# --- recipes as they are changed, written down and read back ----------------------------------

# Fields that --set leaves alone: who the recipe is, and what was published of it.
_FIXED = (
    "name", "network", "lifter", "overrides", "task", "optimisation", "expected", "source", "notes",
)  # fmt: skip


def changed(recipe: Any, changes: Iterable[str]) -> Any:
    """A recipe with some of its values replaced.

    Args:
        recipe: of `RECIPES`, or the shipped lifter's own (`lithepose.train.tasks.shipped.DEFAULT`).
        changes: texts `field=value`. The field is one of the recipe, one of its `Optimisation`,
            `network.<field>` for one of the network's config, or `clips.<field>` for how the
            shipped lifter's windows are drawn; the value is as JSON has it, plain text as it is.
            Fields of the network are looked at where it is built.

    Raises:
        ValueError: no such field, or a value that it cannot have; the message names what is known.
    """
    own = {name: kind for name, kind in kinds_of(type(recipe)).items() if name not in _FIXED}
    optimising = kinds_of(Optimisation)
    within = {
        f"{whole}.{field_name}": (whole, field_name, kind)
        for whole in [name for name, kind in own.items() if dataclasses.is_dataclass(kind)]
        for field_name, kind in kinds_of(own.pop(whole)).items()
    }
    of_recipe: dict[str, Any] = {}
    of_optimisation: dict[str, Any] = {}
    of_network: dict[str, Any] = {}
    for change in changes:
        name, value = read_change(change)
        if name.startswith("network."):
            of_network[name.removeprefix("network.")] = value
        elif name in within:
            whole, field_name, kind = within[name]
            part = of_recipe.get(whole, getattr(recipe, whole))
            of_recipe[whole] = replace(part, **{field_name: fitting(kind, value, name)})
        elif name in own:
            of_recipe[name] = fitting(own[name], value, name)
        elif name in optimising:
            of_optimisation[name] = fitting(optimising[name], value, name)
        else:
            known = [*sorted(own), *sorted(within), *sorted(optimising)]
            raise ValueError(
                f"the recipe has no field {name!r}; known: {', '.join(known)}, network.<field of "
                "its config>"
            )
    # A run has one length: the new one replaces the other.
    if "steps" in of_optimisation:
        of_optimisation.setdefault("epochs", None)
    elif "epochs" in of_optimisation:
        of_optimisation["steps"] = None
    return replace(
        recipe,
        **of_recipe,
        overrides={**recipe.overrides, **of_network},
        optimisation=replace(recipe.optimisation, **of_optimisation),
    )


# What is said of a recipe and does not decide its result: not written down, or a better wording
# would make it another recipe.
_SAID = ("expected", "source", "notes")


def described(recipe: Recipe) -> dict[str, Any]:
    """What decides the result, in values that JSON can hold; `recipe_of` reads it back. How it is
    optimised is not in it: the engine writes that beside it."""
    values = dataclasses.asdict(recipe)
    for name in ("optimisation", *_SAID):
        del values[name]
    return json.loads(json.dumps(values))


# What runs of older versions call a value now named otherwise.
_RENAMED = {
    "windows": {"centre": "per_frame", "centred": "padded"},
    "test_windows": {"centre": "per_frame", "centred": "padded"},
    "keypoints": {"hourglass": "stacked_hourglass"},
}


def recipe_of(values: Mapping[str, Any], optimisation: Mapping[str, Any]) -> Recipe:
    """The recipe that `described` wrote down.

    Raises:
        ValueError: it is of a version that had other fields, or of another kind of training.
    """
    kinds = {kind.task: kind for kind in (LiftingRecipe, ImageRecipe, SyntheticRecipe)}
    if values.get("task") not in kinds:
        raise ValueError(
            "this is no run of a recipe with a published table: the shipped lifter is measured by "
            "benchmarks/lifting.py"
        )
    values = {name: _RENAMED.get(name, {}).get(str(v), v) for name, v in values.items()}
    known = RECIPES.get(values.get("name", ""))
    said = {name: getattr(known, name) for name in _SAID if hasattr(known, name)}
    try:
        return kinds[values["task"]](
            **{"source": "", **said, **values, "optimisation": Optimisation(**optimisation)}
        )
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"this recipe does not have the fields that this version writes ({error})"
        ) from error


def is_published(recipe: Recipe) -> bool:
    """Whether a recipe is the one of the table, unchanged."""
    known = RECIPES.get(recipe.name)
    return (
        known is not None
        and not isinstance(known, MotionRecipe)
        and known.optimisation == recipe.optimisation
        and described(known) == described(recipe)
    )


def promises(recipe: Recipe | MotionRecipe) -> list[str]:
    """The published results of a recipe, one text each."""
    found = []
    for one in recipe.expected:
        metric = METRICS.get(one.metric)
        label, unit = (metric.label, metric.unit) if metric else (one.metric, "%")
        whose = "the paper's, " if one.papers else ""
        found.append(f"{label} {one.value:g} {unit} ({whose}{one.source})")
    return found


_BENCHMARK = (
    "The networks of the open benchmark, all by one recipe, are trained by `lithepose bench NAME` "
    "(`lithepose bench --list`)."
)


def as_markdown() -> str:
    """The table of recipes."""
    rows = [
        "| recipe | trains | data | input | optimisation | published |",
        "|---|---|---|---|---|---|",
    ]
    for recipe in RECIPES.values():
        if isinstance(recipe, LiftingRecipe):
            data = f"{recipe.dataset}, {recipe.keypoints}"
            given = "single frames"
            if recipe.frames > 1:
                given = f"{recipe.frames} frames, every {recipe.stride}"
        elif isinstance(recipe, ImageRecipe):
            data, given = recipe.dataset, "crops of {} x {}".format(*recipe.image_size)
        elif isinstance(recipe, SyntheticRecipe):
            data, given = "synthetic people", "crops of {} x {}".format(*recipe.image_size)
        else:
            data, given = "motion capture", "81 frames, drawn"
        found = "; ".join(promises(recipe)) or "-"
        how = "-" if isinstance(recipe, MotionRecipe) else _summary(recipe.optimisation)
        cells = (f"`{recipe.name}`", f"`{recipe.network}`", data, given, how, found)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + f"\n\n{_BENCHMARK}\n"


def _summary(optimisation: Optimisation) -> str:
    length = (
        f"{optimisation.epochs} epochs" if optimisation.epochs else f"{optimisation.steps} steps"
    )
    rate = f"{optimisation.learning_rate:g}".replace("e-0", "e-")
    return f"{optimisation.optimiser} {rate}, {length} of {optimisation.batch}"
