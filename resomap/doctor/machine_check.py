"""Check of the machine: the device that would train, and the room on the disk for what a training writes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from resomap.config import Config
from resomap.core.errors import ResomapError
from resomap.data.source import read_source
from resomap.doctor.finding import Finding
from resomap.machine.gpus import may_have_gpu

CHECKPOINTS = 2e9  # bytes: the weights and optimizer state of one of the larger models, twice, with room to spare
OUTPUTS = ("results", "checkpoints")


def look_at_device(config: Config) -> Iterator[Finding]:
    """Yield findings from a small sum on the device that a training would take."""
    import torch

    from resomap.compute.device import choose_device

    try:
        device = choose_device(config.device)
        torch.ones(8, 8, device=device.torch).matmul(torch.ones(8, 8, device=device.torch)).sum().item()
    except ResomapError as error:
        yield Finding("bad", "device", str(error))
        return
    except RuntimeError as error:
        yield Finding(
            "bad",
            "device",
            f"{config.device}: torch {torch.__version__} does not compute on it ({str(error).splitlines()[0]})",
            "install a torch that fits the GPU and its driver, or train with --config device=cpu",
        )
        return
    yield Finding("ok", "device", f"{device.name} ({device.torch.type}), torch {torch.__version__}")
    if not device.is_cuda and config.device == "auto":
        yield (
            Finding(
                "bad",
                "device",
                "the NVIDIA driver is here, and yet torch finds no GPU: trainings would run on the CPU",
                "check nvidia-smi, and install a CUDA build of torch",
            )
            if may_have_gpu()
            else Finding("note", "device", "no GPU is visible: trainings run on the CPU, one at a time")
        )


def look_at_disk(config: Config) -> Iterator[Finding]:
    """Yield findings on the disk: outputs can be written; the images of all resolutions and some checkpoints fit."""
    for name in OUTPUTS:
        place = Path(name).resolve()
        existing = next(parent for parent in (place, *place.parents) if parent.is_dir())
        try:
            with tempfile.TemporaryFile(dir=existing) as probe:
                probe.write(b"x" * 4096)
                os.fsync(probe.fileno())
        except OSError as error:
            yield Finding(
                "bad", "disk", f"{place} cannot be written: {error.strerror}", "work elsewhere: snakemake --directory"
            )
            continue
        free, need = shutil.disk_usage(existing).free, CHECKPOINTS if name == "checkpoints" else _images_bytes(config)
        words = f"{place}: {free / 1e9:.1f} GB free, about {need / 1e9:.1f} GB needed"
        if free > need:
            yield Finding("ok", "disk", words)
        elif name == "results" and config.data.on_disk == "auto":
            yield Finding("note", "disk", f"{words}: images that do not fit are decoded anew for each batch, slower")
        else:
            yield Finding("bad", "disk", words, "free some space, or work elsewhere: snakemake --directory")


def _images_bytes(config: Config) -> float:
    """Return the bytes of the prepared images, uint8 [N, resolution, resolution, channels], of all resolutions."""
    if config.data.on_disk == "never":
        return 0.0
    try:
        count = len(read_source(config.data).items)
    except ResomapError:  # told by the look at the data
        count = 0
    return float(count * config.data.input_channels * sum(resolution**2 for resolution in config.resolutions))
