"""Study: a checked configuration, its cells and their fingerprints, shared by the workflow and every job.

The main Snakemake process makes it once (`Study.open`) and writes it below `.resomap/`; the jobs
read that file, so that no job walks the images again and all speak of the same fingerprints.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from resomap import RECIPE_VERSION
from resomap.cells.cell import Cell
from resomap.cells.names import FIRST_FOLD, Suffix, first_named, fold_of, resolution_of, suffix_of
from resomap.cells.possible import require_possible
from resomap.cells.resume_command import Call, run_command
from resomap.config import Config, Training, parse_config
from resomap.config.hashed import hashed, recipe_version
from resomap.config.load import training_for
from resomap.config.positive import HOLDING, ONE_VS_REST, positive_index
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.core.place import short
from resomap.data.changes import checked_digest
from resomap.data.identity import Description, describe
from resomap.models.fits import require_supported
from resomap.models.index import ModelIndex, load_index
from resomap.models.weights_digest import weights_identity

STATE_DIRECTORY = Path(".resomap")
CURRENT = STATE_DIRECTORY / "study.json"


class Study:
    """One configuration on one data set: its cells, their recipes and fingerprints."""

    def __init__(
        self, config: Config, data: Description, families: Mapping[str, str] | None = None, call: Call | None = None
    ) -> None:
        self.config = config
        self.data = data
        self.data_identity = data.identity
        self.call = call or Call()
        self._families = dict(families or {})
        # Planning asks for each fingerprint several times, and one weights file can be behind all of them.
        self._fingerprints: dict[Cell, str] = {}
        self._weights: dict[str | None, str | None] = {}
        self._rate_searches: dict[str, str] = {}
        self._recipes: dict[str, Training] = {}
        self._supported: set[str] = set()  # map positions
        self._targets: dict[tuple[str, str, str], Cell] = {}

    @classmethod
    def open(cls, values: Mapping[str, Any]) -> "Study":
        """Check raw configuration values against schema, model index and data source.

        Raises ResomapError with one sentence for whatever does not fit, before anything is trained.
        """
        config = parse_config(values)
        study = cls(config, describe(config.data, is_to_be_dealt=True))
        require_possible(study)
        return study

    @classmethod
    def load(cls, path: Path = CURRENT) -> "Study":
        """Return the study that the main process wrote. Raises ResomapError where there is no such file."""
        stored = read_json(path)
        if stored is None:
            raise ResomapError(
                f"{short(path.absolute())} holds no study; `{run_command(Path.cwd(), subcommand='plan')}` with "
                "--configfile FILE plans one there, and `resomap init DIR --data IMAGES` begins one"
            )
        try:
            data = Description(**{**stored["data"], "classes": tuple(stored["data"].get("classes", ()))})
            return cls(parse_config(stored["config"]), data, dict(stored["families"]), Call.read(stored))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ResomapError(f"{path} is damaged; run snakemake (or `snakemake -n`) here, which writes it") from None

    def save(self, path: Path) -> None:
        """Write the study for the jobs, and as the current one of this directory, which `resomap status` reads."""
        content = self._content()
        write_json(path, content)
        write_json(CURRENT, content)

    def save_planned(self) -> None:
        """Write a study that was only planned as the current one, unless another one has run in this directory."""
        stored = read_json(CURRENT)
        if not isinstance(stored, dict) or stored.get("is_planned"):
            write_json(CURRENT, {**self._content(), "is_planned": True})

    def _content(self) -> dict[str, Any]:
        for model in self.config.models:
            self.family(model)
        return {
            "config": self.config.model_dump(),
            "data": asdict(self.data),
            "families": self._families,
            **self.call.as_json(),
        }

    @cached_property
    def index(self) -> ModelIndex:
        """Index of the models of the installed torchvision and timm."""
        return load_index()

    def family(self, model: str) -> str:
        """Return the folder of a model's checkpoints. Raises ResomapError for an unknown model."""
        if model not in self._families:
            self._families[model] = self.index.entry(model).family
        return self._families[model]

    def cells(self) -> list[Cell]:
        """Return the cells of the grid: resolution changes fastest, then model, fold and seed."""
        config = self.config
        return [
            self.cell(model, resolution, seed, fold)
            for seed in config.seeds
            for fold in self.folds
            for model in config.models
            for resolution in config.resolutions
        ]

    def trainings_of(self, cell: Cell) -> list[Cell]:
        """Return all trainings of the grid that are of the same cell of the map, or the one itself outside the grid."""
        return [one for one in self.cells() if one.map_position == cell.map_position] or [cell]

    def named(self, name: str) -> list[Cell]:
        """Return the trainings that a person names: all of a cell (`vgg11@320`), or one (`vgg11@320.seed1`).

        The first fold and seed are named with their numbers, `vgg11@320.seed0`. Raises ResomapError as `find` does.
        """
        found = self.find(name)
        return self.trainings_of(found) if name == found.map_position else [found]

    def title(self, cell: Cell) -> str:
        """Return the name of a training that tells it from its cell: `vgg11@320.fold1.seed0`.

        Fold and seed are in it where the study has several. In a study with one training a cell it is `vgg11@320`.
        """
        if cell.further_identity:
            return cell.name
        of_fold = "" if cell.fold is None else f".fold{cell.fold}"
        is_one_of_many = len(self.config.seeds) > 1 or cell.seed != self.config.seeds[0]
        return cell.map_position + of_fold + (f".seed{cell.seed}" if is_one_of_many else "")

    @property
    def folds(self) -> Sequence[int | None]:
        """The folds, counted from 1; None alone in a study without folds."""
        count = self.config.data.folds
        return [None] if count is None else range(FIRST_FOLD, FIRST_FOLD + count)

    def cell(self, model: str, resolution: int, seed: int | None = None, fold: int | None = None) -> Cell:
        """Return a cell, in the grid or outside it; of the first seed and fold where none is given.

        Raises ResomapError for an unknown model, or for a fold that the study does not have.
        """
        first = self.config.seeds[0]
        seed = first if seed is None else seed
        fold = fold_of(fold, self.config.data.folds, f"{model}@{resolution}")
        return Cell(model, resolution, seed, self.family(model), suffix_of(fold, seed, first), fold)

    def find(self, name: str) -> Cell:
        """Return the cell that a person names `vgg11@320`, `vgg11@320.seed1` or `vgg11@320.fold2.seed1`.

        Raises ResomapError where the name is of another form or the model unknown.
        """
        model, at, rest = name.partition("@")
        resolution, dot, suffix = rest.partition(".")
        if not at:
            raise ResomapError(f"'{name}' names no cell; write MODEL@RESOLUTION, for example vgg11@320")
        pixels, wanted = resolution_of(resolution, name), Suffix.parse(dot + suffix, name)
        return self.cell(model, pixels, wanted.seed, fold_of(wanted.fold, self.config.data.folds, name))

    def require_square(self, name: str, where: str) -> Cell:
        """Return the cell, with the first seed, of a square of the map that a person names `vgg11@320`.

        Raises ResomapError, which says `where` it stands, for another form and for what cannot be trained.
        """
        cell = self.find(name)
        if name != cell.map_position:
            raise ResomapError(
                f"{where} is '{name}', and a winner is made of all trainings of a cell; write {cell.map_position}"
            )
        require_supported([(cell.model, cell.resolution)])
        return cell

    def target(self, model: str, resolution: str, suffix: str) -> Cell:
        """Return the cell behind the wildcards of `results/{model}/{resolution}{suffix}.done`.

        Raises ResomapError for a resolution that is no number, an unknown model, one that cannot take the
        resolution, or the first fold or seed written with a suffix.
        """
        wanted = model, resolution, suffix
        if wanted in self._targets:
            return self._targets[wanted]
        target = f"results/{model}/{resolution}{suffix}.done"
        named = Suffix.parse(suffix, target)
        fold = fold_of(named.fold, self.config.data.folds, target)
        cell = self.cell(model, resolution_of(resolution, target), named.seed, fold)
        if suffix != cell.suffix:
            raise ResomapError(f"{first_named(named, cell.seed)}, whose marker has no suffix: {cell.marker}")
        if cell.map_position not in self._supported:
            require_supported([(model, cell.resolution)])
            self._supported.add(cell.map_position)
        self._targets[wanted] = cell
        return cell

    def recipe(self, cell: Cell) -> Training:
        """Return the training section after the overrides of the model and of the map position."""
        if cell.map_position not in self._recipes:
            self._recipes[cell.map_position] = training_for(self.config, cell.map_position)
        return self._recipes[cell.map_position]

    def stored_sizes(self, *cells: Cell) -> tuple[int, ...]:
        """Return the sizes in pixels at which trainings of the cells need the images, each once, a resolution first."""
        sizes = (size for cell in cells for size in self.recipe(cell).stored_sizes(cell.resolution))
        return tuple(dict.fromkeys(sizes))

    @cached_property
    def content_digest(self) -> str | None:
        """Digest of the contents of the images as they were checked here; None where they were not.

        Of files that were edited in place the digest is unlike any other until they are checked: see `images_changed`.
        """
        return checked_digest(self.data_identity)

    def images_changed(self) -> None:
        """Count no training as one of these images, until they are checked anew: their contents have changed."""
        self.content_digest = "changed"

    @cached_property
    def base(self) -> str:
        """Fingerprint shared by all cells, without model, resolution, fold, seed and overrides: 12 hex digits."""
        return _digest(self._base_content())

    def fingerprint(self, cell: Cell) -> str:
        """Return 12 hex digits, a hash of all that decides the cell's result (not device, workers, paths and host)."""
        if cell not in self._fingerprints:
            recipe = self.recipe(cell)
            self._fingerprints[cell] = _digest(
                {
                    **self._base_content(),
                    "recipe": recipe_version(recipe),
                    "model": cell.model,
                    "resolution": cell.resolution,
                    "seed": cell.seed,
                    **({} if cell.fold is None else {"fold": cell.fold}),
                    "training": hashed(recipe, "training"),
                    "weights": self._weights_identity(recipe),
                    **self._monitored_point(recipe),
                    **({"rate_search": self.rate_search(cell.model)} if recipe.learning_rate == "auto" else {}),
                    **cell.further_identity,
                }
            )
        return self._fingerprints[cell]

    def rate_search(self, model: str) -> str:
        """Return 12 hex digits, a hash of all that decides which learning rate is found for a model.

        That is the model's recipe, without overrides of single cells, and what `learning_rate_search` says.
        """
        if model not in self._rate_searches:
            recipe = training_for(self.config, model)
            self._rate_searches[model] = _digest(
                {
                    "recipe": recipe_version(recipe.trial),
                    "data": self.data_identity,
                    "deterministic": self.config.deterministic,
                    "model": model,
                    "training": hashed(recipe.trial, "training"),
                    "search": recipe.learning_rate_search.model_dump(),
                    "weights": self._weights_identity(recipe),
                    **self._monitored_point(recipe),
                }
            )
        return self._rate_searches[model]

    def resume_command(self, cell: Cell) -> str:
        """Return the command that trains this cell or resumes it, for the reader of this process's output."""
        return self.call.resume(str(cell.marker))

    def fingerprints(self, cells: Iterable[Cell] | None = None) -> dict[Cell, str]:
        """Return the fingerprint of each cell (of the grid where none are given)."""
        return {cell: self.fingerprint(cell) for cell in (self.cells() if cells is None else cells)}

    def _weights_identity(self, recipe: Training) -> str | None:
        if recipe.weights not in self._weights:
            self._weights[recipe.weights] = weights_identity(recipe.weights)
        return self._weights[recipe.weights]

    def _monitored_point(self, recipe: Training) -> dict[str, Any]:
        """Return what of `report` decides a training: class and share of the metric that chooses its epoch."""
        if recipe.monitor not in ONE_VS_REST:
            return {}
        report, classes = self.config.report, self.data.classes
        point = {"positive": classes[positive_index(report, classes)] if classes else report.positive}
        return {"monitored": point | ({"at": report.at} if recipe.monitor in HOLDING else {})}

    def _base_content(self) -> dict[str, Any]:
        return {
            "recipe": RECIPE_VERSION,
            "data": self.data_identity,
            "deterministic": self.config.deterministic,
            "training": hashed(self.config.training, "training"),
        }


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
