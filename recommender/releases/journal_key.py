"""The key of a home's journal, which lies in a file outside of the home."""

import re
import stat
from pathlib import Path

from graph.errors import SettingError
from recommender.releases.home import Home

NAME = "setting 'journal_key_file'"
REMEDY = "`(umask 077; openssl rand -hex 32 > FILE)` makes a file with a key"


def key_of(home: Home) -> str | None:
    """The key of the files of a home's inbox; None where they are not encrypted.

    Raises:
        SettingError: the file lies in the home, cannot be read, may be read by everybody or holds
            no key.
    """
    file = home.journal_key_file
    if file is None:
        return None
    if file.resolve().is_relative_to(home.folder.resolve()):
        raise SettingError(
            f"{NAME}: {file} lies in the home, so each backup would hold it, too; move it elsewhere"
        )
    return read_key(file)


def read_key(file: Path) -> str:
    """The key in a file; see `key_of`."""
    try:
        if file.stat().st_mode & stat.S_IRWXO:
            raise SettingError(f"{NAME}: everybody may use {file}; `chmod o= {file}` ends that")
        text = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise SettingError(f"{NAME}: {file} cannot be read: {error.strerror}; {REMEDY}") from error
    except UnicodeDecodeError:
        text = ""
    if re.fullmatch("[0-9a-fA-F]{64}", text) is None:
        raise SettingError(f"{NAME}: {file} does not hold 64 hexadecimal digits; {REMEDY}")
    return text.lower()
