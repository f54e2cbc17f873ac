"""The process that writes acknowledged facts into the store: `serve` starts and watches it.

It is the only one that talks to the store while the service runs. If several servers share a home,
the drainer of one has the lease and drains; the others' drainers wait for the lease. A drainer
ends with its server.
"""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from api.bootstrap import note, now, open_carrier, open_home, open_journal, open_store
from api.observability import log, set_format
from api.settings import Settings, load_settings
from graph.errors import NichegraphError, StoreError
from recommender.inbox.drain import drain, lease
from recommender.inbox.journal import TRIMMED
from recommender.inbox.lag import DrainState, read_state, tell_state
from recommender.releases.audit import lines
from recommender.releases.home import Home
from recommender.releases.publishing import oldest_heard

if TYPE_CHECKING:
    from graph.store import GraphStore
    from recommender.inbox.drain import Carry
    from recommender.inbox.journal import Journal

PAUSE = 0.5  # seconds between looks; facts that come meanwhile share a transaction
LONGEST_PAUSE = 5.0  # seconds between attempts while the store is away
TIDY_SECONDS = 60.0
BEAT = b"."
STALLED = (
    180.0  # seconds without a beat after which a drainer is killed; calls have shorter deadlines
)
GRACE = 8.0  # seconds that it has to end by itself


def main() -> None:
    """Drain until the server's end of the pipe closes; settings come from the environment."""
    settings = load_settings()
    set_format(settings.log_format)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_wait_for_the_end, args=(stop,), daemon=True).start()
    with contextlib.suppress(OSError):
        os.nice(5)  # answers come first
    home, problem = open_home(settings), None
    while not stop.is_set():
        try:
            with lease(home.inbox) as mine:
                if mine:
                    _drain_on(settings, home, stop)
                else:
                    _beat()
            problem, pause = None, PAUSE
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES):
                raise
            if str(error) != problem:
                log("the home is not writable", problem=error)
            problem, pause = str(error), LONGEST_PAUSE
            _beat()
        stop.wait(pause)


def _wait_for_the_end(stop: threading.Event) -> None:
    while os.read(0, 1024):  # not through `sys.stdin`, whose lock an ending interpreter wants
        pass
    stop.set()
    time.sleep(GRACE)
    os._exit(0)  # whatever it is waiting for; the next drainer begins where the store stands


def _drain_on(settings: Settings, home: Home, stop: threading.Event) -> None:
    """Drain while the lease holds."""
    journal = open_journal(settings)
    store: GraphStore | None = None
    pause, problem, tidied = PAUSE, None, float("-inf")
    log("drainer started", store=settings.store)
    noted = max((line["upto"] for line in lines(home.audit) if line["what"] == "write"), default=0)
    while not stop.is_set():
        _beat()
        try:
            if store is None:
                store = open_store(settings)
                carry = open_carrier(settings, journal, store)
            position, behind = _catch_up(journal, store, home, carry, stop)
            if problem is not None:
                log("store is back", position=position)
            pause, problem = PAUSE, None
            noted = _audit(home, noted, position)
            if time.monotonic() - tidied > TIDY_SECONDS:
                _tidy(home, journal, position, now() - round(settings.session_minutes * 60))
                tidied = time.monotonic()
            if behind:
                continue
        except NichegraphError as error:
            if str(error) != problem:
                log("store accepts nothing", problem=error)
            problem = str(error)
            pause = min(2 * pause, LONGEST_PAUSE)
            before = read_state(home.inbox)
            position = before.position if before else 0
            resting = store is not None and store.resting
            tell_state(home.inbox, DrainState(position, now(), problem, resting))
            if store is not None and not isinstance(error, StoreError):
                store.close()
                store = None
        stop.wait(pause)
    if store is not None:
        store.close()
    journal.close()


def _catch_up(
    journal: "Journal", store: "GraphStore", home: Home, carry: "Carry", stop: threading.Event
) -> tuple[int, bool]:
    """Write facts that wait, but come back now and then although new ones keep coming.

    Gives the position that the store has reached, and whether facts may wait still.
    """
    ends = time.monotonic() + PAUSE
    while True:
        done = drain(journal, store, now=now, carry=carry)
        _beat()
        if done.refused:
            log("facts set aside", count=done.refused, remedy="nichegraph inbox list")
        if not done.facts or stop.is_set() or time.monotonic() >= ends:
            break
    tell_state(home.inbox, DrainState(done.position, now(), None))
    return done.position, done.facts > 0


def _audit(home: Home, noted: int, position: int) -> int:
    """Note which facts the store has taken since the last time; gives the last position noted."""
    if position > noted:
        with contextlib.suppress(OSError):  # a full disk: it is noted later
            note(home, "write", after=noted, upto=position)
            return position
    return noted


def _tidy(home: Home, journal: "Journal", position: int, before: int) -> None:
    """Remove the facts that the store has and every release knows of; no session needs them."""
    upto = min(position, oldest_heard(home, journal.identity()))
    while journal.trim(upto, before) == TRIMMED:
        _beat()


def _beat() -> None:
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(BEAT)
        sys.stdout.buffer.flush()


# ── the server's side ────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def watched() -> Iterator[Callable[[], None]]:
    """Keep a drainer running during the block: restart it when it dies, kill it when it stalls.

    Gives a function that tells it to end before the block does. It is gone `GRACE` seconds later.
    """
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stop,), daemon=True)
    watcher.start()
    try:
        yield stop.set
    finally:
        stop.set()
        watcher.join(GRACE + PAUSE)


def _watch(stop: threading.Event) -> None:
    pause = PAUSE
    while not stop.is_set():
        began = time.monotonic()
        code = _run_once(stop)
        if stop.is_set():
            return
        pause = PAUSE if time.monotonic() - began > LONGEST_PAUSE else min(2 * pause, LONGEST_PAUSE)
        log("drainer ended", code=code, again_in=pause)
        stop.wait(pause)


def _run_once(stop: threading.Event) -> int:
    """Run a drainer until it ends or the server does; its exit code."""
    with subprocess.Popen(
        [sys.executable, "-m", "api.drainer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        beaten = [time.monotonic()]
        threading.Thread(target=_listen, args=(process, beaten), daemon=True).start()
        while process.poll() is None and not stop.wait(PAUSE):
            if time.monotonic() - beaten[0] > STALLED:
                log("drainer stalled", seconds=STALLED)
                process.kill()
        if process.stdin is not None:
            process.stdin.close()  # this tells it that the server ends, even if we are killed
        try:
            return process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _listen(process: "subprocess.Popen[bytes]", beaten: list[float]) -> None:
    if process.stdout is not None:
        while process.stdout.read(1):
            beaten[0] = time.monotonic()


if __name__ == "__main__":
    main()
