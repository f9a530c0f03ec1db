"""What the microbatch step asks: what its number depends on, and whether the one that is there still counts. Light."""

import json
from typing import Any

from resomap.cells import microbatch_choice
from resomap.planning.planner import Planner, one_sentence


class MicrobatchPlan:
    """The microbatches of the planned grid. Each method takes Snakemake's wildcards."""

    def __init__(self, plan: Planner) -> None:
        self._plan = plan

    def check(self, wildcards: Any) -> list[str]:
        """Input of the step: none. A number that was found under other settings is found anew, whatever its time."""
        with one_sentence():
            self._plan.announce()
            path = microbatch_choice.path_of(wildcards.model)
            if path.exists() and microbatch_choice.read(self._plan.study, wildcards.model) is None:
                self._plan.make_again(path)
        return []

    def settings(self, wildcards: Any) -> str:
        """Param of the step: all that decides whether it runs again."""
        with one_sentence():
            return json.dumps(microbatch_choice.settings(self._plan.study, wildcards.model), sort_keys=True)
