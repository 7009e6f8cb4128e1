"""What LitheBench asks: the papers' claims, and which runs cannot answer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Question:
    """A paper's claim.

    Attributes:
        claim: what the paper says.
        source: where.
        first, second: entries compared; the claim is about the second beside the first.
        score: the column the claim is about.
        remark: what the comparison leaves open.
    """

    claim: str
    source: str
    first: str
    second: str
    score: str = "mpjpe"
    remark: str = ""


_ONE_MODULE = (
    "HTNet's paper says of its whole method that end joints improve by 18.7 %, and its abstract "
    "does not say beside what: networks with and without the one module do not answer that."
)
_BOTH_KINDS = (
    "AMPose beside networks of one kind of blocks shows that having both kinds helps, not that "
    "alternating them does: both kinds unmixed, all blocks of one before those of the other, were "
    "not run."
)
_HOT = "Li et al., HoT (arXiv 2311.12028)"
_HOT_EXTENDED = "Li et al., HoT, extended (arXiv 2311.12028)"
QUESTIONS = (
    *(
        Question(claim=f"HoT keeps {claim}", source=source, first=host, second=f"hot-{host}")
        for host, claim, source in (
            ("motionbert", "MotionBERT's accuracy with about 50 % fewer FLOPs", _HOT),
            ("mixste", "MixSTE's accuracy with about 40 % fewer FLOPs", _HOT),
            ("motionagformer", "MotionAGFormer's accuracy", _HOT_EXTENDED),
            ("mhformer", "MHFormer's accuracy", _HOT),
        )
    ),
    Question(
        claim="the intra-part constraint lowers the error of end joints",
        source="Cai et al., HTNet (arXiv 2302.09790)",
        first="htnet-without-ipc",
        second="htnet",
        score="end_joints",
        remark=_ONE_MODULE,
    ),
    Question(
        claim="the intra-part constraint lowers it with as many parameters in all",
        source="ours, beside the claim of HTNet",
        first="htnet-without-ipc-wide",
        second="htnet",
        score="end_joints",
    ),
    Question(
        claim="PoseCLR pre-training helps NanoHTNet",
        source="Cai et al., NanoHTNet (arXiv 2501.15763)",
        first="nanohtnet",
        second="nanohtnet+poseclr",
    ),
    Question(
        claim="PoseCLR pre-training helps more than training NanoHTNet for as long",
        source="ours, beside the claim before",
        first="nanohtnet-twice",
        second="nanohtnet+poseclr",
    ),
    Question(
        claim="ConvFormer matches networks of more parameters",
        source="Diaz-Arias and Shin, ConvFormer (arXiv 2304.02147)",
        first="mhformer",
        second="convformer",
    ),
    Question(
        claim="both kinds of blocks, in turn, beat encoders alone at equal size",
        source="Lin et al., AMPose (arXiv 2210.04216)",
        first="ampose-encoders",
        second="ampose",
        remark=_BOTH_KINDS,
    ),
    Question(
        claim="both kinds of blocks, in turn, beat graph convolutions alone at equal size",
        source="Lin et al., AMPose (arXiv 2210.04216)",
        first="ampose-graphs",
        second="ampose",
        remark=_BOTH_KINDS,
    ),
)

_ZERO_TOKENS = (
    "HoT's recovering attention starts from tokens of zero, as in its authors' code, so that all "
    "its queries are equal. In so short a training they stay nearly so, and a window's poses move "
    "too little: around MixSTE they are almost one and the same (MPJVE beside the host's). That "
    "says something of this start, and nothing of the method."
)
_ONLY_DROPOUT = (
    "MHFormer trained with a dropout of 0.25 on the embedded frames, which its authors have for "
    "clips of up to 27 frames. Every other network trained without any."
)


def faults(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Why runs of an entry are withdrawn, if they are: their numbers stand, but answer no claim.

    Args:
        entry: what a result says of it under `definition`, of these or of earlier settings.
    """
    settings = entry["settings"]
    found = []
    if entry["lifter"] == "hot" and settings["recoverer"] == "attention":
        found.append(_ZERO_TOKENS)
    network = settings.get("host", entry["lifter"])
    own = settings.get("host_settings", settings)
    if network == "mhformer" and own.get("short_clip_dropout") != 0.0:
        found.append(_ONLY_DROPOUT)
    return tuple(found)
