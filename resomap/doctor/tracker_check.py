"""Check of the tracker: does it answer, accept the credentials and allow writing, and what does DagsHub's client say?

No browser is opened, no repository made, and the stored token is left as it is (DagsHub's client deletes one that the
server did not confirm, even if the server was only overloaded: it works on a copy here).
"""

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path

from resomap.cells.tags import Tag
from resomap.config import Config
from resomap.config.schema import Tracking
from resomap.core.deadline import within
from resomap.core.errors import ResomapError
from resomap.doctor.finding import Finding
from resomap.tracking.credentials import access, dagshub_host, dagshub_token, token_file, without_secrets
from resomap.tracking.local_database import database_path, is_outdated, query, tells_of_damage
from resomap.tracking.rest import TrackerUnavailable, ask, is_remote, tracking_uri
from resomap.tracking.standing import standing

SECONDS = 10.0  # for DagsHub's client, which asks twice
NO_RUN = "0" * 32


def look_at_tracker(config: Config) -> Iterator[Finding]:
    """Yield findings on address, credentials, answer and right to write; for DagsHub its client's view too."""
    tracking = config.tracking
    try:
        remote = is_remote(tracking)
    except ResomapError as error:
        yield Finding("bad", "tracker", str(error))
        return
    elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
    if elsewhere and elsewhere.rstrip("/") != tracking_uri(tracking):
        yield Finding(
            "note",
            "tracker",
            "MLFLOW_TRACKING_URI names another one; ResoMap goes by its configuration alone",
            "set tracking.uri where that one is meant",
        )
    if not remote:
        yield from _local(config)
        return
    yield from _credentials(tracking)
    answers = yield from _server(config)
    if tracking.dagshub and answers:
        yield from _dagshub(tracking.dagshub)


def _local(config: Config) -> Iterator[Finding]:
    """Yield findings about the database that is configured, which need not be the study's own."""
    path = database_path(tracking_uri(config.tracking))
    database = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    if not path.exists():
        yield Finding("ok", "tracker", f"local: {database} is made by the first training")
        return
    if problem := standing(config.tracking, config.experiment).no_runs:
        yield _refused("local", problem)
        return
    try:
        runs = query(path, "select count(*) from runs")[0][0]
        if is_outdated(path):
            words = f"local: {database} with {runs} runs is of an older MLflow"
            yield Finding("note", "tracker", words, "nothing to do: the next training keeps a copy and upgrades it")
            return
    except sqlite3.Error as error:
        if tells_of_damage(error):
            remedy = "nothing to do: the next training, or `resomap sync`, sets it aside and writes it anew"
            yield Finding("note", "tracker", f"local: {database} is damaged ({error})", remedy)
            return
        yield Finding("bad", "tracker", f"{database} cannot be read: {error}", "try again later")
        return
    yield Finding("ok", "tracker", f"local: {database} with {runs} runs")


def _refused(who: str, problem: str) -> Finding:
    """Return the finding for a clause that ends with its remedy, behind the first semicolon."""
    words, _, remedy = problem.partition("; ")
    return Finding("bad", "tracker", f"{who}: {words}", remedy)


def _credentials(tracking: Tracking) -> Iterator[Finding]:
    source = access(tracking, tracking_uri(tracking)).source
    if source is None:
        ways = "run `dagshub login`, or export DAGSHUB_USER_TOKEN=<token>"
        ways = f"{ways} with a token of {dagshub_host()}/user/settings/tokens"
        if not tracking.dagshub:
            ways = "where it wants some: export MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        yield Finding("bad" if tracking.dagshub else "note", "credentials", "none are found", ways)
        return
    yield Finding("ok", "credentials", f"from {source}")
    path = Path(source)
    if path.is_file() and path.stat().st_mode & 0o077:
        yield Finding("note", "credentials", f"others on this machine may read {path}", f"chmod 600 {path}")
    if tracking.dagshub and path.name == Path(os.environ.get("NETRC") or "~/.netrc").name and dagshub_token():
        yield Finding(
            "note", "credentials", f"{path} wins over the DagsHub token", "export NETRC=/dev/null lets the token count"
        )


def _server(config: Config) -> Generator[Finding, None, bool]:
    """Yield findings about the server; return True if it is worth asking DagsHub's client too."""
    tracking, began = config.tracking, time.monotonic()
    uri = tracking_uri(tracking)
    try:
        found = standing(tracking, config.experiment)
    except TrackerUnavailable as error:
        yield Finding("bad", "tracker", f"{uri}: {error}")
        return error.status in (401, 403, 404)
    milliseconds = 1000 * (time.monotonic() - began)
    there = "is there" if found.is_known else "is made by the first run"
    if found.no_runs:
        there = "takes no runs"
    yield Finding(
        "ok", "tracker", f"{uri} answers in {milliseconds:.0f} ms; the experiment {config.experiment} {there}"
    )
    for problem in filter(None, (found.no_runs, found.no_files)):
        yield _refused("the tracker", problem)
    try:
        ask(tracking, "runs/set-tag", {"run_id": NO_RUN, "key": Tag.DOCTOR, "value": "1"})
    except TrackerUnavailable as error:
        if error.code == "RESOURCE_DOES_NOT_EXIST":  # it would have written, had there been such a run
            yield Finding("ok", "tracker", "runs may be written")
        else:
            yield Finding("bad", "tracker", f"runs may be read and not written: {error}")
    return True


def _dagshub(repository: str) -> Iterator[Finding]:
    host, found = dagshub_host(), dagshub_token()
    if found is None:
        return  # told by the look at the credentials
    try:
        user, may_write = within(SECONDS, lambda _: _as_dagshubs_client(host, repository))
    except TimeoutError:
        yield Finding("bad", "DagsHub", f"{host} did not answer within {SECONDS:g} s", "try again later")
    except LookupError:
        remedy = f"create it at {host}/repo/create, or correct tracking.dagshub"
        yield Finding("bad", "DagsHub", f"there is no repository {repository} that this token may see", remedy)
    except PermissionError:
        remedy = f"run `dagshub login`, or export DAGSHUB_USER_TOKEN=<token> with one of {host}/user/settings/tokens"
        yield Finding("bad", "DagsHub", f"{host} does not accept the token from {found[1]}", remedy)
    except Exception as error:  # another version of the client or of the server: told, whatever it is
        said = without_secrets(" ".join(str(error).split()))[:200]
        yield Finding("bad", "DagsHub", f"its client fails: {type(error).__name__}: {said}", "try again later")
    else:
        if may_write:
            yield Finding("ok", "DagsHub", f"{user} may write to {host}/{repository}")
        else:
            remedy = "ask the repository's owner to make you a collaborator"
            yield Finding("bad", "DagsHub", f"{user} may read {host}/{repository} and not write to it", remedy)


def _as_dagshubs_client(host: str, repository: str) -> tuple[str, bool]:
    """Return (user, True if it may push). Raises PermissionError for the token, LookupError for the repository."""
    with tempfile.TemporaryDirectory() as private:
        copy = Path(private, "tokens")
        if token_file().is_file():
            shutil.copyfile(token_file(), copy)
            copy.chmod(0o600)
        import dagshub.auth
        from dagshub.auth.token_auth import HTTPBearerAuth
        from dagshub.auth.tokens import TokenStorage
        from dagshub.common import config
        from dagshub.common.api.repo import RepoAPI, RepoNotFoundError

        config.http_timeout, config.quiet = SECONDS / 2, True  # type: ignore[assignment]
        try:
            token = dagshub.auth.get_token(host=host, fail_if_no_token=True, cache_location=str(copy))
        except RuntimeError:
            raise PermissionError from None
        user = TokenStorage.get_username_of_token(token, host) or {}
        try:
            repo = RepoAPI(repository, host=host, auth=HTTPBearerAuth(token)).get_repo_info()
        except RepoNotFoundError:
            raise LookupError from None
        return str(user.get("username")), bool((repo.permissions or {}).get("push"))
