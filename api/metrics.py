"""Counts of requests and answers for Prometheus, over all workers of a server together.

Each worker counts in files of one folder, which `serve` makes and names in the environment before
a worker starts; the worker that is asked adds them up. A worker's counts stay when it ends.
Without such a folder a process reports only what it counted itself.
"""

import os
import re
import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from flask import Flask, Response, g, request

from api.observability import defects
from recommender.serving.answers import origin
from recommender.serving.results import Results

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
if not os.environ.get(FOLDER) or not Path(os.environ[FOLDER]).is_dir():
    os.environ.pop(FOLDER, None)  # a missing folder would be an error at the first metric

import prometheus_client as prometheus  # noqa: E402
from prometheus_client.multiprocess import MultiProcessCollector  # noqa: E402

BEGAN = "nichegraph.began"
METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OUTCOMES = ("hits", "shared hits", "misses", "dropped")  # as `Results` counts them
REASONS = ("requests", "items", "in_flight", "large", "inbox")

counted = prometheus.CollectorRegistry()
requests = prometheus.Counter(
    "nichegraph_requests",
    "Requests that were answered.",
    ["method", "route", "status"],
    registry=counted,
)
seconds = prometheus.Histogram(
    "nichegraph_request_seconds",
    "Seconds from a request to its answer.",
    ["method", "route"],
    buckets=SECONDS,
    registry=counted,
)
in_flight = prometheus.Gauge(
    "nichegraph_requests_in_flight",
    "Requests under way, this one among them.",
    multiprocess_mode="livesum",
    registry=counted,
)
refused = prometheus.Counter(
    "nichegraph_refused",
    "Requests refused by a limit: requests or items (429); in_flight, large or inbox (503).",
    ["why"],
    registry=counted,
)
answers = prometheus.Counter(
    "nichegraph_answers",
    "Lists that were answered, by what they were made from.",
    ["served_by"],
    registry=counted,
)
fallbacks = prometheus.Counter(
    "nichegraph_fallbacks",
    "Lists that a fallback filled, or that came out shorter than asked for.",
    ["served_by"],
    registry=counted,
)
results = prometheus.Counter(
    "nichegraph_cache",
    "Lookups of kept answers (hits, shared_hits, misses), and kept answers that were dropped.",
    ["outcome"],
    registry=counted,
)
defective = prometheus.Counter(
    "nichegraph_defects",
    "Items left out of answers because of a fault in this program; its log says which.",
    registry=counted,
)
in_flight.set(0)  # an earlier process with this id may have ended in the middle of a request
for _why in REASONS:
    refused.labels(_why)
for _outcome in OUTCOMES:
    results.labels(_outcome.replace(" ", "_"))


class Counting:
    """Counts requests, whoever answers them."""

    def __init__(self, kept: Results) -> None:
        """`kept` are the answers that are kept: how often some were found is counted, too."""
        self._carry_results = _Carried(
            kept.counts, lambda name: results.labels(name.replace(" ", "_"))
        )

    def answered(self, method: str, rule: str, status: int, began: float) -> None:
        """Count a request that came at `began`, by `time.perf_counter`."""
        number, duration = _about(method, rule, status)
        number.inc()
        duration.observe(time.perf_counter() - began)
        self._carry_results()
        _carry_defects()


def register(app: Flask, kept: Results) -> Counting:
    """Count every request of an application; to be registered before all that may answer one."""
    counting = Counting(kept)

    @app.before_request
    def _begin() -> None:
        request.environ[BEGAN] = time.perf_counter()
        in_flight.inc()

    @app.after_request
    def _count(response: Response) -> Response:
        rule = request.url_rule.rule if request.url_rule is not None else "none"
        method = request.method if request.method in METHODS else "other"
        counting.answered(method, rule, response.status_code, request.environ[BEGAN])
        return response

    @app.teardown_request
    def _end(_: BaseException | None) -> None:
        if request.environ.pop(BEGAN, None) is not None:
            in_flight.dec()

    return counting


def count_answers(made: Sequence[bytes]) -> None:
    """Count lists by what they were made from; the log and traces tell their ids."""
    g.answers = made
    count_lists(made)


def count_lists(made: Sequence[bytes]) -> None:
    """Count lists by what they were made from."""
    for (served_by, fell_back), count in Tally(map(origin, made)).items():
        for counter in _of_lists(served_by, fell_back):
            counter.inc(count)


def count_refused(why: str) -> None:
    """Count a request that a limit refused; `why` is one of `REASONS`."""
    refused.labels(why).inc()


def text() -> bytes:
    """All of these metrics in Prometheus's text format, of all workers if they share a folder."""
    folder = os.environ.get(FOLDER)
    if not folder or not Path(folder).is_dir():
        return prometheus.generate_latest(counted)
    _forget_the_dead(Path(folder))
    together = prometheus.CollectorRegistry()
    MultiProcessCollector(together, folder)  # type: ignore[no-untyped-call]
    return prometheus.generate_latest(together)


def _forget_the_dead(folder: Path) -> None:
    """Stop counting the requests that were under way in workers that were killed."""
    for file in folder.glob("gauge_live*.db"):
        try:
            os.kill(int(file.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)


@cache
def template(rule: str) -> str:
    """A route as the OpenAPI document writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


@cache
def _about(method: str, rule: str, status: int) -> tuple[prometheus.Counter, prometheus.Histogram]:
    route = template(rule)
    return requests.labels(method, route, str(status)), seconds.labels(method, route)


@cache
def _of_lists(served_by: str, fell_back: bool) -> list[prometheus.Counter]:
    return [each.labels(served_by) for each in ((answers, fallbacks) if fell_back else (answers,))]


class _Carried:
    """Adds to a metric what was counted elsewhere in this process since the last call."""

    def __init__(
        self, counts: Mapping[str, int], metric: Callable[[str], prometheus.Counter]
    ) -> None:
        self._counts, self._metric = counts, metric
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()

    def __call__(self) -> None:
        if self._counts == self._seen:
            return
        with self._lock:
            for name, count in dict(self._counts).items():
                self._metric(name).inc(count - self._seen.get(name, 0))
                self._seen[name] = count


_carry_defects = _Carried(defects, lambda _: defective)
