"""What a refresh reports, with time and memory of each step: for people, logs and reports."""

import resource
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recommender.learning.report import Step

STEPS = (
    "taking a snapshot", "weighing", "training", "choosing how the item table is made",
    "fitting the trial", "fitting the item table", "learning where new items belong",
    "grouping the users", "learning a profile for each segment", "writing the release", "judging",
)  # fmt: skip
"""How a line begins that starts a step; other lines say more about the step under way."""
CHOOSING = "choosing how the item table is made"  # a step of refreshes that keep nothing
KINDS = {"choosing again": True, "keeping what was chosen": False}
"""How a line begins that says which kind of refresh this is."""
Run = Sequence[tuple[str, float]]  # the steps of a refresh and their seconds


class Recording:
    """Passes on each line and keeps what each step took."""

    def __init__(self, tell: Callable[[str], None], before: Sequence[Run] = ()):
        """`before`: earlier refreshes, the newest first, to estimate the time left."""
        self._tell, self._runs = tell, [dict(run) for run in before]
        self._before = self._runs[0] if self._runs else {}
        self._name, self._began = "", (time.monotonic(), time.process_time())
        self._steps: list[Step] = []

    def __call__(self, text: str) -> None:
        """Take a line that starts a step, or one about the step under way."""
        name = next((step for step in STEPS if text.startswith(step)), None)
        if name:
            self._end()
            self._name = name
        for line, chooses in KINDS.items():
            if text.startswith(line):
                alike = (run for run in self._runs if (CHOOSING in run) == chooses)
                self._before = next(alike, {})
        self._tell(text + self._left())

    def steps(self) -> "list[Step]":
        """The steps so far; the one under way ends here."""
        self._end()
        return self._steps

    def _end(self) -> None:
        from recommender.learning.report import Step

        now = time.monotonic(), time.process_time()
        if self._name:
            wall, processor = (round(b - a, 3) for a, b in zip(self._began, now, strict=True))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            self._steps.append(Step(self._name, wall, processor, peak))
        self._name, self._began = "", now

    def _left(self) -> str:
        """On a terminal, how long the rest took the last time that a refresh did the same steps."""
        if self._name not in self._before or not sys.stderr.isatty():
            return ""
        names = list(self._before)
        rest = names[names.index(self._name) + 1 :]
        own = self._before[self._name] - (time.monotonic() - self._began[0])
        left = max(own, 0.0) + sum(self._before[step] for step in rest)
        return f" (about {left:.0f} s left)"
