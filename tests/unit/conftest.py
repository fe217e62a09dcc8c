"""Fixtures that several files of unit tests share."""

import json

import pytest

from maskspec_fairseq.data_dir.labels import ClipLabels, Label, write_labels, write_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest, write_manifest


@pytest.fixture()
def folds(data_dir, tmp_path):
    """Three folds of eight clips of two classes, with statistics of each."""
    manifest = read_manifest(data_dir / "train.tsv")
    write_vocabulary(tmp_path / "labels.csv", [Label("low", "Low"), Label("high", "High")])
    for fold in range(3):
        rows = range(8 * fold, 8 * fold + 8)
        part = type(manifest)(manifest.root, [manifest.paths[i] for i in rows], [manifest.frames[i] for i in rows])
        write_manifest(tmp_path / f"fold{fold + 1}.tsv", part)
        write_labels(tmp_path / f"fold{fold + 1}.lbl", [ClipLabels([("low", "high")[i % 2]]) for i in rows])
    stats = json.loads((data_dir / "mel_stats.json").read_text())
    stats["paper"]["subsets"] = {f"fold{n}": stats["paper"]["subsets"]["train"] for n in (1, 2, 3)}
    (tmp_path / "mel_stats.json").write_text(json.dumps(stats))
    return tmp_path
