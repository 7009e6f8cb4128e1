"""HEViTPose: published counts, the properties of its parts, folding, and the exported file."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.detect import sizes
from lithepose.detect.sizes import POSE_NETWORKS, HEViTPoseConfig, create_pose_network
from lithepose.skeletons import SKELETONS

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lithepose.detect.hevitpose import (  # noqa: E402  # it imports torch
    CascadedAttention,
    ConvNorm,
    GroupAttention,
    HEViTBlock,
    HEViTPose,
    PatchEmbedding,
    Subsample,
    fold,
)

SMALL = HEViTPoseConfig(
    joints=5,
    image_size=(32, 64),
    widths=(16, 24, 32),
    depths=(1, 1, 2),
    groups=(2, 3, 1),
    heads=(1, 2, 2),
    head_filters=(12, 8),
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def small(**overrides: Any) -> nn.Module:
    return create_pose_network("hevitpose", **{**asdict(SMALL), **overrides})


def as_if_trained(model: nn.Module) -> nn.Module:
    """No weight, bias or statistic has its neutral starting value; heatmaps are about 1 high."""
    torch.manual_seed(3)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)
        if isinstance(part, nn.BatchNorm2d | nn.LayerNorm):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias, std=0.3)
        elif isinstance(part, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(part.weight, a=1)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.3)
    if isinstance(model, HEViTPose):
        with torch.no_grad():
            model.head[-1].weight.mul_(0.01)
    return model.eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# Per part: the stem, the stages with what leads to them, the head; then one of each stage.
PARTS = {
    "t": {
        "stem": 9_600,
        "stages": [108_544, 600_768, 1_605_824],
        "head": 886_864,
        "block": [108_544, 231_424, 405_504],
        "attention": [73_600, 96_000, 104_064],
        "group": [17_344, 19_840, 16_704],
        "subsample": [137_920, 389_312],
        "mpii": 3_211_600,
        "coco": 3_211_697,
    },
    "s": {
        "stem": 19_200,
        "stages": [702_464, 1_538_240, 2_599_008],
        "head": 985_168,
        "block": [702_464, 574_464, 637_952],
        "attention": [567_040, 273_024, 228_928],
        "group": [275_200, 78_592, 89_152],
        "subsample": [389_312, 685_152],
        "mpii": 5_844_080,
        "coco": 5_844_177,
    },
    "b": {
        "stem": 19_200,
        "stages": [428_032, 2_364_800, 6_343_040],
        "head": 1_476_688,
        "block": [428_032, 913_408, 1_603_584],
        "attention": [292_608, 380_416, 410_880],
        "group": [68_992, 78_592, 65_664],
        "subsample": [537_984, 1_532_288],
        "mpii": 10_631_760,
        "coco": 10_631_857,
    },
}


@pytest.mark.parametrize("size", PARTS)
def test_every_part_has_the_parameters_of_the_reconstruction(size: str) -> None:
    model: Any = create_pose_network(f"hevitpose-{size}-mpii")
    of_coco = create_pose_network(f"hevitpose-{size}-coco")
    blocks = [stage[-1] for stage in model.stages]
    assert {
        "stem": parameters(model.stem),
        "stages": [parameters(stage) for stage in model.stages],
        "head": parameters(model.head),
        "block": [parameters(block) for block in blocks],
        "attention": [parameters(block[1]) for block in blocks],
        "group": [parameters(block[1].groups[0]) for block in blocks],
        "subsample": [parameters(stage[0]) for stage in model.stages[1:]],
        "mpii": parameters(model),
        "coco": parameters(of_coco),
    } == PARTS[size]


# As printed by the authors, millions.
@pytest.mark.parametrize(("size", "printed"), [("t", 3.21), ("s", 5.88), ("b", 10.63)])
def test_the_parameters_are_those_published_within_a_hundredth(size: str, printed: float) -> None:
    row = POSE_NETWORKS[f"hevitpose-{size}-mpii"]
    assert row.parameters / 1e6 == pytest.approx(printed, rel=0.007)


@pytest.mark.parametrize("name", POSE_NETWORKS)
def test_a_name_gives_joints_crop_and_heatmaps_of_a_quarter_of_it(name: str) -> None:
    row = POSE_NETWORKS[name]
    assert len(SKELETONS[row.skeleton]) == row.config.joints
    width, height = row.config.image_size
    assert (width, height) == ((192, 256) if name.endswith("-256x192") else (256, 256))
    narrow = create_pose_network(name, widths=(16, 24, 32), groups=(1, 1, 1), heads=(1, 1, 1))
    with torch.inference_mode():
        heatmaps = narrow.eval()(torch.zeros(1, 3, height, width))
    assert heatmaps.shape == (1, row.config.joints, height // 4, width // 4)


def test_the_same_weights_run_on_other_sizes_and_a_crop_does_not_know_its_neighbours() -> None:
    model = as_if_trained(small())
    crops = torch.randn(3, 3, 64, 96)
    with torch.inference_mode():
        together = model(crops)
        assert together.shape == (3, 5, 16, 24)
        for i in range(3):
            alone = model(crops[i : i + 1])
            torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-4)


def test_every_parameter_gets_a_gradient() -> None:
    model = as_if_trained(small()).train()
    model(torch.randn(2, 3, 64, 32)).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        # A shift of all keys alike does not move a softmax.
        if not name.endswith("k.bias"):
            assert bool(parameter.grad.abs().sum() > 0), name


def test_a_group_hears_of_those_before_it_and_not_of_those_after() -> None:
    attention = CascadedAttention(32, 4, 2, 1).eval()
    x = torch.randn(1, 32, 8, 8)
    with torch.inference_mode():
        before = attention.cascade(x)
        last = attention.cascade(torch.cat([x[:, :24], x[:, 24:] + torch.randn(1, 8, 8, 8)], 1))
        first = attention.cascade(torch.cat([x[:, :8] + torch.randn(1, 8, 8, 8), x[:, 8:]], 1))
    assert [torch.equal(a, b) for a, b in zip(before, last, strict=True)] == [True] * 3 + [False]
    assert [torch.equal(a, b) for a, b in zip(before, first, strict=True)] == [False] * 4


def test_a_fresh_block_is_the_identity() -> None:
    x = torch.randn(2, 24, 8, 8)
    for block in (HEViTBlock(1, SMALL).eval(), HEViTBlock(1, SMALL).train()):
        with torch.no_grad():
            torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_one_group_without_reduction_is_plain_multi_head_attention() -> None:
    dim, heads = 12, 3
    group: Any = as_if_trained(GroupAttention(dim, 1, heads, qk_divisor=1))
    plain = nn.MultiheadAttention(dim, heads, batch_first=True)
    with torch.no_grad():
        plain.in_proj_weight.copy_(torch.cat([group.q.weight, group.k.weight, group.v.weight]))
        plain.in_proj_bias.copy_(torch.cat([group.q.bias, group.k.bias, group.v.bias]))
        plain.out_proj.weight.copy_(group.project.weight)
        plain.out_proj.bias.copy_(group.project.bias)
        x = torch.randn(2, dim, 4, 6)
        tokens = x.flatten(2).transpose(1, 2)
        expected, _ = plain(group.q_norm(tokens), group.k_norm(tokens), group.v_norm(tokens))
        expected = group.out_norm(expected).transpose(1, 2).view(2, dim, 4, 6)
        torch.testing.assert_close(group(x), expected)
    assert isinstance(group.reduce, nn.Identity)


def test_a_group_reads_keys_and_values_from_the_reduced_map_alone() -> None:
    group: Any = as_if_trained(GroupAttention(8, 2, 1))
    x = torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        tokens = x.flatten(2).transpose(1, 2)
        # By hand: 16 queries of 4 channels, 4 keys, values of 8.
        reduced = functional.conv2d(x, group.reduce.weight, group.reduce.bias, stride=2)
        reduced = reduced.flatten(2).transpose(1, 2)
        q = group.q(group.q_norm(tokens))
        k, v = group.k(group.k_norm(reduced)), group.v(group.v_norm(reduced))
        assert (q.shape, k.shape, v.shape) == ((1, 16, 4), (1, 4, 4), (1, 4, 8))
        weights = (q @ k.mT / 4**0.5).softmax(-1)
        expected = group.out_norm(group.project(weights @ v)).mT.view(1, 8, 4, 4)
        torch.testing.assert_close(group(x), expected)


@pytest.mark.parametrize("overlap", range(6))
def test_embeddings_of_any_overlap_divide_the_map_by_their_stride(overlap: int) -> None:
    stem: Any = PatchEmbedding(8, overlap)
    assert stem.embed.kernel_size == (4 + overlap,) * 2  # PEOW: kernel minus stride
    assert stem(torch.zeros(1, 3, 64, 32)).shape == (1, 8, 16, 8)
    config = replace(SMALL, overlaps=(3, overlap, 1))
    assert Subsample(1, config)(torch.zeros(1, 16, 16, 8)).shape == (1, 24, 8, 4)


def test_initial_values_are_those_of_the_recipe() -> None:
    torch.manual_seed(0)
    model: Any = create_pose_network("hevitpose", depths=(1, 1, 1), head_filters=(64, 32))
    block, head = model.stages[2][-1], model.head
    for part in (block[0][0].branch, block[0][1].contract, block[1].project):
        assert bool((part.norm.weight == 0).all())
    assert bool((block[0][1].expand.norm.weight == 1).all())
    attention = block[1]
    for weight in (attention.project.conv.weight, attention.groups[0].v.weight):
        assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert bool((attention.groups[0].q.bias == 0).all())
    assert float(head[0].conv.weight.detach().std()) == pytest.approx(0.001, rel=0.05)
    assert float(head[-1].weight.detach().std()) == pytest.approx(0.001, rel=0.15)
    assert bool((head[-1].bias == 0).all())


def test_the_folded_network_gives_the_same_heatmaps_with_no_batch_norm_left() -> None:
    model = as_if_trained(small())
    folded = fold(model)
    crops = torch.randn(2, 3, 64, 32)
    with torch.inference_mode():
        expected = model(crops)
        assert float(expected.abs().max()) > 0.5
        torch.testing.assert_close(folded(crops), expected, rtol=0, atol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert any(isinstance(part, ConvNorm) for part in model.modules()), "the network itself changed"
    with pytest.raises(TypeError, match="folded already"):
        fold(folded)
    with pytest.raises(TypeError, match="folds a HEViTPose, not Linear"):
        fold(nn.Linear(2, 2))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path, float]:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from lithepose.deploy.export import export_pose_network

    model = as_if_trained(small(depths=(1, 1, 1), groups=(2, 1, 1)))
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    return model, path, export_pose_network(model, path, torch.randn(1, 3, 64, 32), {"note": "x"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_the_exported_file_agrees_with_the_network_at_any_batch_size(
    exported: tuple[nn.Module, Path, float],
) -> None:
    from lithepose.onnx import OnnxModel

    model, path, difference = exported
    assert difference < 1e-4
    run = OnnxModel(path)
    assert run.input_shape == (None, 3, 64, 32)
    assert run.output_shape == (None, 5, 16, 8)
    for batch in (1, 3):
        crops = torch.randn(batch, 3, 64, 32)
        with torch.inference_mode():
            expected: Tensor = model(crops)
        np.testing.assert_allclose(run(crops.numpy()), expected.numpy(), atol=1e-4)
    metadata = run.metadata
    assert HEViTPoseConfig(**json.loads(metadata.pop("config"))) == model.config
    assert metadata == {"network": "hevitpose", "preset": "hevitpose", "note": "x"}


def test_metadata_may_not_replace_what_the_export_says(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from lithepose.deploy.export import export_pose_network

    with pytest.raises(ValueError, match="'preset' is set by the export"):
        export_pose_network(
            small(), tmp_path / "a.onnx", torch.zeros(1, 3, 64, 32), {"preset": "hrnet"}
        )
    assert list(tmp_path.iterdir()) == []


def test_a_config_survives_json() -> None:
    assert HEViTPoseConfig(**json.loads(json.dumps(asdict(SMALL)))) == SMALL


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"widths": (64, 128)}, "widths has one number per stage, three"),
        ({"depths": (1, 0, 3)}, "depths must be at least 1"),
        ({"overlaps": (3, -1, 1)}, "overlaps must be at least 0"),
        ({"groups": (3, 4, 4)}, "a width of 64 does not divide into 3 groups of 1 heads"),
        ({"head_filters": (192,)}, "the head has two transposed convolutions"),
        ({"image_size": (250, 256)}, "in multiples of 32"),
        ({"joints": 0}, "joints must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_pose_network("hevitpose-t-mpii", **overrides)


def test_unknown_names_and_fields_say_what_is_known() -> None:
    with pytest.raises(ValueError, match="'hevitpose-m-mpii'; known: hevitpose, hevitpose-t-mpii,"):
        create_pose_network("hevitpose-m-mpii")
    with pytest.raises(TypeError, match="width"):
        create_pose_network("hevitpose-t-mpii", width=3)


@pytest.mark.parametrize("shape", [(3, 64, 32), (1, 64, 32, 3), (1, 3, 64, 40), (1, 3, 48, 32)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"crops \(B, 3, H, W\) with H and W in multiples of 32"):
        small()(torch.zeros(shape))


def test_the_table_prints_without_pytorch_and_networks_name_the_extra() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from lithepose.detect import sizes\n"
        "print(sizes.as_text())\n"
        "try:\n"
        "    sizes.create_pose_network('hevitpose-t-mpii')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *table, error = done.stdout.splitlines()
    assert table == sizes.as_text().splitlines()
    assert len(table) == 1 + len(POSE_NETWORKS)
    assert 'pip install "lithepose[train]"' in error


def test_the_table_is_also_markdown() -> None:
    lines = sizes.as_markdown().splitlines()
    assert lines[1].startswith("| --- |")
    assert lines[2].startswith(
        "| hevitpose-t-mpii | 256x256 | mpii16 | 3,211,600 | 1.776 G | 1.744 GFLOPs |"
    )


PAGE = Path(__file__).resolve().parents[2] / "docs" / "models" / "hevitpose.md"


def test_the_page_says_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for (name, crop, joints, *counts, _, _, _), row in zip(
        sizes.rows(), POSE_NETWORKS.values(), strict=True
    ):
        assert row.skeleton == joints
        cells = (f"`{name}`", crop, str(row.config.joints), *counts)
        assert f"| {' | '.join(cells)} |" in page


def test_the_code_of_the_page_prints_what_the_page_says(capsys: pytest.CaptureFixture[str]) -> None:
    code = PAGE.read_text(encoding="utf-8").split("```python\n")[1].partition("```")[0]
    exec(code, {})
    assert capsys.readouterr().out.strip() == code.rpartition("# ")[2].strip()
