"""maskspec-build demo."""

import numpy as np
import soundfile

from maskspec_fairseq.corpora.demo import KINDS, synthesise
from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import read_subset, run_build


def test_no_sound_overflows():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for kind in range(len(KINDS)):
            synthesise(kind, 0, seed=1)


def test_demo_is_labelled_and_the_same_for_a_seed(tmp_path):
    outs = [tmp_path / name for name in ("one", "two")]
    for out in outs:
        run_build("demo", "--out", out, "--clips-per-kind", 2, "--seed", 1, "--stats-clips", 0)
    manifest, labels = read_subset(outs[0], "train")
    assert len(manifest) == 10 and len({label[0] for label in labels}) == 10
    assert len(read_manifest(outs[0] / "valid.tsv")) == 10
    one, two = ([soundfile.read(out / "audio" / path)[0] for path in manifest.paths] for out in outs)
    assert all(np.array_equal(a, b) for a, b in zip(one, two))
    assert not np.array_equal(synthesise(0, 0, seed=1), synthesise(0, 0, seed=2))
    assert all(0.05 < np.abs(clip).max() <= 1 and 2 <= len(clip) / 32000 <= 4 for clip in one)
    plain = tmp_path / "plain"
    plain.mkdir()
    assert (outs[0] / "audio").stat().st_mode == plain.stat().st_mode  # others may read it as far as the umask says
