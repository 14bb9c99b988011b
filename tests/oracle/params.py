"""Asks Airflow which values its params accept, and which scheduled DAGs it loads: the body of `params.json`."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

DRAFT = "https://json-schema.org/draft/2020-12/schema"
DAY = {"type": "string", "format": "date"}

# A schema as a DAG file has it, `default` included, and the values that are given when a run is started.
VALUES: list[tuple[dict[str, Any], list[Any]]] = [
    ({"type": "string"}, ["a", "", 5, None, True, ["a"]]),
    ({"type": "integer"}, [5, 5.0, 5.5, "5", True, None, -3, 1e3, 10**15]),
    ({"type": "number"}, [5, 5.5, "5", False, None]),
    ({"type": "boolean"}, [True, False, 0, 1, "true"]),
    ({"type": "null"}, [None, 0, ""]),
    ({"type": "array"}, [[], [1], {}, "a"]),
    ({"type": "object"}, [{}, {"a": 1}, [], None]),
    ({"type": ["string", "null"]}, ["a", None, 5]),
    ({"type": ["integer", "array"]}, [5, [5], 5.5]),
    # const and enum: numbers by value, booleans are not numbers.
    ({"const": 5}, [5, 5.0, 6, "5"]),
    ({"const": 5.0}, [5, 5.0, 5.5]),
    ({"const": 1}, [1, 1.0, True]),
    ({"const": False}, [False, 0, 0.0]),
    ({"const": None}, [None, 0]),
    ({"const": {"a": 1}}, [{"a": 1}, {"a": 1.0}, {"a": True}, {"a": 1, "b": 2}]),
    ({"const": [1, 2]}, [[1, 2], [1.0, 2.0], [2, 1]]),
    ({"enum": [1, "a", None]}, [1, 1.0, "a", None, True, "b"]),
    ({"enum": [1.0, 2.0], "type": "integer"}, [1, 2.0, 3]),
    ({"enum": ["eu", "us"], "default": "eu"}, ["us", "EU"]),
    ({"enum": []}, ["a"]),
    # Numbers.
    ({"type": "integer", "minimum": 1, "maximum": 10}, [1, 10, 0, 11, 10.0]),
    ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, [0.5, 0, 1, 1.0, "x"]),
    ({"minimum": 9007199254740993}, [9007199254740993, 9007199254740992]),
    ({"multipleOf": 5}, [10, 10.0, 7, 0, 7.5, -5]),
    ({"multipleOf": 0.5}, [1, 1.5, 1.25]),
    ({"multipleOf": 0.1}, [0.5, 0.3, 0.25]),
    ({"multipleOf": 0.01}, [19.99, 0.07, 1]),
    ({"multipleOf": 2.0}, [4, 4.0, 3]),
    # Text.
    ({"type": "string", "minLength": 2, "maxLength": 4}, ["ab", "abcd", "a", "abcde", "üö", "😀"]),
    ({"minLength": 2.0}, ["ab", "a"]),
    ({"pattern": "^[a-z]+$"}, ["abc", "a1", "", "abc\n", 5]),
    ({"pattern": "b"}, ["abc", "ac"]),
    ({"pattern": r"^\d{4}-\d{2}$"}, ["2026-02", "2026-2"]),
    ({"pattern": r"^\w+$"}, ["a_1", "a-1", "Zürich", "東京", "a–b"]),
    ({"pattern": r"^[\w-]+$"}, ["ü-x", "ü x"]),
    ({"pattern": r"^\S+$"}, ["a", "a\u00a0b", "ü"]),
    ({"pattern": r"^[^\s,]+$"}, ["a,b", "ü", "a\u00a0b"]),
    ({"pattern": "^(?!a)"}, ["b"]),
    ({"pattern": "("}, ["a"]),
    # Formats.
    (DAY, ["2026-02-03", "2026-2-3", "2026-02-30", "20260203", "2026-02-03T00:00:00Z", "", "+2026-02-03", " 2026-02-03", "2026-W06-2", 5]),
    ({"format": "date", "type": ["string", "null"]}, ["2026-02-28", None, "2026-2-28"]),
    (
        {"type": "string", "format": "date-time"},
        [
            "2026-11-22T10:00:00Z", "2026-11-22T10:00:00+01:00", "2026-11-22T10:00:00.123456Z", "2026-11-22t10:00:00z",
            "2026-11-22T10:00:00", "2026-11-22T10:00:00.5", "2026-11-22T10:00", "2026-11-22 10:00:00", "2026-11-22", "soon", 5,
        ],
    ),
    ({"type": "string", "format": "time"}, ["10:00:00", "10:00", "1:2:3", "25:00:00", "10:00:00Z", "10:00:00.5", "10:00:60", "noon"]),
    ({"format": "email"}, ["a@b.c", "@b", "a@", "ab"]),
    ({"format": "idn-email"}, ["ü@b", "ü"]),
    ({"format": "ipv4"}, ["127.0.0.1", "256.0.0.1", "127.1", "127.0.0.01"]),
    ({"format": "ipv6"}, ["::1", "::g", "fe80::1%eth0", "1.2.3.4"]),
    (
        {"format": "uuid"},
        ["6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "6ba7b8109dad11d180b400c04fd430c8", "x",
         "{6ba7b810-9dad-11d1-80b4-00c04fd430c8}"],
    ),
    ({"format": "duration"}, ["P1D", "PT5M", "P1Y2M3DT4H5M6S", "P2W", "5m", "P", "PT", "P1D2Y", "-P1D", "P1.5D", "1D"]),
    ({"format": "uri"}, ["https://a", "no uri"]),
    ({"format": "hostname"}, ["a.b", "a b"]),
    ({"format": "multiline"}, ["a\nb"]),
    # Lists.
    ({"type": "array", "items": {"type": "integer"}}, [[1, 2], [1, "a"], []]),
    ({"minItems": 1, "maxItems": 2}, [[1], [], [1, 2, 3]]),
    ({"uniqueItems": True}, [[1, 2], [1, 1], [1, 1.0], [1, True], [{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], ["1", 1], [[0], [False]]]),
    ({"uniqueItems": False}, [[1, 1]]),
    ({"prefixItems": [{"type": "string"}, {"type": "integer"}]}, [["a", 1], ["a"], ["a", "b"], ["a", 1, None]]),
    ({"prefixItems": [{"type": "string"}], "items": False}, [["a"], ["a", 1], []]),
    ({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}}, [["a", 1], ["a", "b"]]),
    ({"items": [{"type": "string"}]}, [["a"]]),
    # Objects.
    ({"properties": {"a": {"type": "integer"}}, "required": ["a"]}, [{"a": 1}, {}, {"a": "1"}, {"a": 1, "b": 2}, "x"]),
    ({"type": "object", "properties": {"a": {"default": 1}}, "required": ["a"]}, [{"a": 2}, {}]),
    ({"properties": {"a": {}}, "additionalProperties": False}, [{"a": 1}, {"b": 1}, {}]),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"a": 1}, {"a": "1"}]),
    ({"patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": False}, [{"x_a": 1}, {"x_a": "1"}, {"y": 1}]),
    ({"properties": {"x_a": {"type": "integer"}}, "patternProperties": {"^x_": {"minimum": 5}}}, [{"x_a": 5}, {"x_a": 4}, {"x_a": "5"}]),
    ({"patternProperties": {"a": {"minimum": 1}, "b": {"maximum": 2}}, "type": "object"}, [{"ab": 1}, {"ab": 3}, {"ab": 0}]),
    ({"type": "object", "minProperties": 1, "maxProperties": 2}, [{"a": 1}, {}, {"a": 1, "b": 2, "c": 3}]),
    # Alternatives.
    ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, ["a", 5, 4, None]),
    ({"oneOf": [{"type": "integer"}, {"minimum": 2}]}, [1, 2, 2.5, 1.5, "a"]),
    ({"oneOf": [{"type": "string", "maxLength": 3}, {"type": "string", "minLength": 3}]}, ["ab", "abc", "abcd", 5]),
    ({"oneOf": [{"const": "a", "title": "A"}, {"const": "b"}], "type": "string"}, ["a", "b", "c"]),
    ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}], "type": "object"}, [{"a": 1}, {"b": 1}, {"a": 1, "b": 1}, {}]),
    ({"oneOf": [{"type": "number"}, {"type": "integer"}, {"type": "null"}]}, [1, 1.5, None]),
    ({"items": {"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]}}, [[2, 3], [2, 6], [5]]),
    ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [2, 0, 4]),
    ({"anyOf": [DAY, {"type": "null"}]}, ["2026-01-01", None, "2026-1-1"]),
    # References into the schema of the param.
    ({"$ref": "#/$defs/code", "$defs": {"code": {"type": "string", "minLength": 2}}}, ["ab", "a", 5]),
    ({"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}, [[1], ["a"]]),
    ({"$ref": "#/definitions/n", "definitions": {"n": {"type": "integer"}}, "maximum": 3}, [1, 4, "a"]),
    ({"type": "object", "properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}}, [{"next": {"n": 1}}, {"next": {"n": "a"}}, {"next": 5}]),
    ({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "integer"}}}, [1, "a"]),
    ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}, [1, "a"]),
    ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"enum": [1]}}}, [1, 1.0, 2]),
    ({"$ref": "https://example.com/schema.json"}, [1]),
    ({"$ref": "#n", "$defs": {"n": {"$anchor": "n", "type": "integer"}}}, [1]),
    ({"$schema": DRAFT, "type": "integer"}, [1, "a"]),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"}, [1]),
    # Notes.
    ({"type": "integer", "title": "Rows", "description": "How many", "section": "Limits", "examples": [1], "deprecated": True}, [1, "a"]),
    ({"type": ["string", "null"], "values_display": {"a": "A"}, "examples": ["a"]}, ["b", None]),
    # Defaults.
    ({"type": "integer", "default": 10}, [3, "a", None]),
    ({"type": "integer", "default": "a"}, [3]),
    ({"type": "string", "default": None}, ["a"]),
    ({"type": ["string", "null"], "default": None}, ["a", None]),
    ({"default": None}, ["a", 5, None]),
    # Schemas that are not valid.
    ({"type": "strng"}, ["a"]),
    ({"type": "integer", "minimum": "1"}, [1]),
    ({"type": "integer", "exclusiveMinimum": True, "minimum": 1}, [2]),
    ({"type": "object", "properties": {"a": {"required": True, "type": "string"}}}, [{"a": "x"}]),
    ({"type": "string", "enum": "a"}, ["a"]),
    ({"type": "string", "minLength": -1}, ["a"]),
    ({"type": "integer", "multipleOf": 0}, [1]),
    ({"anyOf": []}, [1]),
    ({"type": "array", "uniqueItems": "yes"}, [[1]]),
    # Keywords that orch does not check.
    ({"not": {"type": "string"}}, [5, "a"]),
    ({"if": {"type": "string"}, "then": {"minLength": 2}, "type": ["string", "integer"]}, ["ab", "a"]),
    ({"type": "array", "contains": {"const": 1}}, [[1], [2]]),
    ({"type": "object", "dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 1}, {"a": 1}]),
    ({"type": "object", "propertyNames": {"maxLength": 1}}, [{"a": 1}, {"ab": 1}]),
    ({"type": "object", "unevaluatedProperties": False}, [{}]),
]

# The schema of one param, `default` included, and a schedule: does the DAG load?
LOADS: list[tuple[dict[str, Any], str | None]] = [
    (schema, schedule)
    for schema in (
        {"type": "integer"},
        {"type": "integer", "default": 1},
        {"type": ["integer", "null"], "default": None},
        {"type": "integer", "default": 0, "minimum": 1},
        {"enum": ["a"]},
    )
    for schedule in (None, "@daily", "0 6 * * *", "@once", "@continuous", "asset")
]


def record() -> dict[str, list[dict]]:
    warnings.simplefilter("ignore")
    values = [_value(schema, [value]) for schema, given in VALUES for value in given]
    # No value: the default, or a refusal.
    values += [_value(schema, []) for schema, _ in VALUES if "default" in schema or schema == {"type": "string"}]
    return {"values": values, "loads": [_load(schema, schedule) for schema, schedule in LOADS]}


def _param(schema: dict):
    from airflow.sdk import Param

    rules = dict(schema)
    known = {word: rules.pop(word) for word in ("default", "description") if word in rules}
    return Param(**known, schema=rules)


def _value(schema: dict, given: list) -> dict:
    """What becomes of a value: `accepted`, `refused`, or `bad_schema` if the schema itself raises."""
    from airflow.sdk.definitions.param import ParamsDict
    from airflow.sdk.exceptions import ParamValidationError

    row: dict[str, Any] = {"schema": schema}
    if given:
        row["value"] = given[0]
    try:
        params = ParamsDict({"p": _param(schema)})
        # As `process_params` merges the conf of a run.
        params.update({"p": value for value in given})
        params.validate()
        row["result"] = "accepted"
    except ParamValidationError as error:
        row |= {"result": "refused", "reason": str(error).splitlines()[0][:160]}
    except Exception as error:  # SchemaError, re.error, Unresolvable: whatever jsonschema raises for the schema
        row |= {"result": "bad_schema", "reason": f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"}
    return row


def _load(schema: dict, schedule: str | None) -> dict:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, Asset

    row = {"schema": schema, "schedule": schedule}
    plan = [Asset("lake://raw/a")] if schedule == "asset" else schedule
    try:
        with DAG("oracle", schedule=plan, max_active_runs=1, params={"p": _param(schema)}) as dag:
            EmptyOperator(task_id="t")
        dag.validate()
        row["loads"] = True
    except Exception as error:
        row |= {"loads": False, "reason": str(error).splitlines()[0][:160]}
    return row


def summary(body: dict) -> dict:
    return {
        "values": len(body["values"]),
        "results": dict(Counter(row["result"] for row in body["values"])),
        "loads": dict(Counter(str(row["loads"]) for row in body["loads"])),
    }
