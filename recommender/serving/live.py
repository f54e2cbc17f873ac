"""What is served now: an immutable value, replaced as a whole when any part is newer."""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from graph.errors import NichegraphError, ReleaseError
from recommender.inbox.facts import PURPOSES
from recommender.inbox.journal import Journal
from recommender.overlay.overlay import Overlay, base_of
from recommender.overlay.sessions import SECONDS
from recommender.overlay.state import State, read_state
from recommender.ranking.ranker import Defect, refuse
from recommender.releases.home import Home
from recommender.releases.publishing import current, open_release
from recommender.releases.release import Release
from recommender.segments.settings import SegmentSettings, load_segment_settings
from recommender.serving.following import Follower
from recommender.serving.recommend import Recommender
from recommender.serving.rules_file import Rule, load_rules

Stamp = tuple[str, int, int]  # a file, its size and time
Prepare = Callable[[Recommender], None]
Tell = Callable[..., None]  # an event and its fields, as `api.observability.log`
CHECK_SECONDS = 0.5  # seconds that a changed CURRENT may go unnoticed
FOLLOW_SECONDS = 0.05  # … and a fact of the journal, where a thread watches


class Live:
    """Holds what is served; safe to ask from many threads.

    A request takes the recommender once and is answered by it, even if it is replaced meanwhile. A
    release that cannot be verified is never served: the old one stays, and `problem` says why.
    When `segments.toml` or `rules.toml` is wrong, `…_problem` says so, and what was read before
    stays in force, also over a new release.
    """

    def __init__(
        self,
        home: Home,
        *,
        journal: Journal | None = None,
        tell: Tell | None = None,
        defect: Defect = refuse,
        prepare: Prepare | None = None,
        clock: Callable[[], float] = time.monotonic,
        session_seconds: int = SECONDS,
        agreed: frozenset[str] = frozenset(PURPOSES),
        only: Path | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            home: of the catalogue.
            journal: holds the facts that came after the release; None: only the release is served.
            tell: called when something newer is served or refused.
            defect: see `Recommender`.
            prepare: called with the first recommender before anybody gets it.
            clock: seconds, for how often files are looked at.
            session_seconds: after its last event a session ends.
            agreed: purposes to which whoever has not said agrees.
            only: the folder of the release that is meant, whichever is current.
        """
        self.home = home
        self.only = only
        self.tell: Tell = tell or _nobody_hears
        self.problem: str | None = None
        self.segments_problem: str | None = None  # why `segments.toml` as it stands is not used
        self.rules_problem: str | None = None  # why `rules.toml` as it stands is not followed
        self.state_problem: str | None = None  # why the state as it stands is not followed
        self.journal_problem: str | None = None  # why newer facts are not followed
        self._journal = journal
        self._follower: Follower | None = None
        self._watched = False  # by a thread of its own
        self._defect = defect
        self._prepare = prepare
        self._clock = clock
        self._session_seconds = session_seconds
        self.agreed = agreed
        self._checked = float("-inf")
        self.on_state: Callable[[str], None] = lambda _: None  # gets the name of each newer state
        self._lock = threading.Lock()
        self._recommender: Recommender | None = None
        self._refused: tuple[str, list[Stamp]] | None = None  # what `problem` is about
        self._read: dict[Path, tuple[str, int]] = {}  # file -> release and time it was read for

    def recommender(self) -> Recommender:
        """The recommender over the current release; `ReleaseError` when there is none yet."""
        if not self._watched or self._recommender is None:
            self._look()
        if self._recommender is None:
            raise ReleaseError(
                self.problem
                or f"no release in {self.home.folder} yet; run `nichegraph refresh` first"
            )
        return self._recommender

    def over(self, release: Path) -> "Live":
        """The same home, facts, state, rules and segments over another release of it."""
        return Live(
            self.home,
            journal=self._journal,
            defect=self._defect,
            clock=self._clock,
            session_seconds=self._session_seconds,
            agreed=self.agreed,
            only=release,
        )

    def watch(self) -> None:
        """Look for newer parts in a thread of its own, so that no request waits for that."""
        if not self._watched:
            self._watched = True
            threading.Thread(target=self._watch, name="watch", daemon=True).start()

    @property
    def sequence(self) -> int:
        """Number of the last fact of the journal that lists take into account."""
        return 0 if self._recommender is None else self._recommender.overlay.sequence

    def _watch(self) -> None:
        while True:
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the last value goes on being served
                self.problem = f"{type(error).__name__}: {error}"
                self.tell("watching failed", problem=error)
                time.sleep(CHECK_SECONDS)
            time.sleep(FOLLOW_SECONDS)

    def _look(self) -> None:
        """Serve newer parts: look at the journal every time, at files only now and then."""
        with self._lock:
            if self._clock() - self._checked >= CHECK_SECONDS or self._recommender is None:
                self._checked = self._clock()
                newest = self._newest()
                if self._prepare is not None and newest is not None and self._recommender is None:
                    self._prepare(newest)
                if newest is not None and self._recommender is not None:
                    state = newest.overlay.state
                    if state != self._recommender.overlay.state:
                        self.on_state(state.name)
                self._recommender = newest
            if self._recommender is not None:
                self._recommender = self._with_facts(self._recommender)

    def _with_facts(self, made: Recommender) -> Recommender:
        """The recommender with the journal's facts beyond the release, and the newest state."""
        if self._journal is None:
            return made
        base = base_of(made.release)
        try:
            if self._follower is None or self._follower.base is not base:
                self._follower = Follower.over(
                    base, self._journal, self._session_seconds, self.agreed
                )
            overlay = self._follower.overlay(made.overlay.state, made.overlay)
        except NichegraphError as error:
            if str(error) != self.journal_problem:
                self.tell("journal does not answer", problem=error)
            self.journal_problem = str(error)
            return made
        self.journal_problem = None
        return made if overlay is made.overlay else made.following(overlay=overlay)

    def _newest(self) -> Recommender | None:
        """What is to be served from now on: the same value where nothing is newer."""
        state = self._newest_state()
        if state is None:  # who was erased is never guessed
            return self._recommender
        made = self._over_newest_release(state)
        if made is None:
            return None
        if made.overlay.state != state:
            made = made.following(overlay=made.overlay.under(state))
        return self._with_rules(self._with_segments(made))

    def _newest_state(self) -> State | None:
        last = None if self._recommender is None else self._recommender.overlay.state
        if last is not None and not self._is_newer(self.home.state, ""):
            return last
        try:
            state = read_state(self.home)
            self.state_problem = None
        except NichegraphError as error:
            if str(error) != self.state_problem:
                self.tell("state refused", problem=error)
            self.problem = self.state_problem = str(error)
            return None
        return state

    def _over_newest_release(self, state: State) -> Recommender | None:
        last = self._recommender
        name = self.only.name if self.only is not None else current(self.home)
        here = last.release.name if last is not None else None
        if name is None or name == here:
            if name is not None:
                self.problem, self._refused = self.state_problem, None
            return last
        folder = self.only or self.home.releases / name
        as_it_lies = name, _stamps(folder)  # refused while somebody copies it, it is tried again
        if as_it_lies == self._refused:
            return last
        try:
            release = open_release(folder)
            made = self._successor(last, release, state)
        except NichegraphError as error:
            self.problem, self._refused = str(error), as_it_lies
            self.tell("release refused", release=name, problem=error)
            return last
        self.problem, self._refused = self.state_problem, None
        if here is not None:
            self.tell("release swapped", release=name, before=here)
        return made

    def _successor(self, last: Recommender | None, release: Release, state: State) -> Recommender:
        """A recommender over a new release, with the editor's settings of the last one."""
        settings = last.settings if last is not None else SegmentSettings()
        made = Recommender(
            release,
            Overlay.over(release, state, agreed=self.agreed),
            settings=settings,
            defect=self._defect,
        )
        if last is not None:
            with contextlib.suppress(NichegraphError):  # an attribute is gone: logged on reading
                made = made.following(rules=last.rulebook.rules)
        return made

    def _with_segments(self, made: Recommender) -> Recommender:
        """With `segments.toml` read again if it changed; a wrong file is logged and not used."""
        if not self._is_newer(self.home.segments, made.release.name):
            return made
        try:
            settings = load_segment_settings(self.home.segments)
            made = made.following(settings=settings)
        except NichegraphError as error:
            self.segments_problem = str(error)
            self.tell("segments.toml refused", problem=error)
            return made
        self.segments_problem = None
        if self.home.segments.exists():
            self.tell("segments.toml read", rules=len(settings.rules))
        return made

    def _with_rules(self, made: Recommender) -> Recommender:
        """With `rules.toml` read again if it changed; a wrong file is logged and not used."""
        if not self._is_newer(self.home.rules, made.release.name):
            return made
        try:
            rules: tuple[Rule, ...] = load_rules(self.home.rules)
            made = made.following(rules=rules)
        except NichegraphError as error:
            self.rules_problem = str(error)
            self.tell("rules.toml refused", problem=error)
            return made
        self.rules_problem = None
        if self.home.rules.exists():
            self.tell("rules.toml read", rules=len(rules))
        return made

    def _is_newer(self, file: Path, release: str) -> bool:
        """Whether a file changed since it was read for this release; now it counts as read."""
        try:
            stamp = file.stat().st_mtime_ns
        except FileNotFoundError:
            stamp = 0
        except OSError:  # a loop of links, for example: reading it will tell
            stamp = -1
        read = (release, stamp)
        newer = self._read.get(file) != read
        self._read[file] = read
        return newer


def _stamps(folder: Path) -> list[Stamp]:
    """The files of a folder as they lie there now; none where it cannot be read."""
    with contextlib.suppress(OSError):
        stats = {path.name: path.stat() for path in folder.iterdir()}
        return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items())
    return []


def _nobody_hears(event: str, **fields: object) -> None:
    pass
