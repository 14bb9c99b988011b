"""Answers of the server as objects: fields by their names, moments as `datetime`, nouns inside of others."""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from datetime import datetime
from typing import Any, TypeVar

T = TypeVar("T")

_BEYOND_MICROSECONDS = re.compile(r"(\.\d{6})\d+")


def moment(text: str) -> datetime:
    """As the API and SQL write one. Python 3.10 knows neither `Z` nor nanoseconds."""
    return datetime.fromisoformat(_BEYOND_MICROSECONDS.sub(r"\1", text).replace("Z", "+00:00"))


def read(noun: type[T], answer: Any) -> T:
    """What is there beside the fields of the noun is passed over, so that a newer server is understood as well."""
    kind: Any = noun
    return noun(**{name: _value(hint, answer[name]) for name, hint in _fields(kind) if name in answer})


@functools.cache
def _fields(noun: Any) -> list[tuple[str, Any]]:
    hints = typing.get_type_hints(noun)
    return [(field.name, hints[field.name]) for field in dataclasses.fields(noun) if field.init]


def _value(hint: Any, value: Any) -> Any:
    if value is None:
        return None
    if typing.get_origin(hint) is types.UnionType:
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    if hint is datetime:
        return moment(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value)
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        return [_value(item, one) for one in value]
    return value
