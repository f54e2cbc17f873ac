"""From JSON to the dataclasses of `answers`; fields unknown to this version are left out."""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from nichegraph_client.errors import Malformed

T = TypeVar("T")


def read(shape: type[T], value: object) -> T:
    """A JSON value as an answer; `Malformed` names the field that does not fit."""
    result: T = _read(shape, value, shape.__name__)
    return result


def _read(shape: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(shape) and isinstance(shape, type):
        return _fields(shape, _checked(value, dict, name), name)
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        inner = [part for part in arguments if part is not types.NoneType]
        return _read(inner[0], value, name) if len(inner) == 1 else value
    if origin is list:
        return [
            _read(arguments[0], entry, f"{name}[{number}]")
            for number, entry in enumerate(_checked(value, list, name))
        ]
    if origin is dict:
        return {
            key: _read(arguments[1], entry, f"{name}.{key}")
            for key, entry in _checked(value, dict, name).items()
        }
    if shape is float:
        return float(_checked(value, (int, float), name))
    return value if shape is Any else _checked(value, shape, name)


def _fields(shape: type[Any], value: dict[str, Any], name: str) -> Any:
    types_of = typing.get_type_hints(shape)
    known = {}
    for field in dataclasses.fields(shape):
        if field.name in value:
            known[field.name] = _read(
                types_of[field.name], value[field.name], f"{name}.{field.name}"
            )
        elif field.default is dataclasses.MISSING:
            raise Malformed(f"{name}: there is no {field.name!r} in the answer")
    return shape(**known)


def _checked(value: Any, wanted: Any, name: str) -> Any:
    if not isinstance(value, wanted) or (wanted is not bool and isinstance(value, bool)):
        raise Malformed(f"{name}: {type(value).__name__} is not what this client expects here")
    return value
