"""Process that takes a device as a training does, computes on it, and keeps it until its input ends."""

import sys

from resomap.machine.gpu_lock import bind_gpu


def main(device: str) -> None:
    """Bind a GPU; say each sentence of it, and `has HANDLE` once it is there."""
    gpu = bind_gpu(lambda sentence: print(sentence, flush=True))
    if device == "cuda":
        import torch

        torch.ones(8, device="cuda").sum().item()
    print(f"has {gpu.handle if gpu else 'none'}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
