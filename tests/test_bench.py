"""Each part of `resomap bench` on few images: it runs, its table is one, and the two sides did the same work."""

import re
from pathlib import Path

import pytest
from conftest import MODEL, command

from resomap.bench.ratios import Paired


def test_all_parts_of_a_small_benchmark(tmp_path: Path) -> None:
    output = tmp_path / "bench.md"
    options = ["--models", MODEL, "--resolutions", "32", "--repeats", "1", "--images", "90", "--workers", "1"]
    done = command("resomap", "bench", *options, "--output", output, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = output.read_text()
    assert text.strip() in done.stdout
    for kind in ("grey PNG", "colour JPEG"):
        row = re.search(rf"^\| {kind} \| 32 \| (.*) \|$", text, re.MULTILINE)
        assert row is not None
        *_, ratio, apart = row[1].split(" | ")
        assert float(ratio.split()[0]) > 0
        assert float(apart) < 5, "both deliver the same pictures"
    steps = re.search(rf"^\| {MODEL} \| 32 \| [\d,]+ \| [\d,]+ \| ([\d.]+) ", text, re.MULTILINE)
    assert steps is not None
    assert float(steps[1]) > 0
    start = re.search(rf"^\| {MODEL} \| 32 \| ([\d.]+) \(", text, re.MULTILINE)
    assert start is not None
    assert float(start[1]) > 0


def test_pairs_are_measured_in_turn() -> None:
    order: list[str] = []

    def ours(_round: int) -> float:
        order.append("ours")
        return 10.0

    def other(_round: int) -> float:
        order.append("other")
        return 5.0

    found = Paired.measure(ours, other, 2)
    assert order == ["ours", "other", "ours", "other", "other", "ours"]
    assert found.ratio == 2
    assert found.cells() == ["10", "5", "2.00 (2.00 to 2.00)"]


@pytest.mark.parametrize("words", [["--parts", "speed"], ["--repeats", "0"], ["--resolutions", "large"]])
def test_a_mistake_is_one_sentence(words: list[str], tmp_path: Path) -> None:
    done = command("resomap", "bench", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("resomap: --")
    assert done.stderr.count("\n") == 1
