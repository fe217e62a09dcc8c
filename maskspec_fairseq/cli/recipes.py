"""maskspec-recipes: copy the training recipes out of the package, to run and to edit."""

import argparse
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from maskspec_fairseq.atomic_write import write_whole
from maskspec_fairseq.cli.arguments import make_parser
from maskspec_fairseq.cli.program import run_program

EXAMPLE = "maskspec-recipes config"
PACKAGE = Path(__file__).parents[1]
CHECKOUT_USER_DIR = "user_dir: ${hydra:runtime.cwd}/maskspec_fairseq"


def build_parser() -> argparse.ArgumentParser:
    parser = make_parser("maskspec-recipes", __doc__, EXAMPLE)
    parser.add_argument(
        "out", type=Path, metavar="OUT_DIR", help="where pretraining/ and finetuning/ go: new, or an empty directory"
    )
    return parser


def find_recipes(package: Path = PACKAGE) -> Path:
    """The directory with pretraining/ and finetuning/: a wheel has them in the package, a checkout next to it.

    Raises:
        FileNotFoundError: neither is there.
    """
    for recipes in (package / "recipes", package.parent / "config"):
        if (recipes / "pretraining").is_dir():
            return recipes
    raise FileNotFoundError(
        f"expected the recipes in {package / 'recipes'} or {package.parent / 'config'}, found neither; install "
        "maskspec-fairseq again"
    )


def copy_recipes(out: Path) -> int:
    """Copy all recipes, with `user_dir` the installed package, so that they train from any directory.

    Args:
        out: a directory that does not exist or is empty.

    Returns:
        How many files were written.

    Raises:
        ValueError: there is something at `out`, or it is in the recipes' own directory.
    """
    recipes = find_recipes().resolve()
    if recipes in (out.resolve(), *out.resolve().parents):
        raise ValueError(f"expected a directory outside of {recipes}, found {out}; name another")
    if os.path.lexists(out) and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"expected a new or an empty directory, found files at {out}; name another, or remove them")
    write_whole(out, lambda scratch: _copy(recipes, scratch))  # over an empty directory, too
    return len(list(out.rglob("*.yaml")))


def _copy(recipes: Path, out: Path) -> None:
    shutil.copytree(recipes, out)
    for path in out.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(CHECKOUT_USER_DIR, f"user_dir: {json.dumps(str(PACKAGE))}"), encoding="utf-8")


def run(args: argparse.Namespace) -> None:
    number = copy_recipes(args.out)
    print(f"{number} files are in {args.out}; to train, for example:")
    for stage, options, fields in (
        ("pretraining", "--out DATA_DIR", "--config-name maskspec_base task.data=DATA_DIR"),
        (
            "finetuning",
            "--labels-from-parent --valid-fraction 0.2 --out LABELLED_DIR",
            "--config-name folder task.data=LABELLED_DIR model.pretrained=CHECKPOINT",
        ),
    ):
        print(f"  maskspec-build folder AUDIO_DIR {options}")
        print(f"  fairseq-hydra-train --config-dir {shlex.quote(str(args.out / stage))} {fields}")


def main(argv: Optional[Sequence[str]] = None) -> int:
    return run_program(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
