"""Beginning of a winner: the choice that stands, or a new one with the files of another winner set aside."""

from collections.abc import Callable

from resomap.cells import archive
from resomap.cells.marker import Marker
from resomap.cells.progress import progress_path
from resomap.cells.study import Study
from resomap.cells.winner_cell import Begun, Winner, begun, winner_of


def begin(study: Study, named: str | None, say: Callable[[str], None]) -> Begun:
    """Return the winner that was begun under these settings; else choose one, and write its choice.

    The caller holds the step's lock. `named` is the cell that a person wants. Raises what `choose` raises.
    """
    found = begun(study, named)
    if found is not None:
        return found
    from resomap.winner.choosing import choose  # NumPy and SciPy, which the next start of a done winner does without

    choice = choose(study, named)
    winner = winner_of(study, choice)
    set_other_aside(study.fingerprint(winner), say)
    progress_path(winner).unlink(missing_ok=True)  # of another that was begun and given up
    choice.write()
    told = ", ".join(choice.trainings)
    what = f"refitted for {choice.epochs} epochs" if choice.epochs else "an ensemble"
    say(f"{winner.name}: {what}, by {told}; the {choice.chosen_by} chose the cell")
    return Begun(choice, winner, Marker.of_done(winner, study.fingerprint(winner), study.content_digest))


def set_other_aside(fingerprint: str | None, say: Callable[[str], None]) -> None:
    """Set the results of a winner with another fingerprint aside, as those of a cell with other settings are.

    They are found again where that winner returns. None: whatever its fingerprint.
    """
    paths = Winner.of_any_cell()
    marker = Marker.read(paths.marker)
    if marker is None or marker.fingerprint == fingerprint:
        return
    place, _ = archive.set_aside_results(paths, marker.fingerprint)
    say(f"the winner before, of {marker.model}@{marker.resolution}, is set aside in {place}")
