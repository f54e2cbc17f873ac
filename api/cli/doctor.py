"""`nichegraph doctor`: whether everything the program needs is there, and what to do if not."""

import importlib.util
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Annotated, Literal

import typer
from rich.filesize import decimal

from api.bootstrap import now, open_journal, open_store
from api.cli.output import say, show_json
from api.memory import memory
from api.settings import Settings, load_settings
from graph.errors import NichegraphError
from graph.extras import EXTRA
from recommender.releases.home import Home

State = Literal["ok", "look", "wrong"]
LEAST_DISK, LEAST_MEMORY = 1_000_000_000, 1_000_000_000  # bytes
SKEW = 120  # seconds that a clock may be behind what was written before
SOON = 7 * 86_400  # seconds before its end from which a key is mentioned
OLD = 7 * 86_400  # seconds after which a release counts as old


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: State
    seen: str
    do: str = ""  # the remedy, if it is not as it should be


def register(cli: typer.Typer) -> None:
    """Add the command."""
    cli.command("doctor")(doctor)


def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check what the program needs, and say what to do.

    Looks at Python, packages, disk, memory, store, keys, release and clock.

    Exit code 1 if something is wrong. Nothing is changed.

    \b
    nichegraph doctor
    nichegraph --home /srv/catalogue doctor --json
    """
    settings = load_settings(ctx.obj)
    findings = list(examined(settings))
    if as_json:
        show_json({"findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            say(f"{finding.state:6} {finding.what}: {finding.seen}")
            if finding.do:
                say(f"       → {finding.do}")
    if any(finding.state == "wrong" for finding in findings):
        raise typer.Exit(1)


def examined(settings: Settings) -> Iterator[Finding]:
    """Every finding, in the order in which to mend them."""
    yield _python()
    yield _packages()
    yield _compiled_code()
    if not settings.home.is_dir():
        yield Finding("home", "look", f"there is none at {settings.home}", "nichegraph init FILE")
        return
    home = Home(settings.home)
    yield _writable_home(home)
    yield _disk(home)
    yield _memory()
    yield _guarded("store", lambda: _store(settings))
    yield _guarded("inbox", lambda: _inbox(settings))
    yield _guarded("release", lambda: _release(home))
    yield _guarded("clock", lambda: _clock(home))
    yield _guarded("keys", lambda: _keys(settings, home))
    yield _outside(settings)


def _guarded(what: str, look: Callable[[], Finding]) -> Finding:
    """What was found; if looking fails, the error as a finding."""
    try:
        return look()
    except (NichegraphError, OSError) as error:
        return Finding(what, "wrong", str(error), "nichegraph status says more")


def _python() -> Finding:
    seen = (
        f"{platform.python_version()} on {platform.machine()}, nichegraph {version('nichegraph')}"
    )
    if (3, 11) <= sys.version_info[:2] < (3, 13):
        return Finding("python", "ok", seen)
    return Finding("python", "wrong", seen, "use Python 3.11 or 3.12; ./run makes it so")


def _packages() -> Finding:
    lacking = sorted(
        {extra for package, extra in EXTRA.items() if importlib.util.find_spec(package) is None}
    )
    if not lacking:
        return Finding("packages", "ok", "all extras are installed")
    return Finding(
        "packages", "ok", f"these extras are missing: {', '.join(lacking)}",
        f"if you need them: pip install -e '.[{','.join(lacking)}]'",
    )  # fmt: skip


def _compiled_code() -> Finding:
    from api.compiled import folders, writable

    usable = [folder for folder in folders() if writable(folder)]
    if usable:
        return Finding("compiled code", "ok", f"is kept in {usable[0]}")
    return Finding(
        "compiled code", "look", "no folder is writable, so it is compiled at each start",
        "name a folder in NUMBA_CACHE_DIR",
    )  # fmt: skip


def _outside(settings: Settings) -> Finding:
    """What is kept outside of the home, in case it is restored from a backup or changed."""
    lacking = [name for name in ("erasure_log", "audit_head") if getattr(settings, name) is None]
    if not lacking:
        return Finding("outside", "ok", "erasure_log and audit_head lie outside of the home")
    return Finding(
        "outside", "ok", f"not set: {', '.join(lacking)}, so a restored home does not know who was "
        "erased since, and a log that is cut off together with its head looks whole",
        "name files on another disk, see docs/security.md",
    )  # fmt: skip


def _writable_home(home: Home) -> Finding:
    from api.compiled import writable

    if writable(home.folder):
        return Finding("home", "ok", str(home.folder.resolve()))
    return Finding(
        "home", "look", f"{home.folder} is not writable: the server answers, but accepts no writes",
        "give the user that runs this program the right to write",
    )  # fmt: skip


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.folder).free
    if free >= LEAST_DISK:
        return Finding("disk", "ok", f"{decimal(free)} free")
    return Finding("disk", "wrong", f"{decimal(free)} free", "nichegraph releases prune --keep 1")


def _memory() -> Finding:
    facts = memory()
    if not facts["total"] or facts["available"] >= LEAST_MEMORY:
        return Finding("memory", "ok", f"{decimal(facts['available'])} free")
    return Finding(
        "memory", "look", f"{decimal(facts['available'])} free",
        "a refresh may need more; end other programs, or refresh on another machine",
    )  # fmt: skip


def _store(settings: Settings) -> Finding:
    with closing(open_store(settings)) as store:
        counts = store.counts()
        uri = store.uri
    if counts["events"]:
        return Finding("store", "ok", f"{uri}, {counts['events']:,} events")
    return Finding("store", "look", f"{uri}, no events yet", "nichegraph load FILE")


def _inbox(settings: Settings) -> Finding:
    from recommender.inbox.lag import lag

    with closing(open_journal(settings)) as journal:
        state = lag(journal, now=now())
    if state.problem:
        return Finding("inbox", "wrong", f"the store accepts nothing: {state.problem}", "fix that")
    if state.aside:
        return Finding(
            "inbox", "look", f"{state.aside:,} facts were refused", "nichegraph inbox list"
        )
    return Finding("inbox", "ok", f"{state.waiting:,} facts waiting for the store")


def _release(home: Home) -> Finding:
    from recommender.releases.publishing import current, open_release

    name = current(home)
    if name is None:
        return Finding("release", "look", "there is none yet", "nichegraph refresh")
    made = open_release(home.releases / name).manifest["created_at"]  # every file is read
    age = now() - made
    if age > OLD:
        return Finding(
            "release", "look", f"{name} is {age // 86_400} days old",
            "nichegraph refresh, or nichegraph refresh --every 24h",
        )  # fmt: skip
    return Finding("release", "ok", f"{name}, complete")


def _clock(home: Home) -> Finding:
    """Whether the clock is behind times written before, by this clock or by the disk's."""
    written = [
        path.stat().st_mtime
        for path in (home.releases / "CURRENT", home.store, home.inbox)
        if path.exists()
    ]
    behind = max(written, default=0) - time.time()
    moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    if behind > SKEW:
        return Finding(
            "clock", "wrong", f"{moment} UTC, {behind / 3600:.1f} hours before the newest file",
            "set the clock; the age of events and the expiry of keys depend on it",
        )  # fmt: skip
    return Finding("clock", "ok", f"{moment} UTC")


def _keys(settings: Settings, home: Home) -> Finding:
    from api.keys import KeyFile

    keys = list(KeyFile(home.keys).keys().values())
    open_ones = [key for key in keys if key.holds(now())]
    local = settings.host in ("127.0.0.1", "::1", "localhost")
    if not open_ones:
        if local or settings.bind_anywhere:
            return Finding(
                "keys", "ok", "none: anyone who can reach the server may use every route"
            )
        return Finding(
            "keys", "wrong", f"none, so the server refuses to listen on {settings.host}",
            "nichegraph keys create --scope recommend",
        )  # fmt: skip
    ending = [key for key in open_ones if key.expires_at and key.expires_at - now() < SOON]
    if ending:
        return Finding(
            "keys", "look", f"{len(ending)} of {len(open_ones)} expire within a week",
            "nichegraph keys list, then nichegraph keys rotate",
        )  # fmt: skip
    return Finding("keys", "ok", f"{len(open_ones)} valid")
