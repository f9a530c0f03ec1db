"""Recorded grids: images, models, resolutions, seeds and recipe of each, in the order in which they are recorded."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.record import real_images, shapes, textures
from benchmarks.record.image_sets import ImageSet
from resomap.config import Training

# Networks of 0.1 to 0.4 million parameters, of timm's tests, and two of small phones: a cell is trained in seconds.
SMALL = ("test_efficientnet", "test_byobnet", "test_resnet", "test_mambaout")
WITH_TRANSFORMER = ("test_efficientnet", "test_vit", "test_byobnet", "test_resnet")
PHONE = ("test_efficientnet", "test_byobnet", "lcnet_050", "test_resnet")

FEW, MANY = 3, 8  # seeds


@dataclass(frozen=True, kw_only=True)
class GridDefinition:
    """One grid of trainings: every model at every resolution (pixels), with each of its seeds.

    kind: of images; what is tuned on grids leaves one kind out. recipe: keys of `training` beside BASE.
    """

    name: str
    kind: str
    draw: Callable[[], ImageSet]
    models: tuple[str, ...]
    resolutions: tuple[int, ...]
    seeds: int = FEW
    recipe: dict[str, Any] = field(default_factory=dict)

    @property
    def about(self) -> str:
        """Sentence that says what the images are."""
        return (self.draw.__doc__ or "").strip()

    @property
    def squares(self) -> list[tuple[str, int]]:
        """Models at resolutions in the order in which arrays hold them."""
        return [(model, resolution) for model in self.models for resolution in self.resolutions]

    @property
    def training(self) -> Training:
        """The recipe, the same for each cell."""
        return Training.model_validate(BASE | self.recipe)


# float32, and no early stopping: what a rule that stops early would have missed must be on record.
BASE: dict[str, Any] = {
    "epochs": 10,
    "batch_size": 16,
    "learning_rate": 0.002,
    "amp": "off",
    "early_stopping": {"enabled": False},
}
NO_FLIP = {"augment": {"hflip": 0.0}}  # where a mirrored picture shows something else

GRIDS = (
    GridDefinition(
        name="digits",
        kind="digits",
        draw=real_images.digits,
        models=SMALL,
        resolutions=(8, 12, 16, 24),
        recipe={"epochs": 8, **NO_FLIP},
    ),
    GridDefinition(
        name="weave",
        kind="textures",
        draw=textures.weave,
        models=SMALL,
        resolutions=(16, 20, 28, 40),
        seeds=MANY,
        recipe=NO_FLIP,
    ),
    GridDefinition(
        name="polygons",
        kind="shapes",
        draw=shapes.polygons,
        models=WITH_TRANSFORMER,
        resolutions=(16, 32, 48, 64),
    ),
    GridDefinition(
        name="solar-cells",
        kind="elpv",
        draw=real_images.solar_cells,
        models=SMALL,
        resolutions=(16, 24, 36, 48),
        seeds=MANY,
    ),
    GridDefinition(
        name="bark",
        kind="textures",
        draw=textures.bark,
        models=PHONE,
        resolutions=(12, 16, 24, 36),
        recipe=NO_FLIP,
    ),
    GridDefinition(
        name="blots",
        kind="shapes",
        draw=shapes.blots,
        models=SMALL,
        resolutions=(16, 20, 28, 40),
        seeds=MANY,
    ),
    GridDefinition(
        name="eights",
        kind="digits",
        draw=real_images.eights,
        models=PHONE,
        resolutions=(8, 12, 16, 24),
        seeds=MANY,
        recipe=NO_FLIP,
    ),
    GridDefinition(
        name="materials",
        kind="elpv",
        draw=real_images.materials,
        models=WITH_TRANSFORMER,
        resolutions=(16, 32, 48, 64),
    ),
    GridDefinition(
        name="grain",
        kind="textures",
        draw=textures.grain,
        models=WITH_TRANSFORMER,
        resolutions=(16, 32, 48, 64),
        recipe=NO_FLIP,
    ),
    GridDefinition(
        name="scratches",
        kind="shapes",
        draw=shapes.scratches,
        models=SMALL,
        resolutions=(16, 20, 28, 40),
    ),
    GridDefinition(
        name="monocrystalline",
        kind="elpv",
        draw=real_images.monocrystalline_cells,
        models=PHONE,
        resolutions=(16, 24, 36, 48),
    ),
    GridDefinition(
        name="severities",
        kind="elpv",
        draw=real_images.severities,
        models=SMALL,
        resolutions=(16, 24, 36, 48),
    ),
)

# Of the tests: seconds on one core.
TINY = GridDefinition(
    name="tiny",
    kind="textures",
    draw=textures.few_gratings,
    models=("test_byobnet", "test_vit"),
    resolutions=(16, 32),
    seeds=2,
    recipe={"epochs": 2, **NO_FLIP},
)
