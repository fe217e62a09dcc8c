"""Write files completely or not at all: no kill, full disk or Ctrl-C leaves a partial file under its own name.

Programs check before their work that its results can be written.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Callable, Union

PathLike = Union[str, "os.PathLike[str]"]


def write_together(
    directory: PathLike, files: Mapping[str, Callable[[Path], object]], stale: Iterable[str] = ()
) -> None:
    """Write several files into a directory; each is moved in when all of them are complete.

    The scratch directory is inside the target directory, because a rename is atomic within one file system only.

    Args:
        directory: created if missing.
        files: file name -> function that writes the file to the path it is given; its return value is ignored.
        stale: names of files to remove, if they exist, once the new ones are complete.

    Raises:
        OSError: the directory or a file cannot be written. What the functions raise is passed on.
    """
    os.makedirs(directory, exist_ok=True)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=directory))
    except OSError as error:
        error.filename = os.fspath(directory)  # users never named the scratch directory
        raise
    try:
        for name, write in files.items():
            write(scratch / name)
        for name in stale:
            Path(directory, name).unlink(missing_ok=True)
        for name in files:
            target = os.path.join(directory, name)
            try:
                os.replace(scratch / name, target)
            except OSError as error:
                error.filename = target
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_whole(path: PathLike, write: Callable[[Path], object]) -> None:
    """Write one file or directory; until it is complete, what was at `path` stays there.

    Args:
        path: its directory is created if missing.
        write: writes the file, or makes the directory, at the path it is given. A directory takes the place of an empty
            one only.

    Raises:
        OSError: it cannot be written. What `write` raises is passed on.
    """
    directory, name = os.path.split(path)
    write_together(directory or os.curdir, {name: write})


def write_json(path: PathLike, content: Any) -> None:
    """`write_whole` of a JSON file.

    Raises:
        OSError: see `write_whole`.
    """
    write_whole(path, lambda scratch: scratch.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8"))


def check_writable(out: Path, option: str = "--out") -> None:
    """Check that a directory can be written, by writing and removing a folder where it is or will be.

    Args:
        option: that it was named by, for the message.

    Raises:
        ValueError: the path is a file, or writing there is not allowed.
    """
    there = next(path for path in (out.absolute(), *out.absolute().parents) if os.path.lexists(path))
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".unfinished-", dir=there))
    except OSError as error:
        raise ValueError(
            f"{option} {out}: expected a directory that can be written, found {there}: {error.strerror}; name another"
        ) from error


def check_writable_file(out: Path, option: str = "--out") -> None:
    """Check that a file can be written, by `check_writable` of its directory.

    Raises:
        ValueError: the path is a directory, or writing there is not allowed.
    """
    if out.is_dir():
        raise ValueError(f"{option}: expected the name of a file to write, found the directory {out}; add a name")
    check_writable(out.parent, option)
