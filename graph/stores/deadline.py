"""Ends a call that makes no progress, whatever the library underneath is waiting for."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
Tick = Callable[[], None]


def within(seconds: float, work: Callable[[Tick], Answer], give_up: Callable[[], None]) -> Answer:
    """What `work` returns or raises; it must call its argument each time it made progress.

    The work runs in a thread of its own. If it makes no progress for `seconds`, or the caller is
    interrupted, `give_up` is called, which should make the work fail soon. Neither `give_up` nor
    the thread is waited for.

    Raises:
        TimeoutError: no progress for `seconds`.
    """
    done = threading.Event()
    answers: list[Answer] = []
    errors: list[BaseException] = []
    latest = time.monotonic()

    def tick() -> None:
        nonlocal latest
        latest = time.monotonic()

    def run() -> None:
        try:
            answers.append(work(tick))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        while not done.wait(max(latest + seconds - time.monotonic(), 0.001)):
            if time.monotonic() - latest >= seconds:
                raise TimeoutError  # noqa: TRY301 - the interrupted caller goes the same way
    except BaseException:
        threading.Thread(target=give_up, daemon=True).start()
        raise
    if errors:
        raise errors[0]
    return answers[0]
