"""Check of `tracking.uri`: which addresses of trackers are accepted, and one sentence on why any other is not.

MLflow's client takes anything for an address: a word is a folder, which it refuses or makes only when the first run is
sent, after the training. A sentence never repeats an address that may hold a password.
"""

import re
from urllib.parse import SplitResult, urlsplit

from resomap.config.values import is_open_http

REMOTE = ("http", "https")
LOCAL = "sqlite"
DATABASES = ("postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle")
SECRETS = re.compile(r"(pass\w*|pwd|\w*secret\w*|\w*token\w*|\w*key|auth\w*|sig\w*)(=|%3d)", re.IGNORECASE)
HOST_AND_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?(/\S*)?")
OTHER_WAYS = "write the http(s) address of an MLflow server, or leave it out for results/mlflow.db"


def problem_of(uri: str, allow_http: bool) -> str | None:
    """Return what is wrong with an address, as the end of a sentence that begins with "uri"; None where nothing is."""
    scheme, colon, _ = uri.partition(":")
    scheme = scheme.lower() if colon else ""
    if not uri.isprintable() or (" " in uri and scheme != LOCAL):
        return f"has a blank or a control character in it; {OTHER_WAYS}"
    if scheme in REMOTE:
        return _remote(uri, allow_http)
    if scheme == LOCAL:
        return _local(uri)
    if "@" in uri or SECRETS.search(uri):
        return _holds_credentials(scheme)
    return _other(uri, scheme)


def _remote(uri: str, allow_http: bool) -> str | None:
    try:
        parts: SplitResult | None = urlsplit(uri)
        host = parts and parts.hostname
        port = parts and parts.port
    except ValueError:
        parts, host, port = None, None, None
    if "@" in uri or SECRETS.search(uri):  # also behind a slash, which a password may have
        return _holds_credentials("https")
    if parts is None or not host or port == 0 or "\\" in uri or not HOST_AND_PORT.fullmatch(parts.netloc):
        return "names no host; write it as https://mlflow.example.org or http://localhost:5000"
    if "?" in uri or "#" in uri:
        return (
            "has a `?` or `#` in it, as an address copied from a browser has; write the server's alone: "
            f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        )
    if is_open_http(uri) and not allow_http:
        return "is http:// to another machine, where credentials travel unencrypted; write https://, or set allow_http"
    return None


def _local(uri: str) -> str | None:
    path = uri.partition(":")[2]
    if not uri.startswith(f"{LOCAL}:///") or not path.strip("/") or path.endswith("/") or ":memory:" in path:
        return (
            "names no file of a local database; write sqlite:///results/mlflow.db, with a fourth slash where the path "
            "is absolute"
        )
    if "?" in path:
        return "has a `?` in it, behind which MLflow reads options and no path; name a file without one"
    return None


def _other(uri: str, scheme: str) -> str:
    if scheme == "databricks" or uri.lower().startswith("databricks"):
        return f"is Databricks, which ResoMap does not send to; {OTHER_WAYS}"
    if scheme.partition("+")[0] in DATABASES:
        return (
            f"is a {scheme.partition('+')[0]} database; start `mlflow server --backend-store-uri ...` in front of it, "
            "and write the http(s) address of that"
        )
    if scheme == "file" or (not scheme and uri.startswith((".", "/", "~"))) or uri == "mlruns":
        return f"is a folder, in which MLflow keeps no runs any more; {OTHER_WAYS}"
    if "://" not in uri and HOST_AND_PORT.fullmatch(uri) and (scheme or "." in uri or uri == "localhost"):
        ways = f"https://{uri}" if is_open_http(f"http://{uri}") else f"http://{uri} or https://{uri}"
        return f"is '{uri}', without a scheme; write {ways}"
    return f"is '{uri[:60]}', which is no address of a tracker; {OTHER_WAYS}"


def _holds_credentials(scheme: str) -> str:
    if scheme in REMOTE or scheme == "":
        return "holds credentials; put them into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    return f"holds credentials, and is no address that ResoMap sends to; {OTHER_WAYS}"
