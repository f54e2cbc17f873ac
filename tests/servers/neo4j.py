"""Fetch, start and stop a real Neo4j Community server from Maven Central, without containers.

    python tests/servers/neo4j.py fetch                    jars into the cache, once
    python tests/servers/neo4j.py serve [folder] [port]    run until interrupted

Needs Java (17 or 21 for 5.26; 21 or 25 from 2025.10 on) and, for the first fetch, Maven.
NEO4J_VERSION and NEO4J_JAVA choose others than the defaults.
"""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

VERSION = "5.26.31"
PASSWORD = "niche-graph-test"
HERE = Path(__file__).parent
FLAGS = [
    "-XX:+UseG1GC",
    "-XX:-OmitStackTraceInFastThrow",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djdk.nio.maxCachedBufferSize=1024",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dlog4j2.disable.jmx=true",
    "-Dlog4j.layout.jsonTemplate.maxStringLength=32768",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--enable-native-access=ALL-UNNAMED",
    "-Dfile.encoding=UTF-8",
]


def version() -> str:
    return os.environ.get("NEO4J_VERSION", VERSION)


def java() -> str:
    return os.environ.get("NEO4J_JAVA", "java")


def home() -> Path:
    """Where the jars of this version are kept between runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return cache / "nichegraph" / f"neo4j-{version()}"


def missing() -> str | None:
    """Why no server can be started here, or None when one can."""
    if not shutil.which(java()):
        return "no Java for a Neo4j server (set NEO4J_TEST_URI to use a running one)"
    if not (home() / "complete").exists() and not shutil.which("mvn"):
        return "no Maven to fetch a Neo4j server (set NEO4J_TEST_URI to use a running one)"
    return None


def fetch() -> Path:
    """The folder of the jars, fetched when they are not there; processes take turns."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            command = ["mvn", "-B", "-q", "-f", str(HERE / "pom.xml"), "process-resources"]
            command += [f"-Dneo4j.version={version()}", f"-Djars={folder / 'jars'}"]
            for wait in (10, 30, None):  # Central answers 429 under bursts
                if subprocess.run(command, check=False).returncode == 0:
                    (folder / "complete").touch()
                    break
                if wait is None:
                    raise RuntimeError(f"Maven could not fetch Neo4j {version()}")
                time.sleep(wait)
    return folder / "jars"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """One server with a data folder and a port of its own; `settings` go into neo4j.conf."""

    folder: Path
    port: int = field(default_factory=free_port)
    heap: str = "768m"
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def start(self) -> "Server":
        """Start, with the data that is there, and return once it accepts connections."""
        jars = fetch()
        self._configure()
        if not (self.folder / "data" / "dbms" / "auth.ini").exists():
            admin = [java(), "-Xmx256m", "-cp", f"{jars}/*", "org.neo4j.cli.AdminTool"]
            password = [*admin, "dbms", "set-initial-password", PASSWORD]
            subprocess.run(password, check=True, env=self._environment(), capture_output=True)
        main = "CommunityEntryPoint" if version().startswith("5.") else "Neo4jCommunity"
        command = [java(), "-cp", f"{jars}/*", f"-Xms{self.heap}", f"-Xmx{self.heap}", *FLAGS]
        command += [f"org.neo4j.server.{main}", f"--home-dir={self.folder}"]
        command += [f"--config-dir={self.folder / 'conf'}", "--console-mode"]
        with (self.folder / "console.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self._wait()
        return self

    def stop(self) -> None:
        """Shut down in order; kill when that takes too long."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def suspend(self) -> None:
        """Let the process hang: connections stay open, nothing answers once this returns."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.process.pid}/task")
        while any(") T " not in (thread / "stat").read_text() for thread in threads.iterdir()):
            time.sleep(0.01)

    def resume(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def _wait(self) -> None:
        assert self.process
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        self.kill()
        log = (self.folder / "console.log").read_text(errors="replace")
        raise RuntimeError(f"Neo4j did not start:\n{log[-4000:]}")

    def _environment(self) -> dict[str, str]:
        places = {"NEO4J_HOME": str(self.folder), "NEO4J_CONF": str(self.folder / "conf")}
        return os.environ | places

    def _configure(self) -> None:
        for name in ("conf", "data", "logs", "run", "plugins", "import", "licenses"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        settings = {
            "server.default_listen_address": "127.0.0.1",
            "server.default_advertised_address": "127.0.0.1",
            "server.bolt.enabled": "true",
            "server.bolt.listen_address": f"127.0.0.1:{self.port}",
            "server.bolt.advertised_address": f"127.0.0.1:{self.port}",
            "server.http.enabled": "false",
            "server.https.enabled": "false",
            "server.memory.heap.initial_size": self.heap,
            "server.memory.heap.max_size": self.heap,
            "server.memory.pagecache.size": "256m",
            "db.tx_log.rotation.retention_policy": "1 files",
            "dbms.usage_report.enabled": "false",
            **self.settings,
        }
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (self.folder / "conf" / "neo4j.conf").write_text("".join(lines))


def _end_with_parent() -> None:
    """Let the server die with the tests, even when those are killed (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def main(arguments: list[str]) -> int:
    match arguments:
        case ["fetch"]:
            print(fetch())
        case ["serve", *rest] if len(rest) <= 2:
            folder = Path(rest[0]) if rest else home() / "data"
            port = int(rest[1]) if len(rest) == 2 else 7687
            server = Server(folder.absolute(), port, heap="1g").start()
            print(f"{server.uri} user neo4j password {PASSWORD}; Ctrl-C stops it", flush=True)
            try:
                server.process.wait()
            except KeyboardInterrupt:
                server.stop()
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
