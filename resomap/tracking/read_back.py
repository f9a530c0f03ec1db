"""Check that a tracker gives back what it was sent. A receipt is written only then: an answer 200 proves nothing.

A server behind a proxy, a full disk or a client that logs in the background may all say yes and store nothing.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric


class NotKept(Exception):
    """Error of a tracker that answered yes and does not have what it was sent. The message is a clause."""


def require_content(
    client: "MlflowClient",
    run_id: str,
    params: Iterable[str] = (),
    tags: Mapping[str, str] | None = None,
    points: "Iterable[Metric]" = (),
    status: str | None = None,
) -> None:
    """Ask for a run once; raise NotKept where it lacks a param, a tag with this value, a metric's last point or status.

    Raises what MLflow's client raises where the tracker does not answer.
    """
    run = client.get_run(run_id)
    latest = {metric.key: metric.step for metric in run.data.to_proto().metrics}
    wanted: dict[str, int] = {}
    for point in points:
        wanted[point.key] = max(point.step, wanted.get(point.key, point.step))
    lacking = [name for name in params if name not in run.data.params]
    lacking += [name for name, value in (tags or {}).items() if run.data.tags.get(name) != value]
    lacking += [name for name, step in wanted.items() if latest.get(name, step - 1) < step]
    if status is not None and run.info.status != status:
        lacking.append(f"the status {status}")
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise NotKept(f"it took {lacking[0]}{more} and does not have it; what stands between here and its store?")


def missing_points(client: "MlflowClient", run_id: str, points: "Iterable[Metric]") -> "list[Metric]":
    """Return the points that the run lacks, by name, step and time; one question a metric."""
    wanted: dict[str, list[Metric]] = {}
    for point in points:
        wanted.setdefault(point.key, []).append(point)
    missing = []
    for name, of_name in wanted.items():
        there = {(point.step, point.timestamp) for point in client.get_metric_history(run_id, name)}
        missing += [point for point in of_name if (point.step, point.timestamp) not in there]
    return missing
