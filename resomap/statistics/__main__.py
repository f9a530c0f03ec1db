"""Table of what the statistics promise beside what was measured: `python -m resomap.statistics [DRAWS] [NAME...]`.

With 2,000 draws, its default, it takes hours; docs/claims.md has the table. NAMEs choose parts of it.
"""

import sys
from collections.abc import Callable, Iterable
from itertools import product

from threadpoolctl import threadpool_limits

from resomap.statistics import (
    answer_promises,
    calibration_promises,
    choice_promises,
    fold_promises,
    interval_promises,
    operating_promises,
)
from resomap.statistics.claims import Claim, as_table

DRAWS = 2000


def calibration(draws: int) -> Iterable[Claim]:
    """Yield what the calibration errors promise."""
    accuracies = (0.75, 0.85, 0.95)
    for accuracy, images in product(accuracies, (60, 400, 2000)):
        yield Claim(*_wanted(calibration_promises.calibrated_inside(accuracy, images, draws), "0.93 to 0.985"))
    for accuracy, images, factor in product(accuracies, (400, 2000), (1 / 1.5, 1.5, 2.5)):
        yield Claim(*_wanted(calibration_promises.error_covered(accuracy, images, factor, draws), "0.93"))
    for accuracy, factor in product((0.75, 0.85, 0.9), (1 / 1.5, 1.5)):
        yield Claim(*_wanted(calibration_promises.uncalibrated_called(accuracy, 400, factor, draws), "0.80"))
    yield Claim(*_wanted(calibration_promises.calibrated_inside(0.85, 400, draws, groups=40), "0.93"))
    yield Claim(*_wanted(calibration_promises.error_covered(0.85, 400, 1.5, draws, groups=40), "0.93"))


def operating(draws: int) -> Iterable[Claim]:
    """Yield what operating points promise."""
    for claims in operating_promises.ALL:
        for row in claims(draws):
            is_mean = row[0].endswith("mean")  # of what thresholds truly hold
            yield Claim(*_wanted(row, "0.90" if is_mean else "0.93 to 0.985"))


def _wanted(row: tuple[str, str, float, float], wanted: str) -> tuple[str, str, str, float, float]:
    claim, condition, measured, error = row
    return claim, condition, wanted, measured, error


PARTS: dict[str, Callable[[int], Iterable[Claim]]] = {
    "groups": interval_promises.of_grouped_images,
    "classes": interval_promises.of_classes,
    "positives": interval_promises.of_rare_positives,
    "seeds": interval_promises.of_seeds,
    "folds": fold_promises.of_folds,
    "gap": interval_promises.of_the_gap,
    "claims": choice_promises.false_claims,
    "looks": choice_promises.repeated_looks,
    "choices": choice_promises.right_choices,
    "frames": choice_promises.frames_off_the_diagonal,
    "winner": choice_promises.value_of_the_winner,
    "answers": answer_promises.answers,
    "surer": answer_promises.surer,
    "calibration": calibration,
    "operating": operating,
}


def main(words: list[str]) -> None:
    """Print the table, a line as soon as it is measured."""
    draws = next((int(word) for word in words if word.isdigit()), DRAWS)
    names = [word for word in words if not word.isdigit()] or list(PARTS)
    print(as_table(()), flush=True)
    for name in names:
        for claim in PARTS[name](draws):
            print(as_table([claim]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    with threadpool_limits(1, user_api="blas"):  # small matrices, and hours of them
        main(sys.argv[1:])
