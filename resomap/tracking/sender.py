"""Sender: replays a journal to MLflow, idempotently. Killed half-way or sent twice, it leaves the same run.

A run is found by its uid before it is created; points carry the journal's times, so a repeated point is stored
once; params that are there already are left alone; the complete tag is written last. Only one process sends a
journal at a time; the receipt beside it holds the offset up to which the tracker gave back what it was sent.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.cells.study import STATE_DIRECTORY
from resomap.cells.tags import Tag
from resomap.core.errors import ResomapError
from resomap.core.files import open_own, read_json, write_json
from resomap.core.json_object import known_values
from resomap.tracking import artifacts
from resomap.tracking.client import (
    competing_run,
    connect,
    experiment_id,
    find_or_create,
    is_deleted,
    is_missing,
    is_refusal,
    sweep_run_id,
)
from resomap.tracking.damaged_database import set_aside
from resomap.tracking.directory_id import directory_id
from resomap.tracking.elsewhere import Elsewhere, note_path_of_journal
from resomap.tracking.event_groups import events_of, groups, points_of
from resomap.tracking.journal import events_from, journals
from resomap.tracking.local_database import tells_of_damage
from resomap.tracking.local_store import is_own, noted_uri, portable_uri
from resomap.tracking.read_back import NotKept
from resomap.tracking.refusals import TrackerRefusal
from resomap.tracking.rest import LOCAL_DATABASE
from resomap.tracking.run_writer import MAX_TAG_LENGTH, RunLost, RunWriter, shortened

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

URI_VARIABLE = "RESOMAP_TRACKING_URI"  # for the sender process: anybody may read a command line, only we this
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
    trouble: str | None = None  # why the tracker did not take what follows, when it was tried last
    is_lasting: bool = False  # and that it will refuse until somebody mends it
    files_kept_here: str | None = None  # why the tracker does not get files

    @classmethod
    def read(cls, journal: Path) -> "Receipt | None":
        """Return the receipt of a journal, or None where it has none, or a damaged one, or that of a longer journal."""
        known = known_values(cls, read_json(receipt_path(journal)))
        if known is None or not 0 <= known.get("offset", 0) <= _size(journal):
            return None
        return cls(**{**known, "uri": noted_uri(known["uri"])})


def _size(journal: Path) -> int:
    try:
        return journal.stat().st_size
    except OSError:
        return 0


def receipt_path(journal: Path) -> Path:
    """Return the path of a journal's receipt, beside it."""
    return journal.with_suffix(".sent.json")


def forget_receipt(journal: Path) -> None:
    """Have the journal sent from its beginning; a run that the tracker has all the same stays one run."""
    receipt_path(journal).unlink(missing_ok=True)


def renew_receipt(journal: Path) -> None:
    """Take the place of the study's own database out of a receipt of an earlier version. Raises OSError."""
    content, receipt = read_json(receipt_path(journal)), Receipt.read(journal)
    if receipt is not None and content["uri"] != receipt.uri:
        write_json(receipt_path(journal), content | {"uri": receipt.uri})


def replace_damaged_database(say: Callable[[str], None]) -> None:
    """Set the study's own database aside where it is damaged, and have all journals sent to a new one."""
    if (kept := set_aside(LOCAL_DATABASE)) is None:
        return
    say(f"{LOCAL_DATABASE} is damaged: it is set aside as {kept}, and written anew from the journals")
    for journal in journals(LOCAL_DATABASE.parent):
        forget_receipt(journal)


def sent_run_id(journal: Path) -> str | None:
    """Return the id that the tracker gave to the journal's run; None where it has not yet."""
    receipt = Receipt.read(journal)
    return receipt.run_id if receipt else None


def is_sent(journal: Path, uri: str | None = None) -> bool:
    """Return True if the tracker (this one, where one is named) has everything that is in the journal."""
    receipt = Receipt.read(journal)
    if receipt is None or (uri is not None and portable_uri(uri) != receipt.uri):
        return False
    return next(events_from(journal, receipt.offset), None) is None


class Busy(Exception):
    """Error of a journal that another process is sending."""


class Sender:
    """Sender of one journal to one experiment of one tracker."""

    def __init__(self, journal: Path, uri: str, experiment: str, say: Callable[[str], None] = print) -> None:
        self._journal = journal
        self._uri = uri
        self._experiment = experiment
        self._say = say
        self._client: MlflowClient | None = None
        self._files_run: str | None = None  # whose place for files has been looked at
        self._files_kept_here: str | None = None
        self._noted_uri = portable_uri(uri)  # as the receipt has it
        self._receipt = Receipt(self._noted_uri)

    def send(self) -> str | None:
        """Send all events that are not sent yet; return the run's id, or None where the journal is empty.

        Raises Busy where another process is sending it, TrackerRefusal where the tracker will not take it before
        somebody mends something, and mlflow.exceptions.MlflowException (or requests' errors) where it fails. The
        receipt keeps what went wrong, for the end of the run.
        """
        with self._locked():
            try:
                try:
                    self._send_or_begin_anew()
                except Exception as error:
                    if not self._is_database_replaced(error):
                        raise
                    self._send_or_begin_anew()
            except Exception as error:
                self._keep_trouble(error)
                raise
        return self._receipt.run_id

    def _is_database_replaced(self, error: Exception) -> bool:
        """Set the study's own database aside where it is damaged; return True if all is to be sent to a new one."""
        if not is_own(self._uri) or not tells_of_damage(error):
            return False
        replace_damaged_database(self._say)
        self._receipt = Receipt(self._noted_uri)
        self._client = None
        return True

    def _send_or_begin_anew(self) -> None:
        try:
            self._send_unsent()
        except Exception as error:
            if not self._receipt.offset or not self._is_run_lost(error):
                raise
            self._say("the tracker does not have the run any more: all of it is sent again")
            self._write_receipt(Receipt(self._noted_uri))
            self._send_unsent()

    def _is_run_lost(self, error: Exception) -> bool:
        """Return True if the run of the receipt is gone: its database was made anew, or somebody deleted it."""
        if isinstance(error, RunLost) or is_missing(error):
            return True
        run_id = self._receipt.run_id
        return is_refusal(error) and run_id is not None and is_deleted(self._connected(), run_id)

    def _keep_trouble(self, error: Exception) -> None:
        trouble = error_text(error)
        is_lasting = isinstance(error, TrackerRefusal)
        if (trouble, is_lasting) != (self._receipt.trouble, self._receipt.is_lasting):
            with suppress(OSError):  # a full disk: what is raised is the trouble itself
                self._write_receipt(replace(self._receipt, trouble=trouble, is_lasting=is_lasting))

    def find_competing_run(self) -> Elsewhere | None:
        """Return another run that counts in place of this one, while this one's attempt lasts; note it on disk too.

        Raises what `send` raises.
        """
        receipt = Receipt.read(self._journal)
        if receipt is None or not receipt.is_open or receipt.run_id is None or receipt.uri != self._noted_uri:
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
        with os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"{self._journal} is being sent by another process") from None
            receipt = Receipt.read(self._journal)
            # Another tracker knows nothing of what the first one got.
            self._receipt = receipt if receipt and receipt.uri == self._noted_uri else Receipt(self._noted_uri)
            yield

    def _send_unsent(self) -> None:
        events = list(events_from(self._journal, self._receipt.offset))
        ends = [number for number, (event, _) in enumerate(events) if event["kind"] == "end"]
        last_end, number = (ends[-1] if ends else -1), 0
        for group, offset in groups(events):
            receipt = self._send_group(group, offset, is_over=number < last_end)
            number += len(group)
            self._write_receipt(replace(receipt, offset=offset, trouble=None, is_lasting=False))

    def _write_receipt(self, receipt: Receipt) -> None:
        self._receipt = receipt
        write_json(receipt_path(self._journal), asdict(receipt))

    def _send_group(self, group: list[dict[str, Any]], offset: int, is_over: bool) -> Receipt:
        """Send one group of events, which ends at a byte offset; return its receipt.

        `is_over`: the attempt's end is in the journal already.
        """
        event, receipt = group[0], self._receipt
        if event["kind"] == "start":
            run_id = self._send_start(event, is_over)
            return replace(receipt, run_id=run_id, uid=event["uid"], is_open=True)
        if receipt.run_id is None:
            raise ResomapError(f"{self._journal} does not begin with the start of a run")
        if event["kind"] == "end":
            points = points_of(events_of(self._journal, receipt.uid, offset))
            self._writer(receipt.run_id).end(event["status"], event["time"], event["tags"], points)
            return replace(receipt, is_open=False)
        if event["kind"] in artifacts.SENT:
            return replace(receipt, files_kept_here=self._send_files(receipt.run_id, event))
        self._writer(receipt.run_id).points(points_of(group), _seconds(group[-1]))
        return receipt

    def _send_files(self, run_id: str, event: Mapping[str, Any]) -> str | None:
        """Send the files of an event; return the clause on why the run gets no files at all, which is said once."""
        if self._files_run != run_id:
            self._files_run = run_id
            self._files_kept_here = artifacts.why_no_files(self._connected(), self._uri, run_id)
            self._report(self._files_kept_here and f"the tracker {self._uri} gets no files: {self._files_kept_here}")
        if self._files_kept_here is None:
            try:
                self._report(artifacts.SENT[event["kind"]](self._connected(), run_id, event))
            except artifacts.NoFileStore as error:
                self._files_kept_here = str(error)
                self._report(f"the tracker {self._uri} gets no files: {error}")
        return self._files_kept_here

    def _send_start(self, event: Mapping[str, Any], is_over: bool) -> str:
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
            raise RunLost
        # Where the journal holds the end as well, the run may be FINISHED there: it does not become RUNNING again.
        if not is_over and run.info.status != "RUNNING":
            client.update_run(run_id, status="RUNNING")
        for name in OUTDATED_TAGS:
            if name in run.data.tags:
                client.delete_tag(run_id, name)
        self._writer(run_id).params_and_tags(run, event["params"], tags, event.get("data"))
        return run_id

    def _report(self, sentence: str | None) -> None:
        if sentence:
            self._say(sentence)

    def _writer(self, run_id: str) -> RunWriter:
        return RunWriter(self._connected(), run_id, self._say)

    def _connected(self) -> "MlflowClient":
        if self._client is None:
            self._client = connect(self._uri)
        return self._client


def error_text(error: BaseException) -> str:
    """Return an error as one line without credentials; a clause of our own without the name of its class."""
    words = shortened(error)
    return words if isinstance(error, TrackerRefusal | NotKept) else f"{type(error).__name__}: {words}"


def _seconds(event: Mapping[str, Any]) -> str:
    return str(round(event["time"] / 1000))
