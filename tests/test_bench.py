"""Each part of `resomap bench` on few images: it runs, its table is one, and the two sides did the same work."""

import json
import os
import re
from pathlib import Path

import pytest
from conftest import MODEL, ROOT, command
from PIL import Image

from resomap.bench.ratios import Paired
from resomap.bench.test_images import write_colour

# Says of an epoch what timm's train.py says of it, and what it was asked to do.
STAND_IN = """
import json, pathlib, sys
folders = pathlib.Path(sys.argv[1])
images = {split: len([path for path in (folders / split).rglob("*") if path.is_file()]) for split in ("train", "val")}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps({"images": images, "words": sys.argv[2:]}))
for epoch in range(int(sys.argv[sys.argv.index("--epochs") + 1])):
    print(f"Train: {epoch} [   0/2 ( 50%)]  Loss: 0.7 (0.7)  Time: 2.0s,   16.00/s  (2.0s,   16.00/s)  LR: 1e-3")
    rate = f"{40 + 2 * epoch}.00"
    print(f"Train: {epoch} [   1/2 (100%)]  Loss: 0.7 (0.7)  Time: 1.0s,   32.00/s  (1.0s,   {rate}/s)  LR: 1e-3")
"""
SMALL = [
    "--models",
    MODEL,
    "--resolutions",
    "32",
    "--input-resolutions",
    "32",
    "--repeats",
    "1",
    "--images",
    "90",
    "--workers",
    "1",
]
NUMBER = r"([\d.,]+)"


@pytest.mark.slow
def test_all_parts_of_a_small_benchmark(tmp_path: Path) -> None:
    output, script = tmp_path / "bench.md", tmp_path / "train.py"
    script.write_text(STAND_IN)
    done = command("resomap", "bench", *SMALL, "--timm-train", script, "--output", output, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = output.read_text()
    assert text.strip() in done.stdout
    inputs = re.findall(rf"^\| (.*) \| 32 \| {NUMBER} \| {NUMBER} \| {NUMBER} .* \| {NUMBER} \|$", text, re.MULTILINE)
    assert [row[0] for row in inputs] == ["grey PNG", "colour JPEG"] * 2
    for _, ours, theirs, ratio, apart in inputs:
        assert figure(ours) / figure(theirs) == pytest.approx(figure(ratio), rel=0.05)
        assert figure(apart) < 5, "both deliver the same pictures"
    rows = dict(re.findall(rf"^\*\*(.*?)\*\*\n\n.*\n.*\n\| (?:{MODEL} \| 32|40) \| (.*) \|$", text, re.MULTILINE))
    end_to_end, beside_timm, start, checkpoint, planning = (row.split(" | ") for row in rows.values())
    assert figure(end_to_end[2]) > 0
    assert figure(beside_timm[1]) == 46, "the last epoch's mean, of train.py's own words"
    assert 0.5 < figure(start[0]) < 100
    assert int(checkpoint[0]) >= 1
    assert "%" in checkpoint[2]
    assert int(planning[0]) > 40
    assert figure(planning[3]) > 0
    asked = json.loads(script.with_suffix(".json").read_text())
    assert asked["images"]["train"] in range(60, 67), "70 % of 90"
    words = " ".join(asked["words"])
    for word in ("--model test_resnet", "--input-size 3 32 32", "--batch-size 32", "--opt adamw", "--channels-last"):
        assert word in words
    assert "--clip-grad 1.0" in words


def figure(cell: str) -> float:
    """The first number of a table's cell."""
    return float(cell.split()[0].replace(",", ""))


@pytest.mark.slow
def test_photos_take_the_place_of_the_small_images(tmp_path: Path) -> None:
    done = command("resomap", "bench", *SMALL, "--parts", "inputs", "--photos", "700", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^\| (.*) \| 32 \|", done.stdout, re.MULTILINE) == ["colour JPEG of 700 px"] * 2
    assert {Image.open(file).size for file in write_colour(tmp_path / "photos", 2, side=700).files} == {(700, 700)}


@pytest.mark.slow
def test_a_script_that_fails_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("raise SystemExit('train.py: error: no such option')")
    done = command("resomap", "bench", *SMALL, "--parts", "timm", "--timm-train", script, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f"did not train {MODEL} at 32 px: train.py: error: no such option")


@pytest.mark.skipif("RESOMAP_TIMM_TRAIN" not in os.environ, reason="RESOMAP_TIMM_TRAIN names no train.py of timm's")
def test_beside_the_real_script_of_timm(tmp_path: Path) -> None:
    script = os.environ["RESOMAP_TIMM_TRAIN"]
    done = command("resomap", "bench", *SMALL, "--parts", "timm", "--timm-train", script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^\| {MODEL} \| 32 \| {NUMBER} \| {NUMBER} \| {NUMBER} ", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_the_phases_of_a_training_are_all_seen() -> None:
    # A function that has got another name would leave a zero in the table.
    words = (
        "python",
        "-m",
        "benchmarks.phases",
        "--model",
        MODEL,
        "--resolution",
        "32",
        "--epochs",
        "1",
        "--images",
        "60",
    )
    done = command(*words, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^\| (.*) \| (-?[\d.]+) \| [\d.]+% \|$", done.stdout, re.MULTILINE)
    seconds = {name: float(spent) for name, spent in rows}
    assert {"forward", "backward", "optimizer", "validation"} < seconds.keys()
    whole = float(re.findall(r"all of the process \| ([\d.]+)", done.stdout)[0])
    assert sum(seconds.values()) == pytest.approx(whole, abs=0.1)
    assert 0 <= seconds["the rest of the loop and of the self-check"] < whole / 4


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


@pytest.mark.parametrize(
    "words",
    [
        ["--parts", "speed"],
        ["--repeats", "0"],
        ["--resolutions", "large"],
        ["--input-resolutions", ""],
        ["--timm-train", "gone.py"],
        ["--photos", "0"],
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], tmp_path: Path) -> None:
    done = command("resomap", "bench", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("resomap: --")
    assert done.stderr.count("\n") == 1
