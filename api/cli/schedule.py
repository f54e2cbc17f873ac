"""When `nichegraph refresh` refreshes: at a distance in time, and only where enough has changed."""

import random
import time
from collections.abc import Callable

from api.cli.output import step
from api.every import run_every
from api.reporting import last_refresh
from graph.errors import GateRefused, InputError, NichegraphError
from recommender.releases.home import Home


def for_ever(home: Home, period: float, once: Callable[[], None]) -> None:
    """Refresh at an interval; if one fails or is refused, say so and wait for the next one.

    Whatever an exception says of this run, the next one may be fine: a full disk is emptied, and
    a mistake in the code may need the data of that day to show.
    """

    def run() -> None:
        try:
            once()
        except GateRefused as error:
            step(f"refused: {error}")
        except Exception as error:  # noqa: BLE001
            kind = "" if isinstance(error, NichegraphError) else f"{type(error).__name__}: "
            step(f"failed: {kind}{error}")

    def due(moment: float) -> None:
        step(f"the next refresh is due {time.strftime('%Y-%m-%d %H:%M', time.gmtime(moment))} UTC")

    last = last_refresh(home)
    # One that was stopped goes on now: its finished steps are kept for hours only.
    began = None if last is None or last["outcome"] == "was stopped" else float(last["began"])
    run_every(
        period, began, run=run, clock=time.time, sleep=time.sleep, draw=random.random, say=due
    )


def seconds_of(text: str) -> float:
    """The seconds of a length of time such as 24h; an `InputError` says how to write it."""
    units = {"m": 60, "h": 3600, "d": 86_400}
    try:
        seconds = float(text[:-1]) * units[text[-1:]]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 60 <= seconds <= 366 * 86_400:
        raise InputError(
            f"--every: {text!r} is not a time such as 90m, 24h or 7d; it must be at least a minute"
        )
    return seconds


def share_of(text: str) -> float:
    """A share such as 5% as a number; an `InputError` says how to write it."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise InputError(f"--if-changed: {text!r} is not a share such as 5% or 0.05")
    return share
