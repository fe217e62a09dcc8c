"""Packs with bytes changed at random go through builder and reader: an answer or a message, never anything else."""

import collections
import sys

import pytest

from maskspec_fairseq.audio import AudioError
from maskspec_fairseq.audio.read import load_clip
from maskspec_fairseq.cli import build
from maskspec_fairseq.data_dir.labels import Label, write_vocabulary
from maskspec_fairseq.data_dir.manifest import Manifest, read_manifest, write_manifest
from tests.factories import NOISE, encoded, int16, write_mp3s, write_parquet, write_tar, write_waveforms, write_zip
from tests.mutation import HANG, in_fork, outcomes_of_mutations

# The HDF5 library does not return from a heap of rows whose free space has 0 bytes. docs/manifests.md says so.
HANGS_OF_LIBRARIES = {"mp3.h5": 0.01}  # kind -> how many of the files at most
CLIPS = [encoded(NOISE[n, : 2000 + 100 * n]) for n in range(4)]


def write_pack(kind, path):
    """A pack of four clips; returns the arguments that build it, or the paths in a zip."""
    if kind == "zip":
        return list(write_zip(path, {f"{n}.wav": clip for n, clip in enumerate(CLIPS)}).values())
    if kind == "tar":
        write_tar(
            path, {f"{n}.{what}": data for n, c in enumerate(CLIPS) for what, data in (("wav", c), ("cls", b"1"))}
        )
        return ["tar", f"train={path}", "--labels-from", "cls"]
    if kind == "parquet":
        write_parquet(path, CLIPS, {"label": {"_type": "ClassLabel", "names": ["a", "b"]}}, label=[0, 1, 1, 0])
        return ["parquet", f"train={path}", "--labels-from", "label"]
    if kind == "waveform.h5":
        write_waveforms(path, int16(NOISE[:4, :2000]))
    else:
        write_mp3s(path, [encoded(NOISE[n, :4000], "mp3") for n in range(4)])
    write_vocabulary(path.with_name("classes.csv"), [Label(f"{n}", f"{n}") for n in range(527)])
    return ["hdf5", f"train={path}", "--labels", str(path.with_name("classes.csv"))]


def build_and_read(arguments, folder):
    """What becomes of a pack: "built" or "refused", and how many of its clips can be read."""
    if arguments[0] in build.CORPORA:
        options = ["--out", str(folder), "--stats-clips", "0", "--max-rejected", "1"]
        code = build.main([*arguments, *options])
        if code:
            return "refused"
    else:
        write_manifest(folder / "train.tsv", Manifest("/", [path[1:] for path in arguments], [1] * len(arguments)))
    manifest, read = read_manifest(folder / "train.tsv"), 0
    for index in range(len(manifest)):
        try:
            load_clip(manifest.full_path(index), 32000, 1.0)
            read += 1
        except AudioError:
            pass
    return f"built, {read} clips read"


def outcomes(kind, tmp_path, count):
    path = tmp_path / (kind if "." in kind else f"a.{kind}")
    arguments = write_pack(kind, path)
    (tmp_path / "data").mkdir()
    assert in_fork(build_and_read, arguments, tmp_path / "data") == "built, 4 clips read"
    counts = collections.Counter()
    for seed, found in outcomes_of_mutations(path, count, build_and_read, arguments, tmp_path / "data"):
        assert found == "refused" or found.startswith("built") or found == HANG, (seed, found)
        counts[found] += 1
    assert counts[HANG] <= count * HANGS_OF_LIBRARIES.get(kind, 0)
    return counts


KINDS = ["zip", "tar", "parquet", "mp3.h5", "waveform.h5"]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory by /proc")


@linux
@pytest.mark.parametrize("kind", KINDS)
def test_mutated_packs_are_built_or_refused(kind, tmp_path):
    outcomes(kind, tmp_path, 5)


@linux
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_five_hundred_mutated_packs_are_built_or_refused(kind, tmp_path):
    print(f"{kind}: {dict(outcomes(kind, tmp_path, 500).most_common())}")
