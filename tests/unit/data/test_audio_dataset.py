import numpy as np
import pytest
import torch

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.waveform_augmentation import WaveformAugmentation
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, PackedLabels
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest
from maskspec_fairseq.modules.float32_bits import from_bits
from maskspec_fairseq.modules.masking import random_masking


@pytest.fixture()
def manifest(data_dir):
    return read_manifest(data_dir / "train.tsv")


@pytest.fixture()
def broken(data_dir):
    """The same with clip 5 unreadable."""
    manifest = read_manifest(data_dir / "train.tsv")
    paths = list(manifest.paths)
    paths[5] = "missing.wav"
    return Manifest(manifest.root, paths, manifest.frames)


def make(manifest, **kwargs):
    return AudioDataset(manifest, 32000, 0.5, **{"training": True, **kwargs})


def batches(dataset, shards, shard, workers=0, epoch=1):
    """Samples as fairseq's iterator of one of several GPUs gives them."""
    from fairseq.data.iterators import EpochBatchIterator

    dataset.set_epoch(epoch)
    cuts = [dataset.ordered_indices()[i : i + 3] for i in range(0, len(dataset), 3)]
    iterator = EpochBatchIterator(
        dataset, dataset.collater, cuts, seed=1, num_shards=shards, shard_id=shard, num_workers=workers, epoch=epoch
    )
    return list(iterator.next_epoch_itr(shuffle=True))


def clips_of(samples):
    """id -> (waveform, mask)."""
    clips = {}
    for sample in samples:
        masks = random_masking(sample["net_input"]["clip_key"], 24, 0.75)
        for row, index in enumerate(sample["id"].tolist()):
            assert index not in clips
            clips[index] = (sample["net_input"]["waveform"][row], masks[row])
    return clips


@pytest.mark.parametrize("shards, workers", [(1, 2), (2, 0), (3, 1)])
def test_clips_and_masks_do_not_depend_on_gpus_or_workers(manifest, shards, workers):
    one = clips_of(batches(make(manifest), 1, 0))
    many = clips_of([s for shard in range(shards) for s in batches(make(manifest), shards, shard, workers)])
    assert sorted(one) == sorted(many) == list(range(24))
    for index, (waveform, mask) in one.items():
        assert torch.equal(waveform, many[index][0]) and torch.equal(mask, many[index][1])


def start_of(crop, whole):
    """Where a piece of a waveform was cut."""
    first = np.lib.stride_tricks.sliding_window_view(whole[: len(whole) - len(crop) + 32], 32)
    return int(np.abs(first - crop[:32]).max(axis=1).argmin())


@pytest.mark.parametrize("crops", [2, 6])
def test_several_crops_of_a_file(manifest, monkeypatch, crops):
    one = clips_of(batches(make(manifest, crops_per_file=crops), 1, 0))
    assert sorted(one) == list(range(crops * len(manifest)))
    many = clips_of([s for shard in (0, 1) for s in batches(make(manifest, crops_per_file=crops), 2, shard, 1)])
    assert all(torch.equal(one[i][0], many[i][0]) and torch.equal(one[i][1], many[i][1]) for i in one)

    dataset, decoded = make(manifest, crops_per_file=crops), []
    line = int(np.argmax(manifest.frames))  # the longest file: its crops differ
    own = [from_bits(one[index][0]).numpy() for index in one if dataset.line(index) == line]
    whole, _ = load_clip(manifest.full_path(line), 32000)
    starts = [start_of(crop, whole) for crop in own]
    assert all(np.array_equal(whole[start : start + len(crop)], crop) for start, crop in zip(starts, own))
    assert len({crop.tobytes() for crop in own}) == crops

    monkeypatch.setattr(
        "maskspec_fairseq.data.audio_dataset.load_clip",
        lambda path, *rest: decoded.append(path) or load_clip(path, *rest),
    )
    for index in dataset.ordered_indices():
        dataset[index]
    groups = 1 if crops <= 4 else 2  # of at most four crops that follow one another; two may meet by chance
    assert len(manifest) <= len(decoded) <= groups * len(manifest)
    assert len(make(manifest, crops_per_file=crops, training=False)) == len(manifest)


def test_crops_and_order_change_with_the_epoch_and_come_back(manifest):
    dataset = make(manifest)
    long = 12  # a clip of 2 s at 32 kHz, of which 0.5 s are taken
    assert manifest.frames[long] == 64000
    first, order = dataset[long]["waveform"], dataset.ordered_indices()
    dataset.set_epoch(2)
    assert not torch.equal(dataset[long]["waveform"], first)
    assert not np.array_equal(dataset.ordered_indices(), order)
    dataset.set_epoch(1)
    assert torch.equal(dataset[long]["waveform"], first) and np.array_equal(dataset.ordered_indices(), order)
    other = make(manifest, seed=2)
    assert not torch.equal(other[long]["waveform"], first)
    assert not np.array_equal(other.ordered_indices(), order)


def test_validation_is_the_same_every_epoch(manifest):
    dataset = make(manifest, training=False)
    first = dataset.collater([dataset[i] for i in (0, 3)])
    dataset.set_epoch(7)
    again = dataset.collater([dataset[i] for i in (0, 3)])
    assert torch.equal(first["net_input"]["waveform"], again["net_input"]["waveform"])
    assert np.array_equal(first["net_input"]["clip_key"], again["net_input"]["clip_key"])
    assert dataset.ordered_indices().tolist() == list(range(24))
    assert dataset.can_reuse_epoch_itr_across_epochs and not make(manifest).can_reuse_epoch_itr_across_epochs


def test_sample_is_what_its_docstring_says(manifest):
    dataset = AudioDataset(manifest, 32000, 1.0, training=True, seed=3)
    dataset.set_epoch(4)
    sample = dataset.collater([dataset[0], dataset[4]])
    waveform = sample["net_input"]["waveform"]
    assert waveform.dtype == torch.int32 and waveform.shape == (2, 32000)
    assert from_bits(waveform).abs().max() < 1
    assert sample["id"].tolist() == [0, 4] and sample["nsentences"] == 2
    assert sample["net_input"]["num_samples"].tolist() == [16000, 32000] and sample["ntokens"] == 48000
    assert sample["net_input"]["clip_key"].tolist() == [[3, 4, 0], [3, 4, 4]]
    assert sample["bad_audio"] == [] and sample["replaced"] == 0
    assert dataset.num_tokens(0) == dataset.size(3) == 32000
    assert dataset.num_tokens_vec(np.arange(5)).tolist() == [32000] * 5


def test_bad_audio_raises_with_its_path(broken):
    with pytest.raises(AudioError, match="missing.wav: expected audio that soundfile decodes"):
        make(broken)[5]


def test_a_file_that_cannot_be_read_is_replaced_for_all_its_crops(broken):
    dataset = make(broken, crops_per_file=4, on_bad_audio="skip")
    found = [dataset[index] for index in range(len(dataset))]
    assert [index for index, item in enumerate(found) if item["replaced"]] == [20, 21, 22, 23]
    assert all(item["waveform"].any() for item in found)


def test_bad_audio_is_replaced_by_the_same_clip_everywhere(broken):
    dataset = make(broken, on_bad_audio="skip")
    item, again = dataset[5], make(broken, on_bad_audio="skip")[5]
    assert torch.equal(item["waveform"], again["waveform"]) and item["id"] == 5
    assert len(item["bad_audio"]) == 1 and "missing.wav" in item["bad_audio"][0]
    sample = dataset.collater([dataset[4], item])
    assert "missing.wav" in sample["bad_audio"][0] and sample["replaced"] == 1
    assert dataset[4]["bad_audio"] == []
    dataset.set_epoch(2)
    assert not torch.equal(dataset[5]["waveform"], item["waveform"])


def test_a_replaced_clip_counts_once_however_often_it_was_tried(broken):
    """Two clips, of which one can be read: it stands in for the other, at once."""
    pair = Manifest(broken.root, ["missing.wav", broken.paths[0]], [16000, 16000])
    item = make(pair, on_bad_audio="skip")[0]
    assert len(item["bad_audio"]) == 1
    half = Manifest(broken.root, ["missing.wav"] * 8 + list(broken.paths)[:4] * 2, [16000] * 16)
    dataset = make(half, on_bad_audio="skip")
    items = [dataset[index] for index in (0, 1, 2, 3, 4, 6, 7, 15)]
    assert max(len(item["bad_audio"]) for item in items) > 1  # some were tried twice
    assert dataset.collater(items)["replaced"] == 7


def test_bad_audio_is_never_replaced_in_validation(broken):
    with pytest.raises(AudioError, match="missing.wav"):
        make(broken, on_bad_audio="skip", training=False)[5]


def test_replacing_ends_when_nothing_can_be_read(tmp_path):
    nothing = Manifest(str(tmp_path), ["a.wav", "b.wav"], [100, 100])
    with pytest.raises(AudioError, match="expected audio that soundfile decodes"):
        make(nothing, on_bad_audio="skip")[0]


LABELS = [Label(key, key) for key in "abc"]


def labelled(manifest, **kwargs):
    """Clip n has the class n % 3."""
    labels = PackedLabels(LABELS, [ClipLabels(["abc"[n % 3]]) for n in range(len(manifest))])
    return make(manifest, targets=ClipTargets(labels), **kwargs)


def test_labelled_sample_is_what_its_docstring_says(manifest):
    dataset = labelled(manifest)
    sample = dataset.collater([dataset[4], dataset[5]])
    assert sample["target"].tolist() == [[0, 1, 0], [0, 0, 1]] and sample["target"].dtype == torch.float64
    assert sample["known"].all() and set(sample["net_input"]) == {"waveform", "clip_key"}
    nothing = dataset.collater([])
    assert len(nothing["id"]) == nothing["nsentences"] == 0 and not nothing["known"].any()
    mixed = labelled(manifest, augmentation=WaveformAugmentation(spec_mixup_alpha=0.3))
    sample = mixed.collater([mixed[4], mixed[5]])
    assert sample["net_input"]["mix_waveform"].shape == (2, 16000)
    assert sample["net_input"]["mix_ratio"].dtype == torch.float64
    assert torch.allclose(sample["target"].sum(1), torch.ones(2, dtype=torch.float64))


def test_augmentation_is_for_training_alone(manifest):
    strong = WaveformAugmentation(wave_mixup=1.0, spec_mixup_alpha=0.3, roll_sec=0.3, gain_db=7)
    plain, augmented = (labelled(manifest, training=False, augmentation=a) for a in (None, strong))
    for index in range(24):
        assert torch.equal(plain[index]["waveform"], augmented[index]["waveform"])
        assert np.array_equal(plain[index]["target"], augmented[index]["target"])
        assert augmented[index]["mix_waveform"] is None
    assert not torch.equal(labelled(manifest, augmentation=strong)[4]["waveform"], plain[4]["waveform"])


def test_a_replaced_clip_has_the_label_of_what_is_heard(broken):
    dataset = labelled(broken, on_bad_audio="skip")
    for epoch in range(1, 10):
        dataset.set_epoch(epoch)
        item = dataset[5]
        likeness = [likeness_of(dataset, n, item["waveform"]) for n in range(24) if n != 5]
        heard = int(np.argmax(likeness))
        heard += heard >= 5
        assert max(likeness) > 0.9 and item["target"].tolist() == dataset.targets[heard][0].tolist()


def likeness_of(dataset, index, waveform):
    """The best correlation of a piece of a crop with any piece of a file."""
    whole, _ = load_clip(dataset.manifest.full_path(index), 32000)
    piece = waveform.numpy()[1000:1400]
    correlation = np.correlate(whole, piece, "valid")
    norms = np.sqrt(np.convolve(whole**2, np.ones(len(piece)), "valid")) * np.linalg.norm(piece)
    return (correlation / np.maximum(norms, 1e-9)).max()


@pytest.mark.parametrize(
    "kwargs, message",
    [
        (dict(channel="centre"), "expected task.channel out of .* found 'centre'"),
        (dict(on_bad_audio="ignore"), "expected task.on_bad_audio out of .* found 'ignore'"),
        (dict(clip_sec=0), "expected task.clip_sec above 0, found 0"),
        (dict(crops_per_file=0), "expected task.crops_per_file of at least 1, found 0"),
    ],
)
def test_bad_arguments_are_refused(manifest, kwargs, message):
    with pytest.raises(ValueError, match=message):
        AudioDataset(manifest, **{"sample_rate": 32000, "clip_sec": 1.0, **kwargs})
