"""The ways in which an id may be spelled in a file, and searching a whole home for them."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

BLOCK = 1 << 20  # bytes searched at a time


@dataclass(frozen=True)
class Found:
    """A file that holds an id."""

    path: Path
    count: int


def spellings(user: str) -> re.Pattern[bytes]:
    """A pattern for an id in any spelling: each letter as UTF-8 in either Unicode form, escaped as
    in JSON, or percent-encoded; or the whole id as UTF-16.
    """
    letters = unicodedata.normalize("NFC", user)
    mixed = b"".join(b"(?:%s)" % b"|".join(map(re.escape, _written(letter))) for letter in letters)
    plain = [
        re.escape(unicodedata.normalize(form, user).encode(code))
        for form in ("NFC", "NFD")
        for code in ("utf-16-le", "utf-16-be")
    ]
    return re.compile(b"|".join([mixed, *plain]))


def search(folder: Path, user: str) -> Iterator[Found]:
    """Every file below a folder that holds an id in any spelling, free pages of databases too.

    A short id may also match bytes that mean something else.
    """
    sought = spellings(user)
    longest = sum(max(map(len, _written(letter))) for letter in unicodedata.normalize("NFC", user))
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        count, kept = 0, b""
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                content = kept + block
                count += sum(hit.end() > len(kept) for hit in sought.finditer(content))
                kept = content[-longest:]
        if count:
            yield Found(path, count)


def _written(letter: str) -> list[bytes]:
    """One letter in all its spellings."""
    written = set()
    for form in ("NFC", "NFD"):
        text = unicodedata.normalize(form, letter)
        escaped = json.dumps(text)[1:-1]
        written |= {text, json.dumps(text, ensure_ascii=False)[1:-1], escaped}
        written.add(re.sub(r"\\u....", lambda hit: "\\u" + hit[0][2:].upper(), escaped))
        for safe in ("", "/", "!$&'()*+,;=:@"):
            written |= {quote(text, safe=safe), quote(text, safe=safe).lower()}
    written.discard("")
    return sorted((text.encode("utf-8", "surrogatepass") for text in written), key=len)[::-1]
