"""Path of the map, and the digest of the settings that it was made for (its basis). Light: planning reads it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from resomap.cells.study import Study
from resomap.config.hashed import hashed
from resomap.core.files import read_json

SCHEMA = 3  # raised where the same files make another map
DIRECTORY = Path("results")
SUMMARY = DIRECTORY / "summary.json"


def basis(study: Study) -> str:
    """Return the basis of the study's map: 12 hex digits over the settings that decide its content.

    Another grid, other settings or images, another metric, margin or budget change it.
    """
    config = study.config
    content = {
        "schema": SCHEMA,
        "fingerprints": sorted(study.fingerprints().values()),
        "report": hashed(config.report, "report"),
        "budget": hashed(config.budget, "budget"),
        "cost": hashed(config.cost, "cost"),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def is_current(study: Study) -> bool:
    """Return True if the map on disk is complete and was made for this study's settings."""
    content: Any = read_json(SUMMARY)
    return isinstance(content, dict) and content.get("is_complete") is True and content.get("basis") == basis(study)
