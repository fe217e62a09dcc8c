"""Write files whole or not at all."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Dict, Iterable, Union

PathLike = Union[str, "os.PathLike[str]"]


def write_together(directory: PathLike, files: Dict[str, Callable[[Path], None]], stale: Iterable[str] = ()) -> None:
    """Write several files of a directory so that an interrupt leaves nothing half-written: each is moved in whole.

    Args:
        files: file name -> function that writes the file at the path that it is given.
        stale: names of files to remove where they exist, once the new ones are complete.
    """
    os.makedirs(directory, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=directory))
    try:
        for name, write in files.items():
            write(scratch / name)
        for name in stale:
            Path(directory, name).unlink(missing_ok=True)
        for name in files:
            os.replace(scratch / name, os.path.join(directory, name))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
