"""Entry point of `python -m resomap`: the same as the command `resomap`.

From a plain checkout a package may be missing that each subcommand needs: one sentence names it.
"""

import sys

from resomap.core.fork_client import run_forked
from resomap.core.waiting_threads import spin_shortly

# Names of packages that are imported under another one, of those that each subcommand needs.
PACKAGES = {"yaml": "pyyaml", "PIL": "pillow", "sklearn": "scikit-learn"}
# Steps that train: on a CPU their threads share it with other programs. Costs are measured as the library has it.
TRAINING = (["train"], ["learning_rate"], ["features"], ["winner"])


def main() -> int:
    """Run a subcommand; a training in a process of the run's fork server, where there is one."""
    words = sys.argv[1:]
    if words[:1] in TRAINING:
        spin_shortly()
    if words[:1] == ["train"] and (code := run_forked(words)) is not None:
        return code
    try:
        from resomap.cli import main as run_command
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("resomap"):
            raise
        package = PACKAGES.get(error.name, error.name)
        print(f"resomap: the package {package} is not installed: `pip install {package}` brings it", file=sys.stderr)
        return 2
    return run_command(words)


if __name__ == "__main__":
    sys.exit(main())
