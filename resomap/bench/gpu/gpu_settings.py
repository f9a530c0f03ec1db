"""Settings of `resomap bench --gpu`: what is trained on a GPU, and in a rehearsal on the CPU."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

Subject: TypeAlias = tuple[str, int]  # model, resolution


@dataclass(frozen=True, kw_only=True)
class GpuSettings:
    """Settings of one run, which each part's process gets as JSON. The defaults are those for a GPU."""

    place: str  # directory of all files of the run
    device: str = "cuda"
    images: int = 1200  # that are drawn, of two classes
    side: int = 300  # pixels
    batch: int = 32
    epochs: int = 2
    small: Subject = ("resnet18", 64)  # killed and resumed
    pooled: Subject = ("vgg11", 64)  # its pooling has no deterministic gradient on a GPU
    large: Subject = ("resnet18", 224)  # gets less memory than it needs, and is what single figures are of
    large_batch: int = 128  # so that images take more memory than weights
    models: tuple[str, ...] = ()
    resolutions: tuple[int, ...] = (224, 512)
    timm_models: tuple[str, ...] = ("resnet18", "mobilenetv4_conv_small")
    epoch_seconds: float = 1.0  # that one side of a pair is measured at least
    most_shared: int = 4  # trainings at a time that are tried on one device
    repeats: int = 1  # pairs of runs behind each ratio
    workers: int = min(8, os.cpu_count() or 1)  # of timm's loader, and that prepare images
    timm_train: str | None = None  # timm's train.py

    @classmethod
    def rehearsal(cls, place: Path, **changes: Any) -> "GpuSettings":
        """Return settings with which a CPU goes through the same in a minute, on tiny networks."""
        tiny: dict[str, Any] = {
            "device": "cpu",
            "images": 80,
            "side": 48,
            "batch": 8,
            "epochs": 2,
            "small": ("test_resnet", 32),
            "pooled": ("test_efficientnet", 32),
            "large": ("test_resnet", 32),
            "large_batch": 16,
            "models": ("test_resnet",),
            "resolutions": (32, 48),
            "timm_models": ("test_resnet",),
            "epoch_seconds": 0.0,
            "most_shared": 2,
            "repeats": 1,
            "workers": 1,
        }
        return cls(place=str(place), **{**tiny, **changes})

    @property
    def is_gpu(self) -> bool:
        """True if it is not a rehearsal."""
        return self.device == "cuda"

    @property
    def threads(self) -> int:
        """Threads of a training."""
        return min(8, os.cpu_count() or 1)

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON has them."""
        return dataclasses.asdict(self)

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "GpuSettings":
        """Return the settings of `as_json`."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        return cls(**values)
