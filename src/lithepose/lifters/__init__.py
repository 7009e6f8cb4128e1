"""Lifters: networks that turn clips of 2D poses into 3D poses.

`LIFTERS` lists the published sizes; it loads without PyTorch, the networks themselves need it
(`pip install "lithepose[train]"`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lithepose.lazy import needing_torch

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "FAMILIES",
    "LIFTERS",
    "Family",
    "LifterSpec",
    "convert_state_dict",
    "create_lifter",
    "load_family",
]


@dataclass(frozen=True, kw_only=True)
class LifterSpec:
    """One published size of a network.

    All take 2D with x from -1 to 1 over the width of the image, y on the same scale, both 0 at the
    centre of the image.

    Attributes:
        family: the network, a key of `FAMILIES`.
        settings: fields of its config that differ from the defaults there.
        frames_in: frames of the clip it takes; 1 means that frames are lifted one by one.
        frames_out: frames it gives.
        which_frames: `"all"` frames of the clip, or the `frames_out` around its `"centre"`.
        in_channels: numbers per joint and frame; 2 is (x, y), 3 is (x, y, confidence).
        source: where the size is published.
    """

    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    frames_in: int
    frames_out: int
    which_frames: Literal["all", "centre"]
    in_channels: int = 2
    source: str


# If its authors published checkpoints, a module also has `from_authors`, which translates them, and
# `AUTHORS_OPTIONS`, the options it takes.
FAMILIES = {
    "ampose": "lithepose.lifters.ampose:AMPose",
    "convformer": "lithepose.lifters.convformer:ConvFormer",
    "hot": "lithepose.lifters.hot:HourglassLifter",
    "htnet": "lithepose.lifters.htnet:HTNet",
    "mhformer": "lithepose.lifters.mhformer:MHFormer",
    "mixste": "lithepose.lifters.mixste:MixSTE",
    "motionagformer": "lithepose.lifters.motionagformer:MotionAGFormer",
    "motionbert": "lithepose.lifters.motionbert:MotionBERT",
    "nanohtnet": "lithepose.lifters.nanohtnet:NanoHTNet",
}
# Where the sizes are published.
SOURCES = {
    "ampose": "our reconstruction of AMPose (Lin et al., arXiv 2210.04216), not a published size",
    # Patents: see docs/models/convformer.md.
    "convformer": "Diaz-Arias and Shin, ConvFormer (arXiv 2304.02147), table of window lengths",
    "hot": "Li et al., HoT (arXiv 2311.12028), the authors' code",
    "htnet": "Cai et al., HTNet (arXiv 2302.09790), the authors' default",
    "mhformer": "Li et al., MHFormer (arXiv 2111.12707); its errors are those of the centre frame",
    "mixste": "Zhang et al., MixSTE (arXiv 2203.00859), tables of Human3.6M and MPI-INF-3DHP",
    "motionagformer": "Mehraban et al., MotionAGFormer (arXiv 2310.16288), sizes for Human3.6M",
    "motionbert": "Zhu et al., MotionBERT (arXiv 2210.06551), configs in the authors' code",
    "nanohtnet": "options of the authors' code (arXiv 2501.15763), default width and depth",
}


def _single(family: str, **settings: Any) -> LifterSpec:
    """A network of single frames."""
    return LifterSpec(
        family=family,
        settings=settings,
        frames_in=1,
        frames_out=1,
        which_frames="all",
        source=SOURCES[family],
    )


def _clips(
    family: str,
    frames: int,
    around_centre: int | None = None,
    *,
    in_channels: int = 2,
    source: str | None = None,
    **settings: Any,
) -> LifterSpec:
    """A network of clips that gives all their frames, or so many around the centre."""
    return LifterSpec(
        family=family,
        settings={"frames": frames, **settings},
        frames_in=frames,
        frames_out=around_centre or frames,
        which_frames="centre" if around_centre else "all",
        in_channels=in_channels,
        source=source or SOURCES[family],
    )


def _pruned(
    host: str,
    frames: int,
    prune: tuple[int, int],
    *,
    recoverer: Literal["attention", "none"],
    in_channels: int = 2,
    host_settings: Mapping[str, Any] | None = None,
    **settings: Any,
) -> LifterSpec:
    """A host that keeps `prune[1]` of its frames from block `prune[0]` on."""
    settings |= {"host": host, "host_settings": {"frames": frames, **(host_settings or {})}}
    return LifterSpec(
        family="hot",
        settings=settings | {"prune": (prune,), "recoverer": recoverer},
        frames_in=frames,
        frames_out=1 if recoverer == "none" else frames,
        which_frames="centre" if recoverer == "none" else "all",
        in_channels=in_channels,
        source=SOURCES["hot"],
    )


def _nanohtnet(frames: int, kept_frames: int, source: str | None = None) -> LifterSpec:
    return _clips("nanohtnet", frames, kept_frames, kept_frames=kept_frames, source=source)


def _motionagformer(frames: int, layers: int, channels: int) -> LifterSpec:
    return _clips("motionagformer", frames, in_channels=3, layers=layers, channels=channels)


LIFTERS: dict[str, LifterSpec] = {
    "ampose": _single("ampose"),
    "ampose-s": _single("ampose", channels=128),
    "ampose-b": _single("ampose", channels=256),
    "convformer-9": _clips("convformer", 9, 1),
    "convformer-27": _clips("convformer", 27, 1),
    "convformer-81": _clips("convformer", 81, 1),
    "convformer-143": _clips("convformer", 143, 1),
    "convformer-243": _clips("convformer", 243, 1),
    "hot-mixste-243": _pruned("mixste", 243, (3, 81), recoverer="attention"),
    "hot-motionagformer-243": _pruned(
        "motionagformer",
        243,
        (7, 81),
        recoverer="attention",
        in_channels=3,
        host_settings={"heads": 4, "neighbours": 4},
        heads=4,
        bias=False,
    ),
    "hot-motionbert-243": _pruned(
        "motionbert",
        243,
        (1, 81),
        recoverer="attention",
        in_channels=3,
        host_settings={"channels": 256},
    ),
    "htnet": _single("htnet"),
    "mhformer-27": _clips("mhformer", 27),
    "mhformer-81": _clips("mhformer", 81),
    "mhformer-243": _clips("mhformer", 243),
    "mhformer-351": _clips("mhformer", 351),
    "mixste-27": _clips("mixste", 27),
    "mixste-81": _clips("mixste", 81),
    "mixste-243": _clips("mixste", 243),
    "motionagformer-xs": _motionagformer(27, 12, 64),
    "motionagformer-s": _motionagformer(81, 26, 64),
    "motionagformer-b": _motionagformer(243, 16, 128),
    "motionagformer-l": _motionagformer(243, 26, 128),
    "motionbert": _clips("motionbert", 243, in_channels=3),
    "motionbert-lite": _clips("motionbert", 243, in_channels=3, channels=256),
    "nanohtnet-9-9": _nanohtnet(9, 9),
    "nanohtnet-27-3": _nanohtnet(27, 3),
    "nanohtnet-27-9": _nanohtnet(27, 9),
    "nanohtnet-27-27": _nanohtnet(27, 27),
    "nanohtnet-81-9": _nanohtnet(81, 9),
    "nanohtnet-81-27": _nanohtnet(81, 27),
    "nanohtnet-243-9": _nanohtnet(243, 9, "the authors' demo and default (arXiv 2501.15763)"),
    "nanohtnet-243-27": _nanohtnet(243, 27),
    "tpc-mhformer-351": _pruned("mhformer", 351, (1, 117), recoverer="none"),
    "tpc-mixste-243": _pruned("mixste", 243, (7, 61), recoverer="none"),
}


class Family(NamedTuple):
    """A network and what translates its authors' checkpoints.

    Attributes:
        network: the class, with `Config`.
        from_authors: the function; None where the authors have published no checkpoints.
        options: fields of the config to the options of the authors' program.
    """

    network: Any
    from_authors: Any
    options: Mapping[str, str]


def load_family(family: str) -> Family:
    """Import a family of networks.

    Raises:
        ValueError: there is no such family.
        ImportError: PyTorch is not installed.
    """
    if family not in FAMILIES:
        raise ValueError(f"no network named {family!r}; known: {', '.join(sorted(FAMILIES))}")
    module_name, _, class_name = FAMILIES[family].partition(":")
    with needing_torch(f"the network {family!r}"):
        module = importlib.import_module(module_name)
    return Family(
        network=getattr(module, class_name),
        from_authors=getattr(module, "from_authors", None),
        options=getattr(module, "AUTHORS_OPTIONS", {}),
    )


def create_lifter(name: str, **overrides: Any) -> nn.Module:
    """Build a lifter, untrained.

    Args:
        name: a key of `LIFTERS`, or of `FAMILIES` for a network with its default config.
        overrides: replace fields of its config.

    Raises:
        ValueError: there is no such lifter, or the config does not allow a value.
        TypeError: the config has no such field.
        ImportError: PyTorch is not installed.
    """
    if name not in LIFTERS and name not in FAMILIES:
        known = ", ".join(sorted(LIFTERS.keys() | FAMILIES.keys()))
        raise ValueError(f"no lifter named {name!r}; known: {known}")
    row = LIFTERS.get(name)
    network = load_family(row.family if row else name).network
    settings = {**(row.settings if row else {}), **overrides}
    return network(network.Config(**settings))


def load_lifter(name: str | os.PathLike[str]) -> nn.Module:
    """Build a trained lifter, ready to evaluate.

    Args:
        name: a weights file (`lithepose.lifters.weights`), or `lithepose-81-9`, the shipped lifter.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or no weights file of this package.
        ImportError: PyTorch is not installed.
    """
    from lithepose.lifters.default import WEIGHTS

    with needing_torch("loading a lifter"):
        from lithepose.lifters import weights
    if str(name) != WEIGHTS:
        return weights.load_lifter(name)
    shipped = resources.files("lithepose") / "weights" / f"{WEIGHTS}.safetensors"
    with resources.as_file(shipped) as path:
        return weights.load_lifter(path)


def convert_state_dict(
    network: str, state_dict: Mapping[str, Tensor], **authors_arguments: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate a checkpoint of a network's authors to the names used here.

    Args:
        network: a key of `FAMILIES`.
        state_dict: tensors by the authors' names; a prefix `module.` is ignored.
        authors_arguments: the authors' options the checkpoint was trained with, by their names;
            those left out have the authors' defaults.

    Returns:
        The config as keyword arguments of `create_lifter(network, ...)`, and the tensors for the
        `load_state_dict` of the lifter it builds.

    Raises:
        ValueError: there is no such network, its authors have published no checkpoints, or tensors
            are missing, surplus or misshapen.
        TypeError: the network has no such option.
        ImportError: PyTorch is not installed.
    """
    from_authors = load_family(network).from_authors
    if from_authors is None:
        raise ValueError(
            f"the authors of {network!r} have published no checkpoints, so there are no names to "
            "translate: train it, or load a weights file of this package with load_lifter"
        )
    return from_authors(state_dict, **authors_arguments)
