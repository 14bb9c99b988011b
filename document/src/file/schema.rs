//! The table of keys as a JSON Schema, so that editors mark what the reader rejects.

use super::keys::{ASSET, DAG, DAG_OPTIONS, GROUP, KINDS, Key, OPTIONS, SENSOR, SENSORS, Shape, TASK};
use serde_json::{Map, Value, json};

/// Id of the schema. A file may name it in its first line.
const ID: &str = "urn:orch:dag-file";

/// Returns the schema of one document of a DAG file.
pub fn json_schema() -> Value {
    let mut schema = object(&[DAG, DAG_OPTIONS]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["$id"] = json!(ID);
    schema["title"] = json!("A DAG of orch");
    let mut task = object(&[TASK, OPTIONS]);
    for kind in KINDS {
        let mut described = shape(&kind.shape);
        described["description"] = json!(kind.about);
        task["properties"][kind.name] = described;
    }
    task["oneOf"] = KINDS.iter().map(|kind| json!({ "required": [kind.name] })).collect();
    let entry = json!({
        "if": { "required": ["tasks"] },
        "then": { "$ref": "#/$defs/group" },
        "else": { "$ref": "#/$defs/task" },
    });
    let mut sensor = object(&[SENSORS, SENSOR]);
    sensor["oneOf"] = SENSORS.iter().map(|kind| json!({ "required": [kind.name] })).collect();
    let list = json!({ "type": "array", "items": { "$ref": "#/$defs/condition" } });
    let several = |word: &str| {
        json!({ "type": "object", "additionalProperties": false, "required": [word],
            "properties": { word: { "$ref": "#/$defs/condition" } } })
    };
    schema["$defs"] = json!({
        "task": task,
        "group": object(&[GROUP, OPTIONS]),
        "entry": entry,
        "sensor": sensor,
        "condition": { "anyOf": [list, several("all"), several("any"), shape(&ASSET)] },
    });
    schema
}

fn object(tables: &[&[Key]]) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for key in tables.iter().flat_map(|table| table.iter()) {
        let mut described = shape(key.shape);
        described["description"] = json!(key.about);
        properties.insert(key.name.into(), described);
        if key.required {
            required.push(key.name);
        }
    }
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn shape(of: &Shape) -> Value {
    match of {
        Shape::Text | Shape::Program => json!({ "type": ["string", "number"] }),
        Shape::Template | Shape::Argument => json!({ "type": ["string", "number", "boolean"] }),
        Shape::Templates | Shape::Any | Shape::Param => json!({}),
        Shape::Nothing => json!({ "type": "null" }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Count => json!({ "type": "integer", "minimum": 0 }),
        Shape::Whole => json!({ "type": "integer" }),
        Shape::Number => json!({ "type": "number" }),
        Shape::Time => json!({
            "type": ["string", "number"], "minimum": 0, "pattern": "^([0-9]+(ms|s|m|min|h|d|w) *)+$" }),
        Shape::Date => json!({ "type": "string" }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Object(table) => object(&[table]),
        Shape::Table(inner) => json!({ "type": "object", "additionalProperties": shape(inner) }),
        Shape::List(inner) => json!({ "type": "array", "items": shape(inner) }),
        Shape::Either(shapes) => json!({ "anyOf": shapes.iter().map(shape).collect::<Vec<_>>() }),
        Shape::Tasks => json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/entry" } }),
        Shape::Condition => json!({ "$ref": "#/$defs/condition" }),
        Shape::Sensor => json!({ "$ref": "#/$defs/sensor" }),
    }
}
