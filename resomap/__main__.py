"""Entry point of `python -m resomap`: the same as the command `resomap`.

From a plain checkout a package may be missing that each subcommand needs: one sentence names it.
"""

import sys

from resomap.core.fork_client import run_forked

# Names of packages that are imported under another one, of those that each subcommand needs.
PACKAGES = {"yaml": "pyyaml", "PIL": "pillow", "sklearn": "scikit-learn"}


def main() -> int:
    """Run a subcommand; a training in a process of the run's fork server, where there is one."""
    words = sys.argv[1:]
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
