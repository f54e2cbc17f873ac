"""Where compiled code is kept: a folder that can be written to, else numba stops at the first call.

A container with a read-only root, or code installed by somebody else, may leave it none.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from graph.errors import SettingError

VARIABLE = "NUMBA_CACHE_DIR"
BESIDE_THE_CODE = Path(__file__).parent / "__pycache__"


def choose_folder() -> None:
    """Leave numba its folder where it can write to it, else name a temporary one.

    For this process and those it starts; the temporary folder goes when this process ends, and
    nobody else can write to it.

    Raises:
        SettingError: there is no folder that can be written to, not even a temporary one.
    """
    if any(map(writable, folders())):
        return
    try:
        folder = tempfile.mkdtemp(prefix="nichegraph-compiled-")
    except OSError as error:
        raise SettingError(
            f"compiled code needs a folder that can be written to: name one in {VARIABLE}, or "
            "let the folder for temporary files be written to"
        ) from error
    os.environ[VARIABLE] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)


def _of_the_user() -> Path:
    """Where numba keeps compiled code of code that it cannot write beside."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"


def folders() -> list[Path]:
    """Where numba looks, the first one first."""
    named = os.environ.get(VARIABLE)
    return [Path(named)] if named else [BESIDE_THE_CODE, _of_the_user()]


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where it is missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, RuntimeError):
        return False
