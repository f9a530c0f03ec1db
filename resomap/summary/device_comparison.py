"""Comparison of the devices on which the grid was measured: the answer by the costs of each, and their order."""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resomap.cells.device_costs import all_device_costs
from resomap.cells.measurement import KINDS, class_count, runtime_words
from resomap.core.errors import ResomapError
from resomap.statistics import Position
from resomap.statistics.device_order import order_agreement
from resomap.summary.advice import as_place
from resomap.summary.decisive_costs import Contents, own_costs
from resomap.summary.device_parts import DeviceAnswer, DevicePair
from resomap.summary.evidence import Evidence
from resomap.summary.judgement import COMPARABLE, Judgement

_LATENCY = "latency_ms_median"


@dataclass(frozen=True)
class Devices:
    """Devices of a study and their pairs, as the document has them; empty where there is one alone."""

    devices: Sequence[DeviceAnswer] = ()
    pairs: Sequence[DevicePair] = ()

    @property
    def notes(self) -> list[str]:
        """A sentence that names the devices on which another cell would be recommended; none where there is none."""
        own = next((one for one in self.devices if one.decides), None)
        others = [one for one in self.devices if own and one.answer and one.answer != own.answer]
        if own is None or not others:
            return []
        words = [f"{one.answer.model}@{one.answer.resolution} on {device_words(one)}" for one in others if one.answer]
        return [f"The answer goes by the costs of {device_words(own)}; it would be {', '.join(words)}."]


def compare_devices(judgement: Judgement) -> Devices:
    """Compare the devices; the one whose costs decide stands first."""
    ways = _by_way(judgement.evidence)
    if len(ways) < 2:
        return Devices()
    deciding = next(iter({_way(judgement.evidence.costs[one]) for one in judgement.comparable}), None)
    ordered = sorted(ways.items(), key=lambda item: item[0] != deciding)
    devices = [_device(judgement, contents, way == deciding) for way, contents in ordered]
    pairs = [
        _pair(places, [contents for _, contents in ordered], devices)
        for places in itertools.combinations(range(len(ordered)), 2)
    ]
    return Devices(devices, pairs)


def device_words(one: DeviceAnswer) -> str:
    """Return a device for people, with what else its figures depend on."""
    return f"{one.device} ({', '.join(filter(None, [one.runtime, one.precision, f'threads: {one.threads}']))})"


def _by_way(evidence: Evidence) -> dict[tuple[Any, ...], Contents]:
    """Return the measurements that are there, by device, runtime, threads and precision."""
    study = evidence.study
    try:
        classes = class_count(study.config.data)
    except ResomapError:  # the images are gone: what decides is all that is known
        return {}
    found: dict[tuple[Any, ...], Contents] = defaultdict(dict)
    sources = [own_costs(study, kind, classes) for kind in KINDS]
    sources += [one.contents(study, classes) for one in all_device_costs()]
    for contents in (evidence.costs, *sources):
        for position, content in contents.items():
            if content.get(_LATENCY):
                found[_way(content)].setdefault(position, content)
    return dict(found)


def _way(content: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(content.get(name) for name in COMPARABLE)


def _device(judgement: Judgement, contents: Contents, decides: bool) -> DeviceAnswer:
    there = judgement if decides else judgement.on(contents)
    first = next(iter(contents.values()))
    chosen = there.answer.choice.cell if there.answer else None
    return DeviceAnswer(
        device=str(first["device"]),
        runtime=runtime_words(first),
        threads=first.get("threads"),
        precision=first.get("precision"),
        decides=decides,
        cells=len(contents),
        unsteady=len(there.unsteady),
        answer=as_place(chosen) if chosen else None,
        latency_ms=contents[chosen][_LATENCY] if chosen in contents else None,
    )


def _pair(places: tuple[int, int], contents: Sequence[Contents], devices: Sequence[DeviceAnswer]) -> DevicePair:
    one, other = (contents[place] for place in places)
    shared: list[Position] = sorted(one.keys() & other.keys())
    found = order_agreement([one[cell][_LATENCY] for cell in shared], [other[cell][_LATENCY] for cell in shared])
    first, second = places
    return DevicePair(
        first=first,
        second=second,
        cells=len(shared),
        spearman=found.spearman,
        kendall=found.kendall,
        same_answer=devices[first].answer == devices[second].answer,
    )
