"""Process of one part of `resomap bench --gpu`: `python -m resomap.bench.gpu.part_process NAME SETTINGS ROWS`.

SETTINGS is a JSON file; each row is added to ROWS, a line of JSON, as soon as it is found. What the part prints besides
goes to its log. A mistake that a person can mend is one sentence on stderr, with exit code 2.
"""

import dataclasses
import json
import sys
from pathlib import Path

from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.bench.gpu.part_table import work_of
from resomap.core.errors import ResomapError
from resomap.core.files import strict_json


def main(name: str, settings: Path, rows: Path) -> int:
    """Run the part, and write its rows."""
    given = GpuSettings.parse(json.loads(settings.read_text()))
    try:
        for row in work_of(name)(given):
            with rows.open("a") as stream:
                stream.write(strict_json(dataclasses.asdict(row), indent=None) + "\n")
    except ResomapError as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"the package {error.name} is not installed, which this part needs", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
