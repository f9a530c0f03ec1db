"""Three machines without a shared disk: each trains its part at the same time, one makes the map of the whole."""

import json
import subprocess
from pathlib import Path

import pytest
from conftest import MODEL, ROOT, environment_with, small_config, snakemake, tool
from test_workflow import markers, trainings

from resomap.core.files import read_json

MODELS = [MODEL, "test_efficientnet", "test_vit"]


@pytest.mark.slow
def test_three_machines_and_one_tracker_make_one_map(server: str, images: Path, tmp_path: Path) -> None:
    config = small_config(
        images,
        models=MODELS,
        experiment="three machines",
        training={"epochs": 1},
        tracking={"uri": server, "drain_seconds": 60, "keep_weights": True},
        cost={"seconds": 0.05, "least_runs": 1, "largest_batch": 2},
    )
    machines = {model: tmp_path / f"machine-{model}" for model in MODELS}
    running = {}
    for model, place in machines.items():
        place.mkdir()
        (place / "study.yaml").write_text(json.dumps(config))
        words = [tool("snakemake"), "--cores", "1", f"results/{model}/all", "--configfile", str(place / "study.yaml")]
        words += ["--directory", str(place)]
        pipe = subprocess.PIPE
        running[model] = subprocess.Popen(words, cwd=ROOT, env=environment_with(), stderr=pipe, text=True)
    for model, process in running.items():
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert markers(machines[model]) == {f"{model}/32.done"}

    consolidating = machines[MODEL]
    listed = snakemake("-n", directory=consolidating, config=config)
    assert listed.returncode == 0, listed.stderr
    assert trainings(listed.stdout) == 0
    assert listed.stdout.count("rule fetch:") == 2
    finished = snakemake("--cores", "2", "results/summary.json", directory=consolidating, config=config)
    assert finished.returncode == 0, finished.stderr
    assert markers(consolidating) == {f"{model}/32.done" for model in MODELS}
    origins = {model: read_json(consolidating / f"results/{model}/32.done")["origin"] for model in MODELS}
    assert origins == {MODEL: "local", "test_efficientnet": "tracker", "test_vit": "tracker"}
    for model in MODELS[1:]:
        name = f"results/{model}/32.predictions.npz"
        assert (consolidating / name).read_bytes() == (machines[model] / name).read_bytes()
    table = (consolidating / "results" / "summary.csv").read_text()
    assert all(model in table for model in MODELS)
    summary = json.dumps(read_json(consolidating / "results" / "summary.json"))
    assert "not available" not in summary
