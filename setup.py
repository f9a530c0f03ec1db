"""Build step beside pyproject.toml: the workflow's files, which stand at the top of the repository, go into the wheel.

They lie in `resomap/_workflow/` there, where `resomap.core.workflow_files` finds them. An editable install reads the
clone, and has no copy.
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
FILES = ("Snakefile", "workflow", "config", "profiles")
PLACE = Path("resomap", "_workflow")


class BuildWithWorkflow(build_py):
    """Copies the workflow's files into the package that is built."""

    def run(self) -> None:
        """Build the packages, then copy, unless the package stays where it is."""
        super().run()
        if getattr(self, "editable_mode", False):
            return
        for source, target in self._copies():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the files that this step makes."""
        return [*super().get_outputs(include_bytecode), *(str(target) for _, target in self._copies())]

    def _copies(self) -> list[tuple[Path, Path]]:
        named = [ROOT / name for name in FILES]
        files = [path for one in named for path in ([one] if one.is_file() else sorted(one.rglob("*")))]
        build = Path(self.build_lib)
        return [(path, build / PLACE / path.relative_to(ROOT)) for path in files if path.is_file()]


setup(cmdclass={"build_py": BuildWithWorkflow})
