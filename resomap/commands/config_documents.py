"""Files that are generated from the code: the YAML of defaults, its README, the JSON schemas of config and map.

A test fails when the files in the repository differ; `resomap config` writes them anew.
"""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from resomap.config.messages import section_of
from resomap.config.recipes import NAMED_KEYS, RECIPES
from resomap.config.schema import Config
from resomap.core.files import write_text

WIDTH = 100  # columns of config.yaml

YAML_HEAD = """\
# Every key with its default. Generated from resomap/config/schema.py. Keys behind a # have the
# value of `training.recipe`; those of `scratch` are shown.
# For a study of your own, write only the keys that differ into a file and give it with
# --configfile: config/README.md says how, and has the limits of each key and examples of overrides.
"""

README_HEAD = """\
# Configuration

`config.yaml` holds every key with its default; `quick.yaml` is a small study for a CPU. This page is generated
from `resomap/config/schema.py`.

## From where a value comes

Later ones win:

1. `config/config.yaml`
2. the files after `--configfile`, in their order
3. `--config key=value ...` (one `--config` with all its values: Snakemake keeps only the last one)

Sections merge key by key: a file with `training: {epochs: 50}` leaves the rest of `training` as it was. Lists are
replaced as a whole. An unknown key or a wrong value stops before anything runs, with one sentence and the nearest
valid name.

```bash
# any sub-grid: lists are separated by commas
snakemake --config models=vgg11,resnet18 resolutions=224,320

# a key in a section: quotes, and a space after each colon
snakemake --config 'training={epochs: 2}'
snakemake --config 'training={epochs: 2, early_stopping: {enabled: false}}' 'data={source: images/leaves}'

# a study of your own: a file with the keys that differ, and a folder for its results
snakemake --directory runs/leaves --configfile leaves.yaml
```

`--config` turns everything it is given into text; numbers, `true`/`false` and `null` are read back as such.

## Overrides: a model, or a cell of the map, with its own recipe

`overrides` takes the keys of `training`, for one model (`vgg11`) or for one model at one resolution (`vgg11@512`).
The model's override comes first, the cell's on top, both for all seeds. Here vgg11 learns more slowly and is
stopped early only after long patience, its largest images go through the device four at a time, and
convnext_tiny always trains to its last epoch:

```yaml
training:
  epochs: 40
  early_stopping: {patience: 8}
overrides:
  vgg11:
    learning_rate: 0.0003
    early_stopping: {patience: 15, warmup_epochs: 10}
  vgg11@512:
    microbatch: 4
  convnext_tiny:
    early_stopping: {enabled: false}
```

vgg11@512 trains with `learning_rate: 0.0003`, `patience: 15` and `microbatch: 4`. Overrides are part of a cell's
fingerprint: changing one retrains the cells that it touches and no others.

## Recipes: values by name

`training: {recipe: finetune}` stands for these values; each can still be set beside it, and in `--config`. The name
itself is in no fingerprint: the values are. docs/recipes.md says what each does.

"""


def config_yaml() -> str:
    """Return config/config.yaml: YAML that loads to exactly the defaults, each key with its meaning and unit."""
    return YAML_HEAD + "\n" + "\n".join(_yaml_lines(Config, 0)) + "\n"


def config_readme() -> str:
    """Return config/README.md: how values merge, examples, and a table of the keys of each section."""
    schema = json.loads(config_schema())
    parts = [README_HEAD + _recipes_table(), "## Keys\n", *_tables(Config, schema, schema, "")]
    return "\n".join(parts)


def _recipes_table() -> str:
    """Return the table of the keys that recipes set, with the value in each."""
    lines = [
        f"| key of `training` | {' | '.join(f'`{name}`' for name in RECIPES)} |",
        "|---" * (len(RECIPES) + 1) + "|",
    ]
    for path in RECIPES["scratch"]:
        inner = list(RECIPES["scratch"][path]) if isinstance(RECIPES["scratch"][path], dict) else [""]
        for name in inner:
            values = [recipe[path][name] if name else recipe[path] for recipe in RECIPES.values()]
            lines.append(f"| {f'{path}.{name}'.rstrip('.')} | {' | '.join(f'`{_scalar(each)}`' for each in values)} |")
    return "\n".join(lines) + "\n\n"


def config_schema() -> str:
    """Return workflow/schemas/config.schema.json: JSON Schema (draft 2020-12) for editors and other programs."""
    generated = Config.model_json_schema()
    definitions = generated.pop("$defs")
    # Every key of the recipe has a default, so an override is a recipe with most keys left out.
    generated["properties"]["overrides"]["additionalProperties"] = {"$ref": "#/$defs/Training"}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **generated,
        "title": "ResoMap configuration",
        "$defs": definitions,
    }
    schema["description"] += " On Snakemake's command line a list may be given as text with commas."
    return json.dumps(_tidy(schema), indent=2, ensure_ascii=False) + "\n"


def summary_schema() -> str:
    """Return workflow/schemas/summary.schema.json: the JSON Schema (draft 2020-12) of results/summary.json."""
    from resomap.summary.document import Map

    generated = Map.model_json_schema(by_alias=True, mode="serialization")
    definitions = generated.pop("$defs")
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **generated,
        "title": "ResoMap summary",
        "$defs": definitions,
    }
    return json.dumps(_tidy(schema), indent=2, ensure_ascii=False) + "\n"


def documents() -> dict[str, str]:
    """Return the generated files: {path below the repository's root: content}."""
    return {
        "config/config.yaml": config_yaml(),
        "config/README.md": config_readme(),
        "workflow/schemas/config.schema.json": config_schema(),
        "workflow/schemas/summary.schema.json": summary_schema(),
    }


def write_documents(root: Path) -> list[Path]:
    """Write the generated files that differ below `root`; return their paths. Raises OSError where it cannot write."""
    changed = drifted(root)
    for path in changed:
        write_text(path, documents()[path.relative_to(root).as_posix()])
    return changed


def drifted(root: Path) -> list[Path]:
    """Return the generated files below `root` that are missing or differ from what the schema gives."""
    expected = {root / name: text for name, text in documents().items()}
    return [path for path, text in expected.items() if not path.exists() or path.read_text("utf-8") != text]


def _yaml_lines(kind: type[BaseModel], depth: int, path: str = "") -> Iterator[str]:
    """Yield the YAML lines of a section: short meanings behind the value in one column, long ones above their key.

    A key that recipes set stands in a comment: a value in the file would go before the recipe's.
    """
    indent = "  " * depth
    lines = {
        name: ("# " if f"{path}{name}".removeprefix("training.") in NAMED_KEYS and path.startswith("training.") else "")
        + _yaml_value(name, field)
        for name, field in kind.model_fields.items()
    }
    column = max(len(line) for line in lines.values() if len(line) <= 28) + 2
    after_gap = True
    for name, field in kind.model_fields.items():
        inner = section_of(field.annotation)
        meaning = _meaning(field)
        trailing = f"{indent}{lines[name]:<{column}}# {meaning}"
        wide = inner is not None or len(trailing) > WIDTH or len(lines[name]) >= column
        if wide and depth == 0 and not after_gap:
            yield ""
        if not wide:
            yield trailing
            after_gap = False
            continue
        yield from textwrap.wrap(meaning, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if inner is None:
            mark = lines[name][: lines[name].index(name)]
            yield from (indent + mark + line for line in _yaml_block(name, field, WIDTH - len(indent)))
        else:
            yield f"{indent}{name}:"
            yield from _yaml_lines(inner, depth + 1, f"{path}{name}.")
        after_gap = depth == 0
        if after_gap and name != list(kind.model_fields)[-1]:
            yield ""


def _yaml_value(name: str, field: FieldInfo) -> str:
    return f"{name}:" if section_of(field.annotation) else f"{name}: {_scalar(_default(field))}"


def _yaml_block(name: str, field: FieldInfo, width: int) -> list[str]:
    line = _yaml_value(name, field)
    if len(line) <= width:
        return [line]
    return [f"{name}:", *(f"  - {_scalar(item)}" for item in _default(field))]


def _scalar(value: Any) -> str:
    """Return a value in YAML's flow style; quoted where a plain word would be read as something else (`off`)."""
    if isinstance(value, float):
        # 1e-06 without a point is text to a YAML 1.1 reader.
        text = repr(value)
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("...\n").strip()


def _tables(kind: type[BaseModel], node: dict[str, Any], root: dict[str, Any], path: str) -> Iterator[str]:
    """Yield the table of one section, then those of the sections in it, each under its dotted name."""
    if path:
        yield f"### `{path}`\n\n{_capital(node['description'])}\n"
    yield "| key | meaning | unit | default | allowed |\n|---|---|---|---|---|"
    inner = {}
    for name, field in kind.model_fields.items():
        section = section_of(field.annotation)
        if section:
            inner[name] = section
            continue
        cells = [
            f"`{name}`",
            field.description or "",
            _unit(field),
            f"`{_scalar(_default(field))}`",
            _allowed(node["properties"][name]),
        ]
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""
    for name, section in inner.items():
        yield from _tables(section, _resolved(node["properties"][name], root), root, f"{path}.{name}".strip("."))


def _allowed(node: dict[str, Any]) -> str:
    """Return the allowed values of a key as text for a table cell, from its node of the JSON schema."""
    if "anyOf" in node:
        return " or ".join(_allowed(choice) for choice in node["anyOf"])
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{choice}`" for choice in node["enum"])
    if node["type"] == "array":
        fewest = node.get("minItems", 0)
        least = {0: "any number", 1: "one or more"}.get(fewest, f"{fewest} or more")
        return f"a list, {least}: {_allowed(node['items'])}"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "`true`, `false`",
        "null": "`null`",
        "object": "a section for each model or cell",
    }
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    limits = [f"{sign} {node[limit]:.15g}" for limit, sign in signs.items() if limit in node]
    text = words[node["type"]] + (" " + " and ".join(limits) if limits else "")
    return text + (", not empty" if node.get("minLength") else "")


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Return a section's node merged with its definition; its own description wins."""
    return {**root["$defs"][node["$ref"].rpartition("/")[2]], **node}


def _tidy(node: Any, named: bool = False) -> Any:
    """Return a schema without the titles that repeat the names, and with units inside the descriptions.

    `named`: the keys of this node are names of properties or definitions, not keywords of JSON Schema.
    """
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _tidy(value, key in ("properties", "$defs") and not named) for key, value in node.items()}
    if named:
        return kept
    unit = kept.pop("unit", None)
    if unit:
        kept["description"] += f" ({unit})"
    if "$schema" not in kept:
        kept.pop("title", None)
    return kept


def _meaning(field: FieldInfo) -> str:
    """Return description, and unit where it does not say it already, as a comment of the YAML file."""
    text, unit = field.description or "", _unit(field)
    text += f" ({unit})" if unit and unit not in text else ""
    return text if section_of(field.annotation) is None else _capital(text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)
