"""Training and evaluating lifters on files in the public formats, with made-up motion in them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import public_formats

torch = pytest.importorskip("torch")

from safetensors.torch import save  # noqa: E402

from lithepose.datasets.human36m import read_image_space  # noqa: E402
from lithepose.detect.sizes import create_pose_network  # noqa: E402
from lithepose.lifters import LIFTERS, convert_state_dict, create_lifter  # noqa: E402
from lithepose.lifters.htnet import back_project, refiner_from_authors  # noqa: E402
from lithepose.lifters.weights import save_weights  # noqa: E402
from lithepose.metrics.evaluate import evaluate  # noqa: E402
from lithepose.metrics.protocols import PROTOCOLS, WINDOWS  # noqa: E402
from lithepose.skeletons import SKELETONS  # noqa: E402
from lithepose.train.evaluation import EvaluationSettings  # noqa: E402
from lithepose.train.losses import (  # noqa: E402
    LOSSES,
    MIXSTE_JOINT_WEIGHTS,
    half_square_of_mixste,
    mixste_loss,
)
from lithepose.train.networks import KeptFrames, RefinedLifter, network_of_recipe  # noqa: E402
from lithepose.train.poseclr import save_encoder  # noqa: E402
from lithepose.train.recipes import RECIPES as TABLE  # noqa: E402
from lithepose.train.recipes import ImageRecipe, LiftingRecipe, changed  # noqa: E402
from lithepose.train.recipes.lifting import LOSSES as LOSS_NAMES  # noqa: E402
from lithepose.train.runs import evaluate_run, read_trained, train_recipe  # noqa: E402
from lithepose.train.settings import RunSettings  # noqa: E402
from lithepose.train.tasks import shipped  # noqa: E402
from lithepose.train.tasks.lifting import (  # noqa: E402
    LiftingTask,
    evaluate_lifter,
    lift_sequences,
    stated_protocol,
)
from lithepose.train.windows import (  # noqa: E402
    Lens,
    NetworkSequence,
    SequenceExamples,
    mirrored,
    read_sequences,
    reordered,
)

RECIPES = {name: found for name, found in TABLE.items() if isinstance(found, LiftingRecipe)}
SMALL: dict[str, dict[str, Any]] = {
    "ampose": {"channels": 16, "pairs": 1, "heads": 4},
    "convformer": {"channels": 8, "spatial_blocks": 1, "temporal_blocks": 1, "heads": 2},
    "htnet": {"layers": 1, "channels": 48, "hidden": 32},
    "mhformer": {"channels": 16, "hidden": 24, "layers": 2},
    "mixste": {"layers": 2, "channels": 16, "heads": 4, "hidden": 24},
    "motionagformer": {"layers": 2, "channels": 16, "heads": 4, "representation": 24},
    "motionbert": {"layers": 2, "channels": 16, "heads": 4, "hidden": 24, "representation": 24},
    "nanohtnet": {"layers": 1, "channels": 48, "hidden": 32},
}


def small(recipe: LiftingRecipe, most: int = 27) -> LiftingRecipe:
    """The recipe with a network that is narrow and sees few frames."""
    row = LIFTERS[recipe.network]
    frames = min(recipe.frames, most)
    if row.family == "hot":
        host = row.settings["host"]
        settings = row.settings["host_settings"] | SMALL[host] | {"frames": frames}
        overrides = {"host_settings": settings, "prune": ((1, 5),), "heads": 4}
    else:
        overrides = dict(SMALL[row.family])
        if row.frames_in > 1:
            overrides["frames"] = frames
        if row.family == "nanohtnet":
            overrides["kept_frames"] = min(recipe.targets, frames)
    return replace(
        recipe,
        overrides={**recipe.overrides, **overrides},
        stride=min(recipe.stride, frames),
    )


def sequence(
    recipe: LiftingRecipe, frames: int = 40, seed: int = 0, trial: str = "Walking", **changes: Any
) -> NetworkSequence:
    """A sequence whose truth follows from its 2D: x, y and no depth."""
    random = np.random.default_rng(seed)
    joints = len(SKELETONS[recipe.skeleton])
    inputs = random.standard_normal((frames, joints, recipe.channels)).astype(np.float32)
    root = SKELETONS[recipe.skeleton].root
    inputs[:, root, :2] = 0
    truth = np.concatenate([inputs[..., :2], np.zeros_like(inputs[..., :1])], -1)
    values: dict[str, Any] = {
        "subject": PROTOCOLS[recipe.protocol].test[0],
        "trial": trial,
        "view": "",
        "inputs": inputs,
        "targets": truth,
        "metres": np.ones(frames, np.float32),
        "truth": truth,
        "skeleton": recipe.skeleton,
        "counted": np.ones(frames, bool),
        "fps": None,
        "lens": Lens(
            focal=np.array([2.3, 2.3], np.float32),
            centre=np.array([0.02, -0.01], np.float32),
            root_depth=np.full(frames, 4, np.float32),
        ),
    }
    return NetworkSequence(**{**values, **changes})


class Flat(torch.nn.Module):
    """Lifts as the made-up sequences are made: x, y and no depth; K frames in the middle."""

    def __init__(self, targets: int):
        super().__init__()
        self.targets = targets
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, joints_2d: Any) -> Any:
        first = (joints_2d.shape[1] - self.targets) // 2
        middle = joints_2d[:, first : first + self.targets, :, :2]
        return torch.cat([middle, torch.zeros_like(middle[..., :1])], -1)


# --- examples ---------------------------------------------------------------------------------


def test_no_window_reaches_into_another_sequence():
    recipe = small(RECIPES["mhformer-27-cpn"], most=9)
    parts = [sequence(recipe, 5, 1), sequence(recipe, 3, 2)]
    examples = SequenceExamples(parts, recipe)
    drawn = examples.draw(np.arange(8), np.random.default_rng(0))
    assert len(examples) == 16
    for window in drawn["inputs"][:5]:
        assert all((frame == parts[0].inputs).all((1, 2)).any() for frame in window)
    for window in drawn["inputs"][5:]:
        assert all((frame == parts[1].inputs).all((1, 2)).any() for frame in window)
    np.testing.assert_array_equal(drawn["targets"][2, 4], parts[0].targets[2])


def test_the_second_half_of_a_doubled_epoch_is_the_first_mirrored():
    recipe = small(RECIPES["nanohtnet-27-9-cpn"])
    examples = SequenceExamples([sequence(recipe, 30)], recipe)
    plain = examples.draw(np.arange(30), np.random.default_rng(0))
    turned = examples.draw(np.arange(30, 60), np.random.default_rng(0))
    assert plain["inputs"].shape == (30, 27, 17, 2)
    assert plain["targets"].shape == (30, 9, 17, 3)
    for name, values in plain.items():
        np.testing.assert_array_equal(mirrored(turned[name], "h36m17"), values)
        assert values.dtype == np.float32
    np.testing.assert_array_equal(plain["targets"][10, 4], examples.targets[10])


def test_a_random_flip_mirrors_about_half_of_the_windows_and_keeps_the_confidence():
    recipe = small(RECIPES["motionbert-sh"])
    part = sequence(recipe, 27)
    part.inputs[..., 2] = 0.25
    examples = SequenceExamples([part], recipe)
    drawn = examples.draw(np.zeros(64, int), np.random.default_rng(1))["inputs"]
    turned = (drawn[:, 0] == mirrored(part.inputs, "h36m17")[0]).all((1, 2))
    assert 16 < turned.sum() < 48
    assert ((drawn[~turned] == part.inputs).all((1, 2, 3))).all()
    assert (drawn[..., 2] == 0.25).all()


def test_examples_need_sequences_and_refinement_needs_lenses():
    recipe = small(RECIPES["htnet-cpn-refine"])
    with pytest.raises(ValueError, match="no sequences to train on"):
        SequenceExamples([], recipe)
    with pytest.raises(ValueError, match="calibrated cameras, and that of S9 Walking"):
        SequenceExamples([sequence(recipe, lens=None)], recipe)


def test_examples_can_be_sent_to_another_process():
    recipe = small(RECIPES["mixste-27-3dhp"])
    examples = SequenceExamples([sequence(recipe)], recipe)
    copy = pickle.loads(pickle.dumps(examples))
    first, second = (e.draw(np.arange(2), np.random.default_rng(0)) for e in (examples, copy))
    np.testing.assert_array_equal(first["inputs"], second["inputs"])


# --- losses -----------------------------------------------------------------------------------


def test_the_losses_of_the_recipes_are_those_that_there_are():
    assert tuple(LOSSES) == LOSS_NAMES


def test_the_squared_loss_has_the_gradient_of_the_loss_times_its_value():
    random = torch.Generator().manual_seed(0)
    poses, target = torch.randn(2, 1, 4, 17, 3, generator=random)
    poses.requires_grad_()
    loss = mixste_loss(poses, target)
    (plain,) = torch.autograd.grad(loss, poses)
    (squared,) = torch.autograd.grad(half_square_of_mixste(poses, target), poses)
    torch.testing.assert_close(squared, loss.detach() * plain)


def bare_task(recipe: LiftingRecipe) -> LiftingTask:
    """A task without data, of which only the loss is asked."""
    task = object.__new__(LiftingTask)
    task.recipe, task.start = recipe, None
    return task


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_every_recipe_trains_every_parameter_of_its_network(recipe: LiftingRecipe):
    recipe = small(recipe)
    examples = SequenceExamples([sequence(recipe)], recipe)
    drawn = examples.draw(np.array([0, len(examples) - 1]), np.random.default_rng(0))
    batch = {name: torch.from_numpy(values) for name, values in drawn.items()}
    task = bare_task(recipe)
    torch.manual_seed(0)
    network = task.build()
    loss = task.loss(network, batch, torch.Generator())
    assert loss.shape == ()
    loss.backward()
    assert bool(loss.isfinite())
    assert not [name for name, p in network.named_parameters() if p.grad is None]


def test_networks_and_windows_of_the_published_sizes_fit():
    for recipe in {(r.network, r.frames): r for r in RECIPES.values()}.values():
        row = LIFTERS[recipe.network]
        if recipe.overrides.get("frames", row.frames_in) == row.frames_in:
            assert recipe.frames == row.frames_in
            assert recipe.channels == row.in_channels
        if row.which_frames == "centre" and row.family != "hot":
            assert recipe.targets == row.frames_out


def test_a_network_that_gives_other_frames_than_the_windows_have_is_refused():
    recipe = small(RECIPES["mixste-27-3dhp"])
    batch = {"inputs": torch.zeros(1, 27, 17, 2), "targets": torch.zeros(1, 9, 17, 3)}
    with pytest.raises(ValueError, match=r"the network gives \(1, 27, 17, 3\)"):
        bare_task(recipe).loss(network_of_recipe(recipe), batch, torch.Generator())


def test_an_override_that_the_network_does_not_know_names_the_recipe():
    with pytest.raises(ValueError, match=r"htnet-cpn: .*'depth'"):
        network_of_recipe(changed(RECIPES["htnet-cpn"], ["network.depth=2"]))


def test_the_loss_of_a_pruned_network_reads_the_targets_of_the_frames_it_kept():
    recipe = small(RECIPES["tpc-mixste-243-cpn"])
    network = network_of_recipe(recipe)
    assert isinstance(network, KeptFrames)
    network.eval()
    inputs = torch.randn(1, 27, 17, 2)
    poses, kept = network(inputs)
    assert poses.shape == (1, 5, 17, 3)
    targets = torch.zeros(1, 27, 17, 3)
    targets[:, kept[0]] = poses
    loss = bare_task(recipe).loss(
        network, {"inputs": inputs, "targets": targets}, torch.Generator()
    )
    steps = poses.detach().diff(dim=1).square()
    weight = poses.new_tensor(MIXSTE_JOINT_WEIGHTS)[:, None]
    # Every distance is zero; what is left is half the energy of the steps.
    assert float(loss.detach()) == pytest.approx(0.5 * float((steps * weight).mean()))


# --- lifting whole sequences ------------------------------------------------------------------


@pytest.mark.parametrize("windows", ["per_frame", "padded", "last", "inside"])
@pytest.mark.parametrize("frames", [40, 5])
def test_what_a_network_says_of_each_frame_comes_back_in_its_place(windows: str, frames: int):
    targets = 3 if windows == "per_frame" else 9
    recipe = replace(
        small(RECIPES["mixste-27-3dhp"], most=9),
        test_windows=windows,
        protocol="human36m",
        dataset="human36m",
        keypoints="gt",
    )
    part = sequence(recipe, frames)
    (lifted,) = lift_sequences(Flat(targets).eval(), recipe, [part])
    assert lifted.valid is not None
    covered = frames if windows != "inside" or frames == 5 else 36
    assert lifted.valid.tolist() == [True] * covered + [False] * (frames - covered)
    np.testing.assert_allclose(lifted.predicted[lifted.valid], part.truth[lifted.valid], atol=1e-6)


def test_windows_as_they_come_are_measured_one_by_one():
    recipe = small(RECIPES["mixste-27-3dhp"], most=9)
    part = sequence(recipe, 20)
    protocol = replace(PROTOCOLS["mpi-inf-3dhp"], windows="as_given")
    lifted = list(lift_sequences(Flat(9).eval(), recipe, [part], protocol=protocol))
    assert [len(window.predicted) for window in lifted] == [9, 9, 9]
    # In the order of the data set's own joints again.
    np.testing.assert_allclose(
        lifted[2].predicted, reordered(part.truth, "h36m17", "mpi_inf_3dhp17")[11:], atol=1e-6
    )
    assert evaluate(protocol, lifted).totals["mpjpe"] == pytest.approx(0, abs=1e-3)


def test_only_frames_that_count_are_lifted_around_centres():
    recipe = small(RECIPES["mhformer-27-cpn"])
    counted = np.arange(40) % 4 == 1
    calls = []

    class Counting(Flat):
        def forward(self, joints_2d: Any) -> Any:
            calls.append(len(joints_2d))
            return super().forward(joints_2d)

    part = sequence(recipe, counted=counted)
    (lifted,) = lift_sequences(Counting(27).eval(), recipe, [part])
    assert lifted.valid is not None
    assert lifted.valid.tolist() == counted.tolist()
    assert calls == [10, 10]  # once mirrored
    nothing = sequence(recipe, counted=np.zeros(40, bool))
    (lifted,) = lift_sequences(Counting(27).eval(), recipe, [nothing])
    assert lifted.valid is not None
    assert not lifted.valid.any()


def test_flip_averaging_takes_the_mean_of_both_predictions():
    recipe = small(RECIPES["htnet-cpn"])

    class Leaning(Flat):
        def forward(self, joints_2d: Any) -> Any:
            return super().forward(joints_2d) + torch.tensor([0.1, 0.2, 0.3])

    part = sequence(recipe, 6)
    (both,) = lift_sequences(Leaning(1).eval(), recipe, [part])
    (one,) = lift_sequences(Leaning(1).eval(), replace(recipe, flip_test=False), [part])
    # The lean to the side has another sign in the mirror.
    offset = both.predicted - part.truth
    np.testing.assert_allclose(offset[:, 1:], np.broadcast_to([0, 0.2, 0.3], (6, 16, 3)), atol=1e-6)
    np.testing.assert_allclose((one.predicted - part.truth)[:, 1:, 0], 0.1, atol=1e-6)
    assert not both.predicted[:, 0].any()


def test_a_pruned_network_gives_the_centre_of_each_window():
    recipe = small(RECIPES["tpc-mixste-243-cpn"], most=9)
    network = network_of_recipe(recipe).eval()
    part = sequence(recipe, 12)
    (lifted,) = lift_sequences(network, replace(recipe, flip_test=False), [part])
    with torch.no_grad():
        window = torch.from_numpy(part.inputs[1:10])[None]
        expected = network.lifter(window)[0, 0].numpy()
    np.testing.assert_allclose(lifted.predicted[5, 1:], expected[1:], atol=1e-5)
    assert len(list(lift_sequences(network, recipe, [part]))) == 1


# --- recordings of the authors' code ----------------------------------------------------------


def recorded(path: Path, network: str) -> tuple[dict[str, np.ndarray], Any, dict[str, Any]]:
    """A recording's arrays, its state dict as tensors, and our config with our tensors."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    arguments = json.loads(str(arrays["meta"]))["arguments"]
    state = {
        name.removeprefix("state/"): torch.from_numpy(values)
        for name, values in arrays.items()
        if name.startswith("state/")
    }
    lifter = {name: tensor for name, tensor in state.items() if "post_refine" not in name}
    config, tensors = convert_state_dict(network, lifter, **arguments)
    return arrays, state, {"config": config, "tensors": tensors}


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("htnet-l2c48-flip", "htnet-gt"),
        ("nanohtnet-f27-k9-flip", "nanohtnet-27-9-cpn"),
    ],
)
def test_flip_averages_are_those_of_the_authors(
    name: str, recipe: str, shared: Callable[[str], Path]
):
    network = recipe.split("-")[0]
    arrays, _, ours = recorded(shared(f"golden/{name}.npz"), network)
    trained = replace(RECIPES[recipe], overrides=ours["config"])
    lifter = create_lifter(network, **ours["config"]).eval()
    lifter.load_state_dict(ours["tensors"])
    kept = replace(PROTOCOLS["human36m"], predicted_root="keep")
    for clip, expected in zip(arrays["input"], arrays["output"], strict=True):
        np.testing.assert_array_equal(mirrored(clip[0], "h36m17"), clip[1])
        count = len(clip[0])
        centre = np.arange(count) == count // 2
        part = sequence(trained, count, inputs=clip[0], counted=centre)
        (lifted,) = lift_sequences(lifter, trained, [part], protocol=kept)
        middle = expected[len(expected) // 2] if expected.ndim == 3 else expected
        np.testing.assert_allclose(lifted.predicted[count // 2], middle, atol=1e-4)


def test_refined_poses_are_those_of_the_authors(shared: Callable[[str], Path]):
    arrays, state, ours = recorded(shared("golden/htnet-l2c48-refine.npz"), "htnet")
    trained = replace(RECIPES["htnet-gt-refine"], overrides=ours["config"], flip_test=False)
    network = network_of_recipe(trained).eval()
    assert isinstance(network, RefinedLifter)
    network.lifter.load_state_dict(ours["tensors"])
    gate = {name: tensor for name, tensor in state.items() if "post_refine" in name}
    network.refiner.load_state_dict(refiner_from_authors(gate))
    kept = replace(PROTOCOLS["human36m"], predicted_root="keep")
    for clip, truth, camera, expected in zip(
        *(arrays[n] for n in ("input", "input_gt_3D", "input_camera", "output")), strict=True
    ):
        lens = Lens(focal=camera[:2], centre=camera[2:4], root_depth=truth[:, 0, 2])
        part = sequence(trained, 1, inputs=clip, lens=lens)
        (lifted,) = lift_sequences(network, trained, [part], protocol=kept)
        np.testing.assert_allclose(lifted.predicted, expected, atol=1e-4)


# --- files in the public formats --------------------------------------------------------------


@pytest.fixture
def data(
    tmp_path: Path,
    write_human36m: Callable[..., Path],
    write_mpi_inf_3dhp: Callable[..., Path],
    write_humaneva: Callable[..., Path],
) -> Path:
    """A folder with the files of all data sets."""
    write_human36m()
    write_mpi_inf_3dhp()
    write_humaneva()
    content = public_formats.image_space()
    (tmp_path / "h36m_sh_conf_cam_source_final.pkl").write_bytes(pickle.dumps(content))
    return tmp_path


def test_targets_times_their_unit_are_the_truth_in_every_data_set(data: Path):
    for name in ("htnet-gt", "motionbert-sh", "motionagformer-xs-3dhp", "convformer-9-3dhp"):
        recipe = RECIPES[name]
        for part in read_sequences(recipe, data, "test"):
            metres = part.targets * part.metres[:, None, None]
            np.testing.assert_allclose(metres, part.truth, atol=1e-5)
            assert part.inputs.shape == (len(part), 17, recipe.channels)
            assert np.abs(part.inputs[..., :2]).max() < 3
            root = SKELETONS[part.skeleton].root
            assert not part.truth[:, root].any()


def test_a_part_that_lacks_subjects_is_read_with_a_warning(
    data: Path, caplog: pytest.LogCaptureFixture
):
    assert {part.subject for part in read_sequences(RECIPES["htnet-gt"], data, "train")} == {"S1"}
    assert "lacks S5, S6, S7, S8: results are not comparable" in caplog.text


def test_motionberts_clips_are_those_of_the_reader(data: Path):
    split = read_image_space(data / "h36m_sh_conf_cam_source_final.pkl").train
    recipe = replace(small(RECIPES["motionbert-sh"], most=24), flip="none", stride=8)
    examples = SequenceExamples(read_sequences(recipe, data, "train"), recipe)
    clips = split.clips(24, 8, np.random.default_rng(0))
    drawn = examples.draw(np.arange(len(examples)), np.random.default_rng(0))
    np.testing.assert_array_equal(drawn["inputs"], split.inputs(clips))
    labels = split.labels(clips)
    np.testing.assert_allclose(drawn["targets"], labels - labels[..., :1, :], atol=1e-6)


def test_orthographic_input_is_the_labels_own_x_and_y(data: Path):
    recipe = RECIPES["motionbert-gt"]
    (part, *_) = read_sequences(recipe, data, "train")
    assert (part.inputs[..., 2] == 1).all()
    relative = part.inputs[..., :2] - part.inputs[:, :1, :2]
    np.testing.assert_allclose(relative, part.targets[..., :2], atol=1e-6)


def test_a_lens_puts_the_true_depth_back_to_where_the_2d_was_seen(data: Path):
    # By the pinhole alone: the lens bends the rays by a few centimetres near the edges.
    recipe = small(RECIPES["htnet-gt-refine"])
    examples = SequenceExamples(read_sequences(recipe, data, "train"), recipe)
    drawn = examples.draw(np.arange(len(examples)), np.random.default_rng(0))
    batch = {name: torch.from_numpy(values) for name, values in drawn.items()}
    on_rays = back_project(
        batch["targets"], batch["inputs"], batch["root_depth"], batch["focal"], batch["centre"]
    )
    distance = (on_rays - batch["targets"]).norm(dim=-1)
    half = len(examples) // 2
    for part in (distance[:half], distance[half:]):  # plain, mirrored
        assert float(part.mean()) < 0.02
    network = network_of_recipe(recipe).eval()
    assert isinstance(network, RefinedLifter)
    test = read_sequences(recipe, data, "test")[:1]
    (refined,) = lift_sequences(network, recipe, test)
    (plain,) = lift_sequences(network.lifter, recipe, test)
    np.testing.assert_allclose(refined.predicted[..., 2], plain.predicted[..., 2], atol=1e-6)
    assert np.abs(refined.predicted - plain.predicted).max() > 0.01


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("htnet-cpn", "human36m.md"),
        ("motionbert-sh", "human36m.md"),
        ("mixste-27-3dhp", "mpi_inf_3dhp.md"),
        ("convformer-9-humaneva", "humaneva.md"),
    ],
)
def test_missing_files_name_the_guide(name: str, missing: str, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=missing):
        LiftingTask(RECIPES[name], tmp_path)


def test_a_file_without_the_subjects_of_a_part_is_refused(data: Path, write_human36m: Any):
    motions = public_formats.human36m_motions()
    positions = {"S9": {t: public_formats.of_32_joints(j) for t, j in motions["S9"].items()}}
    write_human36m(positions=positions)
    with pytest.raises(ValueError, match="none of the subjects S1, S5"):
        read_sequences(RECIPES["htnet-gt"], data, "train")


# --- from the files to the table ----------------------------------------------------------------

QUICK = RunSettings(device="cpu", workers=0, precision="32", tensorboard=False)


def narrow(name: str, most: int) -> list[str]:
    """Changes that make a recipe's network narrow, as texts."""
    recipe = small(RECIPES[name], most)
    fields = {**recipe.overrides}
    return [
        *(f"network.{field}={json.dumps(value)}" for field, value in fields.items()),
        f"stride={recipe.stride}",
        "steps=2",
        "batch=4",
    ]


@pytest.mark.parametrize(
    ("name", "most", "found"),
    [
        ("nanohtnet-27-9-cpn", 27, ["Human3.6M, protocols 1 and 2", "SitD.", "2D from CPN"]),
        ("htnet-gt-refine", 1, ["Human3.6M as HTNet", "the true depth of the root"]),
        ("hot-mixste-243-cpn", 27, ["as HoT around MixSTE"]),
        ("motionbert-lite-sh", 27, ["Human3.6M as MotionBERT", "stacked hourglass"]),
        ("motionagformer-xs-3dhp", 9, ["MPI-INF-3DHP, trained on it", "PCK@150", "Outdoor"]),
        ("convformer-9-humaneva", 9, ["HumanEva-I, P-MPJPE", "Box S1"]),
    ],
)
def test_a_recipe_is_trained_and_measured_from_files(
    name: str, most: int, found: list[str], data: Path
):
    # Detections of the made-up HumanEva files are empty.
    changes = narrow(name, most) + (["keypoints=gt"] if "humaneva" in name else [])
    folder, reports = data / "run", []
    (weights,) = train_recipe(name, data, folder, QUICK, changes=changes, report=reports.append)
    assert weights == folder / f"{name}.safetensors"
    assert reports[-1].step == 2
    assert reports[-1].scores["mpjpe"] > 0
    settings = EvaluationSettings()
    table = evaluate_run(folder, data, settings)
    for text in (*found, "other settings than the recipe's"):
        assert text in table
    if "refine" in name:
        with pytest.raises(ValueError, match="without the refinement"):
            read_trained(weights)
    elif "humaneva" in name:
        lines = evaluate_run(weights, data, settings).splitlines()
        assert lines[3:] == table.splitlines()[3:]  # after the line with the file's name
    else:
        assert read_trained(weights)[1] == read_trained(folder)[1]


def test_a_network_for_human36m_is_measured_across_data_sets(data: Path):
    recipe = small(RECIPES["htnet-cpn"])
    network = network_of_recipe(recipe).eval()
    results = evaluate_lifter(network, recipe, data, "mpi-inf-3dhp-cross")
    assert results.frames == {"TS1": 7, "TS6": 7}
    assert results.protocol.train == "Human3.6M only"
    with pytest.raises(ValueError, match="cannot be measured by humaneva-i"):
        evaluate_lifter(network, recipe, data, "humaneva-i")
    with pytest.raises(ValueError, match="no protocol named"):
        evaluate_lifter(network, recipe, data, "mpi")
    other = small(RECIPES["motionbert-sh"])
    with pytest.raises(ValueError, match="scale of the picture"):
        evaluate_lifter(network_of_recipe(other), other, data, "mpi-inf-3dhp-cross")


def test_weights_without_a_recipe_need_one(data: Path):
    path = data / "converted.safetensors"
    save_weights(path, create_lifter("htnet", **SMALL["htnet"]))
    with pytest.raises(ValueError, match="--recipe"):
        read_trained(path)
    network, recipe = read_trained(path, RECIPES["htnet-gt"])
    assert recipe.name == "htnet-gt"
    assert not network.training
    with pytest.raises(ValueError, match="is a 'htnet', mixste-243-cpn trains a 'mixste'"):
        read_trained(path, RECIPES["mixste-243-cpn"])


def test_folders_that_hold_no_run_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="the folder that lithepose train wrote"):
        read_trained(tmp_path)


def test_settings_of_pose_networks_are_refused_for_lifters(data: Path):
    path = data / "lifter.safetensors"
    save_weights(path, create_lifter("htnet", **SMALL["htnet"]))
    with pytest.raises(ValueError, match="are of pose networks"):
        evaluate_run(path, data, EvaluationSettings(split="val"), RECIPES["htnet-gt"])
    with pytest.raises(ValueError, match="one around every frame: leave windows out"):
        evaluate_run(path, data, EvaluationSettings(windows="last"), RECIPES["htnet-gt"])


@pytest.mark.parametrize("kind", ["last", "padded", "inside"])
def test_a_result_states_the_windows_that_it_was_measured_with(kind: str):
    recipe = replace(RECIPES["hot-mixste-243-cpn"], test_windows=kind)
    for name in ("human36m-hot", "human36m-mixste", "human36m"):
        notes = stated_protocol(recipe, PROTOCOLS[name]).notes
        assert [note for note in notes if note in WINDOWS.values()] == [WINDOWS[kind]]


def test_a_run_of_the_shipped_lifter_has_no_published_table(tmp_path: Path):
    header = {"kind": "best", "described": json.dumps({"recipe": {}, "optimisation": {}})}
    (tmp_path / "best.safetensors").write_bytes(save({"a": torch.zeros(1)}, header))
    with pytest.raises(ValueError, match="the shipped lifter"):
        read_trained(tmp_path)


def test_the_shipped_lifter_is_trained_by_its_own_recipe(
    motion_folder: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    exported: list[Any] = []
    monkeypatch.setattr(shipped, "finish", lambda *parts: exported.extend(parts) or [])
    few = partial(shipped.validation_windows, count=8)
    monkeypatch.setattr(shipped, "validation_windows", few)
    changes = [f"network.{field}={json.dumps(value)}" for field, value in tiny.items()]
    changes += ["clips.frames=9", "clips.targets=3", "steps=1", "batch=4", "warmup=1"]
    files = train_recipe("lithepose-81-9", motion_folder, tmp_path, QUICK, changes=changes)
    assert files == []
    recipe, folder = exported
    model: Any = shipped.trained_lifter(folder / "last.safetensors", recipe)
    assert model.config.frames == recipe.clips.frames == 9
    assert recipe.optimisation.optimiser == "muon"
    assert (folder / "last.safetensors").is_file()
    with pytest.raises(ValueError, match="the shipped lifter"):
        read_trained(tmp_path)
    with pytest.raises(ValueError, match=r"known: .*clips\.bend"):
        train_recipe("lithepose-81-9", motion_folder, tmp_path, QUICK, changes=["clips.zoom=1"])


def test_a_run_of_a_pose_network_is_measured_on_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe = TABLE["hevitpose-t-mpii"]
    assert isinstance(recipe, ImageRecipe)
    said = {"recipe": recipe.described(), "optimisation": asdict(recipe.optimisation)}
    header = {"kind": "best", "described": json.dumps(said)}
    network = create_pose_network(recipe.network)
    (tmp_path / "best.safetensors").write_bytes(save(network.state_dict(), header))
    seen: dict[str, Any] = {}

    class Found:
        def as_markdown(self) -> str:
            return "| PCKh |\n"

    def measured(network: Any, name: str, root: Path, **settings: Any) -> Found:
        seen.update(settings, name=name)
        return Found()

    monkeypatch.setattr("lithepose.train.tasks.images.evaluate_images", measured)
    table = evaluate_run(tmp_path, tmp_path, EvaluationSettings(flip=False))
    assert "Published: PCKh@0.5 87.2 %" in table
    assert table.endswith("| PCKh |\n")
    assert seen == {
        "name": "hevitpose-t-mpii",
        "dataset": "mpii",
        "split": "val",
        "boxes": None,
        "flip": False,
        "decoder": "quarter",
        "device": "cpu",
    }
    with pytest.raises(ValueError, match="protocols are of lifters"):
        evaluate_run(tmp_path, tmp_path, EvaluationSettings(protocols=("human36m",)))


def test_damaged_weights_are_said_to_be_damaged(tmp_path: Path):
    (tmp_path / "best.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged or no safetensors file"):
        read_trained(tmp_path)
    with pytest.raises(FileNotFoundError, match="no weights file"):
        read_trained(tmp_path / "none.safetensors")


def test_a_pretrained_encoder_is_taken_over_and_the_head_is_not(data: Path):
    recipe = small(RECIPES["nanohtnet-27-9-cpn"])
    lifter = create_lifter("nanohtnet-27-9", **recipe.overrides)
    encoder = {f"encoder.{n}": t for n, t in lifter.state_dict().items() if n[:4] != "head"}
    save_encoder(data / "encoder.safetensors", lifter, encoder, {})
    task = LiftingTask(recipe, data, data / "encoder.safetensors")
    torch.manual_seed(5)
    built = task.build().state_dict()
    for name, tensor in lifter.state_dict().items():
        if name.startswith("head."):
            continue
        assert torch.equal(built[name], tensor)


def test_weights_to_begin_with_are_taken_over(data: Path):
    recipe = small(RECIPES["htnet-gt-refine"])
    lifter = create_lifter("htnet", **SMALL["htnet"])
    save_weights(data / "start.safetensors", lifter)
    task = LiftingTask(recipe, data, data / "start.safetensors")
    network = task.build()
    assert isinstance(network, RefinedLifter)
    for name, tensor in lifter.state_dict().items():
        assert torch.equal(network.lifter.state_dict()[name], tensor)
    other = small(RECIPES["nanohtnet-27-9-cpn"])
    with pytest.raises(ValueError, match="not for 'nanohtnet'"):
        LiftingTask(other, data, data / "start.safetensors").build()
