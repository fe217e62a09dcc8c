"""What a run does with its directory before anything is built: lock it, and check that no other run is in it."""

import logging
import os
from typing import Any, Dict, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import distributed as dist

from maskspec_fairseq.checkpoints.exported import pretrained_path
from maskspec_fairseq.checkpoints.resume import check_start, read_last_config
from maskspec_fairseq.checkpoints.run_lock import lock_run
from maskspec_fairseq.checkpoints.run_record import Source, differences_from_run, file_source, note_run
from maskspec_fairseq.data_dir.digest import digest_clips, digest_statistics
from maskspec_fairseq.data_dir.mel_stats import MEL_STATS_FILE
from maskspec_fairseq.fairseq_compat import resolve_named_checkpoints

logger = logging.getLogger(__name__)


def claim_run_directory(task: Any, model_cfg: DictConfig) -> Dict[str, str]:
    """Lock the directory of checkpoints, and note what the run starts from.

    Args:
        task: an `AudioTask`.
        model_cfg: the section `model` of the config.

    Returns:
        The absolute paths of the checkpoints that the command names, see `resolve_named_checkpoints`.

    Raises:
        ValueError: another run is trained there, or has been; or a checkpoint to start from is missing, cut off or not
            one.
        ManifestError: no data.
    """
    save_dir = task.cfg.save_dir
    named = resolve_named_checkpoints(model_cfg, task.launch_path)
    if dist.is_available() and dist.is_initialized() and dist.get_rank():
        return named  # the first rank checks and writes; where it fails, the run ends
    writes = os.path.isdir(save_dir)  # fairseq has made it
    if writes:
        lock_run(save_dir)
    model = cast(Dict[str, Any], OmegaConf.to_container(model_cfg, resolve=True))
    last = read_last_config(save_dir)
    sources = sources_of(task, model, named.get("finetune_from_model", ""))
    differing = differences_from_run(save_dir, last, model, task.cfg, sources) if last else []
    if differing and not task.cfg.resume_changed:
        raise ValueError(
            f"{os.path.abspath(save_dir)}: expected the run that has been trained there, found another one "
            f"({'; '.join(differing)}); choose another hydra.run.dir, or resume it with the new values by "
            "task.resume_changed=true"
        )
    for difference in differing:
        logger.warning("resuming a run that has changed (task.resume_changed): %s", difference)
    for name, path in named.items():
        if name == "restore_file" or not last:  # fairseq finetunes only where there is nothing to resume
            check_start(path, model)
    if writes:
        note_run(save_dir, sources)
    return named


def sources_of(task: Any, model: Dict[str, Any], finetune_from: str) -> Dict[str, Source]:
    """The files that decide what a run learns, by their names for users.

    Args:
        task: an `AudioTask`.
        model: the model's config.
        finetune_from: the absolute path of `checkpoint.finetune_from_model`, or "".
    """
    subsets = task.subsets_of(task.cfg.train_subset)
    clips = digest_clips(task.data_dir, subsets, task.has_labels)
    pretrained = model.get("pretrained", "")
    sources: Dict[str, Source] = {
        "task.data": {"path": task.data_dir, "sha256": clips},
        "model.pretrained": file_source(pretrained_path(pretrained, task.cfg.launch_dir) if pretrained else ""),
        "checkpoint.finetune_from_model": file_source(finetune_from),
    }
    if not pretrained and not finetune_from:  # else they come with it
        statistics = digest_statistics(task.data_dir, model["front_end"], subsets)
        sources["log-mel statistics"] = {"path": os.path.join(task.data_dir, MEL_STATS_FILE), "sha256": statistics}
    return sources


def log_start(cfg: DictConfig, restore_file: str) -> None:
    """Log where a run writes, what it begins with, and how it trains.

    Args:
        cfg: of the task.
        restore_file: the checkpoint that the command names to resume from, or "".
    """
    last = restore_file or os.path.join(cfg.save_dir, "checkpoint_last.pt")
    precision = [name for name in ("fp16", "bf16", "amp") if cfg[name]]
    logger.info(
        "run directory %s: %s; %d epochs on %s in %s",
        *(os.getcwd(), f"resumes from {last}" if os.path.isfile(last) else "starts", cfg.max_epoch),
        "GPUs" if torch.cuda.is_available() and not cfg.cpu else "the CPU",
        precision[0] if precision else "float32",
    )
