"""TrivialAugment, RandAugment, colour, blur and CutMix: each image by its own seeds, as torchvision makes them."""

from typing import Any

import numpy as np
import pytest
import torch
from test_self_check import check_of
from test_untrainable import CPU, network
from torchvision.transforms import v2

from resomap.config import Training
from resomap.config.schema import Augment
from resomap.data.store import Images
from resomap.train import draws
from resomap.train.augment import Cut, cut_mix
from resomap.train.batches import TrainingBatches
from resomap.train.policies import KINDS, change_each

CHANGES: list[dict[str, Any]] = [
    {"policy": "trivialaugment"},
    {"policy": "randaugment"},
    {"saturation": 0.8},
    {"hue": 0.4},
    {"blur": 0.7},
    {"policy": "randaugment", "saturation": 0.5, "hue": 0.1, "blur": 0.5},
]


@pytest.fixture
def pixels() -> torch.Tensor:
    """Colour photographs in little: smooth shades with noise, uint8 [N, C, H, W]."""
    random = np.random.default_rng(0)
    shades = np.linspace(20, 200, 24)[None, None, :, None] + random.normal(0, 25, (12, 3, 24, 24))
    return torch.from_numpy(shades.clip(0, 255).astype(np.uint8))


@pytest.fixture
def seeds() -> torch.Tensor:
    return torch.from_numpy(draws.seeds(12, KINDS, seed=1, epoch=2))


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_changed_by_its_own_seeds_alone(
    pixels: torch.Tensor, seeds: torch.Tensor, changes: dict[str, Any], channels: int
) -> None:
    settings, images = Augment(**changes), pixels[:, :channels]
    state = torch.get_rng_state()
    together = change_each(images, seeds, settings)
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
    for number in (11, 3, 0):
        alone = change_each(images[number : number + 1], seeds[number : number + 1], settings)
        assert torch.equal(alone[0], together[number])
    assert torch.equal(torch.get_rng_state(), state), "draws inside the network stay what they were"
    is_colour = set(changes) <= {"saturation", "hue"}
    assert torch.equal(together, images) == (is_colour and channels == 1), "grey stays grey"
    other = torch.from_numpy(draws.seeds(12, KINDS, seed=1, epoch=3))
    assert torch.equal(change_each(images, other, settings), together) == (is_colour and channels == 1)


@pytest.mark.parametrize(
    ("changes", "kind", "torchvisions"),
    [
        ({"policy": "trivialaugment"}, 0, v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)),
        (
            {"policy": "randaugment", "operations": 3, "magnitude": 20},
            0,
            v2.RandAugment(3, 20, interpolation=v2.InterpolationMode.BILINEAR),
        ),
        ({"hue": 0.4, "saturation": 0.3}, 1, v2.ColorJitter(hue=0.4, saturation=0.3)),
    ],
)
def test_it_is_what_torchvision_makes(
    pixels: torch.Tensor, seeds: torch.Tensor, changes: dict[str, Any], kind: int, torchvisions: v2.Transform
) -> None:
    found = change_each(pixels, seeds, Augment(**changes))
    for image, own, changed in zip(pixels, seeds, found, strict=True):
        torch.manual_seed(int(own[kind]))
        assert torch.equal(torchvisions(image), changed)


def test_one_change_leaves_the_draws_of_the_others(pixels: torch.Tensor, seeds: torch.Tensor) -> None:
    blurred = change_each(pixels, seeds, Augment(blur=0.5))
    which = [not torch.equal(one, other) for one, other in zip(blurred, pixels, strict=True)]
    assert 0 < sum(which) < 12
    coloured = change_each(pixels, seeds, Augment(saturation=0.5))
    both = change_each(pixels, seeds, Augment(saturation=0.5, blur=0.5))
    assert [not torch.equal(one, other) for one, other in zip(both, coloured, strict=True)] == which


@pytest.mark.parametrize(("key", "value"), [("operations", 4), ("magnitude", 25)])
def test_number_and_strength_of_operations_count(
    pixels: torch.Tensor, seeds: torch.Tensor, key: str, value: int
) -> None:
    usual = change_each(pixels, seeds, Augment(policy="randaugment"))
    assert not torch.equal(change_each(pixels, seeds, Augment(policy="randaugment", **{key: value})), usual)


def test_nothing_asked_for_changes_nothing(pixels: torch.Tensor, seeds: torch.Tensor) -> None:
    assert change_each(pixels, seeds, Augment()) is pixels


# CutMix


def test_cutmix_shares_labels_by_the_area_that_is_replaced() -> None:
    images, labels = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    mixed, targets = cut_mix(images, labels, 3, Cut(kept=0.75, x=0.5, y=0.5))
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[2:6, 2:6] = True
    for number, partner in ((0, 3), (1, 2), (2, 1), (3, 0)):
        assert (mixed[number, :, inside] == partner).all()
        assert (mixed[number, :, ~inside] == number).all()
    assert targets.tolist() == [[1, 0, 0], [0, 0.75, 0.25], [0, 0.25, 0.75], [1, 0, 0]]
    assert images[0].eq(0).all(), "the batch itself stays"
    _, cornered = cut_mix(images, labels, 3, Cut(kept=0.75, x=0.0, y=1.0))
    assert cornered[1].tolist() == [0, 1 - 4 / 64, 4 / 64]


def test_cutmix_and_mixup_take_turns_and_repeat() -> None:
    images = Images(np.zeros((64, 4, 4, 1), np.uint8), np.arange(64) % 2, [str(one) for one in range(64)])

    def cuts(epoch: int, **augment: float) -> list[Cut | None]:
        recipe = Training(batch_size=2, augment=augment)
        return [batch.cut for batch in TrainingBatches(images, recipe, 0, pinned=False).epoch(epoch)]

    assert cuts(0, mixup=0.5) == [None] * 32
    assert None not in cuts(0, cutmix=1.0)
    assert 4 < cuts(0, cutmix=1.0, mixup=0.5).count(None) < 28
    assert cuts(1, cutmix=1.0) == cuts(1, cutmix=1.0) != cuts(0, cutmix=1.0)


def test_a_training_learns_with_all_of_it() -> None:
    augment = {"policy": "trivialaugment", "cutmix": 1.0, "mixup": 0.2, "hue": 0.1, "saturation": 0.2, "blur": 0.3}
    check, loop = check_of(network(2), CPU, augment=augment)
    check.run(CPU)
    loop.run()
    assert check.state.epoch == 1
