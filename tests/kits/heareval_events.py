"""heareval.predictions.runner for event tasks: `python tests/kits/heareval_events.py TASK_DIR`.

heareval 2021.1.3 sets `fit_loop.current_epoch` before it tests, to find the postprocessing of its best epoch. Lightning
has a setter for that up to 1.5; from 1.6, which heareval asks for, nothing reads what it sets, the test is in the epoch
after the last one, and an event task ends with its number as a KeyError. This gives the setter back.
"""

from heareval.predictions.runner import runner
from pytorch_lightning.loops import FitLoop


def _current_epoch(loop: FitLoop) -> int:
    return loop.epoch_progress.current.completed


def _set_current_epoch(loop: FitLoop, epoch: int) -> None:
    loop.epoch_progress.current.completed = epoch


FitLoop.current_epoch = property(_current_epoch, _set_current_epoch)

if __name__ == "__main__":
    runner()
