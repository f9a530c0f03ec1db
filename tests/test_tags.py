"""The tags of a run: when it counts as complete, and that their names stand in one place."""

import ast

import pytest
from conftest import ROOT
from test_marker import CONTENT, TEXT, read

from resomap.cells.tags import Tag, complete_marker, completion, equals, heartbeat_of, host_of

MARKER = read(CONTENT)


def test_a_complete_run_gives_its_marker_as_one_of_the_tracker() -> None:
    found = complete_marker("r", "FINISHED", completion(MARKER))
    assert found is not None
    assert found.as_json() == {**CONTENT, "run_id": "r", "origin": "tracker"}


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        ("RUNNING", {}),
        ("FAILED", {}),
        (None, {}),
        ("FINISHED", {Tag.COMPLETE: "0"}),
        ("FINISHED", {Tag.COMPLETE: None}),
        ("FINISHED", {Tag.MARKER: None}),
        ("FINISHED", {Tag.MARKER: TEXT[:99]}),
        ("FINISHED", {Tag.MARKER: "[]"}),
    ],
)
def test_a_run_that_is_not_complete_has_no_marker(status: str | None, changes: dict[str, str | None]) -> None:
    tags = completion(MARKER) | changes
    assert complete_marker("r", status, {name: value for name, value in tags.items() if value is not None}) is None


def test_the_complete_tag_is_the_last() -> None:
    assert list(completion(MARKER)) == [Tag.MARKER, Tag.COMPLETE]
    assert equals(Tag.BASE, "abc") == "tags.`resomap.base` = 'abc'"


def test_names_of_tags_stand_in_one_place() -> None:
    """No text in the code but cells/tags.py has the name of a tag in it, or puts one together."""
    names = {value for name, value in vars(Tag).items() if not name.startswith("_")}
    found = []
    for path in [*ROOT.glob("resomap/**/*.py"), *ROOT.glob("benchmarks/*.py"), *ROOT.glob("snakemake_*/*.py")]:
        if path == ROOT / "resomap" / "cells" / "tags.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = node.value.replace("`", " ").replace("'", " ").split()
                found += [f"{path.name}:{node.lineno}: {name}" for name in {*names, "resomap."} if name in words]
    assert found == []


def test_host_and_heartbeat_may_be_missing() -> None:
    assert host_of({Tag.HOST: "node3"}) == "node3"
    assert host_of({}) == "an unknown host"
    assert heartbeat_of({Tag.HEARTBEAT: "1795805712"}) == 1795805712
    for beat in ("", "soon", "-1", "1.5", "²"):
        assert heartbeat_of({Tag.HEARTBEAT: beat}) is None
    assert heartbeat_of({}) is None
