import os

import pytest

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.manifest import Manifest, join_manifests, read_manifest, write_manifest, write_rejected

NAMES = ["a b/c, d.wav", "Füße/日本.flac", "plain.ogg"]


def test_joined_manifests_name_the_same_files(tmp_path):
    roots = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a", tmp_path / "c"]
    parts = [Manifest(str(root), [*NAMES, f"{n}.wav"], [n + 1] * 4) for n, root in enumerate(roots)]
    joined = join_manifests(parts)
    assert [os.path.normpath(joined.full_path(index)) for index in range(16)] == [
        part.full_path(index) for part in parts for index in range(4)
    ]
    assert joined.frames.tolist() == [1] * 4 + [2] * 4 + [3] * 4 + [4] * 4 and joined.root == str(tmp_path)
    assert [len(part) for part in parts] == [4] * 4 and join_manifests(parts[:1]) is parts[0]


def test_manifest_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "train.tsv"
    write_manifest(path, Manifest(str(tmp_path), NAMES, [1, 22, 333]))
    assert path.read_text(encoding="utf-8").splitlines()[:2] == [str(tmp_path), "a b/c, d.wav\t1"]
    manifest = read_manifest(path)
    assert (manifest.root, manifest.paths, manifest.frames.tolist()) == (str(tmp_path), NAMES, [1, 22, 333])
    assert manifest.full_path(2) == str(tmp_path / "plain.ogg") and len(manifest) == 3


@pytest.mark.parametrize(
    "line",
    [
        "a.wav",
        "a.wav\t",
        "a.wav\t0",
        "a.wav\t-5",
        "a.wav\tlong",
        "a.wav\t5\t5",
        "a.wav\t²",
        "a.wav\t9999999999999999999",
        "",
    ],
)
def test_bad_line_is_named_by_its_number(tmp_path, line):
    path = tmp_path / "train.tsv"
    path.write_text(f"{tmp_path}\nfine.wav\t100\n{line}\n")
    with pytest.raises(ManifestError, match=r"train.tsv, line 3: expected `path<TAB>frames`"):
        read_manifest(path)


def test_missing_manifest_says_what_is_there(tmp_path):
    with pytest.raises(ManifestError, match="expected a manifest at .*train.tsv, found none in that directory; write"):
        read_manifest(tmp_path / "train.tsv")
    for name in ("fold1.tsv", "fold2.tsv", "fold1.rejected.tsv"):
        (tmp_path / name).touch()
    with pytest.raises(ManifestError, match="found only the subsets fold1, fold2 there"):
        read_manifest(tmp_path / "train.tsv")


def test_empty_manifest_and_moved_audio_are_refused(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text(f"{tmp_path}\n")
    with pytest.raises(ManifestError, match="at least one clip, found no clip"):
        read_manifest(path)
    path.write_text("/nowhere/at/all\na.wav\t5\n")
    with pytest.raises(ManifestError, match="line 1: expected the directory .* found '/nowhere/at/all'"):
        read_manifest(path)


def test_rejected_files_stay_one_a_line(tmp_path):
    write_rejected(tmp_path / "r.tsv", [("a\nb.wav", "tab\tor line\nbreak"), ("\udcff.wav", "not UTF-8")])
    assert (tmp_path / "r.tsv").read_text().splitlines() == ["a b.wav\ttab or line break", "\\udcff.wav\tnot UTF-8"]
