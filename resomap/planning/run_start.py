"""Start of a run that executes jobs: stale locks, warnings, the study file of the jobs, unsent journals."""

import atexit
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from resomap.cells import timeline
from resomap.cells.leftovers import STATE_DIRECTORIES, remove_leftovers
from resomap.cells.presence import announce_run, run_name
from resomap.cells.study import Study
from resomap.cells.wanted import WantedList
from resomap.core.fork_client import SOCKET_VARIABLE, offer_fork_server
from resomap.estimates.duration import Durations
from resomap.machine.gpus import visible_gpus
from resomap.machine.mps import offer_mps, withdraw_mps
from resomap.planning import snakemake_locks
from resomap.planning.interruption import interruption
from resomap.planning.slots import Slots
from resomap.planning.snakemake_api import SnakemakeApi
from resomap.tracking.lookup import TrackerLookup
from resomap.tracking.rest import tracking_uri
from resomap.tracking.send_request import remove_abandoned
from resomap.tracking.sync import RESULTS, start_background_sync, unsent
from resomap.tracking.troubles import troubles


class RunStart:
    """Set-up that only a call that runs jobs may do, not a dry run. `path` is the study file that its jobs read."""

    def __init__(self, study: Study, api: SnakemakeApi, tracker: TrackerLookup, path: Path) -> None:
        self._study, self._api, self._tracker, self._path = study, api, tracker, path
        self.wanted = WantedList(path)
        self._presence: IO[str] | None = None  # open while this process lives
        self._sync: subprocess.Popen[bytes] | None = None

    def begin(self, trains_on_gpu: bool, durations: Durations, slots: Slots) -> None:
        """Begin the run: remove stale locks, warn, write the study file, start sending unsent journals.

        Raises ResomapError where a tracker that is required does not answer, or will not take all of a run, and where
        MPS is wanted and cannot be started.
        """
        self._tracker.require()
        withdraw_mps()
        if slots.by_mps:
            atexit.register(offer_mps())
        interruption.run_begins()
        self._api.hear_of_finished_jobs()
        self._presence, alone = snakemake_locks.register_process()
        if alone and (stale := snakemake_locks.remove_stale_locks()):
            print(f"{stale} lock files of a killed snakemake are removed: nobody else works here", file=sys.stderr)
        if self._api.is_local and not trains_on_gpu and self._study.config.device == "auto":
            at_once = "one" if slots.each == 1 else slots.each
            print(f"no GPU is visible: trainings run on the CPU, {at_once} at a time", file=sys.stderr)
        if self._api.is_local:
            for sentence in slots.sentences():
                print(sentence, file=sys.stderr)
        if self._api.is_local and self._api.gpus > 1 and trains_on_gpu:
            self._warn_of_gpu_count()
        remove_leftovers(*STATE_DIRECTORIES, RESULTS)
        remove_abandoned()
        self._study.save(self._path)
        self.wanted.begin()
        announce_run()
        os.environ.pop(SOCKET_VARIABLE, None)
        if self._api.is_local and not trains_on_gpu:
            offer_fork_server(run_name())
        untrained = [cell for cell in self._study.cells() if not cell.marker.exists()]
        cells = {cell.name: [cell.model, cell.resolution, durations.seconds(cell)] for cell in untrained}
        timeline.append(run_name(), "begin", cells=cells)
        atexit.register(_print_troubles, tracking_uri(self._study.config.tracking), time.time(), Path.cwd())
        # What earlier runs left unsent, and on a cluster what nodes without a network write.
        if not self._api.is_local or unsent(tracking_uri(self._study.config.tracking)):
            self._sync = start_background_sync(self._study, self._path)

    def _warn_of_gpu_count(self) -> None:
        """Warn where fewer GPUs are visible, or fewer cores given, than GPUs were asked for."""
        asked, visible, cores = self._api.gpus, len(visible_gpus()), self._api.cores
        if 0 < visible < asked:
            print(f"--resources gpu={asked}, but {visible} GPUs are visible: the other jobs wait", file=sys.stderr)
        if cores < min(asked, visible or asked):
            print(f"--cores {cores} for {asked} GPUs: only {cores} jobs run at a time", file=sys.stderr)


def _print_troubles(uri: str, began: float, directory: Path) -> None:
    """Print what the tracker refuses, as the run's last words: each cell's log tells of itself alone.

    Snakemake has left the working directory by then.
    """
    sys.stdout.flush()
    with contextlib.suppress(OSError), contextlib.chdir(directory):
        for sentence in troubles(uri, began, RESULTS):
            print(f"resomap: {sentence}", file=sys.stderr, flush=True)
