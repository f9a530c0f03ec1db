"""An attempt as the tracker will see it: its journal, the request that it be sent, and the wait at the end."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from resomap.cells.tags import Tag
from resomap.compute.device import Device
from resomap.compute.environment import environment
from resomap.core.errors import RunsElsewhere
from resomap.tracking import provenance
from resomap.tracking.directory_id import directory_id
from resomap.tracking.elsewhere import Elsewhere, note_path
from resomap.tracking.journal import Journal
from resomap.tracking.rest import credentials, is_remote, tracking_uri
from resomap.tracking.run_params import flat
from resomap.tracking.send_request import VISIBLE_GPUS, Sending, SendRequest
from resomap.tracking.sender import URI_VARIABLE, is_sent, sent_run_id
from resomap.train.request import Request

REASON_LENGTH = 500  # characters


class TrackedRun:
    """Writes the journal of one attempt, while a process beside the training sends it to the tracker."""

    def __init__(self, request: Request, uid: str, device: Device, content_digest: str, rate: float) -> None:
        self._request, self._rate = request, rate
        self._note = note_path(request.cell)
        self._note.unlink(missing_ok=True)  # of an attempt before this one
        self.journal = Journal(request.cell.beside_marker("journal.jsonl"))
        data = {
            "name": Path(request.study.config.data.source).name or "images",
            "digest": request.study.data_identity,
            "source": request.study.config.data.source,
        }
        tags = self._tags(device, content_digest)
        self.journal.start(uid, request.cell.name, self._params(), tags, data)
        self.journal.artifact(provenance.write_config(request.study, request.cell), "config.yaml")
        self.journal.artifact(
            provenance.write_environment(request.cell, _machine(device, content_digest)), "environment.json"
        )
        self._sending = self._ask_for_sending()

    def elsewhere(self) -> Elsewhere | None:
        """Run that counts in place of this one, once the sender has found one; a look at files."""
        self._sending.look_after()
        return Elsewhere.read(self._note) if self._note.exists() else None

    def keep(self, history: Path, predictions: Path, weights: Path, out_of_fold: Path | None) -> None:
        """Add the files of a finished training to its run, and figures, which the sender draws from them."""
        self.journal.artifact(history, "history.csv")
        self.journal.artifact(predictions, "predictions.npz")
        if out_of_fold is not None:
            self.journal.artifact(out_of_fold, "out-of-fold.npz")
        self.journal.figures(history, predictions)
        if self._request.study.config.tracking.keep_weights:
            self.journal.artifact(weights, "best.pt")

    def close(self, status: str, tags: Mapping[str, str]) -> None:
        """Write the attempt's end; the sender tells the tracker when it can."""
        self.journal.end(status, tags)
        if not self.journal.is_complete:
            self._request.say(f"the disk is full: the tracker will lack the last events of {self.journal.path}")
        self.journal.close()

    def close_after(self, error: BaseException, is_signalled: bool) -> None:
        """Write the end of an attempt that did not finish, with its reason."""
        tags = {Tag.REASON: (str(error) or type(error).__name__)[:REASON_LENGTH]}
        if isinstance(error, RunsElsewhere):
            tags[Tag.SUPERSEDED] = error.run_id
        self.close("KILLED" if is_signalled or isinstance(error, RunsElsewhere) else "FAILED", tags)

    def wait_for_id(self) -> str | None:
        """Wait until all is sent, at most `tracking.drain_seconds`; returns the run's id in the tracker, or None."""
        self._sending.wait(self._request.study.config.tracking.drain_seconds)
        if not is_sent(self.journal.path):
            self._request.say("the tracker does not have everything yet; `resomap sync` sends the rest")
        return sent_run_id(self.journal.path)

    def _params(self) -> dict[str, Any]:
        cell = self._request.cell
        return {
            "model": cell.model,
            "resolution": cell.resolution,
            "seed": cell.seed,
            **({} if cell.fold is None else {"fold": cell.fold}),
            "data.source": self._request.study.config.data.source,
            **flat(self._request.recipe.model_dump()),
            **({"learning_rate.found": self._rate} if self._request.recipe.learning_rate == "auto" else {}),
        }

    def _tags(self, device: Device, content_digest: str) -> dict[str, str]:
        return {
            Tag.BASE: self._request.study.base,
            Tag.FINGERPRINT: self._request.fingerprint,
            Tag.CELL: self._request.cell.name,
            Tag.PLACE: directory_id(),
            Tag.HOST: socket.gethostname(),
            Tag.DEVICE: device.name,
            Tag.ATTEMPT: str(self._request.attempt),
            Tag.CONTENT_DIGEST: content_digest,
            Tag.COMMIT: provenance.git_commit() or "unknown",
        }

    def _ask_for_sending(self) -> Sending:
        config = self._request.study.config
        request = SendRequest(
            journal=str(self.journal.path),
            experiment=config.experiment,
            log=str(self._request.cell.beside_marker("log")),
            trainer=os.getpid(),
            heartbeat_seconds=config.tracking.heartbeat_seconds,
            # In a local database only we write; and who does not want to ask the tracker does not give way to it.
            finds_competing_run=is_remote(config.tracking) and config.skip_completed,
            visible_gpus=os.environ.get(VISIBLE_GPUS),
        )
        variables = {**credentials(config.tracking), URI_VARIABLE: tracking_uri(config.tracking)}
        return Sending(request, {**os.environ, **variables})


def take_over(request: Request, error: RunsElsewhere) -> bool:
    """Write the marker of a run that was finished elsewhere meanwhile; False where it still runs there."""
    other = Elsewhere.read(note_path(request.cell))
    if other is None or other.marker is None or other.run_id != error.run_id:
        return False
    if not other.marker.counts_for(request.cell, request.fingerprint, request.study.content_digest):
        return False
    other.marker.write(request.cell.marker)
    note_path(request.cell).unlink(missing_ok=True)
    request.progress_path.unlink(missing_ok=True)
    request.say(f"{other}: its marker is taken over, and this training ends")
    return True


def _machine(device: Device, content_digest: str) -> dict[str, Any]:
    """Versions and devices as torch knows them, and the digest of the images."""
    found: dict[str, Any] = {**environment(device), "content_digest": content_digest, "cuda": torch.version.cuda}
    if device.is_cuda:
        properties = torch.cuda.get_device_properties(device.torch)
        found["gpu"] = {
            "name": properties.name,
            "memory_bytes": properties.total_memory,
            "capability": f"{properties.major}.{properties.minor}",
            "cudnn": torch.backends.cudnn.version(),
        }
    return found
