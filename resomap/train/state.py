"""State that a training carries from step to step, and its form in last.pt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from resomap.compute.checkpoint import FORMAT, on_cpu, structure_difference
from resomap.config import Training
from resomap.core.errors import Diverged, PermanentFailure
from resomap.models.layer_versions import load_tensors
from resomap.train.stopping import BestSoFar

RUNNING_STATISTICS = ("running_mean", "running_var")  # of batch normalisation


@dataclass
class RunningSums:
    """Training loss and hits of the epoch under way, kept on the device so that no step waits for a copy."""

    loss: Tensor  # float64, sum over images
    hits: Tensor  # int64
    images: int = 0

    @classmethod
    def zero(cls, device: torch.device) -> "RunningSums":
        """Sums of an epoch that has just begun."""
        return cls(
            torch.zeros((), dtype=torch.float64, device=device),
            torch.zeros((), dtype=torch.int64, device=device),
        )


@dataclass(kw_only=True)
class TrainingState:
    """Model, optimizer and position; what can be recomputed from (seed, epoch, step) is not here."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: ModelEmaV3 | None
    best: BestSoFar
    sums: RunningSums
    epoch: int = 0  # epochs completed
    step: int = 0  # optimizer steps done in the epoch under way
    seconds: float = 0.0  # time spent in training so far, over all attempts
    images_seen: int = 0  # training images so far, over all attempts
    best_weights: dict[str, Tensor] = field(default_factory=dict)  # in main memory
    best_metrics: dict[str, float | None] = field(default_factory=dict)
    microbatch: int | None = None  # images a forward pass; None: the whole batch
    deviations: list[str] = field(default_factory=list)  # why the end cannot have an undisturbed training's bits
    graphs: bool = False  # steps are replayed from a recorded graph (step_graph.py)
    fallback: str | None = None  # why it is computed in another way than the configuration says (see self_check.py)
    history: list[dict[str, float | int | None]] = field(default_factory=list)
    last_epoch: int | None = None  # at which a refit ends, within the recipe's schedule; in its fingerprint, not here

    def evaluated_model(self) -> nn.Module:
        """Network that validation evaluates: the moving average where there is one."""
        return self.ema.module if self.ema is not None else self.model

    def is_over(self, recipe: Training) -> bool:
        """True if no step is left: by the number of epochs, or by early stopping."""
        last = self.last_epoch or recipe.epochs
        return self.epoch >= last or self.best.is_exhausted(self.epoch, recipe.early_stopping)

    def require_finite(self) -> None:
        """Raise Diverged where a weight, or a statistic of batch normalisation, is no longer a finite number.

        The loss of a step is that of the weights before it: only the weights tell of the update.
        """
        named = {
            **dict(self.model.named_parameters()),
            **{name: values for name, values in self.model.named_buffers() if name.endswith(RUNNING_STATISTICS)},
        }
        if not named:
            return
        finite = torch.stack([values.detach().isfinite().all() for values in named.values()])
        if not finite.all():
            name = list(named)[int(finite.logical_not().nonzero()[0])]
            raise Diverged(
                f"diverged at epoch {self.epoch + 1}, step {self.step} ({name} is no longer finite); "
                "lower training.learning_rate or set training.gradient_clip for this model in `overrides`"
            )

    def keep_best(self, metrics: Mapping[str, float | None]) -> None:
        """Remember the present weights as the best so far."""
        self.best_weights = on_cpu(self.evaluated_model().state_dict())
        self.best_metrics = dict(metrics)

    def content(self, fixed: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of the state for last.pt, beside what does not change during the training."""
        return {
            "format": FORMAT,
            **fixed,
            "model": on_cpu(self.model.state_dict()),
            "optimizer": on_cpu(self.optimizer.state_dict()),
            "scaler": self.scaler.state_dict(),
            "ema": on_cpu(self.ema.module.state_dict()) if self.ema is not None else None,
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "images_seen": self.images_seen,
            "sums": {
                "loss": self.sums.loss.item(),
                "hits": self.sums.hits.item(),
                "images": self.sums.images,
            },
            "best": self.best.state(),
            "best_weights": self.best_weights,  # replaced as a whole, never changed in place: no copy needed
            "best_metrics": dict(self.best_metrics),
            "microbatch": self.microbatch,
            "deviations": list(self.deviations),
            "graphs": self.graphs,
            "fallback": self.fallback,
            "history": [dict(row) for row in self.history],
        }

    def restore(self, content: Mapping[str, Any], device: torch.device, title: str) -> None:
        """Take over a copy of the content of last.pt; `title` is the training's name in a sentence.

        Raises PermanentFailure with the difference where it holds another network than the one that was built.
        """
        difference = structure_difference(content["model"], self.model.state_dict())
        if difference is not None:
            made = ", ".join(f"{name} {content['environment'].get(name)}" for name in ("torchvision", "timm"))
            raise PermanentFailure(
                f"the checkpoint holds another network than the one that is built now: {difference}; it was made with "
                f"{made}: install these again, or start over with `resomap forget {title}`"
            )
        load_tensors(self.model, content["model"])
        # The optimizer keeps the tensors that it is given, and these are views of the file.
        self.optimizer.load_state_dict(on_cpu(content["optimizer"]))
        self.scaler.load_state_dict(content["scaler"])
        if self.ema is not None:
            load_tensors(self.ema.module, content["ema"])
        self.epoch, self.step = content["epoch"], content["step"]
        self.seconds, self.images_seen = content["seconds"], content["images_seen"]
        sums = content["sums"]
        self.sums = RunningSums(
            torch.tensor(sums["loss"], dtype=torch.float64, device=device),
            torch.tensor(sums["hits"], dtype=torch.int64, device=device),
            sums["images"],
        )
        self.best = BestSoFar(**content["best"])
        self.best_weights = on_cpu(content["best_weights"])
        self.best_metrics = content["best_metrics"]
        self.microbatch, self.deviations = content["microbatch"], content["deviations"]
        self.graphs = content.get("graphs", False)  # which checkpoints of earlier versions do not have
        self.fallback = content.get("fallback")  # nor this
        self.history = content["history"]
