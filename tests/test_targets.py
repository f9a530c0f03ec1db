"""Targets and names of cells: each is one cell, written in one way, or one sentence."""

from pathlib import Path

import pytest
from conftest import MODEL, small_config

from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.core.text import is_whole_number

DIGITS = "9" * 5000  # which `int` refuses to read


@pytest.fixture
def study(images: Path) -> Study:
    return Study.open(small_config(images, seeds=[3, 0]))


@pytest.mark.parametrize(
    ("resolution", "suffix", "name"), [("32", "", "32"), ("4096", ".seed0", "4096.seed0"), ("8", ".seed11", "8.seed11")]
)
def test_a_target_is_its_cells_marker(study: Study, resolution: str, suffix: str, name: str) -> None:
    cell = study.target(MODEL, resolution, suffix)
    assert str(cell.marker) == f"results/{MODEL}/{name}.done"
    assert study.find(cell.name) == cell


@pytest.mark.parametrize(
    "resolution", ["032", "3²", "٣٢", "３２", "7", "4097", "-32", "32.0", "+32", " 32", "", DIGITS]
)
def test_another_way_to_write_a_resolution_names_no_cell(study: Study, resolution: str) -> None:
    with pytest.raises(ResomapError, match="is no resolution; write whole pixels between 8 and 4096"):
        study.target(MODEL, resolution, "")
    with pytest.raises(ResomapError):
        study.find(f"{MODEL}@{resolution}")


@pytest.mark.parametrize("seed", ["00", "01", "²", "٣", "4294967296", "-1", "x", "", DIGITS])
def test_another_way_to_write_a_seed_names_no_cell(study: Study, seed: str) -> None:
    with pytest.raises(ResomapError, match="is no seed; write"):
        study.target(MODEL, "32", f".seed{seed}")
    with pytest.raises(ResomapError):
        study.find(f"{MODEL}@32.seed{seed}")


def test_the_first_seed_has_no_suffix(study: Study) -> None:
    with pytest.raises(ResomapError, match=f"3 is the first seed, whose marker has no suffix: results/{MODEL}/32.done"):
        study.target(MODEL, "32", ".seed3")


@pytest.mark.parametrize("suffix", [".first", ".seed1.seed2", ".seed1.fold2", "."])
def test_a_suffix_that_is_no_seeds_names_no_cell(study: Study, suffix: str) -> None:
    with pytest.raises(ResomapError, match="is no seed"):
        study.target(MODEL, "32", suffix)


def test_whole_numbers_are_those_that_int_reads_as_written() -> None:
    assert [text for text in ("0", "12", "3²", "٣", "", "-1", "1.0", DIGITS) if is_whole_number(text)] == ["0", "12"]
