"""Devices side by side: the cell that the costs of each recommend, and how alike two of them order the cells."""

from resomap.report.blocks import Table
from resomap.report.material import Material, scaled
from resomap.summary.device_comparison import device_words


def answers(material: Material) -> Table | None:
    """Return the table of the devices and their answers; None where one alone was measured."""
    devices = material.map.devices
    if not devices:
        return None
    rows = [
        [
            device_words(one) + (" – decides" if one.decides else ""),
            str(one.cells),
            str(one.unsteady),
            f"{one.answer.model} @ {one.answer.resolution} px" if one.answer else "none within the budget",
            scaled(one.latency_ms),
        ]
        for one in devices
    ]
    own = next((one.answer for one in devices if one.decides), devices[0].answer)
    others = sum(one.answer != own for one in devices)
    change = f"The recommendation changes on {others} of them." if others else "All recommend the same cell."
    return Table(
        "Devices side by side",
        ["device", "cells measured", "unsteady", "recommended cell", "its latency (ms)"],
        rows,
        ("text", "number", "number", "text", "number"),
        f"By margin and budget of this study, and the costs of each. {change} `report.device` says which decides.",
    )


def orders(material: Material) -> Table | None:
    """Return the table of rank correlations of each pair of devices; None where one alone was measured."""
    names = [device_words(one) for one in material.map.devices]
    rows = [
        [
            names[pair.first],
            names[pair.second],
            str(pair.cells),
            _correlation(pair.spearman),
            _correlation(pair.kendall),
            "the same" if pair.same_answer else "another",
        ]
        for pair in material.map.device_pairs
    ]
    if not rows:
        return None
    return Table(
        "Order of the latencies on two devices",
        ["device", "device", "cells on both", "Spearman", "Kendall", "recommended cell"],
        rows,
        ("text", "text", "number", "number", "number", "text"),
        "Rank correlations of the median latencies: 1 where both devices order the cells alike, 0 where one says "
        "nothing of the other.",
    )


def _correlation(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
