"""Adoption of runs of an older script, named `<model>_<resolution>`: by explicit choice they count as complete.

They carry no fingerprint, so nobody knows whether settings and images were the present ones: who adopts a run says
so. It gets the tags of a complete run and a marker of what is known of it; nothing that it has is changed. A run of
another experiment is copied into this study's one, for MLflow moves no runs.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resomap.cells.cell import Cell
from resomap.cells.marker import SCHEMA, TRACKER, Marker, TrainingCost
from resomap.cells.study import Study
from resomap.cells.tags import Tag, completion, equals
from resomap.core.errors import ResomapError
from resomap.core.text import is_whole_number, printable
from resomap.tracking.completed import Completed
from resomap.tracking.credentials import credentials, without_secrets
from resomap.tracking.explain import differences
from resomap.tracking.metric_names import meanings, our_metrics, our_params
from resomap.tracking.rest import TrackerUnavailable, is_remote, tracking_uri, why_unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NAME = re.compile(r"(?P<model>.+)_(?P<resolution>[1-9][0-9]{0,3})")
PAGE = 1000


@dataclass(frozen=True)
class Candidate:
    """A run that may be adopted, by its name; `obstacle` is the reason why it cannot be, else empty."""

    run: "Run"
    cell: Cell | None
    metrics: dict[str, float]  # under our names
    notes: list[str]
    obstacle: str = ""

    @property
    def name(self) -> str:
        """The run's name, `<model>_<resolution>`."""
        return str(self.run.info.run_name)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return str(self.run.info.run_id)

    def line(self) -> str:
        """Return the line of the list for this run.

        For example `vgg11_320  run 3f2a1b0c, 2024-05-03: test/accuracy 0.8730; epochs 10, wanted 25`.
        """
        day = time.strftime("%Y-%m-%d", time.localtime(self.run.info.start_time / 1000))
        values = ", ".join(f"{name} {value:.4f}" for name, value in sorted(self.metrics.items()))
        rest = [values or "no metric that is known", *self.notes]
        text = f"{self.name}  run {self.run_id[:8]}, {day}: {'; '.join(rest)}"
        return f"{text}  (cannot be adopted: {self.obstacle})" if self.obstacle else text


class Adoption:
    """Runs of one experiment that a study could adopt."""

    def __init__(self, study: Study, experiment: str | None, metric: Sequence[str]) -> None:
        self._study, self._tracking = study, study.config.tracking
        self._experiment = experiment or study.config.experiment
        self._meaning = meanings(metric)
        self._client = self._connected()
        self._complete: set[Cell] = set()
        self.candidates = self._found()

    def listing(self) -> Iterator[str]:
        """Yield a line for each run without fingerprint, newest first, and the command that adopts one."""
        for candidate in self.candidates:
            yield candidate.line()
        ready = [candidate.name for candidate in self.candidates if not candidate.obstacle]
        if ready:
            yield f"`resomap adopt {ready[0]}` (or --all, or --run ID) lets them count under the present settings"
        else:
            yield f"the experiment {self._experiment} has no run of an older script that can be adopted"

    def adopt(self, names: Sequence[str], runs: Sequence[str], everything: bool) -> Iterator[str]:
        """Adopt the chosen runs; yield a line for each.

        Raises ResomapError, before any is adopted, for a wrong choice.
        """
        chosen = [self._named(name) for name in names] + [self._of_id(run) for run in runs]
        if everything:
            chosen += [candidate for candidate in self.candidates if not candidate.obstacle]
        once: dict[Cell, Candidate] = {}
        for candidate in chosen:
            if candidate.obstacle or candidate.cell is None:
                raise ResomapError(f"run {candidate.run_id[:8]} cannot be adopted: {candidate.obstacle}")
            other = once.setdefault(candidate.cell, candidate)
            if other is not candidate and not everything:
                raise ResomapError(f"{candidate.name} is chosen twice, as run {other.run_id} and {candidate.run_id}")
        if not once:
            raise ResomapError(
                f"the experiment {self._experiment} has no run that can be adopted; `resomap adopt` lists them"
            )
        with self._one_sentence():
            for cell, candidate in once.items():
                yield f"{cell.name} is complete: run {self._adopt_one(cell, candidate)[:8]}, adopted"

    def _adopt_one(self, cell: Cell, candidate: Candidate) -> str:
        marker = self._marker(cell, candidate)
        run_id = candidate.run_id
        if self._experiment != self._study.config.experiment:
            run_id = self._copy(candidate)
        tags = {
            Tag.BASE: marker.base,
            Tag.FINGERPRINT: marker.fingerprint,
            Tag.CELL: cell.name,
            Tag.ADOPTED_FROM: candidate.run_id,
        }
        for name, value in {**tags, **completion(marker)}.items():
            self._client.set_tag(run_id, name, value)
        if not is_remote(self._tracking):  # a local database is never asked: the marker is what counts
            replace(marker, run_id=run_id).write(cell.marker)
        return run_id

    def _copy(self, candidate: Candidate) -> str:
        """Copy a run into this study's experiment, with params and last metrics; idempotent. Return the copy's id."""
        from mlflow.entities import Metric, Param

        from resomap.tracking.client import experiment_id

        known = experiment_id(self._client, tracking_uri(self._tracking), self._study.config.experiment)
        same = self._client.search_runs([known], equals(Tag.ADOPTED_FROM, candidate.run_id), max_results=1)
        if same:
            return str(same[0].info.run_id)
        run, tags = candidate.run, {Tag.ADOPTED_FROM: candidate.run_id}
        copy = self._client.create_run(known, run.info.start_time, tags, candidate.name).info.run_id
        metrics = [Metric(key, value, run.info.end_time, 0) for key, value in run.data.metrics.items()]
        params = [Param(key, value) for key, value in run.data.params.items()]
        for start in range(0, max(len(metrics), len(params)), 100):
            self._client.log_batch(copy, metrics[start : start + 100], params[start : start + 100])
        self._client.set_terminated(copy, "FINISHED", run.info.end_time)
        return str(copy)

    def _marker(self, cell: Cell, candidate: Candidate) -> Marker:
        epochs = our_params(candidate.run.data.params).get("epochs", "")
        return Marker(
            schema=SCHEMA,
            model=cell.model,
            resolution=cell.resolution,
            seed=cell.seed,
            fold=cell.fold,
            fingerprint=self._study.fingerprint(cell),
            base=self._study.base,
            uid=candidate.run_id,
            run_id=candidate.run_id,
            origin=TRACKER,
            finished_at=(candidate.run.info.end_time or candidate.run.info.start_time) / 1000,
            epochs=int(epochs) if is_whole_number(epochs) else None,
            metrics=candidate.metrics,
            cost=TrainingCost(),
            exact=False,
            exact_reasons=(f"adopted from run {candidate.run_id} of an older script", *candidate.notes),
            environment={},
            attempt=1,
            absent=frozenset({"weights_in_tracker", "microbatch"}),
        )

    def _named(self, name: str) -> Candidate:
        same = [candidate for candidate in self.candidates if candidate.name == name]
        free = [candidate for candidate in same if not candidate.obstacle]
        if not same:
            raise ResomapError(
                f"the experiment {self._experiment} has no run {name} without fingerprint; `resomap adopt` lists them"
            )
        if len(free) > 1:
            runs = ", ".join(candidate.run_id for candidate in free)
            raise ResomapError(f"several runs are named {name}; choose one by --run: {runs}")
        return (free or same)[0]

    def _of_id(self, beginning: str) -> Candidate:
        same = [candidate for candidate in self.candidates if candidate.run_id.startswith(beginning)]
        if len(same) != 1:
            what = "no run without fingerprint" if not same else "several runs"
            raise ResomapError(
                f"the experiment {self._experiment} has {what} {beginning}...; `resomap adopt` lists them"
            )
        return same[0]

    def _found(self) -> list[Candidate]:
        with self._one_sentence():
            experiment = self._client.get_experiment_by_name(self._experiment)
            if experiment is None:
                raise ResomapError(
                    f"{tracking_uri(self._tracking)} has no experiment {self._experiment}; name it by --experiment"
                )
            runs: list[Run] = []
            token = None
            while True:
                page = self._client.search_runs([experiment.experiment_id], max_results=PAGE, page_token=token)
                runs += [run for run in page if Tag.FINGERPRINT not in run.data.tags]
                token = page.token
                if not token:
                    break
        named = [(run, match) for run in runs if (match := NAME.fullmatch(str(run.info.run_name)))]
        parts = [(run, self._cell(match["model"], int(match["resolution"]))) for run, match in named]
        self._complete = self._complete_cells([cell for _, cell in parts if cell])
        return [self._candidate(run, cell) for run, cell in parts]

    def _cell(self, model: str, resolution: int) -> Cell | None:
        try:
            return self._study.cell(model, resolution)
        except ResomapError:
            return None

    def _complete_cells(self, cells: Sequence[Cell]) -> set[Cell]:
        """Return the cells that count already, here or in the tracker: adopting another run of them changes nothing."""
        wanted = self._study.fingerprints(cells)
        content = self._study.content_digest
        done = {cell for cell, fingerprint in wanted.items() if Marker.of_done(cell, fingerprint, content)}
        known = Completed(self._tracking, self._study.config.experiment, self._study.base)
        try:
            known.ask_once()
        except TrackerUnavailable as error:
            raise self._unavailable(str(error)) from None
        return done | set(known.markers(wanted, None))

    def _candidate(self, run: "Run", cell: Cell | None) -> Candidate:
        metrics, notes = our_metrics(run.data.metrics, self._meaning)
        obstacle = ""
        if cell is None:
            obstacle = "no model of that name is known"
        elif run.info.status != "FINISHED":
            obstacle = f"it ended {run.info.status}"
        elif not metrics:
            obstacle = "none of its metrics is known; say by --metric what one means, for example acc=test/accuracy"
        elif cell in self._complete:
            obstacle = f"{cell.name} is complete already; `resomap forget {self._study.title(cell)} --tracker` first"
        if cell is not None and (found := differences(our_params(run.data.params), self._study, cell)):
            notes = [found, *notes]
        return Candidate(run, cell, metrics, notes, obstacle)

    def _connected(self) -> "MlflowClient":
        if reason := why_unreachable(self._tracking):
            raise self._unavailable(reason)
        os.environ.update(credentials(self._tracking))
        from resomap.tracking.client import connect

        with self._one_sentence():
            return connect(tracking_uri(self._tracking))

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except (ResomapError, OSError):
            raise
        except Exception as error:  # what a server answers is read by MLflow's client, which raises anything
            words = printable(str(error))[:200]
            raise self._unavailable(words or type(error).__name__) from None

    def _unavailable(self, reason: str) -> ResomapError:
        return ResomapError(without_secrets(f"the tracker {tracking_uri(self._tracking)} cannot be used: {reason}"))
