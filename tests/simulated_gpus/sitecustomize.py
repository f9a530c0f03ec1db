"""Simulated GPUs, for processes with this folder on PYTHONPATH: what a job may use when it imports torch.

A training writes down what CUDA_VISIBLE_DEVICES says at that moment (SIMULATED_GPUS is the folder for it), waits for
as many trainings as SIMULATED_AT_ONCE says, and computes on the CPU from then on: the devices are none.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SECONDS = 90.0


def on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "import" or arguments[0] != "torch" or "torch" in sys.modules or sys.argv[1:2] != ["train"]:
        return
    folder, at_once = Path(os.environ["SIMULATED_GPUS"]), int(os.environ.get("SIMULATED_AT_ONCE", "1"))
    note = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "SLURMD_NODENAME")}
    path = folder / f"{sys.argv[2]}.{os.getpid()}.json"
    path.with_suffix(".new").write_text(
        json.dumps({**note, "cell": sys.argv[2], "pid": os.getpid(), "at": time.time()})
    )
    path.with_suffix(".new").rename(path)
    end = time.monotonic() + SECONDS
    while len(list(folder.glob("*.json"))) < at_once and time.monotonic() < end:
        time.sleep(0.05)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ.pop("SLURM_STEP_GPUS", None)


if "SIMULATED_GPUS" in os.environ:
    sys.addaudithook(on_event)
