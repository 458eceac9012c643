"""Ids that say nothing to those without the key (``--opaque-ids KEYFILE``).

The opaque form of an id is the HMAC-SHA256 of its UTF-8 (NFC) under the user's key, cut to 80 bits and written as 16
letters and digits of base32. Equal ids under equal keys are equal, so tables join; there is no way back but to try all
ids of a list (``mirror-data opaque-ids``). A store keeps a fingerprint of the key, never the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import stat
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path

from mirror_data.errors import BadInput, StoreError
from mirror_data.runner import Failure

LEAST_KEY_BYTES = 32
_MOST_KEY_BYTES = 4096
_LEAST_DIFFERENT = 8  # bytes; 32 random ones have fewer once in 10^28 times
_ID_BYTES = 10
_MAKE_KEY = "make one with `(umask 077; head -c 32 /dev/urandom > KEYFILE)`"


@dataclass(frozen=True)
class Naming:
    """What a store calls slides and patients: their ids as they are, or without a way back to them."""

    key: bytes | None = field(default=None, repr=False)
    _seen: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def is_opaque(self) -> bool:
        return self.key is not None

    @property
    def fingerprint(self) -> str | None:
        """Tells keys apart; None where ids stay as they are."""
        return None if self.key is None else self._digest("mirror store")[:16].hex()

    def __call__(self, identifier: str) -> str:
        """The name of a slide, patient or sample.

        Raises:
            BadInput: ``COLLISION`` if another id of this run has the same opaque form.
        """
        if self.key is None:
            return identifier
        plain = unicodedata.normalize("NFC", identifier)
        name = base64.b32encode(self._digest(f"mirror id\0{plain}")[:_ID_BYTES]).decode().lower()
        if self._seen.setdefault(name, plain) != plain:
            raise BadInput("COLLISION", "two ids have one opaque form under this key", hint="use another key")
        return name

    def _digest(self, text: str) -> bytes:
        return hmac.digest(self.key or b"", text.encode(), hashlib.sha256)


AS_THEY_ARE = Naming()


def read_naming(path: str | Path | None) -> Naming:
    """The naming under the key in a file; without one, ids stay as they are.

    Raises:
        BadInput: ``NOT_FOUND``, ``UNREADABLE``, or ``BAD_KEY`` if it is short, not random, or open to others.
    """
    if path is None:
        return AS_THEY_ARE
    where = {"file": path, "key": "--opaque-ids"}
    try:
        with Path(path).open("rb") as file:
            mode = Path(path).stat().st_mode
            key = file.read(_MOST_KEY_BYTES + 1)
    except FileNotFoundError:
        raise BadInput("NOT_FOUND", "there is no such key file", **where, hint=_MAKE_KEY) from None
    except OSError as error:
        raise BadInput("UNREADABLE", "the key file cannot be read", **where, got=error.strerror) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        got, hint = stat.filemode(mode), "run `chmod 600` on it, or make a new key if others may have read it"
        raise BadInput(
            "BAD_KEY", "others than you can use the key file", **where, expected="mode 0600", got=got, hint=hint
        )
    if not LEAST_KEY_BYTES <= len(key) <= _MOST_KEY_BYTES or len(set(key)) < _LEAST_DIFFERENT:
        expected = f"{LEAST_KEY_BYTES} to {_MOST_KEY_BYTES} random bytes"
        raise BadInput("BAD_KEY", "this is no key", **where, expected=expected, got=f"{len(key)} bytes", hint=_MAKE_KEY)
    return Naming(key)


def require_same(known: str | None, naming: Naming, store: object) -> None:
    """Refuse to add to a store under other names than its own.

    Args:
        known: the fingerprint that the store keeps.

    Raises:
        StoreError: ``MISMATCH``.
    """
    if known == naming.fingerprint:
        return
    if known is None:
        message, hint = "this store holds ids as they are", "leave out --opaque-ids, or begin another store"
    elif not naming.is_opaque:
        message, hint = "this store holds opaque ids", "name their key file with --opaque-ids"
    else:
        message, hint = "this store's opaque ids were made with another key", "name its own key file"
    raise StoreError("MISMATCH", message, file=store, key="--opaque-ids", hint=hint)


def veiled(failure: Failure, name: str, path: Path, own_id: str) -> Failure:
    """A failure of a file whose text says ``name`` wherever it said one of the file's names."""
    reason, step = failure.reason, failure.next_step
    for original in (str(path), path.name, path.stem, own_id):
        reason, step = reason.replace(original, name), step.replace(original, name)
    return replace(failure, id=name, reason=reason, next_step=step)
