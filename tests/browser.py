"""A real Chromium before a real server, for tests of the page."""

import os
import shutil
import threading
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server

from api.app import create_app
from api.routes import page
from api.settings import load_settings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
AXE = page.BUNDLE.parent / "node_modules" / "axe-core" / "axe.min.js"


def missing():
    """Why no browser test can run, or None; `TESTS_REQUIRE_BROWSER` makes that a failure."""
    reason = None
    if CHROMIUM is None:
        reason = "no Chromium: apt-get install chromium"
    elif not (page.BUNDLE / "index.html").is_file() or not AXE.is_file():
        reason = "the page is not bundled: ./run page"
    if reason and os.environ.get("TESTS_REQUIRE_BROWSER"):
        pytest.fail(reason)
    return reason


@contextmanager
def serving(home, **settings):
    """The address of a server over a home."""
    app = create_app(load_settings(home, **settings))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        if "console" in app.extensions:
            app.extensions["console"].close()


@contextmanager
def chromium():
    """The browser, to be asked for pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def serious(tab):
    """What axe finds wrong with a page that is serious or critical, one line each."""
    tab.evaluate(AXE.read_text(encoding="utf-8"))  # not by a script element: the policy forbids it
    report = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{problem['id']}: {problem['nodes'][0]['html'][:120]}"
        for problem in report["violations"]
        if problem["impact"] in ("serious", "critical")
    ]
