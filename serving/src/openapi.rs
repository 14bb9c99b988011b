//! Builds the `OpenAPI` document of the endpoints.

use crate::endpoint::{Column, ColumnType, Endpoint, FORMAT, Param, ParamType, Shape};
use crate::format::Format;
use serde_json::{Map, Value, json};

/// Matches the years 1700 to 2199.
const YEARS: &str = r"^(1[7-9]|2[01])\d\d-";

/// Builds the document. `server` is the base URL of the endpoints.
pub(crate) fn document<'a>(endpoints: impl Iterator<Item = &'a Endpoint>, server: &str) -> Value {
    let mut paths: Map<String, Value> =
        endpoints.map(|endpoint| (endpoint.path.clone(), json!({ "get": get(endpoint) }))).collect();
    let healthy = json!({
        "type": "object",
        "required": ["status", "timestamp"],
        "properties": { "status": { "type": "string", "const": "healthy" }, "timestamp": { "type": "string", "format": "date-time" } },
    });
    let health = json!({
        "summary": "Whether it can answer",
        "security": [],
        "responses": { "200": of_json("It can", &healthy), "503": problem("The database cannot be reached") },
    });
    paths.insert("/health".into(), json!({ "get": health }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Published queries",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Tables of the lake, by queries with parameters. A key is an API token of orch, made on the page `/account`.",
        },
        "servers": [{ "url": server }],
        "security": [{ "key": [] }, { "bearer": [] }],
        "components": {
            "securitySchemes": {
                "key": { "type": "apiKey", "in": "header", "name": "X-API-Key" },
                "bearer": { "type": "http", "scheme": "bearer" },
            },
        },
        "paths": paths,
    })
}

fn get(endpoint: &Endpoint) -> Value {
    let mut parameters: Vec<Value> = endpoint.params.iter().map(parameter).collect();
    let mut content = Map::from_iter([(Format::Json.content_type().into(), json!({ "schema": answer(endpoint) }))]);
    if endpoint.has_formats() {
        parameters.push(json!({
            "name": FORMAT,
            "in": "query",
            "description": "As a file in another format",
            "schema": { "type": "string", "enum": Format::NAMES, "default": "json" },
        }));
        for format in [Format::Csv, Format::Parquet, Format::Arrow] {
            content.insert(format.content_type().into(), json!({ "schema": { "type": "string" } }));
        }
    }
    let invalid = json!({
        "type": "object",
        "required": ["detail"],
        "properties": { "detail": { "type": "array", "items": {
            "type": "object",
            "required": ["loc", "msg", "type"],
            "properties": { "loc": { "type": "array" }, "msg": { "type": "string" }, "type": { "type": "string" } },
        } } },
    });
    json!({
        "summary": endpoint.about,
        "description": format!("For users with the role `{}` or a higher one.", endpoint.role),
        "operationId": endpoint.path.trim_start_matches('/').replace(['/', '-', '.'], "_"),
        "parameters": parameters,
        "responses": {
            "200": { "description": "The rows as the newest snapshots of the tables have them", "content": content },
            "304": { "description": "The answer with the tag of `If-None-Match` is still right" },
            "400": problem("The query needs more time or memory than it may, or has too many rows"),
            "401": problem("No key, or one that ended"),
            "403": problem("The role of the key's user is too low"),
            "404": problem("A table is not there yet"),
            "422": of_json("A parameter is wrong", &invalid),
            "429": problem("As many queries run as may"),
        },
    })
}

fn of_json(description: &str, schema: &Value) -> Value {
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn problem(description: &str) -> Value {
    let schema = json!({ "type": "object", "required": ["detail"], "properties": { "detail": { "type": "string" } } });
    of_json(description, &schema)
}

fn parameter(param: &Param) -> Value {
    let mut schema = match param.data_type {
        ParamType::Integer => json!({ "type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX }),
        ParamType::Number => json!({ "type": "number" }),
        ParamType::Text if param.one_of.is_empty() => json!({ "type": "string", "maxLength": 1000 }),
        ParamType::Text => json!({ "type": "string", "enum": param.one_of }),
        ParamType::Boolean => json!({ "type": "boolean" }),
        ParamType::Date => json!({ "type": "string", "format": "date", "pattern": YEARS }),
        ParamType::Timestamp => json!({ "type": "string", "format": "date-time", "pattern": YEARS }),
    };
    let is_whole = param.data_type == ParamType::Integer;
    for (name, bound) in [("minimum", param.minimum), ("maximum", param.maximum)] {
        if let Some(bound) = bound {
            schema[name] = if is_whole { json!(bound as i64) } else { json!(bound) };
        }
    }
    if let Some(default) = &param.default {
        schema["default"] = default.clone();
    }
    let default = match &param.default_sql {
        Some(sql) => format!("Without it: `{sql}`"),
        None => String::new(),
    };
    let parts: Vec<&str> = [param.about.as_str(), &default].into_iter().filter(|part| !part.is_empty()).collect();
    json!({ "name": param.name, "in": "query", "required": param.required, "description": parts.join(". "), "schema": schema })
}

fn answer(endpoint: &Endpoint) -> Value {
    let row = row(&endpoint.columns);
    if endpoint.shape == Shape::Row {
        return row;
    }
    json!({
        "type": "object",
        "required": ["success", "message", "data", "timestamp"],
        "properties": {
            "success": { "type": "boolean", "const": true },
            "message": { "type": "string" },
            "data": { "type": "array", "items": row },
            "timestamp": { "type": "string", "format": "date-time", "description": "When the answer was computed" },
        },
    })
}

fn row(columns: &[Column]) -> Value {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let properties: Map<String, Value> = columns.iter().map(|column| (column.name.clone(), schema(column))).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

/// Returns the schema of a column. Every value may be null.
fn schema(column: &Column) -> Value {
    let mut schema = match column.data_type {
        ColumnType::Integer => json!({ "type": ["integer", "null"] }),
        ColumnType::Number => json!({ "type": ["number", "null"] }),
        ColumnType::Text => json!({ "type": ["string", "null"] }),
        ColumnType::Boolean => json!({ "type": ["boolean", "null"] }),
        ColumnType::Date => json!({ "type": ["string", "null"], "format": "date" }),
        // Timestamps have no time zone, as in the table.
        ColumnType::Timestamp => json!({ "type": ["string", "null"], "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d" }),
        ColumnType::List => json!({ "type": ["array", "null"], "items": row(&column.of) }),
    };
    if !column.about.is_empty() {
        schema["description"] = column.about.clone().into();
    }
    schema
}
