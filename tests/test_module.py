"""The workflow as a module of another one: `module resomap: snakefile: ...` plans, trains and skips what is done."""

import json
import re
from pathlib import Path

import pytest
from conftest import MODEL, ROOT, command, small_config

from resomap.core.files import read_json

# The Snakefile of the documentation.
PAGE = (ROOT / "docs" / "quick-reference.md").read_text()
SNAKEFILE = re.findall(r"^```python\n(configfile:.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0].replace(
    "path/to/resomap", str(ROOT)
)


def trainings(output: str) -> list[str]:
    return re.findall(r"^rule (\w*train):", output, re.MULTILINE)


@pytest.mark.slow
def test_another_workflow_trains_the_grid_once(images: Path, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "study.yaml").write_text(json.dumps(small_config(images, training={"epochs": 1})))
    planned = command("snakemake", "-n", "-p", cwd=tmp_path)
    assert trainings(planned.stdout) == ["resomap_train"], planned.stderr
    done = command("snakemake", "--cores", "1", "--logger", "resomap", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"[1/1] {MODEL}@32 done in" in done.stderr, "the lines count cells, although the rule has a longer name"
    marker = tmp_path / "results" / MODEL / "32.done"
    first = read_json(marker)
    assert (tmp_path / "table.csv").read_text().splitlines()[1].startswith(f"{MODEL},32,")
    # What is done is not done again, whatever is new or lost around it.
    assert "Nothing to be done" in command("snakemake", "-n", "-p", cwd=tmp_path).stdout
    marker.unlink()
    (tmp_path / "table.csv").unlink()
    again = command("snakemake", "--cores", "1", "--logger", "resomap", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "its marker is back" in again.stderr
    assert read_json(marker) == first


def test_a_mistake_is_one_sentence_there_too(images: Path, tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    config = small_config(images, training={"epochs": 1}, data={"source": str(images / "missing")})
    (tmp_path / "study.yaml").write_text(json.dumps(config))
    failed = command("snakemake", "--cores", "1", cwd=tmp_path)
    assert failed.returncode != 0
    assert "Traceback" not in failed.stderr
    assert failed.stderr.strip().splitlines()[-1].startswith("resomap: ")


def test_without_a_configuration_it_is_the_default_grid(tmp_path: Path) -> None:
    (tmp_path / "Snakefile").write_text(
        f'module resomap:\n    snakefile: "{ROOT}/Snakefile"\nuse rule * from resomap\n'
    )
    planned = command("snakemake", "-n", "-p", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert len(trainings(planned.stdout)) == 40
