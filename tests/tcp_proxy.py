"""A TCP proxy on a free port that misbehaves on request."""

import contextlib
import socket
import struct
import threading
import time


class TcpProxy:
    """Passes bytes to `port` of this machine as its `mode` says; the mode may change at any time.

    pass     everything goes through
    refuse   nobody listens
    reset    connections are accepted and reset, open ones too
    hang     connections are accepted, nothing is ever answered
    slow     every answer comes a byte at a time, ten a second
    cut      after `cut_after` more bytes of answers the connection is reset
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.mode = "pass"
        self.cut_after = 0
        self.accepted = 0  # connections since the mode changed
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._listen()

    @property
    def uri(self) -> str:
        return f"bolt://127.0.0.1:{self.port}"

    def become(self, mode: str, cut_after: int = 0) -> None:
        self.mode, self.cut_after, self.accepted = mode, cut_after, 0
        if mode == "refuse":
            self._stop_listening()
        elif self._listener is None:
            self._listen()
        if mode in {"refuse", "reset"}:
            self._reset_all()

    def close(self) -> None:
        self._stop_listening()
        self._reset_all()

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.mode == "reset":
                _reset(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                _reset(client)
                continue
            server.settimeout(None)
            self._sockets += [client, server]
            for start in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pump, args=start, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                while self.mode == "hang":
                    time.sleep(0.02)
                if answers and self.mode == "slow":
                    for byte in data:
                        if self.mode != "slow":
                            break
                        sink.sendall(bytes([byte]))
                        time.sleep(0.1)
                    continue
                if answers and self.mode == "cut":
                    self.cut_after -= len(data)
                    if self.cut_after < 0:
                        break
                sink.sendall(data)
        _reset(source)
        _reset(sink)

    def _reset_all(self) -> None:
        sockets, self._sockets = self._sockets, []
        for end in sockets:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        end.shutdown(socket.SHUT_RDWR)
    end.close()
