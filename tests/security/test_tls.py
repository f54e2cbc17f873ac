"""TLS by files: a real server with a real certificate, and wrong files told before it listens."""

import http.client
import json
import shutil
import ssl
import subprocess
import urllib.request

import pytest

from api.settings import load_settings
from api.tls import checked_files
from graph.errors import SettingError
from tests.test_api_worker import free_port, until
from tests.test_ending import start


def made(folder, name, *options):
    """A self-signed certificate and its key, as `openssl req` makes them."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subject = ["-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost", "-addext", names]
    files = ["-keyout", key, "-out", certificate]
    subprocess.run(
        ["openssl", "req", "-x509", *subject, *files, *(options or ["-nodes"])],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    return made(tmp_path_factory.mktemp("tls"), "own")


def test_two_workers_speak_https_to_who_knows_the_certificate_and_http_to_nobody(
    planted_home, tmp_path, files
):
    home = shutil.copytree(planted_home.folder, tmp_path / "home")
    port = free_port()
    trusting = ssl.create_default_context(cafile=files[0])

    def ask(context):
        address = f"https://localhost:{port}/v1/users/reader-1/recommendations?n=3"
        with urllib.request.urlopen(address, timeout=60, context=context) as answer:
            return json.load(answer)

    tls = {"NICHEGRAPH_TLS_CERT": str(files[0]), "NICHEGRAPH_TLS_KEY": str(files[1])}
    server = start(home, port, tls, workers=2)
    try:
        until(lambda: ask(trusting))
        assert {len(ask(trusting)["items"]) for _ in range(8)} == {3}
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(ssl.create_default_context())
        with pytest.raises((OSError, http.client.HTTPException)):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=60)
    finally:
        server.terminate()
        assert server.wait(60) == 0


def test_wrong_files_are_told_with_what_to_do(files, tmp_path):
    certificate, key = files
    other = made(tmp_path, "other")[1]
    closed = made(tmp_path, "closed", "-passout", "pass:secret")[1]
    text = tmp_path / "text"
    text.write_text("no certificate")
    for tls_cert, tls_key, message in [
        (certificate, None, "'tls_key' is missing"),
        (None, key, "'tls_cert' is missing"),
        (tmp_path / "none.pem", key, r"'tls_cert': \S+none.pem cannot be read: No such file"),
        (certificate, tmp_path, "'tls_key': .* cannot be read: Is a directory"),
        (certificate, other, "is not the key of the first certificate"),
        (certificate, closed, "needs a passphrase.*openssl pkey -in OLD -out NEW"),
        (text, key, "are not a certificate and its key in PEM form"),
        (certificate, text, "are not a certificate and its key in PEM form"),
    ]:
        with pytest.raises(SettingError, match=message):
            checked_files(load_settings(tmp_path, tls_cert=tls_cert, tls_key=tls_key))
    assert checked_files(load_settings(tmp_path)) is None
