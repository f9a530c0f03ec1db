"""Which tracker a configuration means, with which credentials, and whether it answers."""

import base64
import os
import urllib.error
import urllib.request
from pathlib import Path

from resomap.config.schema import Tracking

LOCAL_DATABASE = Path("results", "mlflow.db")
LOCAL_ARTIFACTS = Path("results", "mlartifacts")


def tracking_uri(tracking: Tracking) -> str:
    """The MLflow URI: absolute for the local database, since MLflow's own default depends on the working directory."""
    if tracking.dagshub:
        host = os.environ.get("DAGSHUB_CLIENT_HOST", "https://dagshub.com").rstrip("/")
        return f"{host}/{tracking.dagshub}.mlflow"
    return tracking.uri or f"sqlite:///{LOCAL_DATABASE.resolve()}"


def credentials(tracking: Tracking) -> dict[str, str]:
    """Environment variables that let the MLflow client in: a DagsHub token becomes user and password.

    Variables that are set already win. The values go into a process's environment and nowhere else.
    """
    token = os.environ.get("DAGSHUB_USER_TOKEN")
    if not (tracking.dagshub and token) or "MLFLOW_TRACKING_PASSWORD" in os.environ:
        return {}
    return {"MLFLOW_TRACKING_USERNAME": token, "MLFLOW_TRACKING_PASSWORD": token}


def why_unreachable(tracking: Tracking, timeout: float = 3.0) -> str | None:
    """None where the tracker answers (a local database always does), else one clause that says what it did."""
    uri = tracking_uri(tracking)
    if not uri.startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(f"{uri}/api/2.0/mlflow/experiments/search?max_results=1")
    known = {**os.environ, **credentials(tracking)}
    if "MLFLOW_TRACKING_TOKEN" in known:
        request.add_header("Authorization", f"Bearer {known['MLFLOW_TRACKING_TOKEN']}")
    if "MLFLOW_TRACKING_USERNAME" in known:
        pair = f"{known['MLFLOW_TRACKING_USERNAME']}:{known.get('MLFLOW_TRACKING_PASSWORD', '')}"
        request.add_header("Authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=timeout):
            return None
    except urllib.error.HTTPError as error:
        return f"it answered {error.code} {error.reason}"
    except (urllib.error.URLError, OSError, ValueError) as error:
        return f"it does not answer ({getattr(error, 'reason', error)})"
