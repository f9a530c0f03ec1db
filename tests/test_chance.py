"""The map against chance: the level of an answer that looks at no image, and what is said of cells at it."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL, small_config
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from test_map import finish

from resomap.cells.study import CURRENT, Study
from resomap.statistics import Sample
from resomap.statistics.chance import chance_level, is_constant
from resomap.summary.document import Map
from resomap.summary.summary_writer import make_map, summary_text

LABELS = np.array([0] * 60 + [1] * 25 + [2] * 15)
SCORES: dict[str, Callable[..., float]] = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda labels, answers: f1_score(labels, answers, average="macro", zero_division=0),
}


@pytest.mark.parametrize("metric", SCORES)
def test_the_level_is_the_better_of_one_answer_for_all_and_of_guessing(metric: str) -> None:
    random = np.random.default_rng(1)
    constant = SCORES[metric](LABELS, np.zeros_like(LABELS))
    guessed = np.mean([SCORES[metric](LABELS, random.choice(LABELS, len(LABELS))) for _ in range(400)])
    assert chance_level(metric, LABELS, 3) == pytest.approx(max(constant, guessed), abs=0.01)


def test_where_it_is_not_known_there_is_none() -> None:
    assert chance_level("auroc", LABELS, 3) == 0.5
    assert chance_level("quadratic_kappa", LABELS, 3) is None
    assert chance_level("accuracy", LABELS[:0], 3) is None
    assert is_constant(np.log([[0.9, 0.1], [0.6, 0.4]]))
    assert not is_constant(np.log([[0.9, 0.1], [0.4, 0.6]]))


def drawn(quality: float, count: int, seed: int) -> Sample:
    """Answers on two classes, right with this probability; at 0 all are of the first class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    right = random.random(count) < quality
    answers = np.where(right, labels, 1 - labels) if quality else np.zeros(count, int)
    return Sample.of_probabilities(labels, np.where(np.arange(2) == answers[:, None], 0.8, 0.2))


@pytest.fixture
def mapped(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Map]:
    """The map of one training a resolution, each of a known quality."""

    def make(qualities: dict[int, float], count: int) -> Map:
        monkeypatch.chdir(tmp_path)
        study = Study.open(small_config(images, resolutions=list(qualities), report={"metric": "balanced_accuracy"}))
        study.save(CURRENT)
        for cell in study.cells():
            finish(study, cell, {split: drawn(qualities[cell.resolution], count, 3) for split in ("val", "test")})
        return make_map(study)

    return make


def test_cells_at_chance_are_said_so_before_any_advice_about_seeds(mapped: Callable[..., Map]) -> None:
    found = mapped({32: 0.5, 48: 0.0}, 60)
    text = summary_text(found)
    assert found.chance == 0.5
    first, second = text.split(". ")[:2]
    assert first.startswith(f"Use {MODEL} at ")
    assert second.startswith("But no cell beats chance (0.50) yet: this one has ")
    assert second.endswith("; more seeds do not")
    assert found.recommendation is not None
    assert found.recommendation.surer == []
    assert f"Every image is 'across' to {MODEL}@48: a constant answer, which has learnt nothing." in found.notes
    assert any(note.startswith("Few images judge here: 60 of validation, 30 of them") for note in found.notes)


def test_a_leader_above_chance_is_told_with_its_score_and_the_others_are_named(mapped: Callable[..., Map]) -> None:
    found = mapped({32: 0.9, 48: 0.5}, 400)
    first, second = summary_text(found).split(". ")[:2]
    assert first.startswith(f"Use {MODEL} at 32 px")
    assert re.fullmatch(r"It has balanced accuracy 0\.\d\d \(95 %: .*\) on validation; chance is 0\.50", second)
    assert f"Not shown to beat chance (0.50): {MODEL} at 48 px." in found.notes
    assert not any("constant answer" in note or "Few images" in note for note in found.notes)
