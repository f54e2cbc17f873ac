"""Where compiled code is kept: in a writable folder, or else numba fails at the first call.

In a container with a read-only root, or with code installed by somebody else, there may be none.
Each version of the code has a folder of its own: numba checks whether a function's own file has
changed, but not the files of the functions it calls, so after an update it would go on using code
that was compiled before.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path

from graph.errors import SettingError

VARIABLE = "NUMBA_CACHE_DIR"
BESIDE_THE_CODE = Path(__file__).parent / "__pycache__"
COMPILED = ("graph", "embeddings", "recommender")  # packages with compiled code
UNUSED = 7 * 86_400  # seconds after which the folder of another version is removed


def choose_folder() -> None:
    """Give numba a folder for this version of the code, a temporary one if no other is writable.

    This holds for this process and those it starts. A temporary folder is removed when this process
    ends, and nobody else can write to it.

    Raises:
        SettingError: no folder is writable, not even a temporary one.
    """
    for parent in folders():
        folder = of_this_code(parent)
        if writable(folder):
            os.environ[VARIABLE] = str(folder)
            _remove_unused(folder)
            return
    try:
        made = tempfile.mkdtemp(prefix="nichegraph-compiled-")
    except OSError as error:
        raise SettingError(
            f"compiled code needs a writable folder: name one in {VARIABLE}, or make the folder "
            "for temporary files writable"
        ) from error
    os.environ[VARIABLE] = made
    atexit.register(shutil.rmtree, made, ignore_errors=True)


def of_this_code(parent: str | Path) -> Path:
    """The folder in `parent` for this version of the code; `parent` itself if it is that folder."""
    parent, name = Path(parent), f"code-{code_digest(Path(__file__).resolve().parents[1])}"
    return parent if parent.name == name else parent / name


@cache
def code_digest(top: Path) -> str:
    """A digest of the files with compiled functions below a folder."""
    digest = hashlib.sha256()
    for package in COMPILED:
        for path in sorted((top / package).rglob("*.py")):
            content = path.read_bytes()
            if b"numba" in content:
                digest.update(content)
    return digest.hexdigest()[:12]


def _remove_unused(folder: Path) -> None:
    """Remove other versions' folders that nobody has written to for `UNUSED` seconds."""
    for other in folder.parent.glob("code-*"):
        try:
            if other != folder and time.time() - other.stat().st_mtime > UNUSED:
                shutil.rmtree(other)
        except OSError:
            continue  # another process was quicker, or it is not ours


def _of_the_user() -> Path:
    """Where numba keeps compiled code if it cannot write beside the source."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"


def folders() -> list[Path]:
    """The folders where numba looks, in its order."""
    named = os.environ.get(VARIABLE)
    return [Path(named)] if named else [BESIDE_THE_CODE, _of_the_user()]


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder; if the folder is missing, it is made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, RuntimeError):
        return False
