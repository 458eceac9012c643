"""From the bytes of one tile of a TIFF to its pixels, exactly as OpenSlide's.

Every decoder is a callable ``bytes -> uint8 (tile_height, tile_width, 3)`` in RGB. It is safe to call from several
threads, releases the interpreter's lock while it works, and allocates no more than its tile needs, whatever the bytes
claim.

It raises `Undecodable` whenever anything is unusual: damage, another size, another number of channels. The caller then
asks OpenSlide, whose pixels, or whose refusal, count. So a decoder must refuse at least what OpenSlide refuses. This is
why JPEG goes through libjpeg-turbo's strict interface: OpenSlide takes libjpeg's warnings (a segment that ends too
early) for errors, while most Python decoders fill the rest of the tile with grey and say nothing.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", 0xDA
_TABLES = {0xDB, 0xC4, 0xCC}  # DQT, DHT, DAC
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn
_COMMENTS = {*range(0xE0, 0xF0), 0xFE}  # APPn, COM
_JFIF, _ADOBE = 0xE0, 0xEE


class Undecodable(Exception):
    """This tile is not plain; the text says why."""


@dataclass(frozen=True)
class JpegDecoder:
    """JPEG tiles, with or without shared tables.

    ``head`` replaces each tile's start-of-image mark: the shared tables, and a mark (Adobe's APP14) that tells libjpeg
    whether channels are RGB or YCbCr. A TIFF says this in its own tag, which OpenSlide follows whatever the JPEG says;
    the tile's own application marks are therefore left out.
    """

    width: int
    height: int
    head: bytes
    _seen: list[tuple[bytes, bytes]] = field(default_factory=list)  # the last tile's header as it was, and as decoded

    @classmethod
    def make(cls, width: int, height: int, tables: bytes, *, ycbcr: bool) -> JpegDecoder:
        """Decoder for tiles that share ``tables`` (the tag JPEGTables; empty if there is none).

        Raises:
            Undecodable: the tables are not quantisation and Huffman tables alone.
        """
        mark = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + (b"\x01" if ycbcr else b"\x00")
        shared = b""
        if tables:
            if not (tables.startswith(_SOI) and tables.endswith(_EOI)):
                raise Undecodable("the JPEG tables have no beginning or no end")
            for marker, start, end in _segments(tables[:-2]):
                if marker in _TABLES:
                    shared += tables[start:end]
                elif marker not in _COMMENTS:
                    raise Undecodable(f"the JPEG tables hold a segment of kind {marker:02X}")
        return cls(width, height, _SOI + mark + shared)

    def __call__(self, data: bytes) -> np.ndarray:
        import simplejpeg

        header, decoded = self._seen[0] if self._seen else (b"", b"")
        if not header or not data.startswith(header):  # it mostly is the same for all tiles of a file
            header, decoded = self._headers(data)
            self._seen[:] = [(header, decoded)]
        try:
            tile = simplejpeg.decode_jpeg(decoded + data[len(header) :], "RGB", strict=True)
        except ValueError as error:
            raise Undecodable(str(error)) from error
        if tile.shape != (self.height, self.width, 3):
            raise Undecodable(f"a JPEG tile of shape {tile.shape}")
        return tile

    def _headers(self, data: bytes) -> tuple[bytes, bytes]:
        """A tile's bytes up to its entropy-coded data: as they are, and as they are decoded. Its frame is checked."""
        kept = [self.head]
        framed = False
        end = 2
        for marker, start, end in _segments(data):
            if marker in _COMMENTS:
                if not _is_plain_comment(marker, data[start + 4 : end]):
                    raise Undecodable(f"a JPEG application mark of kind {marker:02X} that is not plain")
                continue
            if marker in _FRAMES:
                precision, height, width, channels = struct.unpack_from(">BHHB", data, start + 4)
                if framed or (precision, height, width, channels) != (8, self.height, self.width, 3):
                    raise Undecodable(f"a JPEG frame of {width} x {height}, {channels} channels of {precision} bits")
                framed = True
            kept.append(data[start:end])
        if not framed:
            raise Undecodable("a JPEG tile without a frame")
        return data[:end], b"".join(kept)


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each segment of a JPEG up to and with the first start of scan.

    Raises:
        Undecodable: the bytes are no chain of segments.
    """
    if data[:2] != _SOI:
        raise Undecodable("no JPEG")
    at = 2
    while at < len(data):
        if at + 4 > len(data) or data[at] != 0xFF or data[at + 1] in (0x00, 0xFF):
            raise Undecodable("a JPEG whose segments do not follow each other")
        marker = data[at + 1]
        length = data[at + 2] << 8 | data[at + 3]
        end = at + 2 + length
        if end > len(data) or length < (8 if marker in _FRAMES else 2):
            raise Undecodable("a JPEG segment longer than its tile")
        yield marker, at, end
        if marker == _SOS:
            return
        at = end


def _is_plain_comment(marker: int, text: bytes) -> bool:
    """Whether libjpeg, which reads two kinds of application marks, has nothing to say about this one."""
    if marker == _JFIF:
        return len(text) == 14 and text.startswith(b"JFIF\0\1")
    if marker == _ADOBE:
        return len(text) == 12 and text.startswith(b"Adobe") and text[11] in (0, 1)  # RGB, YCbCr
    return True


@dataclass(frozen=True)
class Jpeg2000Decoder:
    """JPEG 2000 code streams as Aperio writes them: three channels of 8 bits, none subsampled."""

    width: int
    height: int
    ycbcr: bool

    def __call__(self, data: bytes) -> np.ndarray:
        import imagecodecs

        # SOC, SIZ (47 bytes): size on the grid, offset, size and offset of inner tiles (any), then the channels.
        header = struct.unpack_from(">HHHHIIII16xH9B", data) if len(data) >= 51 else ()
        plain = (0xFF4F, 0xFF51, 47, self.width, self.height, 0, 0, 3, *(7, 1, 1) * 3)
        if (*header[:3], *header[4:]) != plain:  # header[3] is the profile
            raise Undecodable("a JPEG 2000 tile of another size, depth or sampling")
        try:
            tile = imagecodecs.jpeg2k_decode(data, numthreads=1)
        except (RuntimeError, ValueError) as error:
            raise Undecodable(str(error)) from error
        if tile.shape != (self.height, self.width, 3) or tile.dtype != np.uint8:
            raise Undecodable(f"a JPEG 2000 tile of shape {tile.shape}")
        return ycbcr_to_rgb(tile) if self.ycbcr else tile


@dataclass(frozen=True)
class PlainDecoder:
    """Uncompressed, deflate and LZW tiles, with or without horizontal differencing."""

    width: int
    height: int
    compression: str  # "none", "deflate" or "lzw"
    differenced: bool

    def __call__(self, data: bytes) -> np.ndarray:
        size = self.width * self.height * 3
        raw = {"none": bytes, "deflate": self._inflate, "lzw": self._unpack}[self.compression](data)
        if len(raw) != size:
            raise Undecodable(f"a tile of {len(raw)} bytes, not {size}")
        tile = np.frombuffer(raw, np.uint8).reshape(self.height, self.width, 3)
        return np.cumsum(tile, axis=1, dtype=np.uint8) if self.differenced else tile

    def _inflate(self, data: bytes) -> bytes:
        stream = zlib.decompressobj()
        try:
            raw = stream.decompress(data, self.width * self.height * 3 + 1)
        except zlib.error as error:
            raise Undecodable(str(error)) from error
        if not stream.eof:
            raise Undecodable("a deflate stream that does not end with its tile")
        return raw

    def _unpack(self, data: bytes) -> bytes:
        import imagecodecs

        try:
            return bytes(imagecodecs.lzw_decode(data, out=self.width * self.height * 3))
        except (RuntimeError, ValueError) as error:
            raise Undecodable(str(error)) from error


Decoder = JpegDecoder | Jpeg2000Decoder | PlainDecoder


_HALF = 1 << 15
_CHROMA = np.arange(-128, 128)
_RED_CR = ((91_881 * _CHROMA + _HALF) >> 16).astype(np.int16)  # (256,)
_GREEN_CB = np.rint(-0.34414 * 65536 * _CHROMA).astype(np.int32)  # (256,), in 1/65536
_GREEN_CR = np.rint(-0.71414 * 65536 * _CHROMA).astype(np.int32) + _HALF  # (256,), in 1/65536
_BLUE_CB = ((116_130 * _CHROMA + _HALF) >> 16).astype(np.int16)  # (256,)


def ycbcr_to_rgb(tile: np.ndarray) -> np.ndarray:
    """RGB of YCbCr, uint8 (h, w, 3): the conversion of JFIF 1.02 (1992) in steps of 1/65536.

    Rounded as OpenSlide rounds: coefficients of red and blue, products of green. The tests compare all 65,536 chromas.
    """
    y, cb, cr = tile[..., 0].astype(np.int16), tile[..., 1], tile[..., 2]  # (h, w) each
    rgb = np.empty(tile.shape, np.int16)
    rgb[..., 0] = y + _RED_CR[cr]
    rgb[..., 1] = y + ((_GREEN_CB[cb] + _GREEN_CR[cr]) >> 16)
    rgb[..., 2] = y + _BLUE_CB[cb]
    return rgb.clip(0, 255).astype(np.uint8)
