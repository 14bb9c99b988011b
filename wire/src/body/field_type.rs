//! The types of fields in request bodies.

use crate::fields::{flag, integer, one_of, text};
use crate::problem::Problem;
use crate::timestamp::{Timestamp, UtcTimestamp, moment, moment_or_utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::str::FromStr;

/// A type of field and how it is read. Its `JsonSchema` describes it.
pub trait FieldType: Sized {
    /// Returns the value of a field that was left out. `None` if the field is required.
    fn left_out() -> Option<Self> {
        None
    }

    /// Reads a value. The `loc` of each problem is relative to this value.
    fn read(value: Value) -> Result<Self, Vec<Problem>>;
}

impl<T: FieldType> FieldType for Option<T> {
    fn left_out() -> Option<Self> {
        Some(None)
    }

    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        if value.is_null() { Ok(None) } else { T::read(value).map(Some) }
    }
}

impl<T: FieldType> FieldType for Vec<T> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        let Value::Array(entries) = value else {
            return Err(vec![Problem::new("list_type", "Input should be a valid list").with_input(&value)]);
        };
        let mut found = Vec::with_capacity(entries.len());
        let mut problems = Vec::new();
        for (place, entry) in entries.into_iter().enumerate() {
            match T::read(entry) {
                Ok(entry) => found.push(entry),
                Err(wrong) => problems.extend(wrong.into_iter().map(|problem| problem.below(place))),
            }
        }
        if problems.is_empty() { Ok(found) } else { Err(problems) }
    }
}

impl FieldType for Map<String, Value> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        match value {
            Value::Object(map) => Ok(map),
            other => Err(vec![Problem::new("dict_type", "Input should be a valid dictionary").with_input(&other)]),
        }
    }
}

impl FieldType for Value {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        Ok(value)
    }
}

/// Implements `FieldType` for types that a single function reads.
macro_rules! read_by {
    ($($kind:ty: $read:expr;)*) => {
        $(impl FieldType for $kind {
            fn read(value: Value) -> Result<Self, Vec<Problem>> {
                ($read)(&value).map_err(|problem| vec![problem])
            }
        })*
    };
}

read_by! {
    String: text;
    bool: flag;
    i32: whole;
    i64: long;
    f64: number;
    Timestamp: |value: &Value| moment(value).map(Timestamp);
    UtcTimestamp: |value: &Value| moment_or_utc(value).map(UtcTimestamp);
}

/// Declares a type of field: the type that it wraps, the function that reads it, and its JSON Schema.
#[macro_export]
macro_rules! field_type {
    ($(#[doc = $about:literal])* $vis:vis struct $name:ident($inner:ty); $read:expr; $($schema:tt)+) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone)]
        $vis struct $name($vis $inner);

        impl $crate::body::FieldType for $name {
            fn read(value: $crate::serde_json::Value) -> Result<$name, Vec<$crate::Problem>> {
                ($read)(&value).map($name).map_err(|problem| vec![problem])
            }
        }

        impl $crate::schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut $crate::schemars::SchemaGenerator) -> $crate::schemars::Schema {
                $crate::schemars::json_schema!($($schema)+)
            }
        }
    };
}

/// Declares a type of field that accepts one of a fixed set of strings and parses it.
#[macro_export]
macro_rules! one_of {
    ($(#[doc = $about:literal])* $vis:vis struct $name:ident($inner:ty): $($word:literal),+) => {
        $crate::field_type! {
            $(#[doc = $about])*
            $vis struct $name($inner);
            |value| $crate::body::word::<$inner>(value, &[$($word),+]);
            { "type": "string", "enum": [$($word),+] }
        }
    };
}

/// Parses a value that has to be one of the strings in `known`.
pub fn word<T: FromStr>(value: &Value, known: &[&'static str]) -> Result<T, Problem> {
    let word = one_of(value, known)?;
    word.parse().map_err(|_| Problem::value(format!("'{word}' is not known")).with_input(value))
}

/// A required field that may be null.
#[derive(Debug, Clone)]
pub struct Bare<T>(pub Option<T>);

impl<T: FieldType> FieldType for Bare<T> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        FieldType::read(value).map(Bare)
    }
}

/// An optional field that distinguishes null from left out.
#[derive(Debug, Clone)]
pub struct IfSent<T>(pub Option<T>);

impl<T: FieldType> FieldType for IfSent<T> {
    fn left_out() -> Option<Self> {
        Some(IfSent(None))
    }

    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        T::read(value).map(|value| IfSent(Some(value)))
    }
}

/// A list of at least one entry.
pub type NonEmpty<T> = ListOf<T, 1, { usize::MAX }>;

/// A list of `LEAST` to `MOST` entries.
#[derive(Debug, Clone)]
pub struct ListOf<T, const LEAST: usize, const MOST: usize>(pub Vec<T>);

impl<T: FieldType, const LEAST: usize, const MOST: usize> FieldType for ListOf<T, LEAST, MOST> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        let list = Vec::<T>::read(value)?;
        let wrong = |kind, ctx: &str, bound: &str, many: usize| {
            let items = if many == 1 { "item" } else { "items" };
            let msg = format!("List should have at {bound} {many} {items} after validation, not {}", list.len());
            Err(vec![Problem::new(kind, msg).with_ctx(json!({ ctx: many, "actual_length": list.len() }))])
        };
        match list.len() {
            few if few < LEAST => wrong("too_short", "min_length", "least", LEAST),
            many if many > MOST => wrong("too_long", "max_length", "most", MOST),
            _ => Ok(ListOf(list)),
        }
    }
}

impl<T: JsonSchema, const LEAST: usize, const MOST: usize> JsonSchema for ListOf<T, LEAST, MOST> {
    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Vec::<T>::json_schema(generator);
        schema.insert("minItems".into(), LEAST.into());
        if MOST < usize::MAX {
            schema.insert("maxItems".into(), MOST.into());
        }
        schema
    }
}

/// Implements `JsonSchema` for wrappers that have the schema of the wrapped type.
macro_rules! described_as {
    ($($name:ident: $inner:ty;)*) => {
        $(impl<T: JsonSchema> JsonSchema for $name<T> {
            fn schema_name() -> Cow<'static, str> {
                <$inner>::schema_name()
            }

            fn inline_schema() -> bool {
                <$inner>::inline_schema()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$inner>::json_schema(generator)
            }
        })*
    };
}

described_as! {
    Bare: Option<T>;
    IfSent: T;
}

/// An integer that is not negative.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub i64);

/// A 32-bit integer that is at least `LEAST`.
#[derive(Debug, Clone, Copy)]
pub struct AtLeast<const LEAST: i32>(pub i32);

/// A string of `LEAST` to `MOST` characters.
#[derive(Debug, Clone)]
pub struct TextOf<const LEAST: usize, const MOST: usize>(pub String);

/// A note, within Airflow's length limit.
pub type NoteText = TextOf<0, 1_000>;

impl FieldType for Count {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        bounded(&value, 0).map(Count).map_err(|problem| vec![problem])
    }
}

impl<const LEAST: i32> FieldType for AtLeast<LEAST> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        let number = bounded(&value, LEAST.into()).map_err(|problem| vec![problem])?;
        i32::try_from(number).map(AtLeast).map_err(|_| vec![unlike(&value)])
    }
}

impl<const LEAST: usize, const MOST: usize> FieldType for TextOf<LEAST, MOST> {
    fn read(value: Value) -> Result<Self, Vec<Problem>> {
        let text = String::read(value)?;
        let wrong = |kind, ctx: &str, bound: &str, many: usize| {
            let characters = if many == 1 { "character" } else { "characters" };
            let msg = format!("String should have at {bound} {many} {characters}");
            Err(vec![Problem::new(kind, msg).with_ctx(json!({ ctx: many })).with_input(&json!(text))])
        };
        match text.chars().count() {
            few if few < LEAST => wrong("string_too_short", "min_length", "least", LEAST),
            many if many > MOST => wrong("string_too_long", "max_length", "most", MOST),
            _ => Ok(TextOf(text)),
        }
    }
}

/// Implements `JsonSchema` for types with an inline schema.
macro_rules! described_here {
    ($(<$(const $bound:ident: $kind:ty),*> $name:ty: $schema:tt;)*) => {
        $(impl<$(const $bound: $kind),*> JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

described_here! {
    <> Count: { "type": "integer", "format": "int64", "minimum": 0 };
    <const LEAST: i32> AtLeast<LEAST>: { "type": "integer", "format": "int32", "minimum": LEAST };
    <const LEAST: usize, const MOST: usize> TextOf<LEAST, MOST>:
        { "type": "string", "minLength": LEAST, "maxLength": MOST };
}

fn bounded(value: &Value, least: i64) -> Result<i64, Problem> {
    let number = long(value)?;
    let msg = format!("Input should be greater than or equal to {least}");
    let below = || Problem::new("greater_than_equal", msg).with_ctx(json!({ "ge": least })).with_input(value);
    if number < least { Err(below()) } else { Ok(number) }
}

fn unlike(value: &Value) -> Problem {
    Problem::new("int_type", "Input should be a valid integer").with_input(value)
}

fn long(value: &Value) -> Result<i64, Problem> {
    integer(value).ok_or_else(|| unlike(value))
}

fn whole(value: &Value) -> Result<i32, Problem> {
    i32::try_from(long(value)?).map_err(|_| unlike(value))
}

fn number(value: &Value) -> Result<f64, Problem> {
    let unlike = || Problem::new("float_type", "Input should be a valid number").with_input(value);
    value.as_f64().ok_or_else(unlike)
}
