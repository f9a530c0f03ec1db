"""Class-activation maps lie where the class is, at each resolution, in convolutional networks and transformers."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from conftest import MODEL, make_study, small_config
from PIL import Image

from resomap.cells.explanation_record import explanations
from resomap.cells.predictions import SplitPredictions
from resomap.cells.study import Study
from resomap.cli import main
from resomap.compute.device import choose_device
from resomap.core.errors import ResomapError
from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import Manifest
from resomap.explanation.activation_maps import activation_maps
from resomap.explanation.explained_images import telling_images
from resomap.explanation.explaining import Trained
from resomap.explanation.map_picture import WIDEST
from resomap.explanation.spatial_layer import SpatialLayer, spatial_layer
from resomap.models.build import construct, logits
from resomap.models.survey import entry_of
from resomap.report.chapters.explanations import explained as explained_in_report
from resomap.report.report_writer import REPORT, make_report
from resomap.summary.evidence import gather
from resomap.train.attempt import train_cell
from resomap.train.request import Request

SIDE = 96


def corner_of(name: str) -> tuple[int, int]:
    """Row and column of the quarter in which an image has its sign: 0 or 1 each."""
    number = int(Path(name).stem)
    return number % 2, number // 2 % 2


def draw_signs(folder: Path, count: int) -> None:
    """Noise with a sign in one quarter, bright in one class and dark in the other."""
    random = np.random.default_rng(0)
    for label, shade in (("bright", 100), ("dark", -100)):
        (folder / label).mkdir(parents=True)
        for number in range(count):
            pixels = random.normal(128, 12, (SIDE, SIDE))
            row, column = (place * SIDE // 2 + 8 for place in corner_of(f"{number}"))
            pixels[row : row + 32, column : column + 32] += shade
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / label / f"{number:03}.png")


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a study whose one model is trained at two resolutions."""
    directory, source = tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("source") / "signs"
    draw_signs(source, 40)
    training = {"epochs": 8, "learning_rate": 0.003}
    study = make_study(directory, small_config(source, resolutions=[48, 96], training=training))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        for cell in study.cells():
            train_cell(Request(study, cell, 1, 1, lambda _sentence: None))
    return directory


@pytest.fixture
def study(explained: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.chdir(explained)
    return Study.load()


@pytest.mark.parametrize("resolution", [48, 96])
def test_a_map_is_highest_where_the_class_is(study: Study, resolution: int) -> None:
    member = Trained.of(study.cell(MODEL, resolution))
    assert member is not None
    kept = member.predictions()
    assert kept is not None
    part = kept.splits["test"]
    right = part.log_probabilities.argmax(axis=1) == part.labels
    assert right.mean() > 0.9
    pixels = np.load(DATA_DIRECTORY / str(resolution) / "test.npy")[right]
    classifier = member.weights.classifier(choose_device("cpu"))
    layer = spatial_layer(classifier.predictor.inference.model, MODEL, 48)
    found = activation_maps(classifier, layer, pixels, part.labels[right], member.temperature)
    height, width = found.maps.shape[1:]
    quarters = found.maps[:, : height // 2 * 2, : width // 2 * 2]
    quarters = quarters.reshape(len(quarters), 2, height // 2, 2, width // 2).sum(axis=(2, 4))
    names = [name for name, is_right in zip(part.names, right, strict=True) if is_right]
    hits = [
        np.unravel_index(one.argmax(), (2, 2)) == corner_of(name) for one, name in zip(quarters, names, strict=True)
    ]
    assert np.mean(hits) > 0.7


def test_a_model_is_explained_at_all_its_resolutions(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--cell", MODEL, "--count", "4", "--device", "cpu"]) == 0
    assert f"results/explain/{MODEL}.png: 4 images at 2 resolutions" in capsys.readouterr().out
    ((record, picture),) = explanations()
    assert picture == Path(f"results/explain/{MODEL}.png")
    assert list(record.trainings) == [f"{MODEL}@48", f"{MODEL}@96"]
    assert record.trainings[f"{MODEL}@96"] == read_json(Path(f"results/{MODEL}/96.done"))["uid"]
    names = {entry.name for entry in Manifest.load(DATA_DIRECTORY).of("test")}
    assert len(record.images) == 4
    assert set(record.images) <= names
    with Image.open(picture) as image:
        assert max(image.size) <= WIDEST
        colours = np.asarray(image.convert("HSV"))[:, :, 1]
    assert (colours > 128).mean() > 0.02  # the maps; the images are grey


def test_the_report_shows_what_was_explained_until_it_is_trained_anew(study: Study) -> None:
    assert main(["explain", "--cell", MODEL, "--device", "cpu"]) == 0
    ((_, picture),) = explanations()
    make_report(study)
    assert "What each resolution looked at" in REPORT.read_text()
    record = picture.with_suffix(".json")
    before = record.read_text()
    record.write_text(re.sub(r'(@96": ")\w+', r"\1another", before))
    assert explained_in_report(gather(study)) == []
    record.write_text(before)
    assert len(explained_in_report(gather(study))) == 1


def test_own_images_are_explained_by_what_the_model_says(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_signs(tmp_path / "signs", 2)
    (tmp_path / "signs" / "bright" / "000.png").write_bytes(b"no picture")
    words = ["--images", str(tmp_path / "signs"), "--count", "3", "--output", str(tmp_path / "maps.png")]
    assert main(["explain", "--cell", f"{MODEL}@48", *words]) == 1
    said = capsys.readouterr()
    assert "the first 3 of 4 images are shown" in said.err
    assert "000.png: not an image" in said.err
    assert "maps.png: 2 images at 1 resolutions" in said.out
    assert (tmp_path / "maps.png").is_file()
    assert not (tmp_path / "maps.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cell", MODEL, "--count", "0"], "--count 0 makes no picture"),
        (["--cell", MODEL, "--output", "maps.jpg"], "let it end with .png"),
        (["--cell", "test_vit"], "test_vit has no finished training"),
        (["--cell", MODEL, "--images", "nowhere.png"], "no image can be read, nowhere.png is unreadable (No such file"),
    ],
)
def test_a_mistake_is_one_sentence(
    study: Study, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["explain", *words]) == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_without_captum_the_command_that_installs_it_is_said(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "captum", None)  # as where it is not there: find_spec says so
    assert main(["explain", "--cell", MODEL]) == 2
    assert "-m pip install captum" in capsys.readouterr().err


def test_the_images_are_those_whose_answer_changes_most() -> None:
    def part(*shares: float) -> SplitPredictions:
        logs = np.log(np.array([[share, 1 - share] for share in shares], dtype=np.float32))
        return SplitPredictions(list("abcde"), np.zeros(5, dtype=np.int64), logs)

    low, high = part(0.1, 0.9, 0.5, 0.5, 0.3), part(0.9, 0.2, 0.5, 0.6, 0.5)
    assert telling_images([low, high], 3) == [0, 4, 1]
    assert telling_images([low, part(0.5, 0.5, 0.5, 0.5, 0.5), high], 1) == [0]
    assert telling_images([low], 3) == [0, 2, 4]
    assert sorted(telling_images([low, high], 9)) == [0, 1, 2, 3, 4]


def grad_cam(network: torch.nn.Module, layer: SpatialLayer, images: torch.Tensor) -> torch.Tensor:
    with layer.as_map(network) as places:
        return LayerGradCam(lambda given: logits(network(given)), places).attribute(images, target=1).detach()


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("vgg11", "channels first"),
        ("resnet18", "channels first"),
        ("mobilenet_v2", "channels first"),
        ("mobilenetv4_conv_small", "channels first"),
        ("efficientnet_b0", "channels first"),
        ("test_convnext", "channels first"),
        ("test_vit", "tokens"),
        ("swin_t", "channels first"),
    ],
)
def test_a_layer_is_found_and_the_network_stays_as_it_was(name: str, layout: str) -> None:
    torch.manual_seed(0)
    network = construct(entry_of(name), 64, 3).eval()
    layer = spatial_layer(network, name, 64)
    assert layer.layout == layout
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        before = logits(network(images))
    maps = grad_cam(network, layer, images)
    assert maps.shape[:2] == (2, 1)
    assert min(maps.shape[2:]) > 1
    assert float(maps.abs().max()) > 0
    with torch.inference_mode():
        assert torch.equal(logits(network(images)), before)


def test_tokens_are_laid_out_where_they_are_in_the_image() -> None:
    """Worked out by hand: tokens of the last attention's input, each by the mean gradient of its channels."""
    torch.manual_seed(0)
    network = construct(entry_of("test_vit"), 64, 3).eval()
    layer = spatial_layer(network, "test_vit", 64)
    images = torch.randn(1, 3, 64, 64)
    kept: list[torch.Tensor] = []
    hook = network.get_submodule(layer.name).register_forward_hook(lambda _m, _i, output: kept.append(output))
    score = network(images)[0, 1]
    hook.remove()
    (gradient,) = torch.autograd.grad(score, kept[-1])
    tokens, slopes = kept[-1][0, layer.prefix :], gradient[0, layer.prefix :]
    by_hand = (tokens * slopes.mean(dim=0)).sum(dim=1)
    side = round(len(by_hand) ** 0.5)
    found = grad_cam(network, layer, images)[0, 0]
    assert torch.allclose(found, by_hand.detach().reshape(side, side), atol=1e-6)


def test_a_network_without_places_says_so() -> None:
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2)).eval()
    with pytest.raises(ResomapError, match="flat has no layer with places in the image at 8 px"):
        spatial_layer(flat, "flat", 8)
