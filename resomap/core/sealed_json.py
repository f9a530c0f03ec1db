"""Sealed JSON: an object with a digest of its own content as the last key, so that damage to any of it is seen.

The seal is against damage (a flipped bit, an edit by mistake), not against somebody who writes a seal too.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from resomap.core.files import strict_json

KEY = "seal"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with its seal in place of one that it had."""
    plain = {name: value for name, value in content.items() if name != KEY}
    return {**plain, KEY: _digest(plain)}


def break_seal(content: dict[str, Any]) -> bool:
    """Take the seal off a decoded object; True if there was one. Raises ValueError where it does not fit."""
    if KEY not in content:
        return False  # written by an earlier version
    if content.pop(KEY) != _digest(content):
        raise ValueError("the seal does not fit the content")
    return True


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(strict_json(content, indent=None).encode()).hexdigest()
