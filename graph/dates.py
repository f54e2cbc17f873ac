"""Turns dates and times written in ISO 8601 into seconds since 1970."""

import calendar
import datetime as dt
import re

_YEAR, _MONTH, _DAY = r"\d{4}", r"\d{4}-\d{2}", r"\d{4}-\d{2}-\d{2}"
A_DAY = 86_400


def seconds_of(text: str) -> int | None:
    """The first second of a date or time, in UTC unless the text names another zone.

    It reads `2024-12-01`, `2024-12-01T18:30`, `2024-12-01 18:30:00+01:00`, `2024-12` and `2024`.
    None for any other text.
    """
    text = text.strip()
    if re.fullmatch(_YEAR, text):
        text += "-01-01"
    elif re.fullmatch(_MONTH, text):
        text += "-01"
    if not re.match(_DAY, text):
        return None
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return int(moment.timestamp())


def last_second_of(text: str) -> int | None:
    """The last second of a day, a month or a year; a text with a time means just that second."""
    text = text.strip()
    first = seconds_of(text)
    if first is None:
        return None
    if re.fullmatch(_DAY, text):
        return first + A_DAY - 1
    year, month = int(text[:4]), int(text[5:7]) if re.fullmatch(_MONTH, text) else 12
    if re.fullmatch(_YEAR, text) or re.fullmatch(_MONTH, text):
        last = dt.datetime(
            year, month, calendar.monthrange(year, month)[1], 23, 59, 59, tzinfo=dt.UTC
        )
        return int(last.timestamp())
    return first


def is_date(text: str) -> bool:
    """Whether a text is a date down to the day, with or without a time."""
    return re.match(_DAY, text.strip()) is not None and seconds_of(text) is not None
