"""How much memory is left: the machine's, and that of the control groups this process is in."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")
LEAST_LIMIT = 1 << 60  # from here on a limit means that there is none


def memory(root: Path = ROOT) -> dict[str, int]:
    """Bytes of memory: in total and available; 0 where the system does not tell.

    Within a control group, as in a container, they are those of the tightest group above. Files
    that were read and are not in use count as available.
    """
    sizes = _fields(root / "proc/meminfo", 1024)
    total, available = sizes.get("MemTotal", 0), sizes.get("MemAvailable", 0)
    for limit, used in _groups(root):
        if limit < LEAST_LIMIT and total:
            total, available = min(total, limit), min(available, max(limit - used, 0))
    return {"total": total, "available": available}


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of each control group that this process is in, in both versions."""
    for line in _lines(root / "proc/self/cgroup"):
        _, kinds, path = line.split(":", 2)
        if not kinds:
            top, most, now, files = "", "memory.max", "memory.current", "inactive_file"
        elif "memory" in kinds.split(","):
            top, most, now = "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            files = "total_inactive_file"
        else:
            continue
        base = root / "sys/fs/cgroup" / top
        group = base / path.strip("/")
        # In a container the path may be that of the host, and the group stands at the top.
        for folder in (group, *group.parents):
            limit = "".join(_lines(folder / most))
            if limit.isdigit():
                used = int("".join(_lines(folder / now)) or 0)
                unused = _fields(folder / "memory.stat", 1).get(files, 0)
                yield int(limit), max(used - unused, 0)
            if folder == base:
                break


def _fields(path: Path, unit: int) -> dict[str, int]:
    pairs = (line.replace(":", " ").split() for line in _lines(path))
    return {words[0]: int(words[1]) * unit for words in pairs if len(words) > 1}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []
