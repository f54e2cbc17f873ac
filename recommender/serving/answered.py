"""The id of an answer. It says itself what was answered, so nobody has to keep a list of answers.

    <what was answered, base64url>.<number>

The first part has a header (release, segment, how many items were on the pages before, names of
sources and rules), and for each item a checksum of its id, its source and the rules that placed or
moved it. It holds nothing about the person. Equal answers have equal first parts; the number, which
the HTTP API adds, tells two of them apart.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import orjson

from graph.arrays import U32
from graph.errors import InputError

LONGEST = 12_000  # characters of an id: a list of 1,000 items fits
MOST_RULES = 8  # of one answer; what further rules did is not told
LONGEST_NAME = 80  # characters of the name of a source, rule or segment
_LENGTH = struct.Struct("<H")  # of the header
_ITEM = struct.Struct("<IBB")  # checksum, place of the source, a bit for each rule
_PACKED = np.dtype([("sum", "<u4"), ("source", "u1"), ("rules", "u1")])  # the same as an array
_FIELD = b'"request_id":"'
_WRONG = "this request_id did not come from here; copy it from the answer unchanged"


@dataclass(frozen=True)
class Shown:
    """An item of an answer, by what its id says."""

    release: str
    segment: str | None
    source: str
    position: int  # from 1, items on the pages before count
    rules: tuple[str, ...]  # that placed or moved it


def request_id(
    release: str,
    segment: str | None,
    before: int,
    sums: U32,
    sources: Sequence[str],
    rules: Sequence[tuple[str, ...]] = (),
) -> str:
    """The id of an answer, without a number.

    Args:
        release: its name.
        segment: of the subject.
        before: how many items were on the pages before.
        sums: (k,) the checksum of each item's id, see `pages.sums_of`.
        sources: for each item the name of its source.
        rules: for each item the names of its rules; empty: no rule did anything.
    """
    named = tuple(dict.fromkeys(sources))
    ruling = tuple(dict.fromkeys([rule for own in rules for rule in own]))[:MOST_RULES]
    numbers = {source: number for number, source in enumerate(named)}
    bits = {rule: 1 << number for number, rule in enumerate(ruling)}
    items = np.zeros(len(sums), _PACKED)
    items["sum"] = sums
    if len(named) > 1:
        items["source"] = [numbers[source] for source in sources]
    if ruling:
        items["rules"] = [sum([bits.get(rule, 0) for rule in own]) for own in rules]
    content = _header(release, segment, before, named, ruling) + items.tobytes()
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def numbered(made: bytes, number: str) -> bytes:
    """An answer as JSON, which ends with its `request_id`, with a number added to that."""
    return b'%b.%b"}' % (made[:-2], number.encode())


def id_of(made: bytes) -> str:
    """The `request_id` of an answer as JSON, with which it ends."""
    return made[made.rindex(_FIELD) + len(_FIELD) : -2].decode()  # in texts, quotes are escaped


def release_of(text: str) -> str:
    """The release that an id names.

    Raises:
        InputError: this is no id of an answer.
    """
    return _read(text.partition(".")[0])[0]


def shown(text: str, item: str, position: int | None) -> Shown:
    """What an id says about an item, which must be one of the answer's.

    `position` is only needed if two items of an answer have the same checksum: once in 20 million
    lists of 20.

    Raises:
        InputError: this is no id of an answer, or the item was not in it, or at another place.
    """
    release, segment, before, sources, rules, content = _read(text.partition(".")[0])
    wanted = zlib.crc32(item.encode())
    for rank, (checksum, source, mask) in enumerate(_ITEM.iter_unpack(content), before + 1):
        if checksum != wanted or position not in (None, rank):
            continue
        if source >= len(sources):
            raise InputError(_WRONG)
        own = tuple(rule for bit, rule in enumerate(rules) if mask >> bit & 1)
        return Shown(release, segment, sources[source], rank, own)
    at = "" if position is None else f" at the position {position}"
    raise InputError(f"the answer with this request_id did not show {item!r}{at}")


@lru_cache(256)  # some dozen for each release
def _header(
    release: str, segment: str | None, before: int, sources: tuple[str, ...], rules: tuple[str, ...]
) -> bytes:
    def cut(names: Sequence[str]) -> list[str]:
        return [name[:LONGEST_NAME] for name in names]

    about = [release, segment and segment[:LONGEST_NAME], before, cut(sources), cut(rules)]
    header = zlib.compress(orjson.dumps(about), 9, -15)
    return _LENGTH.pack(len(header)) + header


@lru_cache(1024)
def _read(text: str) -> tuple[str, str | None, int, list[str], list[str], bytes]:
    """The parts of an id before its number."""
    if len(text) > LONGEST:
        raise InputError(_WRONG)
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True)
        (length,) = _LENGTH.unpack_from(content)
        start = _LENGTH.size + length
        unpacked = zlib.decompressobj(-15)
        about = orjson.loads(unpacked.decompress(content[_LENGTH.size : start], LONGEST))
        release, segment, before, sources, rules = about
    except (binascii.Error, ValueError, TypeError, struct.error, zlib.error) as error:
        raise InputError(_WRONG) from error
    names = [release, *([] if segment is None else [segment]), *_texts(sources), *_texts(rules)]
    fits = all(isinstance(name, str) and 0 < len(name) <= LONGEST_NAME for name in names)
    whole = len(content) >= start and (len(content) - start) % _ITEM.size == 0
    if not (fits and whole and type(before) is int and 0 <= before <= 10**6):
        raise InputError(_WRONG)
    return release, segment, before, sources, rules, content[start:]


def _texts(names: object) -> list[object]:
    return names if isinstance(names, list) else [None]
