"""Images drawn for `resomap bench --gpu`: grey stripes in noise, in two classes that a network can tell apart.

They are drawn and prepared once a run, for all of its studies.
"""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.bench.test_images import Material, prepare_study
from resomap.cells.study import CURRENT, Study
from resomap.data import DATA_DIRECTORY

CLASSES = ("across", "down")


def drawn(settings: GpuSettings) -> Material:
    """Return the run's images, as PNG files in class folders; they are drawn by the first who asks."""
    folder = Path(settings.place, "images")
    if not folder.exists():
        unfinished = folder.with_name("images-unfinished")
        tasks = [(unfinished, label, number, settings) for label in CLASSES for number in range(settings.images // 2)]
        for label in CLASSES:
            (unfinished / label).mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(settings.workers) as pool:
            list(pool.map(_draw, tasks))
        unfinished.rename(folder)
    return Material("drawn grey PNG", folder)


def study_on_drawn(settings: GpuSettings, directory: Path, config: dict[str, Any]) -> Study:
    """Return a study of one resolution on the drawn images, which all such studies share once they are prepared.

    `config` lacks device, data and tracking, which are the same for all.
    """
    whole = {
        **config,
        "device": settings.device,
        "data": {"source": str(drawn(settings).folder), "workers": settings.workers},
        "tracking": {"drain_seconds": 0},
    }
    prepared = Path(settings.place, f"prepared-{config['resolutions'][0]}")
    ready = prepared / "ready"
    if not ready.exists():
        prepare_study(prepared, whole)
        ready.touch()
    shared = directory / DATA_DIRECTORY
    shared.parent.mkdir(parents=True, exist_ok=True)
    if not shared.exists():
        shared.symlink_to(prepared / DATA_DIRECTORY)
    with contextlib.chdir(directory):
        study = Study.open(whole)
        study.save(CURRENT)
    return study


def _draw(task: tuple[Path, str, int, GpuSettings]) -> None:
    folder, label, number, settings = task
    random = np.random.default_rng((CLASSES.index(label), number))
    wave = np.sin(np.arange(settings.side) * random.uniform(0.2, 1.0) + random.uniform(0, 6))
    stripes = wave[None, :] if label == "across" else wave[:, None]
    pixels = 128 + 60 * stripes + random.normal(0, 30, (settings.side, settings.side))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / label / f"{number:05}.png", compress_level=1)
