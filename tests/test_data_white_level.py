"""Grey images whose files do not tell how deep their values are have one scale for the whole set, and for predict."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL, ROOT, command, make_study, small_config
from image_files import pgm, tiff

from resomap.cells.predictions import Predictions
from resomap.cli import main
from resomap.compute.checkpoint import load_sealed, save_sealed
from resomap.compute.temperature import tempered
from resomap.config.schema import Data
from resomap.core.files import read_json, write_json
from resomap.data import DATA_DIRECTORY
from resomap.data.decode import decode, decode_bytes
from resomap.data.manifest import Manifest, make_manifest
from resomap.data.prepare import prepare_images
from resomap.data.store import Store
from resomap.train.attempt import train_cell
from resomap.train.request import Request


def noise(seed: int, top: int) -> np.ndarray:
    """Grey values up to `top`, which is there."""
    values = np.random.default_rng(seed).integers(0, top, (16, 16))
    values[0, 0] = top
    return values


def images_of(root: Path, kind: str, dim: int, bright: int) -> Path:
    """Two classes of 10 images each, of values up to `dim` and up to `bright`, in files of a kind."""
    for number, (label, top) in enumerate((("bright", bright), ("dim", dim))):
        (root / label).mkdir(parents=True)
        for seed in range(10):
            values = noise(100 * number + seed, top)
            content = pgm(values) if kind == "pgm" else tiff(values.astype(kind))
            (root / label / f"{seed}.{'pgm' if kind == 'pgm' else 'tif'}").write_bytes(content)
    return root


def made(root: Path, workers: int = 1) -> tuple[Manifest, str]:
    """The manifest, and the text of the report."""
    manifest = make_manifest(Data(source=str(root)), root.parent / "data", workers)
    return manifest, (root.parent / "data" / "check.md").read_text()


def digest_of_files_alone(manifest: Manifest) -> str:
    """The content digest that versions before this one wrote, in which the way of reading had no place."""
    rows = sorted("\0".join((e.name, e.sha256, manifest.classes[e.label], e.split)) for e in manifest.entries)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


@pytest.mark.parametrize("top", [250, 255, 256, 300, 2000, 65535])
def test_a_pgm_is_scaled_by_its_header(top: int) -> None:
    assert decode_bytes(pgm([[top // 2, top]])).pixels.ravel().tolist() == [round(v / 257) for v in (top // 2, top)]
    assert decode_bytes(pgm([[top // 2, top]], 4095)).pixels.ravel().tolist() == pytest.approx(
        [min(255, v * 255 / 4095) for v in (top // 2, top)], abs=1
    )


@pytest.mark.parametrize("kind", ["pgm", "int16", "int32", "uint32", "float32"])
def test_dim_images_stay_dimmer_than_bright_ones(tmp_path: Path, kind: str) -> None:
    root = images_of(tmp_path / "images", kind, dim=199, bright=2000)
    manifest, report = made(root)
    assert manifest.white_level == (None if kind == "pgm" else 65535)
    prepare_images(tmp_path / "data", 16, 1)
    train = Store.open(tmp_path / "data", 16).split("train")
    for image, name in zip(train.pixels, train.names, strict=True):
        stored = noise(100 * name.startswith("dim") + int(Path(name).stem), 199 if name.startswith("dim") else 2000)
        assert np.abs(image[:, :, 0] - stored / 257).max() <= 0.5 + 1e-9
    # What was read otherwise before is other content; a training on it does not count any more.
    assert manifest.content_digest != digest_of_files_alone(manifest)
    said = [line for line in report.splitlines() if "do not tell 8 from 16 bits" in line]
    assert len(said) == (0 if kind == "pgm" else 1)
    if said:
        assert said[0].endswith("as the other images of that kind: 10")


@pytest.mark.parametrize(
    ("kind", "dim", "bright", "level"),
    [("int32", 120, 250, 255), ("float32", 255, 255, 255), ("int16", 300, 2000, 65535), ("pgm", 256, 3000, None)],
)
def test_images_that_were_read_right_before_are_the_same_content(
    tmp_path: Path, kind: str, dim: int, bright: int, level: int | None
) -> None:
    root = images_of(tmp_path / "images", kind, dim, bright)
    manifest, report = made(root)
    assert manifest.white_level == level
    assert manifest.content_digest == digest_of_files_alone(manifest)
    assert "do not tell" not in report
    scale = 1 if level == 255 else 257
    pixels = decode(root / "dim/3.tif" if kind != "pgm" else root / "dim/3.pgm", manifest.white_level)
    assert np.abs(pixels[:, :, 0] - noise(103, dim) / scale).max() <= 0.5 + 1e-9
    assert made(root, workers=2)[0] == manifest


def test_pixels_on_demand_have_the_scale_of_the_set(tmp_path: Path) -> None:
    made(images_of(tmp_path / "images", "int32", dim=199, bright=2000))
    prepare_images(tmp_path / "data", 16, 1)
    stored = np.array(Store.open(tmp_path / "data", 16).split("test").pixels)
    prepare_images(tmp_path / "data", 16, 1, "never")
    assert (Store.open(tmp_path / "data", 16).split("test").pixels[:] == stored).all()


@dataclass(frozen=True)
class Trained:
    directory: Path
    images: Path

    @property
    def best(self) -> Path:
        return self.directory / "checkpoints" / "resnet" / MODEL / "32" / "best.pt"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    directory = tmp_path_factory.mktemp("study")
    images = images_of(tmp_path_factory.mktemp("source") / "images", "int32", dim=199, bright=2000)
    study = make_study(directory, small_config(images, training={"epochs": 1}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        train_cell(Request(study, study.cell(MODEL, 32), 1, 1, lambda _sentence: None))
    return Trained(directory, images)


def test_predict_scales_as_the_training_did(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(trained.directory)
    kept = Predictions.load(trained.directory / "results" / MODEL / "32.predictions.npz")
    assert kept is not None
    parts = kept.splits.values()
    temperature = read_json(trained.best.with_name("decision.json"))["temperature"]
    wanted = {
        name: row
        for part in parts
        for name, row in zip(part.names, np.exp(tempered(part.log_probabilities, temperature)), strict=True)
    }
    dim = next(name for name in wanted if name.startswith("dim"))
    # Alone: whatever images stand beside it, its scale is that of the training.
    assert main(["predict", "--cell", f"{MODEL}@32", "--json", "--top", "2", str(trained.images / dim)]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["images"]
    shares = {entry["class"]: entry["probability"] for entry in answer["predictions"]}
    assert [shares[label] for label in kept.classes] == pytest.approx(wanted[dim].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("level", "top", "words"),
    [
        (None, 199, "the file does not tell 8 from 16 bits"),
        (None, 2000, ""),
        (255, 2000, "values above 255, where those of the training's images end"),
        (255, 199, ""),
        ("absent", 199, ""),
    ],
)
def test_predict_stops_where_the_scale_would_be_another(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], level: int | str | None, top: int, words: str
) -> None:
    """The decision stands in best.pt; that of other trainings (absent: of an earlier version) in copies of it."""
    content = load_sealed(trained.best)
    assert content["white_level"] == 65535
    content["white_level"] = level
    if level == "absent":
        del content["white_level"]
    save_sealed(tmp_path / "best.pt", content)
    (tmp_path / "a.tif").write_bytes(tiff(noise(1, top).astype(np.int32)))
    code = main(["predict", "--weights", str(tmp_path / "best.pt"), str(tmp_path / "a.tif")])
    assert code == (1 if words else 0)
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == bool(words)


@pytest.mark.parametrize("modes", [{"I": 20}, {"L": 20}])
def test_images_that_an_earlier_version_scaled_one_by_one_are_checked_again(
    tmp_path: Path, modes: dict[str, int]
) -> None:
    directory = tmp_path / "study"
    directory.mkdir()
    config = small_config(images_of(tmp_path / "images", "int32", 199, 2000))
    make_study(directory, config)
    write_json(directory / "study.yaml", config)  # JSON is YAML
    data = directory / DATA_DIRECTORY
    listed = read_json(data / "manifest.json")
    del listed["white_level"], listed["seal"]
    write_json(data / "manifest.json", listed)
    write_json(data / "check.json", {**read_json(data / "check.json"), "modes": modes})
    words = ("snakemake", "-s", ROOT / "Snakefile", "--configfile", "study.yaml", "-np", f"results/{MODEL}/32.done")
    done = command(*words, cwd=directory)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("one scale" in done.stderr) == ("I" in modes)
    assert ("rule data:" in done.stdout + done.stderr) == ("I" in modes)
