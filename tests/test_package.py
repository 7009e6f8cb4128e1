"""The package as a whole: what it costs to import, what it offers, what it never does."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import lithepose

FOLDER = Path(lithepose.__file__).parent
HEAVY = {"torch", "cv2", "av", "onnxruntime", "ai_edge_litert", "lap", "rich", "safetensors"}
MODULES = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")
    for path in FOLDER.rglob("*.py")
    if path.parent != FOLDER or not path.stem.startswith("__")
)
CORE_LIFTERS = {"lifters.default", "lifters.table", "lifters.windows"}
# What a user without the extra "train" runs: all but the networks, their training and measurement,
# and the pictures of synthetic people.
DRAWING = ("backdrops", "batch_rng", "camera_effects", "paint", "rasteriser", "render", "scenes")
NETWORKS = {"detect.hevitpose", "detect.weights", "mocap.device_windows", "weights_file"} | {
    name
    for name in MODULES
    if name.startswith(("train.", "deploy.", "bench."))
    or name in {f"synthetic.{part}" for part in DRAWING}
    or (name.startswith("lifters.") and name not in CORE_LIFTERS)
}
CORE = [name for name in MODULES if name not in NETWORKS]


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_importing_loads_the_package_alone():
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import lithepose\n"
        "loaded = {name for name in set(sys.modules) - before}\n"
        "print(sorted(n for n in loaded if n.split('.')[0] not in sys.stdlib_module_names))\n"
    )
    done = python(program)
    ours = ["lithepose", "lithepose.lazy", "lithepose.version"]
    assert done.stdout.strip() == str(ours), done.stderr


def test_naming_a_value_loads_nothing_heavy():
    program = (
        "import sys\n"
        "from lithepose import Detections, Track2D, Track3D, create_lifter\n"
        f"print({HEAVY!r} & set(sys.modules))\n"
    )
    done = python(program)
    assert done.stdout.strip() == "set()", done.stderr


def test_every_offered_name_is_there():
    for name in lithepose.__all__:
        assert getattr(lithepose, name) is not None
        assert name in dir(lithepose)
    assert list(lithepose.__all__) == sorted(lithepose.__all__)
    assert lithepose.__all__ == sorted(" ".join(lithepose._WHERE.values()).split())


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'lfit'"):
        lithepose.lfit  # noqa: B018


def test_the_version_is_that_of_the_installed_package():
    try:
        installed = metadata.version("lithepose")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert lithepose.__version__ == installed


def test_the_core_works_without_pytorch_and_networks_name_the_extra():
    program = (
        "import importlib, sys\n"
        "for name in ('torch', 'onnx', 'onnxscript', 'scipy', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {CORE!r}:\n"
        "    importlib.import_module('lithepose.' + name)\n"
        "import numpy as np\n"
        "import lithepose\n"
        "points = np.random.default_rng(0).normal(300, 50, (5, 17, 2))\n"
        "result = lithepose.lift_keypoints(points, image_size=(640, 480), fps=25)\n"
        "assert result.people[0].joints_camera.shape == (5, 17, 3)\n"
        "try:\n"
        "    lithepose.create_lifter('nanohtnet-81-9')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = python(program)
    assert done.returncode == 0, done.stderr
    assert 'pip install "lithepose[train]"' in done.stdout


@pytest.mark.parametrize("name", CORE)
def test_every_core_module_says_what_it_is(name: str):
    module = importlib.import_module(f"lithepose.{name}")
    empty = not Path(str(module.__file__)).read_text(encoding="utf-8").strip()
    assert module.__doc__ or empty


def test_nothing_is_ever_unpickled():
    for path in FOLDER.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for way in ("import pickle", "pickle.load", "allow_pickle=True", "joblib"):
            # One module reads public data sets that are pickled, and makes nothing but arrays.
            if (path.name, way) != ("pickles.py", "import pickle"):
                assert way not in text, f"{path} mentions {way}"
        # Foreign checkpoints are read with PyTorch's restricted reader, which only makes tensors.
        assert text.count("torch.load(") == text.count("weights_only=True)"), path
        # NumPy's own default is not to, said aloud wherever files are read.
        assert text.count("np.load(") == text.count("allow_pickle=False"), path


def test_one_file_alone_loads_onnx_runtime():
    # It turns the library's telemetry off, which must come before anything loads the library.
    benchmarks = Path(__file__).parents[1] / "benchmarks"
    loading = {
        path.name
        for path in (*FOLDER.rglob("*.py"), *benchmarks.glob("*.py"))
        if "onnxruntime" in imported(path)
    }
    assert loading == {"onnx.py"}


def imported(path: Path) -> set[str]:
    """The packages that a file imports, anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    names += [  # importlib.import_module("name") and the like
        argument.value
        for node in nodes
        if isinstance(node, ast.Call)
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    return {name.partition(".")[0] for name in names}


def test_only_the_command_prints():
    for path in FOLDER.rglob("*.py"):
        if "cli" not in path.relative_to(FOLDER).parts:
            nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            assert "print" not in {node.id for node in nodes if isinstance(node, ast.Name)}, path


def test_the_package_says_that_it_is_typed():
    assert (FOLDER / "py.typed").is_file()
