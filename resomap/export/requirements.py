"""Packages that an export needs: those of ONNX come with ResoMap, OpenVINO with the extra `export`."""

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, metadata

from resomap.core.errors import ResomapError
from resomap.export.export_files import OPENVINO

EXTRA = "export"
# Modules by which the packages are found; pyproject.toml has their versions. An older installation may lack each.
_OF_ALL = ("onnx", "onnxscript", "onnxruntime")


def require_packages(file_format: str) -> None:
    """Raise ResomapError with the command that installs what an export in this format lacks."""
    wanted = (*_OF_ALL, *([OPENVINO] if file_format == OPENVINO else []))
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise ResomapError(f"an export needs {' and '.join(missing)}; install what it takes with `{install_command()}`")


def install_command() -> str:
    """Return the command that installs these packages into this environment.

    `resomap[export]` takes nothing but them from an index where ResoMap itself is installed, from a clone too. One
    that was installed before it had the extra, or is only on the path, needs the packages by their names.
    """
    try:
        has_extra = EXTRA in (metadata("resomap").get_all("Provides-Extra") or [])
    except PackageNotFoundError:
        has_extra = False
    what = f"'resomap[{EXTRA}]'" if has_extra else " ".join((*_OF_ALL, OPENVINO))
    return f"{sys.executable} -m pip install {what}"
