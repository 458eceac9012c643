"""The direct reader against OpenSlide: every pixel, every kind of file, every kind of damage."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mirror_data.errors import BadSlide
from mirror_data.slides import direct
from mirror_data.slides.direct import DirectReader, direct_reader, open_fastest
from mirror_data.slides.reader import OpenSlideReader
from mirror_data.slides.resolution import Resolution
from mirror_data.slides.tiff_images import Declined
from mirror_data.slides.tile_cache import TileCache
from mirror_data.slides.tile_decoders import Undecodable, ycbcr_to_rgb
from mirror_data.units import MPP

from benchmarks.slide_files import DEFLATE, JP2K_RGB, JP2K_YCBCR, JPEG, LZW, RGB, YCBCR, TiffImage, write_tiff
from tests.data.slides.slide_cases import SlideCase, encode_level, picture, slide_cases, write_case

ANY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def openslide_reader(path: Path) -> OpenSlideReader:
    """OpenSlide without the checks of `open_slide`, which refuses slides with missing tiles."""
    import openslide

    return OpenSlideReader(path, openslide.OpenSlide(path), Resolution(MPP(0.5), "override"))


def open_direct(path: Path, **options: int) -> DirectReader:
    reader = direct_reader(path, openslide_reader(path), **options)
    assert isinstance(reader, DirectReader), reader
    return reader


def declined(path: Path) -> str:
    """Why a slide is declined; OpenSlide must still be usable then."""
    with openslide_reader(path) as reader:
        found = direct_reader(path, reader)
        assert isinstance(found, Declined)
        reader.read_region(0, 0, 0, 8, 8)
        return found.reason


def draw_position(data: st.DataObject, side: int, factor: float) -> int:
    """A pixel, perhaps outside the level, that OpenSlide's level-0 pixels can name; it divides them by ``factor``.

    To 1/1024 of a pixel; before the level exactly, for a hair off it OpenSlide paints the first row once more.
    """
    wanted = data.draw(st.integers(-40, side + 20))
    places = range(-40, side + 20)
    found = [k for k in places if abs(round(k * factor) / factor - k) < (1 / 1024 if k >= 0 else 1e-99)]
    return min(found, key=lambda k: abs(k - wanted))


@ANY
@given(case=slide_cases(), data=st.data())
def test_every_pixel_is_openslides(case, data, tmp_path):
    path = tmp_path / "slide.svs"
    write_case(path, case)
    with open_direct(path) as ours, openslide_reader(path) as theirs:
        before = ours.transparent
        for _ in range(4):
            level = data.draw(st.integers(0, len(ours.levels) - 1))
            place = ours.levels[level]
            factor = (ours.size[0] / place.width + ours.size[1] / place.height) / 2
            x, y = draw_position(data, place.width, factor), draw_position(data, place.height, factor)
            width, height = data.draw(st.integers(1, 300)), data.draw(st.integers(1, 300))
            expected = theirs.read_region(level, x, y, width, height)
            found = ours.read_region(level, x, y, width, height)
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, expected)
        assert ours.transparent - before == theirs.transparent
        assert ours.handed_over == 0
        assert (ours.levels, ours.size, ours.mpp, ours.properties) == (
            theirs.levels,
            theirs.size,
            theirs.mpp,
            theirs.properties,
        )


@pytest.mark.parametrize("name", ["cmu1_small_region.svs", "tcga-cr-7395-01a-01-ts1.svs"])
def test_real_slides(shared, name):
    path = shared / "data/slides" / name
    rng = np.random.default_rng(0)
    with open_direct(path) as ours, openslide_reader(path) as theirs:
        for level, place in enumerate(ours.levels):
            whole = theirs.read_region(level, 0, 0, place.width, place.height)
            np.testing.assert_array_equal(ours.read_region(level, 0, 0, place.width, place.height), whole)
            for _ in range(20):
                x, y = int(rng.integers(place.width)), int(rng.integers(place.height))
                found = ours.read_region(level, x, y, 256, 256)
                inside = whole[y : y + 256, x : x + 256]
                np.testing.assert_array_equal(found[: inside.shape[0], : inside.shape[1]], inside)
                assert (found[inside.shape[0] :] == 255).all()
                assert (found[:, inside.shape[1] :] == 255).all()
        assert ours.handed_over == 0


def test_between_level_pixels_openslide_blends(tmp_path):
    """The docstring's claim: the stored pixels, where OpenSlide's are moved by a fraction of a pixel."""
    path = tmp_path / "slide.tif"
    write_case(path, SlideCase(compression=DEFLATE, aperio=False, size=(401, 401), ratios=(2,)))
    with tifffile.TiffFile(path) as file:
        stored = file.pages[1].asarray()
    with open_direct(path) as ours, openslide_reader(path) as theirs:
        np.testing.assert_array_equal(ours.read_region(1, 101, 33, 64, 64), stored[33:97, 101:165])
        assert (theirs.read_region(1, 101, 33, 64, 64) != stored[33:97, 101:165]).any()


def test_every_chroma_of_ycbcr():
    """OpenSlide's arithmetic, on all pairs of Cb and Cr; three values of Y keep every result from being clipped."""
    cb, cr = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    red, green, blue = (1.402 * (cr - 128.0), -0.34414 * (cb - 128.0) - 0.71414 * (cr - 128.0), 1.772 * (cb - 128.0))
    for y in (0, 128, 255):
        found = ycbcr_to_rgb(np.stack([np.full_like(cb, y), cb, cr], axis=-1))
        exact = np.stack([y + red, y + green, y + blue], axis=-1).clip(0, 255)
        assert np.abs(found - exact).max() < 0.51


@pytest.mark.parametrize("y", [0, 64, 128, 192, 255])
def test_every_chroma_of_ycbcr_in_a_file(tmp_path, y):
    cb, cr = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    path = tmp_path / "slide.svs"
    pixels = np.stack([np.full_like(cb, y), cb, cr], axis=-1)
    image = encode_level(pixels, SlideCase(JP2K_YCBCR, tile=(256, 256)))
    write_tiff(path, [replace(image, description="Aperio Image Library v12|MPP = 0.5")])
    with open_direct(path) as ours, openslide_reader(path) as theirs:
        np.testing.assert_array_equal(ours.read_region(0, 0, 0, 256, 256), theirs.read_region(0, 0, 0, 256, 256))


@ANY
@given(
    compression=st.sampled_from([DEFLATE, LZW, JPEG, JP2K_RGB]),
    where=st.floats(0, 1, exclude_max=True),
    how=st.sampled_from(["flip", "zero", "end", "head"]),
    seed=st.integers(0, 1000),
)
def test_damage_is_seen_where_openslide_sees_it(compression, where, how, seed, tmp_path):
    """Whatever happens to a tile: equal pixels, or both refuse."""
    rng = np.random.default_rng(seed)
    case = SlideCase(compression, size=(128, 128), ratios=(), differenced=bool(seed % 2), subsampling="420")
    image = encode_level(picture(128, 128, rng), replace(case, inside=["RGB", "YCBCR"][seed % 3 % 2]))
    tile = bytearray(image.tiles[3])
    at = int(where * len(tile))
    if how == "flip":
        tile[at] ^= 1 << int(rng.integers(8))
    elif how == "zero":
        tile[at:] = bytes(len(tile) - at)
    elif how == "end":
        tile[at : at + 2] = b"\xff\xd9"
    else:
        tile[at % 120] = int(rng.integers(256))
    path = tmp_path / "slide.svs"
    text = "Aperio Image Library v12|MPP = 0.5"
    write_tiff(path, [replace(image, tiles=[*image.tiles[:3], bytes(tile)], description=text)])
    with open_direct(path) as ours, openslide_reader(path) as theirs:
        found, expected = outcome(ours), outcome(theirs)
        if isinstance(expected, str):
            assert found == expected
            assert ours.handed_over == 1
        else:
            np.testing.assert_array_equal(found, expected)


def outcome(reader: OpenSlideReader | DirectReader) -> np.ndarray | str:
    """Pixels of a slide of 128 x 128, or the code of the refusal."""
    try:
        return reader.read_region(0, 0, 0, 128, 128)
    except BadSlide as error:
        return error.code


def test_a_damaged_tile_spoils_only_its_regions(tmp_path):
    image = encode_level(picture(192, 64, np.random.default_rng(0)), SlideCase())
    path = tmp_path / "slide.svs"
    tiles = [*image.tiles[:2], image.tiles[2][: len(image.tiles[2]) // 2]]
    write_tiff(path, [replace(image, tiles=tiles, description="Aperio Image Library v12|MPP = 0.5")])
    with open_direct(path) as ours:
        with pytest.raises(BadSlide, match="CORRUPT"):
            ours.read_region(0, 100, 0, 60, 60)
        assert ours.read_region(0, 0, 0, 128, 64).shape == (64, 128, 3)


def test_missing_tiles_of_a_generic_slide_are_white_and_counted(tmp_path):
    image = encode_level(picture(128, 64, np.random.default_rng(0)), SlideCase())
    path = tmp_path / "slide.tif"
    write_tiff(path, [replace(image, tiles=[image.tiles[0], b""], mpp=0.5)])
    with open_direct(path) as ours:
        pixels = ours.read_region(0, 0, 0, 130, 64)
        assert (pixels[:, 64:] == 255).all()
        assert not (pixels[:, :64] == 255).all()
        assert ours.transparent == 64 * 64 + 2 * 64


def test_missing_tiles_of_a_lower_aperio_level_are_openslides(tmp_path):
    path = tmp_path / "slide.svs"
    case = SlideCase(missing=0.5, seed=3)
    write_case(path, case)
    assert declined(path) == "a lower level lacks tiles, which OpenSlide makes from the level above"


SUBFILE, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, SAMPLE_FORMAT, FILL_ORDER = 254, 258, 262, 274, 277, 339, 266


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": "uint16"}, "16 bits a channel"),
        ({"planarconfig": "separate"}, "channels in separate planes"),
        ({"channels": 4, "extrasamples": ["unassalpha"]}, "4 channels"),
        ({"channels": 1, "photometric": "minisblack"}, "1 channels"),
        ({"compression": "packbits"}, "compression 32773"),
        ({"extratags": [(ORIENTATION, 3, 1, 3, True)]}, "orientation 3"),
        ({"channels": 4, "photometric": "separated"}, "4 channels"),
    ],
)
def test_unusual_images_are_declined(tmp_path, options, reason):
    path = tmp_path / "slide.tif"
    options = {"photometric": "rgb", **options}
    channels, dtype = options.pop("channels", 3), options.pop("dtype", "uint8")
    shape = (channels, 80, 70) if options.get("planarconfig") == "separate" else (80, 70, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape[:3] if channels > 1 else shape[:2]).astype(dtype)
    tifffile.imwrite(path, pixels, tile=(64, 64), metadata=None, **options)
    assert declined(path) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tags": {FILL_ORDER: 2}}, "bits in reverse order"),
        ({"tags": {347: b"\xff\xd8\xff\xda\x00\x03\x00\xff\xd9"}}, "the JPEG tables hold a segment of kind DA"),
        ({"tags": {347: b"\xff\xd8\xff\xdb"}}, "the JPEG tables have no beginning or no end"),
    ],
)
def test_unusual_tags_are_declined(tmp_path, change, reason):
    path = tmp_path / "slide.tif"
    image = encode_level(picture(128, 64, np.random.default_rng(0)), SlideCase(shared_tables=False))
    write_tiff(path, [replace(image, mpp=0.5, **change)])
    with openslide_reader(path) as reader:
        found = direct_reader(path, reader)
        assert isinstance(found, Declined)
        assert found.reason == reason


def test_open_fastest(tmp_path):
    plain, other = tmp_path / "plain.svs", tmp_path / "other.tif"
    write_case(plain, SlideCase())
    tifffile.imwrite(other, np.full((80, 70, 3), 9, "uint16"), tile=(64, 64), photometric="rgb", metadata=None)
    opened = open_fastest(plain)
    with opened.reader as reader:
        assert isinstance(reader, DirectReader)
        assert opened.reason is None
        assert (reader.mpp, reader.mpp_source) == (0.5, "openslide.mpp")
        assert reader.name == f"direct, checked against {reader.openslide.name}"
    opened = open_fastest(other, mpp_override=0.25)
    with opened.reader as reader:
        assert isinstance(reader, OpenSlideReader)
        assert opened.reason == "16 bits a channel"
        assert reader.mpp == 0.25
        assert reader.read_region(0, 0, 0, 70, 80).shape == (80, 70, 3)
    with pytest.raises(BadSlide, match="NOT_FOUND"):
        open_fastest(tmp_path / "absent.svs")


def test_closing_closes_both(tmp_path):
    path = tmp_path / "slide.svs"
    write_case(path, SlideCase())
    reader = open_direct(path)
    reader.close()
    with pytest.raises(Exception, match="closed"):
        reader.openslide.read_region(0, 0, 0, 8, 8)


def test_two_images_of_one_size_are_declined(tmp_path):
    path = tmp_path / "slide.svs"
    image = encode_level(picture(128, 64, np.random.default_rng(0)), SlideCase())
    write_tiff(path, [replace(image, description="Aperio Image Library v12|MPP = 0.5"), image])
    assert declined(path) == "2 tiled images of 128 x 64"


def test_other_formats_are_declined(tmp_path):
    path = tmp_path / "slide.svs"
    write_case(path, SlideCase())
    with openslide_reader(path) as reader:
        reader.properties = {"openslide.vendor": "hamamatsu"}
        assert direct_reader(path, reader) == Declined("the format hamamatsu is left to OpenSlide")


def test_pixels_that_differ_are_declined(tmp_path, monkeypatch):
    """The comparison at opening: a decoder that reads YCbCr as RGB."""
    path = tmp_path / "slide.svs"
    write_case(path, SlideCase(photometric=YCBCR, inside="YCBCR"))
    make = direct.find_images.__globals__["JpegDecoder"].make

    def wrong(*arguments, ycbcr):
        return make(*arguments, ycbcr=not ycbcr)

    monkeypatch.setattr(direct.find_images.__globals__["JpegDecoder"], "make", wrong)
    assert declined(path).startswith("pixels of level 0 differ from OpenSlide's at x ")


@pytest.mark.parametrize("compression", ["jpeg", "deflate", "lzw"])
def test_levels_of_an_ome_tiff(tmp_path, compression):
    """OpenSlide sees the first level alone; all equal what it reads of a plain pyramid."""
    rng = np.random.default_rng(0)
    levels = [picture(501 // ratio, 402 // ratio, rng) for ratio in (1, 2, 4)]
    nested, plain = tmp_path / "slide.ome.tif", tmp_path / "plain.tif"
    options = {"tile": (64, 64), "photometric": "rgb", "compression": compression}
    resolution = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(nested, ome=True) as file:
        file.write(levels[0], subifds=2, **options, **resolution)
        for level in levels[1:]:
            file.write(level, subfiletype=1, **options)
    with tifffile.TiffWriter(plain) as file:
        for index, level in enumerate(levels):
            file.write(level, subfiletype=int(index > 0), metadata=None, **options, **resolution)
    with openslide_reader(nested) as first, openslide_reader(plain) as theirs:
        assert len(first.levels) == 1
        ours = direct_reader(nested, first)
        assert isinstance(ours, DirectReader), ours
        assert [(level.width, level.height) for level in ours.levels] == [(501, 402), (250, 201), (125, 100)]
        assert [level.downsample for level in ours.levels] == [level.downsample for level in theirs.levels]
        for index, level in enumerate(ours.levels):
            expected = theirs.read_region(index, 0, 0, level.width + 9, level.height + 9)
            np.testing.assert_array_equal(ours.read_region(index, 0, 0, level.width + 9, level.height + 9), expected)
        ours.release()
    with open_fastest(nested) as opened:  # tifffile chains the subdirectories that it lists: no loop
        assert (opened.reason, len(opened.reader.levels)) == (None, 3)


def test_subdirectories_that_are_no_levels_are_left_out(tmp_path):
    path = tmp_path / "slide.tif"
    rng = np.random.default_rng(0)
    child = replace(encode_level(picture(60, 60, rng), SlideCase()), reduced=True)
    write_tiff(path, [replace(encode_level(picture(300, 200, rng), SlideCase()), mpp=0.5, levels=(child,))])
    with open_direct(path) as ours:
        assert len(ours.levels) == 1


def test_a_damaged_tile_of_a_level_openslide_does_not_see(tmp_path):
    path = tmp_path / "slide.tif"
    rng = np.random.default_rng(0)
    child = replace(encode_level(picture(150, 100, rng), SlideCase()), reduced=True)
    child = replace(child, tiles=[b"nothing", *child.tiles[1:]])
    write_tiff(path, [replace(encode_level(picture(300, 200, rng), SlideCase()), mpp=0.5, levels=(child,))])
    with open_direct(path) as ours:
        assert ours.read_region(1, 70, 0, 60, 60).shape == (60, 60, 3)
        with pytest.raises(BadSlide, match="CORRUPT"):
            ours.read_region(1, 0, 0, 60, 60)


@pytest.mark.parametrize("cache_bytes", [1, 10 * 64 * 64 * 3, 2**27])
def test_threads_share_tiles_and_pixels(tmp_path, cache_bytes):
    path = tmp_path / "slide.svs"
    write_case(path, SlideCase(size=(500, 400), ratios=()))
    places = [(x, y) for y in range(0, 400, 50) for x in range(0, 500, 50)]
    with openslide_reader(path) as theirs:
        whole = theirs.read_region(0, 0, 0, 600, 500)
    with open_direct(path, cache_bytes=cache_bytes) as ours, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda place: ours.read_region(0, *place, 96, 80), places))
        for (x, y), pixels in zip(places, found, strict=True):
            np.testing.assert_array_equal(pixels, whole[y : y + 80, x : x + 96])
        if cache_bytes == 2**27:
            assert ours.decoded == 8 * 7


def test_raster_order_decodes_once_with_two_rows(tmp_path):
    path = tmp_path / "slide.svs"
    write_case(path, SlideCase(size=(640, 640), ratios=()))
    two_rows = 2 * 11 * 64 * 64 * 3
    with open_direct(path, cache_bytes=two_rows) as ours:
        before = ours.decoded  # the comparison at opening
        for y in range(0, 640, 50):
            for x in range(0, 640, 50):
                ours.read_region(0, x, y, 50, 50)
        assert ours.decoded - before == 100


def test_cache_keeps_to_its_bytes():
    made = []

    def decode(key):
        made.append(key)
        return np.zeros((10, 10, 3), np.uint8)

    cache = TileCache(900, decode)
    cache.fetch([(0, n) for n in range(5)])
    assert len(cache) == 3
    cache.fetch([(0, 4), (0, 3), (0, 2)])
    assert made == [(0, n) for n in range(5)]
    cache.fetch([(0, 0)])
    assert made[5:] == [(0, 0)]


def test_a_tile_that_fails_releases_its_waiters():
    started, go = threading.Event(), threading.Event()

    def decode(key):
        if not started.is_set():
            started.set()
            go.wait(10)
            raise Undecodable("first try")
        return np.full((1, 1, 3), key[1], np.uint8)

    cache = TileCache(900, decode)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cache.fetch, [(0, 1), (0, 2)])
        started.wait(10)
        second = threads.submit(cache.fetch, [(0, 2), (0, 1)])
        go.set()
        with pytest.raises(Undecodable):
            first.result(10)
        assert [int(tile[0, 0, 0]) for tile in second.result(10)] == [2, 1]


def test_a_jpeg_2000_tile_is_not_trusted_about_its_size():
    from mirror_data.slides.tile_decoders import Jpeg2000Decoder

    stream = imagecodecs.jpeg2k_encode(np.zeros((64, 64, 3), np.uint8), codecformat="J2K", resolutions=2)
    assert Jpeg2000Decoder(64, 64, False)(stream).shape == (64, 64, 3)
    for width, height in ((32, 64), (64, 32), (128, 128)):
        with pytest.raises(Undecodable):
            Jpeg2000Decoder(width, height, False)(stream)
    with pytest.raises(Undecodable):
        Jpeg2000Decoder(64, 64, False)(stream[:40])


def test_striped_images_are_never_levels(tmp_path):
    """Label, macro and thumbnail of an Aperio slide lie in strips."""
    path = tmp_path / "slide.svs"
    write_case(path, SlideCase(photometric=RGB))
    with tifffile.TiffWriter(path, append=True) as file:
        file.write(np.zeros((100, 150, 3), np.uint8), photometric="rgb", metadata=None, description="Aperio\nlabel 1x1")
    with open_direct(path) as ours:
        assert [(level.width, level.height) for level in ours.levels] == [(300, 200), (150, 100)]


def test_writer_of_these_tests_writes_tiff(tmp_path):
    """tifffile, independent of both readers, finds the pixels that went in."""
    path = tmp_path / "slide.tif"
    pixels = picture(130, 70, np.random.default_rng(0))
    image = encode_level(pixels, SlideCase(DEFLATE, differenced=True))
    for order, big in (("<", False), (">", False), ("<", True), (">", True)):
        write_tiff(
            path, [replace(image, levels=(TiffImage(1, 1, (64, 64), image.tiles[:1], DEFLATE),))], order=order, big=big
        )
        with tifffile.TiffFile(path) as file:
            np.testing.assert_array_equal(file.pages[0].asarray(), pixels)
            assert len(file.pages[0].pages) == 1
