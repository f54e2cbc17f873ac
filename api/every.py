"""Refreshes on a schedule: one after the other; missed ones are made up once."""

from collections.abc import Callable

JITTER = 0.05  # of the period at most, so that many machines do not begin at one moment
LOOK = 30.0  # seconds between two looks at the clock, which may jump and machines may sleep


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
        period: from the beginning of a run to that of the next.
        last: when the last one began, seconds since 1970; None: never.
        run: the job. The next one begins when it has returned, never beside it.
        clock: seconds since 1970.
        sleep: waits so many seconds.
        draw: 0 to 1, how much of the jitter to take.
        say: hears when the next run is due, before it is waited for.

    However many runs were missed, while the machine was off or a run took too long, one is made up.
    """
    due = clock() if last is None else max(last + period, clock())
    due = min(due, clock() + period)  # a clock that ran ahead when the last one began
    while True:
        begin = due + JITTER * period * draw() if due > clock() else due
        if begin > clock():
            say(begin)
        while (left := begin - clock()) > 0 and left <= (1 + JITTER) * period:
            sleep(min(left, LOOK))
        due = max(due, clock() - period) + period
        run()
        due = max(due, clock())
