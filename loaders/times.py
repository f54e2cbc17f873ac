"""Reads times: numbers by the form of their column, and dates written as text.

A number alone does not tell what it is: 2001 can be a year, or half an hour into 1970. So all the
numbers of a column decide its form (`Forms`); a single number without a column goes by its size.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from graph.arrays import F64, Flags

DAY = 86_400
A_YEAR = 365 * DAY
EARLIEST = -30_610_224_000  # the year 1000
READ = (
    "2020-01-31, 2020-01-31T12:00:00Z, 2020-01, 20200131, 2020, and seconds, milliseconds, "
    "microseconds or nanoseconds since 1970"
)
"""The times that can be read, in words."""


def _years(values: F64) -> F64:
    fine = (values == np.floor(values)) & (values >= 1000) & (values <= 9999)
    years = np.where(fine, values, 1970).astype(np.int64) - 1970
    seconds = years.astype("datetime64[Y]").astype("datetime64[s]").astype(np.float64)
    return np.where(fine, seconds, np.nan)


def _compact(values: F64) -> F64:
    fine = (values == np.floor(values)) & (values >= 10_000_101) & (values <= 99_991_231)
    days_written = np.where(fine, values, 19_700_101).astype(np.int64)
    years, months, days = days_written // 10_000, days_written // 100 % 100, days_written % 100
    fine &= (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    month = ((years - 1970) * 12 + np.clip(months, 1, 12) - 1).astype("datetime64[M]")
    date = month.astype("datetime64[D]") + (days - 1)
    fine &= date.astype("datetime64[M]") == month  # no 30th of February
    return np.where(fine, date.astype("datetime64[s]").astype(np.float64), np.nan)


def _units(unit: float) -> Callable[[F64], F64]:
    return lambda values: values / unit


FORMS: dict[str, Callable[[F64], F64]] = {
    "years": _years,
    "dates as yyyymmdd": _compact,
    "seconds": _units(1),
    "milliseconds": _units(1e3),
    "microseconds": _units(1e6),
    "nanoseconds": _units(1e9),
}
"""Name -> a function from numbers to seconds since 1970; NaN for numbers not of that form."""


class Forms:
    """Counts how many numbers of a column make sense in each form."""

    def __init__(self, latest: int) -> None:
        """`latest`: seconds since 1970; later times make no sense."""
        self._latest = latest
        self._fits = dict.fromkeys(FORMS, 0)

    def add(self, values: F64) -> None:
        """Look at some more numbers."""
        values = values[np.isfinite(values)]
        for name, read in FORMS.items():
            seconds = read(values)
            fits = (seconds >= EARLIEST) & (seconds <= self._latest)
            if name not in ("years", "dates as yyyymmdd"):
                fits &= ~around_1970(seconds)
            self._fits[name] += int(fits.sum())

    @property
    def best(self) -> str | None:
        """The form in which most numbers make sense, the first of equals; None without numbers."""
        best = max(FORMS, key=lambda name: self._fits[name])
        return best if self._fits[best] else None


def around_1970(seconds: F64) -> Flags:
    """(n,) True for times within a year of 1970, where a number is hardly meant as a time."""
    return np.abs(seconds) < A_YEAR


def by_size(times: F64) -> F64:
    """Seconds from milliseconds (1e11, in 1973, and more), microseconds or nanoseconds."""
    for smallest, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
        times = np.where((times >= smallest) & np.isfinite(times), times / unit, times)
    return times


def dates(texts: list[Any]) -> tuple[F64, Flags]:
    """(n,) seconds of ISO 8601 texts, in UTC if they name no zone, and which could be read."""
    import pandas as pd  # a server that takes events starts without it

    stamped = pd.to_datetime(
        pd.Series(texts, dtype=object), format="ISO8601", utc=True, errors="coerce"
    )
    read = stamped.notna().to_numpy()
    stamps = stamped.dt.tz_convert(None).to_numpy().astype("datetime64[us]").astype(np.int64)
    return np.where(read, stamps / 1e6, np.nan), read
