"""Names of cells as people and targets write them: the resolution, the fold and the seed in a name."""

import re
from dataclasses import dataclass

from resomap.config.values import RESOLUTIONS, SEEDS
from resomap.core.errors import ResomapError
from resomap.core.text import is_whole_number

_SUFFIX = re.compile(r"(?:\.fold(?P<fold>[^.]*))?(?:\.seed(?P<seed>[^.]*))?")
FIRST_FOLD = 1


def suffix_of(fold: int | None, seed: int, first_seed: int) -> str:
    """Return the suffix of a cell's names: `.fold2.seed1`; the first fold and the first seed of a study have none."""
    of_fold = "" if fold in (None, FIRST_FOLD) else f".fold{fold}"
    return of_fold + ("" if seed == first_seed else f".seed{seed}")


@dataclass(frozen=True)
class Suffix:
    """Fold and seed that a suffix names; None: it names none, which means the first."""

    fold: int | None
    seed: int | None

    @classmethod
    def parse(cls, text: str, where: str) -> "Suffix":
        """Read a suffix such as `.fold2.seed1` in the name or target `where`; raises ResomapError for another form."""
        found = _SUFFIX.fullmatch(text)
        fold, seed = (found["fold"], found["seed"]) if found else (None, None)
        if found is None or (fold is not None and not _is_plain(fold)) or (seed is not None and not _is_seed(seed)):
            what = "seed or fold" if found is None else "seed" if fold is None or _is_plain(fold) else "fold"
            raise ResomapError(
                f"'{text}' in {where} is no {what}; write .seed and a whole number below {SEEDS.stop}, as in "
                "results/vgg11/320.seed1.done, or nothing for the first seed; with data.folds .fold and the fold's "
                "number stand before it, as in results/vgg11/320.fold2.seed1.done"
            )
        return cls(None if fold is None else int(fold), None if seed is None else int(seed))


def fold_of(wanted: int | None, folds: int | None, where: str) -> int | None:
    """Return the fold that is meant: the wanted one, else the first; None in a study without folds.

    Raises ResomapError for a fold that the study, of so many `folds`, does not have.
    """
    if folds is None:
        if wanted is None:
            return None
        raise ResomapError(
            f"{where} names fold {wanted}, and this study has no folds; set `data: {{folds: K}}`, or leave "
            f".fold{wanted} out"
        )
    if wanted is None:
        return FIRST_FOLD
    if not FIRST_FOLD <= wanted <= folds:
        raise ResomapError(f"{where} names fold {wanted}, and data.folds is {folds}; folds count from 1 to {folds}")
    return wanted


def resolution_of(text: str, where: str = "") -> int:
    """Return the resolution that a target or a name, `where`, has as text.

    Raises ResomapError for what is none, and for another way to write one: `032` would name the files of no cell.
    """
    if not _is_plain(text) or int(text) not in RESOLUTIONS:
        raise ResomapError(
            f"'{text}'{f' in {where}' if where else ''} is no resolution; write whole pixels between "
            f"{RESOLUTIONS[0]} and {RESOLUTIONS[-1]}, for example 320, as in results/vgg11/320.done"
        )
    return int(text)


def _is_seed(text: str) -> bool:
    return _is_plain(text) and int(text) in SEEDS


def _is_plain(text: str) -> bool:
    return is_whole_number(text) and str(int(text)) == text


def first_named(named: Suffix, seed: int) -> str:
    """Return what a suffix names that has none, in words: the first fold, or the first seed, which is `seed`."""
    is_fold = named.fold == FIRST_FOLD
    return f"fold {FIRST_FOLD} is the first fold" if is_fold else f"{seed} is the first seed"
