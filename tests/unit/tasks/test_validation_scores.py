import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from maskspec_fairseq.tasks.validation_scores import ValidationScores

CLIPS, CLASSES = 23, 5


def corpus(multilabel):
    """Logits with ties, targets and what is known of them, the same in every process."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(CLIPS, CLASSES)).round(1).astype(np.float32)
    if multilabel:
        return logits, rng.integers(0, 2, (CLIPS, CLASSES)), rng.random((CLIPS, CLASSES)) < 0.7
    return logits, np.eye(CLASSES)[rng.integers(0, CLASSES, CLIPS)], np.ones((CLIPS, CLASSES), dtype=bool)


def collect(scores, multilabel, ids):
    logits, target, known = corpus(multilabel)
    for start in range(0, len(ids), 4):
        part = ids[start : start + 4]
        sample = {"id": torch.tensor(part), "target": torch.tensor(target[part]), "known": torch.tensor(known[part])}
        scores.add(sample, torch.tensor(logits[part]))
    return scores


@pytest.mark.parametrize("multilabel", [False, True])
def test_order_and_repetition_change_nothing(multilabel):
    whole = collect(ValidationScores(multilabel), multilabel, list(range(CLIPS))).compute()
    shuffled = [*range(CLIPS)][::-1] + [3, 3, 7]
    assert collect(ValidationScores(multilabel), multilabel, shuffled).compute() == whole
    assert set(whole) == (
        {"mAP", "mean_auc", "d_prime", "skipped_classes"} if multilabel else {"accuracy", "class_mean_accuracy"}
    )


def test_batches_of_nothing_are_passed_over_and_each_validation_starts_anew():
    scores = collect(ValidationScores(False), False, [0, 1, 2])
    nothing = {"id": torch.zeros(0), "target": torch.zeros(1, CLASSES), "known": torch.zeros(1, CLASSES).bool()}
    scores.add(nothing, torch.full((1, CLASSES), float("nan")))
    logits, target, _ = corpus(False)
    first = float((logits[:3].argmax(1) == target[:3].argmax(1)).mean())
    assert scores.compute()["accuracy"] == pytest.approx(first, abs=1e-5)
    second = float((logits[3:9].argmax(1) == target[3:9].argmax(1)).mean())
    assert collect(scores, False, list(range(3, 9))).compute()["accuracy"] == pytest.approx(second, abs=1e-5)


def rank_main(rank, store, shares, queue):
    distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=len(shares))
    results = [
        collect(ValidationScores(multilabel), multilabel, shares[rank]).compute() for multilabel in (False, True)
    ]
    queue.put(results)
    distributed.destroy_process_group()


def test_two_ranks_are_one_to_the_last_digit(tmp_path):
    """Shares of other sizes, and a clip that both have."""
    whole = [collect(ValidationScores(m), m, list(range(CLIPS))).compute() for m in (False, True)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    shares = [[*range(0, CLIPS, 2)], [*range(1, CLIPS, 2), 0]]
    processes = [context.Process(target=rank_main, args=(rank, tmp_path / "store", shares, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [whole, whole]
    for process in processes:
        process.join(60)
