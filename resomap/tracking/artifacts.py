"""Artifacts and data set of a run, sent to the tracker: plain files under names without the cell's.

No `log_model` and no registry: not every server has them. A file that cannot be stored for a reason that stays
(the server has no artifact store, or one that only its own machine reaches) is left out with a line; a connection
that broke is raised, and the sender tries again.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.cells.archive import SET_ASIDE
from resomap.core.files import file_digest
from resomap.core.text import printable
from resomap.tracking.client import is_refusal
from resomap.tracking.credentials import without_secrets
from resomap.tracking.refusals import NO_FILES_SERVED, NO_FILES_WORDS, unreachable_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

FIGURES = "figures"  # the directory of artifacts that the pictures stand in
DIGEST_LENGTH = 36  # characters: MLflow's column


class NoFileStore(Exception):
    """Error of a server that takes no files at all, until it is started otherwise; the message is a clause."""


def send_file(client: "MlflowClient", run_id: str, event: Mapping[str, Any]) -> str | None:
    """Store the file of a journal's event; return None, or one sentence that says why it cannot be stored for good.

    Raises mlflow.exceptions.MlflowException or requests' errors where trying again helps.
    """
    path = _find_unchanged(event)
    if path is None:
        return f"{event['path']} is gone or written anew since, so the run does not get it"
    with tempfile.TemporaryDirectory(prefix="resomap-") as directory:
        link = Path(directory, event.get("name", path.name))
        link.symlink_to(path.resolve())
        return _store(client, run_id, link, None)


def send_figures(client: "MlflowClient", run_id: str, event: Mapping[str, Any]) -> str | None:
    """Draw the run's figures and store them; return and raise as `send_file` does."""
    history, predictions = _find_unchanged(event["history"]), _find_unchanged(event["predictions"])
    if history is None or predictions is None:
        return "the figures are not drawn: the files that they show are gone or written anew since"
    try:
        from resomap.tracking.run_figures import draw
    except ImportError as error:
        return f"the figures are not drawn: {error}"
    with tempfile.TemporaryDirectory(prefix="resomap-") as directory:
        drawn, problems = draw(history, predictions, Path(directory))
        for path in drawn:
            if problem := _store(client, run_id, path, FIGURES):
                return "; ".join([*problems, problem])
    return "; ".join(problems) or None


def send_data(client: "MlflowClient", run_id: str, data: Mapping[str, str]) -> None:
    """Log the images that the run saw as MLflow's data-set input. Sent again it stays one input."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    images = Dataset(
        name=data["name"],
        digest=data["digest"][:DIGEST_LENGTH],
        source_type="local",
        source=json.dumps({"uri": data["source"]}),
    )
    client.log_inputs(run_id, [DatasetInput(images, [InputTag("mlflow.data.context", "training")])])


SENT = {"artifact": send_file, "figures": send_figures}  # by kind of event


def why_no_files(client: "MlflowClient", uri: str, run_id: str) -> str | None:
    """Return the clause on why a run of the tracker at `uri` gets no files at all; None where it does."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    location = client.get_run(run_id).info.artifact_uri
    if (reason := unreachable_files(uri, location)) is not None:
        return reason
    try:
        if not location.startswith(("mlflow-artifacts:", "file:", "/")):
            get_artifact_repository(location)
    except (ImportError, MlflowException, ValueError) as error:
        return f"its place for files, {location}, cannot be used from here ({_words(error)}); they stay in results/"
    return None


def _store(client: "MlflowClient", run_id: str, path: Path, directory: str | None) -> str | None:
    """Store one file; return the clause on why the tracker does not take this one.

    Raises NoFileStore where it takes none, and what MLflow's client raises where trying again helps.
    """
    try:
        client.log_artifact(run_id, str(path), directory)
    except Exception as error:
        if _is_passing(error):
            if _serves_no_files(client):
                raise NoFileStore(NO_FILES_SERVED) from None
            raise
        if _is_of_one_file(error):
            return f"the tracker does not store {path.name}: {_words(error)}"
        raise NoFileStore(
            f"its place for files takes none from here ({_words(error)}); they stay in results/"
        ) from None
    return None


def _is_passing(error: Exception) -> bool:
    """Return True where a file may be stored when it is sent again: a broken connection, a server in trouble.

    A store that wants other credentials, or has no such bucket, answers the same for ever. Its client is any of a
    dozen libraries, whose errors are told by their names.
    """
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    if isinstance(error, RequestException):
        status = getattr(error.response, "status_code", None)
        return status is None or status >= 500 or status in (408, 429)
    if isinstance(error, MlflowException):
        return not is_refusal(error)
    return isinstance(error, ConnectionError | TimeoutError) or any(
        word in type(error).__name__ for word in ("Connect", "Timeout", "TooManyRequests", "ServiceUnavailable")
    )


def _is_of_one_file(error: Exception) -> bool:
    """Return True for an answer that need not be the same for the next file: too long, a name that is not allowed."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    if isinstance(error, RequestException):
        return getattr(error.response, "status_code", None) not in (401, 403)
    return isinstance(error, MlflowException)


def _serves_no_files(client: "MlflowClient") -> bool:
    """Return True for a server started with --no-serve-artifacts: it answers 503, as if it were in trouble for now.

    The reason stands in the body of the answer, which the client throws away.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    uri = client.tracking_uri
    if not uri.startswith("http"):
        return False
    asked = {"method": "GET", "params": {"path": ""}, "raise_on_status": False, "max_retries": 0}
    answer = http_request(get_default_host_creds(uri), "/api/2.0/mlflow-artifacts/artifacts", **asked)
    return answer.status_code == 503 and NO_FILES_WORDS in answer.text


def _words(error: Exception) -> str:
    return printable(without_secrets(str(error)))[:300]


def _find_unchanged(file: Mapping[str, str]) -> Path | None:
    """Return the file that the journal means, by its digest, also if it was set aside since; None if it is nowhere."""
    path, wanted = Path(file["path"]), file.get("sha256")
    for candidate in (path, *sorted(path.parent.glob(f"{SET_ASIDE}/*/{path.name}"))):
        if candidate.exists() and wanted in (None, file_digest(candidate)):
            return candidate
    return None
