"""Write the rows of ESC-50's esc50.csv that share no class and no source recording with ESC-10.

    python -m experiments.esc50_without_esc10 ESC-50/meta/esc50.csv ESC-10 --out esc50_without_esc10.csv

A recording on Freesound gave one or several clips, now and then of several classes; the number after the fold in the
name of a clip is the recording's.
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional


def main(argv: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="esc50.csv")
    parser.add_argument("esc10", type=Path, help="the folder of ESC-10")
    parser.add_argument("--out", type=Path, required=True, help="CSV with the rows that are left")
    args = parser.parse_args(argv)
    with open(args.table, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    heard = {path.stem.split("-")[1] for path in args.esc10.rglob("*-*-*.*")}
    heard |= {row["src_file"] for row in rows if row["esc10"] == "True"}
    others = [row for row in rows if row["esc10"] == "False"]
    kept = [row for row in others if row["src_file"] not in heard]
    with open(args.out, "w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    print(f"{args.out}: {len(kept)} of {len(others)} clips; {len(others) - len(kept)} share a recording with ESC-10")
    return 0


if __name__ == "__main__":
    sys.exit(main())
