"""A server that is gone, slow or refuses: every call ends, says what to check, and recovers."""

import socket
import threading
import time

import pytest
from neo4j_fixture import address, store  # noqa: F401 - fixtures
from store_contract import events, facts
from tcp_proxy import TcpProxy

from graph.errors import StoreAway
from graph.stores import neo4j_faults
from graph.stores.circuit import CircuitBreaker
from graph.stores.deadline import within
from graph.stores.neo4j_store import Neo4jStore

GRACE = 4.0  # seconds past a deadline that a busy machine may need to say so


@pytest.fixture
def proxy(address):
    proxy = TcpProxy(int(address.uri.rsplit(":", 1)[1]))
    yield proxy
    proxy.close()


def ends_with_a_sentence(call, deadline, says):
    begun = time.monotonic()
    with pytest.raises(StoreAway, match=says):
        call()
    assert time.monotonic() - begun < deadline + GRACE


@pytest.mark.neo4j
@pytest.mark.parametrize("mode", ["refuse", "reset", "hang", "slow"])
@pytest.mark.parametrize("connected", [False, True], ids=["new", "connected"])
def test_a_call_ends_within_its_deadline_and_all_is_well_soon_after(
    address, store, proxy, mode, connected
):
    """Whether the fault is met on connecting or on an open connection, for reads and writes."""
    through = address.store(proxy.uri, deadline=2.0, bulk_deadline=2.0)
    through._has_schema = True
    store.apply(events(("a", "x")))
    store.read("events")  # a server just started plans a statement more slowly than 2 s
    if connected:
        through.ping()
    proxy.become(mode)
    for call in (
        through.watermark,
        lambda: through.apply(events(("b", "y")), name="n"),
        lambda: through.read("events"),
    ):
        ends_with_a_sentence(call, 2.0, "check|recently")
    refused = time.monotonic()
    with pytest.raises(StoreAway, match="has not answered recently"):
        through.ping()
    assert time.monotonic() - refused < 0.5, "the breaker stops the queue"
    proxy.become("pass")
    back = time.monotonic()
    while True:
        try:
            through.apply(events(("b", "y")), name="n")
            break
        except StoreAway:
            assert time.monotonic() - back < 10
            time.sleep(0.2)
    assert len(facts(store, "events")) == 2
    through.close()


@pytest.mark.neo4j
@pytest.mark.parametrize("after", [50, 700, 5000])
def test_a_result_cut_in_the_middle_is_an_error_and_never_a_part(address, store, proxy, after):
    store.apply(events(*((f"user {k}", f"item {k % 50}") for k in range(2000))))
    through = address.store(proxy.uri)
    through.ping()
    proxy.become("cut", cut_after=after)
    ends_with_a_sentence(lambda: through.read("events"), 20.0, "check that the server runs")
    proxy.become("pass")
    assert through.read("events").num_rows == 2000
    through.close()


@pytest.mark.neo4j
def test_a_write_cut_before_its_answer_can_be_sent_again(address, store, proxy):
    batch = events(*((f"u{k}", f"i{k}") for k in range(50)))
    store.apply(events(("a", "x")))
    through = address.store(proxy.uri)
    through._has_schema = True
    for after in (0, 100, 200, 400, 800):
        through.ping()
        proxy.become("cut", cut_after=after)
        with pytest.raises(StoreAway):
            through.apply(batch, name="cut")
            through.apply(batch, name="cut again")
            through.read("events")
        proxy.become("pass")
    through.apply(batch, name="cut")
    assert len(facts(through, "events")) == 51
    through.close()


@pytest.mark.neo4j
def test_a_server_that_hangs_and_comes_back(address, store):
    """The process is stopped, not the network."""
    if address.server is None:
        pytest.skip("the server was given by NEO4J_TEST_URI: it is not ours to stop")
    quick = address.store(deadline=2.0)
    quick.ping()
    address.server.suspend()
    try:
        ends_with_a_sentence(quick.ping, 2.0, "did not answer within 2 s")
        address.server.resume()
        back = time.monotonic()
        while True:
            try:
                quick.ping()
                break
            except StoreAway:
                assert time.monotonic() - back < 10
                time.sleep(0.2)
    finally:
        address.server.resume()
        quick.close()


@pytest.mark.neo4j
def test_a_wrong_password_and_a_wrong_database_are_said_in_one_sentence(address):
    # Three wrong passwords in a row lock the user out for seconds: one is enough here.
    wrong = Neo4jStore(address.uri, address.user, "not the password", deadline=20.0)
    with pytest.raises(StoreAway, match="NICHEGRAPH_NEO4J_PASSWORD"):
        wrong.ping()
    wrong.close()
    elsewhere = Neo4jStore(address.uri, address.user, address.password, "other", deadline=20.0)
    with pytest.raises(StoreAway, match="'other'.*NICHEGRAPH_NEO4J_DATABASE") as caught:
        elsewhere.ping()
    assert "\n" not in str(caught.value)
    elsewhere.close()


def test_what_is_no_neo4j_is_said_to_be_none():
    """An HTTP server behind the address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    client.recv(100)
                    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        store = Neo4jStore(f"bolt://127.0.0.1:{listener.getsockname()[1]}", "neo4j", "x")
        with pytest.raises(StoreAway, match="address|port"):
            store.ping()
        store.close()
        listener.shutdown(socket.SHUT_RDWR)


def test_an_address_that_cannot_be_used_is_said():
    with pytest.raises(StoreAway, match="nonsense://here"):
        Neo4jStore("nonsense://here", "neo4j", "x").ping()


@pytest.mark.parametrize(
    ("agent", "fine"),
    [
        ("Neo4j/5.26.31", True),
        ("Neo4j/2026.07.1", True),
        ("Neo4j/5.25.1", False),
        ("Neo4j/4.4.40", False),
        ("Memgraph/3.0", False),
        ("", False),
    ],
)
def test_only_supported_versions_are_used(agent, fine):
    sentence = neo4j_faults.unsupported("bolt://here", agent)
    assert (sentence is None) == fine
    assert fine or "5.26" in sentence


@pytest.mark.parametrize("code", neo4j_faults._BY_CODE)
def test_every_known_refusal_names_the_server_and_the_remedy_in_one_sentence(code):
    says = neo4j_faults.away("bolt://here", database="d", code=code, kind="ClientError", text="x")
    assert says.startswith("Neo4j at bolt://here (database 'd') ")
    assert "\n" not in says and "Neo." not in says


def test_an_unknown_refusal_keeps_the_servers_words():
    says = neo4j_faults.away("u", database="d", code="Neo.X", kind="E", text="line one\nline two")
    assert "Neo.X: line one" in says and "two" not in says


def test_the_breaker_opens_after_failures_tries_once_a_pause_and_closes():
    now = [100.0]
    breaker = CircuitBreaker(failures=2, pause=5.0, clock=lambda: now[0])
    breaker.failed()
    assert breaker.wait() == 0
    breaker.failed()
    assert breaker.wait() == 5.0
    now[0] += 5
    assert breaker.wait() == 0, "one may try"
    assert breaker.wait() == 5.0, "the others wait for it"
    breaker.succeeded()
    assert breaker.wait() == breaker.wait() == 0


def test_work_that_gets_on_is_not_given_up_and_work_that_does_not_is():
    given_up = threading.Event()

    def slow_but_steady(tick):
        for _ in range(6):
            time.sleep(0.1)
            tick()
        return "done"

    assert within(0.4, slow_but_steady, given_up.set) == "done"
    assert not given_up.is_set()
    with pytest.raises(TimeoutError):
        within(0.2, lambda _: given_up.wait(5), given_up.set)
    assert given_up.wait(1)
    with pytest.raises(ZeroDivisionError):
        within(1, lambda _: 1 // 0, given_up.set)
