"""HTNet and its refinement: numbers recorded from the authors' code and from ours, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import convert_state_dict, create_lifter, htnet  # noqa: E402
from lithepose.lifters.weights import authors_name  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {"layers": 2, "channels": 48, "hidden": 32}


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["base", "l2c48-f3", "l2c48-flip", "l2c48-refine", "l2c72-smallact"]
)
def test_agrees_with_the_authors_network(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/htnet-{name}.npz")))


def test_gives_the_recorded_output(set_weights: Callable[[Any], None]) -> None:
    # Recorded from this network when it agreed with all of the authors' recordings.
    recorded = np.load(RECORDED / "htnet.npz")
    model = create_lifter("htnet", **SMALL).eval()
    set_weights(model)
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded["input"])).numpy()
    np.testing.assert_allclose(output, recorded["output"], atol=1e-5)


def test_has_as_many_parameters_as_the_authors_network() -> None:
    with torch.device("meta"):
        model, refiner = create_lifter("htnet"), htnet.PoseRefiner()
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_048_489
    assert sum(parameter.numel() for parameter in refiner.parameters()) == 140_322


def test_frames_are_lifted_one_by_one() -> None:
    torch.manual_seed(0)
    model = create_lifter("htnet", **SMALL).eval()
    clip = torch.randn(2, 5, 17, 2)
    with torch.inference_mode():
        whole, single = model(clip), model(clip[:, 3:4])
    torch.testing.assert_close(whole[:, 3:4], single, atol=1e-5, rtol=0)


def test_back_projected_pose_lies_on_its_rays_at_the_lifted_depth() -> None:
    # One joint beside the root, camera with focal length 2 and centre (0.1, 0). The root is at
    # depth 4, seen at (0.1, 0): it lies on the axis. The joint is 1 m behind it, at depth 5, seen
    # at (0.5, -0.2): x = (0.5 - 0.1)·5/2 = 1, y = -0.2·5/2 = -0.5.
    poses = torch.tensor([[[0.0, 0.0, 0.7], [9.0, 9.0, 1.0]]])  # the root's own depth is not used
    joints = torch.tensor([[[0.1, 0.0], [0.5, -0.2]]])
    on_rays = htnet.back_project(
        poses, joints, torch.tensor([4.0]), torch.tensor([[2.0, 2.0]]), torch.tensor([[0.1, 0.0]])
    )
    torch.testing.assert_close(on_rays, torch.tensor([[[0.0, 0.0, 0.0], [1.0, -0.5, 1.0]]]))


def test_refinement_stays_between_the_two_poses_and_keeps_the_depth() -> None:
    torch.manual_seed(0)
    lifted, on_rays = torch.randn(2, 4, 1, 17, 3)
    refined = htnet.PoseRefiner().eval()(lifted, on_rays)
    assert torch.equal(refined[..., 2], lifted[..., 2])
    lower, upper = torch.minimum(lifted, on_rays), torch.maximum(lifted, on_rays)
    assert bool(((refined >= lower - 1e-6) & (refined <= upper + 1e-6))[..., :2].all())


def test_authors_options_choose_the_config_and_a_wrong_one_is_reported() -> None:
    model: Any = create_lifter("htnet", **SMALL)
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("transform.weight"):
            tensor = tensor.unflatten(0, (2, -1)).transpose(1, 2)
        elif name.endswith("gather.weight"):
            tensor = tensor.unflatten(1, (-1, tensor.shape[0])).transpose(1, 2)
        state[authors_name(name, htnet.NAMES)] = tensor
    config, converted = convert_state_dict("htnet", state, layers=2, channel=48, d_hid=32, frames=3)
    assert htnet.HTNetConfig(**config) == model.config
    assert all(torch.equal(converted[name], t) for name, t in model.state_dict().items())
    with pytest.raises(ValueError, match=r"mlp\.fc1\.weight \(32, 48\) does not fit our"):
        convert_state_dict("htnet", state, layers=2, channel=48, d_hid=96)
    with pytest.raises(ValueError, match=r"not part of the model: Hiremixer\.blocks\.1"):
        convert_state_dict("htnet", state, layers=1, channel=48, d_hid=32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 100}, "multiple of 24"),
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"drop_path": (0.1,)}, "first block, last block"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        htnet.HTNetConfig(**settings)
