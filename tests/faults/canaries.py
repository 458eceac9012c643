"""A small cohort whose files are full of what must not get out, and the search for it in what came out."""

from __future__ import annotations

import base64
import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.data.slides.conftest import pyramid, tissue_pixels

SECRET = "CANARYx9"  # begins every string that has no business in any output
TAGS = ("ScanScope ID", "Filename", "Date", "Time", "User", "Patient Name", "Barcode")


@dataclass(frozen=True)
class Cohort:
    """Files as a hospital has them."""

    slides: tuple[Path, ...]
    slides_table: Path
    clinical: Path
    expression: Path
    folds: Path


def make_cohort(folder: Path, ids: Sequence[str], *, slides: int) -> Cohort:
    """Patients of these ids; the first few have a slide, named by the id and ``-S``."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    made = tuple(write_slide(folder / f"{name}-S.svs", k) for k, name in enumerate(ids[:slides]))
    table = folder / "slides.csv"
    rows = [f"{path.name},{name},{SECRET}note" for path, name in zip(made, ids, strict=False)]
    table.write_text("\n".join(["slide,patient_id,notes", *rows]) + "\n")
    clinical = folder / "clinical.csv"
    head = "patient_id,OS_days,OS_event,subtype,age,name,date_of_birth,address"
    secret = f"{SECRET}name,{SECRET}1950-01-02,{SECRET}street"
    known = [f"{100 + 37 * k},{int(k % 3 > 0)},{'AB'[k // 2 % 2]},{50 + k}" for k in range(len(ids))]
    rows = [f"{name},{one},{secret}" for name, one in zip(ids, known, strict=True)]
    clinical.write_text("\n".join([head, *rows]) + "\n")
    expression = folder / "expression.csv"
    genes = random.lognormal(size=(30, len(ids)))
    rows = [f"GENE{g}," + ",".join(f"{value:.3f}" for value in row) for g, row in enumerate(genes)]
    expression.write_text("\n".join(["gene," + ",".join(ids), *rows]) + "\n")
    folds = folder / "folds"
    folds.mkdir()
    for k in range(2):
        val = [name for number, name in enumerate(ids) if number % 2 == k]
        train = [name for name in ids if name not in val]
        lines = [f"{a},{b}" for a, b in zip(train, val, strict=True)]
        (folds / f"splits_{k}.csv").write_text("\n".join(["train,val", *lines]) + "\n")
    return Cohort(made, table, clinical, expression, folds)


def write_slide(path: Path, seed: int, label: int = 0) -> Path:
    """An Aperio-like slide whose tags tell everything, with a label and a macro image of noise drawn by ``label``."""
    import tifffile

    pixels = tissue_pixels()
    pixels[:40, :40] = seed
    height, width = pixels.shape[:2]
    text = f"Aperio Image Library v11.2.1 \n{width}x{height} (240x240) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"
    text += "".join(f"|{tag} = {SECRET}{tag[:4]}" for tag in TAGS)
    own = {"photometric": "rgb", "metadata": None, "software": f"{SECRET}software", "datetime": "1999:12:31 23:59:59"}
    tags = [(315, "s", 0, f"{SECRET}artist", True), (316, "s", 0, f"{SECRET}host", True)]
    noise = np.random.default_rng(label)
    with tifffile.TiffWriter(path) as file:
        for index, level in enumerate(pyramid(pixels, 2)):
            file.write(level, description=text, tile=(240, 240), compression="jpeg", extratags=tags, **own)  # type: ignore[arg-type]
            if index == 0:
                file.write(pixels[::8, ::8].copy(), description=text, extratags=tags, **own)  # type: ignore[arg-type]
        for name, size in (("label", (40, 60, 3)), ("macro", (50, 90, 3))):
            picture = noise.integers(0, 256, size).astype(np.uint8)
            described = f"Aperio Image Library v11.2.1\n{name} {size[1]}x{size[0]}|{SECRET}{name}"
            file.write(picture, description=described, subfiletype=1 if name == "label" else 9, **own)  # type: ignore[arg-type]
    return path


def spellings(secret: str) -> tuple[bytes, ...]:
    """A secret as it may stand in a file: plain, in UTF-16, in base64 at any place, as hexadecimal digits."""
    plain = secret.encode()
    coded = []
    for before in range(3):
        text = base64.b64encode(b"\0" * before + plain)
        coded.append(text[-(-before * 8 // 6) : len(text) - 4])  # without what its neighbours decide
    return (plain, secret.encode("utf-16-le"), *coded, plain.hex().encode())


def told_in(folder: Path, secrets: Sequence[str]) -> list[str]:
    """Files below a folder, or their names, that hold a secret in any spelling, compressed or not."""
    wanted = [one.lower() for secret in secrets for one in spellings(secret)]
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        for data in (str(path.relative_to(folder)).encode(), *unpacked(path.read_bytes())):
            if any(one in data.lower() for one in wanted):
                found.append(str(path.relative_to(folder)))
                break
    return found


def unpacked(data: bytes) -> Iterator[bytes]:
    """Bytes as they stand, and what they hold where they are zstd, a ZIP, a PNG or deflated."""
    yield data
    if data[:4] == b"\x28\xb5\x2f\xfd":
        from numcodecs import Zstd

        yield bytes(Zstd().decode(data))
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield archive.read(name)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from (zlib.decompressobj().decompress(part) for part in chunks_of(data))
    elif data[:1] == b"\x78" or data[:2] == b"\x1f\x8b":
        yield zlib.decompressobj(47).decompress(data)


def chunks_of(png: bytes) -> Iterator[bytes]:
    """Deflated parts of a PNG: zTXt and iCCP; other texts stand as they are."""
    place = 8
    while place < len(png):
        size, kind = int.from_bytes(png[place : place + 4], "big"), png[place + 4 : place + 8]
        body = png[place + 8 : place + 8 + size]
        if kind in (b"zTXt", b"iCCP"):
            yield body[body.index(b"\0") + 2 :]
        place += 12 + size
