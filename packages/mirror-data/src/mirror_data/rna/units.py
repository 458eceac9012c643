"""Units of expression: what a table holds, what the store shall hold, and the way between.

Written ``tpm``, ``fpkm``, ``rsem``, ``counts`` (linear, never negative), ``log2tpm+0.001`` and so on (the constant that
was added before the logarithm), or ``zscore``. Linear tables are stored as log2(x + c); tables of logarithms stay as
they are unless another c is asked for; z-scores stay.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from mirror_data.errors import BadInput

LINEAR = ("tpm", "fpkm", "rsem", "counts")
DEFAULT_OFFSET = 1.0
_LOGGED = re.compile(r"^log2(tpm|fpkm|rsem|counts|x)?(?:\+(\d+(?:\.\d+)?(?:e-?\d+)?))?$")
_MOST_LOG2 = 30.0  # 2^30 is more than any count; a larger value cannot be a logarithm


@dataclass(frozen=True)
class Unit:
    """A unit: ``quantity`` alone is linear, with ``offset`` it is log2(quantity + offset)."""

    quantity: str  # one of LINEAR, "x" where unknown, or "zscore"
    offset: float | None = None

    def __str__(self) -> str:
        return self.quantity if self.offset is None else f"log2({self.quantity}+{self.offset:g})"


def parse_unit(text: str) -> Unit:
    """The unit a user names (see the module).

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    name = text.strip().lower().replace("(", "").replace(")", "").replace(" ", "")
    if name in (*LINEAR, "zscore"):
        return Unit(name)
    match = _LOGGED.match(name)
    if match and (offset := float(match[2]) if match[2] else DEFAULT_OFFSET) > 0:
        return Unit(match[1] or "x", offset)
    expected = f"auto, {', '.join(LINEAR)}, zscore, log2tpm+1, log2tpm+0.001, ..."
    raise BadInput("BAD_OPTION", "this unit is not known", key="--unit", expected=expected, got=text)


def guess_unit(values: np.ndarray, file: object = None) -> Unit:
    """The unit that values (n, g) suggest.

    Negative values whose least one is log2(c) for a c = 10^-k, as a floor shared by many cells: log2(x + c). Other
    negative values with genes of mean about 0 and spread about 1: z-scores. None negative and some above 30: linear,
    counts if all are whole. None negative and none above 30: log2(x + 1).

    Raises:
        BadInput: ``UNIT_UNKNOWN`` if nothing fits.
    """
    least, most = float(values.min()), float(values.max())
    values = values[:, :: max(1, values.shape[1] // 2000)]  # enough genes to see
    if least < 0:
        for offset in (0.1, 0.01, 0.001, 1e-4, 1e-5, 1e-6):
            if abs(least - np.log2(offset)) < 2e-3 and most <= _MOST_LOG2:
                return Unit("x", offset)
        median = np.abs(np.median(values, axis=0))
        spread = np.subtract(*np.percentile(values, [75, 25], axis=0))
        if np.median(median) < 1 and 0.1 < np.median(spread) < 3:
            return Unit("zscore")
        hint = "say it with --unit (tpm, log2tpm+0.001, zscore, ...)"
        raise BadInput("UNIT_UNKNOWN", "the values' unit cannot be guessed", file=file, hint=hint)
    if most <= _MOST_LOG2:
        return Unit("x", DEFAULT_OFFSET)
    return Unit("counts" if bool(np.all(values == np.round(values))) else "x")


def stored_unit(table: Unit, offset: float | None) -> Unit:
    """The unit the store shall hold for a table's unit and the user's ``--log2-offset``."""
    if table.quantity == "zscore":
        if offset is not None:
            raise BadInput("BAD_OPTION", "z-scores have no logarithm", key="--log2-offset", hint="leave the option out")
        return table
    if offset is not None and not 0 < offset < np.inf:
        raise BadInput("BAD_OPTION", "the constant must be positive and finite", key="--log2-offset", got=offset)
    kept = table.offset if table.offset is not None else DEFAULT_OFFSET
    return Unit(table.quantity, kept if offset is None else offset)


def convert(values: np.ndarray, table: Unit, stored: Unit, file: object = None) -> int:
    """Bring float32 values (n, g) from one unit to the other, in place, computing in float64.

    Returns:
        how many cells were below zero after the logarithm was undone (rounding in the table) and were set to zero.

    Raises:
        BadInput: ``BAD_VALUE`` for cells that the table's unit forbids.
    """
    if table.offset is not None and (high := int((values > _MOST_LOG2).sum())):
        hint = f"state the table's unit with --unit, as {table.quantity if table.quantity != 'x' else 'tpm'}"
        got = f"{high} cells above {_MOST_LOG2:g}"
        raise BadInput("BAD_VALUE", f"values are too large to be {table}", file=file, got=got, hint=hint)
    if table == stored:
        _check_floor(values, table, file)
        return 0
    assert stored.offset is not None
    clipped = 0
    for row in values:  # (g,), row by row, for memory
        linear = row.astype(np.float64)
        if table.offset is not None:
            linear = np.exp2(linear) - table.offset
            clipped += int((linear < 0).sum())
            _refuse(int((linear < -0.01 * table.offset - 1e-6).sum()), table, file)
            linear = np.maximum(linear, 0.0)
        else:
            _refuse(int((linear < 0).sum()), table, file)
        row[:] = np.log2(linear + stored.offset)
    return clipped


def _check_floor(values: np.ndarray, unit: Unit, file: object) -> None:
    if unit.offset is not None:
        _refuse(int((values < np.log2(unit.offset) - 0.01).sum()), unit, file)


def _refuse(count: int, unit: Unit, file: object) -> None:
    if count:
        raise BadInput(
            "BAD_VALUE",
            f"values are below what {unit} can be",
            file=file,
            got=f"{count} cells or more",
            hint="state the table's unit with --unit; z-scores are --unit zscore",
        )
