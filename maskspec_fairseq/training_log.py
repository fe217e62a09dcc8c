"""Read what fairseq logs during a run with common.log_format=json, which the recipes set."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Union

# [time][train_inner][INFO] - {"epoch": 1, "loss": "0.9", ...}
LOG_LINE = re.compile(r'\[([^\]]+)\]\[INFO\] - (\{"epoch": .*\})\s*$')
TRAINING = ("train_inner", "train")  # every log_interval updates, and per epoch; other kinds are subsets
CURVES = ("loss", "baseline_loss", "accuracy", "mAP")  # a run has some of them
Curve = list[tuple[float, float]]  # (epochs, value)


def log_entries(path: Union[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The kind and the content of every such line of a log, in order.

    The kind is one of `TRAINING`, or the name of the subset that was validated on. What version 0.1 of this package
    logged as mean_loss is named baseline_loss here.

    Raises:
        ValueError: what such a line has is not JSON.
        OSError: the log cannot be read.
    """
    with open(path, encoding="utf-8", errors="replace") as stream:  # a log has lines of other programs, too
        for number, line in enumerate(stream, start=1):
            match = LOG_LINE.search(line)
            if match:
                try:
                    entry = json.loads(match[2])
                except ValueError as error:
                    message = f"{path}, line {number}: expected JSON, found {match[2]:.60} ({error}); remove the line"
                    raise ValueError(message) from error
                yield match[1], {re.sub(r"(^|_)mean_loss$", r"\1baseline_loss", name): entry[name] for name in entry}


def read_curves(path: Union[str, Path]) -> dict[tuple[str, str], Curve]:
    """The curves of a log by kind, train_inner or a subset, and by name, one of `CURVES`.

    Raises:
        ValueError: the log has no such lines, or see `log_entries`.
        OSError: it cannot be read.
    """
    curves: dict[tuple[str, str], Curve] = {}
    for kind, entry in log_entries(path):
        if kind == "train":  # the means over an epoch of what train_inner has
            continue
        prefix, epochs = ("", entry.get("update")) if kind == "train_inner" else (f"{kind}_", entry["epoch"])
        for name in CURVES:
            if prefix + name in entry and epochs is not None:
                curves.setdefault((kind, name), []).append((float(epochs), float(entry[prefix + name])))
    if not curves:
        raise ValueError(f"{path}: expected lines of a training run with common.log_format=json, found none")
    return curves
