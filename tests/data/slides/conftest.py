"""Tiny slides for tests: written by tifffile the way scanners write them, then damaged on purpose."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

APERIO = "Aperio Image Library v11.2.1 \n{width}x{height} (240x240) JPEG/RGB Q=90|AppMag = 20"


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slides are worked on in this process here; that a batch gives them to others is the matter of tests/faults."""
    from mirror_data.slides import batch
    from mirror_data.workers import Here, Workers

    monkeypatch.setattr(batch, "choose_hands", lambda _url, count: Here() if count == 1 else Workers(count))


def tissue_pixels(width: int = 1200, height: int = 900) -> np.ndarray:
    """White glass with one piece of tissue, stained pink throughout, 512 pixels wide, at (240, 180)."""
    from skimage.data import immunohistochemistry

    pixels = np.full((height, width, 3), 244, np.uint8)
    pixels[180:692, 240:752] = immunohistochemistry() * np.array([0.9, 0.6, 0.8])
    return pixels


def pyramid(pixels: np.ndarray, levels: int) -> list[np.ndarray]:
    """Levels by factors of 4, each the mean of 4 x 4 pixels of the one before."""
    from PIL import Image

    found = [pixels]
    for _ in range(levels - 1):
        found.append(np.asarray(Image.fromarray(found[-1]).reduce(4)))
    return found


def write_slide(
    path: Path,
    pixels: np.ndarray | None = None,
    *,
    mpp: str | None = "0.5",
    levels: int = 2,
    compression: str = "jpeg",
    tile: int = 240,
    aperio: bool = True,
    label: bool = False,
    **options: object,
) -> Path:
    """An Aperio-like (or generic) tiled pyramid; ``mpp`` is written as it stands."""
    import tifffile

    pixels = tissue_pixels() if pixels is None else pixels
    height, width = pixels.shape[:2]
    text = APERIO.format(width=width, height=height) + (f"|MPP = {mpp}" if mpp is not None else "")
    common = {"photometric": "rgb", "metadata": None, **options}
    with tifffile.TiffWriter(path) as file:
        for index, level in enumerate(pyramid(pixels, levels) if levels > 1 else [pixels]):
            description = {"description": text} if aperio else {}
            arguments = {**common, **description, "tile": (tile, tile), "compression": compression}
            file.write(level, subfiletype=1 if index and not aperio else 0, **arguments)  # type: ignore[arg-type]
            if index == 0 and aperio:
                file.write(pixels[::8, ::8].copy(), description=text, photometric="rgb", metadata=None)
        if label:
            text = "Aperio Image Library v11.2.1\nlabel 60x40"
            blank = np.zeros((40, 60, 3), np.uint8)
            file.write(blank, description=text, subfiletype=1, photometric="rgb", metadata=None)
    return path


@pytest.fixture
def make_slide(tmp_path: Path) -> Callable[..., Path]:
    """``make_slide("a.svs", pixels, mpp="0.5", ...)`` writes a slide below tmp_path; see `write_slide`."""

    def make(name: str = "slide.svs", pixels: np.ndarray | None = None, **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_slide(path, pixels, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def tissue() -> np.ndarray:
    """The pixels that `make_slide` writes if it is given none."""
    return tissue_pixels()


def find_tag(path: Path, page: int, tag: int) -> int:
    """Where the 12 bytes of a tag's entry stand in a classic little-endian TIFF."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        return file.pages[page].tags[tag].offset  # type: ignore[union-attr]


@pytest.fixture
def tag_offset() -> Callable[[Path, int, int], int]:
    """``tag_offset(path, page, tag)``; see `find_tag`."""
    return find_tag


def patch(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture
def patch_file() -> Callable[[Path, int, bytes], None]:
    """``patch_file(path, offset, data)``; see `patch`."""
    return patch


@pytest.fixture
def ramp() -> Callable[[int, int], np.ndarray]:
    """Pixels that say where they are: red is a zigzag over x of slope 1, green over y, blue is tissue-like constant."""

    def build(width: int, height: int) -> np.ndarray:
        x, y = zigzag(np.arange(width)), zigzag(np.arange(height))
        pixels = np.empty((height, width, 3), np.uint8)
        pixels[..., 0], pixels[..., 1], pixels[..., 2] = x[None, :], y[:, None], 20
        return pixels

    return build


def zigzag(position: np.ndarray) -> np.ndarray:
    return (255 - np.abs(position % 510 - 255)).astype(np.uint8)


@pytest.fixture(scope="session")
def random_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A file of random weights for a timm model, for tests where any weights will do."""
    import timm
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("weights")

    def make(name: str, num_classes: int = 0) -> Path:
        path = folder / f"{name}-{num_classes}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            save_file(timm.create_model(name, num_classes=num_classes).state_dict(), path)
        return path

    return make


@pytest.fixture
def tiny_encoder(random_weights: Callable[[str], Path]):
    """Specification of the smallest real encoder there is."""
    from mirror_data.slides.encoders import EncoderSpec

    return EncoderSpec("timm:test_resnet", str(random_weights("test_resnet")))


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Every file of a store but its private part."""
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and ".mirror" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def data_tree() -> Callable[[Path], dict[str, bytes]]:
    return tree_bytes


def ifd_offsets(path: Path) -> Sequence[int]:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return [page.offset for page in file.pages]  # type: ignore[union-attr]


def loop(path: Path) -> None:
    """Let the last directory of a classic TIFF point back at the first."""
    offsets = ifd_offsets(path)
    data = path.read_bytes()
    entries = struct.unpack("<H", data[offsets[-1] : offsets[-1] + 2])[0]
    patch(path, offsets[-1] + 2 + 12 * entries, struct.pack("<I", offsets[0]))


@pytest.fixture
def make_loop() -> Callable[[Path], None]:
    """``make_loop(path)``; see `loop`."""
    return loop
