"""One refresh at a time: a lease that is renewed while it is held, with a number that fences.

Each lease has the next number. It ends with the block, when its process is gone, or when it was not
renewed for `EXPIRY` seconds, for example because the process was stopped. Another refresh may then
take it; the first one notices before it publishes, because `fence` compares the numbers.
"""

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from graph.durable import locked, replace_file, sync
from graph.errors import ReleaseError
from graph.explore.copies import is_running
from recommender.releases.home import Home

EXPIRY = 180.0  # seconds without renewal after which a lease is over
RENEWALS = 10  # in that time
LEASE, LEASE_LOCK = "lease.json", ".lease.lock"
FREE = ".lease.free"  # takes the lease's place at its end: written before, as disks fill meanwhile

Fence = Callable[[], None]


@contextlib.contextmanager
def leased(
    home: Home, *, clock: Callable[[], float], wait: bool = False, expiry: float = EXPIRY
) -> Iterator[Fence]:
    """Hold the lease of a home's refreshes; gives what must be called before publishing.

    Args:
        home: of the catalogue.
        clock: seconds since 1970.
        wait: until another holder ends; otherwise another holder is an error.
        expiry: seconds without renewal after which others may take it.

    Raises:
        ReleaseError: another refresh holds it: says which process, where and since when. The
            fence raises one when another refresh has taken the lease over.
    """
    number = _take(home, clock, wait=wait, expiry=expiry)
    over = threading.Event()
    keeper = threading.Thread(target=_renew, args=(home, number, clock, over, expiry), daemon=True)
    keeper.start()
    try:
        yield lambda: _check(home, number)
    finally:
        over.set()
        keeper.join()
        with locked(home.releases / LEASE_LOCK):
            if _read(home)["number"] == number:
                (home.releases / FREE).replace(home.releases / LEASE)  # the number goes on
                sync(home.releases)


def holder(home: Home, *, clock: Callable[[], float], expiry: float = EXPIRY) -> str | None:
    """Who refreshes now and since when, in words; None: nobody."""
    lease = _read(home)
    if "process" not in lease:
        return None
    if lease["host"] == platform.node() and not is_running(int(lease["process"])):
        return None
    if abs(clock() - float(lease["renewed"])) > expiry:  # in either direction: clocks jump
        return None
    since = datetime.fromtimestamp(float(lease["since"]), UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"process {lease['process']} on {lease['host']} since {since} UTC"


def _take(home: Home, clock: Callable[[], float], *, wait: bool, expiry: float) -> int:
    home.releases.mkdir(parents=True, exist_ok=True)
    while True:
        with locked(home.releases / LEASE_LOCK):
            refresher = holder(home, clock=clock, expiry=expiry)
            if refresher is None:
                number, moment = int(_read(home)["number"]) + 1, clock()
                facts = {"process": os.getpid(), "host": platform.node()}
                _write(home, {"number": number}, FREE)
                _write(home, {"number": number, **facts, "since": moment, "renewed": moment})
                return number
        if not wait:
            raise ReleaseError(
                f"a refresh is under way: {refresher}; --wait waits for it, or stop that process"
            )
        time.sleep(min(1.0, expiry / RENEWALS))


def _renew(
    home: Home, number: int, clock: Callable[[], float], over: threading.Event, expiry: float
) -> None:
    while not over.wait(expiry / RENEWALS):
        with contextlib.suppress(OSError), locked(home.releases / LEASE_LOCK):
            lease = _read(home)
            if lease["number"] != number:
                return  # overtaken: the fence stops it
            _write(home, lease | {"renewed": clock()})


def _check(home: Home, number: int) -> None:
    lease = _read(home)
    if lease["number"] != number:
        raise ReleaseError(
            "this refresh was overtaken: it gave no sign of life for too long, and another one "
            "took over (lease "
            f"{lease['number']} in place of {number}); it publishes nothing"
        )


def _read(home: Home) -> dict[str, Any]:
    try:
        lease: dict[str, Any] = json.loads((home.releases / LEASE).read_text(encoding="utf-8"))
        int(lease["number"])
    except (OSError, ValueError, KeyError, TypeError):
        return {"number": 0}
    return lease


def _write(home: Home, lease: dict[str, Any], name: str = LEASE) -> None:
    replace_file(home.releases / name, json.dumps(lease))
