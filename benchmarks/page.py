"""The page in a real Chromium: how long until something is there to see, and is a large map smooth?

Each view is opened in a browser that has kept nothing, until no part of it is waiting for an
answer. The baseline is `/live` in the same browser: a page without anything. Then a map of made-up
points is dragged, and the time between two frames is counted; the baseline is the same drag while
there is nothing to draw. Without a graphics card the browser draws by software.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serve import ours
from recommender.releases.home import Home

VIEWS = ("explore", "recommend", "segments", "operate")
READY = "main:has(h1):not(:has([aria-busy=true]))"
BROWSER = ["--no-sandbox", "--disable-gpu", "--use-angle=swiftshader"]
BROWSER += ["--enable-unsafe-swiftshader", "--disable-background-networking"]
SIZE = {"width": 1440, "height": 900}
STEPS = 120  # of a drag
FRAMES = """() => {
    window.frames_at = [];
    const next = (at) => { window.frames_at.push(at); requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""
SENT = """() => performance.getEntriesByType("resource")
    .concat(performance.getEntriesByType("navigation"))
    .reduce((sum, entry) => sum + entry.transferSize, 0)"""


def main(arguments: list[str]) -> dict[str, Any]:
    """Measure; `--home FOLDER` has a release, else a demo is made; `--points 50000`."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(prog="bench page")
    parser.add_argument("--home", type=Path, help="with a release; a demo is made without")
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory(prefix="nichegraph-bench-") as folder:
        home = options.home or demo(Path(folder) / "home")
        served = argparse.Namespace(workers=2, threads=2)
        with ours(Home(home), served) as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=program, args=BROWSER)
            address = f"http://127.0.0.1:{server.port}/"
            empty, _ = opened(browser, f"{address}live", "body", options.rounds)
            table: list[dict[str, Any]] = [{"view": "nothing", "ms": round(empty, 1)}]
            for view in VIEWS:
                taken, sent = opened(browser, f"{address}#/{view}", READY, options.rounds)
                table.append({"view": view, "ms": round(taken, 1), "kB": round(sent / 1000, 1)})
            frames = {count: dragged(browser, address, count) for count in (1, options.points)}
    for count, gaps in frames.items():
        row = {"view": f"a map of {count:,} points, dragged"}
        row |= {"frame ms": round(float(np.median(gaps)), 1)}
        table.append(row | {"p95 frame ms": round(float(np.percentile(gaps, 95)), 1)})
    slow = max(row["ms"] for row in table if "kB" in row)
    few, many = (float(np.median(gaps)) for gaps in frames.values())
    return {
        "bench": "page",
        "table": table,
        "ratios": {
            "ms until the slowest view is there": round(slow),
            "a view over a page without anything": round(slow / empty, 2),
            "a frame of the large map over one with nothing to draw": round(many / few, 2),
        },
    }


def demo(folder: Path) -> Path:
    """The home that `nichegraph demo` makes."""
    from api.cli.main import run

    if run(["--home", str(folder), "demo", "--once"]) != 0:
        raise SystemExit("the demo could not be made")
    return folder / "demo"


def opened(browser: Any, address: str, ready: str, rounds: int) -> tuple[float, int]:
    """Median of the milliseconds until a page is ready, and how many bytes were sent for it."""
    taken, sent = [], 0
    for _ in range(rounds):
        context = browser.new_context(viewport=SIZE)
        tab = context.new_page()
        tab.goto(address)
        tab.locator(ready).wait_for()
        taken.append(tab.evaluate("performance.now()"))
        sent = tab.evaluate(SENT)
        context.close()
    return statistics.median(taken), sent


def dragged(browser: Any, address: str, points: int) -> np.ndarray:
    """Milliseconds between frames while a map of so many made-up points is dragged."""
    with urllib.request.urlopen(f"{address}v1/map") as answer:
        about = json.load(answer) | {"items": points}
    rng = np.random.default_rng(0)
    places = rng.uniform(-1, 1, (2, points)).astype("<f4")
    domains, rarity = rng.integers(0, 30, points), rng.integers(0, 256, points)
    data = places.tobytes() + domains.astype("<u2").tobytes() + rarity.astype(np.uint8).tobytes()
    tab = browser.new_context(viewport=SIZE).new_page()
    tab.route("**/v1/map", lambda route: route.fulfill(json=about))
    kind = "application/octet-stream"
    tab.route("**/v1/map/points*", lambda route: route.fulfill(body=data, content_type=kind))
    tab.goto(f"{address}#/explore")
    tab.locator(READY).wait_for()
    tab.wait_for_timeout(500)
    tab.evaluate(FRAMES)
    box = tab.locator(".map canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    for step in range(STEPS):
        tab.mouse.move(x + 2 * step, y + step)
        tab.wait_for_timeout(8)
    tab.mouse.up()
    gaps = np.diff(tab.evaluate("window.frames_at"))
    tab.context.close()
    return gaps
