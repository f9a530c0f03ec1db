"""Start time: seconds from the start of a training's process to its first step, with everything in the page cache."""

import time
from pathlib import Path

from resomap.bench.train_process import start_training
from resomap.cells.progress import Progress, progress_path
from resomap.cells.study import Study

POLL_SECONDS = 0.02


def seconds_to_first_step(study: Study, directory: Path, repeats: int) -> list[float]:
    """Return the seconds from the start of the process to the first step of the study's first cell, of each repeat.

    The trainer says that it is about to step when its model is built and its images are mapped.
    """
    cell = study.cells()[0]
    progress = directory / progress_path(cell)
    found = []
    for number in range(repeats + 1):
        progress.unlink(missing_ok=True)
        began = time.monotonic()
        process = start_training(study, directory)
        while Progress.read(progress) is None and process.poll() is None:
            time.sleep(POLL_SECONDS)
        taken = time.monotonic() - began
        process.kill()
        process.wait()
        if number:  # the first reads the libraries from the disk
            found.append(taken)
    return found
