import json

import numpy as np

from maskspec_fairseq.data_dir.digest import digest_clips, digest_statistics


def write(directory, root="/audio", clips="a.wav\t100\nb.wav\t200\n", labels="x\ny\n"):
    directory.mkdir(exist_ok=True)
    (directory / "train.tsv").write_text(f"{root}\n{clips}")
    (directory / "train.lbl").write_text(labels)
    return str(directory)


def test_only_clips_their_order_and_their_labels_count(tmp_path):
    expected = {labels: digest_clips(write(tmp_path / "a"), ["train"], labels) for labels in (True, False)}
    moved = write(tmp_path / "b", root="/elsewhere")
    assert all(digest_clips(moved, ["train"], labels) == digest for labels, digest in expected.items())
    relabelled = write(tmp_path / "b", labels="y\nx\n")
    assert digest_clips(relabelled, ["train"], False) == expected[False]
    assert digest_clips(relabelled, ["train"], True) != expected[True]
    for clips in ("b.wav\t200\na.wav\t100\n", "a.wav\t100\n", "a.wav\t100\nb.wav\t201\n"):
        assert digest_clips(write(tmp_path / "b", clips=clips), ["train"], False) != expected[False]


def test_the_statistics_of_these_subsets_and_this_front_end_count(tmp_path):
    def digest(front_end="paper", **means):
        """The digest for the front end paper of a file with these means of subsets."""
        subsets = {name: {"frames": 1, "mean": [mean], "std": [2.0]} for name, mean in means.items()}
        entry = {"front_end": {"n_mels": 1}, "subsets": subsets}
        (tmp_path / "mel_stats.json").write_text(json.dumps({front_end: entry}))
        return digest_statistics(str(tmp_path), "paper", ("train",))

    expected = digest(train=1.0)
    assert digest(more=1.5, train=1.0) == expected
    assert digest(train=1.5) != expected != digest("reference", train=1.0)


def test_statistics_of_the_same_audio_from_another_processor_are_the_same(tmp_path):
    """The float32 kernels of AVX-512 and of AVX2 change one value of twenty by a millionth."""
    rng = np.random.default_rng(0)
    mean, std = rng.normal(-2, 2, 128), rng.uniform(1, 3, 128)

    def digest(mean):
        statistics = {"frames": 1, "mean": mean.tolist(), "std": std.tolist()}
        entry = {"front_end": {"n_mels": 128}, "subsets": {"train": statistics}}
        (tmp_path / "mel_stats.json").write_text(json.dumps({"paper": entry}))
        return digest_statistics(str(tmp_path), "paper", ("train",))

    assert {digest(mean + rng.choice([-1e-6, 0, 1e-6], 128)) for _ in range(50)} == {digest(mean)}
    assert digest(mean + 0.01 * rng.normal(size=128)) != digest(mean)
