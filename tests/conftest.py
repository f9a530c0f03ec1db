"""Fixtures and helpers of all tests: small real images, a study on them, and commands run as a person runs them."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from snakemake import __version__ as snakemake_version
from threadpoolctl import threadpool_limits

from resomap.cells.cell import Cell
from resomap.cells.marker import LOCAL, SCHEMA, Marker, TrainingCost
from resomap.cells.study import CURRENT, Study
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images

ROOT = Path(__file__).resolve().parents[1]
MODEL = "test_resnet"  # timm's tiny network for tests: 0.5 million parameters
RESOLUTION = 32
SIMULATED = Path(__file__).with_name("simulated_gpus")
UUIDS = [f"GPU-{digit * 8}-0000-0000-0000-000000000000" for digit in "abcd"]
PARTS = ["MIG-11111111-0000-0000-0000-000000000000", "MIG-22222222-0000-0000-0000-000000000000"]


def pytest_configure() -> None:
    # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Threads that wait for each other give the processor away: spinning, as on a machine of one's own, two trainings
    # at a time with two threads each took three times as long. Read when torch is loaded; children inherit it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Of children, and of this process, whose BLAS has read the variable already.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    threadpool_limits(1, user_api="blas")


def pytest_report_header() -> str:
    return f"snakemake {snakemake_version}"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=6, help="kill -9s of the long resume test")


def draw_images(folder: Path, count: int, size: int = 40, seed: int = 0) -> None:
    """Two classes that a small network can tell apart: stripes that run across or down, in noise."""
    random = np.random.default_rng(seed)
    for label, axis in (("across", 0), ("down", 1)):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            wave = np.sin(np.arange(size) * random.uniform(0.5, 1.0) + random.uniform(0, 6))
            stripes = np.broadcast_to(wave[:, None] if axis == 0 else wave[None, :], (size, size))
            pixels = 128 + 60 * stripes + random.normal(0, 30, (size, size))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / label / f"{number:03}.png")


@pytest.fixture(autouse=True)
def _nobody_typed_in_another_folder() -> Iterator[None]:
    """A test that runs a command in this process leaves no word of where that was typed to the next one."""
    yield
    os.environ.pop("RESOMAP_TYPED_IN", None)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 greyscale PNG files in two class folders, to be split."""
    folder = tmp_path_factory.mktemp("images")
    draw_images(folder, 60)
    return folder


def small_config(images: Path, **changes: Any) -> dict[str, Any]:
    """A grid of one cell that trains in a second or two."""
    config: dict[str, Any] = {
        "models": [MODEL],
        "resolutions": [RESOLUTION],
        "device": "cpu",
        "data": {"source": str(images)},
        "training": {"epochs": 3, "batch_size": 8, "warmup_epochs": 0, "amp": "off"},
        "cost": {"seconds": 0.2},
        "tracking": {"drain_seconds": 0},
    }
    for name, value in changes.items():
        config[name] = {**config.get(name, {}), **value} if isinstance(value, dict) else value
    return config


@pytest.fixture
def study_in(
    images: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """Makes a study in a fresh working directory, which it enters: images prepared, study.json written."""

    def make(directory: Path | None = None, **changes: Any) -> Study:
        directory = directory or tmp_path_factory.mktemp("study")
        directory.mkdir(exist_ok=True)
        monkeypatch.chdir(directory)
        return make_study(directory, small_config(images, **changes))

    return make


def make_study(directory: Path, config: dict[str, Any]) -> Study:
    """A study in a working directory: images prepared, study.json written."""
    with contextlib.chdir(directory):
        study = Study.open(config)
        study.save(CURRENT)
        make_manifest(study.config.data, DATA_DIRECTORY, 1)
        for size in study.stored_sizes(*study.cells()):
            prepare_images(DATA_DIRECTORY, size, 1, study.config.data.on_disk)
        return study


def done_marker(cell: Cell, fingerprint: str, **changes: Any) -> Marker:
    """A marker as if the cell had been trained under these settings."""
    marker = Marker(
        schema=SCHEMA,
        model=cell.model,
        resolution=cell.resolution,
        seed=cell.seed,
        fingerprint=fingerprint,
        base="b",
        uid="u",
        run_id=None,
        origin=LOCAL,
        finished_at=1.0,
        epochs=3,
        metrics={"val/balanced_accuracy": 0.5, "test/balanced_accuracy": 0.5, "test/accuracy": 0.5},
        cost=TrainingCost(),
        exact=True,
    )
    return replace(marker, **changes)


def command(
    *words: str | Path, cwd: Path, timeout: float = 300, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment to its end; stdout and stderr as text."""
    return subprocess.run(
        [tool(str(words[0])), *map(str, words[1:])],
        cwd=cwd,
        env=environment_with(**environment),
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
    )


def tool(name: str) -> str:
    """A command beside this Python, whether or not the environment is activated."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def environment_with(**changes: str) -> dict[str, str]:
    """This process's environment, without what would make a child see a GPU or a tracker of this machine."""
    unwanted = ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in unwanted and not name.startswith(("MLFLOW_", "DAGSHUB_"))
    }
    return {**inherited, **changes}


# Read by each Python that is started: it finds none of these packages, as if they were not installed.
HIDE = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = classmethod(
    lambda _, name, path=None, target=None: None if name.split(".")[0] in {hidden!r} else find(name, path, target)
)
"""


def hide_packages(folder: Path, monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Have processes that are started from now on find none of these packages."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE.format(hidden=set(packages)))
    others = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{others}" if others else str(folder))


def trainer(cell: str, cwd: Path, *options: str) -> "subprocess.Popen[str]":
    """A training as a process of its own, to be killed."""
    words: Sequence[str] = (sys.executable, "-m", "resomap", "train", cell, "--threads", "1", *options)
    return subprocess.Popen(
        words, cwd=cwd, env=environment_with(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def snakemake(
    *words: str,
    directory: Path,
    config: dict[str, Any] | None = None,
    timeout: float = 300,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """`snakemake ...` in the repository, working in `directory` with `config` as its --configfile."""
    options = ["--directory", str(directory), *(["-p"] if "-n" in words else [])]  # each job in its plan, by its rule
    if config is not None:
        path = directory / "study.yaml"
        path.write_text(yaml.safe_dump(config))
        options += ["--configfile", str(path)]
    return command("snakemake", *words, *options, cwd=ROOT, timeout=timeout, **environment)


def free_port() -> int:
    """A port of the loopback interface on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def simulated_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a libnvidia-ml.so.1 of our own, which `nvidia-ml-py` loads as it loads the driver's."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    words = [compiler, "-shared", "-fPIC", "-o", str(folder / "libnvidia-ml.so.1")]
    subprocess.run([*words, str(Path(__file__).with_name("simulated_gpus") / "nvml.c")], check=True)
    return folder


@pytest.fixture
def nvidia_driver(simulated_nvml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has processes that are started from now on find an NVIDIA driver, which says what the lines tell it to.

    Until it has been told there is none. The lines are those of simulated_gpus/nvml.c.
    """
    told = tmp_path / "nvml.txt"
    others = os.environ.get("LD_LIBRARY_PATH")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{simulated_nvml}:{others}" if others else str(simulated_nvml))
    monkeypatch.setenv("SIMULATED_NVML", str(told))
    return lambda *lines: told.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def gpus(nvidia_driver: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the driver list so many GPUs, of so many bytes, the last one divided in two parts where that is wanted."""

    def make(count: int, divided: bool = False, memory: int = 0) -> None:
        devices = (f"GPU {uuid} 0 0 0 {memory}" for uuid in UUIDS[:count])
        nvidia_driver(*devices, *(f"MIG {part} 0" for part in PARTS if divided))

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a file system needs root: run the tests as root, in a container for example")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library to preload, with which a process's wall clock is ahead by the seconds in the file $CLOCK_AHEAD."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("simulated_clock") / "clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@contextmanager
def mlflow_server(directory: Path, port: int | None = None, files: Sequence[str] = ()) -> Iterator[str]:
    """A real `mlflow server` process on the loopback interface: `mlflow.db`, artifacts and `log` in `directory`.

    Entered again with the same directory (and port) it knows what it knew. `files`: options on where files are kept.
    """
    port = port or free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{directory}/mlflow.db"]
    words += files or ["--artifacts-destination", str(directory)]
    with (directory / "log").open("a") as log:
        process = subprocess.Popen(words, env=environment_with(), stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None, (directory / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of one MLflow server for all tests; each uses an experiment or a base of its own."""
    with mlflow_server(tmp_path_factory.mktemp("server")) as uri:
        yield uri
