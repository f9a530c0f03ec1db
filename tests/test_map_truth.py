"""Maps of image sets with a known answer, by real trainings: a threshold that is there, and none that is not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL, make_study
from PIL import Image

from resomap.cells.measurement import measurements
from resomap.cells.study import Study
from resomap.core.files import write_json
from resomap.cost.session import measure_together
from resomap.evaluation.evaluation_writer import evaluate_cell
from resomap.summary.document import Map
from resomap.summary.summary_writer import make_map
from resomap.train.attempt import train_cell
from resomap.train.request import Request

SIZE = 96  # native pixels of both sets
Draw = Callable[[np.random.Generator, bool], np.ndarray]


def stripes(random: np.random.Generator, across: bool) -> np.ndarray:
    """A fine grating of 4 native pixels, across or down: below 2 sampled pixels, that is at 48 px, it is gone."""
    wave = 50 * np.sin(2 * np.pi * np.arange(SIZE) / 4 + random.uniform(0, 2 * np.pi))
    grating = np.broadcast_to(wave[:, None] if across else wave[None, :], (SIZE, SIZE))
    return 128 + grating + random.normal(0, 20, (SIZE, SIZE))


def slope(random: np.random.Generator, across: bool) -> np.ndarray:
    """A slope over the whole image that every resolution shows alike; one image in six has the other class's."""
    across ^= bool(random.random() < 1 / 6)
    ramp = np.linspace(-40, 40, SIZE)
    return (
        128
        + np.broadcast_to(ramp[:, None] if across else ramp[None, :], (SIZE, SIZE))
        + random.normal(0, 20, (SIZE, SIZE))
    )


def write_images(folder: Path, draw: Draw) -> None:
    random = np.random.default_rng(5)
    for split, count in (("train", 80), ("val", 150), ("test", 50)):
        for label, across in (("across", True), ("down", False)):
            place = folder / split / label
            place.mkdir(parents=True)
            for number in range(count):
                pixels = draw(random, across).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{number:03}.png")


def map_of(directory: Path, draw: Draw, resolutions: list[int], seeds: list[int], margin: float) -> Map:
    """Every cell trained and evaluated, every cost measured, as the workflow's jobs do it."""
    write_images(directory / "images", draw)
    study = make_study(
        directory,
        {
            "models": [MODEL],
            "resolutions": resolutions,
            "seeds": seeds,
            "device": "cpu",
            "data": {"source": "images"},
            "training": {
                "epochs": 8,
                "batch_size": 20,
                "amp": "off",
                "early_stopping": {"enabled": False},
                "augment": {"hflip": 0.0},
            },
            "cost": {"seconds": 0.1},
            "tracking": {"drain_seconds": 0},
            "report": {"metric": "accuracy", "margin": margin},
        },
    )
    train_all(study)
    return make_map(study)


def train_all(study: Study) -> None:
    for cell in study.cells():
        train_cell(Request(study, cell, 1, 1, lambda _sentence: None))
        evaluate_cell(study, cell, 1, lambda _sentence: None)
    for measurement, content in measure_together(measurements(study, "cpu"), study, 2, 1, 10**9).items():
        write_json(measurement.path, content)


@pytest.mark.slow
def test_the_resolution_at_which_a_texture_becomes_visible_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = map_of(tmp_path, stripes, [16, 24, 64, 96], [0, 1, 2], margin=0.05)
    quality = {one.resolution: one.validation["accuracy"] for one in found.squares}
    below, above = (quality[16], quality[24]), (quality[64], quality[96])
    assert all(one is not None and one.low is not None and one.value < 0.75 for one in below)
    assert all(one is not None and one.low is not None and one.low > 0.9 for one in above)
    (resolutions,) = found.model_resolutions
    assert resolutions.alike == [64, 96]  # it rises, then it is flat
    assert {(claim.better, claim.worse) for claim in resolutions.claims} == {(64, 16), (64, 24), (96, 16), (96, 24)}
    assert found.recommendation is not None
    assert found.recommendation.chosen is not None
    assert (found.recommendation.chosen.model, found.recommendation.chosen.resolution) == (MODEL, 64)
    # Seen at a resolution that does not show it, the texture is gone for those trained on it too.
    tested = {(one.trained_at, one.tested_at): one.test for one in found.matrix}
    assert (tested[96, 24] or 0) < 0.75 < (tested[96, 96] or 0)
    assert [one.best_test_resolution for one in found.squares if one.resolution == 96] == [96]


@pytest.mark.slow
def test_where_resolution_has_no_effect_none_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = map_of(tmp_path, slope, [24, 32, 48], [0, 1, 2], margin=0.05)
    quality = [one.validation["accuracy"] for one in found.squares]
    assert all(one is not None and 0.75 < one.value < 0.9 for one in quality)  # learned, as far as it can be
    (resolutions,) = found.model_resolutions
    assert resolutions.claims == []
    assert resolutions.alike == [24, 32, 48]
    assert found.recommendation is not None
    assert found.recommendation.chosen is not None
    # The cheapest of equals; of networks this small, which that is depends on the machine's other work.
    assert found.recommendation.chosen.resolution == found.recommendation.candidates[0].resolution
