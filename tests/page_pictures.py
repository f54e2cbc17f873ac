"""`./run pictures`: docs/images, drawn, and taken of the page over the demo's catalogue."""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import concept_pictures
from browser import chromium, serving
from PIL import Image

from api.cli.main import run

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZES = {"wide": (1440, 900), "phone": (390, 844)}
VIEWS = {
    "recommend": "recommend?user=reader-1&b=1&b-user=reader-1&b-profile=neutral",
    "map": "explore",
    "graph": "explore?item=evergreen-1",
    "segments": "segments",
    "operate": "operate",
}
COLOURS = 64  # of each picture, so that it stays small


def take(home: Path) -> None:
    """Every view, wide and on a phone, into `IMAGES`."""
    IMAGES.mkdir(exist_ok=True)
    with serving(home) as address, chromium() as browser:
        for size, (width, height) in SIZES.items():
            tab = browser.new_page(viewport={"width": width, "height": height})
            for name, view in VIEWS.items():
                tab.goto("about:blank")
                tab.goto(f"{address}#/{view}")
                tab.locator("main:has(h1):not(:has([aria-busy=true]))").wait_for()
                if name == "recommend":
                    tab.locator(".why summary").first.click()
                tab.wait_for_timeout(1000)  # what is drawn, is drawn
                picture = Image.open(BytesIO(tab.screenshot())).convert("RGB")
                picture = picture.quantize(COLOURS, dither=Image.Dither.NONE)
                picture.save(IMAGES / f"{name}-{size}.png", optimize=True)


if __name__ == "__main__":
    concept_pictures.write()
    if len(sys.argv) > 1:
        take(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(["--home", folder, "demo", "--once"])
            take(Path(folder) / "demo")
