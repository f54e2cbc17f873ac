"""A real server with more requests than it may have under way, and with bodies that never come."""

import shutil
import socket
import threading
import urllib.error
from contextlib import ExitStack

import pytest

from api.settings import load_settings
from api.under_way import UnderWay
from tests.test_api_worker import get, served, until
from tests.test_prometheus import scraped, value

REFUSED, IN_FLIGHT = "nichegraph_refused_total", "nichegraph_requests_in_flight"
HEAD = (
    "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)
EVENT = b'{"user": "ann", "item": "x"}'


def status(port, path, body=None):
    try:
        get(port, path, body)
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Retry-After")
    return 200, None


def test_who_waits_for_a_seat_gets_it_in_turn(tmp_path):
    room = UnderWay(load_settings(tmp_path, threads=1, max_in_flight=4))
    order = []

    def sit(number):
        assert room.enter()
        order.append(number)
        room.leave()

    assert room.enter()
    waiting = [threading.Thread(target=sit, args=(number,)) for number in range(3)]
    for number, thread in enumerate(waiting, 1):
        thread.start()
        until(lambda number=number: len(room._seats._waiting) == number)
    assert not room.enter()  # no place
    room.leave()
    for thread in waiting:
        thread.join()
    assert order == [0, 1, 2]
    assert room.enter()


@pytest.fixture
def few(planted_home, tmp_path, monkeypatch):
    """A worker that works on one request at a time, and lets three in."""
    monkeypatch.setenv("NICHEGRAPH_MAX_IN_FLIGHT", "3")
    monkeypatch.setenv("NICHEGRAPH_THREADS", "1")
    monkeypatch.setenv("NICHEGRAPH_CACHE_BYTES", "0")
    home = shutil.copytree(planted_home.folder, tmp_path / "home")
    with served(home, "--workers", "1") as port:
        until(lambda: get(port, "/ready"))
        yield port


def test_beyond_so_many_requests_the_answer_is_503_and_the_others_are_answered(few):
    many = {"subjects": [{"user": f"reader-{k}", "n": 100} for k in range(40)]}
    answers = []

    def ask():
        answers.append(status(few, "/v1/recommendations", many))

    asking = [threading.Thread(target=ask) for _ in range(20)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    refused = answers.count((503, "1"))
    assert answers.count((200, None)) + refused == 20
    assert answers.count((200, None)) >= 3
    assert refused
    assert value(scraped(few), REFUSED, why="in_flight") == refused


def test_bodies_that_never_come_hold_nobody_up_and_other_bodies_for_as_many_only(few):
    event = {"user": "ann", "item": "x"}
    with ExitStack() as sockets:

        def begin():
            stuck = sockets.enter_context(socket.create_connection(("127.0.0.1", few)))
            stuck.sendall(HEAD.format(length=len(EVENT)).encode() + EVENT[:1])
            return stuck

        stuck = [begin() for _ in range(3)]
        until(lambda: value(scraped(few), IN_FLIGHT) == 4)  # with the question itself
        until(lambda: status(few, "/v1/events", event) == (503, "1"))
        for _ in range(5):
            begin()
        assert len(get(few, "/v1/users/reader-1/recommendations?n=3")["items"]) == 3
        assert status(few, "/v1/popular") == (200, None)
        stuck[0].sendall(EVENT[1:])  # it comes after all
        assert b"202" in stuck[0].recv(100)
        until(lambda: status(few, "/v1/events", event) == (200, None))
    until(lambda: status(few, "/v1/events", event) == (200, None))
