"""Two million clips, and runs of thousands of updates. Needs Linux: memory is what /proc says."""

import json
import multiprocessing
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.weighted_sampling import clip_weights
from maskspec_fairseq.data_dir.labels import Label, read_labels, read_vocabulary, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest
from tests.factories import REPOSITORY
from tests.integration.runs import TRAIN, training_arguments
from tests.memory import kib

NUM_CLIPS = 2_000_000
NUM_CLASSES = 527
MIB = 1024  # KiB, of which /proc counts


@pytest.fixture(scope="module")
def two_million(tmp_path_factory) -> Path:
    """A data directory of two million clips, of the lengths of AudioSet's names and label lists."""
    directory = tmp_path_factory.mktemp("two_million")
    write_vocabulary(directory / "labels.csv", [Label(f"/m/0{n:05x}", f"Class {n}") for n in range(NUM_CLASSES)])
    with open(directory / "train.tsv", "w") as stream:
        stream.write(f"{directory}\n")
        stream.writelines(
            f"unbalanced_train_segments_part{n % 41:02d}/Y{n:011d}.wav\t320000\n" for n in range(NUM_CLIPS)
        )
    lines = []
    for number in range(4 * NUM_CLASSES):
        classes = {number * factor % NUM_CLASSES for factor in (1, 7, 31, 101)[: 1 + number % 4]}
        lines.append(",".join(f"/m/0{n:05x}" for n in sorted(classes)) + "\n")
    with open(directory / "train.lbl", "w") as stream:
        stream.writelines(lines[clip % len(lines)] for clip in range(NUM_CLIPS))
    return directory


def in_a_fresh_process(function: str, *arguments: object) -> dict[str, float]:
    """Run a function of this file and return what it prints."""
    code = f"from tests.integration import test_long_runs; test_long_runs.{function}(*{[*map(str, arguments)]})"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE)
    assert done.returncode == 0
    return json.loads(done.stdout)


def load(directory: str) -> None:
    """Print what reading a subset costs: processor seconds, and KiB at the peak over what the imports have taken."""
    start, before = time.process_time(), kib("self", "VmHWM")
    manifest = read_manifest(f"{directory}/train.tsv")
    cost = {"clips": len(manifest), "seconds": time.process_time() - start, "peak": kib("self", "VmHWM") - before}
    start, vocabulary = time.process_time(), read_vocabulary(f"{directory}/labels.csv")
    targets = ClipTargets(read_labels(f"{directory}/train.lbl", vocabulary, len(manifest)))
    weights = clip_weights(targets.present(), len(vocabulary), "passt")
    cost.update(
        label_seconds=time.process_time() - start, label_peak=kib("self", "VmHWM") - before, weights=len(weights)
    )
    print(json.dumps(cost))


def walk_in_a_worker(directory: str) -> None:
    """Print how the memory that a forked process has for itself grows, in KiB, while it reads all that is there."""
    manifest = read_manifest(f"{directory}/train.tsv")
    labels = read_labels(f"{directory}/train.lbl", read_vocabulary(f"{directory}/labels.csv"), len(manifest))
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def walk() -> None:
        before = kib("self", "Private_Dirty", "smaps_rollup")
        letters = sum(len(manifest.full_path(index)) for index in range(len(manifest)))
        classes = sum(len(labels.present[index]) for index in range(len(labels)))
        growth = kib("self", "Private_Dirty", "smaps_rollup") - before
        sender.send({"letters": letters, "classes": classes, "growth": growth})

    worker = context.Process(target=walk)
    worker.start()
    sender.close()
    print(json.dumps(receiver.recv()))
    worker.join()


@pytest.mark.slow
def test_two_million_clips_take_little_memory(two_million):
    cost = in_a_fresh_process("load", two_million)
    print(cost)
    assert cost["clips"] == cost["weights"] == NUM_CLIPS
    assert cost["peak"] < 600 * MIB
    assert cost["label_peak"] < 600 * MIB  # clips, labels and sampling weights together


@pytest.mark.slow
def test_workers_share_the_manifest(two_million):
    walked = in_a_fresh_process("walk_in_a_worker", two_million)
    print(walked)
    assert walked["letters"] > 40 * NUM_CLIPS and walked["classes"] > 2 * NUM_CLIPS
    assert walked["growth"] < 10 * MIB


@dataclass
class Process:
    """What a process has at some moment: KiB of memory, and files that are open, but for batches in flight."""

    memory: int
    files: int


@dataclass
class Moment:
    updates: int
    trainer: Process
    workers: dict[int, Process]


def look_at(pid: int) -> Process:
    files = 0
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
        except FileNotFoundError:  # closed meanwhile
            continue
        files += "/torch_" not in target  # shared memory of a batch
    # files that are mapped are left out: the kernel takes their pages away and brings them back as it likes
    return Process(kib(pid, "RssAnon") + kib(pid, "RssShmem"), files)


def children_of(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def watch(process: subprocess.Popen, log: Path) -> list[Moment]:
    """Look at a run ten times a second until it ends."""
    moments = []
    while process.poll() is None:
        time.sleep(0.1)
        try:
            updates = re.findall(r'"num_updates": "(\d+)"', log.read_text()) if log.is_file() else []
            workers = {pid: look_at(pid) for pid in children_of(process.pid)}
            moments.append(Moment(int(updates[-1]) if updates else 0, look_at(process.pid), workers))
        except (OSError, TypeError):  # a process that ended between two looks
            continue
    return moments


EPOCH = 400  # updates of two clips
RUN = [
    "dataset.num_workers=2", "dataset.batch_size=2", "task.clip_sec=0.5", "common.log_interval=10",
    "dataset.validate_interval_updates=200", "checkpoint.save_interval_updates=200",
    "checkpoint.keep_interval_updates=1", "optimization.max_epoch=5",
]  # fmt: skip
AUGMENTED = [
    "task.clip_sampling=psla", f"task.num_draws={2 * EPOCH}", "task.roll_sec=0.1", "task.gain_db=6",
    "model.patchout=0.25", "model.drop_path=0.1", "lr_scheduler.warmup_epochs=1",
]  # fmt: skip


@pytest.fixture(scope="module")
def many_clips(labelled_dir, tmp_path_factory) -> Path:
    """The labelled clips over and over: an epoch of 400 updates."""
    directory = tmp_path_factory.mktemp("many") / "data"
    shutil.copytree(labelled_dir, directory)
    clips = read_manifest(directory / "train.tsv")
    repeats = 2 * EPOCH // len(clips) + 1
    paths, frames = list(clips.paths) * repeats, [*clips.frames] * repeats
    write_manifest(directory / "train.tsv", Manifest(clips.root, paths[: 2 * EPOCH], frames[: 2 * EPOCH]))
    labels = (directory / "train.lbl").read_text().splitlines(keepends=True) * repeats
    (directory / "train.lbl").write_text("".join(labels[: 2 * EPOCH]))
    return directory


def during(moments: list[Moment], epoch: int, first: int, last: int) -> list[Moment]:
    """The moments between two updates of an epoch; epochs count from 0."""
    chosen = [moment for moment in moments if first <= moment.updates - epoch * EPOCH < last]
    assert chosen, f"no look was taken between updates {first} and {last} of epoch {epoch}"
    return chosen


def usual_memory(processes: Iterable[Process]) -> float:
    return statistics.median(process.memory for process in processes)


@pytest.mark.slow
@pytest.mark.parametrize("recipe, overrides", [("pretraining/demo", []), ("finetuning/demo", AUGMENTED)])
def test_two_thousand_updates_take_no_more_memory_than_three_hundred(many_clips, tmp_path, recipe, overrides):
    """Five epochs with validations and checkpoints in the middle of them and between them."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(tmp_path / "output", "w") as output:
        command = [*TRAIN, *training_arguments(many_clips, tmp_path / "run", *RUN, *overrides, recipe=recipe)]
        trainer = subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            moments = watch(trainer, tmp_path / "run" / "hydra_train.log")
        finally:
            trainer.kill()
    assert trainer.returncode == 0, (tmp_path / "output").read_text()[-4000:]
    assert moments[-1].updates == 5 * EPOCH

    warm, late = ([during(moments, epoch, *updates) for epoch in range(5)] for updates in ((100, 150), (250, 350)))
    pids = [set.intersection(*(set(moment.workers) for moment in [*warm[n], *late[n]])) for n in range(5)]
    trainers, workers, warm_workers = [], [], []
    for epoch in range(5):
        own = pids[epoch].difference(*pids[:epoch], *pids[epoch + 1 :])  # fairseq 0.12.2 keeps those of validation
        assert len(own) == 2
        trainers.append([moment.trainer for moment in late[epoch]])
        workers.append([moment.workers[pid] for moment in late[epoch] for pid in own])
        warm_workers.append([moment.workers[pid] for moment in warm[epoch] for pid in own])
    print([round(usual_memory(part) / MIB, 1) for part in trainers])
    print([round(usual_memory(part) / MIB, 1) for part in workers])
    print([sorted({process.files for process in part}) for part in [*trainers, *workers]])
    assert usual_memory(trainers[-1]) < 1.02 * usual_memory(trainers[0])
    assert usual_memory(workers[-1]) < 1.05 * usual_memory(workers[0])
    for before, after in zip(warm_workers, workers):
        assert usual_memory(after) < 1.05 * usual_memory(before)
    for part in (trainers, workers):
        files = [min(process.files for process in processes) for processes in part]
        assert max(files[1:]) == files[1]  # loaders inherit what the trainer has opened by its first validation
    processes = [min(len(moment.workers) for moment in part) for part in late]
    assert max(processes) == processes[0]
