"""A large mapping that never changes, and from which a newer one is cheap to derive."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, overload

Value = TypeVar("Value")
Default = TypeVar("Default")
SHARE = 8  # share of the older layer's entries at which the newer is merged into it
LEAST = 1_000


class Layers(Mapping[str, Value]):
    """Two dictionaries, the newer one over the older one; neither is changed any more."""

    def __init__(
        self, old: dict[str, Value] | None = None, new: dict[str, Value] | None = None
    ) -> None:
        """Wrap the two."""
        self._old: dict[str, Value] = old if old is not None else {}
        self._new: dict[str, Value] = new if new is not None else {}

    def with_(self, entries: Mapping[str, Value]) -> "Layers[Value]":
        """The same with some entries new or replaced."""
        return Layers(self._old, {**self._new, **entries})

    def settled(self, keep: Callable[[Value], bool] | None = None) -> "Layers[Value]":
        """The same mapping, merged into one layer if the newer one has grown large enough.

        Only then are entries dropped that need not be kept; None: all are.
        """
        if len(self._new) < max(LEAST, len(self._old) // SHARE):
            return self
        merged = {**self._old, **self._new}
        if keep is not None:
            merged = {key: value for key, value in merged.items() if keep(value)}
        return Layers(merged, {})

    def __getitem__(self, key: str) -> Value:
        return self._new[key] if key in self._new else self._old[key]

    # `Mapping` would raise and catch an error for each key that is missing, as most are.

    @overload
    def get(self, key: str, /) -> Value | None: ...

    @overload
    def get(self, key: str, /, default: Value | Default) -> Value | Default: ...

    def get(self, key: str, /, default: Any = None) -> Any:
        """The value of a key, or else the default."""
        return self._new[key] if key in self._new else self._old.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._new or key in self._old

    def __bool__(self) -> bool:
        return bool(self._new or self._old)

    def __iter__(self) -> Iterator[str]:
        yield from self._new
        yield from (key for key in self._old if key not in self._new)

    def __len__(self) -> int:
        return len(self._new) + sum(key not in self._new for key in self._old)
