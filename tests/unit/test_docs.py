"""The pages on corpora and data directories say what the builders do."""

import re
import shlex
from types import ModuleType

import pytest

from maskspec_fairseq.audio.formats import EXTENSIONS, UNDECODABLE
from maskspec_fairseq.cli import build
from tests.factories import REPOSITORY, read_subset, run_build, write_tone

CORPORA = {  # subset -> published clips
    "audioset": {"balanced_train": 22160, "unbalanced_train": 2041789, "eval": 20371},
    "esc50": {},
    "esc10": {},
    "dcase2019_task1a": {"train": 9185, "evaluate": 4185},
    "openmic2018": {"train": 14915, "test": 5085},
    "speech_commands_v2": {"train": 84843, "validation": 9981, "test": 11005},
    "fsdd": {"train": 2700, "test": 300},
}


def build_commands(page):
    """The arguments of each command of maskspec-build in a page, in either of its spellings."""
    lines = page.replace("\\\n", " ").splitlines()
    spellings = ("maskspec-build ", "python manifests/build.py ")
    return [
        shlex.split(line.partition(name)[2], comments=True)
        for line in lines
        for name in spellings
        if line.startswith(name)
    ]


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_page_has_its_commands_and_counts(corpus):
    page = (REPOSITORY / "docs" / f"{corpus}.md").read_text()
    parsed = [build.build_parser().parse_args(arguments) for arguments in build_commands(page)]
    assert [args.command for args in parsed[:2]] == [corpus, "check"]
    assert str(parsed[0].out) == str(parsed[1].data_dir) == f"data/{corpus}"
    for subset, clips in CORPORA[corpus].items():
        assert re.search(rf"`{subset}` \|.* {clips:,}\b", page)
    assert f"task.data=data/{corpus} " in page and f"--data data/{corpus} --subset " in page
    assert f"({corpus}.md)" in (REPOSITORY / "docs" / "manifests.md").read_text()


def test_published_counts_are_the_builders():
    for corpus in ("dcase2019_task1a", "openmic2018", "speech_commands_v2"):
        assert CORPORA[corpus] == build.CORPORA[corpus].OFFICIAL
    listed = build.CORPORA["audioset"].SUBSETS
    assert {subset: clips for subset, (_, clips) in listed.items()} == CORPORA["audioset"]
    assert build.CORPORA["dcase2019_task1a"].UNLISTED == 14400 - 9185 - 4185


def test_the_page_on_data_directories_has_every_corpus_and_tool():
    page = (REPOSITORY / "docs" / "manifests.md").read_text()
    for name in build.CORPORA:
        assert re.search(rf"^\| \[?`{name}[ `]", page, re.MULTILINE), f"{name} is not in the table of corpora"
    for name in build.TOOLS:
        assert f"maskspec-build {name} " in page


def test_the_page_on_data_directories_has_the_extensions_of_audio():
    page = " ".join((REPOSITORY / "docs" / "manifests.md").read_text().split())
    assert f"{' '.join(EXTENSIONS)}, which soundfile decodes, and {' '.join(UNDECODABLE)}, which it does not" in page


def test_the_skeleton_of_a_corpus_works(tmp_path, monkeypatch):
    page = (REPOSITORY / "docs" / "manifests.md").read_text()
    skeleton = ModuleType("skeleton")
    exec(re.search(r"```python\n(.*?)```", page, re.DOTALL)[1], skeleton.__dict__)
    for bird, number in (("wren", 3), ("wren", 10), ("robin", 25)):
        write_tone(tmp_path / "birds" / "clips" / f"{bird}_{number}.wav", 0.1, 8000)
    monkeypatch.setitem(build.CORPORA, "birds", skeleton)
    run_build("birds", tmp_path / "birds", "--out", tmp_path / "data", "--stats-clips", 0)
    train, labels = read_subset(tmp_path / "data", "train")
    assert train.paths == ["robin_25.wav", "wren_10.wav"] and labels == [["robin"], ["wren"]]
    assert read_subset(tmp_path / "data", "test")[1] == [["wren"]]
