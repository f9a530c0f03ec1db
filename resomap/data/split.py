"""Split of the images into train, val and test: seeded, stratified, images that belong together kept together.

It is a pure function of names and seed. The order inside a stratum is that of a hash of (seed, name), so it depends on
no random generator's version, and an image added later hardly moves the others.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial


@dataclass(frozen=True)
class Member:
    """An image as the split sees it: its name, label, stratum and block."""

    name: str
    label: str
    stratum: str
    block: str  # images of one block share a split; the image's own name where it stands alone


def blocks(keys_of: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return {name: block}: names that share a key (a group, a content), also through others, share a block."""
    parent = {name: name for name in keys_of}

    def root(name: str) -> str:
        while parent[name] != name:
            parent[name] = name = parent[parent[name]]
        return name

    first: dict[str, str] = {}
    for name in sorted(keys_of):
        for key in keys_of[name]:
            one, other = sorted((root(first.setdefault(key, name)), root(name)))
            parent[other] = one
    return {name: root(name) for name in keys_of}


def assign(members: Sequence[Member], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return {name: split}, with each split's share (they are scaled to sum to 1) met in every stratum.

    Single images are dealt by largest remainder, so a stratum is off by less than one image where no block
    weighs in, and so is the whole. Blocks go first, the largest ahead, each where it disturbs least.
    A class with at least as many blocks as there are splits gets into each of them; one with fewer gets into the first
    split of `shares`, train, before any other: what is never trained is no class at all.
    """
    table = _Table.of(members, shares, seed)
    for block in sorted(table.blocks, key=lambda name: (-len(table.blocks[name]), table.rank(name))):
        if len(table.blocks[block]) > 1:
            table.put(block, min(table.splits, key=lambda split: table.strain(block, split)))
    _deal_singles(table)
    _fill_missing_classes(table)
    return {member.name: table.split_of[block] for block, inside in table.blocks.items() for member in inside}


@dataclass
class _Table:
    """State of the assignment: the split of each block, and images of each stratum and class held and due by split."""

    seed: int
    splits: list[str]
    blocks: dict[str, list[Member]]
    target: dict[tuple[str, str], float]  # (split, stratum): images
    split_of: dict[str, str] = field(default_factory=dict)
    held: Counter[tuple[str, str]] = field(default_factory=Counter)  # (split, stratum)
    labels: Counter[tuple[str, str]] = field(default_factory=Counter)  # (split, label)

    @classmethod
    def of(cls, members: Sequence[Member], shares: Mapping[str, float], seed: int) -> "_Table":
        inside: dict[str, list[Member]] = defaultdict(list)
        for member in sorted(members, key=lambda member: member.name):
            inside[member.block].append(member)
        whole = sum(shares.values())
        sizes = Counter(member.stratum for member in members)
        target = {(s, stratum): sizes[stratum] * shares[s] / whole for s in shares for stratum in sizes}
        return cls(seed, list(shares), dict(inside), target)

    def rank(self, name: str) -> bytes:
        return hashlib.blake2b(b"%d\0" % self.seed + os.fsencode(name), digest_size=16).digest()

    def put(self, block: str, split: str) -> None:
        self._count(block, self.split_of.get(block), -1)
        self._count(block, split, 1)
        self.split_of[block] = split

    def strain(self, block: str, split: str) -> float:
        """Return the change of the sum of (held - target)^2 / target when the block is added to the split."""
        sizes = Counter(member.stratum for member in self.blocks[block])
        return sum(
            size * (2 * (self.held[split, stratum] - self.target[split, stratum]) + size) / self.target[split, stratum]
            for stratum, size in sizes.items()
        )

    def may_leave(self, block: str) -> bool:
        """Return True if the split that the block sits in keeps an image of each of its classes without it."""
        split = self.split_of[block]
        sizes = Counter(member.label for member in self.blocks[block])
        return all(self.labels[split, label] > size for label, size in sizes.items())

    def cost_of_leaving(self, block: str, split: str) -> tuple[bool, float, bytes]:
        """Return what orders the blocks that could move to the split: those first that no class elsewhere needs."""
        return not self.may_leave(block), self.strain(block, split), self.rank(block)

    def _count(self, block: str, split: str | None, change: int) -> None:
        if split is not None:
            for member in self.blocks[block]:
                self.held[split, member.stratum] += change
                self.labels[split, member.label] += change


def _deal_singles(table: _Table) -> None:
    by_stratum: dict[str, list[str]] = defaultdict(list)
    for block, inside in table.blocks.items():
        if len(inside) == 1:
            by_stratum[inside[0].stratum].append(block)
    carry = dict.fromkeys(table.splits, 0.0)  # what rounding has owed each split so far, so that totals come out too
    for stratum in sorted(by_stratum):
        names = sorted(by_stratum[stratum], key=table.rank)
        open_seats = {s: max(0.0, table.target[s, stratum] - table.held[s, stratum]) for s in table.splits}
        scale = len(names) / sum(open_seats.values())
        wanted = {split: seats * scale for split, seats in open_seats.items()}
        seats = {split: int(amount + 1e-9) for split, amount in wanted.items()}
        owed = {split: wanted[split] - seats[split] for split in table.splits}
        by_claim = sorted(
            (split for split in table.splits if owed[split] > 1e-9),
            key=lambda split: (-round(owed[split] + carry[split], 9), table.splits.index(split)),
        )
        for split in by_claim[: len(names) - sum(seats.values())]:
            seats[split] += 1
        for split in table.splits:
            carry[split] += wanted[split] - seats[split]
            for name in names[: seats[split]]:
                table.put(name, split)
            names = names[seats[split] :]


def _fill_missing_classes(table: _Table) -> None:
    of_label: dict[str, list[str]] = defaultdict(list)
    for block, inside in table.blocks.items():
        for label in {member.label for member in inside}:
            of_label[label].append(block)
    few = [label for label in sorted(of_label) if len(of_label[label]) < len(table.splits)]
    for label in few:
        train = table.splits[0]
        if not table.labels[train, label]:
            table.put(min(of_label[label], key=partial(table.cost_of_leaving, split=train)), train)
    for label in sorted(of_label.keys() - set(few)):
        for split in table.splits:
            if table.labels[split, label]:
                continue
            movable = [block for block in of_label[label] if table.may_leave(block)]
            if movable:
                table.put(min(movable, key=partial(table.cost_of_leaving, split=split)), split)
