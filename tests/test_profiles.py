"""A cluster profile is one wherever it stands, and a profile that holds only cores is none."""

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import MODEL, ROOT, command, small_config

TARGET = f"results/{MODEL}/32.done"


@pytest.fixture
def study(images: Path, tmp_path: Path) -> Path:
    slurm = {"partition": "gpupart", "account": "lab", "extra": "--qos=long"}
    (tmp_path / "study.yaml").write_text(json.dumps(small_config(images, slurm=slurm)))
    return tmp_path


def planned(directory: Path, *words: str, **environment: str) -> dict[str, str]:
    """Plan one training; return what its job asks for: `threads` and `resources`."""
    line = ("snakemake", "-np", "-s", ROOT / "Snakefile", "--configfile", "study.yaml", TARGET, *words)
    done = command(*line, cwd=directory, **environment)
    assert done.returncode == 0, done.stderr
    job = done.stdout.partition("rule train:")[2].partition("\n\n")[0]
    return dict(re.findall(r"^    (threads|resources): (.*)$", job, re.MULTILINE))


@pytest.mark.parametrize("how", ["option", "environment", "default"])
def test_a_cluster_profile_asks_the_cluster_wherever_it_stands(study: Path, how: str) -> None:
    profile = ROOT / "profiles" / "slurm"
    if how == "default":
        shutil.copytree(profile, study / "profiles" / "default")
    words = ["--profile", str(profile)] if how == "option" else []
    asked = planned(study, *words, **({"SNAKEMAKE_PROFILE": str(profile)} if how == "environment" else {}))
    for wanted in ("slurm_partition=gpupart", "slurm_account=lab", "--signal=TERM@60 --requeue --qos=long"):
        assert wanted in asked["resources"], asked


def test_a_profile_of_cores_alone_is_a_local_run(study: Path) -> None:
    profile = study / "mine"
    profile.mkdir()
    (profile / "config.yaml").write_text("cores: 8\n")
    asked = planned(study, "--profile", "mine")
    assert asked == planned(study, "--cores", "8")
    assert asked["threads"] == "8", "one training at a time, with all of them"
    assert "slurm" not in asked["resources"]
