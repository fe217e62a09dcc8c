"""A broken file in a real run: the rest of the broken ones are in tests/unit/audio/test_bad_audio.py."""

import os
import shutil
from pathlib import Path

from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.integration.runs import entries, train


def test_a_pipe_is_not_waited_for_by_a_loader_process_and_ends_the_run_with_its_path(data_dir, tmp_path):
    data, audio = tmp_path / "data", tmp_path / "audio"
    shutil.copytree(data_dir, data, ignore=shutil.ignore_patterns("audio"))
    manifest = read_manifest(data / "train.tsv")
    audio.mkdir()
    for number, name in enumerate(manifest.paths):
        (audio / name).symlink_to(Path(manifest.root) / name) if number != 7 else os.mkfifo(audio / name)
    text = (data / "train.tsv").read_text()
    (data / "train.tsv").write_text(text.replace(str(manifest.root), str(audio)))
    output = train(data, tmp_path / "run", "dataset.num_workers=1", fails=True)
    found = "expected audio that soundfile decodes, found: a pipe or a device"
    assert f"AudioError: {audio}/clip 07.wav: {found}" in "".join(output.splitlines()[-5:])
    assert not entries(output, "train")
