"""maskspec-build folder."""

from maskspec_fairseq.data_dir.labels import read_vocabulary
from tests.factories import read_subset, run_build, write_tone


def test_labels_from_parent(tree, tmp_path):
    out = tmp_path / "data"
    run_build("folder", tree, "--out", out, "--labels-from-parent", "--stats-clips", 0)
    vocabulary = read_vocabulary(out / "labels.csv")
    assert [(label.key, label.name) for label in vocabulary] == [
        ("dogs_barking", "Dogs, barking"), ("füsse", "Füße"), ("rain", "rain"), ("日本", "日本"),
    ]  # fmt: skip
    for name in ("train", "valid"):
        manifest, labels = read_subset(out, name)
        folders = [path.split("/")[-2] for path in manifest.paths]
        assert labels == [[{"Dogs, barking": "dogs_barking", "Füße": "füsse"}.get(name, name)] for name in folders]
    write_tone(tree / "top.wav", 0.3)
    done = run_build("folder", tree, "--out", out, "--labels-from-parent", code=2)
    assert "expected every file in the folder of its class, found top.wav in none" in done.stderr


def test_the_split_does_not_depend_on_where_the_tree_lies_or_how_it_is_listed(tree, tmp_path):
    run_build("folder", tree, "--out", tmp_path / "one", "--stats-clips", 0, "--workers", 1)
    moved = tmp_path / "elsewhere"
    tree.rename(moved)
    run_build("folder", moved, "--out", tmp_path / "two", "--stats-clips", 0, "--workers", 3)
    for name in ("train.tsv", "valid.tsv"):
        one, two = (read_manifest_lines(tmp_path / d / name) for d in ("one", "two"))
        assert one[1:] == two[1:] and one[0] != two[0]


def read_manifest_lines(path):
    return path.read_text(encoding="utf-8").splitlines()
