"""The page's files: strict headers, compressed, named by content; a sentence without them."""

import gzip
import re

import pytest

from api.app import create_app
from api.routes import page
from api.settings import load_settings


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A bundle as build.mjs leaves it: one script, compressed beside, and a strange file."""
    folder = tmp_path_factory.mktemp("dist")
    (folder / "assets").mkdir()
    (folder / "index.html").write_text("<!doctype html><script src=assets/main-A1.js></script>")
    script = b"export const page = 1;\n" * 50
    (folder / "assets" / "main-A1.js").write_bytes(script)
    (folder / "assets" / "main-A1.js.gz").write_bytes(gzip.compress(script))
    (folder / "assets" / "notes.bin").write_bytes(b"x")
    (folder / "secret.txt").write_text("not an asset")
    return folder


def client(folder, home, monkeypatch):
    monkeypatch.setattr(page, "BUNDLE", folder)
    return create_app(load_settings(home)).test_client()


def test_the_page_and_its_files_have_strict_headers(bundle, tmp_path, monkeypatch):
    page = client(bundle, tmp_path, monkeypatch)
    for path in ("/", "/assets/main-A1.js"):
        response = page.get(path)
        assert response.status_code == 200
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert page.get("/").headers["Cache-Control"] == "no-cache"
    assert "immutable" in page.get("/assets/main-A1.js").headers["Cache-Control"]


def test_files_are_sent_compressed_to_who_takes_it(bundle, tmp_path, monkeypatch):
    page = client(bundle, tmp_path, monkeypatch)
    plain = page.get("/assets/main-A1.js")
    packed = page.get("/assets/main-A1.js", headers={"Accept-Encoding": "gzip, br"})
    refused = page.get("/assets/main-A1.js", headers={"Accept-Encoding": "gzip;q=0"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data == refused.data
    assert plain.content_type == packed.content_type == "text/javascript; charset=utf-8"


@pytest.mark.parametrize(
    "name", ["secret.txt", "notes.bin", "index.html", "..%2fsecret.txt", "../index.html", "main.js"]
)
def test_nothing_else_is_sent(bundle, tmp_path, monkeypatch, name):
    response = client(bundle, tmp_path, monkeypatch).get(f"/assets/{name}")
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"


def test_a_new_bundle_is_served_at_once(bundle, tmp_path, monkeypatch):
    browser = client(tmp_path / "nothing", tmp_path, monkeypatch)
    assert browser.get("/").status_code == 503
    monkeypatch.setattr(page, "BUNDLE", bundle)
    assert browser.get("/").status_code == browser.get("/assets/main-A1.js").status_code == 200


def test_without_a_bundle_it_says_how_to_build_it_and_the_rest_works(tmp_path, monkeypatch):
    browser = client(tmp_path / "nothing", tmp_path, monkeypatch)
    response = browser.get("/")
    assert response.status_code == 503
    assert "./run page" in response.text
    assert browser.get("/live").status_code == 200


def test_the_bundle_has_no_inline_script_and_asks_no_other_host():
    index = page.BUNDLE / "index.html"
    if not index.is_file():
        pytest.skip("the page is not bundled: ./run page")
    html = index.read_text(encoding="utf-8")
    assert re.findall(r"<script[^>]*>", html) and not re.findall(r"<script[^>]*>[^<]", html)
    assert not re.findall(r"https?://|style=|\son\w+=", html)
    first = [index, *(page.BUNDLE / name for name in re.findall(r'"(assets/[^"]+)"', html))]
    assert len(first) == 3
