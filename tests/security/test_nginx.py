"""Behind a real nginx on `/recs/`, by the configuration that operators are given."""

import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest

from tests.security.test_tls import made
from tests.test_api_worker import free_port, until
from tests.test_ending import start

GIVEN = Path(__file__).parents[2] / "docs" / "operating" / "nginx.conf"


@pytest.fixture(scope="module")
def program():
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None:
        if os.environ.get("TESTS_REQUIRE_NGINX"):
            pytest.fail("nginx was there and is gone")
        pytest.skip("no nginx on this machine")
    return nginx


@pytest.fixture(scope="module")
def behind(program, planted_home, tmp_path_factory):
    """Gives what nginx answers; beyond three requests a second, an address is told to wait."""
    folder = tmp_path_factory.mktemp("nginx")
    home = shutil.copytree(planted_home.folder, folder / "home")
    certificate, key = made(folder, "shop")
    port, ours = free_port(), free_port()
    given = GIVEN.read_text().replace("listen 443", f"listen 127.0.0.1:{port}")
    given = given.replace("127.0.0.1:8000", f"127.0.0.1:{ours}").replace(
        "shop.example;", "localhost;"
    )
    given = re.sub(r"/etc/ssl/\S+fullchain.pem", str(certificate), given)
    given = re.sub(r"/etc/ssl/\S+privkey.pem", str(key), given)
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        "events {}\n"
        f"http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};\n"
        f"fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n"
        f"{given} }}\n"
    )
    server = start(
        home,
        ours,
        {"NICHEGRAPH_TRUSTED_PROXIES": "127.0.0.1", "NICHEGRAPH_REQUESTS_PER_SECOND": "3"},
    )
    nginx = subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf"])
    trusting = ssl.create_default_context(cafile=certificate)

    def ask(path, **headers):
        request = urllib.request.Request(f"https://localhost:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60, context=trusting) as answer:
                return answer.status, answer.geturl(), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.geturl(), error.read()

    try:
        until(lambda: ask("/recs/ready")[0] == 200)
        yield ask, port
    finally:
        for process in (nginx, server):
            process.terminate()
            process.wait(60)


def test_lists_the_page_and_the_document_are_below_the_prefix(behind):
    ask, port = behind
    status, _, content = ask("/recs/v1/users/a%2Fb/recommendations?n=3")
    assert (status, len(json.loads(content)["items"])) == (200, 3)
    status, address, content = ask("/recs/openapi")  # a redirect, followed
    assert (status, address) == (200, f"https://localhost:{port}/recs/openapi/")
    status, _, content = ask("/recs/openapi/openapi.json")
    assert json.loads(content)["servers"] == [{"url": "/recs"}]
    status, _, content = ask("/recs/")
    assert status == 200
    for name in re.findall(r'(?:src|href)="([^"#]+\.(?:js|css))"', content.decode()):
        assert ask(name if name.startswith("/") else f"/recs/{name}")[0] == 200, name


def test_who_comes_through_it_is_not_from_here_and_is_counted_by_its_own_address(behind):
    ask, _ = behind
    assert ask("/recs/metrics")[0] == 403
    spoofed = [
        ask("/recs/v1/popular?n=1", **{"X-Forwarded-For": f"10.0.0.{k}"})[0] for k in range(9)
    ]
    assert spoofed.count(429) >= 1  # what the caller writes there makes no other caller of it
