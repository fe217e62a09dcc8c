"""Seconds from a command to its first update, with the demo recipe, minus those of fairseq's own import:
`python -m benchmarks startup`.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.packs import BUILD, make_loose
from benchmarks.timing import Row, in_turns

HERE = Path(__file__).resolve().parents[1]
CLIPS, ROUNDS = 40, 3


def to_first_update(data: Path, run_dir: str) -> float:
    """Start a pretraining and stop it after its first update; returns the seconds until the update is logged.

    Raises:
        RuntimeError: it ended before.
    """
    command = [sys.executable, "-W", "ignore", "-m", "fairseq_cli.hydra_train", "--config-dir", "config/pretraining"]
    command += ["--config-name", "demo", f"task.data={data}", f"hydra.run.dir={run_dir}"]
    command += ["common.log_interval=1", "checkpoint.no_save=true"]
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            if "[train_inner]" in line:
                seconds = time.perf_counter() - start
                process.kill()
                return seconds
    raise RuntimeError(f"expected a first update of {' '.join(command)}, found that it ended with {process.returncode}")


def rows() -> list[Row]:
    updates: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        make_loose(Path(name), CLIPS, 32000, 2.0, "wav")
        data = Path(name) / "data"
        build = [*BUILD, "folder", f"{name}/audio", "--out", str(data)]
        subprocess.run(build, check=True, capture_output=True)

        def ours() -> None:
            updates.append(to_first_update(data, f"{name}/run{len(updates)}"))

        def theirs() -> None:
            subprocess.run([sys.executable, "-W", "ignore", "-c", "import fairseq"], check=True, capture_output=True)

        imports = in_turns({"ours": ours, "theirs": theirs}, ROUNDS)["theirs"]
    first, imported = statistics.median(updates[1:]), statistics.median(imports)
    return [
        Row(
            "start to the first update, demo recipe: seconds above the import",
            "import fairseq",
            f"{first:.1f} s",
            f"{imported:.1f} s",
            first - imported,
            "at most 3",
            "the ratio column has the seconds above the import; the update itself, of 16 clips, is in them",
        )
    ]
