"""Addresses of trackers: each is accepted and used, or refused in one sentence while the grid is planned."""

import json
from pathlib import Path

import pytest
from conftest import command, free_port, small_config, snakemake
from dagshub_stand_in import stand_in, status
from test_tracker_refusals import RESULTS, assert_whole, written

from resomap.config import parse_config
from resomap.config.schema import Tracking
from resomap.core.errors import ResomapError
from resomap.tracking.credentials import without_secrets
from resomap.tracking.rest import TrackerUnavailable, ask, is_remote, tracking_uri
from resomap.tracking.sender import Sender

SECRET = "s3/cr3t"  # with what a check of the host alone does not see
FOLDER, DATABASE, BROWSER = "is a folder", "start `mlflow server --backend-store-uri", "write the server's alone: "
NO_SCHEME, NO_HOST, OTHER = "without a scheme; write ", "names no host", "is no address of a tracker"
REFUSED = {
    "./mlruns": FOLDER,
    "mlruns": FOLDER,
    "/data/mlruns": FOLDER,
    "~/mlruns": FOLDER,
    "file:///data/mlruns": FOLDER,
    "FILE:mlruns": FOLDER,
    "127.0.0.1:5511": f"{NO_SCHEME}http://127.0.0.1:5511 or https://127.0.0.1:5511",
    "localhost:5000/mlflow": f"{NO_SCHEME}http://localhost:5000/mlflow",
    "mlflow.example.org": f"{NO_SCHEME}https://mlflow.example.org",
    "http://localhost:5000/#/experiments/3": f"{BROWSER}http://localhost:5000",
    "https://a.example/mlflow/?tab=runs": f"{BROWSER}https://a.example/mlflow",
    "http:///experiments": NO_HOST,
    "http:localhost": NO_HOST,
    "https://a.example:99999": NO_HOST,
    "https://[::1": NO_HOST,
    "https://a.example:port": NO_HOST,
    "https://a example": "has a blank or a control character",
    "https://a.example\x1b[2J": "has a blank or a control character",
    "databricks": "is Databricks",
    "databricks://profile": "is Databricks",
    "postgresql://host/db": DATABASE,
    "mysql+pymysql://host/db": DATABASE,
    "MSSQL+pyodbc://host": DATABASE,
    "s3://bucket/runs": OTHER,
    "tracker": OTHER,
    "C:\\runs": OTHER,
    "sqlite://": "names no file of a local database",
    "sqlite:///:memory:": "names no file of a local database",
    "sqlite:///results/": "names no file of a local database",
    "sqlite:///a?b.db": "has a `?` in it",
}


@pytest.mark.parametrize("uri", REFUSED)
def test_an_address_that_cannot_be_used_is_refused_in_one_sentence(uri: str) -> None:
    with pytest.raises(ResomapError) as caught:
        parse_config({"tracking": {"uri": uri}})
    said = str(caught.value)
    assert said.startswith("in tracking, uri ")
    assert REFUSED[uri] in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "uri",
    [
        f"https://user:{SECRET}@host",
        f"http://user:{SECRET}@127.0.0.1:5000/mlflow",
        f"https://{SECRET}@host",
        f"https://host?password={SECRET}",
        f"https://host/path;access_token={SECRET}",
        f"https://host/#apikey={SECRET}",
        f"postgresql://user:{SECRET}@host/db",
        f"postgresql://host/db?password={SECRET}",
        f"user:{SECRET}@host:5000",
        f"databricks://token={SECRET}",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ResomapError, match="uri holds credentials") as caught:
        parse_config({"tracking": {"uri": uri}})
    assert not any(part in str(caught.value) for part in SECRET.split("/"))
    assert SECRET.split("/")[1] not in without_secrets(f"cannot reach https://user:{SECRET[3:]}@host/x")


@pytest.mark.parametrize(
    ("given", "used", "remote"),
    [
        ("https://mlflow.example.org/", "https://mlflow.example.org", True),
        ("HTTPS://mlflow.example.org/a/b/", "https://mlflow.example.org/a/b", True),
        ("http://localhost:5000", "http://localhost:5000", True),
        ("http://[::1]:5000", "http://[::1]:5000", True),
        ("sqlite:///results/mine.db", "sqlite:///results/mine.db", False),
        ("sqlite:////data/of me/mine@home.db", "sqlite:////data/of me/mine@home.db", False),
    ],
)
def test_an_address_that_can_be_used(given: str, used: str, remote: bool) -> None:
    tracking = parse_config({"tracking": {"uri": given}}).tracking
    assert (tracking_uri(tracking), is_remote(tracking)) == (used, remote)


@pytest.mark.parametrize("name", ["owner/repo?x", "https://dagshub.com/owner/repo", "../..", "owner/re po", "owner/#"])
def test_a_repository_is_owner_and_name(name: str) -> None:
    with pytest.raises(ResomapError, match="must have the form owner/repo"):
        parse_config({"tracking": {"dagshub": name}})


def test_planning_and_sync_say_it_as_their_last_words(images: Path, tmp_path: Path) -> None:
    config = small_config(images, tracking={"uri": "127.0.0.1:5511"})
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert listed.returncode == 2
    assert NO_SCHEME in listed.stderr.strip().splitlines()[-1]
    # A study that an earlier version wrote.
    (tmp_path / ".resomap").mkdir(exist_ok=True)
    data = {"identity": "i", "images": 1, "channels": 1}
    content = {"config": config, "data": data, "families": {}, "command": "snakemake TARGET"}
    (tmp_path / ".resomap" / "study.json").write_text(json.dumps(content))
    for word in ("sync", "doctor"):
        done = command("resomap", word, cwd=tmp_path)
        assert done.returncode == 2
        assert NO_SCHEME in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("folder", "here"),
    # MLflow keeps a store for each address in a process: each folder has its own way to write the database's.
    [("what?", "."), ("a#b", "./."), ("50% of it", "././."), ("with blank", "./././."), ("mine@home", "././././.")],
)
def test_a_studys_path_may_have_any_character(
    folder: str, here: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / folder / "study"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    uri = tracking_uri(Tracking())
    assert Sender(written(RESULTS / "m" / "32.journal.jsonl", folder), uri, "any").send()
    assert {path.name for path in tmp_path.iterdir()} == {folder}
    assert "mlflow.db" in {path.name for path in (place / "results").iterdir()}
    assert_whole(f"sqlite:///{here}/results/mlflow.db", "any")


@pytest.mark.parametrize(
    ("variable", "address", "reason"),
    [
        ("http_proxy", "http://me:{secret}@127.0.0.1:{port}", "Connection refused"),
        ("HTTP_PROXY", "127.0.0.1:{port}", "Connection refused"),
        ("all_proxy", "http://127.0.0.1:{port}", "Connection refused"),
        ("http_proxy", "socks5://127.0.0.1:{port}", "unknown url type: socks5"),
    ],
)
def test_a_proxy_that_does_not_answer_is_named(
    variable: str, address: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, address.format(port=port, secret="s3cr3t"))
    with stand_in("http://127.0.0.1:9") as server:
        server.trouble = status(200, {"experiments": []})
        with pytest.raises(TrackerUnavailable) as caught:
            ask(Tracking(uri=server.uri), "experiments/search", {})
        assert str(caught.value) == (
            f"the proxy 127.0.0.1:{port} of {variable} does not pass it on ({reason}); correct it, or "
            "export no_proxy=127.0.0.1 where the tracker is reached without it"
        )
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert ask(Tracking(uri=server.uri), "experiments/search", {}) == {"experiments": []}


def test_a_proxy_in_trouble_of_its_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with stand_in("http://127.0.0.1:9") as proxy:
        monkeypatch.setenv("http_proxy", proxy.uri)
        for code, words in ((407, "the proxy wants credentials"), (502, "try again later (asked by the proxy")):
            proxy.trouble = status(code)
            with pytest.raises(TrackerUnavailable) as caught:
                ask(Tracking(uri="http://127.0.0.1:5000"), "experiments/search", {})
            assert words in str(caught.value)
            assert f"{proxy.server_port} of http_proxy" in str(caught.value)
