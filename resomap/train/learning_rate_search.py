"""Search for a model's learning rate: each rate of a ladder in a short trial; the best one is written for its cells.

Each finished trial is kept, so that a search that was killed goes on with the next one.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resomap.cells import learning_rate_choice
from resomap.cells.learning_rate_choice import EXTENSIONS, RateSearch
from resomap.cells.study import Study
from resomap.compute.device import choose_device, keep_freed_memory, prepare_backend
from resomap.config.load import training_for
from resomap.core.errors import Interrupted, PermanentFailure
from resomap.core.files import read_json, write_json
from resomap.core.sealed_json import break_seal, sealed
from resomap.data import DATA_DIRECTORY
from resomap.data.store import Store
from resomap.train.rate_trial import RateTrials
from resomap.train.signals import SignalWatch

Tried = dict[float, dict[str, Any]]


def find_learning_rate(
    study: Study, model: str, threads: int, signals: SignalWatch, say: Callable[[str], None]
) -> None:
    """Find and write the model's learning rate.

    Raises Interrupted after a signal, PermanentFailure where no rate trains, ResomapError for a mistake in settings
    or environment.
    """
    if (there := learning_rate_choice.read(study, model)) is not None:
        say(f"{model}: learning rate {there.rate:g} was found already")
        return
    device = choose_device(study.config.device)
    prepare_backend(device, study.config.deterministic, threads)
    if not device.is_cuda:
        keep_freed_memory()
    recipe = training_for(study.config, model).trial
    settings = recipe.learning_rate_search
    store = Store.open(DATA_DIRECTORY, settings.resolution, splits=("train",))

    def stop_after_signal() -> None:
        if signals.received is not None:
            raise Interrupted(f"{signals.name} during a trial: the same command goes on with it")

    trials = RateTrials(
        study=study,
        cell=learning_rate_choice.trial_cell(study, model),
        recipe=recipe,
        store=store,
        device=device,
        between=stop_after_signal,
    )
    kept = _Kept(study, model, store.content_digest)
    while (rate := next_rate(kept.tried, settings.rates, recipe.monitor)) is not None:
        kept.add(rate, trials.run(rate))
        say(f"{model}: rate {rate:g}: {_words(kept.tried[rate], recipe.monitor)}")
    found = best_rate(kept.tried, recipe.monitor)
    if found is None:
        raise PermanentFailure(
            f"{model} diverges at each learning rate from {min(kept.tried):g} to {max(kept.tried):g}; give it lower "
            "learning_rate_search.rates or another optimizer in `overrides`"
        )
    RateSearch(
        model=model,
        rate=found,
        search=study.rate_search(model),
        monitor=recipe.monitor,
        resolution=settings.resolution,
        epochs=settings.epochs,
        images=trials.images,
        tried={repr(one): kept.tried[one] for one in sorted(kept.tried)},
        content_digest=store.content_digest,
        found_at=time.time(),
        device=device.name,
    ).write()
    kept.delete()
    say(f"{model}: learning rate {found:g}, of {len(kept.tried)} tried")


def next_rate(tried: Mapping[float, Mapping[str, Any]], ladder: Sequence[float], monitor: str) -> float | None:
    """Return the rate to be tried next; None where the search is over.

    First come those of the ladder, ascending. Where the best rate is then the lowest or the highest that was tried,
    the next one is beyond it, by the ratio of the two rates at that end; EXTENSIONS of these at most. Where all
    diverged, lower rates are tried.
    """
    for rate in ladder:
        if rate not in tried:
            return rate
    rates = sorted(tried)
    best = best_rate(tried, monitor)
    if len(rates) >= len(ladder) + EXTENSIONS:
        return None
    if best is None or best == rates[0]:
        beyond = rates[0] ** 2 / rates[1]
    elif best == rates[-1]:
        beyond = rates[-1] ** 2 / rates[-2]
    else:
        return None
    beyond = float(f"{beyond:.3g}")
    return beyond if beyond > 0 and beyond not in tried else None


def best_rate(tried: Mapping[float, Mapping[str, Any]], monitor: str) -> float | None:
    """Return the rate with the best value of the metric, the lowest of equal ones; None where all diverged."""
    sign = 1 if monitor == "loss" else -1
    values = {rate: sign * trial["value"] for rate, trial in tried.items() if trial["value"] is not None}
    return min(values, key=lambda rate: (values[rate], rate)) if values else None


class _Kept:
    """Finished trials of a search, kept in a file from one attempt to the next."""

    def __init__(self, study: Study, model: str, content_digest: str) -> None:
        self._path = learning_rate_choice.trials_path(model)
        self._identity = {"search": study.rate_search(model), "content_digest": content_digest}
        self.tried = self._read()

    def add(self, rate: float, trial: dict[str, Any]) -> None:
        """Keep a trial that is finished."""
        self.tried[rate] = trial
        tried = {repr(one): self.tried[one] for one in self.tried}
        write_json(self._path, sealed({**self._identity, "tried": tried}))

    def delete(self) -> None:
        """Delete the file: the outcome has all of it."""
        self._path.unlink(missing_ok=True)

    def _read(self) -> Tried:
        """Trials of the same search; none where the file is missing, damaged, or of other settings or images."""
        content = read_json(self._path)
        try:
            if not break_seal(content):
                return {}
            tried = content.pop("tried")
            return {float(rate): trial for rate, trial in tried.items()} if content == self._identity else {}
        except (AttributeError, KeyError, TypeError, ValueError):
            return {}


def _words(trial: Mapping[str, Any], monitor: str) -> str:
    if trial["value"] is None:
        return trial["reason"] or f"{monitor} is undefined"
    return f"{monitor} {trial['value']:.4f} at epoch {trial['epoch']}"
