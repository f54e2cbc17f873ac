"""Files that only the owner of a private key can read, by age (https://age-encryption.org).

What is encrypted never lies on the disk in the clear: it goes through a pipe.
"""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from graph.errors import InputError

RECIPIENT = "age1"


@contextlib.contextmanager
def new_file(path: Path, recipient: str | None = None) -> Iterator[IO[bytes]]:
    """A file to write to, which is `path` when the block ends and is gone when it raises.

    Args:
        path: replaced, if it exists; what is no file, such as a pipe or a link, is written to.
        recipient: public key of age; None: the file is not encrypted.

    Raises:
        InputError: `recipient` is no public key of age.
    """
    key = None if recipient is None else recipient_of(recipient)
    replaced = not path.is_symlink() and (path.is_file() or not path.exists())
    aside = path.with_name(f"{path.name}.part") if replaced else path
    try:
        with aside.open("wb") as file:
            if key is None:
                yield file
            else:
                with encrypting(file, key) as inner:
                    yield inner
        if replaced:
            aside.replace(path)
    finally:
        if replaced:
            aside.unlink(missing_ok=True)  # there only when something went wrong


@contextlib.contextmanager
def encrypting(file: IO[bytes], key: Any) -> Iterator[IO[bytes]]:
    """What is written to the stream is in `file` for the owner of `key` when the block ends."""
    import pyrage

    source, target = os.pipe()

    def encrypt() -> None:
        with os.fdopen(source, "rb") as plain:
            pyrage.encrypt_io(plain, file, [key])

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(encrypt)
        try:
            with os.fdopen(target, "wb") as pipe:
                yield pipe
        except Exception:
            done.result()  # says better what was wrong
            raise
        done.result()


def encrypted_text(content: bytes, recipient: str) -> str:
    """A short document as text that `age -d` reads, too.

    Raises:
        InputError: `recipient` is no public key of age.
    """
    key = recipient_of(recipient)
    import pyrage

    return str(pyrage.encrypt(content, [key], armored=True).decode())


def recipient_of(text: str) -> Any:
    """The public key of age that is written in a text; `InputError` if there is none."""
    import pyrage

    try:
        return pyrage.x25519.Recipient.from_str(text.strip())
    except pyrage.RecipientError as error:
        raise InputError(
            f"{text!r} is no public key of age; `age-keygen` makes a pair, the public key begins "
            f"with {RECIPIENT}"
        ) from error
