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
from resomap.tracking.client import is_refusal
from resomap.tracking.journal import digest

if TYPE_CHECKING:
    from mlflow import MlflowClient

FIGURES = "figures"  # the directory of artifacts that the pictures stand in
DIGEST_LENGTH = 36  # characters: MLflow's column


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
        try:
            drawn = draw(history, predictions, Path(directory))
        except (OSError, ValueError, KeyError) as error:
            return f"the figures are not drawn: {type(error).__name__}: {error}"
        for path in drawn:
            if problem := _store(client, run_id, path, FIGURES):
                return problem
    return None


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


def _store(client: "MlflowClient", run_id: str, path: Path, directory: str | None) -> str | None:
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    try:
        client.log_artifact(run_id, str(path), directory)
    except (RequestException, ConnectionError, TimeoutError):
        raise
    except MlflowException as error:
        if not is_refusal(error):
            raise
        return f"the tracker does not store {path.name}: {str(error)[:200]}"
    except (OSError, ImportError) as error:
        return f"the tracker's place for files cannot be written from here, so it lacks {path.name}: {error}"
    return None


def _find_unchanged(file: Mapping[str, str]) -> Path | None:
    """Return the file that the journal means, by its digest, also if it was set aside since; None if it is nowhere."""
    path, wanted = Path(file["path"]), file.get("sha256")
    for candidate in (path, *sorted(path.parent.glob(f"{SET_ASIDE}/*/{path.name}"))):
        if candidate.exists() and wanted in (None, digest(candidate)):
            return candidate
    return None
