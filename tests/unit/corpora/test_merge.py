"""maskspec-build merge."""

import os

from maskspec_fairseq.data_dir.manifest import read_manifest
from tests.factories import run_build, write_tone


def test_merge_joins_subsets_of_several_corpora(tree, tmp_path):
    run_build("folder", tree / "rain", "--out", tmp_path / "rain", "--stats-clips", 0)
    run_build("folder", tree / "deep", "--out", tmp_path / "deep", "--stats-clips", 0)
    out, rain, deep = tmp_path / "both", tmp_path / "rain", tmp_path / "deep"
    run_build("merge", "--out", out, "--train", f"{rain}:train", f"{deep}:train,valid", "--valid", f"{rain}:valid")
    train, valid = read_manifest(out / "train.tsv"), read_manifest(out / "valid.tsv")
    assert (len(train), len(valid)) == (7, 1) and train.root == str(tree)
    assert all(os.path.isfile(train.full_path(index)) for index in range(7))
    done = run_build("merge", "--out", out, "--train", f"{rain}:train", "--valid", f"{rain}:train", code=2)
    assert "expected no file in both train and valid, found 3" in done.stderr
    (tmp_path / "link").symlink_to(tree)
    linked = tmp_path / "linked"
    run_build("folder", tmp_path / "link" / "rain", "--out", linked, "--stats-clips", 0)
    replace_root(linked / "train.tsv", tmp_path / "link" / "rain")
    done = run_build("merge", "--out", out, "--train", f"{rain}:train", "--valid", f"{linked}:train", code=2)
    assert "expected no file in both train and valid, found 3" in done.stderr
    for again in ([f"{rain}:train,train"], [f"{rain}:train", f"{linked}:train"]):
        done = run_build("merge", "--out", out, "--train", *again, "--valid", f"{deep}:valid", code=2)
        assert f"expected every file once in {' '.join(again)}, found 3 more than once" in done.stderr
    done = run_build("merge", "--out", rain, "--train", f"{deep}:train", "--valid", f"{rain}:valid", code=2)
    assert (
        f"expected --out other than the sources, whose manifests and labels it would replace, found {rain}"
        in done.stderr
    )


def replace_root(manifest, root):
    manifest.write_text("\n".join([str(root), *manifest.read_text().split("\n")[1:]]))


def test_pieces_of_a_file_on_one_side_and_frames_of_them_on_the_other_are_refused(tmp_path):
    for number in range(4):
        write_tone(tmp_path / "audio" / f"{number}.wav", 4, 8000)
    (tmp_path / "linked").mkdir()
    for number in range(4):
        (tmp_path / "linked" / f"other{number}.wav").symlink_to(tmp_path / "audio" / f"{number}.wav")
    for name, audio, cut in (("pieces", "audio", 1), ("whole", "audio", 0), ("links", "linked", 1)):
        arguments = ["--segment-sec", cut, "--valid-fraction", 0.25, "--stats-clips", 0]
        run_build("folder", tmp_path / audio, *arguments, "--out", tmp_path / name)
    out = ["--out", tmp_path / "both"]
    for train, valid, count in (
        ("pieces:train", "whole:train", 3),
        ("pieces:train,valid", "links:train", 3),
        ("whole:valid", "links:train,valid", 1),
    ):
        done = run_build("merge", "--train", tmp_path / train, "--valid", tmp_path / valid, *out, code=2)
        assert f"expected no file in both train and valid, found {count} of which both have frames" in done.stderr
    lines = (tmp_path / "pieces" / "train.tsv").read_text().splitlines(keepends=True)
    for name, kept in (("first", lines[1::2]), ("second", lines[2::2])):  # other pieces of the same files
        (tmp_path / "pieces" / f"{name}.tsv").write_text(lines[0] + "".join(kept))
    run_build("merge", "--train", tmp_path / "pieces:first", "--valid", tmp_path / "pieces:second", *out)
