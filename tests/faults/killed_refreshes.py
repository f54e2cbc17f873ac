"""Refreshes that kill themselves, each in a process forked from one that has imported all it needs.

Run as a program it reads orders from standard input, a line of JSON each, and answers with the
status of the process that carried it out.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Refreshes:
    """The other end: starts the program and gives it orders."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )

    def __call__(self, home, log, *, now, at_step=None, after=None):
        """Refresh a home; what it says goes to a file. It is killed at a step or after a time.

        Gives the signal that ended it, or 0.
        """
        order = {"home": str(home), "log": str(log), "now": now, "at": at_step, "after": after}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def close(self):
        self.process.communicate()


def carry_out(order):
    from contextlib import closing

    from graph.stores.embedded_store import EmbeddedStore
    from recommender.learning.build import RefreshConfig
    from recommender.learning.refresh import refresh
    from recommender.releases.home import Home

    home = Home(Path(order["home"]))
    steps = 0
    with Path(order["log"]).open("w", encoding="utf-8") as log:

        def say(text):
            nonlocal steps
            if steps == order["at"]:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1
            log.write(text + "\n")
            log.flush()

        with closing(EmbeddedStore(home.store)) as store:
            config = RefreshConfig(preset="default", threads=1)
            refresh(store, home, config, now=order["now"], say=say)


def main():
    import faiss  # noqa: F401
    import sklearn.mixture  # noqa: F401

    import recommender.learning.refresh  # noqa: F401

    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            if order["after"] is not None:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process, as a kill does
                signal.setitimer(signal.ITIMER_REAL, order["after"])
            carry_out(order)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        print(os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)


if __name__ == "__main__":
    main()
