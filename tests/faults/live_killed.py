"""A server that is written to and asked for lists while parts of it are killed.

What it acknowledged and what it answered is noted, and compared with what the store holds in the
end. Writers repeat a request until it is answered, as `docs/live.md` asks of applications.
"""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing

from recommender.inbox.lag import read_state
from tests.test_api_worker import PATIENCE, free_port, until
from tests.test_drainer import alive, children

BATCH = 500  # events of a request
USERS = 400
VERSIONS = "versioned"  # an item whose title counts how often it was put
JSON = {"Content-Type": "application/json"}


class Campaign:
    """One server on a home, with 2 workers, and everybody who asks it something."""

    def __init__(self, home, environment=()):
        self.home, self.port = home, free_port()
        self.environment = os.environ | dict(environment)
        self.acknowledged: set[str] = set()  # ids of events
        self.last = 0  # the highest number that was acknowledged
        self.versions = [0, 0]  # of the item: sent, acknowledged
        self.wrong = Counter()  # what no client should see
        self.lists: list[float] = []  # seconds that answers took
        self.undisturbed = slice(0, 0)  # those of them before the first fault
        self.statuses = Counter()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=each) for each in (self._ask, self._put, self._read)
        ]
        self._start()

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.server.terminate()
        self.server.wait(PATIENCE)

    def write(self, count):
        """Send `count` further events, until all of them are acknowledged."""
        first = len(self.acknowledged)
        for start in range(first, first + count, BATCH):
            events = [
                {
                    "user": f"live-{number // 10 % USERS}",
                    "item": _chosen(number),
                    "event_id": f"live-{number}",
                }
                for number in range(start, min(start + BATCH, first + count))
            ]
            answer = self._until_answered("POST", "/v1/events", {"events": events})
            if answer["refused"]:
                self.wrong["refused"] += answer["refused"]
            self.acknowledged |= {event["event_id"] for event in events}
            self.last = max(self.last, answer["sequence"])

    def write_undisturbed(self, count):
        """The same, before the first fault: how long lists take meanwhile is what is normal."""
        self.write(BATCH)  # the first answers of a worker are slower
        first = len(self.lists)
        self.write(count - BATCH)
        self.undisturbed = slice(first, len(self.lists))

    def p99s(self):
        """Seconds that all but a hundredth of the lists took: before the first fault, and since."""
        normal, since = self.lists[self.undisturbed], self.lists[self.undisturbed.stop :]
        return tuple(
            sorted(some)[int(len(some) * 0.99)] if some else float("nan")
            for some in (normal, since)
        )

    def kill(self, what):
        """Kill a worker, the drainer, or the whole server, which is started again."""
        if what == "server":
            left = children(self.server, b"multiprocessing")
            (drainer,) = children(self.server, b"api.drainer") or (0,)
            self.server.kill()
            self.server.wait(PATIENCE)
            for worker in left:  # they outlive it
                os.kill(worker, signal.SIGKILL)
            until(lambda: not (drainer and alive(drainer)))
            self._start()
            return
        word = b"api.drainer" if what == "drainer" else b"spawn_main"
        until(lambda: children(self.server, word))
        os.kill(children(self.server, word)[0], signal.SIGKILL)

    def drained(self, seconds=PATIENCE):
        """Wait until the store has everything that was acknowledged."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            state = read_state(self.home.inbox)
            if state is not None and state.position >= self.last:
                return
            time.sleep(0.2)
        log = (self.home.folder / "server.log").read_text()[-2_000:]
        raise AssertionError(f"{self.last} was acknowledged, the store is at {state}:\n{log}")

    def ready(self):
        """What `/ready` says."""
        return self._until_answered("GET", "/ready")

    def compare(self, store):
        """Compare with a store what was acknowledged; what is wrong, by its class."""
        there = Counter(
            name for name in store.read("events")["event_id"].to_pylist() if name is not None
        )
        mine = Counter({name: n for name, n in there.items() if name.startswith("live-")})
        wrong = Counter(self.wrong)
        wrong["lost"] += len(self.acknowledged - mine.keys())
        wrong["doubled"] += sum(n - 1 for n in mine.values())
        wrong["never sent"] += len(mine.keys() - self.acknowledged)
        return +wrong

    def never_seen(self):
        """How many items users chose are still shown to them as unseen, in any worker."""
        unseen = 0
        for user in range(0, USERS, 40):
            chosen = {_chosen(n) for n in range(len(self.acknowledged)) if n // 10 % USERS == user}
            for _ in range(6):  # whichever worker answers
                path = f"/v1/users/live-{user}/recommendations?n=100&reasons=false"
                listed = self._until_answered("GET", path)["items"]
                unseen += sum(entry["item"] in chosen for entry in listed)
        return unseen

    # ── who asks ─────────────────────────────────────────────────────────────────────────

    def _ask(self):
        """Ask for lists all the time; a refused or broken connection is no answer."""
        number = 0
        while not self._ended.wait(0.01):
            number += 1
            began = time.monotonic()
            status, _ = self._once("GET", f"/v1/users/reader-{number % 97}/recommendations?n=10")
            if status:
                self.statuses[status] += 1
                self.lists.append(time.monotonic() - began)

    def _put(self):
        """Put an item again and again, each time with the next number as its title."""
        while not self._ended.wait(0.05):
            self.versions[0] += 1
            body = {"title": str(self.versions[0])}
            if self._until_answered("PUT", f"/v1/items/{VERSIONS}", body) is not None:
                self.versions[1] = self.versions[0]

    def _read(self):
        """Read that item: never older than what was acknowledged before, nor what nobody sent."""
        while not self._ended.wait(0.02):
            least = self.versions[1]
            status, answer = self._once("GET", f"/v1/items/{VERSIONS}")
            if status == 200:
                version = int(answer["title"])
                self.wrong["stale"] += version < least
                self.wrong["never sent"] += version > self.versions[0]
            elif status == 404 and least:
                self.wrong["lost"] += 1

    def _until_answered(self, method, path, body=None):
        ends = time.monotonic() + PATIENCE
        while time.monotonic() < ends:
            status, answer = self._once(method, path, body)
            if status in (200, 202):
                return answer
            if status in (400, 404):
                raise AssertionError(answer)
            time.sleep(0.05)
            if method == "PUT" and self._ended.is_set():
                return None
        raise AssertionError(f"{method} {path}: waited in vain")

    def _once(self, method, path, body=None):
        """Status and answer; 0 where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with closing(connection):
            try:
                connection.request(method, path, None if body is None else json.dumps(body), JSON)
                answer = connection.getresponse()
                return answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                return 0, None

    def _start(self):
        words = [sys.executable, "-m", "api.cli.main", "--home", str(self.home.folder), "serve"]
        with (self.home.folder / "server.log").open("ab") as log:
            self.server = subprocess.Popen(
                [*words, "--port", str(self.port), "--workers", "2"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            until(lambda: self._once("GET", "/ready")[0] == 200)
        except AssertionError:
            self.server.terminate()  # nobody else would
            raise


def _chosen(number):
    """What an event is about; after 40,000 events each user has chosen 100 of the 150 items."""
    return f"item-{number % 10 + number // 4_000 % 10 * 10}"
