"""The ways in which an id may be spelled in a file, and searching a whole home for them."""

import json
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from recommender.inbox.feedback import feedback_file, opened
from recommender.inbox.journal import Journal

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


def search_encrypted(journal: Journal, user: str) -> Iterator[Found]:
    """The encrypted files of an inbox whose rows hold an id in any spelling.

    `search` cannot see them. What was removed is written over in these files.
    """
    if journal.key is None:
        return
    sought = spellings(user)
    with journal.reading() as facts, opened(journal) as shown:
        files = ((journal.path, facts), (feedback_file(journal.path), shown))
        for path, db in files:
            count = 0 if db is None else _in_rows(db, sought)
            if count:
                yield Found(path, count)


def _in_rows(db: sqlite3.Connection, sought: re.Pattern[bytes]) -> int:
    count = 0
    for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        for row in db.execute(f'SELECT * FROM "{table}"'):
            values = [value.encode() if isinstance(value, str) else value for value in row]
            count += sum(len(sought.findall(each)) for each in values if isinstance(each, bytes))
    return count


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
