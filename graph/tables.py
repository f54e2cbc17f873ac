"""Reads settings files into models; errors name the key, the value and the remedy.

A file's tables are `Table`s, read by `read_tables`. Every value that people write has a `must`,
which words its remedy. For an unknown key the error suggests the nearest known one.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from graph.errors import InputError, SettingError


class _UnknownKey(ValueError):  # noqa: N818 - pydantic reports only a ValueError
    def __init__(self, key: str, known: Collection[str]) -> None:
        near = difflib.get_close_matches(key, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose from: {', '.join(sorted(known))}"
        super().__init__(f"is not known; {hint}")
        self.key = key


class Table(BaseModel):
    """A table of a settings file: its keys are the fields, by their aliases."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content  # not a table: pydantic reports that
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in content:
            if key not in known:
                raise _UnknownKey(key, known)
        return content


T = TypeVar("T", bound=Table)


def known(names: Collection[str]) -> AfterValidator:
    """A check that a free key of a table is one of these names."""

    def check(key: str) -> str:
        if key not in names:
            raise _UnknownKey(key, names)
        return key

    return AfterValidator(check)


def must(words: str) -> WrapValidator:
    """Gives these words as the remedy for any wrong value, as in "it must be a text"."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise ValueError(words) from None

    return WrapValidator(check)


Text = Annotated[str, Field(pattern=r"\S"), must("it must be a text, not an empty one")]
Texts = Annotated[tuple[str, ...], Field(strict=False), must("it must be a list of texts")]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False), must("it must be a number, 0 or more")]
Count = Annotated[int, Field(ge=1), must("it must be a whole number, 1 or more")]
Switch = Annotated[bool, must("it must be true or false")]
When = Mapping[str, Texts]  # feature of a request's context -> its values


def read_tables(model: type[T], content: Mapping[str, Any], where: str) -> T:
    """A file's tables; the first fault raises a `SettingError` that begins with `where`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SettingError(f"{where}: {_sentence(dict(error.errors()[0]), content)}") from None


def _sentence(error: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    path, value, kind = error["loc"], error["input"], error["type"]
    cause = error.get("ctx", {}).get("error")
    inside, keys = _tables(path, content)
    key = ".".join(keys)
    if isinstance(cause, _UnknownKey):
        if not path:
            table = isinstance(value[cause.key], Mapping | list)
            return f"[{cause.key}] {cause}" if table else f"{cause.key!r} {cause}"
        if keys[-1:] == ["[key]"]:  # of a mapping
            return f"{inside}{key.removesuffix('.[key]')} {cause}"
        return f"{inside}{'.'.join([*keys, cause.key])} {cause}"
    if isinstance(cause, InputError):  # names its key itself
        return f"{inside}{cause}"
    if kind == "model_type" and not keys:  # one of several
        return f"{inside.removesuffix(': ')} is {value!r}; it must be a table"
    if kind in ("model_type", "dict_type", "mapping_type"):
        return f"{inside}{key} is {value!r}; it must be a table, written as [{key}]"
    if kind == "list_type" and len(path) == 1:
        return f"write each {key} as [[{key}]], with two brackets"
    if kind == "missing":
        return f"{inside}needs a {key}"
    return f"{inside}{key} is {value!r}; {cause or error['msg']}"


def _tables(path: Sequence[str | int], content: Any) -> tuple[str, list[str]]:
    """The table that a path leads into, as in "rule 2 (spring): ", and the keys inside it."""
    if len(path) < 2 or not isinstance(path[1], int):
        return "", [str(key) for key in path]
    table = content[path[0]][path[1]]
    name = table.get("name") if isinstance(table, Mapping) else None
    named = f" ({name})" if isinstance(name, str) and name else ""
    return f"{path[0]} {path[1] + 1}{named}: ", [str(key) for key in path[2:]]
