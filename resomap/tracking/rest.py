"""Tracker of a configuration, and plain REST calls to it from the planning process.

Importing mlflow takes longer than planning the whole grid, so `snakemake -n` asks by HTTP alone. Whatever the server
does, a call ends within its time, and what went wrong is told in one clause with the remedy.

The standard library's client, and not requests, whose import takes 45 ms more. A plan would not feel it (Snakemake
imports requests too), `resomap status` with its 240 ms would, and no code would get shorter: a deadline over a whole
call takes a thread with either, the system's certificates beside certifi's take an adapter of one's own in place of a
context, and what went wrong lies three exceptions deeper.
"""

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from resomap.config.schema import Tracking
from resomap.config.values import is_open_http
from resomap.core.deadline import within
from resomap.core.errors import ResomapError
from resomap.core.text import printable
from resomap.tracking.answers import MAX_BYTES, A, parsed
from resomap.tracking.credentials import access, credentials, dagshub_host, without_secrets
from resomap.tracking.proxy import proxy_for

__all__ = ["TrackerUnavailable", "ask", "credentials", "is_remote", "tracking_uri", "why_unreachable"]

LOCAL_DATABASE = Path("results", "mlflow.db")
LOCAL_ARTIFACTS = Path("results", "mlartifacts")


class TrackerUnavailable(Exception):
    """Error of a tracker that gave no usable answer; the message is a clause that says what it did and what helps.

    `status` is HTTP's, where there was one; `code` is MLflow's own (`RESOURCE_DOES_NOT_EXIST`).
    """

    def __init__(self, text: str, status: int | None = None, code: str | None = None) -> None:
        super().__init__(printable(without_secrets(text)))
        self.status, self.code = status, code


def tracking_uri(tracking: Tracking) -> str:
    """Return the MLflow URI.

    It is absolute for the local database, since MLflow's own default depends on the working directory.
    Raises ResomapError where DAGSHUB_CLIENT_HOST would send a token unencrypted (the schema checks `uri` itself).
    """
    if tracking.dagshub:
        host = dagshub_host()
        if is_open_http(host) and not tracking.allow_http:
            raise ResomapError(
                f"DAGSHUB_CLIENT_HOST is {host}, where a token would travel unencrypted; write https://, or set "
                "tracking.allow_http"
            )
        return f"{host}/{tracking.dagshub}.mlflow"
    if not tracking.uri:
        return f"sqlite:///{LOCAL_DATABASE.resolve()}"
    scheme, _, rest = tracking.uri.partition(":")
    return f"{scheme.lower()}:{rest.rstrip('/')}"


def is_remote(tracking: Tracking) -> bool:
    """Return True if others can write there too; a local database knows nothing that the markers do not."""
    return tracking_uri(tracking).startswith(("http://", "https://"))


def ask(
    tracking: Tracking, path: str, question: Mapping[str, Any] | None = None, seconds: float | None = None
) -> dict[str, Any]:
    """Return the JSON answer of an MLflow REST endpoint (GET, or POST with a question).

    Raises TrackerUnavailable for whatever is not a JSON object with status 200 within `seconds` altogether
    (`tracking.timeout_seconds` where none are given).
    """
    uri, seconds = tracking_uri(tracking), tracking.timeout_seconds if seconds is None else seconds
    auth = access(tracking, uri)
    request = urllib.request.Request(
        f"{uri}/api/2.0/mlflow/{path}",
        data=None if question is None else json.dumps(question).encode(),
        headers={"Content-Type": "application/json", **auth.headers},
    )
    try:
        body = within(seconds, lambda end: _fetch(request, end))
    except _HttpError as http_error:
        raise _unavailable(http_error, tracking, auth.source) from None
    except _TooLong:
        raise TrackerUnavailable(
            f"its answer is longer than {MAX_BYTES >> 20} MB; check that {_config_key(tracking)} is an MLflow server"
        ) from None
    except TimeoutError:
        raise TrackerUnavailable(f"it did not answer within {seconds:g} s{_by_proxy(uri)}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TrackerUnavailable(_connection_problem(error, tracking, uri)) from None
    answer = _decoded(body)
    if not isinstance(answer, dict):
        raise _not_mlflows(tracking)
    return answer


def ask_for(
    kind: type[A],
    tracking: Tracking,
    path: str,
    question: Mapping[str, Any] | None = None,
    seconds: float | None = None,
) -> A:
    """Return the answer of an endpoint in its schema (see `answers`). Raises TrackerUnavailable as `ask` does."""
    answer = parsed(kind, ask(tracking, path, question, seconds))
    if answer is None:
        raise _not_mlflows(tracking)
    return answer


def why_unreachable(tracking: Tracking) -> str | None:
    """Return None where the tracker answers (a local database always does), else one clause that says what it did."""
    if not is_remote(tracking):
        return None
    try:
        ask(tracking, "experiments/search?max_results=1")
    except TrackerUnavailable as error:
        return str(error)
    return None


def _decoded(body: bytes) -> Any:
    """Return decoded JSON; None where it is none, or nested deeper than Python reads."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _not_mlflows(tracking: Tracking) -> TrackerUnavailable:
    return TrackerUnavailable(f"its answer is not MLflow's; check that {_config_key(tracking)} is an MLflow server")


class _HttpError(Exception):
    """HTTP answer with another status than 200."""

    def __init__(self, error: urllib.error.HTTPError) -> None:
        self.status, self.reason, self.headers = error.code, str(error.reason), error.headers
        try:
            content = _decoded(error.read(20_000))
        except (OSError, http.client.HTTPException, ValueError):
            content = None
        content = content if isinstance(content, dict) else {}
        self.code, self.text = str(content.get("error_code") or "") or None, str(content.get("message") or "")[:200]


class _TooLong(Exception):
    """Error of an answer that is longer than any of MLflow's."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Handler that follows no redirect: the library would send our credentials along and turn a POST into a GET."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetch(request: urllib.request.Request, end: float) -> bytes:
    """Return the answer's body. Raises TimeoutError at the time `end` (monotonic)."""
    proxy = proxy_for(request.full_url)
    handlers: list[urllib.request.BaseHandler] = [
        _NoRedirect(),
        urllib.request.ProxyHandler({request.type: proxy.address} if proxy else {}),
    ]
    if request.type == "https":
        handlers.append(urllib.request.HTTPSHandler(context=_tls()))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=max(0.01, end - time.monotonic())) as answer:
            parts: list[bytes] = []
            size = 0
            while part := answer.read1(1 << 20):
                parts.append(part)
                size += len(part)
                if size > MAX_BYTES:
                    raise _TooLong
                if time.monotonic() > end:
                    raise TimeoutError
            body = b"".join(parts)
            length = answer.headers.get("Content-Length") or ""
            if length.isdecimal() and len(body) < int(length):
                raise http.client.IncompleteRead(body)
            return body
    except urllib.error.HTTPError as error:
        raise _HttpError(error) from None


def _tls() -> ssl.SSLContext:
    """Return a TLS context with the system's certificates, certifi's, and those that MLflow's client would take."""
    context = ssl.create_default_context()
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    import certifi

    context.load_verify_locations(certifi.where())
    for variable in ("MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if location := os.environ.get(variable):
            context.load_verify_locations(**{"capath" if Path(location).is_dir() else "cafile": location})
    if client := os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"):
        context.load_cert_chain(client)
    return context


def _unavailable(http_error: _HttpError, tracking: Tracking, source: str | None) -> TrackerUnavailable:
    status, message = http_error.status, f": {http_error.text}" if http_error.text else ""
    answered = f"it answered {status} {http_error.reason}"
    if status in (301, 302, 303, 307, 308):
        location = urlsplit(http_error.headers.get("Location", ""))
        shown = (
            f"{location.scheme}://{location.hostname}{location.path}"
            if location.hostname
            else location.path or "elsewhere"
        )
        text = (
            f"{answered}, pointing to {shown}, which is not followed; check {_config_key(tracking)} and the credentials"
        )
    elif status == 401:
        problem = f"it refuses what {source} holds" if source else "it wants credentials"
        remedy = "DAGSHUB_USER_TOKEN or run `dagshub login`"
        if not tracking.dagshub:
            remedy = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        text = f"{answered}: {problem}; set {remedy}"
    elif status == 403:
        text = f"{answered}{message}; ask its owner for access, or use other credentials than {source or 'none'}"
    elif status == 404 and http_error.code is None:
        text = f"{answered}; check that {_config_key(tracking)} names an MLflow server that you may see"
    elif status == 429:
        wait = http_error.headers.get("Retry-After", "")
        text = f"{answered}; try again {f'in {wait} s' if wait.isdigit() else 'in a while'}"
    elif status == 407:
        text = f"{answered}; the proxy wants credentials, or set no_proxy"
    elif status >= 500:
        text = f"{answered}{message}; it has troubles of its own, try again later"
    else:
        text = f"{answered}{message}"
    if status == 407 or status >= 500:
        text += _by_proxy(tracking_uri(tracking))
    return TrackerUnavailable(text, status, http_error.code)


def _by_proxy(uri: str) -> str:
    proxy = proxy_for(uri)
    return f" (asked by the proxy {proxy})" if proxy else ""


def _connection_problem(error: Exception, tracking: Tracking, uri: str) -> str:
    """Return a clause that explains a connection that failed or broke off."""
    cause = getattr(error, "reason", error)
    if (proxy := proxy_for(uri)) is not None and not isinstance(cause, ssl.SSLError):
        reason = getattr(cause, "strerror", None) or cause
        return (
            f"the proxy {proxy} does not pass it on ({reason}); correct it, or "
            f"export no_proxy={urlsplit(uri).hostname} where the tracker is reached without it"
        )
    if isinstance(cause, TimeoutError):
        return "it did not answer in time"
    if isinstance(cause, ssl.SSLError):
        return (
            f"its certificate is not trusted ({getattr(cause, 'verify_message', '') or cause.reason}); name the right "
            "one in MLFLOW_TRACKING_SERVER_CERT_PATH"
        )
    if isinstance(cause, ConnectionRefusedError):
        return f"nothing listens there; start it, or check {_config_key(tracking)}"
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected | ConnectionResetError):
        return "its answer broke off; try again later"
    if isinstance(error, http.client.HTTPException | ValueError):
        return f"its answer is not HTTP's; check {_config_key(tracking)}"
    reason = getattr(cause, "strerror", None) or cause
    return f"it cannot be reached ({reason}); check {_config_key(tracking)} and the network"


def _config_key(tracking: Tracking) -> str:
    return "tracking.dagshub" if tracking.dagshub else "tracking.uri"
