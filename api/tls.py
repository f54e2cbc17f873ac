"""TLS by files, for a server without a proxy in front: checked before anybody listens."""

import ssl
from pathlib import Path

from api.settings import Settings
from graph.errors import SettingError


def checked_files(settings: Settings) -> tuple[Path, Path] | None:
    """The certificate (with its chain) and its key, both PEM; None where TLS is not asked for.

    Raises:
        SettingError: one of them is missing or cannot be read, or they do not belong together; the
            message says what to do.
    """
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "tls_key" if key is None else "tls_cert"
        raise SettingError(f"setting {missing!r} is missing: TLS needs a certificate and its key")
    for name, file in (("tls_cert", certificate), ("tls_key", key)):
        try:
            with file.open("rb") as opened:
                opened.read(1)
        except OSError as error:
            raise SettingError(
                f"setting {name!r}: {file} cannot be read: {error.strerror}; name a PEM file that "
                "the account of the server may read"
            ) from error
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        raise SettingError(_sentence(certificate, key, error)) from error
    return certificate, key


def _sentence(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return (
            f"setting 'tls_key': {key} is not the key of the first certificate in {certificate}; "
            "put the server's own certificate first, then those of the authorities between"
        )
    if b"ENCRYPTED" in key.read_bytes()[:4096]:
        return (
            f"setting 'tls_key': {key} needs a passphrase, which nobody could type when the "
            "server restarts; write it without one: openssl pkey -in OLD -out NEW"
        )
    return (
        f"settings 'tls_cert' and 'tls_key': {certificate} and {key} are not a certificate and "
        f"its key in PEM form ({error.reason or error})"
    )
