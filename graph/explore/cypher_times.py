"""Writes times in a readable form, and reads spans in ISO 8601."""

import datetime as dt
import re

_SPAN = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?"
)
UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")


def shown(seconds: float) -> str:
    """A time as people read it, in UTC: `2024-12-01 18:30:00`, or the date alone at midnight."""
    try:
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    except OverflowError:
        return str(seconds)
    if moment.time() == dt.time():
        return f"{moment:%Y-%m-%d}".rjust(10, "0")
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def span_of(text: str) -> dict[str, int] | None:
    """A span in ISO 8601 (`P7D`, `PT12H`) as unit -> number of them; None for any other text."""
    match = _SPAN.fullmatch(text.strip().upper())
    if match is None or text.strip().upper() in ("P", "PT"):
        return None
    return {unit: int(n) for unit, n in zip(UNITS, match.groups(), strict=True) if n}
