"""`resomap init`: a study for images of one's own, from a clone and from an installed wheel."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml
from conftest import MODEL, ROOT, command, draw_images, environment_with
from PIL import Image

from resomap.commands.study_proposal import Look, as_yaml, look_at, propose
from resomap.config import parse_config
from resomap.core.errors import ResomapError
from resomap.models.weights_store import fetched_path


def look(images: int, side: int, is_split: bool = False) -> Look:
    return Look({"cat": images // 2, "dog": images - images // 2}, side, is_split)


@pytest.mark.parametrize(
    ("images", "side", "kind", "wanted"),
    [
        (240, 40, "cpu", {"resolutions": [32, 40], "folds": 5, "seeds": None, "epochs": 100}),
        (240, 3000, "cpu", {"resolutions": [96, 160, 224], "folds": 5, "seeds": None, "epochs": 100}),
        (2624, 300, "cuda", {"resolutions": [128, 192, 256], "folds": None, "seeds": [0, 1, 2], "epochs": None}),
        (50_000, 32, "cuda", {"resolutions": [32], "folds": None, "seeds": None, "epochs": None}),
    ],
)
def test_the_proposal_follows_number_and_size_of_the_images(
    images: int, side: int, kind: str, wanted: dict[str, object]
) -> None:
    found = look(images, side)
    config = propose("/photos", found, kind)
    training = config.get("training", {})
    assert config["resolutions"] == wanted["resolutions"]
    assert config["data"].get("folds") == wanted["folds"]
    assert config.get("seeds") == wanted["seeds"]
    assert training.get("epochs") == wanted["epochs"]
    assert max(config["resolutions"]) <= max(side, 32)
    assert yaml.safe_load(as_yaml(config, found)) == config
    parse_config(config)


def test_few_images_are_fine_tuned_where_weights_are_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look(240, 224)
    for model in ("resnet18", "efficientnet_b0"):
        fetched_path(tmp_path, model).touch()
    monkeypatch.setenv("RESOMAP_WEIGHTS", str(tmp_path))
    config = propose("/photos", found, "cpu")
    assert (config["models"], config["training"]) == (["resnet18", "efficientnet_b0"], {"recipe": "finetune"})
    assert yaml.safe_load(as_yaml(config, found)) == config
    fetched_path(tmp_path, "resnet18").unlink()
    config = propose("/photos", found, "cpu")
    assert "recipe" not in config["training"]
    assert "resomap weights fetch" in as_yaml(config, found)


def test_a_split_of_ones_own_is_kept(images: Path) -> None:
    assert "folds" not in propose("/photos", look(240, 64, is_split=True), "cpu")["data"]
    assert look_at(str(images)) == Look({"across": 60, "down": 60}, 40, False)


def test_mistakes_are_said_before_anything_is_written(images: Path, tmp_path: Path) -> None:
    one = tmp_path / "one" / "cat"
    one.mkdir(parents=True)
    for number in range(3):
        Image.new("L", (8, 8), number).save(one / f"{number}.png")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "resomap.yaml").touch()
    for words, said in (
        (("study", "--data", "nowhere"), "nowhere"),
        (("study", "--data", str(tmp_path / "one")), "has images of 1 class, and a classifier needs two"),
        (("own", "--data", str(images)), "own/resomap.yaml is there already: edit it"),
    ):
        done = command("resomap", "init", *words, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert said in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "study").exists()
    with pytest.raises(ResomapError, match="1 class"):
        look_at(str(tmp_path / "one"))


def test_init_writes_a_study_and_shows_its_plan(images: Path, tmp_path: Path) -> None:
    done = command("resomap", "init", "my study", "--data", str(images), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "120 images in 2 classes (60 across, 60 down); the short side has 40 px (median)" in done.stdout
    assert "0 done, 30 to go, about " in done.stdout
    assert (
        done.stdout.strip().splitlines()[-1].startswith("train, evaluate and map it with `resomap run -C 'my study'`")
    )
    study = tmp_path / "my study"
    assert len((study / "Snakefile").read_text().splitlines()) == 3
    assert (study / "profiles" / "slurm" / "config.yaml").read_text() == (
        ROOT / "profiles" / "slurm" / "config.yaml"
    ).read_text()
    # Plain Snakemake in the folder, the status, and from elsewhere: nobody names a configuration again.
    planned = command("snakemake", "-n", cwd=study)
    assert planned.stdout.strip().splitlines()[-1].startswith("0 done, 30 to go, about ")
    assert "30 remaining" in command("resomap", "status", "-C", "my study", cwd=tmp_path).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of commands of a bare environment outside the clone, in which the wheel is installed.

    The heavy dependencies are those of this environment: its packages are on the path behind the wheel's.
    """
    place = tmp_path_factory.mktemp("wheel")
    sources = place / "sources"
    for name in ("resomap", "snakemake_logger_plugin_resomap", "snakemake_scheduler_plugin_resomap"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("workflow", "config", "profiles"):
        shutil.copytree(ROOT / name, sources / name)
    for name in ("Snakefile", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    environment = environment_with()
    environment.pop("PYTHONPATH", None)

    def run(*words: str | Path) -> None:
        done = subprocess.run([*map(str, words)], cwd=place, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    run(*pip, "wheel", "--no-deps", "-w", place, sources)
    run(sys.executable, "-m", "venv", "--without-pip", place / "venv")
    python = place / "venv" / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", *place.glob("*.whl"))
    (packages,) = (place / "venv" / "lib").glob("python*/site-packages")
    (packages / "behind.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return place / "venv" / "bin"


@pytest.mark.slow
def test_the_wheel_alone_begins_runs_and_shows_a_study(installed: Path, tmp_path: Path) -> None:
    draw_images(tmp_path / "photos", 20)
    environment = environment_with(PATH=f"{installed}:/usr/bin:/bin")
    environment.pop("PYTHONPATH", None)

    def resomap(*words: str) -> str:
        done = subprocess.run(
            [installed / "resomap", *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    resomap("init", "study", "--data", "photos", "--no-plan")
    where = subprocess.run(
        [installed / "python", "-c", "from resomap.core.workflow_files import FOLDER; print(FOLDER)"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(where.stdout.strip()).is_relative_to(installed.parent), "the clone is not read"
    tiny = {"models": MODEL, "resolutions": "24,32", "training": "{epochs: 1}", "data": "{folds: null}"}
    values = [f"{name}={value}" for name, value in {**tiny, "cost": "{seconds: 0.1}", "device": "cpu"}.items()]
    ran = resomap("run", "-C", "study", "--cores", "2", "--config", *values)
    assert "study/results/report.html" in ran
    assert "2 completed" in resomap("status", "-C", "study")
    planned = resomap("plan", "-C", "study", "--config", *values).splitlines()
    assert planned[-1] == "2 done, 0 to go"
    assert os.path.getsize(tmp_path / "study" / "results" / "report.html") > 10_000
