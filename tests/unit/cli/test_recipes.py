"""maskspec-recipes: a copy of the recipes that trains from any directory."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

import maskspec_fairseq
from maskspec_fairseq.cli import recipes
from maskspec_fairseq.cli.recipes import find_recipes, main
from tests.factories import REPOSITORY

PACKAGE = str(Path(maskspec_fairseq.__file__).parent)


def files(directory):
    return {path.relative_to(directory): path.read_text() for path in directory.rglob("*") if path.is_file()}


def test_the_copy_is_config_but_for_user_dir(tmp_path, capsys):
    assert main([str(tmp_path / "new" / "config")]) == 0
    copied, own = files(tmp_path / "new" / "config"), files(REPOSITORY / "config")
    assert copied.keys() == own.keys()
    changed = {str(name) for name in own if copied[name] != own[name]}
    assert changed == {"pretraining/maskspec_base.yaml", "finetuning/base.yaml"}
    for name in changed:
        recipe = yaml.safe_load(copied[Path(name)])
        assert recipe["common"].pop("user_dir") == PACKAGE
        before = yaml.safe_load(own[Path(name)])
        del before["common"]["user_dir"]
        assert recipe == before
    assert not any("user_dir: ${" in text for text in copied.values())


def test_it_prints_commands_of_recipes_that_are_there(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 0
    commands = re.findall(r"fairseq-hydra-train --config-dir (\S+) --config-name (\w+)", capsys.readouterr().out)
    assert len(commands) == 2
    for directory, name in commands:
        assert Path(directory, f"{name}.yaml").is_file()


def test_a_path_with_spaces_is_quoted(tmp_path, capsys):
    assert main([str(tmp_path / "rec ümlaut x")]) == 0
    commands = [shlex.split(line) for line in capsys.readouterr().out.splitlines() if "fairseq-hydra-train" in line]
    assert [command[2] for command in commands] == [
        str(tmp_path / "rec ümlaut x" / stage) for stage in ("pretraining", "finetuning")
    ]


def test_a_copy_into_the_recipes_themselves_is_refused(tmp_path, monkeypatch, capsys):
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    monkeypatch.setattr(recipes, "find_recipes", lambda: tmp_path / "config")
    before = files(tmp_path)
    assert main([str(tmp_path / "config" / "pretraining" / "mine")]) == 2
    assert "expected a directory outside of" in capsys.readouterr().err
    assert files(tmp_path) == before and not (tmp_path / "config" / "pretraining" / "mine").exists()


def test_an_interrupted_copy_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipes.os, "replace", interrupted)
    assert main([str(tmp_path / "new")]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["directory", "file", "dangling link"])
def test_nothing_is_overwritten(tmp_path, capsys, there):
    out = tmp_path / "config"
    if there == "directory":
        out.mkdir()
        (out / "mine.yaml").write_text("a: 1")
    elif there == "file":
        out.write_text("a: 1")
    else:
        out.symlink_to(tmp_path / "nowhere")
    before = files(tmp_path)
    assert main([str(out)]) == 2
    assert "expected a new or an empty directory" in capsys.readouterr().err
    assert files(tmp_path) == before


def test_a_wheel_has_the_recipes_in_the_package(tmp_path):
    package = tmp_path / "site-packages" / "maskspec_fairseq"
    with pytest.raises(FileNotFoundError, match="install maskspec-fairseq again"):
        find_recipes(package)
    (package / "recipes" / "pretraining").mkdir(parents=True)
    assert find_recipes(package) == package / "recipes"
