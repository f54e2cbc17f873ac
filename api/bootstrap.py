"""The only place where everything is joined, and where the clock is read."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from api.settings import Settings
from graph.errors import NotFound, SettingError
from recommender.releases.home import Home

if TYPE_CHECKING:
    from graph.explore.console import Console
    from graph.store import GraphStore
    from graph.stores.neo4j_store import Neo4jStore
    from recommender.inbox.drain import Carry
    from recommender.inbox.journal import Journal
    from recommender.ranking.ranker import Defect
    from recommender.serving.live import Live, Prepare, Tell
    from recommender.serving.results import Results

NEO4J_SCHEMES = ("bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc")


def now() -> int:
    """Seconds since 1970."""
    return int(time.time())


def open_home(settings: Settings, *, make: bool = False) -> Home:
    """The home folder; with `make` it is made if it is missing.

    Raises:
        NotFound: it is missing, perhaps because its name is mistyped, so nothing is made.
    """
    if not make and not settings.home.exists():
        raise NotFound(
            f"there is no home {settings.home}; is the name right? `nichegraph --home "
            f"{settings.home} load FILE` creates it"
        )
    return home_of(settings).create()


def home_of(settings: Settings) -> Home:
    """The home folder with what these settings keep outside of it; nothing is made."""
    return Home(settings.home, settings.erasure_log, settings.audit_head, settings.journal_key_file)


@contextmanager
def on_disk_of(home: Home) -> Iterator[None]:
    """Name the home in errors of its disk: `fsync` and numpy do not say which file failed."""
    try:
        yield
    except OSError as error:
        if error.errno and error.filename is None:
            error.filename = str(home.folder)
        raise


def open_store(settings: Settings, *, make: bool = False) -> "GraphStore":
    """The store of these settings, ready to answer; the caller closes it.

    `make`: the home of an embedded store is made if it is missing.

    Raises:
        SettingError: `store` is neither `embedded` nor the URI of a Neo4j server.
        StoreError: it cannot be opened.
    """
    check_store(settings.store)
    if settings.store == "embedded":
        from graph.stores.embedded_store import EmbeddedStore  # a server never opens a store

        return EmbeddedStore(open_home(settings, make=make).store)
    return open_server(settings)


def open_server(settings: Settings) -> "Neo4jStore":
    """The store of these settings on a Neo4j server; the caller closes it."""
    from graph.stores.neo4j_store import Neo4jStore  # workers and most commands never need it

    return Neo4jStore(
        settings.store,
        user=settings.neo4j_user,
        password=password(settings),
        database=settings.neo4j_database,
        deadline=settings.neo4j_deadline,
        bulk_deadline=max(60.0, settings.neo4j_deadline),
    )


def check_store(store: str) -> None:
    """Check that the setting `store` is one of the things it can be.

    Raises:
        SettingError: it is neither `embedded` nor the URI of a Neo4j server.
    """
    if store != "embedded" and urlsplit(store).scheme not in NEO4J_SCHEMES:
        raise SettingError(
            f"setting 'store': {store!r} is neither 'embedded' nor the URI of a Neo4j "
            "server such as bolt://localhost:7687"
        )


def open_live(
    settings: Settings,
    *,
    tell: "Tell | None" = None,
    defect: "Defect | None" = None,
    prepare: "Prepare | None" = None,
) -> "Live":
    """What is served from the home, ready to recommend; see `Live` for what is handed in."""
    from recommender.ranking.ranker import refuse
    from recommender.serving.live import Live  # a load or a status needs none of it

    return Live(
        home_of(settings),
        journal=open_journal(settings),
        tell=tell,
        defect=defect or refuse,
        prepare=prepare,
        session_seconds=round(settings.session_minutes * 60),
        agreed=settings.agreed,
    )


def open_results(settings: Settings) -> "Results":
    """Where answers are kept for a while: in this process, and in Redis when one is named."""
    from recommender.serving.results import Results

    shared = None
    if settings.redis_url and settings.cache_bytes:
        from api.shared_results import RedisResults

        shared = RedisResults(settings.redis_url)
    return Results(settings.cache_bytes, settings.cache_seconds, time.monotonic, shared)


def open_carrier(settings: Settings, journal: "Journal", store: "GraphStore") -> "Carry":
    """What takes an erasure to every place outside the journal; see `erasure.carrier`."""
    from recommender.overlay.erasure import carrier

    home = open_home(settings)
    if not settings.redis_url:
        return carrier(journal, store, home, now)
    from api.shared_results import RedisResults

    return carrier(journal, store, home, now, RedisResults(settings.redis_url).remove)


def open_journal(settings: Settings) -> "Journal":
    """The journal of the home, for writing and reading; the first write makes its file."""
    from recommender.inbox.journal import Journal, Limits
    from recommender.releases.journal_key import key_of

    home, limits = home_of(settings), Limits(settings.inbox_bytes, settings.inbox_free_bytes)
    return Journal(home.inbox, limits, key_of(home))


def note(home: Home, action: str, **about: object) -> None:
    """Write into the audit log what was done; see `recommender.releases.audit`."""
    from recommender.releases import audit

    audit.note(home.audit, action, now=now(), elsewhere=home.audit_head, **about)


def erase_again(settings: Settings, store: "GraphStore") -> None:
    """Erase again whom a home from a backup does not know to be erased; see `erasure_log`."""
    from recommender.overlay import erasure

    if settings.erasure_log is None or not settings.home.exists():
        return
    with closing(open_journal(settings)) as journal:
        erasure.erase_again(store, journal, open_home(settings), now=now())


def open_console(settings: Settings) -> "Console":
    """The guarded console over the store of these settings; the caller closes it.

    Nothing is opened before the first query, which runs in a process of its own.

    Raises:
        SettingError: a Neo4j store without a password.
    """
    from graph.explore.console import Console, Target

    home = open_home(settings)
    if settings.store == "embedded":
        target = Target(str(home.store))
    else:
        asks_as = settings.console_user
        target = Target(
            uri=settings.store,
            user=settings.neo4j_user,
            password=password(settings),
            database=settings.neo4j_database,
            asks_as=asks_as,
            asks_with=_console_password(settings) if asks_as else "",
        )
    return Console(
        target,
        home.explore,
        audit=home.explore / "audit.jsonl",
        note=lambda fields: note(home, "query", **fields),
        now=time.time,
    )


def password(settings: Settings) -> str:
    """The Neo4j password, from the file when one is named."""
    if settings.neo4j_password_file is not None:
        return _first_line("neo4j_password_file", settings.neo4j_password_file)
    if settings.neo4j_password is not None:
        return settings.neo4j_password.get_secret_value()
    raise SettingError(
        "a Neo4j store needs a password: set NICHEGRAPH_NEO4J_PASSWORD, or "
        "NICHEGRAPH_NEO4J_PASSWORD_FILE to a file that holds it"
    )


def _console_password(settings: Settings) -> str:
    if settings.console_password_file is not None:
        return _first_line("console_password_file", settings.console_password_file)
    if settings.console_password is not None:
        return settings.console_password.get_secret_value()
    raise SettingError(
        f"setting 'console_user': {settings.console_user!r} needs a password: set "
        "NICHEGRAPH_CONSOLE_PASSWORD, or NICHEGRAPH_CONSOLE_PASSWORD_FILE to a file that holds it"
    )


def _first_line(name: str, file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise SettingError(f"setting {name!r}: {file} has no readable first line") from error
