"""What users say about themselves, as conditions read it."""

from collections.abc import Mapping
from typing import Any

PREFIX = "attribute "  # before the name of an attribute among the features of a request


def as_texts(value: object) -> tuple[str, ...]:
    """A value as the texts that conditions name; each of a list; none of an object or null."""
    if isinstance(value, list):
        return tuple(text for entry in value for text in as_texts(entry))
    if isinstance(value, bool):
        return ("true" if value else "false",)
    if isinstance(value, int):
        return (str(value),)
    if isinstance(value, float):
        return (f"{value:.15g}",)
    return (value,) if isinstance(value, str) and value else ()


def as_number(value: object) -> float:
    """A value as a number; NaN where it is none."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and abs(value) < 1e300 else float("nan")  # type: ignore[arg-type]


def as_values(value: object) -> tuple[float | str, ...]:
    """A value as bounds and allowed values are compared with: numbers, texts, each of a list."""
    if isinstance(value, list):
        return tuple(each for entry in value for each in as_values(entry))
    number = as_number(value)
    return as_texts(value) if number != number else (number,)  # noqa: PLR0124 - NaN


def as_features(attributes: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Attributes as features of a request: `attribute country` -> its texts."""
    return {f"{PREFIX}{name}": as_texts(value) for name, value in attributes.items()}
