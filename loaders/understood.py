"""How a file was understood: shown after a load, and by `--dry-run` instead of one."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Understood:
    """What was made of a file, in words for people."""

    columns: dict[str, str] = field(default_factory=dict)  # what it became -> column of the file
    ignored: list[str] = field(default_factory=list)  # columns that nothing was made of
    taken: dict[str, str] = field(default_factory=dict)  # of what -> what it was taken for
    warnings: list[str] = field(default_factory=list)  # what may not be as it was meant

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return dict(vars(self))

    def lines(self) -> list[str]:
        """One line per thing to say."""
        named = [f"{field} = {column}" for field, column in self.columns.items()]
        lines = [f"columns: {', '.join(named)}"] if named else []
        if self.ignored:
            lines.append(f"ignored: {', '.join(self.ignored)}")
        lines += [f"{subject}: {text}" for subject, text in self.taken.items()]
        return lines + [f"look here: {text}" for text in self.warnings]
