"""Which GPUs this process may see, told from its environment alone: planning imports no torch."""

import os
import shutil

# Values of CUDA_VISIBLE_DEVICES by which a scheduler or a person says "no GPU".
NO_GPU = ("", "-1", "NoDevFiles", "void")


def given_gpu() -> str | None:
    """`CUDA_VISIBLE_DEVICES=0`, or whatever says that this job was given a GPU; None where nothing does."""
    for variable in ("CUDA_VISIBLE_DEVICES", "SLURM_STEP_GPUS"):
        value = os.environ.get(variable, "").strip()
        if value not in NO_GPU:
            return f"{variable}={value}"
    return None


def may_have_gpu() -> bool:
    """Whether a training on this machine is likely to find a GPU: the driver's tool is there, and nothing hides it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in NO_GPU
    return not hidden and shutil.which("nvidia-smi") is not None
