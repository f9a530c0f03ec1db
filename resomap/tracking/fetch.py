"""The step `fetch`: downloads the files of a run, for a cell known only from the tracker.

A file that the run does not have is not available; no cell is trained for it.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from resomap.cells import archive
from resomap.cells.cell import Cell
from resomap.cells.evaluation_record import predictions_path
from resomap.cells.fetch_record import SCHEMA, record_path
from resomap.cells.leftovers import remove_leftovers
from resomap.cells.lock import cell_lock
from resomap.cells.marker import Marker, require_done
from resomap.cells.out_of_fold import OutOfFold, out_of_fold_path
from resomap.cells.predictions import EVALUATED, Predictions
from resomap.cells.study import Study
from resomap.cells.winner_cell import JUDGED_BY, Winner
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, sync_directory, write_json
from resomap.core.temporary import temporary_beside
from resomap.tracking import provenance
from resomap.tracking.client import connect, is_missing
from resomap.tracking.refusals import TrackerRefusal, unreachable_files
from resomap.tracking.rest import credentials, tracking_uri
from resomap.tracking.sender import error_text

if TYPE_CHECKING:
    from mlflow import MlflowClient

NO_SUCH_FILE = "the run does not have it"


def fetch_cell(study: Study, cell: Cell, say: Callable[[str], None]) -> None:
    """Download the files of the run that the cell's marker names, and write the fetch record.

    Raises ResomapError where the cell is not done.
    """
    with cell_lock(cell, say):
        remove_leftovers(cell.marker.parent, cell.checkpoints)
        marker = require_done(study, cell)
        if not marker.is_from_tracker:
            raise ResomapError(f"{cell.name} was trained here: all that its run has is here, there is nothing to fetch")
        _Fetch(study, cell, marker, say).run()


class _Fetch:
    """One call of the step."""

    def __init__(self, study: Study, cell: Cell, marker: Marker, say: Callable[[str], None]) -> None:
        self._study, self._cell, self._marker, self._say = study, cell, marker, say
        self._run_id = str(marker.run_id)  # which a marker from the tracker has
        # By artifact: its path here, and the test whether a file is of the marker's training; any config.yaml counts.
        self._wanted: dict[str, tuple[Path, Callable[[Path], bool]]] = {
            "predictions.npz": (predictions_path(cell), self._are_predictions_of_training),
            **({} if cell.fold is None else {"out-of-fold.npz": (out_of_fold_path(cell), self._are_out_of_fold)}),
            "history.csv": (cell.history, lambda path: path.read_text().startswith("epoch,")),
            "config.yaml": (provenance.config_path(cell), lambda _: True),
            "environment.json": (provenance.environment_path(cell), lambda path: read_json(path) is not None),
            "best.pt": (cell.checkpoints / "best.pt", self._are_weights_of_training),
        }

    def run(self) -> None:
        """Fetch the files and write the record."""
        fetched: dict[str, str | None] = dict.fromkeys(self._wanted)
        unavailable: dict[str, str] = {}
        is_final = True
        try:
            names = self._artifact_names()
            for name in self._wanted:
                reason = self._fetch_file(name) if name in names else NO_SUCH_FILE
                if reason is None:
                    fetched[name] = str(self._wanted[name][0])
                else:
                    unavailable[name] = reason
        except Exception as error:  # a tracker fails in many ways; the next call asks again
            is_final, problem = _verdict(error)
            unavailable |= {
                name: problem for name, target in fetched.items() if target is None and name not in unavailable
            }
        for name, reason in unavailable.items():
            self._say(f"{self._cell.name}: {name} is not available: {reason}")
        content = {
            "schema": SCHEMA,
            "cell": self._cell.name,
            "fingerprint": self._marker.fingerprint,
            "uid": self._marker.uid,
            "run_id": self._marker.run_id,
            "files": fetched,
            "unavailable": unavailable,
            "is_final": is_final,
        }
        write_json(record_path(self._cell), content)

    def _artifact_names(self) -> set[str]:
        os.environ.update(credentials(self._study.config.tracking))
        uri = tracking_uri(self._study.config.tracking)
        self._client: MlflowClient = connect(uri)
        # Such a path is one of this machine's own disk: whatever lies there is not the run's.
        if reason := unreachable_files(uri, self._client.get_run(self._run_id).info.artifact_uri):
            raise TrackerRefusal(reason)
        return {item.path for item in self._client.list_artifacts(self._run_id)}

    def _fetch_file(self, name: str) -> str | None:
        """Download one file to its path; return None, or the reason why it is not there."""
        target, _ = self._wanted[name]
        directory = temporary_beside(target)
        directory.mkdir(parents=True)
        try:
            return self._download(name, directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _download(self, name: str, directory: Path) -> str | None:
        target, is_of_training = self._wanted[name]
        path = Path(self._client.download_artifacts(self._run_id, name, str(directory)))
        try:
            is_valid = is_of_training(path)
        except (OSError, UnicodeDecodeError):
            is_valid = False
        if not is_valid:
            return "what the run has under this name is damaged or of another training"
        if name == "best.pt":
            archive.activate_for(self._cell, self._marker)
        os.replace(path, target)
        sync_directory(target.parent)
        return None

    def _are_predictions_of_training(self, path: Path) -> bool:
        found = Predictions.load(path, JUDGED_BY if isinstance(self._cell, Winner) else EVALUATED)
        return found is not None and self._marker.is_of(found.fingerprint, found.uid)

    def _are_out_of_fold(self, path: Path) -> bool:
        found = OutOfFold.load(path)
        return found is not None and self._marker.is_of(found.fingerprint, found.uid)

    def _are_weights_of_training(self, path: Path) -> bool:
        from resomap.compute.checkpoint import DamagedCheckpoint, load_sealed

        try:
            content = load_sealed(path)
        except DamagedCheckpoint:
            return False
        return self._marker.is_of(content.get("fingerprint"), content.get("uid"))


def _verdict(error: Exception) -> tuple[bool, str]:
    """Return True if asking again is of no use, and the reason why the files are not available."""
    if is_missing(error):
        return True, "the tracker has no such run any more"
    if isinstance(error, TrackerRefusal):
        return True, f"of the tracker: {error}"
    return False, f"it did not come: {error_text(error)}"
