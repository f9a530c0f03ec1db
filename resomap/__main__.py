"""Entry point of `python -m resomap`: the same as the command `resomap`."""

import sys

from resomap.core.fork_client import run_forked


def main() -> int:
    """Run a subcommand; a training in a process of the run's fork server, where there is one."""
    words = sys.argv[1:]
    if words[:1] == ["train"] and (code := run_forked(words)) is not None:
        return code
    from resomap.cli import main as run_command

    return run_command(words)


if __name__ == "__main__":
    sys.exit(main())
