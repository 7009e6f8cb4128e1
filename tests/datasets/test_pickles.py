"""Pickled arrays are read without running anything that the pickle names."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.datasets.pickles import (
    DamagedFile,
    ForbiddenPickle,
    array_names,
    read_arrays,
    read_pickle,
)


class Calls:
    """Pickles into a call of any function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def values() -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "float": random.random((3, 4)).astype(np.float32),
        "big endian": np.arange(5).astype(">i4"),
        "fortran": np.asfortranarray(random.random((3, 2, 4))),
        "strided": random.random((6, 4))[::2, 1:],
        "transposed": random.random((2, 3, 4)).transpose(2, 0, 1),
        "bool": np.array([True, False]),
        "text": np.array(["S1", "Walking 1"]),
        "bytes": np.array([b"a", b"bc"]),
        "empty": np.zeros((0, 17, 3)),
        "scalar": np.float32(2.5),
        "objects": np.array([{"a": np.arange(3)}, None, "x"], dtype=object),
        "nested": [np.zeros(2), (1, 2.5, None, b"raw"), {"k": {"l": np.ones((2, 2))}}],
        "sets": ({1, 2}, frozenset("ab"), 1 + 2j, bytearray(b"z")),
        "ordered": OrderedDict(a=1),
    }


def assert_same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, np.ndarray):
        assert type(found) is np.ndarray
        assert found.shape == wanted.shape
        assert found.dtype.newbyteorder("=") == wanted.dtype.newbyteorder("=")
        if wanted.dtype == object:
            for a, b in zip(found.flat, wanted.flat, strict=True):
                assert_same(a, b)
        else:
            np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert type(found) is type(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert_same(a, b)
    else:
        assert found == wanted


@pytest.mark.parametrize("protocol", range(2, 6))
def test_arrays_and_containers_come_back_as_they_were(protocol: int, tmp_path: Path):
    path = tmp_path / "values.pkl"
    path.write_bytes(pickle.dumps(values(), protocol=protocol))
    assert_same(read_pickle(path), values())


def test_names_of_the_other_numpy_are_known(tmp_path: Path):
    new = pickle.dumps(values(), protocol=2)
    old = new.replace(b"numpy._core.", b"numpy.core.")
    if old == new:
        old = new.replace(b"numpy.core.", b"numpy._core.")
    assert old != new
    path = tmp_path / "values.pkl"
    path.write_bytes(old)
    assert_same(read_pickle(path), values())


def test_an_npz_gives_plain_arrays_and_stored_dictionaries(tmp_path: Path):
    path = tmp_path / "data.npz"
    stored: Any = {"data": values()}
    np.savez_compressed(path, plain=np.eye(3), fortran=np.asfortranarray(np.eye(4)[:3]), **stored)
    assert array_names(path) == ("plain", "fortran", "data")
    read = read_arrays(path, ["data", "plain", "fortran"])
    assert_same(read["data"], values())
    assert_same(read["plain"], np.eye(3))
    np.testing.assert_array_equal(read["fortran"], np.eye(4)[:3])


EVIL = [
    (Calls(os.system, "touch {mark}"), r"posix\.system|nt\.system"),
    (Calls(eval, "open({mark!r}, 'w')"), r"builtins\.eval"),
    (Calls(getattr, "x", "join"), r"builtins\.getattr"),
    (Calls(np.load, "x"), r"numpy\.load|numpy\.lib"),
    (Calls(np.dtype, "V8"), "an array of type 'V8'"),
    (Calls(np.dtype, [("a", "O")]), "an array of type"),
    (Calls(np.ndarray, (3,)), r"a call of numpy\.ndarray"),
    (np.ndarray, "a name instead of data"),
    (np.zeros(2, [("a", "i4")]), "an array of type 'V4'"),
]


@pytest.mark.parametrize(("evil", "name"), EVIL, ids=[name for _, name in EVIL])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickle_that_asks_for_more_than_data_is_refused_unrun(
    evil: Any, name: str, wrapped: bool, tmp_path: Path
):
    mark = tmp_path / "was run"
    if isinstance(evil, Calls):
        function, arguments = evil.call[:2]
        put = [a.format(mark=str(mark)) if isinstance(a, str) else a for a in arguments]
        evil = Calls(function, *put)
    path = tmp_path / "evil"
    if wrapped:
        path = path.with_suffix(".npz")
        inner = np.empty((), object)
        inner[()] = {"S1": evil}
        np.savez(path, positions_3d=inner)
        with pytest.raises(ForbiddenPickle, match=name) as caught:
            read_arrays(path, ["positions_3d"])
    else:
        path = path.with_suffix(".pkl")
        path.write_bytes(pickle.dumps({"S1": evil}))
        with pytest.raises(ForbiddenPickle, match=name) as caught:
            read_pickle(path)
    assert str(path) in str(caught.value)
    assert not mark.exists()


def test_a_forged_array_type_cannot_make_pointers_of_bytes(tmp_path: Path):
    """The type says 64-bit integers, its state that they are objects in a field."""
    state = (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 8, 63)
    path = tmp_path / "forged.pkl"
    path.write_bytes(pickle.dumps(Calls(np.dtype, "i8", state=state)))
    with pytest.raises(ForbiddenPickle, match="structured type"):
        read_pickle(path)


def test_state_cannot_be_put_on_what_is_callable(tmp_path: Path):
    # GLOBAL numpy dtype, a dictionary as its state, BUILD.
    path = tmp_path / "build.pkl"
    path.write_bytes(b"cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.")
    with pytest.raises(DamagedFile, match="given a state"):
        read_pickle(path)


def test_a_container_that_holds_itself_is_refused(tmp_path: Path):
    endless: list[Any] = []
    endless.append(endless)
    path = tmp_path / "endless.pkl"
    path.write_bytes(pickle.dumps(endless))
    with pytest.raises(DamagedFile, match="RecursionError"):
        read_pickle(path)


def test_every_cut_of_a_pickle_is_called_damage(tmp_path: Path):
    whole = pickle.dumps(values(), protocol=4)
    path = tmp_path / "cut.pkl"
    cuts = [position for _, _, position in pickletools.genops(whole) if position][::7]
    for cut in cuts:
        path.write_bytes(whole[:cut])
        with pytest.raises(DamagedFile, match="damaged or cut off"):
            read_pickle(path)


def test_a_cut_or_altered_npz_is_called_damaged(tmp_path: Path):
    path = tmp_path / "data.npz"
    stored: Any = {"data": values()}
    np.savez_compressed(path, **stored)
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:cut])
        with pytest.raises(DamagedFile, match="damaged or cut off"):
            read_arrays(path, ["data"])
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(20) + whole[middle + 20 :])
    with pytest.raises(DamagedFile, match="damaged or cut off"):
        read_arrays(path, ["data"])


def test_an_array_that_ends_early_is_called_damaged(tmp_path: Path):
    memory = io.BytesIO()
    np.save(memory, np.arange(100.0))
    path = tmp_path / "short.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", memory.getvalue()[:-8])
    with pytest.raises(DamagedFile, match="ends early"):
        read_arrays(path, ["a"])


def test_missing_arrays_and_files_are_named(tmp_path: Path):
    path = tmp_path / "other.npz"
    np.savez(path, poses=np.zeros(3))
    with pytest.raises(ValueError, match=r"has no positions_3d \(but poses\)"):
        read_arrays(path, ["positions_3d"])
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "none.npz", ["a"])
    with pytest.raises(FileNotFoundError):
        read_pickle(tmp_path / "none.pkl")
