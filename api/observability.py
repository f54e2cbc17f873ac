"""The server's log: events with fields, one line each, on standard error; granian's lines, too."""

import logging
import sys
import traceback
from collections import Counter
from typing import Any, Literal

import orjson
import structlog
from structlog.typing import EventDict, WrappedLogger

Form = Literal["text", "json"]

defects: Counter[str] = Counter()  # of this process: what was wrong -> in how many items
_time = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")


def set_format(form: Form) -> None:
    """Write lines as `text` or `json` from now on."""
    structlog.configure(
        processors=[_time, _as_json if form == "json" else _as_text],
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def log(event: str, **fields: Any) -> None:
    """Write one event."""
    structlog.get_logger().info(event, **fields)


def count_defect(defect: str, items: int) -> None:
    """Count and log items left out of answers, which a mistake of ours would have shown."""
    defects[defect] += items
    log("defect", what=defect, items=items)


def log_failure(error: BaseException, **fields: Any) -> None:
    """Log an unexpected error and where it came from; not its message, which may name people."""
    log("failure", error=type(error).__name__, **fields, where=_where(error))


def _where(error: BaseException) -> str:
    """The lines that an error came through, the innermost first."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)


class ServerLines(logging.Formatter):
    """Granian's lines in the form of ours: what it does and, if asked for, each request."""

    def __init__(self, form: Form = "text") -> None:
        """Write lines as `text` or `json`."""
        super().__init__()
        self._render = _as_json if form == "json" else _as_text

    def format(self, record: logging.LogRecord) -> str:
        """One line; a request has its fields, which granian gives as the record's arguments."""
        event: EventDict = {"event": record.getMessage(), "level": record.levelname.lower()}
        if record.name == "granian.access" and isinstance(record.args, dict):
            request = record.args
            event = {
                "event": "request",
                "method": request["method"],
                "path": request["path"],
                "status": request["status"],
                "ms": round(float(str(request["dt_ms"])), 3),
                "from": request["addr"],
            }
        elif record.exc_info:
            error = record.exc_info[1]
            if error is not None:
                event.update(error=type(error).__name__, where=_where(error))
        return self._render(None, "", dict(_time(None, "", event)))


def server_lines(form: Form) -> dict[str, Any]:
    """A configuration for `logging.config.dictConfig`: granian then writes lines of this form."""
    handler = {
        "class": "logging.StreamHandler",
        "formatter": "ours",
        "stream": "ext://sys.stderr",
    }
    return {
        "formatters": {"ours": {"()": "api.observability.ServerLines", "form": form}},
        "handlers": {"console": handler, "access": handler},
    }


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    ordered = {"at": event.pop("at"), "event": event.pop("event"), **event}
    return orjson.dumps(ordered, default=str).decode()


def _as_text(_: WrappedLogger, __: str, event: EventDict) -> str:
    """Values are quoted, so that nothing they hold can begin a line or steer a terminal."""
    at, name = event.pop("at"), event.pop("event")
    fields = " ".join(f"{key}={str(value)!r}" for key, value in event.items())
    return f"{at} {name} {fields}".rstrip()


set_format("text")
