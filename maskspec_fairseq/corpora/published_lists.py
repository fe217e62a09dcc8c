"""Read the published lists of a corpus, and match them with the files that exist."""

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Optional

from maskspec_fairseq.corpora.builder import Clip
from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import ClipLabels

Listed = dict[str, dict[str, ClipLabels]]  # subset -> what the lists call a clip -> its labels


def check_file(path: Path, cure: str) -> Path:
    """Check that a file exists.

    Args:
        cure: end of the message: how to get the file.

    Returns:
        The path.

    Raises:
        ManifestError: it does not.
    """
    if not path.is_file():
        raise ManifestError(f"expected a file {path}, found none; {cure}")
    return path


@contextmanager
def reading(path: Path, cure: str = "take the file as it was published") -> Iterator[None]:
    """Turn what goes wrong while a file is read into one message that names the file.

    Args:
        cure: end of the message.

    Raises:
        ManifestError: the file is not UTF-8, is not CSV, or cannot be read.
    """
    try:
        yield
    except UnicodeDecodeError as error:  # its position is relative to a piece of the file
        with open(path, "rb") as stream:
            lines = enumerate(stream, start=1)
            number, line = next((n, line) for n, line in lines if line.decode("utf-8", "ignore").encode() != line)
        raise ManifestError(f"{path}, line {number}: expected UTF-8, found {line[:80]!r}; {cure}") from error
    except csv.Error as error:
        raise ManifestError(f"{path}: expected CSV, found: {error}; {cure}") from error
    except OSError as error:
        raise ManifestError(f"{path}: expected a file that can be read, found: {error.strerror}; {cure}") from error


def read_rows(
    path: Path, columns: Sequence[str], header: bool = True, delimiter: str = ","
) -> Iterator[tuple[int, list[str]]]:
    """Rows of a CSV with the numbers of their lines; the header is checked and not yielded.

    Empty lines, comments (`#`) and lines with the word `empty`, which PANNs' partial CSVs of AudioSet begin with, are
    skipped.

    Args:
        columns: the header, or what the fields mean if there is none.
        header: whether the file has one.

    Raises:
        ManifestError: the header differs, a row has more or fewer fields, or see `reading`.
    """
    expected = delimiter.join(columns).replace("\t", "<TAB>")
    with reading(path), open(path, encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream, delimiter=delimiter, skipinitialspace=True)
        try:
            for row in rows:
                if not row or row[0].startswith("#") or row == ["empty"]:
                    continue
                if header and row != list(columns):
                    raise ManifestError(
                        f"{path}, line {rows.line_num}: expected the header `{expected}`, found {row}; "
                        "take the file as it was published"
                    )
                if len(row) != len(columns):
                    raise ManifestError(
                        f"{path}, line {rows.line_num}: expected `{expected}`, found {row}; "
                        "correct the line or take the file as it was published"
                    )
                if not header:
                    yield rows.line_num, row
                header = False
        except csv.Error as error:
            raise ManifestError(
                f"{path}, line {rows.line_num + 1}: expected CSV, found: {error}; take the file as it was published"
            ) from error


def add_listed_clip(listed: Listed, subset: str, key: str, labels: ClipLabels, where: str) -> None:
    """Add a clip to the list of a subset.

    Args:
        where: file and line, for the message.

    Raises:
        ManifestError: the clip is on a list already.
    """
    for other, clips in listed.items():
        if key in clips:
            raise ManifestError(
                f"{where}: expected every clip once in all the lists, found {key!r}, which is in {other} already; "
                "take the lists as they were published"
            )
    listed[subset][key] = labels


def index_files(
    paths: Sequence[str], key_of: Callable[[str], Optional[str]]
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Group files by the clip that they hold; prints how many are further copies or have other names.

    Args:
        key_of: path -> what the lists call the clip, None if the name does not tell.

    Returns:
        Key -> path of the first file, and key -> paths of further files of the same clip.
    """
    files: dict[str, str] = {}
    copies: dict[str, list[str]] = {}
    folded, unnamed = [], []
    for path in paths:
        key = key_of(path)
        if key is None:
            unnamed.append(path)
        elif key in files:
            folded.append(path)
            copies.setdefault(key, []).append(path)
        else:
            files[key] = path
    if folded:
        print(f"note: {len(folded)} files are further copies of a clip and left out, {folded[0]!r} first")
    if unnamed:
        print(f"note: {len(unnamed)} files have names that no list can hold and are left out, {unnamed[0]!r} first")
    return files, copies


def match_files(
    corpus: str,
    official: dict[str, int],
    listed: Listed,
    files: dict[str, str],
    official_unlisted: int = 0,
    copies: Optional[dict[str, list[str]]] = None,
) -> tuple[dict[str, list[Clip]], dict[str, list[str]]]:
    """Match the lists of a corpus with the files that exist; prints what is missing and what is in no list.

    Args:
        corpus: name for messages.
        official: subset -> the number of clips that was published.
        listed: the lists; a key is in one subset only.
        files: key -> path of the files that exist.
        official_unlisted: number of files of the published corpus that are in no list.
        copies: key -> further files of the clip, used if the first is broken.

    Returns:
        Subset -> listed clips that exist, in the order of `files`, and subset -> keys of those that do not.

    Raises:
        ManifestError: no listed clip exists.
    """
    picked: dict[str, list[Clip]] = {subset: [] for subset in listed}
    unlisted = []
    for key, path in files.items():
        subset = next((subset for subset, clips in listed.items() if key in clips), None)
        if subset is None:
            unlisted.append(path)
        else:
            picked[subset].append(Clip(path, listed[subset][key], (copies or {}).get(key, ())))
    missing = {subset: [key for key in clips if key not in files] for subset, clips in listed.items()}
    for subset, clips in listed.items():
        line = f"{subset}: {len(picked[subset])} found of {len(clips)} listed ({official[subset]} officially)"
        if missing[subset]:
            line += f", {len(missing[subset])} missing, {missing[subset][0]!r} first"
        print(line)
    found = {subset: len(clips) for subset, clips in picked.items()}
    if not any(found.values()):
        first = f", {unlisted[0]!r} first" if unlisted else ""
        raise ManifestError(
            f"{corpus}: expected files that its lists name, found {len(files)} others{first}; "
            "check that this is the directory of its audio and that all of it is unpacked"
        )
    if found != official:
        print(f"note: {corpus} has {_counts(official)} clips, found {_counts(found)}")
    if len(unlisted) != official_unlisted:
        first = f", {unlisted[0]!r} first" if unlisted else ""
        usual = f" ({official_unlisted} officially)" if official_unlisted else ""
        print(f"note: {len(unlisted)} files are in no list and left out{usual}{first}")
    elif unlisted:
        print(f"{len(unlisted)} files are in no list and left out, as published")
    return picked, missing


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{subset} {count}" for subset, count in counts.items())
