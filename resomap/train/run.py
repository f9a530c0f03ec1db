"""An attempt as the tracker will see it: journal, sender process, and the wait at the end."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resomap.tracking.journal import Journal
from resomap.tracking.sender import sent_run_id
from resomap.tracking.tracker import credentials, tracking_uri
from resomap.train.device import Device
from resomap.train.request import Request


def host() -> str:
    """This machine's name, as tags and progress files carry it."""
    return os.uname().nodename


class Run:
    """Writes the journal of one attempt and keeps a sender beside it."""

    def __init__(self, request: Request, uid: str, device: Device, content_digest: str) -> None:
        self._request = request
        self.journal = Journal(request.cell.beside_marker("journal.jsonl"))
        self.journal.start(uid, request.cell.name, self._params(), self._tags(device, content_digest))
        self._sender = self._start_sender()

    def close(self, status: str, tags: Mapping[str, str]) -> None:
        """Write the attempt's end; the sender tells the tracker when it can."""
        self.journal.end(status, tags)
        self.journal.close()

    def wait_for_id(self) -> str | None:
        """The run's id in the tracker, waiting at most `tracking.drain_seconds` for what is unsent; None without."""
        try:
            self._sender.wait(self._request.study.config.tracking.drain_seconds)
        except subprocess.TimeoutExpired:
            self._sender.terminate()
            self._request.say("the tracker does not have everything yet; `resomap sync` sends the rest")
        return sent_run_id(self.journal.path)

    def _params(self) -> dict[str, Any]:
        cell = self._request.cell
        return {
            "model": cell.model,
            "resolution": cell.resolution,
            "seed": cell.seed,
            "data.source": self._request.study.config.data.source,
            **_flat(self._request.recipe.model_dump()),
        }

    def _tags(self, device: Device, content_digest: str) -> dict[str, str]:
        return {
            "resomap.base": self._request.study.base,
            "resomap.fingerprint": self._request.fingerprint,
            "resomap.cell": self._request.cell.name,
            "resomap.host": host(),
            "resomap.device": device.name,
            "resomap.attempt": str(self._request.attempt),
            "resomap.content_digest": content_digest,
            "resomap.heartbeat": str(round(time.time())),
            "mlflow.source.git.commit": git_commit() or "unknown",
        }

    def _start_sender(self) -> "subprocess.Popen[bytes]":
        config = self._request.study.config
        command = [sys.executable, "-m", "resomap.tracking.sender", str(self.journal.path)]
        command += ["--uri", tracking_uri(config.tracking), "--experiment", config.experiment]
        command += ["--parent", str(os.getpid())]
        # A session of its own: a signal to the trainer's group must not cut off the last words to the tracker.
        return subprocess.Popen(
            command,
            env={**os.environ, **credentials(config.tracking)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


def git_commit() -> str | None:
    """The commit of the checkout that trains, where there is one; read from .git without calling git."""
    git = Path(__file__).resolve().parents[2] / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        return head if not head.startswith("ref: ") else (git / head.removeprefix("ref: ")).read_text().strip()
    except OSError:
        return None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
