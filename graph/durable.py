"""Files that a kill or a power cut leaves whole: written aside, synced, renamed, folder synced."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # who queries a copy for exploring needs no arrays, and must start quickly
    import numpy.typing as npt


def replace_file(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Replace a file's content; readers see the old content or the new one, never a mixture.

    `mode` holds the permissions of a new file, less those that the system's umask removes.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        aside.touch(mode)
        aside.write_text(text, encoding="utf-8", newline="\n")
        sync(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)  # there only when something went wrong
    sync(path.parent)


def save_array(path: Path, array: "npt.NDArray[Any]") -> None:
    """Write an array as `.npy`, synced; an `OSError` names the file and says why."""
    import numpy as np

    with path.open("wb") as file:
        try:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            # numpy says how much it wrote, not why it stopped: a full disk does that.
            number = error.errno or errno.ENOSPC
            raise OSError(number, os.strerror(number), str(path)) from error


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made when it is not there; others wait their turn.

    The system gives the lock back when the process ends, however it ends.
    """
    with path.open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
