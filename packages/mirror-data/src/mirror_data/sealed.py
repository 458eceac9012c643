"""JSON that carries its own digest, for documents whose values are used as they stand: one altered byte is seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SEAL = "sha256"


def seal(values: Mapping[str, Any]) -> bytes:
    """The one spelling of a mapping as JSON, its last key the SHA-256 of the others'."""
    return _spell({**values, SEAL: hashlib.sha256(_spell(values)).hexdigest()})


def unseal(raw: bytes) -> dict[str, Any]:
    """The values that `seal` was given.

    Raises:
        ValueError: this is not what `seal` wrote.
    """
    values = json.loads(raw)
    if not isinstance(values, dict) or SEAL not in values:
        raise ValueError("no digest")
    values.pop(SEAL)
    if seal(values) != raw:
        raise ValueError("the document does not match its own digest")
    return values


def _spell(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1).encode()
