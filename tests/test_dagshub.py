"""DagsHub as a tracker: its address, its tokens, and a whole cell trained against a stand-in for it.

The stand-in (dagshub_stand_in.py) is in front of a real `mlflow server`; nothing was tried against dagshub.com.
"""

import datetime
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagshub_stand_in as troubles
import pytest
import yaml
from conftest import MODEL, command, small_config, snakemake
from dagshub_stand_in import StandIn, stand_in
from test_workflow import markers, trainings

from resomap.config.schema import Tracking
from resomap.core.files import read_json
from resomap.tracking.credentials import access, credentials
from resomap.tracking.rest import tracking_uri

TOKEN = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "owner/repo"
TRACKING = Tracking(dagshub=REPOSITORY)


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith(("MLFLOW_TRACKING_", "DAGSHUB_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("DAGSHUB_CLIENT_TOKENS_CACHE", str(tmp_path / "no-tokens"))


@pytest.fixture
def dagshub(server: str) -> Iterator[StandIn]:
    with stand_in(server, TOKEN, REPOSITORY) as stand:
        yield stand


def store_tokens(path: Path, host: str, *tokens: dict[str, str]) -> None:
    """The file as `dagshub login` leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"version": "1", host: list(tokens)}))


def token(value: str, kind: str = "app-token", expiry: str = "never") -> dict[str, str]:
    return {"access_token": value, "expiry": expiry, "token_type": kind}


def test_address_and_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri(TRACKING) == "https://dagshub.com/owner/repo.mlflow"
    assert credentials(TRACKING) == {}
    monkeypatch.setenv("DAGSHUB_USER_TOKEN", "secret")
    assert credentials(TRACKING) == {"MLFLOW_TRACKING_USERNAME": "secret", "MLFLOW_TRACKING_PASSWORD": "secret"}
    assert credentials(Tracking(uri="https://elsewhere.example")) == {}
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "mine")  # what a person set wins
    assert credentials(TRACKING) == {}


def test_the_token_that_dagshubs_client_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, host = tmp_path / "tokens", "https://dagshub.com"
    monkeypatch.setenv("DAGSHUB_CLIENT_TOKENS_CACHE", str(path))
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    login = token("login", "bearer", tomorrow.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    store_tokens(path, host, token("ended", "bearer", "2020-01-01T00:00:00.000000Z"), login)
    assert credentials(TRACKING)["MLFLOW_TRACKING_PASSWORD"] == "login"
    store_tokens(path, host, login, token("settings"))
    assert credentials(TRACKING)["MLFLOW_TRACKING_PASSWORD"] == "settings"
    store_tokens(path, "https://another.example", token("settings"))
    assert credentials(TRACKING) == {}
    for damaged in ("a: [", "- list", "version: 2", "", f"{host}: text"):
        path.write_text(damaged)
        assert credentials(TRACKING) == {}


def test_the_file_is_the_one_that_dagshubs_client_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Written by the client itself, in a process of its own with a home of its own."""
    monkeypatch.delenv("DAGSHUB_CLIENT_TOKENS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write = "from dagshub.auth.tokens import TokenStorage; TokenStorage().add_token('stored', skip_validation=True)"
    subprocess.run([sys.executable, "-c", write], check=True, capture_output=True)
    assert credentials(TRACKING)["MLFLOW_TRACKING_PASSWORD"] == "stored"
    assert access(TRACKING, tracking_uri(TRACKING)).source == str(tmp_path / "cache" / "dagshub" / "tokens")


def test_a_netrc_entry_and_mlflows_file_count_as_for_mlflows_client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracking = Tracking(uri="https://mlflow.example.org/place")
    address = "https://mlflow.example.org/place"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert access(tracking, address).source is None
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text(
        "[mlflow]\nmlflow_tracking_username = me\nmlflow_tracking_password = a%%b\n"
    )
    from mlflow.utils.credentials import read_mlflow_creds

    assert read_mlflow_creds() == ("me", "a%b")
    assert access(tracking, address).headers == {"Authorization": "Basic bWU6YSVi"}
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine mlflow.example.org login you password b\n")
    (tmp_path / "netrc").chmod(0o600)
    assert access(tracking, address).headers == {"Authorization": "Basic eW91OmI="}
    assert "eW91" not in repr(access(tracking, address))


@pytest.mark.slow
def test_a_cell_is_trained_there_and_skipped_by_another_copy(dagshub: StandIn, images: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    config = small_config(images, training={"epochs": 1}, experiment="dagshub")
    config["tracking"] = {"dagshub": REPOSITORY, "drain_seconds": 120}
    environment = {"DAGSHUB_CLIENT_HOST": dagshub.uri, "DAGSHUB_USER_TOKEN": TOKEN, "BROWSER": "false"}
    trained = snakemake(directory=first, config=config, **environment)
    assert trained.returncode == 0, trained.stderr
    marker = read_json(first / "results" / MODEL / "32.done")
    assert marker["run_id"], (first / "results" / MODEL / "32.log").read_text()
    assert dagshub.asked("/logged-models") == 0  # what an older server does not have
    assert dagshub.asked("/api/v1/") == 0  # a job neither checks nor creates a repository

    # The second copy has the token from `dagshub login`, the third none at all.
    store_tokens(tmp_path / "tokens", dagshub.uri, token(TOKEN))
    environment = {"DAGSHUB_CLIENT_HOST": dagshub.uri, "DAGSHUB_CLIENT_TOKENS_CACHE": str(tmp_path / "tokens")}
    skipped = snakemake(directory=second, config=config, **environment)
    assert skipped.returncode == 0, skipped.stderr
    assert markers(second) == {f"{MODEL}/32.done"}
    theirs = read_json(second / "results" / MODEL / "32.done")
    assert (theirs["origin"], theirs["run_id"]) == ("tracker", marker["run_id"])
    assert theirs["metrics"] == marker["metrics"]
    third = tmp_path / "third"
    third.mkdir()
    listed = snakemake("-n", directory=third, config=config, DAGSHUB_CLIENT_HOST=dagshub.uri)
    assert listed.returncode == 0
    assert trainings(listed.stdout + listed.stderr) == 1
    assert "it wants credentials; set DAGSHUB_USER_TOKEN or run `dagshub login`" in listed.stderr


def doctor(tmp_path: Path, host: str, **environment: str) -> tuple[int, str]:
    config = tmp_path / "doctor.yaml"
    config.write_text(yaml.safe_dump({"device": "cpu", "tracking": {"dagshub": REPOSITORY}}))
    examined = command(
        "resomap", "doctor", "--configfile", config, cwd=tmp_path, DAGSHUB_CLIENT_HOST=host, **environment
    )
    assert "Traceback" not in examined.stderr + examined.stdout
    assert TOKEN not in examined.stderr + examined.stdout
    return examined.returncode, examined.stdout


def test_the_doctor_says_what_to_type(dagshub: StandIn, tmp_path: Path) -> None:
    code, said = doctor(tmp_path, dagshub.uri)
    assert code == 1
    assert "bad   credentials  none are found" in said
    assert f"run `dagshub login`, or export DAGSHUB_USER_TOKEN=<token> with a token of {dagshub.uri}/user" in said

    code, said = doctor(tmp_path, dagshub.uri, DAGSHUB_USER_TOKEN=TOKEN)
    assert code == 0, said
    assert "ok    credentials  from DAGSHUB_USER_TOKEN" in said
    assert "ok    tracker      runs may be written" in said
    assert f"ok    DagsHub      owner may write to {dagshub.uri}/{REPOSITORY}" in said

    code, said = doctor(tmp_path, dagshub.uri, DAGSHUB_USER_TOKEN="wrong")
    assert code == 1
    assert "it answered 401 Unauthorized: it refuses what DAGSHUB_USER_TOKEN holds" in said
    assert "does not accept the token from DAGSHUB_USER_TOKEN" in said

    dagshub.may_write = False
    code, said = doctor(tmp_path, dagshub.uri, DAGSHUB_USER_TOKEN=TOKEN)
    assert code == 1
    assert "and not write to it" in said
    assert {method for method, path in dagshub.requests if "/api/v1/" in path} == {"GET"}


def test_the_doctor_on_a_missing_repository_creates_none(server: str, tmp_path: Path) -> None:
    with stand_in(server, TOKEN, "owner/other") as dagshub:
        code, said = doctor(tmp_path, dagshub.uri, DAGSHUB_USER_TOKEN=TOKEN)
        assert code == 1
        assert f"there is no repository {REPOSITORY} that this token may see" in said
        assert f"create it at {dagshub.uri}/repo/create" in said
        assert all(method == "GET" for method, path in dagshub.requests if "/api/v1/" in path)


def test_the_doctor_leaves_a_stored_token_alone(dagshub: StandIn, tmp_path: Path) -> None:
    """DagsHub's client deletes a token that an overloaded server did not confirm."""
    path = tmp_path / "tokens"
    store_tokens(path, dagshub.uri, token(TOKEN))
    path.chmod(0o644)
    before = path.read_bytes()
    dagshub.trouble = lambda visit: "/api/v1/" in visit.path and troubles.status(503)(visit)
    code, said = doctor(tmp_path, dagshub.uri, DAGSHUB_CLIENT_TOKENS_CACHE=str(path))
    assert code == 1
    assert "does not accept the token from" in said
    assert f"chmod 600 {path}" in said
    assert path.read_bytes() == before
