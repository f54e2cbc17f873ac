"""Run the HTTP application on granian: several processes, no fork of a process with threads."""

import contextlib
import ipaddress
import logging
import multiprocessing
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator

from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.log import LogLevels
from granian.server.mp import MPServer

from api.access import check_loopback
from api.bootstrap import erase_again, open_console, open_journal, open_store
from api.drainer import watched
from api.keys import KeyFile
from api.metrics import FOLDER
from api.observability import log, server_lines, set_format
from api.settings import Settings, environment
from api.tls import checked_files
from api.traces import check as check_traces
from api.under_way import threads_of
from graph.errors import InboxFull, SettingError, StoreAway
from recommender.releases.home import Home

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
BACKLOG = 1024
END_SECONDS = 9  # from SIGTERM until what is still under way is cut off; the rest is tidying


def serve(settings: Settings) -> None:
    """Listen until stopped; each worker opens the release by itself, a drainer runs beside them.

    Raises:
        SettingError: the address is beyond loopback, the port is taken, the files of TLS or of the
            journal's key are wrong, or the console is on and lacks a password.
        StoreForeign: the journal is another program's, or is encrypted with another key.
        MissingExtra: traces or encryption are asked for, and the extra is not installed.
    """
    set_format(settings.log_format)
    _check_address(settings)
    certificate, key = checked_files(settings) or (None, None)
    check_traces(settings)
    _check_journal(settings)
    if settings.console_enabled:
        open_console(settings).close()
    if settings.erasure_log is not None:
        with contextlib.closing(open_store(settings)) as store:
            erase_again(settings, store)
    os.environ.update(environment(settings))
    for name in ONE_THREAD:  # workers are many; each computes on one thread
        os.environ[name] = "1"
    # A forked child of a process with threads can hang for ever in FAISS or OpenMP.
    multiprocessing.set_start_method("spawn", force=True)
    server = _Server(
        "api.app:application",
        factory=True,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        http=HTTPModes.http1,
        websockets=False,
        workers=settings.workers,
        blocking_threads=threads_of(settings),
        backlog=BACKLOG,
        log_level=LogLevels.info,
        log_dictconfig=server_lines(settings.log_format),
        log_access=settings.access_log,
        respawn_failed_workers=True,
        workers_kill_timeout=END_SECONDS,
        ssl_cert=certificate,
        ssl_key=key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    # Granian advises fewer threads; most of ours only wait, see `api/under_way.py`.
    logging.getLogger("_granian").addFilter(lambda line: "Python threads" not in line.msg)
    with _counted_together(), watched() as end_drainer:
        server.at_end = end_drainer
        server.serve()


class _Server(MPServer):
    """Tells the drainer to end when the workers are told, so that neither waits for the other."""

    at_end: Callable[[], None]

    def shutdown(self, exit_code: int = 0) -> None:
        self.at_end()
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _counted_together() -> Iterator[None]:
    """Give the workers a folder to count in for `/metrics`; it is removed when the server ends."""
    os.environ.pop(FOLDER, None)
    try:
        folder = tempfile.mkdtemp(prefix="nichegraph-metrics-")
    except OSError as error:
        log("each worker counts for itself in /metrics", problem=error)
        yield
        return
    os.environ[FOLDER] = folder
    try:
        yield
    finally:
        del os.environ[FOLDER]
        shutil.rmtree(folder, ignore_errors=True)


def _check_journal(settings: Settings) -> None:
    """Say before anybody listens that the journal can never be read, as by a wrong key."""
    passing = contextlib.suppress(StoreAway, InboxFull)
    with passing, contextlib.closing(open_journal(settings)) as journal:
        journal.last_sequence()


def _check_address(settings: Settings) -> None:
    try:
        loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError as error:
        raise SettingError(f"setting 'host': {settings.host!r} is not an address") from error
    check_loopback(settings, KeyFile(Home(settings.home).keys), loopback=loopback)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingError(
                f"setting 'port': {settings.host}:{settings.port} cannot be listened on: "
                f"{error.strerror}; choose another with --port"
            ) from error
