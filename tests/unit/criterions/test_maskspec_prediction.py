import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq import metrics

from maskspec_fairseq.criterions.maskspec_prediction import MaskSpecPredictionCriterion
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import small_autoencoder


@pytest.fixture()
def criterion():
    return MaskSpecPredictionCriterion(task=SimpleNamespace())


@pytest.fixture()
def dataset(data_dir):
    return AudioDataset(read_manifest(data_dir / "train.tsv"), 32000, 1.0, training=True)


def gradient(model, criterion, batches):
    """The gradient and the logs of an update as fairseq makes them: sums, divided by the summed sample size."""
    model.zero_grad()
    size, logs = 0, []
    for batch in batches:
        loss, sample_size, log = criterion(model, batch)
        loss.backward()
        size += sample_size
        logs.append(log)
    return torch.cat([p.grad.flatten() for p in model.parameters()]) / size, logs


@pytest.mark.parametrize("sizes", [[4, 4], [1, 7], [3, 3, 2]])
def test_gradient_and_loss_do_not_depend_on_how_clips_are_batched(criterion, dataset, sizes):
    model = small_autoencoder().double()
    items = [dataset[index] for index in range(8)]
    whole, (whole_log,) = gradient(model, criterion, [dataset.collater(items)])
    starts = np.cumsum([0, *sizes])
    parts = [dataset.collater(items[a:b]) for a, b in zip(starts[:-1], starts[1:])]
    split, logs = gradient(model, criterion, parts)
    assert torch.allclose(whole, split, rtol=1e-6, atol=1e-9)
    for key in ("loss", "sample_size", "target_sum", "target_squares", "masked", "patches", "nsentences"):
        assert float(sum(log[key] for log in logs)) == pytest.approx(float(whole_log[key]), rel=1e-5)


def test_a_batch_without_a_finite_loss_adds_its_clips_alone(criterion, dataset):
    model = small_autoencoder()
    real, spoiled = (dataset.collater([dataset[index] for index in indices]) for indices in [(0, 1), (2, 3)])
    spoiled["net_input"]["waveform"] = torch.full((2, 32000), 1e30)  # its power is infinite
    alone, _ = gradient(model, criterion, [real])
    both, (log, nothing) = gradient(model, criterion, [real, spoiled])
    assert torch.equal(alone, both)
    assert log["skipped"] == 0 and nothing["skipped"] == 1 and set(log) == set(nothing)
    assert nothing["sample_size"] == nothing["loss"] == nothing["target_sum"] == 0 and nothing["nsentences"] == 2
    criterion.eval()
    assert not math.isfinite(criterion(model, spoiled)[0])  # a validation says what it finds


def test_a_batch_of_nothing_adds_nothing(criterion, dataset):
    """What a GPU gets whose share of the epoch is a batch short."""
    model = small_autoencoder(norm_pix_loss=True)
    real, nothing = dataset.collater([dataset[index] for index in range(3)]), dataset.collater([])
    assert nothing["nsentences"] == nothing["ntokens"] == len(nothing["id"]) == 0
    alone, _ = gradient(model, criterion, [real])
    both, (_, log) = gradient(model, criterion, [real, nothing])
    assert torch.equal(alone, both)
    assert {key: float(value) for key, value in log.items() if value and key not in ("masked", "patches")} == {}
    assert log["masked"] / log["patches"] == 0.75


def test_loss_is_summed_over_the_masked_values_of_real_audio(criterion, dataset):
    model = small_autoencoder()
    sample = dataset.collater([dataset[index] for index in range(8)])
    loss, sample_size, log = criterion(model, sample)
    with torch.no_grad():
        output = model(**sample["net_input"])
    values = [
        float(((output["prediction"][b, n] - output["target"][b, n]) ** 2).sum())
        for b in range(8)
        for n in range(36)
        if output["scored"][b, n]
    ]
    assert int(sample_size) == 256 * len(values) < 8 * 36 * 256
    assert loss.item() == pytest.approx(sum(values), rel=1e-5)
    assert log["masked"] == 8 * 36 and log["patches"] == 8 * 48 and log["replaced"] == 0


def test_a_share_is_scored_in_training_and_all_masked_patches_in_validation(criterion, dataset):
    model, full = small_autoencoder(decoder_share=0.25), small_autoencoder()
    batch = dataset.collater([dataset[index] for index in range(4)])
    output = model(**batch["net_input"])
    loss, sample_size, log = criterion(model, batch)
    with metrics.aggregate(new_root=True) as aggregator:
        criterion.reduce_metrics([log])
    values, target = aggregator.get_smoothed_values(), output["target"][output["scored"]]
    assert output["target"].shape[1] == 9 and int(sample_size) == target.numel()
    error = (output["prediction"][output["scored"]] - target).square()
    assert values["loss"] == pytest.approx(float(error.mean()), abs=1e-4)
    assert values["baseline_loss"] == pytest.approx(float(target.var(unbiased=False)), abs=1e-4)
    assert values["masked_share"] == 0.75
    for module in (criterion, model, full):
        module.eval()
    (loss, size, log), (full_loss, full_size, full_log) = criterion(model, batch), criterion(full, batch)
    assert size == full_size and torch.equal(loss, full_loss) and log == full_log


def test_what_is_logged(criterion, dataset):
    model = small_autoencoder()
    batches = [dataset.collater([dataset[index] for index in part]) for part in (range(3), range(3, 8))]
    outputs = [model(**batch["net_input"]) for batch in batches]
    logs = [criterion(model, batch)[2] for batch in batches]
    with metrics.aggregate(new_root=True) as aggregator:
        for log in logs:
            criterion.reduce_metrics([log])
    values = aggregator.get_smoothed_values()
    targets = torch.cat([output["target"][output["scored"]] for output in outputs])
    errors = torch.cat([(o["prediction"] - o["target"])[o["scored"]].square() for o in outputs])
    assert values["loss"] == pytest.approx(float(errors.mean()), abs=1e-4)
    # what the best single number would get, for all batches together
    assert values["baseline_loss"] == pytest.approx(float(targets.var(unbiased=False)), abs=1e-4)
    assert values["masked_share"] == 0.75
    assert "clips_per_sec" in values and "replaced" not in values
    assert all(isinstance(value, (int, float)) and not isinstance(value, np.generic) for value in values.values())


def test_sums_of_logging_outputs_say_the_same_as_all_of_them(criterion, dataset):
    """fairseq adds up those of all GPUs before it hands them on, where `logging_outputs_can_be_summed` allows it."""
    model = small_autoencoder()
    batches = [dataset.collater([dataset[index] for index in part]) for part in (range(3), range(3, 8), [])]
    logs = [criterion(model, batch)[2] for batch in batches]
    summed = {name: sum(log[name] for log in logs) for name in logs[0]}
    found = []
    for outputs in (logs, [summed]):
        with metrics.aggregate(new_root=True) as aggregator:
            criterion.reduce_metrics(outputs)
        values = aggregator.get_smoothed_values()
        found.append([values[name] for name in ("loss", "baseline_loss", "masked_share")])
    assert criterion.logging_outputs_can_be_summed() and found[0] == pytest.approx(found[1], abs=2e-5)
