"""How a file was understood; shown after a load, or by `--dry-run` without loading."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Understood:
    """How a file was understood, in words for people."""

    columns: dict[str, str] = field(default_factory=dict)  # its meaning -> column of the file
    ignored: list[str] = field(default_factory=list)  # columns that were not used
    taken: dict[str, str] = field(default_factory=dict)  # part of the file -> what it was taken for
    warnings: list[str] = field(default_factory=list)  # about what may not be as it was meant

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """The same as lines of text."""
        named = [f"{field} = {column}" for field, column in self.columns.items()]
        lines = [f"columns: {', '.join(named)}"] if named else []
        if self.ignored:
            lines.append(f"ignored: {', '.join(self.ignored)}")
        lines += [f"{subject}: {text}" for subject, text in self.taken.items()]
        return lines + [f"note: {text}" for text in self.warnings]
