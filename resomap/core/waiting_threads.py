"""Waiting threads of a training on a CPU: how long they spin for the next piece of work before they sleep."""

import os

# By any of them a user has said how threads wait. KMP_BLOCKTIME is of Intel's and LLVM's OpenMP libraries.
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SPIN_COUNT = "10000"


def spin_shortly() -> None:
    """Have the threads of this process spin for a short time, unless the environment says how they wait.

    GNU's OpenMP library, which torch brings, has them spin for milliseconds: as long as another program has the core of
    one thread, the others burn their own. docs/speed.md has what this brings, alone and on a busy machine. The library
    reads the variable when it is loaded, so this is called before torch is imported. No sum changes its order: the bits
    are the same.
    """
    if not any(name in os.environ for name in VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
