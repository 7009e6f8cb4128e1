"""Hourglass: leave frames out between the blocks of a video transformer, and bring them back.

Neighbouring frames say nearly the same. The first blocks of a host network see all T frames of a
clip; a pruner then keeps f of them, and the other blocks run on those alone. For poses of all
frames a recoverer makes T out of f at the end; without one, the pose of the centre frame is the
result. `Hourglass` does this around any network with the few steps of `Host`.

Source: Li et al., "Hourglass Tokenizer for Efficient Transformer-Based 3D Human Pose Estimation"
(HoT, arXiv 2311.12028), and the authors' code; pruning in several places, even sampling and
interpolated poses follow the abstract of its extension H2OT (arXiv 2509.06956). Differences from
the code: the same clip always keeps the same frames, unless random numbers are asked for; distances
between frames are computed with less rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from lithepose.lifters import load_family
from lithepose.lifters.blocks import attend, full_precision
from lithepose.lifters.weights import translate

NEIGHBOURS = 2  # that make the density around a frame, the frame itself among them
TIE_BREAK = 1e-6  # the most it adds to a density, which is at most 1
GOLDEN_RATIO = 0.6180339887498949  # its fractional multiples differ most between neighbours


class Host(Protocol):
    """What an `Hourglass` needs of the network it is put around; also an `nn.Module`.

    Tokens are (B, N, ..., C): clips, frames, as many axes as the network wants, channels.

    Attributes:
        blocks: the blocks between which frames can be left out; only their number is read.
        token_dim: C, the width of the tokens.
    """

    @property
    def blocks(self) -> Sized: ...

    @property
    def token_dim(self) -> int: ...

    def embed(self, joints_2d: Tensor, /) -> Tensor:
        """Tokens of a clip (B, T, J, c), with all that marks their places in it."""
        ...

    def run_block(self, index: int, tokens: Tensor, /) -> Tensor:
        """A block on the tokens of any N frames, in their order; keeps the shape."""
        ...

    def finish(self, tokens: Tensor, /) -> Tensor:
        """What lies between the last block and the head, for instance a norm; keeps N."""
        ...

    def head(self, tokens: Tensor, /) -> Tensor:
        """Poses (B, N, J, 3) of the tokens of any N frames, each from its own frame."""
        ...


# --- which frames to keep ---------------------------------------------------------------------


class Pruner(nn.Module):
    """Chooses the frames that a clip keeps. Subclasses give `forward`.

    Args:
        kept: f, frames that are kept.
        keep_centre: always keep the centre of the clip, so that its pose can be read at the end.
    """

    def __init__(self, kept: int, *, keep_centre: bool = False):
        super().__init__()
        if kept < 1:
            raise ValueError(f"at least one frame must be kept: {kept}")
        self.kept = kept
        self.keep_centre = keep_centre

    def forward(
        self, tokens: Tensor, joints_2d: Tensor, centre: Tensor, noise: Tensor | None
    ) -> Tensor:
        """Choose among N frames, all of the clip or what an earlier pruner has left.

        Args:
            tokens: (B, N, ..., C) as they enter the block.
            joints_2d: (B, N, J, c), the network's input of these frames.
            centre: (B,), which of the N frames is the centre of the clip.
            noise: (B, N), from 0 to 1, in place of the pruner's own way to break ties.

        Returns:
            (B, f) integers from 0 to N - 1, rising.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how it chooses frames")

    def extra_repr(self) -> str:
        return f"kept={self.kept}, keep_centre={self.keep_centre}"


def even_noise(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Numbers from 0 to 1 that break ties without chance: fractional parts of multiples of the
    golden ratio. Neighbours differ by at least 0.38. (count,), float32."""
    # Made on the device: a step that is recorded as a CUDA graph must not move anything to it.
    multiples = GOLDEN_RATIO * torch.arange(1, count + 1, device=device, dtype=torch.float64)
    return (multiples - multiples.floor()).float()


def squared_distances(features: Tensor) -> Tensor:
    """Squared distances between all pairs of N features, over their width: (B, N, D) to
    (B, N, N), exactly symmetric and zero on the diagonal."""
    # Without their mean the products are small, and so is what their differences lose.
    centred = features - features.mean(dim=1, keepdim=True)
    products = torch.matmul(centred, centred.transpose(1, 2))
    norms = products.diagonal(dim1=1, dim2=2)
    # Symmetric by construction: two frames that are each other's nearest neighbour then have the
    # very same density, and the tie-break decides between them, not rounding.
    squared = norms.unsqueeze(1) + norms.unsqueeze(2) - (products + products.transpose(1, 2))
    off_diagonal = 1.0 - torch.eye(features.shape[1], device=features.device)
    return squared.clamp(min=0.0) * off_diagonal / features.shape[2]


def density_peaks(features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """How well each frame stands for the frames around it.

    Args:
        features: (B, N, D).
        noise: (B, N) or (N,), from 0 to 1; breaks ties between densities. Ties are the rule: two
            frames that are each other's nearest neighbour have the same density.

    Returns:
        Density and score, (B, N) each. The density is 1 in a crowd and falls with the distance to
        the nearest neighbour; the score is the density times the distance to the nearest frame of
        a higher density, so that each crowd has one frame with a high score.

    Source: density peaks clustering, Rodriguez and Laio (Science, 2014), as in HoT.
    """
    squared = squared_distances(features.float())
    nearest = squared.topk(min(NEIGHBOURS, squared.shape[1]), dim=-1, largest=False).values
    density = torch.exp(-nearest.mean(dim=-1)) + TIE_BREAK * noise
    distance = squared.sqrt()
    own, other = density.unsqueeze(2), density.unsqueeze(1)  # [b, i, j] compares i with j
    # Near 1, float32 is too coarse for a tenth of the tie-break: what it swallowed counts here.
    noise = noise.expand_as(density)
    denser = (other > own) | ((other == own) & (noise.unsqueeze(1) > noise.unsqueeze(2)))
    farthest = distance.amax(dim=(1, 2), keepdim=True)  # where no frame is denser
    return density, density * torch.where(denser, distance, farthest).amin(dim=-1)


class DensityPruner(Pruner):
    """Keep one frame for each crowd of similar ones: the token pruning cluster (TPC) of HoT.

    Args:
        kept: f, frames that are kept.
        keep_centre: always keep the centre of the clip.
        random_ties: in training, break ties at random and not by `even_noise`. The authors do so
            when they evaluate, too: pass a random `noise` for that.
    """

    def __init__(self, kept: int, *, keep_centre: bool = False, random_ties: bool = False):
        super().__init__(kept, keep_centre=keep_centre)
        self.random_ties = random_ties

    @torch.no_grad()
    def forward(
        self,
        tokens: Tensor,
        joints_2d: Tensor,  # noqa: ARG002
        centre: Tensor,
        noise: Tensor | None,
    ) -> Tensor:
        frames = tokens.shape[1]
        if noise is None and self.random_ties and self.training:
            noise = torch.rand(tokens.shape[:2], device=tokens.device)
        elif noise is None:
            noise = even_noise(frames, tokens.device)
        with full_precision(tokens):
            pooled = tokens.float()
            if pooled.dim() > 3:
                pooled = pooled.flatten(2, -2).mean(dim=2)  # (B, N, C)
            _, score = density_peaks(pooled, noise)
        if self.keep_centre:
            score = score.scatter(1, centre.unsqueeze(1), torch.inf)
        return score.topk(self.kept, dim=1).indices.sort(dim=1).values


class UniformPruner(Pruner):
    """Keep frames at even steps, the first and the last among them: the token pruning sampler
    (TPS) of H2OT. Ignores what the frames show.

    With `keep_centre`, the centre takes the place of the kept frame nearest to it.
    """

    def forward(
        self,
        tokens: Tensor,
        joints_2d: Tensor,  # noqa: ARG002
        centre: Tensor,
        noise: Tensor | None,  # noqa: ARG002
    ) -> Tensor:
        frames = tokens.shape[1]
        steps = max(self.kept - 1, 1)
        # In whole numbers, halves upwards: round() would send them to the even neighbour.
        even = [(2 * m * (frames - 1) + steps) // (2 * steps) for m in range(self.kept)]
        kept = torch.tensor(even, device=tokens.device).expand(tokens.shape[0], -1)
        if self.keep_centre:
            nearest = (kept - centre.unsqueeze(1)).abs().argmin(dim=1, keepdim=True)
            kept = kept.scatter(1, nearest, centre.unsqueeze(1))
        return kept


# --- how to get all frames back ---------------------------------------------------------------


class Recoverer(nn.Module):
    """Makes T frames out of the f kept ones, before the head or after it. Subclasses override one
    of the two methods."""

    def recover_tokens(self, tokens: Tensor, kept: Tensor, frames: int) -> Tensor:  # noqa: ARG002
        """Tokens (B, f, ..., C) that the head will read, to (B, T, ..., C), or as they are.

        Args:
            tokens: of the kept frames, as they leave `finish`.
            kept: (B, f), their places among the T frames, rising.
            frames: T.
        """
        return tokens

    def recover_poses(self, poses: Tensor, kept: Tensor, frames: int) -> Tensor:  # noqa: ARG002
        """Poses that the head gave, to (B, T, J, 3), or as they are; arguments as above."""
        return poses


class AttentionRecoverer(Recoverer):
    """One cross-attention from a learned query per frame to the kept tokens, joint by joint: the
    token recovering attention (TRA) of HoT.

    Args:
        dim: C, the width of the tokens, a multiple of `heads`.
        frames: T, frames of a clip.
        heads: of the attention.
        bias: whether the layers of query, key and value have one.
    """

    def __init__(self, dim: int, frames: int, heads: int = 8, *, bias: bool = True):
        super().__init__()
        if dim % heads:
            raise ValueError(
                f"the width of the tokens ({dim}) must be a multiple of heads: {heads}"
            )
        self.heads = heads
        self.frame_token = nn.Parameter(torch.zeros(1, frames, dim))
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=bias) for _ in range(3))
        self.project = nn.Linear(dim, dim)

    def recover_tokens(self, tokens: Tensor, kept: Tensor, frames: int) -> Tensor:  # noqa: ARG002
        if frames != self.frame_token.shape[1]:
            raise ValueError(
                f"the recoverer was built for clips of {self.frame_token.shape[1]} frames, "
                f"not {frames}"
            )
        per_joint = tokens.movedim(1, -2)  # (B, ..., f, C)
        folded = per_joint.flatten(0, -3)  # (B·..., f, C)
        given = (self.query(self.frame_token), self.key(folded), self.value(folded))
        # (., heads, frames, C/heads)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in given)
        mixed = attend(q.expand(k.shape[0], -1, -1, -1), k, v)  # (B·..., heads, T, C/heads)
        mixed = self.project(mixed.transpose(1, 2).flatten(2))  # (B·..., T, C)
        recovered = self.frame_token + mixed
        if tokens.dim() > 3:
            recovered = recovered.unflatten(0, (-1, *per_joint.shape[1:-2]))
        return recovered.movedim(-2, 1)  # (B, T, ..., C)


class PoseInterpolation(Recoverer):
    """Straight lines between the poses of the kept frames: the token recovering interpolation
    (TRI) of H2OT. Before the first and after the last kept frame, the pose stands still."""

    def recover_poses(self, poses: Tensor, kept: Tensor, frames: int) -> Tensor:
        if poses.shape[1] == 1:
            return poses.expand(-1, frames, -1, -1)
        time = torch.arange(frames, device=poses.device)
        passed = (kept.unsqueeze(1) <= time.unsqueeze(1)).sum(dim=2)  # (B, T), kept frames so far
        after = passed.clamp(1, poses.shape[1] - 1)
        start, end = kept.gather(1, after - 1), kept.gather(1, after)  # (B, T)
        share = ((time - start) / (end - start)).clamp(0.0, 1.0).to(poses.dtype)
        return torch.lerp(
            take_frames(poses, after - 1), take_frames(poses, after), share[:, :, None, None]
        )


# --- the wrapper ------------------------------------------------------------------------------


class Lifted(NamedTuple):
    """What an hourglass makes of a batch of clips.

    Attributes:
        poses: (B, T, 17, 3) with a recoverer, else (B, f, 17, 3), metres, camera axes, relative to
            the root joint.
        kept: for each pruner in the order of the blocks, the frames it kept: (B, f), rising,
            counted in the whole clip.
    """

    poses: Tensor
    kept: list[Tensor]


def centre_of(frames: int) -> int:
    """The centre of so many frames, of an even number the earlier of the two in the middle."""
    return (frames - 1) // 2


def take_frames(x: Tensor, index: Tensor) -> Tensor:
    """Frames (B, n) of (B, N, ...): (B, n, ...)."""
    index = index.reshape(*index.shape, *(1,) * (x.dim() - 2))
    return x.gather(1, index.expand(-1, -1, *x.shape[2:]))


class Hourglass(nn.Module):
    """Lift clips with fewer frames in the later blocks; see the module's docstring for the idea.

    Args:
        host: the network, which keeps its weights and can be trained before or after.
        pruners: what leaves frames out, by the number of the block (from 0) they come before.
        recoverer: what brings the frames back; without one, only the centre is asked for, and
            every pruner must keep it.
        slot_positions: add a learned vector to the m-th kept frame, for each m, after pruning.

    Raises:
        ValueError: the host has no such block, a pruner keeps more frames than it gets, or the
            centre may be lost.
    """

    def __init__(
        self,
        host: Host,
        pruners: Mapping[int, Pruner],
        recoverer: Recoverer | None = None,
        *,
        slot_positions: bool = False,
    ):
        super().__init__()
        count = len(host.blocks)
        kept = None
        for index, pruner in sorted(pruners.items()):
            if not 0 <= index < count:
                raise ValueError(f"no block {index} to prune before: the host has 0 to {count - 1}")
            if kept is not None and pruner.kept > kept:
                raise ValueError(
                    f"{pruner.kept} frames are to be kept before block {index}, where only {kept} "
                    "are left"
                )
            if recoverer is None and not pruner.keep_centre:
                raise ValueError(
                    f"the pruner before block {index} may leave out the centre frame, which is the "
                    "result without a recoverer: pass keep_centre=True to it"
                )
            kept = pruner.kept
        self.host = cast(nn.Module, host)
        self.pruners = nn.ModuleDict({str(i): pruner for i, pruner in sorted(pruners.items())})
        self.slot_positions = nn.ParameterDict()
        if slot_positions:
            for i, pruner in pruners.items():
                self.slot_positions[str(i)] = torch.zeros(1, pruner.kept, host.token_dim)
        self.recoverer = recoverer

    def lift(
        self,
        joints_2d: Tensor,
        *,
        noise: Tensor | None = None,
        kept: Sequence[Tensor] | None = None,
    ) -> Lifted:
        """Lift clips, and say which frames were kept.

        Args:
            joints_2d: (B, T, 17, in_channels), as the host takes them.
            noise: (B, T), from 0 to 1: breaks ties between frames in place of the pruners' own
                way. `torch.rand` makes the choice random, as that of the authors always is.
            kept: for each pruner, the frames to keep in place of its choice, as in `Lifted`: for
                instance those of the same clips not mirrored.

        Raises:
            ValueError: the host does not take such clips, or `kept` does not fit the pruners, the
                clips, or what is left of them.
        """
        host = cast(Host, self.host)
        tokens = host.embed(joints_2d)
        clips, total = joints_2d.shape[:2]
        frames = torch.arange(total, device=joints_2d.device).expand(clips, -1)
        joints, chosen = joints_2d, list[Tensor]()
        if kept is not None and len(kept) != len(self.pruners):
            raise ValueError(f"kept has {len(kept)} tensors for {len(self.pruners)} pruners")
        for index in range(len(host.blocks)):
            if str(index) in self.pruners:
                pruner = cast(Pruner, self.pruners[str(index)])
                if kept is not None:
                    places = _places(kept[len(chosen)], frames, pruner, total)
                elif pruner.kept > frames.shape[1]:
                    raise ValueError(
                        f"{pruner.kept} frames are to be kept before block {index}, and the clip "
                        f"has {frames.shape[1]}"
                    )
                else:
                    centre = (frames < centre_of(total)).sum(dim=1)
                    places = pruner(tokens, joints, centre, noise)
                tokens, joints, frames = (take_frames(x, places) for x in (tokens, joints, frames))
                noise = noise if noise is None else take_frames(noise, places)
                chosen.append(frames)
                if str(index) in self.slot_positions:
                    slots = self.slot_positions[str(index)]  # (1, f, C)
                    axes = (1,) * (tokens.dim() - 3)
                    tokens = tokens + slots.reshape(1, slots.shape[1], *axes, -1)
            tokens = host.run_block(index, tokens)

        with full_precision(joints_2d):
            tokens = host.finish(tokens.float())
            if self.recoverer is None:
                return Lifted(host.head(tokens), chosen)
            tokens = self.recoverer.recover_tokens(tokens, frames, total)
            return Lifted(self.recoverer.recover_poses(host.head(tokens), frames, total), chosen)

    def forward(
        self,
        joints_2d: Tensor,
        *,
        noise: Tensor | None = None,
        kept: Sequence[Tensor] | None = None,
    ) -> Tensor:
        """Lift clips; arguments and errors as in `lift`.

        Returns:
            (B, T, 17, 3) with a recoverer, else (B, 1, 17, 3), the centre frame; metres, camera
            axes, relative to the root joint.
        """
        lifted = self.lift(joints_2d, noise=noise, kept=kept)
        if self.recoverer is not None:
            return lifted.poses
        centre = centre_of(joints_2d.shape[1])
        if not lifted.kept:
            return lifted.poses[:, centre : centre + 1]
        place = (lifted.kept[-1] < centre).sum(dim=1, keepdim=True)  # frames kept before it
        return take_frames(lifted.poses, place)


def _places(wanted: Tensor, frames: Tensor, pruner: Pruner, total: int) -> Tensor:
    """Where given frames of the whole clip, (B, f), are among those still there, (B, N)."""
    shape = (frames.shape[0], pruner.kept)
    if tuple(wanted.shape) != shape:
        raise ValueError(
            f"the frames to keep must be {shape}, clips and frames, not {tuple(wanted.shape)}"
        )
    if not bool((wanted.diff(dim=1) > 0).all()):
        raise ValueError("the frames to keep must rise within each clip")
    places = (frames.unsqueeze(1) < wanted.unsqueeze(2)).sum(dim=2)
    there = places.clamp(max=frames.shape[1] - 1)
    if not torch.equal(frames.gather(1, there), wanted):
        raise ValueError(
            f"the frames to keep must be among those left of the {total} frames of the clip"
        )
    if pruner.keep_centre and not bool((wanted == centre_of(total)).any(dim=1).all()):
        raise ValueError(f"the frames to keep must include the centre, {centre_of(total)}")
    return there


# --- the published combinations ---------------------------------------------------------------

# Host to what the authors prune before, and how many frames they keep there: with recovering to
# all frames (True), or for the centre frame (False). MotionBERT for the centre is not published.
PUBLISHED: dict[str, dict[bool, tuple[int, int]]] = {
    "mhformer": {False: (1, 117)},
    "mixste": {True: (3, 81), False: (7, 61)},
    "motionagformer": {True: (7, 81)},
    "motionbert": {True: (1, 81)},
}
# Defaults of the authors' code of HoT, where they are not those of the host's own authors.
HOT_ARGUMENTS: dict[str, dict[str, Any]] = {
    "motionagformer": {"num_heads": 4, "neighbour_num": 4},
    "motionbert": {"dim_feat": 256, "mlp_ratio": 4},
}


@dataclass(frozen=True, kw_only=True)
class HourglassConfig:
    """A network of the table of lifters and how it is pruned; the defaults are HoT with MixSTE.

    Attributes:
        host: the network, a key of `PUBLISHED`.
        host_settings: fields of the host's config that differ from the defaults there. How many
            frames each layer of MotionAGFormer sees follows from `prune`.
        prune: pairs (block, frames), rising blocks: before this block of the host, keep so many.
        pruner: `"density"` keeps a frame for each crowd of similar ones, `"uniform"` even steps.
        recoverer: `"attention"` (with learned positions of the kept frames) or `"interpolation"`
            give all frames; `"none"` gives the centre frame.
        heads: of the attention of the recoverer.
        bias: whether query, key and value of the recoverer have one; in HoT, where the host's do.
        random_ties: break the ties of the density at random in training.
    """

    host: str = "mixste"
    host_settings: Mapping[str, Any] = field(default_factory=dict)
    prune: tuple[tuple[int, int], ...] = ((3, 81),)
    pruner: Literal["density", "uniform"] = "density"
    recoverer: Literal["attention", "interpolation", "none"] = "attention"
    heads: int = 8
    bias: bool = True
    random_ties: bool = False

    def __post_init__(self) -> None:
        # Tuples read back from JSON are lists; configs compare by value.
        given = self.host_settings.items()
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in given}
        object.__setattr__(self, "host_settings", settings)
        object.__setattr__(self, "prune", tuple((i, kept) for i, kept in self.prune))
        if self.host not in PUBLISHED:
            raise ValueError(f"no host named {self.host!r}; known: {', '.join(sorted(PUBLISHED))}")
        blocks = [i for i, _ in self.prune]
        if not blocks or blocks != sorted(set(blocks)):
            raise ValueError(f"prune must be pairs (block, frames) of rising blocks: {self.prune}")
        for name, known in (
            ("pruner", ("density", "uniform")),
            ("recoverer", ("attention", "interpolation", "none")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}: {getattr(self, name)!r}")
        if self.heads < 1:
            raise ValueError(f"heads must be at least 1: {self.heads}")


class HourglassLifter(Hourglass):
    """An `Hourglass` that is described by a config, so that it can be a row of the table, saved
    and loaded."""

    Config = HourglassConfig

    def __init__(self, config: HourglassConfig):
        network = load_family(config.host).network
        host_config = network.Config(**config.host_settings)
        if config.host == "motionagformer":  # its norms are made for the frames that a layer sees
            seen, kept = [], dict(config.prune)
            for i in range(host_config.layers):
                seen.append(kept.get(i) or (seen[-1] if seen else host_config.frames))
            host_config = replace(host_config, layer_frames=tuple(seen))
        host = network(host_config)
        centre_only = config.recoverer == "none"
        pruners: dict[int, Pruner] = {
            index: UniformPruner(kept, keep_centre=centre_only)
            if config.pruner == "uniform"
            else DensityPruner(kept, keep_centre=centre_only, random_ties=config.random_ties)
            for index, kept in config.prune
        }
        recoverer = None
        if config.recoverer == "attention":
            recoverer = AttentionRecoverer(
                host.token_dim, host_config.frames, config.heads, bias=config.bias
            )
            if config.host == "motionbert":  # the recoverer starts as its host does
                # No norm follows two of these layers in a row: a fixed spread would leave a narrow
                # network a hundredth of its tokens, where the published width keeps a fifth.
                spread = 0.02 * math.sqrt(network.Config().channels / host.token_dim)
                for part in (recoverer.query, recoverer.key, recoverer.value, recoverer.project):
                    nn.init.trunc_normal_(part.weight, std=spread)
                    nn.init.zeros_(part.bias)
        elif config.recoverer == "interpolation":
            recoverer = PoseInterpolation()
        super().__init__(host, pruners, recoverer, slot_positions=config.recoverer == "attention")
        self.config = config


RECOVERER_NAMES = {
    "recoverer.frame_token": "x_token",
    "recoverer.query": "cross_attention.linear_q",
    "recoverer.key": "cross_attention.linear_k",
    "recoverer.value": "cross_attention.linear_v",
    "recoverer.project": "cross_attention.proj",
}


def from_authors(
    state: Mapping[str, Tensor],
    *,
    host: str = "mixste",
    layer_index: int | None = None,
    token_num: int | None = None,
    **host_arguments: Any,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint of a pruned network.

    Args:
        state: tensors by the authors' names. Those of the recovering tell the two kinds apart, for
            all frames ("HoT") and for the centre frame ("TPC").
        host: the network that is pruned.
        layer_index: the block before which frames are left out; the published one by default.
        token_num: frames that are kept; the published number by default.
        host_arguments: the authors' options of the host, as for `convert_state_dict(host, ...)`,
            with the defaults that they have in the code of HoT.

    Returns:
        The fields of the config, and the tensors by our names.

    Raises:
        ValueError: there is no such host, nothing is published for it and the two numbers are not
            given, or the tensors are not those of a network with these options.
    """
    if host not in PUBLISHED:
        raise ValueError(f"no host named {host!r}; known: {', '.join(sorted(PUBLISHED))}")
    given = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    ours = {
        name: tensor
        for name, tensor in given.items()
        if name in ("x_token", "pos_embed_token") or name.startswith("cross_attention.")
    }
    recovers = bool(ours)
    index, kept = PUBLISHED[host].get(recovers, (None, None))
    index = layer_index if layer_index is not None else index
    kept = token_num if token_num is not None else kept
    if index is None or kept is None:
        kind = "with" if recovers else "without"
        raise ValueError(
            f"no pruned {host} {kind} recovering is published: pass layer_index and "
            "token_num, as the checkpoint was trained"
        )
    rest = {name: tensor for name, tensor in given.items() if name not in ours}
    host_arguments = {**HOT_ARGUMENTS.get(host, {}), **host_arguments}
    host_config, host_state = load_family(host).from_authors(rest, **host_arguments)
    host_config.pop("layer_frames", None)  # follows from `prune`
    config: dict[str, Any] = {
        "host": host,
        "host_settings": host_config,
        "prune": ((index, kept),),
        "recoverer": "attention" if recovers else "none",
    }
    if recovers:
        config["heads"] = host_config.get("heads", HourglassConfig.heads)
        config["bias"] = "cross_attention.linear_q.bias" in ours
    with torch.device("meta"):
        model = HourglassLifter(HourglassConfig(**config))
    model.host = nn.Identity()  # leaves the tensors that are not the host's
    names = {f"slot_positions.{index}": "pos_embed_token", **RECOVERER_NAMES}
    converted = {f"host.{name}": tensor for name, tensor in host_state.items()}
    return config, converted | translate(ours, model, names)
