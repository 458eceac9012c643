"""Names of columns, compared without case and punctuation."""

from __future__ import annotations

import re


def plain_name(name: str) -> str:
    """A column name in lower case with underscores, for comparison: ``OS.time`` and ``os_time`` are one."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def words(text: str, separator: str | None = None) -> tuple[str, ...]:
    """The words of a text: how lists of known names are written here."""
    return tuple(text.split(separator))
