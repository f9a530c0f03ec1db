"""`resomap predict` and the README's way without ResoMap say of an image what the training's evaluation said."""

import contextlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MODEL, ROOT, command, small_config
from PIL import Image

from resomap.cells.predictions import Predictions
from resomap.cells.study import CURRENT, Study
from resomap.cli import main
from resomap.compute.checkpoint import load_sealed, save_sealed
from resomap.compute.temperature import tempered
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.evaluation.trained_weights import Weights
from resomap.models.build import builder_options, construct
from resomap.models.survey import entry_of
from resomap.prediction.image_answers import answers, batches_of
from resomap.prediction.image_list import listed
from resomap.prediction.networks import trained_network
from resomap.train.attempt import train_cell
from resomap.train.request import Request

CELL = f"{MODEL}@32"


def draw(path: Path, shape: tuple[int, ...], seed: int, shade: int) -> None:
    """A noisy picture: [H, W] grey, [H, W, 3] coloured, [H, W, 4] with transparency."""
    pixels = np.random.default_rng(seed).normal(shade, 50, shape).clip(0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@dataclass(frozen=True)
class Trained:
    """A cell that is done, in its study's directory; its images have been moved to `photos`."""

    directory: Path
    photos: Path

    @property
    def best(self) -> Path:
        return self.directory / "checkpoints" / "resnet" / MODEL / "32" / "best.pt"


@dataclass(frozen=True)
class Said:
    """Output of the command: its exit code and its words."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Trained on pictures of many shapes, grey, coloured, transparent and 16-bit."""
    directory, source = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("source") / "images"
    for label, shade in (("bright", 150), ("dark [x]", 100)):
        for i in range(20):
            shape = [(30 + i, 50, 3), (50, 30 + i), (40, 40 + i, 4)][i % 3]
            draw(source / label / f"{i:02}.png", shape, i, shade)
        deep = np.random.default_rng(7).integers(0, 256 * shade, (33, 44)).astype(np.uint16)
        Image.fromarray(deep).save(source / label / "deep.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        study = Study.open(small_config(source, training={"epochs": 2}, data={"fit": "border"}))
        study.save(CURRENT)
        make_manifest(study.config.data, DATA_DIRECTORY, 1)
        prepare_images(DATA_DIRECTORY, 32, 1)
        train_cell(Request(study, study.cell(MODEL, 32), 1, 1, lambda _sentence: None))
    photos = source.rename(source.with_name("elsewhere"))
    return Trained(directory, photos)


@pytest.fixture
def said(trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """`resomap predict WORDS` in the study's directory, without the seconds that a process takes to start."""
    monkeypatch.chdir(trained.directory)

    def run(*words: str | Path) -> Said:
        code = main(["predict", *map(str, words)])
        return Said(code, *capsys.readouterr())

    return run


def test_probabilities_are_those_of_the_evaluation(trained: Trained) -> None:
    kept = Predictions.load(trained.directory / "results" / MODEL / "32.predictions.npz")
    assert kept is not None
    names = [name for part in kept.splits.values() for name in part.names]
    images = [str(trained.photos / name) for name in names]
    finished = command("resomap", "predict", "--cell", CELL, "--json", *images, cwd=trained.directory)
    assert finished.returncode == 0, finished.stderr
    answers = json.loads(finished.stdout)["images"]
    assert [answer["image"] for answer in answers] == images
    shares = [{entry["class"]: entry["probability"] for entry in answer["predictions"]} for answer in answers]
    found = np.array([[by_class[name] for name in kept.classes] for by_class in shares])
    temperature = read_json(trained.best.with_name("decision.json"))["temperature"]
    logits = np.concatenate([part.log_probabilities for part in kept.splits.values()])
    assert np.abs(found - np.exp(tempered(logits, temperature))).max() < 1e-6


def test_folders_weights_from_elsewhere_and_another_resolution(
    trained: Trained, said: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "best.pt").write_bytes(trained.best.read_bytes())
    monkeypatch.chdir(tmp_path)  # no study here
    words = ("--weights", "best.pt", trained.photos, "--json", "--top", "1")
    own = said(*words)
    assert own.returncode == 0, own.stderr
    answers = json.loads(own.stdout)
    assert answers["resolution"] == answers["trained_resolution"] == 32
    assert [answer["image"] for answer in answers["images"]] == sorted(map(str, trained.photos.rglob("*.png")))
    assert {len(answer["predictions"]) for answer in answers["images"]} == {1}
    larger = said(*words, "--resolution", "64")
    assert larger.returncode == 0, larger.stderr
    other = json.loads(larger.stdout)
    assert other["resolution"] == 64
    assert other["images"] != answers["images"]


def test_what_cannot_be_read_gets_a_line_and_the_others_go_on(
    trained: Trained, said: Callable[..., Said], tmp_path: Path
) -> None:
    good = trained.photos / "dark [x]" / "00.png"
    (tmp_path / "torn.png").write_bytes(good.read_bytes()[:300])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    bad = [tmp_path / name for name in ("torn.png", "text.png", "missing.png", "empty")]
    found = said("--cell", CELL, bad[0], good, *bad[1:])
    assert found.returncode == 1
    lines = found.stderr.splitlines()
    assert [line.startswith(f"resomap: {path}: ") for line, path in zip(lines, bad, strict=True)] == [True] * 4
    assert "truncated or damaged" in lines[0]
    assert "not an image" in lines[1]
    assert "No such file" in lines[2]
    assert "no images" in lines[3]
    rows = [line for line in found.stdout.splitlines() if ".png" in line]
    share = r"(dark \[x\]|bright) 0\.\d{4}"
    assert len(rows) == 1
    assert re.search(rf"{re.escape(str(good))} +{share} +{share}", rows[0])  # whole, however long the name
    as_json = json.loads(said("--cell", CELL, "--json", bad[0], good).stdout)["images"]
    assert as_json[0] == {"image": str(bad[0]), "error": lines[0].removeprefix(f"resomap: {bad[0]}: ")}
    assert len(as_json[1]["predictions"]) == 2
    only_bad = said("--cell", CELL, *bad)
    assert (only_bad.returncode, only_bad.stdout) == (1, "")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cell", f"{MODEL}@48"], rf"{MODEL}@48 has no best.pt in checkpoints.*snakemake.*--weights"),
        (["--cell", "vgg99@48"], "unknown model 'vgg99'"),
        (["--cell", MODEL], "names no cell"),
        (["--weights", "nowhere.pt"], "there is no weights file nowhere.pt"),
        (["--weights", "results/data/manifest.json"], "is torn or altered"),
        (["--cell", CELL, "--resolution", "4"], "--resolution 4 is no image size"),
        (["--cell", CELL, "--top", "0"], "--top 0 shows nothing"),
    ],
)
def test_a_mistake_is_one_sentence(said: Callable[..., Said], words: list[str], sentence: str) -> None:
    found = said(*words, "some.png")
    assert found.returncode == 2
    assert re.search(sentence, found.stderr)
    assert len(found.stderr.splitlines()) == 1


def write_fresh(path: Path, name: str, resolution: int, fit: str, channels: int) -> Weights:
    """A weights file of a network that was never trained, as a training would write it."""
    torch.manual_seed(0)
    entry = entry_of(name)
    network = construct(entry, resolution, 3)
    content = {
        "format": 1,
        "model": network.state_dict(),
        "name": name,
        "library": entry.library,
        "options": builder_options(entry, resolution, 3),
        "resolution": resolution,
        "classes": ["a", "b", "c"],
        "channels": channels,
        "mean": [0.5] * channels,
        "std": [0.2] * channels,
        "fit": fit,
        "amp": "off",
        "channels_last": True,
        "epoch": 1,
        "fingerprint": "0" * 12,
        "uid": "0" * 32,
    }
    save_sealed(path, content)
    return Weights.load(path)


def shares_of(weights: Weights, image: Path) -> np.ndarray:
    network = trained_network([weights], "cpu", weights.resolution)
    ((answer,),) = answers(network, batches_of(network, list(listed([image]))))
    assert answer.shares is not None
    return answer.shares


def test_colour_is_grey_to_a_network_that_has_seen_only_grey(tmp_path: Path) -> None:
    weights = write_fresh(tmp_path / "best.pt", MODEL, 32, "center", channels=1)
    draw(tmp_path / "coloured.png", (40, 60, 3), 1, 120)
    Image.open(tmp_path / "coloured.png").convert("L").save(tmp_path / "grey.png")
    found = shares_of(weights, tmp_path / "coloured.png")
    assert np.array_equal(found, shares_of(weights, tmp_path / "grey.png"))


def test_a_network_for_one_size_refuses_another(tmp_path: Path) -> None:
    weights = write_fresh(tmp_path / "best.pt", "vit_tiny_patch16_224", 32, "center", channels=3)
    with pytest.raises(ResomapError, match=r"built for 32 px, does not take 48 px: .*leave out --resolution"):
        trained_network([weights], "cpu", 48)


def test_weights_of_another_network_say_what_differs(tmp_path: Path) -> None:
    write_fresh(tmp_path / "best.pt", MODEL, 32, "center", channels=3)
    content = load_sealed(tmp_path / "best.pt")
    state = {name: tensor.clone() for name, tensor in content["model"].items()}
    del state[next(iter(state))]
    save_sealed(tmp_path / "other.pt", {**content, "model": state})
    with pytest.raises(ResomapError, match=r"does not fit the test_resnet of timm .*it lacks conv1\.0\.weight"):
        trained_network([Weights.load(tmp_path / "other.pt")], "cpu", 32)
    save_sealed(tmp_path / "other.pt", {"model": state})
    with pytest.raises(ResomapError, match="does not hold the weights of a finished training"):
        Weights.load(tmp_path / "other.pt")


def snippet() -> str:
    """The README's code between its markers."""
    found = re.search(
        r"<!-- use-the-winner: .*? -->\n```python\n(.*?)```\n<!-- use-the-winner: end -->",
        (ROOT / "README.md").read_text(),
        re.DOTALL,
    )
    assert found is not None
    return found.group(1)


@pytest.fixture
def said_by_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs the README's code, as it stands, beside `best.pt` and `photo.jpg`; probabilities by class."""
    code = snippet()
    assert "resomap" not in code.lower()
    monkeypatch.chdir(tmp_path)

    def run() -> dict[str, float]:
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            exec(compile(code, "README.md", "exec"), {})
        rows = (line.rsplit(None, 1) for line in text.getvalue().splitlines())
        return {name: float(share) for name, share in rows}

    return run


@pytest.mark.parametrize(
    ("name", "fit", "channels", "shape"),
    [
        (MODEL, "center", 3, (50, 83, 3)),
        ("vit_tiny_patch16_224", "border", 1, (83, 51)),
        ("mobilenet_v2", "squash", 3, (47, 90)),
        ("googlenet", "border", 1, (60, 85, 3)),
    ],
)
def test_the_readmes_code_says_the_same(
    said_by_readme: Any, tmp_path: Path, name: str, fit: str, channels: int, shape: tuple[int, ...]
) -> None:
    weights = write_fresh(tmp_path / "best.pt", name, 64, fit, channels)
    draw(tmp_path / "photo.jpg", shape, 3, 120)
    found = shares_of(weights, tmp_path / "photo.jpg")
    assert said_by_readme() == pytest.approx(dict(zip("abc", found, strict=True)), abs=6e-5)  # four digits are printed


def test_the_readmes_code_reads_what_a_training_wrote(said_by_readme: Any, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(trained.best.read_bytes())
    (tmp_path / "photo.jpg").write_bytes((trained.photos / "bright" / "00.png").read_bytes())
    found = shares_of(Weights.load(trained.best), tmp_path / "photo.jpg")
    marker = read_json(trained.directory / "results" / MODEL / "32.done")
    assert Weights.load(trained.best).epoch == marker["best_epoch"]
    assert said_by_readme() == pytest.approx(dict(zip(["bright", "dark [x]"], found, strict=True)), abs=6e-5)
