"""The server's log: events with fields, one line each, on standard error."""

import sys
import time
import traceback
from collections import Counter
from typing import Any

import orjson

_format = "text"
defects: Counter[str] = Counter()  # of this process: what was wrong, in how many items


def set_format(name: str) -> None:
    """Write lines as `text` or `json` from now on."""
    global _format  # noqa: PLW0603 - one log per process
    _format = name


def log(event: str, **fields: Any) -> None:
    """Write one event."""
    if _format == "json":
        line = orjson.dumps({"at": time.time(), "event": event, **fields}, default=str).decode()
    else:
        said = " ".join(f"{name}={str(value)!r}" for name, value in fields.items())
        line = f"{time.strftime('%H:%M:%S')} {event} {said}".rstrip()
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def count_defect(what: str, items: int) -> None:
    """Count and log items that a mistake of ours would have shown: they are left out of answers."""
    defects[what] += items
    log("defect", what=what, items=items)


def log_failure(error: BaseException, **fields: Any) -> None:
    """Write an error nobody expected, with where it came from."""
    where = "".join(traceback.format_exception(error))
    log("failure", error=type(error).__name__, **fields, trace=where)
