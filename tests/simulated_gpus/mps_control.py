"""Stand-in for `nvidia-cuda-mps-control`, copied to PATH under that name: a real daemon with the real one's protocol.

`-d` starts a daemon for the pipes in CUDA_MPS_PIPE_DIRECTORY; without it commands are read from the standard input and
handed to the daemon there. It notes in CUDA_MPS_LOG_DIRECTORY what it was told, and which GPUs it may see.
"""

import os
import socket
import sys
from pathlib import Path

PIPES = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])


def note(words: str) -> None:
    with Path(os.environ["CUDA_MPS_LOG_DIRECTORY"], "control.log").open("a") as log:
        log.write(f"{words}\n")


def serve() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(PIPES / "control"))
        listener.listen()
        note(f"started {os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', 'all')}")
        words = ""
        while words != "quit":
            connection, _ = listener.accept()
            with connection:
                words = connection.recv(1000).decode().strip()
                connection.sendall(b"0\n")
        (PIPES / "control").unlink()
        note("quit")


def main() -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        is_there = connection.connect_ex(str(PIPES / "control")) == 0
        if sys.argv[1:] == ["-d"]:
            if is_there:
                sys.exit("An instance of this daemon is already running")
            if os.environ.get("MPS_REFUSES"):
                sys.exit("no GPU is supported")
            if os.fork() == 0:
                os.setsid()
                serve()
            return
        if not is_there:
            print("Cannot find MPS control daemon process")
            sys.exit(1)
        connection.sendall(sys.stdin.read().encode())
        print(connection.recv(1000).decode(), end="")


main()
