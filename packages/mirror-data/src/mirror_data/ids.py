"""Identifiers: TCGA barcodes, and store keys made from any id.

A TCGA barcode such as ``TCGA-3C-AALI-01Z-00-DX1.UUID.svs`` names the submitting site in [5:7], the patient in
[:12], the sample in [:15] (``01`` primary tumour, ``11`` normal, ...), the vial in [:16]. Diagnostic slides are vial
01Z and RNA is 01A, so a join on 16 characters matches nothing: join on 12 or 15.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from mirror_data.errors import BadInput

_BARCODE = re.compile(r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", re.IGNORECASE)
_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_RESERVED = {"zarr.json", "c"}
_MAX_KEY_BYTES = 120


def is_barcode(name: str) -> bool:
    """Whether ``name`` starts with a TCGA patient barcode."""
    return _BARCODE.match(name) is not None


def patient_id(name: str) -> str:
    """Patient of a slide, sample or aliquot: 12 characters of a TCGA barcode, any other id as it stands."""
    return name[:12].upper() if is_barcode(name) else name


def sample_id(name: str) -> str:
    """Sample of a slide or aliquot: 15 characters of a TCGA barcode, any other id as it stands."""
    return name[:15].upper() if is_barcode(name) else name


def sample_type(name: str) -> str | None:
    """Two-digit TCGA sample type ("01" primary, "11" normal), None where the id does not say."""
    return name[13:15] if is_barcode(name) and len(name) >= 15 and name[13:15].isdigit() else None


def site(name: str) -> str | None:
    """Two-character TCGA code of the submitting site, None for other ids."""
    return name[5:7].upper() if is_barcode(name) else None


def slide_id(file_name: str) -> str:
    """Slide of a file name: its stem, and for TCGA the part before the UUID, as TCGA names slides uniquely.

    The stem is NFC-normalised, so that two spellings of one name are one id.
    """
    name = unicodedata.normalize("NFC", file_name)
    return name.split(".", 1)[0] if is_barcode(name) else name.rsplit(".", 1)[0]


def check_name(name: str, option: str) -> str:
    """A name that a user gives to a record (a split, a selection, a tiling), as it stands.

    Raises:
        BadInput: ``BAD_PATH`` if it is empty, over 120 bytes, ``.`` or ``..``, or has separators or control characters.
    """
    bad = not name.strip() or len(name.encode()) > _MAX_KEY_BYTES or name in (".", "..")
    if bad or any(c in "/\\" or not c.isprintable() for c in name):
        hint = "use letters, digits, dots, dashes and underscores"
        raise BadInput("BAD_PATH", "this cannot be a name", key=option, got=repr(name)[:60], hint=hint)
    return name


def to_key(identifier: str) -> str:
    """The store key of an id.

    Characters outside ``[A-Za-z0-9._-]`` become ``~`` and two hexadecimal digits a UTF-8 byte; so do a leading dot and
    the reserved names of zarr. Ids whose key would exceed 120 bytes keep a prefix and end in a hash. Keys therefore
    hold no separator, never equal ``..``, and differ whenever the ids differ (up to SHA-256).

    Raises:
        BadInput: ``BAD_PATH``, if the id is empty or holds a NUL.
    """
    if not identifier or "\0" in identifier:
        raise BadInput("BAD_PATH", "an id is empty or holds a NUL character", got=repr(identifier)[:60])
    text = unicodedata.normalize("NFC", identifier)
    key = "".join(c if c in _SAFE else "".join(f"~{byte:02x}" for byte in c.encode()) for c in text)
    if key[0] == "." or key in _RESERVED:
        key = f"~{ord(key[0]):02x}{key[1:]}"
    if len(key) > _MAX_KEY_BYTES:
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        key = f"{key[: _MAX_KEY_BYTES - 33]}~{digest}"
    return key
