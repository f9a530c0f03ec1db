"""Augmentation: each image is changed by its own draws, and by nothing else."""

import numpy as np
import pytest
import torch

from resomap.compute.normalisation import Normalisation, in_layout, on_device, to_unit_range
from resomap.config.schema import Augment
from resomap.train.augment import ANGLE, BRIGHTNESS, COLUMNS, CONTRAST, ERASE, HFLIP, TURN, VFLIP, augment, flip, mix

CPU = torch.device("cpu")
OFF = Augment(hflip=0, vflip=0)


@pytest.fixture
def pixels() -> torch.Tensor:
    """Four stored images, as batches have them: uint8 [N, H, W, C]."""
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3), dtype=np.uint8))


def draws(column: int | None = None, *values: float) -> torch.Tensor:
    """Draws in the middle, but for one column's."""
    table = torch.full((4, COLUMNS), 0.5)
    if column is not None:
        table[:, column] = torch.tensor(values)
    return table


def flipped(pixels: torch.Tensor, table: torch.Tensor, settings: Augment) -> np.ndarray:
    return flip(on_device(pixels, CPU), table, settings).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("column", "axis", "key"), [(HFLIP, 1, "hflip"), (VFLIP, 0, "vflip")])
def test_a_flip_where_the_draw_is_below_the_probability(pixels: torch.Tensor, column: int, axis: int, key: str) -> None:
    before = pixels.clone()
    found = flipped(pixels, draws(column, 0.1, 0.4, 0.29, 0.9), OFF.model_copy(update={key: 0.3}))
    for number, is_flipped in enumerate((True, False, True, False)):
        image = pixels[number].numpy()
        assert np.array_equal(found[number], np.flip(image, axis) if is_flipped else image)
    assert torch.equal(pixels, before), "the batch itself stays"


def test_turns_are_rotations_by_each_multiple_of_90_degrees(pixels: torch.Tensor) -> None:
    found = flipped(pixels, draws(TURN, 0.1, 0.3, 0.6, 0.9), OFF.model_copy(update={"rotate90": True}))
    for turns in range(4):
        assert np.array_equal(found[turns], np.rot90(pixels[turns].numpy(), turns))


def test_an_image_is_changed_by_its_own_draws_alone(pixels: torch.Tensor) -> None:
    settings = Augment(degrees=20, brightness=0.3, contrast=0.3, erase=0.5, vflip=0.5, rotate90=True)
    table = torch.rand(4, COLUMNS, generator=torch.Generator().manual_seed(0))
    together = augment(to_unit_range(flip(on_device(pixels, CPU), table, settings)), table, settings)
    for number in range(4):
        own = table[number : number + 1]
        alone = flip(on_device(pixels[number : number + 1], CPU), own, settings)
        assert torch.allclose(augment(to_unit_range(alone), own, settings)[0], together[number], atol=1e-6)
    assert together.min() >= 0
    assert together.max() <= 1


def test_brightness_and_contrast_change_by_at_most_their_share(pixels: torch.Tensor) -> None:
    images = to_unit_range(on_device(pixels, CPU)) * 0.5
    brighter = augment(images, draws(BRIGHTNESS, 0, 0.5, 0.75, 1), OFF.model_copy(update={"brightness": 0.4}))
    assert torch.allclose(brighter, images * torch.tensor([0.6, 1, 1.2, 1.4]).view(-1, 1, 1, 1))
    sharper = augment(images, draws(CONTRAST, 0, 0.5, 0.5, 0.5), OFF.model_copy(update={"contrast": 0.4}))
    mean = images[0].mean()
    assert torch.allclose(sharper[0], mean + 0.6 * (images[0] - mean), atol=1e-6)
    assert torch.allclose(sharper[1:], images[1:], atol=1e-6)


def test_erasing_puts_a_rectangle_to_the_mean_of_the_image(pixels: torch.Tensor) -> None:
    images = to_unit_range(on_device(pixels, CPU))
    found = augment(images, draws(ERASE, 0.1, 0.9, 0.9, 0.9), OFF.model_copy(update={"erase": 0.5}))
    erased = (found[0] != images[0]).all(dim=0)
    rows, columns = erased.any(1).sum(), erased.any(0).sum()
    assert 0 < erased.sum() == rows * columns < 0.25 * erased.numel()
    assert torch.allclose(found[0][:, erased], images[0].mean(dim=(1, 2))[:, None].expand(-1, int(erased.sum())))
    assert torch.equal(found[1:], images[1:])


def test_a_rotation_keeps_a_plain_image_plain() -> None:
    plain = torch.full((4, 3, 16, 16), 0.25)
    table = torch.rand(4, COLUMNS, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(augment(plain, table, OFF.model_copy(update={"degrees": 45.0})), plain)


def test_a_rotation_turns_by_its_draw(pixels: torch.Tensor) -> None:
    images = to_unit_range(on_device(pixels, CPU))
    found = augment(images, draws(ANGLE, 0.0, 0.5, 0.75, 0.9999999), OFF.model_copy(update={"degrees": 180.0}))
    for number, turns in enumerate((2, 0, 1, 2)):
        expected = images[number].rot90(turns, (1, 2))
        assert torch.allclose(found[number], expected, atol=1e-4) or torch.allclose(
            found[number], images[number].rot90(-turns, (1, 2)), atol=1e-4
        )


def test_mixup_shares_pictures_and_labels_alike(pixels: torch.Tensor) -> None:
    images, labels = to_unit_range(on_device(pixels, CPU)), torch.tensor([0, 1, 2, 0])
    mixed, targets = mix(images, labels, 3, alpha=0.4, share=0.75)
    assert torch.allclose(mixed[0], 0.75 * images[0] + 0.25 * images[3])
    assert targets.tolist() == [[1, 0, 0], [0, 0.75, 0.25], [0, 0.25, 0.75], [1, 0, 0]]


@pytest.mark.parametrize(("channels", "statistics"), [(1, 1), (1, 3), (3, 3)])
def test_normalisation_gives_three_channels_in_the_models_layout(channels: int, statistics: int) -> None:
    pixels = torch.randint(0, 256, (2, 8, 8, channels), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6)[:statistics], (0.2, 0.25, 0.3)[:statistics]
    found = in_layout(Normalisation(mean, std)(to_unit_range(on_device(pixels, CPU))), channels_last=True)
    expected = (pixels.numpy().astype(np.float64) / 255 - mean) / std
    assert found.shape == (2, 3, 8, 8)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert np.allclose(found.permute(0, 2, 3, 1).numpy(), np.broadcast_to(expected, (2, 8, 8, 3)), atol=1e-5)
