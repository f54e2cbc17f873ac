"""Traces by OpenTelemetry: a span for each request, sent to a collector by OTLP over HTTP.

Only where `traces_url` is set; then the extra `traces` is needed. A span tells what a log line of a
request tells (`api/answered_log.py`), and continues the caller's trace if there is a `traceparent`.
Whether it is sent is decided by the trace's id alone, so no caller can turn traces on.
"""

import logging
import sys
import threading
import time
from importlib.metadata import version
from multiprocessing import util
from typing import TYPE_CHECKING

from flask import Flask, Response, request

from api.answered_log import about
from api.metrics import BEGAN
from api.observability import ServerLines
from api.settings import Settings
from graph.errors import SettingError
from graph.extras import missing_extra
from recommender.serving.live import Live

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

PARENT = "nichegraph.parent"
SEND_EVERY = 1_000  # milliseconds
SEND_SECONDS = 2.0  # that sending may take, also at the end of a worker
NAMES = {  # of a log line -> of a span
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "release": "nichegraph.release",
    "request_id": "nichegraph.request_id",
    "lists": "nichegraph.lists",
    "first": "nichegraph.first_request_id",
    "key": "nichegraph.key",
}


def check(settings: Settings) -> None:
    """Refuse what would not work, before a worker starts.

    Raises:
        SettingError: `traces_url` is not the address of a collector.
        MissingExtra: the extra `traces` is not installed.
    """
    if not settings.traces_url:
        return
    if not settings.traces_url.startswith(("http://", "https://")):
        raise SettingError(
            f"setting 'traces_url': {settings.traces_url!r} is not an address; name a collector's "
            "path for traces, such as http://127.0.0.1:4318/v1/traces"
        )
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace  # noqa: F401
    except ModuleNotFoundError as error:
        raise (missing_extra(error) or error) from error


def register(app: Flask, live: Live, settings: Settings) -> None:
    """Trace the requests of an application; to be registered before `metrics`."""
    check(settings)
    if not settings.traces_url:
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    provider = _provider(settings)
    util.Finalize(None, _end, [provider], exitpriority=1)  # a worker's last spans
    tracer = provider.get_tracer("nichegraph")
    parents = TraceContextTextMapPropagator()

    @app.after_request
    def _trace(response: Response) -> Response:
        fields = about(response, live)
        seconds = time.perf_counter() - request.environ[BEGAN]
        span = tracer.start_span(
            f"{fields['method']} {fields['route']}",
            parents.extract({"traceparent": request.headers.get("traceparent", "")}),
            SpanKind.SERVER,
            {NAMES[name]: fields[name] for name in fields.keys() & NAMES.keys()},
            start_time=time.time_ns() - round(seconds * 1e9),
        )
        if response.status_code >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()
        return response


def _end(provider: "TracerProvider") -> None:
    """Send what waits; a collector that is away holds no worker up."""
    sending = threading.Thread(target=provider.shutdown, daemon=True)
    sending.start()
    sending.join(SEND_SECONDS)


def _provider(settings: Settings) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(ServerLines(settings.log_format))
    logger = logging.getLogger("opentelemetry")
    logger.handlers, logger.propagate = [lines], False
    resource = Resource.create(
        {"service.name": "nichegraph", "service.version": version("nichegraph")}
    )
    provider = TracerProvider(TraceIdRatioBased(settings.traces_share), resource)
    exporter = OTLPSpanExporter(settings.traces_url, timeout=SEND_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_EVERY))
    return provider
