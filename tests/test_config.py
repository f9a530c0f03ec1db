"""The configuration: generated documentation that follows the schema, merging, overrides, and every error sentence."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from snakemake.cli import parse_config as snakemake_values
from snakemake.utils import update_config

from resomap.commands.config_documents import config_readme, config_schema, config_yaml, drifted, write_documents
from resomap.config import Config, Training, load_config, merge, parse_config
from resomap.config.load import training_for
from resomap.config.messages import shown
from resomap.config.recipes import NAMED_KEYS
from resomap.config.schema import DEFAULT_MODELS
from resomap.core.errors import ResomapError

ROOT = Path(__file__).resolve().parents[1]


def refusal(values: dict[Any, Any]) -> str:
    """The sentence that a wrong configuration gets."""
    with pytest.raises(ResomapError) as error:
        parse_config(values)
    return str(error.value)


def from_command_line(*entries: str) -> Config:
    """Return the configuration that `snakemake --config ENTRIES` gives, through Snakemake's own parser and merge."""
    values = yaml.safe_load(config_yaml())
    update_config(values, snakemake_values(entries))
    return parse_config(values)


# The generated documents


def test_generated_documents_match_the_schema() -> None:
    assert drifted(ROOT) == [], "run `resomap config` and look at what changed"


def test_writing_mends_a_drift_and_nothing_else(tmp_path: Path) -> None:
    assert len(write_documents(tmp_path)) == 4
    assert write_documents(tmp_path) == []
    changed = tmp_path / "config" / "config.yaml"
    changed.write_text(changed.read_text().replace("batch_size: 32", "batch_size: 33"))
    assert drifted(tmp_path) == [changed]
    assert write_documents(tmp_path) == [changed]
    assert drifted(tmp_path) == []


def test_yaml_holds_every_key_with_its_default() -> None:
    values = yaml.safe_load(config_yaml())
    assert parse_config(values) == Config()
    missing = {name for name in Config().training.model_dump() if name not in values["training"]}
    assert missing == {name for name in NAMED_KEYS if "." not in name}, "those that a recipe sets stand in comments"
    assert {**values, "training": {}} == {**Config().model_dump(), "training": {}}
    assert load_config(ROOT / "config" / "config.yaml") == Config()


def test_yaml_keeps_types_that_yaml_could_mistake() -> None:
    """`1e-06` without a point would come back as text."""
    assert isinstance(yaml.safe_load(config_yaml())["training"]["min_learning_rate"], float)


def test_yaml_lines_fit_a_screen() -> None:
    assert max(len(line) for line in config_yaml().splitlines()) <= 100


def all_keys(node: dict[str, Any], definitions: dict[str, Any]) -> list[tuple[str, str]]:
    """(key, description) of every plain key of a JSON schema."""
    found = []
    for name, inner in node["properties"].items():
        if "$ref" in inner:
            found += all_keys(definitions[inner["$ref"].rpartition("/")[2]], definitions)
        else:
            found.append((name, inner["description"]))
    return found


def test_readme_has_a_row_for_every_key() -> None:
    schema = json.loads(config_schema())
    rows = [line for line in config_readme().splitlines() if line.startswith("| `")]
    keys = all_keys(schema, schema["$defs"])
    assert sorted(row.split("`")[1] for row in rows) == sorted(name for name, _ in keys)
    assert all(row.count("|") - row.count("\\|") == 6 for row in rows)
    assert (
        "| `momentum` | momentum of optimizers that have one (sgd, rmsprop, ...) |  | `0.9` | number ≥ 0 and < 1 |"
        in rows
    )
    (rate,) = (
        row for row in rows if row.startswith("| `learning_rate` | highest learning rate of the schedule; `auto`")
    )
    assert rate.endswith("|  | `0.001` | number > 0 or `auto` |")
    (ladder,) = (row for row in rows if row.startswith("| `rates` |"))
    assert ladder.endswith("|  | `[0.0001, 0.0003, 0.001, 0.003, 0.01]` | a list, 2 or more: number > 0 |")


def test_readme_examples_are_valid() -> None:
    """The examples that the page tells people to type are accepted, and come to what the page says."""
    readme = config_readme()
    study = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", readme, re.S)[0])
    recipe = training_for(parse_config(study), "vgg11@512")
    assert (recipe.learning_rate, recipe.early_stopping.patience, recipe.microbatch) == (0.0003, 15, 4)
    entries = re.findall(r"^snakemake --config (.*)$", readme, re.M)
    assert len(entries) == 3
    for line in entries:
        from_command_line(*[quoted or bare for quoted, bare in re.findall(r"'([^']+)'|(\S+)", line)])


def test_json_schema_accepts_the_defaults_and_the_quick_study() -> None:
    schema = json.loads(config_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    for name in ("config.yaml", "quick.yaml", "finetune.yaml"):
        jsonschema.validate(yaml.safe_load((ROOT / "config" / name).read_text()), schema)


@pytest.mark.parametrize(
    "wrong",
    [
        {"modles": ["vgg11"]},
        {"training": {"epoch": 2}},
        {"training": {"epochs": 0}},
        {"training": {"microbatch": 0}},
        {"resolutions": [4]},
        {"device": "gpu"},
        {"overrides": {"vgg11": {"early_stopping": {"patienc": 3}}}},
    ],
)
def test_json_schema_and_loader_refuse_the_same(wrong: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, json.loads(config_schema()))
    refusal(wrong)


# What Snakemake's command line hands over


def test_command_line_lists_and_sections_get_their_types() -> None:
    config = from_command_line("models=vgg11,resnet18", "resolutions=224,320", "training={epochs: 2, amp: off}")
    assert config.models == ["vgg11", "resnet18"]
    assert config.resolutions == [224, 320]
    assert config.training == Training(epochs=2, amp="off")


@pytest.mark.parametrize(
    ("entry", "key", "value"),
    [
        ("resolutions=224", "resolutions", [224]),
        ("resolutions=[224,320]", "resolutions", [224, 320]),
        ("models=resnet18.a1_in1k", "models", ["resnet18.a1_in1k"]),
        ("seeds=0,1,2", "seeds", [0, 1, 2]),
        ("skip_completed=false", "skip_completed", False),
        ("deterministic=True", "deterministic", True),
        ("retries=0", "retries", 0),
        ("experiment=2024", "experiment", "2024"),
    ],
)
def test_command_line_values(entry: str, key: str, value: Any) -> None:
    found = getattr(from_command_line(entry), key)
    assert found == value
    assert type(found) is type(value)


def test_command_line_null_and_nested_sections() -> None:
    config = from_command_line(
        "training={gradient_clip: null, microbatch: none, early_stopping: {enabled: false}}",
        "data={source: images/leaves, groups: null}",
        "checkpoints={keep: 'best,final,last'}",
    )
    assert config.training.gradient_clip is None
    assert config.training.microbatch is None
    assert config.training.early_stopping.enabled is False
    assert config.training.early_stopping.patience == 8
    assert config.data.groups is None
    assert config.checkpoints.keep == ["best", "final", "last"]


def test_unquoted_off_in_yaml_is_off(tmp_path: Path) -> None:
    """PyYAML reads `off` as false."""
    path = tmp_path / "study.yaml"
    path.write_text("training: {amp: off}\n")
    assert load_config(path).training.amp == "off"


# Files and their order


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_later_files_win_key_by_key_and_replace_lists(tmp_path: Path) -> None:
    first = write(tmp_path / "a.yaml", "models: [vgg11, vgg16]\ntraining: {epochs: 3, augment: {hflip: 0}}\n")
    second = write(tmp_path / "b.yaml", "models: [resnet18]\ntraining: {augment: {vflip: 0.5}}\n")
    config = load_config(first, second)
    assert config.models == ["resnet18"]
    assert config.training.epochs == 3
    assert (config.training.augment.hflip, config.training.augment.vflip) == (0, 0.5)
    other = load_config(second, first)
    assert other.models == ["vgg11", "vgg16"]


KEYS = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(
    st.dictionaries(KEYS, st.integers() | st.lists(st.integers(), max_size=2), min_size=1, max_size=3),
    lambda inner: st.dictionaries(KEYS, inner | st.none(), min_size=1, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(TREES, TREES)
def test_merging_is_snakemakes(base: dict[str, Any], change: dict[str, Any]) -> None:
    """`resomap` by itself and Snakemake must come to one configuration; the inputs stay as they were."""
    expected, before = copy.deepcopy(base), copy.deepcopy((base, change))
    update_config(expected, copy.deepcopy(change))
    assert merge(base, change) == expected
    assert (base, change) == before


def test_sections_without_keys_mean_the_defaults(tmp_path: Path) -> None:
    """All their lines are commented out."""
    path = write(
        tmp_path / "study.yaml",
        "data:\ntraining:\n  early_stopping:\n  augment:\noverrides:\n  vgg11:\ntracking: {}\n",
    )
    config = load_config(path)
    assert config.model_copy(update={"overrides": {}}) == Config()
    assert training_for(config, "vgg11") == Training()
    assert load_config(write(tmp_path / "empty.yaml", "# nothing yet\n")) == Config()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cases = {
        tmp_path / "none.yaml": "there is no configuration file {}",
        tmp_path: "the configuration file {} cannot be read: Is a directory",
        write(tmp_path / "tab.yaml", "training:\n\tepochs: 3\n"): "{}, line 2 is not valid YAML",
        write(tmp_path / "colon.yaml", "a: b: c\n"): "{}, line 1 is not valid YAML",
        write(tmp_path / "list.yaml", "- vgg11\n"): "{} must hold `key: value` lines, and holds a list",
        write(tmp_path / "zero.yaml", "0\n"): "{} must hold `key: value` lines, and holds a int",
    }
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00\x81")
    cases[binary] = "the configuration file {} is not text in UTF-8; save it as such"
    for path, sentence in cases.items():
        with pytest.raises(ResomapError) as error:
            load_config(path)
        assert str(error.value).startswith(sentence.format(path))


# Overrides


def test_overrides_of_the_model_come_first_and_the_cells_on_top() -> None:
    config = parse_config(
        {
            "training": {"epochs": 40, "early_stopping": {"patience": 8, "min_delta": 0.5}},
            "overrides": {
                "vgg11@512": {"epochs": 5, "early_stopping": {"warmup_epochs": 2}},
                "vgg11": {"learning_rate": "0.0003", "early_stopping": {"patience": 15, "warmup_epochs": 10}},
                "resnet18": {"early_stopping": {"enabled": False}},
            },
        }
    )
    cell = training_for(config, "vgg11@512")
    assert (cell.epochs, cell.learning_rate) == (5, 0.0003)
    assert cell.early_stopping.model_dump() == {
        "enabled": True,
        "patience": 15,
        "min_delta": 0.5,
        "warmup_epochs": 2,
    }
    assert training_for(config, "vgg11@320").early_stopping.warmup_epochs == 10
    assert training_for(config, "vgg11@320").epochs == 40
    assert training_for(config, "resnet18@224").early_stopping.enabled is False
    assert training_for(config, "vgg16@512") == config.training


def test_override_of_a_model_with_a_dot_in_its_name() -> None:
    config = parse_config({"overrides": {"resnet18.a1_in1k@64": {"epochs": 2}}})
    assert training_for(config, "resnet18.a1_in1k@64").epochs == 2
    assert training_for(config, "resnet18@64").epochs == 25


def test_a_cells_override_is_checked_together_with_its_models() -> None:
    sentence = refusal({"overrides": {"vgg11": {"batch_size": 4}, "vgg11@512": {"microbatch": 8}}})
    assert sentence == "in overrides.vgg11@512, microbatch 8 is larger than batch_size 4"


# Every mistake is one sentence

SENTENCES: list[tuple[dict[Any, Any], str]] = [
    # unknown keys
    ({"modles": 1}, "the configuration has an unknown key 'modles'; did you mean 'models'?"),
    (
        {"training": {"epoch": 3}},
        "the configuration has an unknown key 'training.epoch'; did you mean 'training.epochs'?",
    ),
    (
        {"training": {"batch-size": 3}},
        "the configuration has an unknown key 'training.batch-size'; did you mean 'training.batch_size'?",
    ),
    ({"epochs": 3}, "the configuration has an unknown key 'epochs'; did you mean 'training.epochs'?"),
    (
        {"training": {"patience": 3}},
        "the configuration has an unknown key 'training.patience'; did you mean 'training.early_stopping.patience'?",
    ),
    (
        {"training": {"early_stopping": {"warmup_epoch": 3}}},
        "the configuration has an unknown key 'training.early_stopping.warmup_epoch'; "
        "did you mean 'training.early_stopping.warmup_epochs'?",
    ),
    (
        {"data": {"split": {"xyz": 1}}},
        "the configuration has an unknown key 'data.split.xyz'; valid here are train, val, test",
    ),
    (
        {"training": {"epochs:2": ""}},
        "the configuration has an unknown key 'training.epochs:2'; put a space after its colon: 'epochs: 2'",
    ),
    (
        {"tracking": {"password": "hunter2"}},
        "the configuration has an unknown key 'tracking.password'; "
        "credentials come from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
    ),
    ({1: 2}, "the configuration has the key 1, and keys must be text"),
    # wrong types
    ({"training": {"epochs": "x"}}, "the configuration's training.epochs is 'x', and must be a whole number"),
    ({"training": {"epochs": 1.5}}, "the configuration's training.epochs is 1.5, and must be a whole number"),
    ({"training": {"epochs": True}}, "the configuration's training.epochs is true, and must be a whole number"),
    (
        {"training": {"epochs": None}},
        "the configuration's training.epochs is null, and must be a whole number; leave the key out for its default",
    ),
    (
        {"training": {"learning_rate": "fast"}},
        "the configuration's training.learning_rate is 'fast', and must be a number or auto",
    ),
    (
        {"training": {"learning_rate": "nan"}},
        "the configuration's training.learning_rate is 'nan', and must be a finite number or auto",
    ),
    ({"deterministic": "maybe"}, "the configuration's deterministic is 'maybe', and must be true or false"),
    ({"data": {"source": [1]}}, "the configuration's data.source is [1], and must be text"),
    ({"data": "elpv"}, "the configuration's data is 'elpv', and must be a section with keys of its own"),
    (
        {"training": {"early_stopping": True}},
        "the configuration's training.early_stopping is true, and must be a section with keys of its own",
    ),
    ({"models": {"a": 1}}, "the configuration's models is {'a': 1}, and must be a list"),
    ({"seeds": True}, "the configuration's seeds is true, and must be a list"),
    (
        {"resolutions": "224,abc"},
        "the configuration's resolutions has 'abc', and each entry must be a whole number",
    ),
    ({"resolutions": 224.5}, "the configuration's resolutions has 224.5, and each entry must be a whole number"),
    (
        {"resolutions": [224, False]},
        "the configuration's resolutions has false, and each entry must be a whole number",
    ),
    # limits
    ({"resolutions": [224, 4]}, "the configuration's resolutions has 4, and each entry must be at least 8"),
    ({"resolutions": 9000}, "the configuration's resolutions has 9000, and each entry must be at most 4096"),
    ({"seeds": "0,-1"}, "the configuration's seeds has '-1', and each entry must be at least 0"),
    (
        {"seeds": [2**32]},
        "the configuration's seeds has 4294967296, and each entry must be less than 4294967296",
    ),
    ({"retries": -1}, "the configuration's retries is -1, and must be at least 0"),
    (
        {"training": {"learning_rate": 0}},
        "the configuration's training.learning_rate is 0, and must be more than 0",
    ),
    ({"training": {"microbatch": 0}}, "the configuration's training.microbatch is 0, and must be at least 1"),
    ({"data": {"split": {"train": 1.5}}}, "the configuration's data.split.train is 1.5, and must be less than 1"),
    ({"models": []}, "the configuration's models is empty, and must not be; leave the key out for its default"),
    (
        {"experiment": ""},
        "the configuration's experiment is empty, and must not be; leave the key out for its default",
    ),
    # choices
    (
        {"device": "gpu"},
        "the configuration's device is 'gpu', and must be 'auto', 'cpu' or 'cuda'; did you mean 'cuda'?",
    ),
    ({"device": "xyz"}, "the configuration's device is 'xyz', and must be 'auto', 'cpu' or 'cuda'"),
    (
        {"training": {"class_weights": None}},
        "the configuration's training.class_weights is null, and must be 'none' or 'balanced'; did you mean 'none'?",
    ),
    (
        {"checkpoints": {"keep": "best,finl"}},
        "the configuration's checkpoints.keep has 'finl', and each entry must be 'best', 'final' or 'last'; "
        "did you mean 'final'?",
    ),
    # keys that do not fit each other
    ({"models": ["vgg11", "vgg11"]}, "the configuration's models names vgg11 more than once"),
    ({"data": {"split": {"train": 0.5}}}, "in data.split, train + val + test is 0.8, and must be 1"),
    ({"training": {"microbatch": 64}}, "in training, microbatch 64 is larger than batch_size 32"),
    (
        {"tracking": {"uri": "http://host", "dagshub": "me/mine"}},
        "in tracking, uri and dagshub are both set; keep one of them",
    ),
    # overrides
    ({"overrides": [1]}, "the configuration's overrides is [1], and must be a section with keys of its own"),
    (
        {"overrides": {"vgg11": 3}},
        "the configuration's overrides.vgg11 is 3, and must be a section with keys of its own",
    ),
    (
        {"overrides": {"vgg11@big": {"epochs": 2}}},
        "the configuration's overrides has 'vgg11@big', and must have a model or model@resolution, "
        "for example vgg11 or vgg11@320",
    ),
    (
        {"overrides": {"vgg11": {"epoch": 2}}},
        "the configuration has an unknown key 'overrides.vgg11.epoch'; did you mean 'overrides.vgg11.epochs'?",
    ),
    (
        {"overrides": {"vgg11@320": {"early_stopping": {"patienc": 2}}}},
        "the configuration has an unknown key 'overrides.vgg11@320.early_stopping.patienc'; "
        "did you mean 'overrides.vgg11@320.early_stopping.patience'?",
    ),
    (
        {"overrides": {"vgg11": {"training": {"epochs": 2}}}},
        "the configuration has an unknown key 'overrides.vgg11.training'; an override holds the keys of `training` "
        "directly, for example 'overrides.vgg11.epochs'",
    ),
    (
        {"overrides": {"vgg11": {"epochs": "x"}}},
        "the configuration's overrides.vgg11.epochs is 'x', and must be a whole number",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), SENTENCES, ids=[str(values)[:60] for values, _ in SENTENCES])
def test_sentence(values: dict[Any, Any], sentence: str) -> None:
    assert refusal(values) == sentence


@pytest.mark.parametrize(
    "tracking",
    [
        {"uri": "https://me:hunter2@host/mlflow"},
        {"uri": "https://hunter2@host/mlflow"},
        {"dagshub": "https://me:hunter2@dagshub.com/me/mine"},
        {"uri": "https://me:hunter2@host", "dagshub": "me/mine"},
        {"token": "hunter2"},
    ],
)
def test_credentials_are_refused_and_not_repeated(tracking: dict[str, str]) -> None:
    assert "hunter2" not in refusal({"tracking": tracking})


def test_where_credentials_belong() -> None:
    assert refusal({"tracking": {"uri": "https://me:secret@host/mlflow"}}) == (
        "in tracking, uri holds credentials; put them into MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    )


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 1000)) == 60


def test_defaults_are_the_contract() -> None:
    config = parse_config({})
    assert len(config.models) * len(config.resolutions) * len(config.seeds) == 40
    assert config.models == DEFAULT_MODELS


def test_snakemake_stops_with_the_sentence_alone(tmp_path: Path) -> None:
    """The real command: exit code not 0, the sentence once, no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "-d", tmp_path, "-n", "--config", "modles=vgg11"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert said.count("unknown key 'modles'; did you mean 'models'?") == 1
    assert "Traceback" not in said
