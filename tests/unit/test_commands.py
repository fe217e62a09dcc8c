"""Every command of the README and the pages can be run: its program takes it, its recipe has its fields."""

import importlib
import re
import shlex

import pytest

from maskspec_fairseq.cli.programs import PROGRAMS
from tests.factories import REPOSITORY

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def block_lines(page):
    """The lines of the code blocks; continued lines are one."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text().replace("\\\n", " "), re.MULTILINE | re.DOTALL)
    return [line.replace("...", "") for block in blocks for line in block.splitlines()]


def found(pattern):
    """Page and match of a pattern in all lines of code blocks."""
    matches = [(page, re.search(pattern, line)) for page in PAGES for line in block_lines(page)]
    return [pytest.param(*match.groups(), id=f"{page.stem}: {match[0][:60]}") for page, match in matches if match]


def parse(program, words):
    parser = importlib.import_module(PROGRAMS[program]).build_parser()
    return parser.parse_intermixed_args(words) if program == "maskspec-crossval" else parser.parse_args(words)


@pytest.mark.parametrize("program, arguments", found(r"^\s*(?:\S*/)?(maskspec-[\w-]+|python manifests/build.py) (.*)"))
def test_a_program_takes_the_command(program, arguments):
    arguments = re.sub(r"\[--[^]]*\]| > .*", "", arguments)  # what is optional, and where the output goes
    words = shlex.split(arguments, comments=True)
    parse(program.replace("python manifests/build.py", "maskspec-build"), words)


@pytest.mark.parametrize("arguments", found(r"(?:^|[\s/(])(?:fairseq-hydra-train|maskspec-crossval)\)? +(.*)"))
def test_a_recipe_has_the_fields_of_the_command(arguments):
    pytest.importorskip("fairseq")
    from tests.fairseq_factories import compose_recipe

    words = shlex.split(arguments, comments=True)
    name = words[words.index("--config-name") + 1]
    stage = words[words.index("--config-dir") + 1] if "--config-dir" in words else "config/finetuning"
    assert stage in ("config/pretraining", "config/finetuning")
    fields = [word for word in words if re.match(r"\+?[\w.]+=", word)]
    compose_recipe(name if stage == "config/pretraining" else f"finetuning/{name}", *fields)


INLINE = [
    (page, *match) for page in PAGES for match in re.findall(r"`(maskspec-[\w-]+|make) ([^`]+)`", page.read_text())
]


@pytest.mark.parametrize("page, program, arguments", INLINE, ids=lambda value: getattr(value, "stem", value))
def test_what_the_text_of_a_page_names_exists(page, program, arguments, capsys):
    """A command there may lack arguments, but its program, subcommand or target, and options exist."""
    first, *others = shlex.split(arguments)
    if program == "make":
        targets = re.findall(r"^([\w -]+):(?!=)", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert first in " ".join(targets).split()
        return
    with pytest.raises(SystemExit) as exit:
        parse(program, [*([first] if program == "maskspec-build" else []), "--help"])
    assert exit.value.code == 0
    usage = capsys.readouterr().out
    assert all(word in usage for word in [first, *others] if word.startswith("--"))
