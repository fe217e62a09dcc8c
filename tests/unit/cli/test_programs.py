"""Every program is installed, and says how it is used, in its help and on its page."""

import importlib
import os
import re
import subprocess
import sys
from importlib.metadata import distribution

import pytest

from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.cli.program import run_program
from maskspec_fairseq.cli.programs import PROGRAMS
from maskspec_fairseq.data_dir.lines import escaped
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


@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_during_the_imports_of_a_program_is_a_line(tmp_path, program):
    (tmp_path / "numpy.py").write_text("raise KeyboardInterrupt")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPOSITORY}"}
    done = subprocess.run([sys.executable, "-m", PROGRAMS[program]], env=environment, capture_output=True, text=True)
    assert done.returncode == 130 and not done.stdout
    assert done.stderr.startswith("interrupted") or done.stderr == f"{program}: interrupted\n"
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "interrupt, state",
    [(KeyboardInterrupt(), "no file was left incomplete; the same command"), (KeyboardInterrupt("half done"), "half")],
)
def test_ctrl_c_in_a_program_is_a_line_that_says_what_is_done(capsys, interrupt, state):
    def run(args):
        raise interrupt

    assert run_program(make_parser("maskspec-x", "", ""), run, []) == 130
    error = capsys.readouterr().err
    assert error.startswith(f"maskspec-x: interrupted; {state}") and error.count("\n") == 1


def test_other_errors_keep_their_traceback():
    code = "import maskspec_fairseq.cli; 1 / 0"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


def test_what_a_terminal_cannot_show_is_escaped():
    """In what a program prints, and in its error messages."""
    code = (
        "from maskspec_fairseq.cli.arguments import make_parser\n"
        "from maskspec_fairseq.cli.program import run_program\n"
        "def run(args):\n"
        "    print('\u97f3.wav \u00e4')\n"
        "    raise ValueError('\u58f0.wav')\n"
        "raise SystemExit(run_program(make_parser('maskspec-x', '', ''), run, []))"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=REPOSITORY, capture_output=True)
    assert done.returncode == 2
    assert done.stdout.decode("cp1252") == "\\u97f3.wav \u00e4\n"
    assert done.stderr.decode("cp1252") == "maskspec-x: \\u58f0.wav\n"


def test_control_characters_cannot_make_lines():
    assert escaped("a\n\t\x1b[2K\x9b\u2028b \u00e4\u97f3") == "a\\n\\t\\x1b[2K\\x9b\\u2028b \u00e4\u97f3"


@pytest.mark.parametrize("given, found", [(None, "passive"), ("active", "active")])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given, found):
    """Set before torch is loaded, which reads it once."""
    code = (
        "import sys, os, maskspec_fairseq.cli; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    if given:
        environment["OMP_WAIT_POLICY"] = given
    environment["PYTHONPATH"] = str(REPOSITORY)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found


@pytest.mark.parametrize("lines", [1, 100_000])
def test_output_that_nobody_reads_ends_a_program_quietly(lines):
    """As in `maskspec-tag ... | head -1`: while it prints, and at its end."""
    code = (
        "from maskspec_fairseq.cli.arguments import make_parser\n"
        "from maskspec_fairseq.cli.program import run_program\n"
        "import sys\n"
        "def run(args):\n"
        "    sys.stdin.read()\n"
        f"    for number in range({lines}): print(number)\n"
        "raise SystemExit(run_program(make_parser('maskspec-x', '', ''), run, []))"
    )
    pipe = subprocess.PIPE
    program = subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdin=pipe, stdout=pipe, stderr=pipe)
    program.stdout.close()
    program.stdout = None
    assert program.communicate(b"")[1] == b"" and program.returncode == 141


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_name_of_an_output_is_not_empty(program, capsys):
    """As `--out "$OUT"` is where the variable is not set."""
    parser = parser_of(program)
    command = ["folder", "audio"] if program == "maskspec-build" else []
    for option in {"--out"} if command else {"--out", "--output", "--plot"} & set(parser._option_string_actions):
        with pytest.raises(SystemExit):
            parser.parse_args([*command, option, ""])
        assert f"argument {option}: expected a name, found an empty one" in capsys.readouterr().err
