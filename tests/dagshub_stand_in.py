"""A stand-in for DagsHub in front of a real `mlflow server`: its address, its check of the token, its failures.

A reverse proxy on the loopback interface. `/{owner}/{repo}.mlflow/...` goes to the MLflow server behind it with the
prefix taken off, as long as the token is right; `/api/v1/user` and `/api/v1/repos/{owner}/{repo}` answer as DagsHub's
API does; `logged-models` is missing, as on its older MLflow; everything that is asked is written down. `trouble`
makes it fail in a chosen way. With no token it is a plain proxy that counts.
"""

import base64
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Trouble = Callable[["Visit"], bool]  # answers by itself and says True, or leaves the request to the server


class Visit(BaseHTTPRequestHandler):
    """One request to the stand-in."""

    protocol_version = "HTTP/1.1"
    server: "StandIn"

    def do_GET(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(size)
        self.server.requests.append((self.command, self.path))
        if self.server.trouble is not None and self.server.trouble(self):
            return
        if self.path.startswith("/api/v1/"):
            self._answer_api()
        elif self.server.token is None:
            self._pass_on(self.path)
        elif not self.path.startswith(f"/{self.server.repository}.mlflow/"):
            self.answer(404, {"message": "Not Found"})
        elif not self._is_let_in():
            self.answer(401, {"message": "Unauthorized"}, {"WWW-Authenticate": 'Basic realm="DagsHub"'})
        elif "logged-models" in self.path:
            self.answer(404, b"unsupported endpoint", {"Content-Type": "text/plain"})
        else:
            self._pass_on(self.path.removeprefix(f"/{self.server.repository}.mlflow"))

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        """A whole answer: bytes as they are, anything else as JSON."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return

    def _is_let_in(self) -> bool:
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            return self.server.token in (user, password)
        return kind.lower() in ("bearer", "token") and value == self.server.token

    def _answer_api(self) -> None:
        owner, _, name = self.server.repository.partition("/")
        user = {"id": 1, "login": owner, "username": owner, "full_name": "", "avatar_url": None}
        user |= {"public_email": None, "website": None, "company": None, "description": None}
        path = urlsplit(self.path).path.rstrip("/")
        if not self._is_let_in():
            self.answer(401, {"message": "Unauthorized"})
        elif self.command != "GET":
            self.answer(405, {"message": "the stand-in creates nothing"})
        elif path == "/api/v1/user":
            self.answer(200, user)
        elif path == f"/api/v1/repos/{self.server.repository}":
            counts = dict.fromkeys(("stars_count", "forks_count", "watchers_count", "open_issues_count", "size"), 0)
            texts = {"description": "", "html_url": self.path, "clone_url": self.path, "default_branch": "main"}
            texts |= {"created_at": "", "updated_at": ""}
            kinds = {"private": True, "fork": False, "empty": False, "mirror": False}
            nothing = {"parent": None, "ssh_url": None, "website": None}
            names = {"id": 2, "owner": user, "name": name, "full_name": self.server.repository}
            rights = {"permissions": {"admin": False, "push": self.server.may_write, "pull": True}}
            self.answer(200, {**names, **counts, **texts, **kinds, **nothing, **rights})
        else:
            self.answer(404, {"message": "Not Found"})

    def _pass_on(self, path: str) -> None:
        self.server.passed_on.append((path, self.body or b""))
        behind = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            unwanted = ("host", "authorization", "connection", "content-length")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in unwanted}
            behind.request(self.command, path, self.body or None, headers)
            given = behind.getresponse()
            content = given.read()
        except OSError:
            self.answer(502, {"message": "Bad Gateway"})
            return
        finally:
            behind.close()
        self.answer(given.status, content, {"Content-Type": given.headers.get("Content-Type") or "text/plain"})


class StandIn(ThreadingHTTPServer):
    """The server; `trouble`, `may_write` and `requests` may be changed and read while it runs."""

    daemon_threads = True

    def __init__(self, upstream: str, token: str | None, repository: str) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.upstream, self.token, self.repository = urlsplit(upstream).netloc, token, repository
        self.trouble: Trouble | None = None
        self.may_write = True
        self.requests: list[tuple[str, str]] = []  # (method, path)
        self.passed_on: list[tuple[str, bytes]] = []  # (path, body)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def asked(self, part: str) -> int:
        """Return how many requests had this in their path."""
        return sum(part in path for _, path in self.requests)


@contextmanager
def stand_in(upstream: str, token: str | None = None, repository: str = "owner/repo") -> Iterator[StandIn]:
    """The stand-in, listening; without a token a plain proxy."""
    with StandIn(upstream, token, repository) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()


def status(code: int, content: Any = None, **headers: str) -> Trouble:
    """Each request gets this status."""

    def trouble(visit: Visit) -> bool:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        visit.answer(code, {} if content is None else content, named)
        return True

    return trouble


def silence(visit: Visit) -> bool:
    """Takes the request and never answers."""
    time.sleep(60)
    visit.close_connection = True
    return True


def drops(visit: Visit) -> bool:
    """A byte now and then: each arrives well within a socket's time-out, all of them never."""
    visit.send_response(200)
    visit.send_header("Content-Length", "100000")
    visit.end_headers()
    try:
        for _ in range(600):
            visit.wfile.write(b" ")
            visit.wfile.flush()
            time.sleep(0.1)
    except OSError:
        visit.close_connection = True
    return True


def half(visit: Visit) -> bool:
    """Promises more than it sends."""
    visit.send_response(200)
    visit.send_header("Content-Length", "1000")
    visit.end_headers()
    visit.wfile.write(b'{"experiments": [')
    visit.wfile.flush()
    visit.close_connection = True
    return True
