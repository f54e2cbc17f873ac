"""Every format that can be loaded, by name."""

from loaders import citeulike, lightgcn
from loaders.format import Format

FORMATS: dict[str, Format] = {module.FORMAT.name: module.FORMAT for module in (citeulike, lightgcn)}
