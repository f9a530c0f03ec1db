"""Configurations that nobody means well with: one sentence within two seconds, whatever they name or hold."""

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import command, small_config, snakemake

from resomap.cells.study import Study
from resomap.config import load_config, parse_config
from resomap.config.documents import MAX_BYTES
from resomap.core.errors import ResomapError

SECONDS = 2.0
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)
DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "alias bomb": (BOMB.encode(), "its aliases"),
    "alias bomb of sections": (
        b"a0: &a0 {x: 1}\n" + b"".join(b"a%d: &a%d {x: *a%d, y: *a%d}\n" % (n, n, n - 1, n - 1) for n in range(1, 40)),
        "its aliases",
    ),
    "itself": (b"training: &t {augment: *t}\n", "contains itself"),
    "brackets": (b"models: " + b"[" * 50_000, "nests its values too deeply"),
    "sections": (b"training: " + b"{a: " * 20_000, "nests its values too deeply"),
    "UTF-16": ("models: [vgg11]\n".encode("utf-16"), "is not text in UTF-8; save it as such"),
    "UTF-16 without a mark": ("models: [vgg11]\n".encode("utf-16-le"), "has a NUL character in it"),
    "NUL": (b"models: [vgg\0]\n", "has a NUL character in it"),
    "escaped NUL": (b'experiment: "a\\0b"\n', "the configuration's experiment has a NUL character in it"),
    "6,000 characters": (b"experiment: " + b"a" * 6000, "experiment has 6,000 characters, and at most 1,024"),
    "a long source": (b"data: {source: /" + b"a/" * 3000 + b"}", "source has 6,001 characters"),
    "a long key": (b"? " + b"k" * 6000 + b"\n: 1\n", "keys has 6,000 characters"),
    "large": (b"# " + b"x" * MAX_BYTES, "bytes, and at most"),
    "digits": (b"seeds: [" + b"9" * 5000 + b"]\n", ""),
}


def refused(act: Any, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(ResomapError) as error:
        act()
    assert time.monotonic() - began < SECONDS
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_file_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    content, words = DOCUMENTS[name]
    (tmp_path / "study.yaml").write_bytes(content)
    refused(lambda: load_config(tmp_path / "study.yaml"), words)


def test_a_device_and_a_pipe_are_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path / "pipe"):
        refused(lambda path=path: load_config(path), f"the configuration file {path} is no regular file")


def test_values_that_snakemake_has_read_are_bounded_too() -> None:
    values: Any = ["x"]
    for _ in range(60):
        values = [values, values]
    refused(lambda: parse_config({"models": values}), "its aliases")
    itself: list[Any] = []
    itself.append(itself)
    refused(lambda: parse_config({"models": itself}), "contains itself")


@pytest.mark.parametrize("kind", ["device", "pipe"])
def test_weights_and_groups_are_files(kind: str, images: Path, tmp_path: Path) -> None:
    path = Path("/dev/zero") if kind == "device" else tmp_path / "pipe"
    if kind == "pipe":
        os.mkfifo(path)
    weights = Study.open(small_config(images, training={"weights": str(path)}))
    refused(lambda: weights.fingerprints(), "which cannot be read: it is no regular file")
    refused(
        lambda: Study.open(small_config(images, data={"groups": str(path)})), "cannot be read: it is no regular file"
    )
    refused(lambda: Study.open(small_config(images, data={"source": str(path)})), str(path))


def test_aliases_that_people_write_work(tmp_path: Path) -> None:
    text = "overrides: {vgg11: &small {learning_rate: 0.0001}, vgg16: *small}\n"
    (tmp_path / "study.yaml").write_text(text)
    assert load_config(tmp_path / "study.yaml").overrides["vgg16"] == {"learning_rate": 0.0001}


def test_commands_say_it_as_their_last_words(tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(BOMB)
    for path, words in ((tmp_path / "bomb.yaml", "its aliases"), (Path("/dev/zero"), "is no regular file")):
        for done in (
            command("resomap", "doctor", "--configfile", path, cwd=tmp_path, timeout=60),
            snakemake("-n", "--configfile", str(path), directory=tmp_path, timeout=60),
        ):
            assert done.returncode == 2, done.stderr
            assert "Traceback" not in done.stdout + done.stderr
            assert words in done.stderr.strip().splitlines()[-1]


def test_the_bound_holds_every_model(tmp_path: Path) -> None:
    from resomap.models.index import load_index

    (tmp_path / "all.yaml").write_text(yaml.safe_dump({"models": sorted(load_index().names())}))
    assert len(load_config(tmp_path / "all.yaml").models) > 500
