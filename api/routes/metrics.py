"""`/metrics`: what the workers have counted, and how the home stands, for Prometheus."""

from collections.abc import Iterator

import prometheus_client as prometheus
from flask import Flask, Response
from prometheus_client.core import GaugeMetricFamily, Metric

from api import metrics
from api.bootstrap import now
from api.inputs import checked, from_here_or_with
from api.schemas import NoQuery
from graph.errors import NichegraphError
from recommender.inbox.erasing import open_erasures
from recommender.inbox.journal import Journal
from recommender.inbox.lag import lag, read_state
from recommender.serving.live import Live

DRAINER_SEEN = 30  # seconds without news of the drainer, after which it counts as gone
HOME = {  # gauges of the home, the same whichever worker is asked
    "nichegraph_release_info": "The release that is served, by its name.",
    "nichegraph_release_age_seconds": "How long ago the release that is served was made.",
    "nichegraph_inbox_open": "Whether writes are accepted.",
    "nichegraph_inbox_waiting": "Facts that were acknowledged and wait for the store.",
    "nichegraph_inbox_oldest_seconds": "How long the oldest of them waits.",
    "nichegraph_inbox_bytes": "Size of the journal.",
    "nichegraph_quarantine_facts": "Facts that the store refused; `nichegraph inbox list`.",
    "nichegraph_drainer_up": f"Whether the drainer gave a sign of life within {DRAINER_SEEN} s.",
    "nichegraph_drainer_problem": "Whether the store accepts nothing; /ready says why.",
    "nichegraph_store_breaker_open": "Whether calls to a failing Neo4j server are paused.",
    "nichegraph_erasures_pending": "Erasures that were requested and are not finished.",
}


def register(app: Flask, live: Live, journal: Journal) -> None:
    """Add the route; it is not in the OpenAPI document, as it answers no JSON."""
    home = prometheus.CollectorRegistry(auto_describe=False)
    home.register(_Home(live, journal))

    @checked
    def tell_metrics(query: NoQuery) -> Response:
        del query
        from_here_or_with("admin")
        content = metrics.text() + prometheus.generate_latest(home)
        response = Response(content, content_type=prometheus.CONTENT_TYPE_LATEST)
        response.headers["Cache-Control"] = "private, no-store"
        return response

    app.add_url_rule("/metrics", view_func=tell_metrics)


def declared() -> set[str]:
    """The names of all metrics, as queries use them, without the parts of histograms."""
    names = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in metrics.counted.collect()
    }
    return names | set(HOME)


class _Home(prometheus.registry.Collector):
    """Reads the home at each request; what it cannot learn it leaves out."""

    def __init__(self, live: Live, journal: Journal) -> None:
        self._live, self._journal = live, journal

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        values = _release(self._live) | _inbox(self._journal)
        for name, help_text in HOME.items():
            if name not in values:
                continue
            label, value = values[name]
            gauge = GaugeMetricFamily(name, help_text, labels=["release"] if label else None)
            gauge.add_metric([label] if label else [], value)
            yield gauge


Values = dict[str, tuple[str, float]]  # metric -> label, value


def _release(live: Live) -> Values:
    try:
        release = live.recommender().release
    except NichegraphError:
        return {}
    values: Values = {"nichegraph_release_info": (release.name, 1)}
    made = release.manifest.get("created_at")
    if made is not None:
        values["nichegraph_release_age_seconds"] = ("", max(now() - made, 0))
    return values


def _inbox(journal: Journal) -> Values:
    state = read_state(journal.path)
    up = state is not None and now() - state.at <= DRAINER_SEEN
    values: dict[str, float] = {
        "drainer_up": up,
        "drainer_problem": state is not None and state.problem is not None,
        "store_breaker_open": state is not None and state.breaker_open,
        "inbox_open": False,
    }
    try:
        waits = lag(journal, now=now())
        values |= {
            "inbox_waiting": waits.waiting,
            "inbox_oldest_seconds": waits.oldest_seconds or 0,
            "inbox_bytes": waits.bytes,
            "quarantine_facts": waits.aside,
            "erasures_pending": open_erasures(journal),
            "inbox_open": journal.why_closed() is None,
        }
    except NichegraphError:
        pass  # `inbox_open` says so
    return {f"nichegraph_{name}": ("", float(value)) for name, value in values.items()}
