"""The loss with class weights: balanced classes are learned as they are, with soft targets too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import small_config

from resomap import RECIPE_VERSION
from resomap.cells import study as study_module
from resomap.cells.study import Study
from resomap.config import Training
from resomap.config.hashed import recipe_version
from resomap.train.augment import mix
from resomap.train.objective import Objective


def objective(labels: np.ndarray, classes: int, **recipe: Any) -> Objective:
    return Objective(Training(**recipe), labels, classes, torch.device("cpu"))


def learned(loss: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, int]) -> torch.Tensor:
    """Probabilities [N, classes] of the logits at which a loss is least, each image for itself."""
    logits = torch.zeros(shape, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-10)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(logits) * len(logits)
        value.backward()
        return value

    optimizer.step(closure)
    return logits.detach().softmax(1)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("ratio", [3, 20, 200])
def test_smoothed_targets_are_learned_however_rare_a_class_is(ratio: int, classes: int) -> None:
    labels = np.concatenate([np.zeros(ratio, dtype=int), np.arange(1, classes)])
    loss = objective(labels, classes, class_weights="balanced", label_smoothing=0.1)
    targets = F.one_hot(torch.from_numpy(labels), classes).float()
    found = learned(lambda logits: loss(logits, targets), (len(labels), classes))
    assert found.numpy() == pytest.approx((0.9 * targets + 0.1 / classes).numpy(), abs=0.01)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_mixed_images_are_learned_by_their_shares(smoothing: float) -> None:
    labels = np.array([0] * 40 + [1])
    loss = objective(labels, 2, class_weights="balanced", label_smoothing=smoothing, augment={"mixup": 0.2})
    _, targets = mix(torch.zeros(41, 1, 1, 1), torch.from_numpy(labels), 2, alpha=0.2, share=0.9)
    found = learned(lambda logits: loss(logits, targets), (41, 2))
    assert found.numpy() == pytest.approx(((1 - smoothing) * targets + smoothing / 2).numpy(), abs=0.01)


def test_classes_count_alike_in_the_gradient() -> None:
    labels = np.array([0] * 30 + [1] * 6 + [2] * 2)
    targets = F.one_hot(torch.from_numpy(labels), 3).float()
    for smoothing in (0.0, 0.1):
        bias = torch.zeros(3, requires_grad=True)
        loss = objective(labels, 3, class_weights="balanced", label_smoothing=smoothing)
        loss(bias.expand(len(labels), 3), targets).backward()
        assert bias.grad == pytest.approx(np.zeros(3), abs=1e-6)  # balanced at even odds, however many each has


@pytest.mark.parametrize(
    "recipe", [{}, {"class_weights": "balanced"}, {"label_smoothing": 0.1}, {"augment": {"mixup": 0.4}}]
)
def test_other_recipes_keep_version_and_bits(recipe: dict[str, Any]) -> None:
    """Each kind of recipe that was right before: the very kernel that version 2 called."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 50)
    logits = torch.from_numpy(random.normal(size=(50, 3)).astype(np.float32))
    targets = F.one_hot(torch.from_numpy(labels), 3).float()
    weights = 50 / (3 * torch.from_numpy(np.bincount(labels))) if "class_weights" in recipe else None
    expected = F.cross_entropy(
        logits,
        targets,
        weight=None if weights is None else weights.float(),
        label_smoothing=recipe.get("label_smoothing", 0.0),
    )
    assert torch.equal(objective(labels, 3, **recipe)(logits, targets), expected)
    assert recipe_version(Training(**recipe)) == RECIPE_VERSION


@pytest.mark.parametrize("soft", [{"label_smoothing": 0.1}, {"augment": {"mixup": 0.4}}])
def test_only_the_recipes_that_change_train_anew(
    soft: dict[str, Any], images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fingerprints(training: dict[str, Any]) -> tuple[str, set[str]]:
        study = Study.open(small_config(images, training=training))
        return study.base, set(study.fingerprints().values())

    recipes = ({"class_weights": "balanced", **soft}, {"class_weights": "balanced"}, soft)
    now = [fingerprints(recipe) for recipe in recipes]
    monkeypatch.setattr(study_module, "recipe_version", lambda _training: RECIPE_VERSION)
    before = [fingerprints(recipe) for recipe in recipes]
    assert [one == other for one, other in zip(now, before, strict=True)] == [False, True, True]
    assert now[0][0] == before[0][0], "a study has one base, whatever versions its recipes have"
