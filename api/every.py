"""Refreshes on a schedule, one after the other; however many were missed, one is made up."""

from collections.abc import Callable

JITTER = 0.05  # at most this share of the period, so that many machines do not all begin at once
LOOK = 30.0  # seconds between two looks at the clock: it may jump, and the machine may sleep


def run_every(
    period: float,
    last: float | None,
    *,
    run: Callable[[], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
    draw: Callable[[], float],
    say: Callable[[float], None] = lambda _: None,
) -> None:
    """Run a job every `period` seconds, for ever.

    Args:
        period: seconds from the beginning of one run to the beginning of the next.
        last: when the last one began, seconds since 1970; None: never.
        run: the job. The next one begins when it has returned, never beside it.
        clock: seconds since 1970.
        sleep: waits for the given number of seconds.
        draw: 0 to 1, how much of the jitter to take.
        say: called before each wait with the time when the next run is due, seconds since 1970.

    However many runs were missed, because the machine was off or a run took too long, only one is
    made up.
    """
    due = clock() if last is None else max(last + period, clock())
    due = min(due, clock() + period)  # the clock may have been ahead when the last run began
    while True:
        begin = due + JITTER * period * draw() if due > clock() else due
        if begin > clock():
            say(begin)
        while (left := begin - clock()) > 0 and left <= (1 + JITTER) * period:
            sleep(min(left, LOOK))
        due = max(due, clock() - period) + period
        run()
        due = max(due, clock())
