"""Best epoch and early stopping, decided on validation alone, kept as plain values for the checkpoint."""

from dataclasses import asdict, dataclass
from typing import Any

from resomap.config.schema import EarlyStopping


@dataclass
class BestSoFar:
    """Best epoch so far by the monitored validation metric, and its value."""

    monitor: str
    value: float | None = None
    epoch: int | None = None  # counted from 1

    def offer(self, epoch: int, value: float | None, min_delta: float = 0.0) -> bool:
        """Take note of an epoch's value; True where it is the best so far. Undefined values never win."""
        if value is None:
            better = self.epoch is None  # something to evaluate, even where the metric is undefined throughout
        elif self.value is None:
            better = True
        else:
            gain = self.value - value if self.monitor == "loss" else value - self.value
            better = gain > min_delta
        if better:
            self.value, self.epoch = value, epoch
        return better

    def is_exhausted(self, epoch: int, strategy: EarlyStopping) -> bool:
        """True where training ends after this epoch: patience is used up and warm-up is over."""
        if not strategy.enabled or self.epoch is None:
            return False
        return epoch - max(self.epoch, strategy.warmup_epochs) >= strategy.patience

    def state(self) -> dict[str, Any]:
        """Plain values for the checkpoint."""
        return asdict(self)
