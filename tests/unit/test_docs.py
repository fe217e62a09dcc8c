"""The pages of the corpora say what the builders do."""

import re
import shlex

import pytest

from maskspec_fairseq.cli import build
from tests.factories import REPOSITORY

CORPORA = {  # subset -> published clips
    "audioset": {"balanced_train": 22160, "unbalanced_train": 2041789, "eval": 20371},
    "esc50": {},
    "esc10": {},
    "dcase2019_task1a": {"train": 9185, "evaluate": 4185},
    "openmic2018": {"train": 14915, "test": 5085},
    "speech_commands_v2": {"train": 84843, "validation": 9981, "test": 11005},
    "fsdd": {"train": 2700, "test": 300},
}


@pytest.mark.parametrize("corpus", CORPORA)
def test_every_page_has_its_commands_and_counts(corpus):
    page = (REPOSITORY / "docs" / f"{corpus}.md").read_text()
    commands = [shlex.split(line)[2:] for line in page.splitlines() if line.startswith("python manifests/build.py")]
    parsed = [build.build_parser().parse_args(command) for command in commands]
    assert [args.command for args in parsed[:2]] == [corpus, "check"]
    assert str(parsed[0].out) == str(parsed[1].data_dir) == f"data/{corpus}"
    for subset, clips in CORPORA[corpus].items():
        assert re.search(rf"`{subset}` \|.* {clips:,}\b", page)
    assert f"task.data=data/{corpus} " in page and f"--data data/{corpus} --subset " in page
    assert f"({corpus}.md)" in (REPOSITORY / "docs" / "manifests.md").read_text()


def test_published_counts_are_the_builders():
    for corpus in ("dcase2019_task1a", "openmic2018", "speech_commands_v2"):
        assert build.CORPORA[corpus].OFFICIAL == CORPORA[corpus]
    splits = build.CORPORA["audioset"].SPLITS
    assert {subset: clips for subset, (_, clips) in splits.items()} == CORPORA["audioset"]
