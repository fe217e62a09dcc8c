"""What a run directory is a run of, so that nothing else resumes from its checkpoints.

Model and task are in the config of `checkpoint_last.pt`. What the files hold that the run started from is noted in
`run.json` next to it, as their SHA-256: a file that has moved is still the same, one that has changed is not.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from maskspec_fairseq.atomic_write import PathLike, write_json
from maskspec_fairseq.checkpoints.compare import differing_fields
from maskspec_fairseq.checkpoints.exported import weights_file

RECORD_FILE = "run.json"
# Fields, besides the model's, that a resumed run must have in common with the run.
TASK_FIELDS = (
    "common.seed", "dataset.train_subset", "task.fold", "task.clip_sec", "task.channel", "task.target_is_multilabel",
    "task.clip_sampling",
)  # fmt: skip
# Fields of the model that follow from others, are only shown, name a file, or are for who loads a checkpoint.
OTHER_MODEL_FIELDS = {"num_classes", "label_names", "pretrained", "embedding_pool"}
FILE_FIELDS = ("task.data", "model.pretrained", "checkpoint.finetune_from_model")

Source = Optional[dict[str, Optional[str]]]  # `path`, absolute, and `sha256`, None where it is not known


def sha256(path: PathLike) -> str:
    """Of a file.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(1 << 20), b""):
            digest.update(chunk)
    return digest.hexdigest()


def file_source(path: str) -> Source:
    """A file, or an exported folder, that a run starts from, which may have gone since; none for an empty path."""
    file = weights_file(path)
    return {"path": path, "sha256": sha256(file) if os.path.isfile(file) else None} if path else None


def differences_from_run(
    save_dir: str, last_cfg: Mapping[str, Any], model: Mapping[str, Any], task: Any, sources: Mapping[str, Source]
) -> list[str]:
    """In what a command differs from the run whose checkpoints are in `save_dir`, as far as that is known of the run.

    Args:
        last_cfg: the config in `checkpoint_last.pt`.
        model: the model's config.
        task: the task's config, an object with fields.
        sources: the files that the command starts from, by their names for users.

    Returns:
        Each difference in words, with both values; none if the run may resume.

    Raises:
        ValueError: `run.json` is not what `note_run` writes.
    """
    last_model = last_cfg["model"]
    differing = differing_fields(last_model, model, {*last_model} & {*model} - OTHER_MODEL_FIELDS, "model.")
    for full_name in TASK_FIELDS:
        section, name = full_name.split(".")
        if name in last_cfg.get(section, {}) and hasattr(task, name):
            differing += differing_fields(last_cfg[section], {name: getattr(task, name)}, [name], f"{section}.")
    noted = noted_sources(save_dir) or configured_sources(last_cfg)
    for name, source in sources.items():
        if name in noted and not _is_same(noted[name], source):
            differing.append(f"{name}: expected {_shown(noted[name])}, found {_shown(source)}")
    return differing


def note_run(save_dir: str, sources: Mapping[str, Source]) -> None:
    """Write `run.json`; a file that has gone keeps the SHA-256 that was noted of it.

    Raises:
        ValueError: see `differences_from_run`.
        OSError: it cannot be written.
    """
    noted = noted_sources(save_dir)
    known = {
        name: noted.get(name) if source and not source["sha256"] and _is_same(noted.get(name), source) else source
        for name, source in sources.items()
    }
    write_json(os.path.join(save_dir, RECORD_FILE), known)


def noted_sources(save_dir: str) -> dict[str, Source]:
    """The content of `run.json`; nothing without the file, as in older run directories.

    Raises:
        ValueError: it is not what `note_run` writes.
    """
    path = Path(save_dir, RECORD_FILE)
    if not path.is_file():
        return {}
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        noted = None
    if not isinstance(noted, dict) or not all(_is_source(source) for source in noted.values()):
        raise ValueError(
            f"{path}: expected the files that the run started from, found something else; remove it to rely on the "
            "config in checkpoint_last.pt alone"
        )
    return noted


def configured_sources(cfg: Mapping[str, Any]) -> dict[str, Source]:
    """The files that a checkpoint's config names, whose content is not known."""
    sources: dict[str, Source] = {}
    for name in FILE_FIELDS:
        section, field = name.split(".")
        if field in cfg.get(section, {}):
            path = cfg[section][field]
            absolute = os.path.abspath(os.path.join(cfg.get("task", {}).get("launch_dir", "."), path or ""))
            sources[name] = {"path": absolute, "sha256": None} if path else None
    return sources


def _is_source(value: Any) -> bool:
    return value is None or (isinstance(value, dict) and {*value} == {"path", "sha256"})


def _is_same(noted: Source, source: Source) -> bool:
    if noted is None or source is None:
        return noted is source
    if noted["sha256"] and source["sha256"]:
        return noted["sha256"] == source["sha256"]
    return noted["path"] == source["path"]


def _shown(source: Source) -> str:
    if source is None:
        return "none"
    return f"{source['path']}" + (f" (SHA-256 {source['sha256'][:12]})" if source["sha256"] else "")
