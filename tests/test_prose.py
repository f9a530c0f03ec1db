"""Prose of the code: docstrings in plain English, and modules and files that they name exist."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT

PLUGINS = ("snakemake_logger_plugin_resomap", "snakemake_scheduler_plugin_resomap")
PACKAGES = [
    "resomap",  # the entry points alone; each package below it is one of its own
    *sorted(f"resomap/{path.parent.name}" for path in (ROOT / "resomap").glob("*/__init__.py")),
    *PLUGINS,
    "tests",
    "benchmarks",
]

# A sentence that begins with one of these has no subject: "What it costs", "Whether it fits", "Of one image".
RIDDLES = {"what", "whether", "of", "how", "who", "why", "which", "where", "when", "that", "as", "from"}

# Modules and packages that have moved since the first tree, each at the path that it had there.
MOVED = {
    "resomap": (
        "adopt cell choice errors evaluate files foreign forget gpu_lock gpus inputs loading log map marker metrics "
        "microbatch names predict progress shelf slurm study"
    ),
    "resomap/bench": "checkpoints inputs material planning run start steps training",
    "resomap/commands": "people steps",
    "resomap/config": "document mistakes",
    "resomap/cost": "batch inference measurement memory operations plan table",
    "resomap/doctor": "data machine slurm tracker",
    "resomap/evaluation": "compute predictions record step weights",
    "resomap/map": "advice basis compose document evidence judgement plan step tables",
    "resomap/models": "identity sizes",
    "resomap/planning": "duration engine forecast images ledger memory microbatches neighbours order",
    "resomap/report": "circumstances classes disagreements images learning pareto quality step tables transfer",
    "resomap/statistics": "draws estimates",
    "resomap/tracking": "access companion consult fetched figures place reasons record system tracker",
    "resomap/train": "cell checkpoint device environment lock memory microbatch run",
    "snakemake_logger_plugin_resomap": "arguments options summary",
}
OLD = {f"{package}/{name}" for package, names in MOVED.items() for name in names.split()}
OLD_PATH = re.compile(rf"(?<![\w.-])(?:{'|'.join(sorted(OLD))})(?!\w)")
TELLS_OF_OLD = ("CHANGELOG.md", "tests/test_prose.py")

DOTTED = re.compile(rf"(?<![\w./-])(?:resomap|{'|'.join(PLUGINS)})(?:\.[A-Za-z_]\w*)+")
PATH = re.compile(
    rf"(?<![\w./-])(?:(?:resomap|{'|'.join(PLUGINS)})/[\w./-]*[\w/]|(?:tests|benchmarks|docs)/[\w/-]+\.(?:py|md))"
)
IMPORT = re.compile(r"\bfrom\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n#]+)")


def modules(package: str) -> list[Path]:
    """Return the files of a package; of `resomap` only those at its top."""
    found = (ROOT / package).glob("*.py") if package == "resomap" else (ROOT / package).rglob("*.py")
    return sorted(found)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield (dotted name, node) of a module ("") and of all classes and functions in it, nested ones too."""
    yield "", tree
    yield from definitions_inside(tree, "")


def definitions_inside(node: ast.AST, outer: str) -> Iterator[tuple[str, ast.AST]]:
    for child in ast.iter_child_nodes(node):
        name = outer
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = f"{outer}.{child.name}".lstrip(".")
            yield name, child
        yield from definitions_inside(child, name)


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def is_public(path: Path, name: str, tree: ast.Module) -> bool:
    """Return True for a module, and for a class, function or method that no underscore and no function hides."""
    if shown(path).startswith(("tests/", "benchmarks/")):
        return not name
    inside = tuple(f"{outer}." for outer, node in definitions(tree) if isinstance(node, ast.FunctionDef))
    return not any(part.startswith("_") for part in name.split(".")) and not name.startswith(inside)


def faults_of_docstrings(path: Path) -> Iterator[str]:
    """Yield a line for each docstring of a module that is missing, or begins like a riddle."""
    tree = parsed(path)
    for name, node in definitions(tree):
        text = ast.get_docstring(node)  # type: ignore[arg-type]
        where = f"{shown(path)}: {name or 'module'}"
        if text is None:
            if is_public(path, name, tree):
                yield f"{where} has no docstring"
        elif (word := re.match(r"\W*(\w*)", text)[1]).lower() in RIDDLES:  # type: ignore[index]
            yield f"{where} begins with {word!r}: {text.splitlines()[0]}"


def top_level_names(path: Path) -> set[str]:
    """Return the names that a module defines or imports at its top level."""
    found: set[str] = set()
    for statement in parsed(path).body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef):
            found.add(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.alias):
                found.add((node.asname or node.name).partition(".")[0])
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
    return found


def faults_of_list(init: Path) -> Iterator[str]:
    """Yield a line for each name in a package's docstring that is none of its modules, and each module left out.

    A list has an item a line: "- `module`, `module`: what they are". It names all modules of the package. Elsewhere a
    name in backticks may also be something that one of the modules defines.
    """
    text = ast.get_docstring(parsed(init)) or ""
    inside = [path for path in init.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    own = {path.stem for path in inside if not path.name.startswith("__")}
    defined = own.union(*(top_level_names(path) for path in inside if path.suffix == ".py"))
    items = [line.partition(": ")[0] for line in text.splitlines() if line.startswith("- `")]
    listed = {name for item in items for name in re.findall(r"`(\w+)`", item)}
    where = shown(init.parent)
    yield from (f"{where} lists `{name}`, which is none of its modules" for name in sorted(listed - own))
    if listed:
        yield from (f"{where} has the module `{name}`, which its list lacks" for name in sorted(own - listed))
    for name in sorted(set(re.findall(r"`([a-z_]+)`", text)) - listed - defined):
        yield f"{where} names `{name}`, which is in none of its modules"


@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_say_their_subject(package: str) -> None:
    faults = [fault for path in modules(package) for fault in faults_of_docstrings(path)]
    for init in modules(package):
        if init.name == "__init__.py" and package != "resomap":
            faults += faults_of_list(init)
    assert faults == []


def test_riddles_and_wrong_lists_are_seen(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(
        '"""Whether one fits."""\n\n\nclass Box:\n    """A box."""\n\n    def open(self):\n'
        "        def _lid(): ...\n\n    def _shut(self):\n        ...\n"
    )
    (tmp_path / "two.py").write_text('"""Two."""\n\n\ndef _size():\n    """Of a box."""\n')
    (tmp_path / "__init__.py").write_text('"""Boxes.\n\nSee `one` and `four`.\n\n- `one`, `three`: boxes\n"""\n')
    assert list(faults_of_docstrings(tmp_path / "one.py")) == [
        "one.py: module begins with 'Whether': Whether one fits.",
        "one.py: Box.open has no docstring",
    ]
    assert list(faults_of_docstrings(tmp_path / "two.py")) == ["two.py: _size begins with 'Of': Of a box."]
    name = tmp_path.name
    assert list(faults_of_list(tmp_path / "__init__.py")) == [
        f"{name} lists `three`, which is none of its modules",
        f"{name} has the module `two`, which its list lacks",
        f"{name} names `four`, which is in none of its modules",
    ]


def exists(dotted: str) -> bool:
    """Return True if a dotted path is a module, or something that a module defines."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:count])
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        if file.is_file():
            return count == len(parts) or (count > 0 and parts[count] in top_level_names(file))
    return False


@cache
def tracker_tags() -> set[str]:
    """Return the strings of the code that look like a module and are a tag of a run: `resomap.uid`."""
    files = (path for package in PACKAGES[:-2] for path in modules(package))
    constants = (node for path in files for node in ast.walk(parsed(path)))
    values = (node.value for node in constants if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {value for value in values if re.fullmatch(r"resomap\.[a-z_]+", value)}


def prose() -> Iterator[tuple[str, str]]:
    """Yield (place, text) of all docstrings and of the pages for people."""
    for path in (path for package in PACKAGES for path in modules(package)):
        for name, node in definitions(parsed(path)):
            text = ast.get_docstring(node)  # type: ignore[arg-type]
            if text:
                yield f"{shown(path)}: {name or 'module'}", text
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        yield shown(page), page.read_text()


def test_modules_and_files_that_are_named_exist() -> None:
    missing = []
    for where, text in prose():
        names = [name for name in DOTTED.findall(text) if name not in tracker_tags() and not exists(name)]
        paths = [path for path in PATH.findall(text) if not (ROOT / path).exists()]
        missing += [f"{where} names {name}" for name in (*names, *paths)]
    assert missing == []


def old_names(text: str) -> set[str]:
    """Return the old module paths that a text imports or names, dotted or with slashes."""
    found = set(OLD_PATH.findall(text))
    dotted = {name.replace(".", "/") for name in DOTTED.findall(text) if name not in tracker_tags()}
    for module, names in IMPORT.findall(text):
        dotted.add(module.replace(".", "/"))
        dotted |= {f"{module.replace('.', '/')}/{name}" for name in re.findall(r"\w+", names)}
    for name in dotted:
        parts = name.split("/")
        found |= OLD & {"/".join(parts[:count]) for count in range(2, len(parts) + 1)}
    return found


def test_old_paths_are_seen() -> None:
    assert old_names("from resomap.planning import engine, planner") == {"resomap/planning/engine"}
    assert old_names("from resomap.planning import (\n    planner,\n    engine,\n)") == {"resomap/planning/engine"}
    assert old_names("from resomap.cell import Cell") == {"resomap/cell"}
    assert old_names("see resomap/map/, `resomap.shelf.Shelf` or resomap/train/run.py") == {
        "resomap/map",
        "resomap/shelf",
        "resomap/train/run",
    }
    assert old_names("from resomap.cells.cell import Cell  # tag `resomap.cell`, resomap/bench/start_time.py") == set()


def test_no_file_names_a_module_by_an_old_path() -> None:
    assert [path for path in OLD if (ROOT / f"{path}.py").exists() or (ROOT / path / "__init__.py").exists()] == []
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout of git's")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = []
    for name in tracked.split("\0"):
        path = ROOT / name
        if name in TELLS_OF_OLD or not path.is_file():
            continue
        try:
            found += [f"{name} names {old}" for old in sorted(old_names(path.read_text()))]
        except UnicodeDecodeError:
            continue  # a picture
    assert found == []
