"""Reading pickled arrays without running what a pickle may hold.

Several data sets are passed on as dictionaries of arrays inside an npz file, or as a `.pkl`. Such
files are pickles, and a pickle can call any function when it is loaded, so NumPy refuses them
unless it is told to trust the file. The reader here trusts nothing: it builds arrays, numbers,
text and Python's plain containers by itself, and refuses every other name that a file asks for.

NumPy's own restoring of array types is not called either: a forged type can make raw bytes pass
for object pointers. Types are rebuilt from their plain one-letter codes.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

# Codes of the array types that may occur: booleans, integers, floats, complex numbers, bytes, text
# of fixed length, and O for arrays of Python objects, whose elements come through the reader too.
_PLAIN_TYPE = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248]|c8|c16|[SU]\d+|O8?)")


class ForbiddenPickle(ValueError):
    """A pickle asks for a name that data does not need. The message names it."""


class DamagedFile(ValueError):
    """A file is cut off, or no file of its kind."""


class _Builder:
    """A function that a pickle may call; unlike the function itself it cannot be changed by one."""

    __slots__ = ("_build",)

    def __init__(self, build: Callable[..., Any]):
        self._build = build

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("a name is given a state")


class _Type:
    """An array type as a pickle describes it."""

    __slots__ = ("plain",)

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or not _PLAIN_TYPE.fullmatch(code):
            raise ForbiddenPickle(f"an array of type {code!r}")
        self.plain = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # (version, byte order, sub-array, names, fields, size, alignment, flags); only the order
        # of the bytes matters, a structured type is no data of ours.
        if state[2] is not None or state[3] is not None or state[4] is not None:
            raise ForbiddenPickle("an array of a structured type")
        if state[1] in ("<", ">"):
            self.plain = self.plain.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array in the making; `_finish` turns it into an ordinary one."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, kind, fortran, data = state
        super().__setstate__((version, shape, kind.plain, fortran, data))


def _empty(subtype: Any, shape: Any, code: Any) -> _Array:
    del subtype, shape, code  # always (ndarray, (0,), b"b"); the state gives the real ones
    return _Array((0,), np.int8)


def _from_buffer(buffer: Any, kind: _Type, shape: Any, order: str, axes: Any = None) -> Any:
    flat = np.frombuffer(bytes(buffer), kind.plain)
    if order == "K" and axes is not None:
        return flat.reshape(shape).transpose(axes)
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _scalar(kind: _Type, data: Any) -> Any:
    if kind.plain.hasobject:
        raise ForbiddenPickle("a single object as an array element")
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, kind.plain, 1)[0]


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ForbiddenPickle(f"text encoded as {encoding!r}")
    return text.encode("latin1")


def _refuse(*_: Any) -> NoReturn:
    raise ForbiddenPickle("a call of numpy.ndarray")


def _named_builders() -> dict[tuple[str, str], _Builder]:
    builders: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): _refuse,  # only ever named, as an argument of `_reconstruct`
        ("numpy", "dtype"): _Type,
        ("_codecs", "encode"): _encode,
        ("collections", "OrderedDict"): OrderedDict,
    }
    for core in ("numpy.core", "numpy._core"):  # the name before and after NumPy 2
        builders[(f"{core}.multiarray", "_reconstruct")] = _empty
        builders[(f"{core}.multiarray", "scalar")] = _scalar
        builders[(f"{core}.numeric", "_frombuffer")] = _from_buffer
    for module in ("builtins", "__builtin__"):  # the name in Python 3 and 2
        for make in (set, frozenset, complex, bytes, bytearray):
            builders[(module, make.__name__)] = make
    return {name: _Builder(build) for name, build in builders.items()}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]):
        # Pickles of Python 2 hold the bytes of arrays as text of this encoding.
        super().__init__(file, encoding="latin1")
        self.builders = _named_builders()

    def find_class(self, module_name: str, global_name: str) -> Any:
        builder = self.builders.get((module_name, global_name))
        if builder is None:
            raise ForbiddenPickle(f"{module_name}.{global_name}")
        return builder


def _finish(value: Any) -> Any:
    """The value with ordinary arrays and dictionaries in it."""
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            elements = np.empty(value.size, object)
            for i, element in enumerate(value.flat):
                elements[i] = _finish(element)
            return elements.reshape(value.shape)
        return value.view(np.ndarray)
    if isinstance(value, dict):
        return {_finish(key): _finish(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        kind = next(k for k in (list, tuple, set, frozenset) if isinstance(value, k))
        # Lists of millions of names occur, for which a call each would take long.
        return kind([inner if type(inner) is str else _finish(inner) for inner in value])
    if isinstance(value, _Builder | _Type):
        raise ForbiddenPickle("a name instead of data")
    return value


def _load(file: IO[bytes], path: Path) -> Any:
    try:
        return _finish(_Unpickler(file).load())
    except ForbiddenPickle as error:
        raise ForbiddenPickle(
            f"{path} holds {error}, which data does not need and which could run code when it is "
            "loaded, so the file is refused: get it from its authors again"
        ) from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle fails in any way, without a class of its own
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedFile:
    return DamagedFile(
        f"{path} is damaged or cut off ({type(error).__name__}: {str(error)[:120] or '-'}): "
        "get it again"
    )


def read_pickle(path: str | Path) -> Any:
    """The value in a `.pkl` file: arrays, numbers, text and plain containers of them.

    Raises:
        FileNotFoundError: there is no such file.
        ForbiddenPickle: it asks for anything else; nothing of it is run.
        DamagedFile: it is cut off, or no pickle.
    """
    path = Path(path)
    with path.open("rb") as file:
        return _load(file, path)


def array_names(path: str | Path) -> tuple[str, ...]:
    """The names of the arrays in an npz file; nothing else of it is read.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: it is no npz file, or cut off.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except zipfile.BadZipFile as error:
        raise _damaged(path, error) from error


def read_arrays(path: str | Path, names: Iterable[str]) -> dict[str, Any]:
    """Arrays of an npz file by name, those of objects included.

    Args:
        names: which to read; others in the file are left alone.

    Returns:
        Name -> array, or the object itself where the array is one object without axes (the way
        dictionaries are stored).

    Raises:
        FileNotFoundError: there is no such file.
        ForbiddenPickle: an array of objects asks for more than data; nothing of it is run.
        DamagedFile: the file is cut off, or no npz file.
        ValueError: it lacks a name.
    """
    path = Path(path)
    names, there = tuple(names), array_names(path)
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(
            f"{path} has no {', '.join(missing)} (but {', '.join(there) or 'nothing'}): it is "
            "another file, or of another layout"
        )
    values = {}
    with zipfile.ZipFile(path) as archive:
        for name in names:
            try:
                with archive.open(f"{name}.npy") as member:
                    values[name] = _read_member(member, path)
            except (ForbiddenPickle, DamagedFile, OSError):
                raise
            except Exception as error:  # damage shows in any way, as in a pickle
                raise _damaged(path, error) from error
    return values


def _read_member(file: IO[bytes], path: Path) -> Any:
    version = np.lib.format.read_magic(file)
    # Versions 2 and 3 differ from 1 in the length of the header, and 3 in the encoding of names.
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, kind = read_header(file)
    if kind.hasobject:
        if kind != np.dtype(object):
            raise ForbiddenPickle(f"{path} holds an array of a structured type: it is refused")
        array = _load(file, path)
        if not isinstance(array, np.ndarray) or array.shape != shape:
            raise ValueError("the pickled array is not the one that the header says")
        return array.item() if array.shape == () else array
    count = int(np.prod(shape, dtype=np.int64))
    data = file.read(count * kind.itemsize)
    if len(data) != count * kind.itemsize:
        raise ValueError("the array ends early")
    array = np.frombuffer(data, kind).reshape(shape, order="F" if fortran else "C")
    return array.copy()
