"""Studies of tables and shards: trained as the folder is, with weights that are felt; the page's examples."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
import torch.nn.functional as F
import yaml
from conftest import MODEL, ROOT, draw_images, make_study, small_config, trainer
from shards import class_label, hugging_face, label_in, names_in, write_csv, write_parquet, write_tar

from resomap.cells.evaluation_record import predictions_path
from resomap.cells.marker import Marker
from resomap.cells.predictions import Predictions
from resomap.compute.device import Device
from resomap.compute.execution import Execution
from resomap.compute.normalisation import Normalisation
from resomap.config import Training
from resomap.config.schema import Augment, Columns, Data
from resomap.data.identity import describe
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.data.source import read_source
from resomap.data.store import Store
from resomap.train.batches import TrainingBatches
from resomap.train.gradients import GradientPass
from resomap.train.objective import Objective


def trained(directory: Path, source: Path, **data: Any) -> tuple[Marker, Predictions]:
    """The marker and predictions of a short training, in a process of its own."""
    directory.mkdir()
    study = make_study(directory, small_config(source, data={"source": str(source), **data}, training={"epochs": 1}))
    process = trainer(f"{MODEL}@32", directory)
    assert process.wait(200) == 0, process.stderr and process.stderr.read()
    cell = study.cells()[0]
    marker = Marker.read(directory / cell.marker)
    predictions = Predictions.load(directory / predictions_path(cell, 32))
    assert marker is not None
    assert predictions is not None
    return marker, predictions


@pytest.mark.slow
def test_a_training_of_shards_is_that_of_the_folder_to_the_bit(tmp_path: Path) -> None:
    images = tmp_path / "images"
    draw_images(images, 20)
    forms: dict[str, Callable[[], tuple[Path, dict[str, Any]]]] = {
        "parquet": lambda: (write_parquet(images, tmp_path / "hub"), {}),
        "tar": lambda: (write_tar(images, tmp_path / "wds"), {"on_disk": "never"}),
    }
    marker, predictions = trained(tmp_path / "folder", images)
    for form, make in forms.items():
        source, data = make()
        same, found = trained(tmp_path / form, source, **data)
        assert same.metrics == marker.metrics, form
        assert same.fingerprint != marker.fingerprint
        for split, part in predictions.splits.items():
            assert list(found.splits[split].names) == list(part.names)
            assert (found.splits[split].log_probabilities == part.log_probabilities).all(), form


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_weights_of_a_table_reach_the_gradients(tmp_path: Path, mixup: float) -> None:
    """The weights go from the table over the store to the first batch, whole and in microbatches."""
    images = tmp_path / "images"
    draw_images(images, 8)
    lines = [f"{name},{label_in(name)},{1 + 8 * (label_in(name) == 'down')}" for name in names_in(images)]
    (images / "t.csv").write_text("\n".join(["path,label,w", *lines]))
    recipe = Training(batch_size=8, augment=Augment(mixup=mixup))
    execution = Execution(device=Device(torch.device("cpu"), "cpu"), precision=None, channels_last=False)

    def gradient(microbatch: int | None, **data: Any) -> torch.Tensor:
        make_manifest(Data(source=str(images / "t.csv"), **data), tmp_path / "data", 1)
        prepare_images(tmp_path / "data", 16, 1)
        train = Store.open(tmp_path / "data", 16).split("train")
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 2))
        own = GradientPass(
            recipe=recipe,
            classes=2,
            normalisation=Normalisation((0.5,), (0.5,)),
            objective=Objective(recipe, train.labels, 2, execution.device.torch),
            execution=execution,
        )
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        own.accumulate(network, scaler, TrainingBatches(train, recipe, 0, pinned=False).first(), microbatch)
        found = network[1].weight.grad
        assert isinstance(found, torch.Tensor)
        return found

    plain, weighed = gradient(None), gradient(None, columns=Columns(weight="w"))
    assert (plain - weighed).norm() > 0.1 * plain.norm()
    assert torch.allclose(gradient(3, columns=Columns(weight="w")), weighed, atol=1e-5)


def test_the_weight_of_an_image_counts_as_so_many_images() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    targets = F.one_hot(torch.tensor([0, 1, 3]), 4).float()
    labels = np.array([0, 1, 1, 3])
    for recipe in (Training(), Training(class_weights="balanced", label_smoothing=0.1)):
        objective = Objective(recipe, labels, 4, torch.device("cpu"))
        rows = torch.tensor([0, 1, 1, 2])
        repeated = objective(logits[rows], targets[rows], torch.ones(4))
        weighed = objective(logits, targets, torch.tensor([1.0, 2.0, 1.0]) * 3 / 4)
        assert weighed.item() == pytest.approx(repeated.item(), abs=1e-6)
    assert objective(logits, targets, torch.ones(3)).item() == pytest.approx(
        objective(logits, targets).item(), abs=1e-6
    )


def examples() -> list[str]:
    """The configurations on the page of tables, one a block."""
    text = (ROOT / "docs/tables.md").read_text()
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _kaggle(place: Path, images: Path) -> None:
    (place / "dogs/train").mkdir(parents=True)
    lines = ["id,breed"]
    for name in names_in(images):
        shutil.copy(images / name, place / "dogs/train" / name.replace("/", "-").replace(".png", ".jpg"))
        lines.append(f"{name.replace('/', '-').removesuffix('.png')},{label_in(name)}")
    (place / "dogs/train.csv").write_text("\n".join(lines))


def _clinic(place: Path, images: Path) -> None:
    shutil.copytree(images, place / "clinic")
    splits = ("train", "val", "test")
    rows = [
        [name, label_in(name), splits[number % 3], f"p{number}", "1.5"] for number, name in enumerate(names_in(images))
    ]
    text = "\n".join("\t".join(row) for row in [["scan", "finding", "fold", "person", "trust"], *rows])
    (place / "clinic/scans.tsv").write_text(text)


def _cifar(place: Path, images: Path) -> None:
    rows = [{"bytes": (images / name).read_bytes(), "path": None} for name in names_in(images)]
    labels = [int(label_in(name) == "down") for name in names_in(images)]
    features = {name: class_label(["across", "down"]) for name in ("fine_label", "coarse_label")}
    table = hugging_face(features, {"img": rows, "fine_label": labels, "coarse_label": labels})
    parquet.write_table(table, place / "hub/cifar.parquet")


def test_every_example_of_the_page_of_tables_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "drawn"
    draw_images(images, 3)
    shutil.copytree(images, "photos")
    write_csv(images, Path("photos/labels.csv").absolute())
    (tmp_path / "photos/labels.csv").write_text((tmp_path / "photos/labels.csv").read_text().replace("drawn/", ""))
    _kaggle(tmp_path, images)
    _clinic(tmp_path, images)
    write_parquet(images, tmp_path / "hub/flowers")
    _cifar(tmp_path, images)
    shutil.copytree(images, "imagefolder/all")
    lines = [f"all/{name},{label_in(name)}" for name in names_in(images)]
    (tmp_path / "imagefolder/metadata.csv").write_text("\n".join(["file_name,label", *lines]))
    write_tar(images, tmp_path / "shards/wds")
    found = examples()
    assert len(found) == 8
    for text in found:
        data = Data(**yaml.safe_load(text)["data"])
        if data.source == "shards/birds.tar":
            write_tar(images, tmp_path / "birds", 1, as_json=True, key="species")
            shutil.move(tmp_path / "birds/000000.tar", data.source)
        described, source = describe(data), read_source(data)
        assert (described.images, described.classes) == (6, ("across", "down")), text
        assert (len(source.items), source.classes, source.problems) == (6, ["across", "down"], []), text
    clinic = next(Data(**yaml.safe_load(text)["data"]) for text in found if "clinic" in text)
    assert read_source(clinic).items[1].weight == 1.5
    assert {item.split for item in read_source(clinic).items} == {"train", "val", "test"}
