"""Read the released log-mel statistics, `mean_std_128.npy`, without running code from the file.

It is a pickled dictionary in an array of objects. The only names allowed in the pickle are those that numpy needs to
rebuild arrays and numbers.
"""

import pickle
from typing import Any, BinaryIO

import numpy as np

KEYS = ("frame_mean", "frame_std")
N_MELS = 128
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # until numpy 2, and since
_ALLOWED: dict[tuple[str, str], Any] = {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
for _module in _MODULES:
    _ALLOWED[_module, "_reconstruct"] = np.zeros(0).__reduce__()[0]
    _ALLOWED[_module, "scalar"] = np.float64(0).__reduce__()[0]


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"{module}.{name} in it, which is not data; it was not read any further, because that could run code "
                "of whoever wrote the file"
            )
        return _ALLOWED[module, name]


def read_statistics(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every mel bin, float32 (128,) each.

    Raises:
        ValueError: there is no such file, or it is not such a file.
        OSError: it cannot be read.
    """
    expected = f"{path}: expected log-mel statistics (a pickled dictionary with {' and '.join(KEYS)} in a .npy file)"
    try:
        with open(path, "rb") as stream:
            content = _read_pickled(stream)
    except FileNotFoundError:
        raise ValueError(f"{expected}, found no such file; correct the path") from None
    except OSError:
        raise
    except Exception as error:  # a damaged pickle raises anything
        raise ValueError(f"{expected}, found: {str(error) or type(error).__name__}") from error
    if not isinstance(content, dict) or not all(key in content for key in KEYS):
        raise ValueError(f"{expected}, found {sorted(content) if isinstance(content, dict) else type(content)}")
    try:
        mean, std = (np.asarray(content[key], dtype=np.float32).reshape(-1) for key in KEYS)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{expected}, found values in it that are not numbers: {error}") from error
    if mean.shape != (N_MELS,) or std.shape != (N_MELS,):
        raise ValueError(f"{path}: expected statistics of {N_MELS} mel bins, found {len(mean)} and {len(std)}")
    if not np.isfinite([mean, std]).all() or std.min() <= 0:
        raise ValueError(f"{path}: expected finite statistics and deviations above 0, found others")
    return mean, std


def _read_pickled(stream: BinaryIO) -> Any:
    """The object in a file of `np.save`."""
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format, not (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if shape != () or dtype != np.dtype(object):
        raise ValueError(f"an array {shape} of {dtype}")
    return _DataUnpickler(stream).load().item()
