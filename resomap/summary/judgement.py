"""Statistics of the evidence: intervals, comparisons, Pareto fronts, the recommendation."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np

from resomap.cells.measurement import runtime_words, why_implausible, why_unsteady
from resomap.core.errors import ResomapError
from resomap.statistics import (
    Answer,
    CellCost,
    CostName,
    Deficits,
    Estimates,
    Gap,
    Interval,
    Metric,
    OneVsRest,
    Position,
    Posterior,
    Prospect,
    Question,
    Recommendation,
    Resolutions,
    Sample,
    best_test_resolutions,
    compare_resolutions,
    decide,
    estimate,
    hierarchy,
    intervals,
    pareto_front,
    possible_front,
    posterior,
    prospects,
    recommend,
    validation_gap,
)
from resomap.statistics.carried_estimates import carried_intervals
from resomap.summary.evidence import Evidence
from resomap.summary.operating import question

# Figures in costs.csv and in the budget are plain counts; the statistics take them in these units.
UNITS: dict[str, float] = {"flops": 1e9, "params": 1e6}
MB = 1e6
# Metrics that the likeliest class of each image decides.
OF_CLASSES = ("accuracy", "balanced_accuracy", "macro_f1", "macro_precision", "macro_recall", "quadratic_kappa")
COMPARABLE = ("device", "runtime", "threads", "precision")


@dataclass(frozen=True)
class Judgement:
    """Statistics of one study's evidence. Everything that is a choice is computed on validation."""

    evidence: Evidence

    @cached_property
    def samples(self) -> dict[str, dict[Position, list[Sample]]]:
        """Predictions by split and square; squares without any are left out."""
        judged = {
            place: [self.evidence.sample(one, "val") for one in parts] for place, parts in self.evidence.judged.items()
        }
        return {"val": judged, "test": self._samples_of("test")}

    @cached_property
    def _by_probabilities(self) -> dict[Position, list[Sample]]:
        """Validation predictions for metrics of probabilities."""
        found = self.evidence.judged_by_probabilities
        return {place: [self.evidence.sample(one, "val") for one in parts] for place, parts in found.items()}

    def _samples_of(self, split: str) -> dict[Position, list[Sample]]:
        found: dict[Position, list[Sample]] = defaultdict(list)
        for one in self.evidence.trained:
            if one.predictions is not None:
                found[one.position].append(self.evidence.sample(one.predictions.splits[split], split))
        return {position: found[position] for position in self.evidence.positions if position in found}

    def estimates(self, split: str, metric: Question) -> Estimates | None:
        """Return the estimates of a metric on a split; None without predictions, or where none of them defines it."""
        if (split, metric) not in self._estimated:
            by_class = metric in OF_CLASSES or split != "val"
            samples = self.samples[split] if by_class else self._by_probabilities
            try:
                self._estimated[split, metric] = estimate(samples, metric) if samples else None
            except ResomapError:
                self._estimated[split, metric] = None
        return self._estimated[split, metric]

    @cached_property
    def _estimated(self) -> dict[tuple[str, Question], Estimates | None]:
        return {}

    @cached_property
    def judged(self) -> Estimates | None:
        """Estimates of the report's metric on validation, from which all choices follow."""
        return self.estimates("val", self.question)

    @cached_property
    def question(self) -> Question:
        """Metric that the cells are compared by.

        Raises ResomapError where the images lack the class that it speaks of.
        """
        return question(self.evidence)

    def intervals(self, split: str) -> dict[str, dict[Position, Interval]]:
        """Return the 95 % confidence intervals on a split, by metric and square."""
        found = {}
        for metric in get_args(Metric):
            estimates = self.estimates(split, metric)
            found[metric] = intervals(estimates) if estimates else {}
        name = self.evidence.study.config.report.metric
        if name not in found and split == "val":
            found[name] = intervals(self.judged) if self.judged else {}
        elif name not in found:
            found[name] = self._carried()
        return found

    def _carried(self) -> dict[Position, Interval]:
        """Return the report's metric on test; thresholds are those chosen on validation."""
        if not isinstance(self.question, OneVsRest) or not self.question.needs_threshold:
            estimates = self.estimates("test", self.question)
            return intervals(estimates) if estimates else {}
        validation, test = self._chosen_and_tested()
        return carried_intervals(validation, test, self.question) if test else {}

    def _chosen_and_tested(self) -> tuple[dict[Position, list[Sample]], dict[Position, list[Sample]]]:
        """Return the samples that thresholds are chosen on and carried to, of each training in the same order.

        With folds a threshold is chosen on all images of its seed, and carried to test with each fold's training.
        """
        evidence = self.evidence
        if evidence.study.config.data.folds is None:
            return self.samples["val"], self.samples["test"]
        chosen: dict[Position, list[Sample]] = defaultdict(list)
        tested: dict[Position, list[Sample]] = defaultdict(list)
        for position, by_seed in evidence.pooled.items():
            for one in evidence.of(position):
                if one.predictions is not None and one.cell.seed in by_seed and one.cell.fold in evidence.folds:
                    chosen[position].append(replace(evidence.sample(by_seed[one.cell.seed][1], "val"), folds=None))
                    tested[position].append(evidence.sample(one.predictions.splits["test"], "test"))
        return dict(chosen), dict(tested)

    @cached_property
    def resolutions(self) -> dict[str, Resolutions]:
        """Comparisons of the resolutions, by model."""
        return compare_resolutions(self.judged) if self.judged else {}

    @cached_property
    def comparable(self) -> frozenset[Position]:
        """Squares whose cost was measured on the device, in the runtime, threads and precision of most of them."""
        kinds: dict[tuple[object, ...], list[Position]] = defaultdict(list)
        for position, content in self.evidence.costs.items():
            kinds[tuple(content.get(name) for name in COMPARABLE)].append(position)
        most: list[Position] = max(kinds.values(), key=len, default=[])
        return frozenset(most)

    @cached_property
    def device(self) -> str:
        """Name of the device whose figures are compared; empty where nothing was measured."""
        return next((str(self.evidence.costs[position]["device"]) for position in self.comparable), "")

    @cached_property
    def runtime(self) -> str:
        """Runtime of the figures that are compared, for people; empty where nothing was measured."""
        return next((runtime_words(self.evidence.costs[position]) for position in self.comparable), "")

    @cached_property
    def unsteady(self) -> dict[Position, str]:
        """Reasons of the squares whose latency is not to be ranked by."""
        of_comparable = {position: self.evidence.costs[position] for position in sorted(self.comparable)}
        found = {position: why_unsteady(content) for position, content in of_comparable.items()}
        return {position: why for position, why in found.items() if why} or why_implausible(of_comparable)

    @cached_property
    def costs(self) -> dict[Position, CellCost]:
        """Cost of each square in the units of the statistics: ms, MB, 10⁹ operations, 10⁶ parameters.

        Latency and memory of another device than most are left out: figures of two devices are never mixed.
        """
        return {position: self._cost(position, content) for position, content in self.evidence.costs.items()}

    def on(self, costs: dict[Position, Mapping[str, Any]]) -> "Judgement":
        """Return the judgement of the same trainings by the costs of another device."""
        other = Judgement(replace(self.evidence, costs=costs))
        other.__dict__.update(judged=self.judged, posterior=self.posterior)  # cached: no cost is in them
        return other

    @cached_property
    def recommendation(self) -> Recommendation | None:
        """The recommendation; None without any predictions. Unsteady latencies order nothing: FLOPs do."""
        if self.judged is None:
            return None
        config = self.evidence.study.config
        cost: CostName | None = "flops" if self.unsteady else None
        return recommend(self.judged, self.costs, config.report.margin, _limits(config.budget.given()), cost)

    @cached_property
    def posterior(self) -> Posterior | None:
        """Posterior of the report's metric; None without any predictions."""
        return posterior(self.judged) if self.judged else None

    @cached_property
    def answer(self) -> Answer | None:
        """The cell to use, and the ladder; None without predictions, or where no cell is within the budget."""
        if self.recommendation is None or self.posterior is None:
            return None
        return decide(self.posterior, self.recommendation, self.evidence.study.config.report.confidence)

    @cached_property
    def prospects(self) -> tuple[Prospect, ...]:
        """Further seeds or images that would make an undecided map decide; nothing where it does."""
        if self.posterior is None or self.recommendation is None or self.answer is None:
            return ()
        if self.answer.rule != "least expected deficit":
            return ()
        report = self.evidence.study.config.report
        return prospects(self.posterior, self.recommendation.candidates, report.margin, report.confidence)

    @cached_property
    def corrected(self) -> dict[Position, float]:
        """Each square's validation quality without the luck of being chosen: the posterior mean of the hierarchy.

        With one seed it is that of these trained models, of which the posterior behind the answer does not speak.
        """
        if self.judged is None:
            return {}
        found = hierarchy(self.judged)
        return {
            cell: float(np.clip(mean, self.judged.lowest, 1))
            for cell, mean in zip(found.cells, found.means, strict=True)
        }

    @cached_property
    def validation_gap(self) -> Gap | None:
        """By how much the report's metric is higher on validation than on test; for display alone.

        None at an operating point: on test its threshold is another matter than on validation.
        """
        if isinstance(self.question, OneVsRest) and self.question.needs_threshold:
            return None
        test = self.estimates("test", self.question)
        return validation_gap(self.judged, test) if self.judged and test else None

    @cached_property
    def best_tested(self) -> dict[Position, int]:
        """Best test resolution of each evaluated square, on validation."""
        rows = {
            position: {
                resolution: [self.evidence.sample(part, "val") for part in parts]
                for resolution, parts in self.evidence.tested(position, "val").items()
            }
            for position in self.evidence.positions
        }
        return best_test_resolutions(rows, self.question)

    @cached_property
    def _deficits(self) -> Deficits | None:
        return Deficits(self.judged) if self.judged else None

    def possible_front(self, name: CostName) -> list[Position]:
        """Return the squares that may be on the true front of a cost."""
        return possible_front(self._deficits, self.costs, name) if self._deficits else []

    def fronts(self) -> dict[CostName, list[Position]]:
        """Return the Pareto front of each cost that is known."""
        if self.judged is None:
            return {}
        values: dict[Position, float | None] = {
            cell: float(self.judged.values[self.judged.index(cell)]) for cell in self.judged.cells
        }
        named = [name for name in get_args(CostName) if name != "latency_ms" or not self.unsteady]
        return {name: front for name in named if (front := pareto_front(values, self.costs, name))}

    def _cost(self, position: Position, content: Mapping[str, object]) -> CellCost:
        def scaled(name: str, unit: float) -> float | None:
            value = content.get(name)
            return float(value) / unit if isinstance(value, int | float) else None

        values: dict[CostName, float | None] = {name: scaled(name, UNITS[name]) for name in ("flops", "params")}
        if position in self.comparable:
            values["latency_ms"] = scaled("latency_ms_median", 1)
            values["memory_mb"] = scaled("peak_memory_bytes_batch_1", MB)
        return CellCost(self.device, values, self.runtime)


def _limits(budget: Mapping[str, float]) -> dict[str, float]:
    """Return a configured budget in the units of the statistics."""
    return {name: value / UNITS.get(name, 1.0) for name, value in budget.items()}
