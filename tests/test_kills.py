"""A short campaign of kills at file operations, and that its comparison sees what is to be seen.

The long one: `python -m benchmarks.kills --kills 1000`.
"""

import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL, ROOT

sys.path.insert(0, str(ROOT))

from benchmarks.kills.campaign import SHARES, STEPS, Campaign
from benchmarks.kills.operations import Kill, Kind, draw
from benchmarks.kills.snapshot import differences, snapshot

CHECKPOINTS, RESULTS = f"checkpoints/resnet/{MODEL}/32", f"results/{MODEL}"
# Between the two renames of a save; behind the marker's copy, before what a finished cell does not need is deleted;
# behind the marker; within a table of the map; within a figure of the report.
MOMENTS = [
    Kill(Kind("train", "rename", f"{CHECKPOINTS}/last.pt"), 4),
    Kill(Kind("train", "unlink", f"{CHECKPOINTS}/last.pt"), 1),
    Kill(Kind("train", "unlink", f"{RESULTS}/32.progress.json"), 1),
    Kill(Kind("map", "fsync", "results/.cells.csv.#.tmp"), 1),
    Kill(Kind("report", "rename", "results/figures/heatmap.svg"), 1),
]


WHOLE = MOMENTS[1]  # is hit and gone on from in whole processes; the others are forked


@pytest.mark.slow
def test_a_short_campaign_finds_no_difference(tmp_path: Path) -> None:
    with Campaign(tmp_path / "campaign", seed=0, is_reference_whole=False) as campaign:
        assert {kind.operation for kind in campaign.counts} >= {"open", "write", "fsync", "rename", "link", "unlink"}
        for index, moment in enumerate(MOMENTS):
            assert campaign.counts[moment.kind] >= moment.number, moment
            outcome = campaign.kill(index, moment, is_whole=moment is WHOLE)
            assert (outcome.is_hit, outcome.differences) == (True, []), moment
    # It sees one bit of a weight, of a prediction, a file too many and one too few.
    whole, other = tmp_path / "campaign" / "train", tmp_path / "other"
    shutil.copytree(whole, other)
    (other / RESULTS / ".32.done.tmp").touch()
    (other / RESULTS / "32.history.csv").unlink()
    with np.load(other / RESULTS / "32.predictions.npz") as stored:
        arrays = dict(stored)
    arrays["test_log_probabilities"][0, 0] += np.float32(1e-6)
    np.savez(other / RESULTS / "32.predictions.npz", **arrays)
    assert differences(snapshot(whole), snapshot(other)) == [
        f"left behind: {RESULTS}/.32.done.tmp",
        f"missing: {RESULTS}/32.history.csv",
        f"other content: {RESULTS}/32.predictions.npz",
    ]


def test_draws_hit_every_kind_and_are_the_same_each_time() -> None:
    counts = {Kind(step, "write", file): 1000 for step in STEPS for file in "abc"}
    drawn = [draw(3, index, counts, SHARES) for index in range(200)]
    assert drawn[150] == draw(3, 150, counts, SHARES)
    hits = Counter(one.kind for one in drawn)
    assert hits.keys() == counts.keys()
    for step in STEPS:
        of_step = [hits[kind] for kind in counts if kind.step == step]
        assert max(of_step) - min(of_step) <= 1
    assert len({one.number for one in drawn}) > 100
