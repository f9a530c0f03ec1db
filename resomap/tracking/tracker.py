"""Which tracker a configuration means, with which credentials, and the plain REST calls of the planning process.

Importing mlflow takes longer than planning the whole grid, so `snakemake -n` asks by HTTP alone.
"""

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resomap.config.schema import Tracking

LOCAL_DATABASE = Path("results", "mlflow.db")
LOCAL_ARTIFACTS = Path("results", "mlartifacts")
TIMEOUT = 3.0  # seconds a call: planning must not hang on a server that does


class TrackerUnavailable(Exception):
    """The tracker did not give a usable answer; the message is a clause that says what it did."""


def tracking_uri(tracking: Tracking) -> str:
    """The MLflow URI: absolute for the local database, since MLflow's own default depends on the working directory."""
    if tracking.dagshub:
        host = os.environ.get("DAGSHUB_CLIENT_HOST", "https://dagshub.com").rstrip("/")
        return f"{host}/{tracking.dagshub}.mlflow"
    return tracking.uri or f"sqlite:///{LOCAL_DATABASE.resolve()}"


def is_remote(tracking: Tracking) -> bool:
    """Whether others can write there too; a local database knows nothing that the markers do not."""
    return tracking_uri(tracking).startswith(("http://", "https://"))


def credentials(tracking: Tracking) -> dict[str, str]:
    """Environment variables that let the MLflow client in: a DagsHub token becomes user and password.

    Variables that are set already win. The values go into a process's environment and nowhere else.
    """
    token = os.environ.get("DAGSHUB_USER_TOKEN")
    if not (tracking.dagshub and token) or "MLFLOW_TRACKING_PASSWORD" in os.environ:
        return {}
    return {"MLFLOW_TRACKING_USERNAME": token, "MLFLOW_TRACKING_PASSWORD": token}


def ask(tracking: Tracking, path: str, question: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON answer of an MLflow REST endpoint (GET, or POST with a question).

    Raises TrackerUnavailable for whatever is not a JSON object with status 200 within TIMEOUT seconds.
    """
    request = urllib.request.Request(
        f"{tracking_uri(tracking)}/api/2.0/mlflow/{path}",
        data=None if question is None else json.dumps(question).encode(),
        headers={"Content-Type": "application/json", **_authorization(tracking)},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        raise TrackerUnavailable(f"it answered {error.code} {error.reason}") from None
    except (ValueError, OSError) as error:
        # A refused or hanging connection, half an answer, or something that is not JSON.
        raise TrackerUnavailable(f"it does not answer properly ({getattr(error, 'reason', error)})") from None
    if not isinstance(answer, dict):
        raise TrackerUnavailable("its answer is not MLflow's")
    return answer


def why_unreachable(tracking: Tracking) -> str | None:
    """None where the tracker answers (a local database always does), else one clause that says what it did."""
    if not is_remote(tracking):
        return None
    try:
        ask(tracking, "experiments/search?max_results=1")
    except TrackerUnavailable as error:
        return str(error)
    return None


def _authorization(tracking: Tracking) -> dict[str, str]:
    known = {**os.environ, **credentials(tracking)}
    if "MLFLOW_TRACKING_USERNAME" in known:  # wins over a token, as in MLflow's client
        pair = f"{known['MLFLOW_TRACKING_USERNAME']}:{known.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    if "MLFLOW_TRACKING_TOKEN" in known:
        return {"Authorization": f"Bearer {known['MLFLOW_TRACKING_TOKEN']}"}
    return {}
