"""Settings files as models: what is wrong in one is named by its key, its value and the remedy.

A file's tables are `Table`s, read by `read_tables`; every value that somebody writes has a `must`,
the words of its remedy. Keys that are not known are told with the nearest one that is.
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
from pydantic_core import ErrorDetails, PydanticCustomError

from graph.errors import InputError, SettingError


class Table(BaseModel):
    """A table of a settings file: its keys are the fields, by their aliases."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            raise PydanticCustomError("table", "it must be a table")
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in content:
            if key not in known:
                context = {"key": key, "hint": _hint(key, known)}
                raise PydanticCustomError("key", "{key} is not known", context)
        return content


def _hint(key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"


T = TypeVar("T", bound=Table)


def known(names: Collection[str]) -> AfterValidator:
    """For the keys of a table that are no fields: one of these names."""

    def check(key: str) -> str:
        if key not in names:
            raise PydanticCustomError("name", "it is not known", {"hint": _hint(key, names)})
        return key

    return AfterValidator(check)


def must(words: str) -> WrapValidator:
    """Whatever is wrong with a value, these words are its remedy, as in "it must be a text"."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("must", "{words}", {"words": words}) from None

    return WrapValidator(check)


Text = Annotated[str, Field(pattern=r"\S"), must("it must be a text, not an empty one")]
Texts = Annotated[tuple[str, ...], Field(strict=False), must("it must be a list of texts")]
Number = Annotated[float, Field(ge=0, allow_inf_nan=False), must("it must be a number, 0 or more")]
Count = Annotated[int, Field(ge=1), must("it must be a whole number, 1 or more")]
Switch = Annotated[bool, must("it must be true or false")]
When = Mapping[str, Texts]  # feature of a request's context -> its values


def read_tables(model: type[T], content: Mapping[str, Any], where: str) -> T:
    """A file's tables; the first thing that is wrong is a `SettingError`, after `where`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise SettingError(f"{where}: {_sentence(error.errors()[0], content)}") from None


def _sentence(error: ErrorDetails, content: Mapping[str, Any]) -> str:
    path, value, more = error["loc"], error["input"], error.get("ctx", {})
    inside, keys = _tables(path, content)
    key = ".".join(keys)
    if error["type"] == "key":
        name, unknown = more["key"], ".".join([*keys, more["key"]])
        if not path:
            unknown = f"[{name}]" if isinstance(value[name], Mapping | list) else repr(name)
        return f"{inside}{unknown} is not known; {more['hint']}"
    if error["type"] == "name":  # a path to the key of a mapping ends so
        return f"{inside}{key.removesuffix('.[key]')} is not known; {more['hint']}"
    if error["type"] in ("table", "dict_type", "mapping_type"):
        return f"{inside}{key} is {value!r}; it must be a table, written as [{key}]"
    if error["type"] == "list_type" and len(path) == 1:
        return f"write each {key} as [[{key}]], with two brackets"
    if error["type"] == "missing":
        return f"{inside}needs a {key}"
    if isinstance(more.get("error"), InputError):  # names its key itself
        return f"{inside}{more['error']}"
    return f"{inside}{key} is {value!r}; {more.get('words') or error['msg']}"


def _tables(path: Sequence[str | int], content: Any) -> tuple[str, list[str]]:
    """Which of several tables a path leads into, as in "rule 2 (spring): ", and the keys in it."""
    if len(path) < 2 or not isinstance(path[1], int):
        return "", [str(key) for key in path]
    table = content[path[0]][path[1]]
    name = table.get("name") if isinstance(table, Mapping) else None
    named = f" ({name})" if isinstance(name, str) and name else ""
    return f"{path[0]} {path[1] + 1}{named}: ", [str(key) for key in path[2:]]
