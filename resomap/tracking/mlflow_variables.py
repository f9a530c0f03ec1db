"""Environment variables of MLflow's client: which of the user's are kept, and which values hold in every process.

MLflow takes many settings from the environment. Most of them would change what ResoMap promises: asynchronous logging
reports success before anything is sent, a long time-out holds up the end of a training, another address receives the
files. So every variable is removed but those that say how to reach the tracker and its file store.
"""

import os
from collections.abc import MutableMapping

KEPT = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_INSECURE_TLS",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "MLFLOW_TRACKING_CLIENT_CERT_PATH",
    "MLFLOW_WORKSPACE",
)
KEPT_STARTS = ("MLFLOW_S3_", "MLFLOW_BOTO_", "MLFLOW_GCS_", "MLFLOW_KERBEROS_")  # access to file stores
FORCED = {
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # a server may name an hour, and the call would sleep it
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def force_variables(environment: MutableMapping[str, str] = os.environ) -> None:
    """Remove MLflow's variables that are not kept, and set the forced ones. To be called before mlflow is imported."""
    for name in [name for name in environment if name.startswith(("MLFLOW_", "_MLFLOW_"))]:
        if name not in KEPT and not name.startswith(KEPT_STARTS):
            del environment[name]
    environment.update(FORCED)
