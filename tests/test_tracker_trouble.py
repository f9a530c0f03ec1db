"""A tracker in every kind of trouble: one line with a way out, after a short time, and local markers count."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import dagshub_stand_in as troubles
import pytest
from conftest import MODEL, done_marker, free_port, small_config, snakemake
from dagshub_stand_in import stand_in
from test_workflow import trainings

from resomap.cells.study import Study
from resomap.cells.tags import Tag, completion
from resomap.config import parse_config
from resomap.config.schema import Tracking
from resomap.core.errors import ResomapError
from resomap.tracking.completed import Completed
from resomap.tracking.rest import TrackerUnavailable, ask, tracking_uri

NOBODY = "http://127.0.0.1:9"

CASES = [
    pytest.param(troubles.silence, "it did not answer within 1 s", id="silent"),
    pytest.param(troubles.drops, "it did not answer within 1 s", id="byte by byte"),
    pytest.param(troubles.half, "its answer broke off; try again later", id="half an answer"),
    pytest.param(troubles.status(200, b"<html>welcome"), "its answer is not MLflow's; check that", id="no JSON"),
    pytest.param(troubles.status(200, [1]), "its answer is not MLflow's; check that", id="other JSON"),
    pytest.param(troubles.status(401), "it wants credentials; set MLFLOW_TRACKING_USERNAME and", id="401"),
    pytest.param(troubles.status(403, {"message": "no"}), "403 Forbidden: no; ask its owner for access", id="403"),
    pytest.param(troubles.status(404), "check that tracking.uri names an MLflow server", id="404"),
    pytest.param(troubles.status(429, Retry_After="30"), "429 Too Many Requests; try again in 30 s", id="429"),
    pytest.param(troubles.status(500), "it has troubles of its own, try again later", id="500"),
    pytest.param(troubles.status(503), "503 Service Unavailable; it has troubles of its own", id="503"),
    pytest.param(
        troubles.status(302, Location="https://elsewhere.example/login?next=x"),
        "pointing to https://elsewhere.example/login, which is not followed",
        id="redirect",
    ),
]


@pytest.fixture(autouse=True)
def _without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DAGSHUB_USER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", "/dev/null")


def refusal(tracking: Tracking) -> str:
    """Return what `ask` says; it must be one line, and in time."""
    began = time.monotonic()
    with pytest.raises(TrackerUnavailable) as caught:
        ask(tracking, "experiments/search", {"max_results": 1})
    assert time.monotonic() - began < tracking.timeout_seconds + 1
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("trouble", "words"), CASES)
def test_each_trouble_is_one_clause_with_a_way_out(trouble: Callable[..., bool], words: str) -> None:
    with stand_in(NOBODY) as server:
        server.trouble = trouble
        assert words in refusal(Tracking(uri=server.uri, timeout_seconds=1))


def test_a_server_that_is_not_there() -> None:
    assert "nothing listens there; start it, or check tracking.uri" in refusal(
        Tracking(uri=f"http://127.0.0.1:{free_port()}")
    )
    assert "it cannot be reached" in refusal(Tracking(uri="https://no-such-host.invalid"))


def test_a_listener_that_speaks_no_http() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def talk() -> None:
            connection, _ = listener.accept()
            connection.recv(1000)
            connection.sendall(b"220 mail ready\r\n\r\n")
            connection.close()

        threading.Thread(target=talk, daemon=True).start()
        said = refusal(Tracking(uri=f"http://127.0.0.1:{listener.getsockname()[1]}"))
    assert "its answer is not HTTP's" in said


def test_credentials_do_not_follow_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "precious-token")
    with stand_in(NOBODY) as elsewhere, stand_in(NOBODY) as server:
        server.trouble = troubles.status(307, Location=f"{elsewhere.uri}/api")
        elsewhere.trouble = troubles.status(200)
        refusal(Tracking(uri=server.uri))
        assert elsewhere.requests == []


def test_what_a_server_echoes_of_the_credentials_is_blotted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "precious-token")
    with stand_in(NOBODY) as server:
        server.trouble = troubles.status(500, {"message": "bad header Bearer precious-token\nand more"})
        said = refusal(Tracking(uri=server.uri))
    assert "precious-token" not in said
    assert "bad header Bearer ***" in said


def test_a_certificate_is_checked_and_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    made += ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    with stand_in(NOBODY) as server:
        server.trouble = troubles.status(200, {"experiments": []})
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        tracking = Tracking(uri=f"https://localhost:{server.server_port}")
        assert "its certificate is not trusted (self" in refusal(tracking)
        with monkeypatch.context() as careless:
            careless.setenv("MLFLOW_TRACKING_INSECURE_TLS", "true")
            assert ask(tracking, "experiments/search", {}) == {"experiments": []}
        monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
        assert ask(tracking, "experiments/search", {}) == {"experiments": []}


@pytest.mark.parametrize("address", ["http://10.0.0.1", "http://mlflow.example.org:5000/", "HTTP://[2001:db8::1]"])
def test_plain_http_to_another_machine_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResomapError, match="in tracking, uri is http:// to another machine") as caught:
        parse_config({"tracking": {"uri": address}})
    assert "allow_http" in str(caught.value)
    allowed = parse_config({"tracking": {"uri": address, "allow_http": True}}).tracking
    assert tracking_uri(allowed) == address.rstrip("/").replace("HTTP:", "http:")
    monkeypatch.setenv("DAGSHUB_CLIENT_HOST", address)
    with pytest.raises(ResomapError, match="where a token would travel unencrypted"):
        tracking_uri(Tracking(dagshub="owner/repo"))


@pytest.mark.parametrize(
    "address", ["http://localhost:5000", "http://127.0.0.1", "http://[::1]:5000", "https://a.example"]
)
def test_loopback_and_https_are_fine(address: str) -> None:
    assert tracking_uri(parse_config({"tracking": {"uri": address}}).tracking) == address


def test_credentials_in_the_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(ResomapError, match="uri holds credentials") as caught:
        parse_config({"tracking": {"uri": "http://me:precious@10.0.0.1"}})
    assert "precious" not in str(caught.value)


def test_planning_goes_on_with_one_line_and_required_stops_it(images: Path, tmp_path: Path) -> None:
    with stand_in(NOBODY) as server:
        config = small_config(images, tracking={"uri": server.uri, "timeout_seconds": 2})
        server.trouble = troubles.drops
        began = time.monotonic()
        listed = snakemake("-n", directory=tmp_path, config=config)
        assert listed.returncode == 0, listed.stderr
        assert trainings(listed.stdout + listed.stderr) == 1
        assert listed.stderr.count(f"the tracker {server.uri} is not asked: it did not answer within 2 s") == 1
        assert "local markers count" in listed.stderr
        assert time.monotonic() - began < 50  # the answer would take a minute
        assert len(server.requests) == 1  # no second question to a server that is in trouble

        server.trouble = troubles.status(401)
        required = {**config, "tracking": {**config["tracking"], "required": True}}
        for words in (["-n"], []):
            stopped = snakemake(*words, directory=tmp_path, config=required)
            assert stopped.returncode != 0
            assert "is required and cannot be used: it answered 401" in stopped.stderr
            assert "Traceback" not in stopped.stderr + stopped.stdout
        assert not (tmp_path / "results" / MODEL).exists()

        server.requests.clear()
        listed = snakemake("-n", "--config", "skip_completed=false", directory=tmp_path, config=config)
        assert listed.returncode == 0, listed.stderr
        assert server.requests == []


def test_what_came_before_the_trouble_counts(study_in: Callable[..., Study]) -> None:
    """The first page of a long answer arrives, the second does not."""
    study = study_in()
    wanted = study.fingerprints()
    [(cell, fingerprint)] = wanted.items()
    tags = {Tag.FINGERPRINT: fingerprint, **completion(done_marker(cell, fingerprint))}
    run = {
        "info": {"run_id": "abc", "status": "FINISHED"},
        "data": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
    }

    def second_page_fails(visit: troubles.Visit) -> bool:
        if "experiments/search" in visit.path:
            return troubles.status(200, {"experiments": [{"experiment_id": "1"}]})(visit)
        if b"page_token" in visit.body:
            return troubles.status(503)(visit)
        return troubles.status(200, {"runs": [run, {"no": "run"}], "next_page_token": "more"})(visit)

    with stand_in(NOBODY) as server:
        server.trouble = second_page_fails
        completed = Completed(Tracking(uri=server.uri), "any", study.base)
        with pytest.raises(TrackerUnavailable, match="503"):
            completed.ask_once()
        completed.ask_once()  # asked once, whatever came of it
        assert len(server.requests) == 3
    marker = completed.markers(wanted, None)[cell]
    assert (marker.run_id, marker.origin) == ("abc", "tracker")
