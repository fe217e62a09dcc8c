"""Every program says how it is used, in its help and on its page."""

import importlib
import re

import pytest

from tests.factories import REPOSITORY

PROGRAMS = dict(re.findall(r'"(maskspec-[\w-]+)=([\w.]+):main"', (REPOSITORY / "setup.py").read_text()))


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_has_an_example_that_parses_and_says_every_default(program, capsys):
    parser = importlib.import_module(PROGRAMS[program]).build_parser()
    assert parser.prog == program
    example = parser.format_help().partition("example:\n")[2].splitlines()[0].strip()
    words = re.sub(r"clips/\*\.wav", "clips/a.wav", example).split()
    assert words[0] == program
    parser.parse_intermixed_args(words[1:]) if program == "maskspec-crossval" else parser.parse_args(words[1:])
    for action in parser._actions:
        assert action.help, action.dest
        if action.option_strings and action.default not in (None, False, "==SUPPRESS=="):
            assert re.search(r"\(default\b", action.help), action.dest


@pytest.mark.parametrize("program", PROGRAMS)
def test_page_has_every_option(program):
    parser = importlib.import_module(PROGRAMS[program]).build_parser()
    if program == "maskspec-build":  # whose page is on data directories, and has a page for each corpus
        pytest.skip("docs/manifests.md and the pages of the corpora; see test_docs.py")
    name = program.partition("-")[2]
    page = (REPOSITORY / "docs" / f"{name.replace('-', '_')}.md").read_text()
    assert page.startswith(f"# {program}\n") and f"\n{program} " in page
    for action in parser._actions:
        for option in action.option_strings:
            assert option in ("-h", "--help") or option in page, option
    assert f"({name.replace('-', '_')}.md)" in (REPOSITORY / "docs" / "use_a_model.md").read_text()
