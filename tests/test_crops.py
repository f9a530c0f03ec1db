"""Random crops: of pixels as fine as the input, by each image's own draws, from images that are prepared for them."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import MODEL, RESOLUTION, make_study, small_config, snakemake
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data.transforms import RandomResizedCropAndInterpolation

from resomap.cells.study import Study
from resomap.compute.normalisation import on_device
from resomap.config import Training
from resomap.config.hashed import recipe_version
from resomap.config.load import parse_config
from resomap.config.schema import Augment
from resomap.core.errors import ResomapError
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Store
from resomap.planning.disk import forecast_disk
from resomap.train.augment import AREA, ASPECT, COLUMNS, X, Y
from resomap.train.batches import TrainingBatches
from resomap.train.crops import boxes, crop_each

SIZE = 32


def cropping(scale: float) -> Training:
    return Training(batch_size=8, augment=Augment(hflip=0.0, scale=scale))


def table(rows: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(rows, COLUMNS, generator=torch.Generator().manual_seed(seed))


def draws_at(area: float, aspect: float, x: float, y: float) -> torch.Tensor:
    found = torch.full((1, COLUMNS), 0.5)
    found[0, [AREA, ASPECT, X, Y]] = torch.tensor([area, aspect, x, y])
    return found


@given(
    scale=st.floats(0.05, 1.0),
    size=st.integers(8, 512),
    drawn=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=4, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_no_crop_is_enlarged_or_leaves_its_image(scale: float, size: int, drawn: list[float]) -> None:
    source = cropping(scale).crop_source(size)
    ((top, left, height, width),) = boxes(draws_at(*drawn), scale, source)
    assert min(height, width) >= size
    assert top >= 0
    assert left >= 0
    assert top + height <= source
    assert left + width <= source
    # Rounded to whole pixels, it has the area and the aspect ratio that were asked for.
    rounding = 1 / size
    assert scale * (1 - 2 * rounding) <= height * width / source**2 <= 1
    assert 3 / 4 * (1 - 2 * rounding) <= width / height <= 4 / 3 * (1 + 2 * rounding)


@pytest.mark.parametrize("scale", [0.08, 0.35, 0.7, 0.9])
def test_the_smallest_crop_has_the_inputs_pixels_and_no_more_are_stored(scale: float) -> None:
    source = cropping(scale).crop_source(224)
    smallest = min(boxes(draws_at(0.9999999, aspect, 0, 0), scale, source)[0][2] for aspect in (0.0, 0.9999999))
    assert 224 <= smallest <= 226
    assert cropping(1.0).stored_sizes(224) == (224,)
    assert cropping(scale).stored_sizes(224) == (224, source)


def test_crops_come_from_everywhere_in_all_sizes() -> None:
    found = np.array(boxes(table(4000), 0.3, 100))
    top, left, height, width = found.T
    share = height * width / 100**2
    for begin, extent in ((top, height), (left, width)):
        free = extent < 80
        place = begin[free] / (100 - extent[free])
        assert np.histogram(place, 4, (0, 1))[0].min() > 0.2 * len(place)
    assert np.histogram(share, 4, (0.3, 1))[0].min() > 0.2 * len(share)
    assert 0.45 < (width > height).mean() < 0.55


def test_a_crop_is_what_pillow_cuts_and_scales() -> None:
    random = np.random.default_rng(3)
    pixels = torch.from_numpy(random.integers(0, 256, (6, 90, 90, 3), dtype=np.uint8))
    drawn = table(6, 1)
    found = crop_each(on_device(pixels, torch.device("cpu")), drawn, 0.4, 48)
    assert found.dtype == torch.uint8
    for image, crop, (top, left, height, width) in zip(pixels, found, boxes(drawn, 0.4, 90), strict=True):
        own = Image.fromarray(image.numpy()).crop((left, top, left + width, top + height))
        expected = np.asarray(own.resize((48, 48), Image.Resampling.BILINEAR), dtype=int)
        assert np.abs(crop.permute(1, 2, 0).numpy().astype(int) - expected).max() <= 1


def test_an_image_is_cropped_by_its_own_draws_alone() -> None:
    pixels = torch.randint(0, 256, (5, 3, 60, 60), dtype=torch.uint8)
    drawn = table(5, 2)
    together = crop_each(pixels, drawn, 0.4, 32)
    for number in range(5):
        alone = crop_each(pixels[number : number + 1], drawn[number : number + 1], 0.4, 32)
        assert torch.equal(alone[0], together[number])


def test_crops_are_as_sharp_as_those_of_timm(tmp_path: Path) -> None:
    """A weave, 4.3 pixels a thread in the crop: of the file by timm's transform, of our images, of the input's size."""
    side, size, scale = 512, 64, 0.3
    rows, columns = np.mgrid[0:side, 0:side] * (2 * math.pi / 21)
    weave = (127.5 + 120 * np.sin(rows) * np.sin(columns)).astype(np.uint8)
    for label in ("one", "other"):
        (tmp_path / label).mkdir()
        for number in range(8):
            Image.fromarray(np.roll(weave, 1 + number, axis=label == "one")).save(tmp_path / label / f"{number}.png")
    study = make_study(tmp_path, small_config(tmp_path, resolutions=[size], training={"augment": {"scale": scale}}))
    source = study.stored_sizes(study.cells()[0])[1]

    def spread(pixels: np.ndarray) -> float:
        return float(np.mean([image.std() for image in pixels]))

    def ours(of: int) -> float:
        stored = torch.from_numpy(np.array(Store.open(tmp_path / DATA_DIRECTORY, of).split("train").pixels[:8]))
        drawn = table(len(stored), 4)
        drawn[:, AREA] = 0.9  # small crops, in which the weave is fine enough for the input
        return spread(crop_each(on_device(stored, torch.device("cpu")), drawn, scale, size).numpy())

    smallest = 1 - (1 - scale) * 0.9
    peers = RandomResizedCropAndInterpolation(size, (smallest, smallest), interpolation="bilinear")
    theirs = spread(np.stack([np.asarray(peers(Image.fromarray(weave))) for _ in range(8)]))
    assert 0.7 * theirs < ours(source) < 1.1 * theirs
    assert ours(size) < 0.4 * theirs


def test_batches_have_images_of_the_size_that_crops_are_taken_from(study_in: Callable[..., Study]) -> None:
    study = study_in(training={"augment": {"scale": 0.5}})
    recipe = study.recipe(study.cells()[0])
    size = recipe.crop_source(RESOLUTION)
    store = Store.open(DATA_DIRECTORY, size)
    batch = TrainingBatches(store.split("train"), recipe, 0, pinned=False, size=RESOLUTION).first()
    assert batch.pixels.shape[1:3] == (size, size)
    assert batch.size == RESOLUTION


def test_recipes_with_crops_train_anew_and_no_others() -> None:
    assert recipe_version(cropping(0.7)) == 5
    assert recipe_version(cropping(1.0)) == recipe_version(Training())


def test_crops_of_images_larger_than_any_are_refused_before_anything_runs(images: Path) -> None:
    config = small_config(images, resolutions=[RESOLUTION, 2048], training={"augment": {"scale": 0.1}})
    with pytest.raises(ResomapError, match=r"augment\.scale is 0\.1, .*@2048 need images of 7,4\d\d pixels"):
        Study.open(config)


def test_the_forecast_of_the_disk_counts_both_sizes(images: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)

    def stored(scale: float) -> int:
        study = Study.open(small_config(images, training={"augment": {"scale": scale}}))
        return forecast_disk(study, study.cells(), 1).images

    source = cropping(0.5).crop_source(RESOLUTION)
    assert stored(0.5) / stored(1.0) == pytest.approx(1 + (source / RESOLUTION) ** 2)


@pytest.mark.slow
def test_a_grid_prepares_them_and_deletes_them_after_its_last_training(images: Path, tmp_path: Path) -> None:
    config = small_config(images, data={"keep_train": False}, training={"epochs": 1, "augment": {"scale": 0.5}})
    source = parse_config(config).training.crop_source(RESOLUTION)
    marker = f"results/{MODEL}/{RESOLUTION}.done"
    planned = snakemake("-n", marker, directory=tmp_path, config=config)
    assert {f"results/data/{size}/store.json" for size in (RESOLUTION, source)} <= set(
        planned.stdout.replace(",", " ").split()
    )
    trained = snakemake(marker, directory=tmp_path, config=config)
    assert trained.returncode == 0, trained.stderr
    for size in (RESOLUTION, source):
        assert (tmp_path / DATA_DIRECTORY / str(size) / "store.json").exists()
        assert not (tmp_path / DATA_DIRECTORY / str(size) / "train.npy").exists()


@pytest.mark.slow
def test_a_fold_trains_on_them_and_what_is_broken_is_prepared_anew(images: Path, tmp_path: Path) -> None:
    config = small_config(images, data={"folds": 2}, training={"epochs": 1, "augment": {"scale": 0.5}})
    source = parse_config(config).training.crop_source(RESOLUTION)
    first, second = (f"results/{MODEL}/{RESOLUTION}{fold}.done" for fold in ("", ".fold2"))
    trained = snakemake(first, directory=tmp_path, config=config)
    assert trained.returncode == 0, trained.stderr
    array = tmp_path / DATA_DIRECTORY / str(source) / "train.npy"
    whole = array.read_bytes()
    array.write_bytes(whole[:-1])
    mended = snakemake(second, directory=tmp_path, config=config)
    assert mended.returncode == 0, mended.stderr
    assert f"the images of {source} pixels are prepared anew" in mended.stderr
    assert array.read_bytes() == whole
    assert (tmp_path / second).exists()
