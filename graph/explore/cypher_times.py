"""Times as people write them: dates into seconds since 1970, and spans into words."""

import datetime as dt
import re

_SPAN = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?"
)
UNITS = ("years", "months", "weeks", "days", "hours", "minutes", "seconds")


def seconds_of(text: str) -> int | None:
    """The seconds since 1970 of a date or time in ISO 8601, in UTC unless it says otherwise.

    `2024-12-01`, `2024-12-01T18:30`, `2024-12-01 18:30:00+01:00`; also `2024-12` and `2024`.
    None for any other text.
    """
    text = text.strip()
    if re.fullmatch(r"\d{4}", text):
        text += "-01-01"
    elif re.fullmatch(r"\d{4}-\d{2}", text):
        text += "-01"
    if not re.match(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return int(moment.timestamp())


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
    """A span in ISO 8601 (`P7D`, `PT12H`) as units and how many; None for any other text."""
    match = _SPAN.fullmatch(text.strip().upper())
    if match is None or text.strip().upper() in ("P", "PT"):
        return None
    return {unit: int(n) for unit, n in zip(UNITS, match.groups(), strict=True) if n}
