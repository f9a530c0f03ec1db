"""Every configuration key: name, type, default, unit, meaning. The only place where a default stands.

config/config.yaml, config/README.md and workflow/schemas/config.schema.json are generated from here
(`resomap config`), and a test fails when they drift.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from resomap.config.costs import Cost as Cost
from resomap.config.images import Columns as Columns
from resomap.config.images import Data as Data
from resomap.config.images import Split as Split
from resomap.config.judging import Budget, Report
from resomap.config.sharing import GpuSharing
from resomap.config.tracker_uri import problem_of
from resomap.config.training_keys import WARMUP_SHARE as WARMUP_SHARE
from resomap.config.training_keys import Augment as Augment
from resomap.config.training_keys import EarlyStopping as EarlyStopping
from resomap.config.training_keys import LearningRateSearch as LearningRateSearch
from resomap.config.training_keys import Training as Training
from resomap.config.values import (
    Count,
    Names,
    OptionalText,
    Resolutions,
    Section,
    Seeds,
    key,
    list_from_text,
    section,
    without_repeats,
)


class Checkpoints(Section):
    """Checkpoints: the interval of saves, and the files that stay after the training."""

    every_minutes: float = key(5.0, "saved at the first step after this time; 0: every step", "minutes", ge=0)
    keep: Annotated[list[Literal["best", "final", "last"]], BeforeValidator(list_from_text)] = key(
        ["best", "final"], "files that stay once the training is complete"
    )
    compress: bool = key(
        False, "deflate checkpoint files without loss: about 7 % smaller, ten times as long to write; torch reads both"
    )
    grace_seconds: float = key(30.0, "time that a signal leaves for the last save", "seconds", gt=0)


class Tracking(Section):
    """The tracker: where runs are remembered."""

    uri: OptionalText = key(
        None, "address of an MLflow server (`https://...`) or of a `sqlite:///` file; null: `results/mlflow.db`"
    )
    dagshub: OptionalText = key(None, "DagsHub repository `owner/repo`; in place of `uri`")
    required: bool = key(
        False, "stop before the grid starts where the tracker does not answer, or will refuse runs or files"
    )
    drain_seconds: float = key(60.0, "longest wait at a training's end for what is still unsent", "seconds", ge=0)
    timeout_seconds: float = key(
        5.0, "longest wait for all that the tracker is asked while the grid is planned", "seconds", gt=0
    )
    heartbeat_seconds: float = key(
        30.0,
        "interval at which a training shows that it is alive, with the load of its machine, and looks whether the "
        "same training runs elsewhere",
        "seconds",
        gt=0,
        le=60,
    )
    keep_weights: bool = key(
        False, "send `best.pt` to the tracker too, for other places; needs `best` in `checkpoints.keep`"
    )
    allow_http: bool = key(
        False, "let credentials travel unencrypted: `http://` to another machine than this one is an error otherwise"
    )

    @model_validator(mode="after")
    def _one_place(self) -> "Tracking":
        if self.uri and self.dagshub:
            raise ValueError("uri and dagshub are both set; keep one of them")
        if self.dagshub and not re.fullmatch(r"[\w.-]*\w[\w.-]*/[\w.-]*\w[\w.-]*", self.dagshub, re.ASCII):
            raise ValueError("dagshub must have the form owner/repo, without a server in front of it")
        if self.uri and (problem := problem_of(self.uri, self.allow_http)):
            raise ValueError(f"uri {problem}")
        return self


class Slurm(Section):
    """Requests of `--profile profiles/slurm` to the cluster, for each job."""

    partition: OptionalText = key(None, "partition of the jobs; null: the cluster's default")
    account: OptionalText = key(None, "account that pays; null: yours by default")
    constraint: OptionalText = key(None, "features that a node must have, as for `sbatch --constraint`")
    gpu_model: OptionalText = key(None, "kind of GPU, as the cluster spells it (`a100`); null: any")
    cpus: Count = key(4, "CPU cores of a training", "cores", ge=1)
    max_runtime: Count = key(
        1440,
        "longest time that a job asks for, at most the partition's limit; a longer training goes on in the same job "
        "after a requeue, as often as it takes",
        "minutes",
        ge=1,
    )
    extra: str = key("", "further options of sbatch, for example `--qos=long --exclude=node7`")


class Winner(Section):
    """The winner: what `snakemake winner` makes of the recommended cell."""

    kind: Literal["refit", "ensemble"] = key(
        "refit",
        "`refit`: the cell trained once more on train + validation, for as many epochs as its trainings chose (their "
        "median); `ensemble`: all trainings of the cell, whose probabilities are averaged",
    )
    cell: OptionalText = key(
        None, "cell in place of the recommended one (`vgg11@320`); null: the one that the map recommends"
    )


DEFAULT_MODELS = [
    "vgg11",
    "vgg16",
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "convnext_tiny",
]


class Config(Section):
    """One study: a grid of models x resolutions x seeds on one data set."""

    experiment: str = key("ResoMap", "name of the experiment in the tracker", min_length=1)
    models: Names = key(
        DEFAULT_MODELS,
        "classifiers, by their torchvision or timm name (`resomap models` lists them)",
        min_length=1,
    )
    resolutions: Resolutions = key([224, 256, 320, 384, 512], "input sizes; images are square", "pixels", min_length=1)
    seeds: Seeds = key([0], "one training each; the first has no suffix in its file names", min_length=1)
    weights_directory: OptionalText = key(
        None,
        "directory that `resomap weights fetch` filled, for nodes without a network; the environment's "
        "`RESOMAP_WEIGHTS` goes before it",
    )
    device: Literal["auto", "cpu", "cuda"] = key("auto", "`auto`: the GPU given to the job, else the CPU")
    deterministic: bool = key(False, "only algorithms that give the same bits each time; slower on a GPU")
    skip_completed: bool = key(True, "ask the tracker for trainings that are complete there, to skip them")
    priority: Names = key(
        [],
        "what trains first: models, resolutions, cells, trainings (`vgg11`, `224`, `vgg11@224`, `vgg11@224.seed1`) in "
        "this order; the others follow, the longest first",
    )
    retries: Count = key(1, "how often a training is tried again after a failure that may pass", ge=0)
    data: Data = section(Data, "the images: their source, their split, their preparation")
    training: Training = section(Training, "the recipe of a training")
    overrides: dict[str, dict[str, Any]] = key(
        {}, "`training` keys for one model (`vgg11`) or one cell of the map (`vgg11@512`), the latter last"
    )
    checkpoints: Checkpoints = section(Checkpoints, "when a training is saved, and which files stay")
    cost: Cost = section(Cost, "how the cost of a model is measured")
    tracking: Tracking = section(Tracking, "the tracker, where runs are remembered")
    gpu: GpuSharing = section(GpuSharing, "trainings that share a GPU, or the cores of a CPU")
    slurm: Slurm = section(Slurm, "what each job asks of a Slurm cluster")
    report: Report = section(Report, "metric and margin that the map compares cells by")
    budget: Budget = section(Budget, "what a recommended cell may cost at most")
    winner: Winner = section(Winner, "what is made of the recommended cell")

    @model_validator(mode="after")
    def _weights_are_there_to_be_sent(self) -> "Config":
        if self.tracking.keep_weights and "best" not in self.checkpoints.keep:
            raise ValueError("tracking.keep_weights needs `best` in checkpoints.keep")
        return self

    @model_validator(mode="after")
    def _bits_are_not_promised_by_mps(self) -> "Config":
        if self.gpu.mps and self.deterministic:
            raise ValueError(
                "gpu.mps is true, and so is deterministic: by MPS no training is exact; set one of them to false"
            )
        return self

    @model_validator(mode="after")
    def _lists_are_clean(self) -> "Config":
        for name in ("models", "resolutions", "seeds"):
            values = getattr(self, name)
            try:
                without_repeats(values)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
        return self
