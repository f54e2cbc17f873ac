"""The release that is served now: opened once, swapped when CURRENT moves."""

import contextlib
import threading
import time
from collections.abc import Callable

from graph.errors import NichegraphError, ReleaseError
from recommender.releases.home import Home
from recommender.releases.release import Release, current, open_release
from recommender.segments.settings import load_segment_settings
from recommender.serving.recommend import Recommender
from recommender.serving.rules import Rulebook, load_rules

Tell = Callable[..., None]  # an event and its fields, as `api.observability.log`
CHECK_SECONDS = 0.5  # how long a moved CURRENT may go unnoticed


class Live:
    """Holds the current release; safe to ask from many threads.

    A release that cannot be verified is never swapped in: the old one goes on being served and
    `problem` says why. A wrong `segments.toml` or `rules.toml` is told of, and what was read before
    holds on, over a new release, too.
    """

    def __init__(self, home: Home, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open nothing yet; `tell` may be set to hear of what is taken up or refused."""
        self.home = home
        self.tell: Tell = _nobody_hears
        self.problem: str | None = None
        self._clock = clock
        self._checked = float("-inf")
        self._lock = threading.Lock()
        self._recommender: Recommender | None = None
        self._refused: str | None = None  # the release that `problem` is about
        self._erased_stamp: float | None = None
        self.segments_problem: str | None = None  # why `segments.toml` as it stands is not used
        self._segments_read: tuple[str, int] | None = None  # release and time of the file
        self.rules_problem: str | None = None  # why `rules.toml` as it stands is not followed
        self._rules_read: tuple[str, int] | None = None  # release and time of the file

    def recommender(self) -> Recommender:
        """The recommender over the current release; `ReleaseError` when there is none yet."""
        if self._clock() - self._checked >= CHECK_SECONDS or self._recommender is None:
            with self._lock:
                self._swap()
        if self._recommender is None:
            raise ReleaseError(
                self.problem
                or f"no release in {self.home.folder} yet; run `nichegraph refresh` first"
            )
        return self._recommender

    def _swap(self) -> None:
        self._checked = self._clock()
        name = current(self.home)
        here = self._recommender.release.name if self._recommender else None
        if name is not None and name not in (here, self._refused):
            try:
                release = open_release(self.home.releases / name)
                self._recommender = _successor(self._recommender, release, self._erased())
                self.problem = self._refused = None
                if here is not None:
                    self.tell("release swapped", release=name, before=here)
            except NichegraphError as error:
                self.problem, self._refused = str(error), name
                self.tell("release refused", release=name, problem=error)
        elif name == here:
            self.problem = self._refused = None
        if self._recommender is not None:
            self._recommender.erased = self._erased()
            self._read_segments(self._recommender)
            self._read_rules(self._recommender)

    def _read_segments(self, recommender: Recommender) -> None:
        """Read `segments.toml` again when it changed; a wrong one is told of, the old one holds."""
        try:
            stamp = self.home.segments.stat().st_mtime_ns
        except FileNotFoundError:
            stamp = 0
        except OSError:  # a loop of links, say: reading tells
            stamp = -1
        read = (recommender.release.name, stamp)
        if read == self._segments_read:
            return
        try:
            settings = load_segment_settings(self.home.segments)
            recommender.use(settings)
            self.segments_problem = None
            if stamp:
                self.tell("segments.toml read", rules=len(settings.rules))
        except NichegraphError as error:
            self.segments_problem = str(error)
            self.tell("segments.toml refused", problem=error)
        self._segments_read = read

    def _read_rules(self, recommender: Recommender) -> None:
        """Read `rules.toml` again when it changed; wrong rules are told of, the old ones hold."""
        try:
            stamp = self.home.rules.stat().st_mtime_ns
        except FileNotFoundError:
            stamp = 0
        except OSError:
            stamp = -1
        read = (recommender.release.name, stamp)
        if read == self._rules_read:
            return
        try:
            rules = load_rules(self.home.rules)
            recommender.rulebook = Rulebook(rules, recommender.release, recommender.filters)
            self.rules_problem = None
            if stamp:
                self.tell("rules.toml read", rules=len(rules))
        except NichegraphError as error:
            self.rules_problem = str(error)
            self.tell("rules.toml refused", problem=error)
        self._rules_read = read

    def _erased(self) -> frozenset[str]:
        """Users erased since the release was made; read again when the file changes."""
        try:
            stamp = self.home.erased.stat().st_mtime
        except FileNotFoundError:
            return frozenset()
        if stamp != self._erased_stamp or self._recommender is None:
            self._erased_stamp = stamp
            return frozenset(self.home.erased.read_text(encoding="utf-8").split("\n"))
        return self._recommender.erased


def _nobody_hears(event: str, **fields: object) -> None:
    pass


def _successor(old: Recommender | None, release: Release, erased: frozenset[str]) -> Recommender:
    """A recommender over a new release, under what an editor said of the last one."""
    new = Recommender(release, erased)
    if old is not None:
        new.use(old.settings)
        with contextlib.suppress(NichegraphError):  # an attribute is gone: told of on reading
            new.rulebook = Rulebook(old.rulebook.rules, release, new.filters)
    return new
