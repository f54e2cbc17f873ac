"""Reads a text file in blocks of whole lines, gzipped or not, in bounded memory.

Blocks are UTF-8, whatever the file's encoding. Wrong bytes in a UTF-8 file stay as they are, so
that their row can be rejected with its line.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from graph.errors import InputError

FIRST_BLOCK = 1 << 16  # bytes; blocks double from here, so that a hopeless file is soon refused
BLOCK = 1 << 22  # bytes; the largest block
LONGEST_LINE = 1 << 24  # bytes; a longer line is skipped and rejected
PACKED = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"BZh": "compressed with bzip2",
    b"\xfd7zXZ\x00": "compressed with xz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd",
}  # first bytes of files that are not read
MOST_UNPACKED = 1 << 36  # bytes of one file when unpacked, unless another limit is given


@dataclass(frozen=True)
class Block:
    """Whole lines, each ending in a newline."""

    data: bytes
    first_line: int  # from 1
    lines: int
    done: int  # bytes of the file read so far, compressed if the file is
    too_long: bool = False  # a line beyond LONGEST_LINE; `data` is its beginning


def blocks(
    path: Path, encoding: str = "utf-8", size: int = BLOCK, most: int = MOST_UNPACKED
) -> Iterator[Block]:
    """The file in blocks of up to about `size` bytes, small ones first.

    Lines end in a line feed, or in a carriage return where the file has no line feeds.

    Raises:
        InputError: the file cannot be opened or decoded, its compressed data ends early, or it
            has more than `most` bytes when unpacked.
    """
    line = 1
    carry = b""
    skipped = b""  # the beginning of a line that is too long, while it lasts
    for piece, done in _with_line_feeds(_pieces(path, encoding, size, most)):
        data = carry + piece
        if skipped:
            end = data.find(b"\n")
            carry = b""
            if end < 0:
                continue
            yield Block(skipped, line, 1, done, too_long=True)
            line, skipped, data = line + 1, b"", data[end + 1 :]
        end = data.rfind(b"\n") + 1
        carry = data[end:]
        if end:
            count = data.count(b"\n", 0, end)
            yield Block(data[:end], line, count, done)
            line += count
        if len(carry) > LONGEST_LINE:
            skipped, carry = carry[:200], b""
    done = path.stat().st_size
    if skipped:
        yield Block(skipped, line, 1, done, too_long=True)
    elif carry:
        yield Block(carry + b"\n", line, 1, done)


def first_line(path: Path, encoding: str = "utf-8", most_bytes: int = MOST_UNPACKED) -> bytes:
    """The first line that is not blank, without its line end; empty for an empty file."""
    return next(iter(first_lines(path, encoding, 1, most_bytes)), b"")


def first_lines(path: Path, encoding: str, most: int, most_bytes: int) -> list[bytes]:
    """Up to `most` of the first lines that are not blank, as far as the first ones reach."""
    first: list[bytes] = []
    for block in blocks(path, encoding, 1 << 16, most_bytes):
        first += [line.rstrip(b"\r") for line in block.data.split(b"\n") if line.strip()]
        if first:
            break
    return first[:most]


@contextmanager
def opened(path: Path) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file's bytes, unzipped, and the file itself, whose position tells the progress."""
    try:
        with path.open("rb") as raw:
            start = raw.read(8)
            zipped = start.startswith(b"\x1f\x8b")
            raw.seek(0)
            for first, kind in PACKED.items():
                if start.startswith(first):
                    raise InputError(f"{path}: this is {kind}; unpack it, or compress it with gzip")
            if not zipped:
                yield raw, raw
                return
            with gzip.GzipFile(fileobj=raw) as unzipped:
                yield unzipped, raw  # type: ignore[misc]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: the compressed file is damaged or ends early ({error}); fetch it again"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _with_line_feeds(pieces: Iterator[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """The pieces; carriage returns become line feeds if the first piece has no line feeds."""
    old_mac = None
    for piece, done in pieces:
        if old_mac is None:
            old_mac = b"\r" in piece.rstrip(b"\r") and b"\n" not in piece
        yield (piece.replace(b"\r", b"\n") if old_mac else piece), done


def _pieces(path: Path, encoding: str, size: int, most: int) -> Iterator[tuple[bytes, int]]:
    try:
        name = codecs.lookup(encoding).name
    except LookupError as error:
        raise InputError(
            f"encoding {encoding!r} is not known; use for instance utf-8 or latin-1"
        ) from error
    decoder = None if name == "utf-8" else codecs.getincrementaldecoder(name)()
    first, want, unpacked = True, min(size, FIRST_BLOCK), 0
    with opened(path) as (stream, raw):
        while piece := stream.read(want):
            want = min(size, 2 * want)
            unpacked += len(piece)
            if unpacked > most:
                raise too_large(path, most)
            if decoder is not None:
                piece = _recoded(decoder, piece, path, encoding)
            elif first:
                if piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
                    raise InputError(f"{path}: is UTF-16, not UTF-8; give the encoding utf-16")
                piece = piece.removeprefix(codecs.BOM_UTF8)
            first = False
            yield piece, raw.tell()
        if decoder is not None:
            yield _recoded(decoder, b"", path, encoding, final=True), raw.tell()


def too_large(path: Path, most: int) -> InputError:
    """The error for a file that unpacks to more than `most` bytes."""
    return InputError(
        f"{path}: this is more than {most:,} bytes when it is unpacked; if you mean to "
        "load it, raise the setting max_unpacked_bytes"
    )


def _recoded(
    decoder: codecs.IncrementalDecoder, piece: bytes, path: Path, encoding: str, final: bool = False
) -> bytes:
    try:
        return decoder.decode(piece, final).encode("utf-8")
    except UnicodeError as error:
        raise InputError(f"{path}: is not {encoding}: {error}; give another encoding") from error
