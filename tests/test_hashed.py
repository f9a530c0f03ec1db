"""A configuration key that later versions add makes nothing stale at its default, and counts at any other value."""

import contextlib
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from resomap.cells.measurement import Measurement
from resomap.cells.study import Study
from resomap.config import Config, Training
from resomap.config.hashed import KEYS_OF_VERSION_2
from resomap.config.recipes import RECIPES
from resomap.config.schema import Augment, Cost, Data, Report, Split
from resomap.config.values import UNHASHED, Section, key, section
from resomap.data.identity import Description, data_identity
from resomap.summary.basis import basis


class Ema(Section):
    """A later section inside `training`."""

    warmup: int = key(0, "epochs before averaging")


class LaterAugment(Augment):
    """`training.augment` with a key of its own."""

    order: str = key("none", "a list of operations")


class LaterTraining(Training):
    """`training` of a later version: a key, a section, a key inside an old section, a key without effect."""

    distance: float | None = key(None, "distance that the weights may go")
    stages: list[int] = Field(default_factory=lambda: [1, 2])
    averaging: Ema = section(Ema, "moving average")
    augment: LaterAugment = section(LaterAugment, "random changes")
    shown: Annotated[str, UNHASHED] = key("name", "how it is shown")


class LaterSplit(Split):
    """`data.split` with a key of its own."""

    stratify: bool = key(True, "whether each class is split alike")


class LaterData(Data):
    """`data` of a later version."""

    folds: int | None = key(None, "folds")
    split: LaterSplit = section(LaterSplit, "shares")
    readers: Annotated[int, UNHASHED] = key(1, "processes that read")


class LaterReport(Report):
    """`report` of a later version."""

    confidence: float = key(0.95, "probability")


class LaterCost(Cost):
    """`cost` of a later version."""

    warmup_runs: int = key(0, "forward passes before the first that counts")


class LaterConfig(Config):
    """The configuration of a later version."""

    data: LaterData = section(LaterData, "images")
    training: LaterTraining = section(LaterTraining, "recipe")
    report: LaterReport = section(LaterReport, "metric")
    cost: LaterCost = section(LaterCost, "cost")


def study(kind: type[Config] = Config, **values: Any) -> Study:
    config = kind.model_validate({"models": ["resnet18"], "resolutions": [64], **values})
    return Study(config, Description("0" * 64, 100, 1), {"resnet18": "resnet"})


def prints(of: Study) -> tuple[str, str]:
    return of.base, of.fingerprint(of.cells()[0])


def later(**training: Any) -> tuple[str, str]:
    return prints(study(LaterConfig, training=training))


def test_fingerprints_are_those_of_version_2() -> None:
    # Worked out by the version that wrote recipe version 2's studies.
    assert prints(study(overrides={"resnet18": {"epochs": 3}})) == ("30b96c20ba63", "a0314283f4dc")


def test_the_frozen_list_names_keys_that_exist() -> None:
    for path in KEYS_OF_VERSION_2:
        value: Any = Config()
        for name in path.split("."):
            value = getattr(value, name)


def test_later_keys_at_their_defaults_change_nothing_and_at_other_values_all() -> None:
    now = prints(study())
    assert later() == now
    assert later(distance=None, stages=[1, 2], averaging={"warmup": 0}, augment={"order": "none"}) == now
    others = [
        later(distance=0.5),
        later(distance=0.75),
        later(stages=[3]),
        later(averaging={"warmup": 2}),
        later(augment={"order": "blur"}),
    ]
    assert len({now[1], *(fingerprint for _, fingerprint in others)}) == 6
    assert len({now[0], *(base for base, _ in others)}) == 6


def test_an_old_key_counts_at_its_default_too() -> None:
    assert later(epochs=3) != later()
    assert later(augment={"hflip": 0.1}) != later()


def test_a_later_key_in_an_override_touches_its_cell_and_not_the_base() -> None:
    overridden = study(LaterConfig, overrides={"resnet18": {"distance": 0.5}})
    assert overridden.base == study().base
    assert prints(overridden)[1] != prints(study())[1]
    at_default = study(LaterConfig, overrides={"resnet18": {"distance": None}})
    assert prints(at_default) == prints(study())


def test_presets_count_by_what_they_stand_for() -> None:
    values = RECIPES["finetune"]
    assert later(recipe="finetune") == prints(study(training=values))
    assert later(recipe="finetune", epochs=9) == prints(study(training={**values, "epochs": 9}))
    assert later(recipe="finetune") != later() == later(shown="other")


def test_the_version_of_one_recipe_is_in_its_fingerprint_and_never_in_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [prints(study(training={"label_smoothing": value})) for value in (0.0, 0.1)]
    monkeypatch.setattr("resomap.cells.study.recipe_version", lambda recipe: 3 if recipe.label_smoothing else 2)
    after = [prints(study(training={"label_smoothing": value})) for value in (0.0, 0.1)]
    assert after[0] == before[0]
    assert after[1][0] == before[1][0]
    assert after[1][1] != before[1][1]


def test_later_keys_of_the_data(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"12345")

    def identity(**values: Any) -> str:
        return data_identity(LaterData(source=str(tmp_path), **values))

    # Worked out by the version that wrote recipe version 2's studies.
    assert identity() == "889cf9fa647cce048e9dd57ffc830ef7a6df2b4ab4ad840db8c245534c41a33b"
    assert identity(folds=None, readers=8, split={"stratify": True}) == identity()
    assert len({identity(), identity(folds=5), identity(folds=4), identity(split={"stratify": False})}) == 4


def test_later_keys_measure_and_draw_nothing_anew(tmp_path: Path) -> None:
    measurement = Measurement("resnet18", 64, "cpu")
    with contextlib.chdir(tmp_path):
        now, then = study(LaterConfig), study()
        changed = study(LaterConfig, report={"confidence": 0.9}, cost={"warmup_runs": 2})
        assert basis(now) == basis(then)
        assert measurement.settings(now, 2) == measurement.settings(then, 2)
        assert basis(changed) != basis(then)
        assert measurement.settings(changed, 2) != measurement.settings(then, 2)
