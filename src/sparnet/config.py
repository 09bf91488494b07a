"""Strict configuration: frozen pydantic models, read from TOML by one loader.

A mistake in a recipe is told in one line that names the file, the key and the remedy.
"""

import difflib
import json
import re
import tomllib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from sparnet.errors import RecipeError

LARGEST_TOML_BYTES = 1_000_000
"""More is not read; a recipe has a few thousand."""
_KINDS = {
    "bool": "true or false",
    "dict": "a table",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a table",
    "string": "text",
    "tuple": "a list",
}
"""What a value has to be, by pydantic's word for it."""


class Config(BaseModel):
    """Base of all configuration: immutable, typed strictly, no unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )


ConfigT = TypeVar("ConfigT", bound=Config)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file into nested dictionaries.

    Raises:
        RecipeError: If the file is missing, too large, not UTF-8 or not TOML.
    """
    try:
        with path.open("rb") as file:  # a device may be named, and never end
            content = file.read(LARGEST_TOML_BYTES + 1)
        if len(content) > LARGEST_TOML_BYTES:
            raise RecipeError(f"{path}: over {LARGEST_TOML_BYTES:,} bytes, which is no recipe")
        return tomllib.loads(content.decode().replace("\r\n", "\n"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not a text file in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise RecipeError(f"{path}: not valid TOML: brackets within brackets, too many") from None
    except ValueError as error:
        if "\0" in str(path):
            raise RecipeError(f"{str(path)!r}: no such file") from None
        raise RecipeError(f"{path}: not valid TOML: {error}") from None  # a number of thousands of digits


def parse_config(model: type[ConfigT], values: Mapping[str, Any], *, source: str) -> ConfigT:
    """Check `values` against `model`.

    Args:
        model: The configuration wanted.
        values: Nested dictionaries, as TOML gives them.
        source: Where the values come from, named in messages.

    Raises:
        RecipeError: With one line for the first mistake and a count of the others.
    """
    text = _as_json(values, source)
    try:
        # JSON mode, so that an array of the file may fill a tuple while "32" stays a mistake for 32.
        return model.model_validate_json(text)
    except ValidationError as error:
        lines = [_explain(model, item) for item in error.errors(include_url=False)]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        raise RecipeError(f"{source}: {lines[0]}{more}") from None


def set_values(values: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return a copy of `values` with each `key.key=value` of `assignments` set.

    A value is read as TOML (`1e-4`, `true`, `[1, 2]`); what is no TOML value is taken as a string.

    Raises:
        RecipeError: If an assignment has no `=` or passes through a key that is no table.
    """
    result = json.loads(_as_json(values, "--set"))
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        parts = [part.strip() for part in key.split(".")]
        if not equals or not all(parts):
            raise RecipeError(f"--set {assignment}: expected key=value, as in train.batch_size=16")
        table = result
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise RecipeError(f"--set {assignment}: '{part}' is a value, not a table")
        table[parts[-1]] = _toml_value(text.strip())
    return dict(result)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # a number of thousands of digits among them
        return text


def _as_json(values: Mapping[str, Any], source: str) -> str:
    try:
        return json.dumps(values, default=str)
    except ValueError:
        raise RecipeError(f"{source}: a number has too many digits") from None


def _explain(model: type[BaseModel], item: Any) -> str:
    """Turn one of pydantic's errors into one line in our words."""
    location = [str(part) for part in item["loc"]]
    key = ".".join(location)
    value = item["input"]
    match item["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(location[-1], _fields(model, location[:-1]), n=1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            return f"unknown key '{key}'{hint}"
        case "missing":
            return f"'{key}' is missing"
        case "literal_error":
            choices = str(item["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
            return f"{key} must be one of {choices}, got {value!r}"
        case "value_error":
            message = str(item["ctx"]["error"])
            return f"{key}: {message}" if key else message
        case kind if named := re.fullmatch("([a-z]+)_(type|from_float|parsing|attributes_type)", kind):
            return f"{key} must be {_KINDS.get(named[1], named[1])}, got {value!r}"
        case _:
            return f"{key}: {item['msg'][:1].lower()}{item['msg'][1:]}, got {value!r}"


def _fields(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """List the keys that exist at `location` inside `model`."""
    for part in location:
        field = model.model_fields.get(part)
        inner = _inner_model(field.annotation) if field is not None else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType):
        return next((m for a in get_args(annotation) if (m := _inner_model(a))), None)
    return None


def choices_of(literal: Any) -> tuple[str, ...]:
    """List the values of a `Literal` type."""
    if get_origin(literal) is not Literal:
        raise TypeError(f"expected a Literal, got {literal!r}")
    return tuple(get_args(literal))
