"""Credentials for the tracker, from the environment or from the usual files of MLflow and DagsHub.

They go into an HTTP header or a process's environment and nowhere else; `without_secrets` guards what is printed.
Nothing here asks a person, opens a browser or imports MLflow's or DagsHub's client.
"""

import base64
import configparser
import datetime
import netrc
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from resomap.config.schema import Tracking

DAGSHUB = "https://dagshub.com"
IN_ADDRESS = re.compile(r"://[^/\s@'\"]+@")  # user and password of an address, a proxy's for example


@dataclass(frozen=True)
class Access:
    """HTTP header with the credentials, and the source of these, in words for a person."""

    source: str | None  # None: no credentials were found
    headers: dict[str, str] = field(default_factory=dict, repr=False)


def dagshub_host() -> str:
    """Return the URL of the DagsHub server: DAGSHUB_CLIENT_HOST, as for DagsHub's own client, or dagshub.com."""
    return os.environ.get("DAGSHUB_CLIENT_HOST", DAGSHUB).rstrip("/")


def dagshub_token() -> tuple[str, str] | None:
    """Return (token, its source): DAGSHUB_USER_TOKEN, or the token that `dagshub login` stored; None without either."""
    if token := os.environ.get("DAGSHUB_USER_TOKEN"):
        return token, "DAGSHUB_USER_TOKEN"
    token = _stored_token(dagshub_host())
    return (token, str(token_file())) if token else None


def token_file() -> Path:
    """Return the path at which DagsHub's client stores tokens."""
    if own := os.environ.get("DAGSHUB_CLIENT_TOKENS_CACHE"):
        return Path(own)
    if sys.platform == "darwin":
        return Path("~/Library/Caches/dagshub/tokens").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dagshub" / "tokens"


def credentials(tracking: Tracking) -> dict[str, str]:
    """Return environment variables with which the MLflow client authenticates: a DagsHub token as user and password.

    Variables that are set already win. The values go into a process's environment and nowhere else.
    """
    if not tracking.dagshub or "MLFLOW_TRACKING_PASSWORD" in os.environ:
        return {}
    found = dagshub_token()
    return {"MLFLOW_TRACKING_USERNAME": found[0], "MLFLOW_TRACKING_PASSWORD": found[0]} if found else {}


def access(tracking: Tracking, uri: str) -> Access:
    """Return the credentials of a request to the tracker, chosen as MLflow's client chooses them.

    An entry of ~/.netrc for the host wins, then user and password, then MLFLOW_TRACKING_TOKEN.
    """
    entry = _netrc_entry(uri)
    if entry is not None:
        return Access(str(_netrc_path()), _basic(*entry))
    stored = _mlflow_file()
    given = {**stored, **{name: value for name, value in os.environ.items() if value}, **credentials(tracking)}
    user, password = given.get("MLFLOW_TRACKING_USERNAME"), given.get("MLFLOW_TRACKING_PASSWORD")
    if user and password:
        return Access(_source_of_password(tracking), _basic(user, password))
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return Access("MLFLOW_TRACKING_TOKEN", {"Authorization": f"Bearer {token}"})
    return Access(None)


def without_secrets(text: str) -> str:
    """Return the text with every token and password that this process knows replaced by ***, also in base64.

    What stands before the host of an address is replaced as well.
    """
    for secret in sorted(set(_secrets()), key=len, reverse=True):
        text = text.replace(secret, "***")
    return IN_ADDRESS.sub("://***@", text)


def _secrets() -> Iterator[str]:
    known = {**_mlflow_file(), **os.environ}
    passwords = [known.get("MLFLOW_TRACKING_PASSWORD"), known.get("MLFLOW_TRACKING_TOKEN")]
    passwords += [known.get("DAGSHUB_USER_TOKEN"), _stored_token(dagshub_host())]
    pairs = [(known.get("MLFLOW_TRACKING_USERNAME") or "", password) for password in passwords if password]
    pairs += [(password, password) for _, password in pairs]
    pairs += [(login, password) for login, _, password in _netrc().values() if password]
    for user, password in pairs:
        yield password
        yield _basic(user, password)["Authorization"].removeprefix("Basic ")


def _basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def _source_of_password(tracking: Tracking) -> str:
    if "MLFLOW_TRACKING_PASSWORD" in os.environ:
        return "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    found = dagshub_token() if tracking.dagshub else None
    return found[1] if found else str(_mlflow_path())


def _stored_token(host: str) -> str | None:
    """Return the token that DagsHub's client takes: one made in the settings before one of a login, none expired."""
    try:
        content = yaml.safe_load(token_file().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    tokens = content.get(host) if isinstance(content, dict) and str(content.get("version", "1")) == "1" else None
    usable = [token for token in tokens or [] if isinstance(token, dict) and _is_usable(token)]
    usable.sort(key=lambda token: token.get("token_type") != "app-token")
    return str(usable[0]["access_token"]) if usable else None


def _is_usable(token: dict[str, object]) -> bool:
    if not token.get("access_token"):
        return False
    expiry = token.get("expiry")
    if expiry == "never":
        return True
    try:
        end = expiry if isinstance(expiry, datetime.datetime) else datetime.datetime.fromisoformat(str(expiry))
    except ValueError:
        return False
    return end.replace(tzinfo=end.tzinfo or datetime.UTC) > datetime.datetime.now(datetime.UTC)


def _mlflow_path() -> Path:
    return Path("~/.mlflow/credentials").expanduser()


def _mlflow_file() -> dict[str, str]:
    """Return the values of MLflow's credentials file, by the variables that win over it; it writes `%%` for a `%`."""
    parser = configparser.ConfigParser()
    try:
        parser.read(_mlflow_path(), encoding="utf-8")
        return {name.upper(): value for name, value in parser.items("mlflow")}
    except (configparser.Error, UnicodeDecodeError):
        return {}


def _netrc_path() -> Path:
    return Path(os.environ.get("NETRC") or "~/.netrc").expanduser()


def _netrc() -> dict[str, tuple[str, str, str]]:
    try:
        return netrc.netrc(str(_netrc_path())).hosts
    except (OSError, UnicodeDecodeError, netrc.NetrcParseError):
        return {}


def _netrc_entry(uri: str) -> tuple[str, str] | None:
    """Return (login, password) of the host; `default` counts too, as it does for the requests library below MLflow."""
    known = _netrc()
    entry = known.get(urlsplit(uri).hostname or "") or known.get("default")
    return (entry[0] or entry[1], entry[2]) if entry else None
