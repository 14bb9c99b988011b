//! JSON Schemas of nouns (named objects that users manage) for `/openapi.json`.

use super::{AppearsIn, Field, FieldKind, Noun, Patch};
use serde_json::{Map, Value, json};

impl Noun {
    /// Returns the schema of the request body that creates an object.
    pub fn body_schema(&self) -> Value {
        let key = self.name();
        let mut properties = Map::from_iter([(key.name.to_string(), key.kind.schema())]);
        for field in self.parts() {
            properties.insert(field.name.into(), field.described(!field.is_required));
        }
        let required = self.parts().filter(|field| field.is_required).map(|field| field.name);
        let required: Vec<_> = std::iter::once(key.name).chain(required).collect();
        let mut schema = json!({ "type": "object", "properties": properties, "required": required });
        if !self.about.is_empty() {
            schema["description"] = self.about.into();
        }
        schema
    }

    /// Returns the schema of the request body that updates an object. `None` if updates use the same schema as
    /// creation.
    pub fn patch_schema(&self) -> Option<Value> {
        let Patch::Parts { name } = self.patch else { return None };
        let named = json!({ "type": ["string", "null"], "description": "The name it has. It cannot be changed." });
        let mut properties = Map::from_iter([(name.to_string(), named)]);
        properties.extend(self.parts().map(|field| (field.name.to_string(), field.described(true))));
        Some(json!({ "type": "object", "properties": properties }))
    }

    /// Returns the schema of an object in a response.
    pub fn view_schema(&self) -> Value {
        let properties = self.fields.iter().map(|field| (field.name.to_string(), field.answered()));
        let properties: Map<String, Value> = properties.collect();
        let always =
            self.fields.iter().filter(|field| field.appears_in != AppearsIn::AnswersOfChanges).map(|field| field.name);
        json!({ "type": "object", "properties": properties, "required": always.collect::<Vec<_>>() })
    }
}

impl Field {
    fn described(&self, is_nullable: bool) -> Value {
        let mut schema = self.kind.schema();
        if is_nullable && !matches!(self.kind, FieldKind::Team) {
            if let Some(kinds) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
                kinds.push(json!({ "type": "null" }));
            } else if let Some(of) = schema.get("type").cloned() {
                schema["type"] = json!([of, "null"]);
            }
        }
        if !self.about.is_empty() {
            schema["description"] = self.about.into();
        }
        schema
    }

    /// Returns the schema of a field in responses, which omits the validation rules of requests.
    fn answered(&self) -> Value {
        let is_there =
            matches!(self.kind, FieldKind::Name { .. } | FieldKind::Flag | FieldKind::Count | FieldKind::OneOf { .. });
        let is_nullable = !self.is_required && !is_there;
        let mut schema = match self.kind {
            FieldKind::Team | FieldKind::AnyText => json!({ "type": ["string", "null"] }),
            FieldKind::Moment => json!({ "type": ["string", "null"], "format": "date-time" }),
            _ => self.described(is_nullable),
        };
        if let Some(schema) = schema.as_object_mut() {
            for rule in ["minLength", "maxLength", "pattern", "contentMediaType"] {
                schema.remove(rule);
            }
        }
        schema
    }
}
