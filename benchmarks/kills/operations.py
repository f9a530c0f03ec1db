"""Operations of a step on files, and the seeded draw of the one at which it is killed."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, order=True)
class Kind:
    """Kind of operations: what is done, to which class of files."""

    step: str
    operation: str  # open, write, fsync, rename, link, unlink, mkdir ...
    file: str  # path with its random parts replaced by #


@dataclass(frozen=True)
class Kill:
    """One kill of the campaign: at the `number`-th operation of a kind, counted from 1."""

    kind: Kind
    number: int

    def asked(self) -> dict[str, object]:
        """Return what the process is to be told (see `hook/sitecustomize`)."""
        return {"kind": self.kind.operation, "file": self.kind.file, "number": self.number}


def listed(step: str, path: Path) -> Counter[Kind]:
    """Return how often each kind occurs in a list that the hook wrote."""
    lines = (line.partition(" ") for line in path.read_text().splitlines())
    return Counter(Kind(step, operation, file) for operation, _, file in lines)


def draw(seed: int, index: int, counts: Mapping[Kind, int], shares: Mapping[str, float]) -> Kill:
    """Return the `index`-th kill: a pure function of its arguments, so that a campaign goes on where it was stopped.

    Steps by their shares; within a step one kind after the other, in an order drawn anew for each round, so that each
    kind is hit as often as any other; within a kind any of its operations alike.
    """
    step, place = _step(seed, index, shares)
    kinds = sorted(kind for kind in counts if kind.step == step)
    cycle, within = divmod(place, len(kinds))
    kind = _shuffled(kinds, f"{seed} {step} {cycle}")[within]
    return Kill(kind, random.Random(f"{seed} {index}").randint(1, counts[kind]))


def _step(seed: int, index: int, shares: Mapping[str, float]) -> tuple[str, int]:
    """Return the step of a kill, and how many before it were in the same step."""
    chance = random.Random(seed)
    steps = chance.choices(list(shares), list(shares.values()), k=index + 1)
    return steps[-1], steps[:-1].count(steps[-1])


def _shuffled(kinds: Sequence[Kind], seed: str) -> list[Kind]:
    return random.Random(seed).sample(kinds, len(kinds))
