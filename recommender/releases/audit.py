"""A log of what was done to a catalogue; it only grows: each line has the hash of the last.

`audit/log.jsonl` holds the lines, `audit/head.json` the number, hash and end of the last one. Who
keeps the head elsewhere, too, finds every edit, deletion, swap and truncation, also by somebody who
wrote all hashes anew or removed everything. A line has pseudonyms and counts, never an id of a
person.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graph.durable import locked, replace_file
from graph.errors import InputError

START = "0" * 64  # what stands in the first line in place of a hash


@dataclass(frozen=True)
class Head:
    """The end of the log."""

    number: int = 0
    hash: str = START
    bytes: int = 0


def note(
    folder: Path, action: str, *, now: int, elsewhere: Path | None = None, **about: Any
) -> Head:
    """Append one line, on the disk when this returns; the new head.

    Args:
        folder: of the log; it is made.
        action: what was done, in one or two words.
        now: seconds since 1970.
        elsewhere: a file outside of the home, which gets the new head, too; but if the log does
            not go on from the head in it, that head stays, so that `verify` keeps saying so.
        about: whatever else is to be known, as JSON values.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / "lock"):
        if not _head(folder).exists() and not _log(folder).exists():
            _write_head(_head(folder), Head())  # so that a log without a head has lost it
        before = _after_a_kill(folder, read_head(folder))
        line = _line(before, {"at": now, "what": action, **about})
        with _log(folder).open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        head = Head(before.number + 1, _hash(line), before.bytes + len(line))
        _write_head(_head(folder), head)
        if elsewhere is not None:
            kept = head_in(elsewhere)
            if kept in (None, before) or not verify(folder, kept):
                _write_head(elsewhere, head)
    return head


def read_head(folder: Path) -> Head:
    """The head as it is kept beside the log; that of an empty log where there is none.

    Raises:
        InputError: it cannot be read.
    """
    return head_in(_head(folder)) or Head()


def head_in(file: Path) -> Head | None:
    """A head in a file; None if there is no such file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return Head(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}); the log cannot be verified") from error


def lines(folder: Path) -> list[dict[str, Any]]:
    """What was done, oldest first; lines that are not JSON are left out."""
    records = []
    for line in _read(folder).splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def verify(folder: Path, head: Head | None = None) -> list[str]:
    """What is wrong with the log, in sentences; nothing where it is whole.

    `head` is a head that was kept elsewhere, of now or of an earlier day; default: the one beside
    the log. One line more than that head is fine: a kill may come between the two.
    """
    if head is None and not _head(folder).exists() and folder.exists() and any(folder.iterdir()):
        return ["head.json is gone, and the log can end anywhere"]
    known, log = head or read_head(folder), _read(folder)
    problems: list[str] = []
    before, size = START, 0
    at_head = START if known.number == 0 else None
    rows = log.splitlines(keepends=True)
    for number, line in enumerate(rows, 1):
        size += len(line)
        try:
            record = json.loads(line)
            wrong = None if isinstance(record, dict) else "it is not an object"
        except ValueError:
            record, wrong = {}, "it is not JSON"
        if wrong is None and record.get("number") != number:
            wrong = f"it is numbered {record.get('number')}"
        elif wrong is None and record.get("before") != before:
            wrong = "it does not follow the line before it"
        if wrong is not None:
            problems.append(f"line {number} was changed, or lines around it: {wrong}")
            break
        before = _hash(line)
        if number == known.number:
            at_head = before
    if not problems and at_head is None:
        problems.append(f"lines are missing at the end: {len(rows)} of {known.number} are there")
    elif not problems and at_head != known.hash:
        problems.append(f"line {known.number} is not the one that the head names")
    elif not problems and head is None and len(rows) > known.number + 1:
        problems.append(f"the head counts {known.number} lines, but there are {len(rows)}")
    return problems


def _after_a_kill(folder: Path, head: Head) -> Head:
    """The head after a kill: a whole line written just before it counts; half a line is removed."""
    log = _log(folder)
    if not log.exists() or log.stat().st_size <= head.bytes:
        return head
    with log.open("r+b") as file:
        file.seek(head.bytes)
        left = file.read()
        line = left.splitlines(keepends=True)[0]
        if line.endswith(b"\n") and line == left and f'"before": "{head.hash}"'.encode() in line:
            return Head(head.number + 1, _hash(line), head.bytes + len(line))
        if not left.endswith(b"\n") and b"\n" not in left:
            file.truncate(head.bytes)
    return head


def _line(head: Head, fields: dict[str, Any]) -> bytes:
    content = {"number": head.number + 1, "before": head.hash, **fields}
    if len(content) != len(fields) + 2:
        raise ValueError("'number' and 'before' are the log's own")
    return json.dumps(content, ensure_ascii=False).encode() + b"\n"


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _log(folder: Path) -> Path:
    return folder / "log.jsonl"


def _head(folder: Path) -> Path:
    return folder / "head.json"


def _write_head(file: Path, head: Head) -> None:
    replace_file(file, json.dumps(vars(head)) + "\n")


def _read(folder: Path) -> bytes:
    try:
        return _log(folder).read_bytes()
    except FileNotFoundError:
        return b""
