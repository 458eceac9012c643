"""The oldest libraries that this is tested with, checked where one is first needed and before it is used.

Both open files from strangers, and their old versions do so less carefully: until 2.6 PyTorch's ``weights_only`` could
be got round (CVE-2025-32434).
"""

from __future__ import annotations

import re

from mirror_data.errors import BadInput

LEAST = {"torch": "2.10", "OpenSlide": "4.0.1"}
_INSTALL = {"torch": "'torch>=2.10'", "OpenSlide": "openslide-python 'openslide-bin>=4.0.1'"}


def require_torch() -> None:
    """Refuse a PyTorch that is absent or too old, without importing it.

    Raises:
        BadInput: ``NOT_INSTALLED`` or ``OLD_LIBRARY``.
    """
    from importlib.metadata import PackageNotFoundError, version  # here, as it would cost ``--help`` 20 ms

    try:
        found = version("torch")
    except PackageNotFoundError:
        raise _absent("torch") from None
    _require("torch", found)


def require_openslide() -> None:
    """Refuse an OpenSlide library that is absent or too old, whatever Python binding it is reached by.

    Raises:
        BadInput: ``NOT_INSTALLED`` or ``OLD_LIBRARY``.
    """
    try:
        import openslide
    except (ImportError, OSError):  # the binding is not there, or finds no library
        raise _absent("OpenSlide") from None
    _require("OpenSlide", openslide.__library_version__)


def _require(name: str, found: str) -> None:
    if _numbers(found) < _numbers(LEAST[name]):
        message, hint = f"this {name} is too old", f"pip install --upgrade {_INSTALL[name]}"
        expected = f"{LEAST[name]} or newer"
        raise BadInput("OLD_LIBRARY", message, key=name, expected=expected, got=found, hint=hint)


def _numbers(text: str) -> tuple[int, ...]:
    """(2, 15, 0) of "2.15.0+cu132"."""
    match = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, match[0].split("."))) if match else ()


def _absent(name: str) -> BadInput:
    return BadInput("NOT_INSTALLED", f"{name} is not installed", key=name, hint=f"pip install {_INSTALL[name]}")
