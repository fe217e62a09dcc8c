"""Read the released log-mel statistics, `mean_std_128.npy`, without running code from the file.

It is a pickled dictionary in an array of objects. The pickle is read as a record of what it would call, and nothing is
called: numpy itself, given such a pickle by a stranger, reads memory that is not the array's.
"""

import io
import os
import pickle
from typing import Any

import numpy as np

from maskspec_fairseq.checkpoints.check import LARGEST, LEAST_DEVIATION

KEYS = ("frame_mean", "frame_std")
N_MELS = 128
MAX_BYTES = 1 << 20  # the released file has 3 KB
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # until numpy 2, and since
_ALLOWED = {("numpy", "ndarray"), ("numpy", "dtype")}
_ALLOWED |= {(module, name) for module in _MODULES for name in ("_reconstruct", "scalar")}
_DTYPES = ("f4", "f8", "i4", "i8")


class _Call:
    """A call that a pickle asks for, with the state that it would set afterwards."""

    def __init__(self, name: str, arguments: tuple) -> None:
        self.name = name
        self.arguments = arguments
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state


class _Recorder(pickle._Unpickler):  # the one in C makes room for whatever number of objects a file names
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"{module}.{name} in it, which is not data; it was not read any further, because that could run code "
                "of whoever wrote the file"
            )
        return lambda *arguments: _Call(name, arguments)


def read_statistics(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every mel bin, float32 (128,) each.

    Raises:
        ValueError: there is no such file, or it is not such a file.
        OSError: it cannot be read.
    """
    expected = f"{path}: expected log-mel statistics (a pickled dictionary with {' and '.join(KEYS)} in a .npy file)"
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise ValueError(f"{os.path.getsize(path)} bytes, where {MAX_BYTES} would be many")
        with open(path, "rb") as stream:
            content = _read_pickled(stream.read())
    except FileNotFoundError:
        raise ValueError(f"{expected}, found no such file; correct the path") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"{expected}, found: {str(error) or type(error).__name__}") from error
    if not isinstance(content, dict) or not all(key in content for key in KEYS):
        raise ValueError(
            f"{expected}, found {sorted(map(str, content)) if isinstance(content, dict) else type(content)}"
        )
    try:
        mean, std = (_numbers(content[key]) for key in KEYS)
    except Exception as error:
        raise ValueError(f"{expected}, found values in it that are not numbers: {error}") from error
    if mean.shape != (N_MELS,) or std.shape != (N_MELS,):
        raise ValueError(f"{path}: expected statistics of {N_MELS} mel bins, found {len(mean)} and {len(std)}")
    if not (np.abs([mean, std]) <= LARGEST).all() or std.min() < LEAST_DEVIATION:
        raise ValueError(
            f"{path}: expected finite statistics and deviations above 0, found NaN, 0, or numbers that no log-mel has"
        )
    return mean, std


def _read_pickled(content: bytes) -> Any:
    """The object in a file of `np.save`."""
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format, not (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if shape != () or dtype != np.dtype(object):
        raise ValueError(f"an array {shape} of {dtype}")
    array = _Recorder(stream).load()  # of one object, in a list
    return array.state[4][0]


def _numbers(value: Any) -> np.ndarray:
    """An array, or a list of numbers, as float32 (N,).

    Raises:
        Exception: it is neither, in any way that a pickle can be built.
    """
    if not isinstance(value, _Call):
        return np.array([float(each) for each in value], dtype=np.float32)
    if value.name != "_reconstruct":
        raise ValueError(f"{value.name}, not an array")
    _, _, dtype, _, data = value.state  # a version, the shape, and Fortran's order, which is the same in one dimension
    with np.errstate(over="ignore"):  # to infinity, which is refused
        return np.frombuffer(data, _dtype(dtype)).astype(np.float32)


def _dtype(call: _Call) -> np.dtype:
    (name, *_), (_, order, *_) = call.arguments, call.state
    if call.name != "dtype" or name not in _DTYPES:
        raise ValueError(f"{name}, not one of {', '.join(_DTYPES)}")
    return np.dtype(f"{order}{name}")
