r"""Read text files of a data directory line by line, strictly: UTF-8, and every line ends in `\n`."""

import os
from collections.abc import Iterator

from maskspec_fairseq.atomic_write import PathLike
from maskspec_fairseq.data_dir import ManifestError

BYTE_ORDER_MARK = "\ufeff"
MAX_LINE = 2**20  # bytes: a path has at most 4096, and the labels of a clip are at most some thousand keys
SHOWN = 200  # characters of a line that a message quotes


def problem_of_text(text: str) -> str:
    """Why a line cannot hold a text; "" if it can."""
    if "\n" in text or "\r" in text or "\0" in text:
        return "holds a line break or a NUL"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return "is not UTF-8"
    return ""


def escaped(text: str) -> str:
    """A text in which control characters, such as line breaks, are escaped: it cannot make lines of a table."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def decoded_lines(path: PathLike) -> Iterator[str]:
    """The lines of a text file, with their line ends.

    Raises:
        ManifestError: there is no such file, or a line is not UTF-8 or longer than `MAX_LINE`; the message has its
            number.
    """
    if not os.path.isfile(path):  # opening a pipe would block
        raise ManifestError(f"expected a file {path}, found none; build again")
    with open(path, "rb") as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE + 1), b""), start=1):
            if len(line) > MAX_LINE:
                raise ManifestError(
                    f"{path}, line {number}: expected at most {MAX_LINE} bytes, found more, beginning with "
                    f"{line[:SHOWN]!r}; write it again"
                )
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ManifestError(
                    f"{path}, line {number}: expected UTF-8, found {line[:SHOWN]!r} ({error.reason}); write it again"
                ) from error


def read_lines(path: PathLike) -> Iterator[str]:
    r"""The lines of a text file, without the `\n` at their ends.

    Other line ends and a byte-order mark are errors and are not skipped silently: other programs read the same file
    next to its label file, and it should mean the same to all of them. The message names the command that repairs it.

    Raises:
        ManifestError: there is no such file, or a line breaks these rules; the message has its number.
    """
    for number, line in enumerate(decoded_lines(path), start=1):
        problem = ""
        if "\r" in line:
            problem = rf"expected `\n` alone at line ends, found `\r`; mend it by `sed -i 's/\r$//' {path}`"
        elif number == 1 and line.startswith(BYTE_ORDER_MARK):
            problem = rf"expected text, found a byte-order mark; remove it by `sed -i '1s/^\xEF\xBB\xBF//' {path}`"
        elif "\0" in line:
            problem = "expected text, found a NUL byte; write the file again"
        elif not line.endswith("\n"):
            problem = f"expected a line break at its end, found {line[:SHOWN]!r} and no more; is the file cut off?"
        if problem:
            raise ManifestError(f"{path}, line {number}: {problem}")
        yield line[:-1]
