"""Every program is installed, and says how it is used, in its help and on its page."""

import importlib
import re
from importlib.metadata import distribution

import pytest

from maskspec_fairseq.cli.programs import PROGRAMS
from tests.factories import REPOSITORY

DOCS = REPOSITORY / "docs"


def parser_of(program):
    return importlib.import_module(PROGRAMS[program]).build_parser()


def test_setup_installs_the_programs_of_the_table():
    scripts = distribution("maskspec-fairseq").entry_points
    installed = {script.name: script.value for script in scripts if script.group == "console_scripts"}
    assert installed == {name: f"{module}:main" for name, module in PROGRAMS.items()}


def test_every_module_of_a_program_is_in_the_table():
    modules = {path.stem for path in (REPOSITORY / "maskspec_fairseq" / "cli").glob("*.py")}
    shared = {"__init__", "arguments", "program", "programs"}
    assert modules - shared == {module.rpartition(".")[2] for module in PROGRAMS.values()}


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_has_an_example_that_parses_and_says_every_default(program, capsys):
    parser = parser_of(program)
    assert parser.prog == program
    example = parser.format_help().partition("example:\n")[2].splitlines()[0].strip()
    words = re.sub(r"clips/\*\.wav", "clips/a.wav", example).split()
    assert words[0] == program
    parser.parse_intermixed_args(words[1:]) if program == "maskspec-crossval" else parser.parse_args(words[1:])
    for action in parser._actions:
        assert action.help, action.dest
        if action.option_strings and action.default not in (None, False, "==SUPPRESS=="):
            assert re.search(r"\(default: ", action.help), action.dest


@pytest.mark.parametrize("program", PROGRAMS)
def test_page_has_every_option(program):
    parser = parser_of(program)
    if program in ("maskspec-build", "maskspec-recipes"):
        pytest.skip("the pages of these are on data directories, corpora and recipes; see test_docs.py")
    name = program.partition("-")[2].replace("-", "_")
    page = (DOCS / f"{name}.md").read_text()
    assert page.startswith(f"# {program}\n") and f"\n{program} " in page
    for action in parser._actions:
        for option in action.option_strings:
            assert option in ("-h", "--help") or option in page, option


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_docs_list_every_program(program):
    pages = [DOCS / "use_a_model.md", DOCS / "index.md"]
    assert any(program in page.read_text() for page in pages if page.exists())
