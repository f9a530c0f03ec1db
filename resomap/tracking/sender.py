"""Sender: replays a journal to MLflow, idempotently. Killed half-way or sent twice, it leaves the same run.

A run is found by its uid before it is created; points carry the journal's times, so a repeated point is stored
once; params that are there already are left alone; the complete tag is written last. Only one process sends a
journal at a time; the receipt beside it holds the offset up to which it was sent.
"""

import fcntl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.cells.study import STATE_DIRECTORY
from resomap.cells.tags import Tag
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.tracking import artifacts
from resomap.tracking.client import (
    competing_run,
    connect,
    experiment_id,
    find_or_create,
    is_missing,
    is_refusal,
    sweep_run_id,
)
from resomap.tracking.credentials import without_secrets
from resomap.tracking.directory_id import directory_id
from resomap.tracking.elsewhere import Elsewhere, note_path_of_journal
from resomap.tracking.journal import events_from

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

MAX_ITEMS = 100  # params or tags a call: the REST interface's limit
MAX_POINTS = 1000  # metrics a call, likewise
MAX_PARAM_LENGTH, MAX_TAG_LENGTH = 6000, 5000
# An earlier attempt may have left them on the run, and they are not true any more once it goes on.
OUTDATED_TAGS = (Tag.REASON, Tag.SUPERSEDED)


@dataclass(frozen=True)
class Receipt:
    """Receipt of a journal: the tracker at `uri` has all before byte `offset`, in run `run_id` of training `uid`."""

    uri: str
    offset: int = 0
    run_id: str | None = None
    uid: str | None = None
    is_open: bool = False  # the attempt that was sent last has not ended

    @classmethod
    def read(cls, journal: Path) -> "Receipt | None":
        """Return the receipt of a journal, or None where it has none or the file is damaged."""
        content = read_json(receipt_path(journal))
        try:
            known = {name: content[name] for name in ("uri", "offset", "run_id", "uid")}
            return cls(**known, is_open=bool(content.get("is_open")))
        except (AttributeError, KeyError, TypeError):
            return None


def receipt_path(journal: Path) -> Path:
    """Return the path of a journal's receipt, beside it."""
    return journal.with_suffix(".sent.json")


def sent_run_id(journal: Path) -> str | None:
    """Return the id that the tracker gave to the journal's run; None where it has not yet."""
    receipt = Receipt.read(journal)
    return receipt.run_id if receipt else None


def is_sent(journal: Path, uri: str | None = None) -> bool:
    """Return True if the tracker (this one, where one is named) has everything that is in the journal."""
    receipt = Receipt.read(journal)
    if receipt is None or uri not in (None, receipt.uri):
        return False
    return next(events_from(journal, receipt.offset), None) is None


class Busy(Exception):
    """Error of a journal that another process is sending."""


class _RunLost(Exception):
    """Error of a tracker that no longer has the run of the receipt: its database was made anew."""


class Sender:
    """Sender of one journal to one experiment of one tracker."""

    def __init__(self, journal: Path, uri: str, experiment: str, say: Callable[[str], None] = print) -> None:
        self._journal = journal
        self._uri = uri
        self._experiment = experiment
        self._say = say
        self._client: MlflowClient | None = None
        self._receipt = Receipt(uri)

    def send(self) -> str | None:
        """Send all events that are not sent yet; return the run's id, or None where the journal is empty.

        Raises Busy where another process is sending it, and mlflow.exceptions.MlflowException (or requests' errors)
        where the tracker does not take it.
        """
        with self._locked():
            try:
                self._send_unsent()
            except Exception as error:
                if not (isinstance(error, _RunLost) or is_missing(error)) or not self._receipt.offset:
                    raise
                self._say("the tracker does not know the run any more: all of it is sent again")
                self._write_receipt(Receipt(self._uri))
                self._send_unsent()
        return self._receipt.run_id

    def find_competing_run(self) -> Elsewhere | None:
        """Return another run that counts in place of this one, while this one's attempt lasts; note it on disk too.

        Raises what `send` raises.
        """
        receipt = Receipt.read(self._journal)
        if receipt is None or not receipt.is_open or receipt.run_id is None or receipt.uri != self._uri:
            return None
        client = self._connected()
        other = competing_run(client, client.get_run(receipt.run_id), directory_id())
        if other is not None:
            other.write(note_path_of_journal(self._journal))
        return other

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the journal's lock: two senders would do no harm to an existing run, but might create one each."""
        path = STATE_DIRECTORY / "locks" / f"{self._journal.parent.name}@{self._journal.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"{self._journal} is being sent by another process") from None
            receipt = Receipt.read(self._journal)
            # Another tracker knows nothing of what the first one got.
            self._receipt = receipt if receipt and receipt.uri == self._uri else Receipt(self._uri)
            yield

    def _send_unsent(self) -> None:
        events = list(events_from(self._journal, self._receipt.offset))
        ends = [number for number, (event, _) in enumerate(events) if event["kind"] == "end"]
        last_end, number = (ends[-1] if ends else -1), 0
        for group, offset in _groups(events):
            receipt = self._send_group(group, is_over=number < last_end)
            number += len(group)
            self._write_receipt(replace(receipt, offset=offset))

    def _write_receipt(self, receipt: Receipt) -> None:
        self._receipt = receipt
        write_json(receipt_path(self._journal), asdict(receipt))

    def _send_group(self, group: list[dict[str, Any]], is_over: bool) -> Receipt:
        """Send one group of events; return its receipt. `is_over`: the attempt's end is in the journal already."""
        event, receipt = group[0], self._receipt
        if event["kind"] == "start":
            run_id = self._send_start(event, is_over)
            return replace(receipt, run_id=run_id, uid=event["uid"], is_open=True)
        if receipt.run_id is None:
            raise ResomapError(f"{self._journal} does not begin with the start of a run")
        if event["kind"] == "end":
            self._send_end(receipt.run_id, event)
            return replace(receipt, is_open=False)
        if event["kind"] == "artifact":
            self._report(artifacts.send_file(self._connected(), receipt.run_id, event))
        elif event["kind"] == "figures":
            self._report(artifacts.send_figures(self._connected(), receipt.run_id, event))
        else:
            self._send_points(receipt.run_id, group)
        return receipt

    def _send_start(self, event: Mapping[str, Any], is_over: bool) -> str:
        from mlflow.entities import Param, RunTag

        client = self._connected()
        experiment = experiment_id(client, self._uri, self._experiment)
        tags = {**event["tags"], Tag.HEARTBEAT: _seconds(event)}
        if base := tags.get(Tag.BASE):
            tags[Tag.PARENT] = sweep_run_id(client, experiment, base)

        def create() -> "Run":
            content = {name: value[:MAX_TAG_LENGTH] for name, value in tags.items()} | {Tag.UID: event["uid"]}
            return client.create_run(experiment, event["time"], content, event["name"])

        run = find_or_create(client, experiment, Tag.UID, event["uid"], create)
        run_id = str(run.info.run_id)
        if event["uid"] == self._receipt.uid and run_id != self._receipt.run_id:
            raise _RunLost
        # Where the journal holds the end as well, the run may be FINISHED there: it does not become RUNNING again.
        if not is_over and run.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")
        for name in OUTDATED_TAGS:
            if name in run.data.tags:
                client.delete_tag(run_id, name)
        # Params never change in MLflow: a moved data folder, say, must not stop the journal for ever.
        new = {name: value for name, value in event["params"].items() if name not in run.data.params}
        for params in _batches([Param(name, str(value)[:MAX_PARAM_LENGTH]) for name, value in new.items()], MAX_ITEMS):
            self._send_by_halves(lambda part: client.log_batch(run_id, params=part), params)
        changed = [RunTag(*pair) for pair in tags.items() if run.data.tags.get(pair[0]) != pair[1]]
        for part in _batches(changed, MAX_ITEMS):
            client.log_batch(run_id, tags=part)
        if event.get("data"):
            self._send_by_halves(lambda part: artifacts.send_data(client, run_id, part[0]), [event["data"]])
        return run_id

    def _send_points(self, run_id: str, group: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric, RunTag

        points = [
            Metric(name, value, event["time"], event["step"])
            for event in group
            for name, value in (event["values"] if event["kind"] in ("metrics", "beat") else {}).items()
            if value is not None
        ]
        tags = {Tag.HEARTBEAT: _seconds(group[-1])}
        for part in _batches(points, MAX_POINTS):
            self._send_by_halves(lambda some: self._log_metrics(run_id, some), part)
        self._connected().log_batch(run_id, tags=[RunTag(*pair) for pair in tags.items()])

    def _log_metrics(self, run_id: str, points: "list[Metric]") -> None:
        self._connected().log_batch(run_id, metrics=points)

    def _send_end(self, run_id: str, event: Mapping[str, Any]) -> None:
        client = self._connected()
        last = {name: value for name, value in event["tags"].items() if name == Tag.COMPLETE}
        for name, value in event["tags"].items():
            if name not in last:
                client.set_tag(run_id, name, value)
        client.set_terminated(run_id, event["status"], event["time"])
        for name, value in last.items():
            client.set_tag(run_id, name, value)

    def _send_by_halves(self, send: Callable[[list[Any]], object], items: list[Any]) -> None:
        """Send items, halving them where the server refuses for good; a single refused one is left out with a line."""
        try:
            send(items)
        except Exception as error:
            if not is_refusal(error):
                raise
            if len(items) == 1:
                self._say(f"the tracker refuses {_shortened(items[0])}: {_shortened(error)}")
                return
            middle = len(items) // 2
            self._send_by_halves(send, items[:middle])
            self._send_by_halves(send, items[middle:])

    def _report(self, sentence: str | None) -> None:
        if sentence:
            self._say(sentence)

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect(self._uri)
        return self._client


def error_text(error: BaseException) -> str:
    """Return an error as one line without credentials."""
    return f"{type(error).__name__}: {_shortened(error)}"


def _groups(events: Iterable[tuple[dict[str, Any], int]]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Yield groups of neighbouring events that can be sent in one call, with the offset behind each."""
    waiting: list[dict[str, Any]] = []
    after = 0
    for event, offset in events:
        if event["kind"] in ("metrics", "beat", "tags"):
            waiting.append(event)
            after = offset
            if sum(len(one["values"]) for one in waiting) >= MAX_POINTS:
                yield waiting, after
                waiting = []
            continue
        if waiting:
            yield waiting, after
            waiting = []
        yield [event], offset
    if waiting:
        yield waiting, after


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _seconds(event: Mapping[str, Any]) -> str:
    return str(round(event["time"] / 1000))


def _shortened(value: object) -> str:
    return " ".join(without_secrets(str(value)).split())[:300]
