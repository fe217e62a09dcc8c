"""The targets of columns of patches, against a waveform in which the events can be heard."""

import numpy as np
import pytest
import soundfile

from maskspec_fairseq.audio.read import load_crop
from maskspec_fairseq.data.audio_dataset import AudioDataset
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.frame_targets import ColumnGrid, FrameTargets, mix_frames
from maskspec_fairseq.data.waveform_augmentation import WaveformAugmentation
from maskspec_fairseq.data_dir.events import PackedEvents
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, PackedLabels
from maskspec_fairseq.data_dir.manifest import Manifest
from maskspec_fairseq.modules.log_mel import LogMel

RATE, FILE_RATE = 32000, 44100
COLUMN = 0.16  # s
LABELS = [Label(key, key) for key in ("low", "middle", "high")]
# Events of the files, s; a class sounds as loud noise, which is all that is in the file.
TIMES = [[(0.5, 1.3, 0), (2.0, 2.9, 2)], [(1.7, 3.1, 1)]]


def grid_of(seconds=2.0):
    samples = round(seconds * RATE)
    return ColumnGrid(RATE, samples, LogMel().grid(samples)[1], 5120, -160)


def frame_targets(clips, labels, seconds=2.0):
    events = PackedEvents()
    for rows in clips:
        events.append([(round(start * FILE_RATE), round(end * FILE_RATE), number) for start, end, number in rows])
    return FrameTargets(events, ClipTargets(PackedLabels(LABELS, labels)), grid_of(seconds))


@pytest.fixture()
def recordings(tmp_path):
    """Files of 4 s: noise where there is an event, silence elsewhere."""
    for number, rows in enumerate(TIMES):
        waveform = np.zeros(4 * FILE_RATE, dtype=np.float32)
        for start, end, _ in rows:
            span = slice(round(start * FILE_RATE), round(end * FILE_RATE))
            waveform[span] = np.random.default_rng(number).uniform(-0.5, 0.5, span.stop - span.start)
        soundfile.write(tmp_path / f"{number}.wav", waveform, FILE_RATE)
    return Manifest(str(tmp_path), ["0.wav", "1.wav"], [4 * FILE_RATE] * 2)


def labels_of(times):
    return [ClipLabels(list(dict.fromkeys(LABELS[number].key for _, _, number in rows))) for rows in times]


def dataset(manifest, augmentation=None, seed=1):
    frames = frame_targets(TIMES, labels_of(TIMES))
    return AudioDataset(
        manifest, RATE, clip_sec=2.0, seed=seed, training=True, targets=frames.targets, augmentation=augmentation,
        frames=frames,
    )  # fmt: skip


def loud_columns(waveform):
    """In which columns most samples are not silent."""
    start = [max(0, 5120 * column - 160) for column in range(grid_of().num_columns)]
    return np.array([np.mean(np.abs(waveform[first : first + 5120]) > 1e-3) > 0.5 for first in start])


@pytest.mark.parametrize("roll_sec", [0, 1.5])
def test_targets_are_where_the_crop_and_its_roll_are_heard(recordings, roll_sec):
    """Whatever the file's rate; a column half of which sounds may be on either side of the limit."""
    data = dataset(recordings, WaveformAugmentation(roll_sec=roll_sec))
    different = set()
    for epoch in range(1, 11):
        data.set_epoch(epoch)
        for index in range(2):
            item = data[index]
            heard, target = loud_columns(item["waveform"].numpy()), item["frame_target"].max(axis=1) > 0
            assert item["frame_known"].all() and np.count_nonzero(heard != target) <= 2
            different.add(tuple(target))
            again = dataset(recordings, WaveformAugmentation(roll_sec=roll_sec))
            again.set_epoch(epoch)
            assert np.array_equal(again[index]["frame_target"], item["frame_target"])
    assert len(different) > 10


def test_mixed_clips_have_the_targets_of_both(recordings):
    data = dataset(recordings, WaveformAugmentation(wave_mixup=1.0, roll_sec=1.5, gain_db=3.0))
    plain = dataset(recordings)
    for epoch in range(1, 6):
        data.set_epoch(epoch)
        plain.set_epoch(epoch)
        key = [1, epoch, 0]
        ratio = data.augmentation.plan(key, range(2)).wave_ratio
        shift = data.augmentation.shift(key, RATE)
        crops = [plain._load(index) for index in range(2)]
        own, other = (plain.frames.of(crop.source, crop.start, crop.rate, shift)[0] for crop in crops)
        assert data[0]["frame_target"] == pytest.approx(ratio * own + (1 - ratio) * other, abs=1e-6)


def test_the_log_mel_that_is_mixed_in_is_rolled_as_its_own_clip(recordings):
    data = dataset(recordings, WaveformAugmentation(spec_mixup_alpha=0.3, roll_sec=1.5))
    item = data[0]
    second = np.asarray(item["mix_waveform"])
    heard = loud_columns(second)
    target = item["frame_target"][:, 1] > 0  # the class of the other file alone
    assert np.count_nonzero(heard != target) <= 2
    assert item["frame_target"][:, 1].max() == pytest.approx(1 - item["mix_ratio"], abs=1e-6) or not heard.any()


def test_what_is_known_follows_from_labels_and_events():
    labels = [ClipLabels(["low", "high"]), ClipLabels(["middle"]), ClipLabels([])]
    targets = frame_targets([[(0.5, 1.3, 0)], [], []], labels)
    target, known = targets.of(0, 0, FILE_RATE)
    assert known[:, 0].all() and known[:, 1].all() and not known[:, 2].any()  # high is there, nobody says when
    assert target[:, 1:].sum() == 0 and 4 <= target[:, 0].sum() <= 6
    _, known = targets.of(1, 0, FILE_RATE)
    assert known.all(axis=0).tolist() == [True, False, True]
    assert targets.of(2, 0, FILE_RATE)[1].all()


def test_of_partially_labelled_clips_the_rest_is_unknown():
    targets = frame_targets([[(0.5, 1.3, 0)], []], [ClipLabels(["low"], ["high"]), ClipLabels([], ["low"])])
    assert targets.of(0, 0, FILE_RATE)[1].all(axis=0).tolist() == [True, False, True]
    assert targets.of(1, 0, FILE_RATE)[1].all(axis=0).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "start, end, shift, expected",
    [
        (0, 5000, 0, [(0, 1)]),
        (2400, 5000, 0, [(0, 1)]),
        (2500, 7500, 0, [(1, 2)]),  # start and end are rounded
        (100, 200, 0, [(0, 1)]),  # too short, but wholly in the clip
        (-1000, 200, 0, []),  # the rest of one that ends before
        (20000, 30000, 0, [(4, 6)]),
        (55000, 63000, 5120, [(0, 1), (12, 12)]),  # rolled beyond the end: the last column is cut off
        (-9000, 0, 0, []),
    ],
)
def test_the_columns_of_an_event(start, end, shift, expected):
    assert grid_of().columns(start, end, shift) == [pair for pair in expected if pair[0] < pair[1]]


def test_a_mix_is_known_where_both_are():
    first = (np.ones((2, 1), np.float32), np.array([[True], [True]]))
    second = (np.zeros((2, 1), np.float32), np.array([[True], [False]]))
    target, known = mix_frames(first, second, 0.75)
    assert target[0, 0] == 0.75 and known.tolist() == [[True], [False]]
    assert mix_frames(first, None, 1.0) is first


def test_padding_of_a_batch_and_an_empty_batch_are_unknown_and_silent(recordings):
    data = dataset(recordings)
    sample = data.collater([data[0], data[1]])
    columns = grid_of().num_columns
    assert sample["frame_target"].shape == sample["frame_known"].shape == (2, columns, 3)
    assert not data.collater([])["frame_known"].any()


def test_a_crop_says_where_it_starts(recordings):
    whole = load_crop(recordings.full_path(0), FILE_RATE)
    crop = load_crop(recordings.full_path(0), FILE_RATE, clip_sec=1.0, rng=np.random.default_rng(3))
    assert (whole.start, whole.rate, whole.num_samples) == (0, FILE_RATE, 4 * FILE_RATE) and crop.start > 0
    assert np.array_equal(crop.waveform, whole.waveform[crop.start : crop.start + FILE_RATE])
