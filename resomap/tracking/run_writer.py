"""Writer of one run: sends params, tags, points and the end, and asks the tracker for what it was sent.

What the server refuses for good is left out with a line, so that it does not hold up the rest.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from resomap.cells.tags import Tag
from resomap.core.text import printable
from resomap.tracking import artifacts
from resomap.tracking.client import is_deleted, is_refusal
from resomap.tracking.credentials import without_secrets
from resomap.tracking.event_groups import MAX_POINTS, batches
from resomap.tracking.read_back import NotKept, missing_points, require_content

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

MAX_ITEMS = 100  # params or tags a call: the REST interface's limit
MAX_PARAM_LENGTH, MAX_TAG_LENGTH = 6000, 5000


class RunLost(Exception):
    """Error of a tracker that no longer has a run: its database was made anew, or somebody deleted it."""


class RunWriter:
    """Writer of the run `run_id`. Its methods may be called again with the same content: nothing appears twice.

    They raise RunLost where somebody deleted the run, NotKept where the tracker does not give back what it took, and
    what MLflow's client raises.
    """

    def __init__(self, client: "MlflowClient", run_id: str, say: Callable[[str], None]) -> None:
        self._client, self._run_id, self._say = client, run_id, say

    def params_and_tags(
        self, run: "Run", params: Mapping[str, Any], tags: Mapping[str, str], data: Mapping[str, str] | None
    ) -> None:
        """Send what `run` lacks of params and tags, and the data set."""
        from mlflow.entities import Param, RunTag

        # Params never change in MLflow: a moved data folder, say, must not stop the journal for ever.
        new = [
            Param(name, str(value)[:MAX_PARAM_LENGTH]) for name, value in params.items() if name not in run.data.params
        ]
        refused: list[Param] = []
        for part in batches(new, MAX_ITEMS):
            refused += self._by_halves(
                lambda some: self._client.log_batch(self._run_id, params=some, synchronous=True), part
            )
        tags = {name: value[:MAX_TAG_LENGTH] for name, value in tags.items()}
        changed = [RunTag(*pair) for pair in tags.items() if run.data.tags.get(pair[0]) != pair[1]]
        for part in batches(changed, MAX_ITEMS):
            self._client.log_batch(self._run_id, tags=part, synchronous=True)
        if data:
            self._by_halves(lambda part: artifacts.send_data(self._client, self._run_id, part[0]), [data])
        names = [param.key for param in _without(new, refused)]
        require_content(self._client, self._run_id, names, tags)

    def points(self, points: "list[Metric]", heartbeat: str) -> None:
        """Send points of metrics, and the time of the last heartbeat."""
        tags = {Tag.HEARTBEAT: heartbeat}
        refused = self._log(points)
        self._client.set_tag(self._run_id, Tag.HEARTBEAT, heartbeat, synchronous=True)
        require_content(self._client, self._run_id, tags=tags, points=_without(points, refused))

    def end(self, status: str, time: int, tags: Mapping[str, str], points: "list[Metric]") -> None:
        """Send the end of an attempt. `points` are all of the training: those that the run lacks are sent again.

        The complete tag comes last, when the run has them all.
        """
        for name, value in tags.items():
            if name != Tag.COMPLETE:
                self._client.set_tag(self._run_id, name, value, synchronous=True)
        self._client.set_terminated(self._run_id, status, time)
        if missing := missing_points(self._client, self._run_id, points):
            refused = self._log(missing, is_quiet=True)  # which was said when it was sent first
            if lost := _without(missing_points(self._client, self._run_id, missing), refused):
                raise NotKept(f"it took {len(points)} points of metrics and lacks {len(lost)} of them")
        if Tag.COMPLETE in tags:
            self._client.set_tag(self._run_id, Tag.COMPLETE, tags[Tag.COMPLETE], synchronous=True)
        require_content(self._client, self._run_id, tags=tags, status=status)

    def _log(self, points: "list[Metric]", is_quiet: bool = False) -> "list[Metric]":
        """Send points; return those that the tracker refuses for good."""
        refused: list[Metric] = []
        for part in batches(points, MAX_POINTS):
            refused += self._by_halves(
                lambda some: self._client.log_batch(self._run_id, metrics=some, synchronous=True), part, is_quiet
            )
        return refused

    def _by_halves(self, send: Callable[[list[Any]], object], items: list[Any], is_quiet: bool = False) -> list[Any]:
        """Send items, halving them where the server refuses for good; return those refused, each said in a line."""
        try:
            send(items)
        except Exception as error:
            if not is_refusal(error):
                raise
            if is_deleted(self._client, self._run_id):
                raise RunLost("somebody deleted the run there") from None
            if len(items) == 1:
                if not is_quiet:
                    self._say(f"the tracker refuses {shortened(items[0])}: {shortened(error)}")
                return items
            middle = len(items) // 2
            return self._by_halves(send, items[:middle], is_quiet) + self._by_halves(send, items[middle:], is_quiet)
        return []


def shortened(value: object) -> str:
    """Return a value as one short line without credentials."""
    return printable(without_secrets(str(value)))[:300]


def _without(items: list[Any], refused: list[Any]) -> list[Any]:
    """Return the items without the refused ones, which are the same objects."""
    gone = {id(item) for item in refused}
    return [item for item in items if id(item) not in gone]
