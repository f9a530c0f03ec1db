"""Replays a journal to MLflow. Sent twice, stopped half-way, killed: the tracker ends up with the same run.

A run is found by its uid before it is created; points carry the journal's times, so a repeated point is stored
once; params that are there already are left alone; the complete tag is written last. Only one process sends a
journal at a time, and what it has sent stands in the receipt beside it.
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
from resomap.tracking.client import connect, experiment_id, find_or_create, is_missing, is_refusal, rival, sweep
from resomap.tracking.credentials import without_secrets
from resomap.tracking.directory_id import place
from resomap.tracking.elsewhere import Elsewhere, note_beside
from resomap.tracking.journal import events_from

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

BATCH = 100  # params or tags a call: the REST interface's limit
POINTS = 1000  # metrics a call, likewise
PARAM_LENGTH, TAG_LENGTH = 6000, 5000
# What an earlier attempt may have left on the run, and what is not true any more once it goes on.
ENDINGS = (Tag.REASON, Tag.SUPERSEDED)


@dataclass(frozen=True)
class Receipt:
    """What the tracker at `uri` has: everything before the byte `offset`, in the run `run_id` of the training `uid`."""

    uri: str
    offset: int = 0
    run_id: str | None = None
    uid: str | None = None
    is_open: bool = False  # the attempt that was sent last has not ended

    @classmethod
    def read(cls, journal: Path) -> "Receipt | None":
        """The receipt of a journal, or None where it has none or the file is damaged."""
        content = read_json(receipt_path(journal))
        try:
            known = {name: content[name] for name in ("uri", "offset", "run_id", "uid")}
            return cls(**known, is_open=bool(content.get("is_open")))
        except (AttributeError, KeyError, TypeError):
            return None


def receipt_path(journal: Path) -> Path:
    """Beside the journal: how far it was sent, and the run's id."""
    return journal.with_suffix(".sent.json")


def sent_run_id(journal: Path) -> str | None:
    """The id that the tracker gave to the journal's run, once it has."""
    receipt = Receipt.read(journal)
    return receipt.run_id if receipt else None


def is_sent(journal: Path, uri: str | None = None) -> bool:
    """Whether the tracker (this one, where one is named) has everything that is in the journal."""
    receipt = Receipt.read(journal)
    if receipt is None or uri not in (None, receipt.uri):
        return False
    return next(events_from(journal, receipt.offset), None) is None


class Busy(Exception):
    """Another process is sending this journal."""


class _RunLost(Exception):
    """The tracker no longer has the run that the receipt names: its database was made anew."""


class Sender:
    """Sends one journal to one experiment of one tracker."""

    def __init__(self, journal: Path, uri: str, experiment: str, say: Callable[[str], None] = print) -> None:
        self._journal = journal
        self._uri = uri
        self._experiment = experiment
        self._say = say
        self._client: MlflowClient | None = None
        self._receipt = Receipt(uri)

    def send(self) -> str | None:
        """Send what is not sent yet; the run's id, or None where the journal is empty.

        Raises Busy where another process is at it, and mlflow.exceptions.MlflowException (or requests' errors)
        where the tracker does not take it.
        """
        with self._alone():
            try:
                self._send_rest()
            except Exception as error:
                if not (isinstance(error, _RunLost) or is_missing(error)) or not self._receipt.offset:
                    raise
                self._say("the tracker does not know the run any more: all of it is sent again")
                self._keep(Receipt(self._uri))
                self._send_rest()
        return self._receipt.run_id

    def look_around(self) -> Elsewhere | None:
        """Another run that counts in place of this one, while this one's attempt lasts; it is also noted on disk.

        Raises what `send` raises.
        """
        receipt = Receipt.read(self._journal)
        if receipt is None or not receipt.is_open or receipt.run_id is None or receipt.uri != self._uri:
            return None
        client = self._connected()
        other = rival(client, client.get_run(receipt.run_id), place())
        if other is not None:
            other.write(note_beside(self._journal))
        return other

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two senders of one journal would not do harm to what is there, but might create a run each."""
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

    def _send_rest(self) -> None:
        events = list(events_from(self._journal, self._receipt.offset))
        ends = [number for number, (event, _) in enumerate(events) if event["kind"] == "end"]
        last_end, number = (ends[-1] if ends else -1), 0
        for group, offset in _groups(events):
            receipt = self._apply(group, is_over=number < last_end)
            number += len(group)
            self._keep(replace(receipt, offset=offset))

    def _keep(self, receipt: Receipt) -> None:
        self._receipt = receipt
        write_json(receipt_path(self._journal), asdict(receipt))

    def _apply(self, group: list[dict[str, Any]], is_over: bool) -> Receipt:
        """Send one group of events; the receipt for it. `is_over`: the attempt's end is in the journal already."""
        event, receipt = group[0], self._receipt
        if event["kind"] == "start":
            run_id = self._start(event, is_over)
            return replace(receipt, run_id=run_id, uid=event["uid"], is_open=True)
        if receipt.run_id is None:
            raise ResomapError(f"{self._journal} does not begin with the start of a run")
        if event["kind"] == "end":
            self._end(receipt.run_id, event)
            return replace(receipt, is_open=False)
        if event["kind"] == "artifact":
            self._tell(artifacts.send_file(self._connected(), receipt.run_id, event))
        elif event["kind"] == "figures":
            self._tell(artifacts.send_figures(self._connected(), receipt.run_id, event))
        else:
            self._values(receipt.run_id, group)
        return receipt

    def _start(self, event: Mapping[str, Any], is_over: bool) -> str:
        from mlflow.entities import Param, RunTag

        client = self._connected()
        experiment = experiment_id(client, self._uri, self._experiment)
        tags = {**event["tags"], Tag.HEARTBEAT: _seconds(event)}
        if base := tags.get(Tag.BASE):
            tags[Tag.PARENT] = sweep(client, experiment, base)

        def create() -> "Run":
            content = {name: value[:TAG_LENGTH] for name, value in tags.items()} | {Tag.UID: event["uid"]}
            return client.create_run(experiment, event["time"], content, event["name"])

        run = find_or_create(client, experiment, Tag.UID, event["uid"], create)
        run_id = str(run.info.run_id)
        if event["uid"] == self._receipt.uid and run_id != self._receipt.run_id:
            raise _RunLost
        # Where the journal holds the end as well, the run may be FINISHED there: it does not become RUNNING again.
        if not is_over and run.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")
        for name in ENDINGS:
            if name in run.data.tags:
                client.delete_tag(run_id, name)
        # Params never change in MLflow: a moved data folder, say, must not stop the journal for ever.
        new = {name: value for name, value in event["params"].items() if name not in run.data.params}
        for params in _parts([Param(name, str(value)[:PARAM_LENGTH]) for name, value in new.items()], BATCH):
            self._bisect(lambda part: client.log_batch(run_id, params=part), params)
        changed = [RunTag(*pair) for pair in tags.items() if run.data.tags.get(pair[0]) != pair[1]]
        for part in _parts(changed, BATCH):
            client.log_batch(run_id, tags=part)
        if event.get("data"):
            self._bisect(lambda part: artifacts.send_data(client, run_id, part[0]), [event["data"]])
        return run_id

    def _values(self, run_id: str, group: list[dict[str, Any]]) -> None:
        from mlflow.entities import Metric, RunTag

        points = [
            Metric(name, value, event["time"], event["step"])
            for event in group
            for name, value in (event["values"] if event["kind"] in ("metrics", "beat") else {}).items()
            if value is not None
        ]
        tags = {Tag.HEARTBEAT: _seconds(group[-1])}
        for part in _parts(points, POINTS):
            self._bisect(lambda some: self._log_points(run_id, some), part)
        self._connected().log_batch(run_id, tags=[RunTag(*pair) for pair in tags.items()])

    def _log_points(self, run_id: str, points: "list[Metric]") -> None:
        self._connected().log_batch(run_id, metrics=points)

    def _end(self, run_id: str, event: Mapping[str, Any]) -> None:
        client = self._connected()
        last = {name: value for name, value in event["tags"].items() if name == Tag.COMPLETE}
        for name, value in event["tags"].items():
            if name not in last:
                client.set_tag(run_id, name, value)
        client.set_terminated(run_id, event["status"], event["time"])
        for name, value in last.items():
            client.set_tag(run_id, name, value)

    def _bisect(self, send: Callable[[list[Any]], object], items: list[Any]) -> None:
        """Send items; those that the server refuses for good are left out, each with a line."""
        try:
            send(items)
        except Exception as error:
            if not is_refusal(error):
                raise
            if len(items) == 1:
                self._say(f"the tracker refuses {_short(items[0])}: {_short(error)}")
                return
            middle = len(items) // 2
            self._bisect(send, items[:middle])
            self._bisect(send, items[middle:])

    def _tell(self, sentence: str | None) -> None:
        if sentence:
            self._say(sentence)

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect(self._uri)
        return self._client


def in_words(error: BaseException) -> str:
    """What went wrong, in one line without credentials."""
    return f"{type(error).__name__}: {_short(error)}"


def _groups(events: Iterable[tuple[dict[str, Any], int]]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Neighbouring events that can be sent in one call, and the offset behind them."""
    waiting: list[dict[str, Any]] = []
    after = 0
    for event, offset in events:
        if event["kind"] in ("metrics", "beat", "tags"):
            waiting.append(event)
            after = offset
            if sum(len(one["values"]) for one in waiting) >= POINTS:
                yield waiting, after
                waiting = []
            continue
        if waiting:
            yield waiting, after
            waiting = []
        yield [event], offset
    if waiting:
        yield waiting, after


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _seconds(event: Mapping[str, Any]) -> str:
    return str(round(event["time"] / 1000))


def _short(value: object) -> str:
    return " ".join(without_secrets(str(value)).split())[:300]
