"""Section of the configuration that is the recipe of one training."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from resomap.config.judging import FurtherMetric
from resomap.config.recipes import RecipeName, expanded
from resomap.config.values import (
    UNHASHED,
    Count,
    LearningRate,
    Microbatch,
    OptionalFloat,
    OptionalText,
    Probability,
    Rates,
    Resolution,
    Section,
    Seed,
    key,
    off_from_false,
    section,
)

CROP_ASPECT = 4 / 3  # of a random crop, at most, either way
WARMUP_SHARE = 0.5  # of a training: a longer warm-up is cut to it


class Augment(Section):
    """Random augmentation of the training images, drawn per image as a pure function of (seed, epoch, index)."""

    hflip: Probability = key(0.5, "probability of a horizontal flip")
    vflip: Probability = key(0.0, "probability of a vertical flip")
    rotate90: bool = key(False, "turn by a random multiple of 90 degrees")
    scale: Annotated[float, Field(gt=0, le=1)] = key(
        1.0,
        "smallest share of the area in a random crop, which is scaled to full size, of images stored larger for it (by "
        "1.4 with 0.7, by 4.1 with 0.08); 1: no crop",
    )
    degrees: Annotated[float, Field(ge=0, le=180)] = key(0.0, "largest random rotation to either side", "degrees")
    brightness: Probability = key(0.0, "largest relative change of brightness")
    contrast: Probability = key(0.0, "largest relative change of contrast")
    erase: Probability = key(0.0, "probability that a random rectangle is erased (Zhong et al. 2020)")
    mixup: Annotated[float, Field(ge=0)] = key(0.0, "alpha of mixup (Zhang et al. 2018); 0: off")
    cutmix: Annotated[float, Field(ge=0)] = key(
        0.0, "alpha of CutMix (Yun et al. 2019), in half of the batches where mixup is on too; 0: off"
    )
    policy: Literal["none", "trivialaugment", "randaugment"] = key(
        "none",
        "random operations by torchvision: TrivialAugment (wide; Müller and Hutter 2021) or RandAugment (Cubuk et al. "
        "2020)",
    )
    operations: Count = key(2, "operations an image of RandAugment", ge=1)
    magnitude: Count = key(9, "strength of RandAugment's operations", ge=0, le=30)
    saturation: Probability = key(0.0, "largest relative change of saturation; none of grey images")
    hue: Annotated[float, Field(ge=0, le=0.5)] = key(
        0.0, "largest turn of the hue to either side, in turns of the colour circle; none of grey images"
    )
    blur: Probability = key(0.0, "probability of a Gaussian blur of 0.1 to 2 pixels")


class EarlyStopping(Section):
    """Early stopping: the end of a training whose validation metric no longer improves."""

    enabled: bool = key(True, "whether a training may end before `training.epochs`")
    patience: Count = key(8, "epochs without improvement before the training ends", "epochs", ge=1)
    min_delta: Annotated[float, Field(ge=0)] = key(0.0, "improvements smaller than this do not count")
    warmup_epochs: Count = key(5, "epochs at the start that never end the training", "epochs", ge=0)


class LearningRateSearch(Section):
    """Search for the learning rate of a model where `training.learning_rate` is `auto`; in fingerprints only there."""

    rates: Rates = key(
        [0.0001, 0.0003, 0.001, 0.003, 0.01],
        "learning rates that are tried; where the best one is the lowest or the highest, the next one beyond it is "
        "tried too, at most twice",
    )
    epochs: Count = key(5, "epochs of each trial: a short schedule of the model's recipe", "epochs", ge=1)
    held_out: Annotated[float, Field(gt=0, le=0.5)] = key(
        0.2, "share of the training images by which rates are judged, and from which no trial learns"
    )
    resolution: Resolution = key(
        128, "input size of the trials, of all models and in each sub-grid; best a small one of `resolutions`", "pixels"
    )
    seed: Seed = key(0, "seed of the trials and of the images that are held out")


class Training(Section):
    """The recipe of one training, all of it in the fingerprint; overrides change it per model or cell."""

    recipe: Annotated[RecipeName, UNHASHED] = key(
        "scratch",
        "values for pretrained weights (`finetune`, `linear_probe`) in place of the defaults of the keys in the table "
        "of recipes in config/README.md; each can still be set. In `overrides` a recipe sets all of them anew",
    )
    epochs: Count = key(25, "passes over the training images", "epochs", ge=1)
    batch_size: Count = key(32, "images an optimizer step", "images", ge=2)
    microbatch: Microbatch = key(
        None,
        "images a forward pass; gradients are accumulated up to `batch_size`; null: the whole batch; `auto`: as many "
        "as fit, tried once for each model at its largest resolution. Changes the statistics of batch normalisation",
        "images",
    )
    optimizer: str = key("adamw", "any optimizer that timm's factory knows (`adamw`, `sgd`, `lamb`, ...)")
    learning_rate: LearningRate = key(
        0.001,
        "highest learning rate of the schedule; `auto`: the best of a few, found once for each model by short trials "
        "on its training images (`learning_rate_search`)",
    )
    layer_decay: OptionalFloat = key(
        None,
        "factor of the learning rate from each layer to the one before it, counted from the head (timm's groups; "
        "Bao et al. 2022); null: one rate for all",
        gt=0,
        le=1,
    )
    freeze_epochs: Count = key(
        0,
        "epochs at the start in which only the head learns, on the network in evaluation mode (batch normalisation by "
        "its running statistics)",
        "epochs",
        ge=0,
    )
    trainable: Literal["all", "head"] = key(
        "all",
        "`head`: only the head learns, on features of the frozen network that are computed once for the folds and "
        "seeds of a cell, so that an epoch takes a moment; without augmentation",
    )
    weight_decay: float = key(0.05, "weight decay; biases and normalisation layers are left out", ge=0)
    momentum: float = key(0.9, "momentum of optimizers that have one (sgd, rmsprop, ...)", ge=0, lt=1)
    schedule: Literal["cosine", "linear", "constant"] = key("cosine", "course of the learning rate after warm-up")
    warmup_epochs: float = key(
        1.0, "epochs in which the learning rate rises from 0, at most half of all", "epochs", ge=0
    )
    min_learning_rate: float = key(1e-6, "learning rate at the end of the schedule", ge=0)
    gradient_clip: OptionalFloat = key(1.0, "largest norm of the gradient; null: not clipped", gt=0)
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = key(0.0, "share of the target spread over all classes")
    class_weights: Literal["none", "balanced"] = key(
        "none", "`balanced` weighs each image in the loss by the inverse frequency of its true class"
    )
    ema_decay: OptionalFloat = key(
        None,
        "decay of an exponential moving average of the weights, which is then evaluated; null: off",
        gt=0,
        lt=1,
    )
    dropout: OptionalFloat = key(None, "dropout before the head; null: the model's own default", ge=0, lt=1)
    weights: OptionalText = key(
        None,
        "null: random; `default`: the library's pretrained weights, from `weights_directory`, its cache or the net; or "
        "a safetensors or state-dict file",
    )
    amp: Annotated[Literal["auto", "bf16", "fp16", "off"], BeforeValidator(off_from_false)] = key(
        "auto", "mixed precision; `auto`: bf16 where the device computes in it, else off"
    )
    channels_last: bool = key(True, "channels-last memory layout, which convolutions prefer")
    compile: bool = key(
        False,
        "the steps' forward and backward passes by torch.compile, which takes a C++ compiler and up to a minute for a "
        "network; evaluation stays as it is",
    )
    graphs: Annotated[Literal["off", "auto"], BeforeValidator(off_from_false), UNHASHED] = key(
        "off",
        "`auto`: forward and backward pass of a step as one CUDA graph, where that is faster (tried once for each "
        "model) and, with `deterministic: true`, of the same bits; not measured on a GPU yet",
    )
    monitor: Literal["loss", "accuracy", "balanced_accuracy", "macro_f1", FurtherMetric] = key(
        "loss",
        "validation metric that chooses the best epoch and drives early stopping; class and share of an operating "
        "point are `report.positive` and `report.at`, which then retrain too",
    )
    early_stopping: EarlyStopping = section(EarlyStopping, "when a training ends before its last epoch")
    augment: Augment = section(Augment, "random changes of the training images")
    learning_rate_search: Annotated[LearningRateSearch, UNHASHED] = section(
        LearningRateSearch, "how `learning_rate: auto` finds a model's rate"
    )

    @property
    def highest_rate(self) -> float:
        """Highest learning rate of the schedule. Raises ValueError where it is still to be found."""
        if isinstance(self.learning_rate, str):
            raise ValueError("the learning rate is auto, and was not found yet")
        return self.learning_rate

    def with_rate(self, rate: float) -> "Training":
        """Return the recipe with a learning rate that was found, or is tried."""
        return self.model_copy(update={"learning_rate": rate})

    def crop_source(self, resolution: int) -> int:
        """Return the pixels a side of the images that random crops for a resolution are taken from.

        The shortest side of a crop has the resolution's pixels there. Without crops it is the resolution.
        """
        scale = self.augment.scale
        shortest = math.sqrt(scale / min(CROP_ASPECT, 1 / scale))  # of a crop, in sides of the image
        return math.ceil(resolution / shortest - 1e-9)

    def stored_sizes(self, resolution: int) -> tuple[int, ...]:
        """Return the sizes in pixels at which a training needs the images: its resolution, and what crops are of."""
        return tuple(dict.fromkeys((resolution, self.crop_source(resolution))))

    @property
    def trial(self) -> "Training":
        """Recipe of the trials for its learning rate: the short schedule to its end; the rate itself is `auto`."""
        never = EarlyStopping(enabled=False)
        return self.model_copy(
            update={"learning_rate": "auto", "epochs": self.learning_rate_search.epochs, "early_stopping": never}
        )

    @model_validator(mode="before")
    @classmethod
    def _recipe_expanded(cls, values: Any) -> Any:
        return expanded(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _something_learns(self) -> "Training":
        if self.freeze_epochs >= self.epochs:
            raise ValueError(
                f"freeze_epochs {self.freeze_epochs} leaves none of {self.epochs} epochs in which the network learns"
            )
        return self

    @model_validator(mode="after")
    def _trials_learn(self) -> "Training":
        epochs = self.learning_rate_search.epochs
        if self.learning_rate == "auto" and self.freeze_epochs >= epochs:
            raise ValueError(
                f"learning_rate is auto, and freeze_epochs {self.freeze_epochs} leaves none of the {epochs} epochs of "
                "a trial in which the network learns; raise learning_rate_search.epochs"
            )
        return self

    @model_validator(mode="after")
    def _features_stay(self) -> "Training":
        usual = Augment(hflip=0.0, operations=self.augment.operations, magnitude=self.augment.magnitude)
        if self.trainable == "head" and self.augment != usual:
            changed = [name for name in Augment.model_fields if getattr(self.augment, name) != getattr(usual, name)]
            raise ValueError(
                f"trainable: head has features that are computed once, so augment.{changed[0]} must be "
                f"{getattr(usual, changed[0])} (as in `recipe: linear_probe`)"
            )
        return self

    @model_validator(mode="after")
    def _network_takes_steps(self) -> "Training":
        if self.trainable == "head" and self.compile:
            raise ValueError("trainable: head takes no steps through the network: compile must be false")
        return self

    @model_validator(mode="after")
    def _microbatch_fits(self) -> "Training":
        if isinstance(self.microbatch, int) and self.microbatch > self.batch_size:
            raise ValueError(f"microbatch {self.microbatch} is larger than batch_size {self.batch_size}")
        return self
