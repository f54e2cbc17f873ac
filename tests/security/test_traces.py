"""Traces are sent for the share that is asked for; a collector that is away holds nothing up."""

import json
import shutil
import socket
import urllib.request
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests.security.test_canary import collector, spans_of  # noqa: F401  # a fixture
from tests.test_api_worker import PATIENCE, free_port, get, until
from tests.test_ending import start

TRACES = 64
SHARE = 0.25


@contextmanager
def traced(home, url, **settings):
    """The port of a server that sends traces there; it has ended by itself after the block."""
    port = free_port()
    environment = {"NICHEGRAPH_TRACES_URL": url, **settings}
    server = start(home, port, environment)
    try:
        until(lambda: get(port, "/ready"))
        yield port
        server.terminate()
        assert server.wait(PATIENCE) == 0
    finally:
        server.kill()
        server.wait(PATIENCE)


def ask(port, trace, flags):
    """A request of a caller whose trace has this id, and who says whether it is sampled."""
    headers = {"traceparent": f"00-{trace:032x}-{1:016x}-{flags}"}
    address = f"http://127.0.0.1:{port}/v1/users/reader-1/recommendations?n=2"
    request = urllib.request.Request(address, headers=headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return len(json.load(answer)["items"])


def test_the_share_of_traces_is_chosen_by_their_ids_and_by_no_caller(
    planted_home,
    tmp_path,
    collector,
):
    """Of ids spread evenly over their lower half, those in the lowest quarter; whatever flag."""
    home = shutil.copytree(planted_home.folder, tmp_path / "home")
    ids = [(7 << 64) + (2 * k + 1) * 2**64 // (2 * TRACES) for k in range(TRACES)]
    url = f"http://127.0.0.1:{collector.server_port}/v1/traces"
    with traced(home, url, NICHEGRAPH_TRACES_SHARE=str(SHARE)) as port:
        for number, trace in enumerate(ids):
            assert ask(port, trace, f"0{number % 2}") == 2
    arrived = SimpleNamespace(traces=list(collector.arrived))
    sent = {int(span.trace_id.hex(), 16) for span in spans_of(arrived)}
    assert sent & set(ids) == set(ids[: round(TRACES * SHARE)])


@pytest.mark.parametrize("away", ["nobody listens", "it never answers"])
def test_while_the_collector_is_away_answers_come_and_the_server_ends(planted_home, tmp_path, away):
    home = shutil.copytree(planted_home.folder, tmp_path / "home")
    with socket.socket() as collecting:
        collecting.bind(("127.0.0.1", 0))
        if away == "it never answers":
            collecting.listen()
        url = f"http://127.0.0.1:{collecting.getsockname()[1]}/v1/traces"
        with traced(home, url) as port:
            assert [ask(port, trace, "01") for trace in range(1, TRACES)] == [2] * (TRACES - 1)
            if away == "it never answers":
                collecting.settimeout(PATIENCE)
                held, _ = collecting.accept()  # the spans are on their way, and wait for ever
                with held:
                    assert [ask(port, trace, "01") for trace in range(1, TRACES)] == [2] * (
                        TRACES - 1
                    )
