//! Request bodies. `body!` declares a struct that handlers receive filled in and that `/openapi.json` describes. A
//! single response reports every mistake in a body.

mod field_type;

pub use field_type::{AtLeast, Bare, Count, FieldType, IfSent, ListOf, NonEmpty, NoteText, TextOf, word};

use crate::fields::Fields;
use crate::problem::Problem;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// A set of fields: a body, an entry of a list in a body, or fields that several bodies share.
pub trait Body: Sized + JsonSchema {
    /// Names of the fields, without the shared ones.
    const FIELDS: &'static [&'static str] = &[];

    /// Reads the fields. Returns `None` if a field is wrong; `fields` then contains the problem.
    fn take(fields: &mut Fields) -> Option<Self>;
}

impl<B: Body> FieldType for B {
    fn read(value: Value) -> Result<B, Vec<Problem>> {
        match value {
            Value::Object(map) => Fields::below(map).whole().map_err(|invalid| invalid.0),
            other => {
                let problem = Problem::new("model_attributes_type", "Input should be a valid dictionary or object");
                Err(vec![problem.with_input(&other)])
            }
        }
    }
}

pub struct Described {
    pub name: &'static str,
    pub about: &'static str,
    pub is_required: bool,
    pub schema: Schema,
}

/// Returns the schema of a body: its own fields, the fields that it shares with other bodies, and further keywords of
/// JSON Schema.
pub fn described(about: &str, fields: Vec<Described>, shared: Vec<Schema>, more: &[Value]) -> Schema {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for Described { name, about, is_required, schema } in fields {
        let mut schema = schema.to_value();
        if let (Some(schema), false) = (schema.as_object_mut(), about.is_empty()) {
            schema.insert("description".into(), paragraph(about).into());
        }
        properties.insert(name.into(), schema);
        required.extend(is_required.then(|| Value::from(name)));
    }
    for mut schema in shared.into_iter().map(Schema::to_value) {
        if let Some(of) = schema["properties"].as_object_mut() {
            properties.append(of);
        }
        required.extend(schema["required"].as_array_mut().map(std::mem::take).unwrap_or_default());
    }
    let mut schema = Schema::try_from(json!({ "type": "object", "properties": properties })).unwrap_or_default();
    if !about.is_empty() {
        schema.insert("description".into(), paragraph(about).into());
    }
    if !required.is_empty() {
        schema.insert("required".into(), required.into());
    }
    for (name, value) in more.iter().filter_map(Value::as_object).flatten() {
        schema.insert(name.clone(), value.clone());
    }
    schema
}

fn paragraph(comment: &str) -> String {
    comment.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_string()
}

/// Declares a request body. `name: Type` is a field; `..name: Body` includes the fields of another body. `rule` checks
/// fields against each other, and `schema` adds keywords to the JSON Schema.
#[macro_export]
macro_rules! body {
    (
        $(#[doc = $about:literal])*
        $vis:vis struct $name:ident$(<$of:ident: $bound:path>)? {
            $($(#[doc = $field_about:literal])* $field:ident: $kind:ty,)*
            $(..$shared:ident: $body:ty,)*
        }
        $(rule $rule:expr;)?
        $(schema $more:expr;)?
    ) => {
        $(#[doc = $about])*
        $vis struct $name$(<$of: $bound>)? {
            $($(#[doc = $field_about])* $vis $field: $kind,)*
            $($vis $shared: $body,)*
        }

        impl$(<$of: $bound>)? $crate::Body for $name$(<$of>)? {
            const FIELDS: &'static [&'static str] = &[$(stringify!($field),)*];

            fn take(fields: &mut $crate::Fields) -> Option<Self> {
                $(let $field = fields.take::<$kind>(stringify!($field));)*
                $(let $shared = <$body as $crate::Body>::take(fields);)*
                let body = $name { $($field: $field?,)* $($shared: $shared?,)* };
                $(if let Err(problem) = ($rule)(&body) {
                    fields.refuse(problem);
                })?
                Some(body)
            }
        }

        impl$(<$of: $bound>)? $crate::schemars::JsonSchema for $name$(<$of>)? {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut $crate::schemars::SchemaGenerator) -> $crate::schemars::Schema {
                let fields = vec![$($crate::body::Described {
                    name: stringify!($field),
                    about: concat!($($field_about, "\n",)*),
                    is_required: <$kind as $crate::body::FieldType>::left_out().is_none(),
                    schema: generator.subschema_for::<$kind>(),
                },)*];
                let shared = vec![$(<$body as $crate::schemars::JsonSchema>::json_schema(generator),)*];
                $crate::body::described(concat!($($about, "\n",)*), fields, shared, &[$($more)?])
            }
        }
    };
}

/// Returns whether an update mask contains the field. An empty mask contains every field.
pub fn counts<S: AsRef<str>>(mask: &[S], name: &str) -> bool {
    mask.is_empty() || mask.iter().any(|named| named.as_ref() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Invalid;
    use schemars::SchemaGenerator;

    body! {
        /// What two bodies share.
        struct Both {
            note: Option<NoteText>,
        }
    }

    body! {
        struct Entry {
            name: String,
            place: Option<i32>,
        }
    }

    body! {
        /// A body,
        /// on two lines.
        struct Example {
            /// Of something.
            name: String,
            sure: Bare<bool>,
            mark: IfSent<Option<String>>,
            entries: Option<Vec<Entry>>,
            ..both: Both,
        }
        rule |body: &Example| body.sure.0.unwrap_or(true).then_some(()).ok_or_else(|| Problem::value("be sure"));
        schema json!({ "minProperties": 2 });
    }

    fn read_it(body: Value) -> Result<Example, Vec<Problem>> {
        let Value::Object(map) = body else { panic!("an object") };
        Fields::new(map).whole().map_err(|Invalid(problems)| problems)
    }

    fn problems(body: Value) -> Vec<(String, &'static str)> {
        let problems = read_it(body).err().unwrap_or_default();
        problems.into_iter().map(|problem| (Value::from(&*problem.loc).to_string(), problem.kind)).collect()
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        let told =
            problems(json!({ "sure": null, "name": 3, "entries": [{ "name": "a" }, { "place": 1, "odd": 1 }, 7] }));
        let expected = [
            (r#"["body","name"]"#, "string_type"),
            (r#"["body","entries",1,"name"]"#, "missing"),
            (r#"["body","entries",1,"odd"]"#, "extra_forbidden"),
            (r#"["body","entries",2]"#, "model_attributes_type"),
        ];
        assert_eq!(told, expected.map(|(place, kind)| (place.to_string(), kind)));
        assert_eq!(problems(json!({})).len(), 2);
        assert_eq!(problems(json!({ "name": "a", "sure": false }))[0].1, "value_error");
    }

    #[test]
    fn what_was_left_out_is_not_what_was_null() {
        let of = |body| {
            let body = read_it(body).unwrap();
            let places = body.entries.into_iter().flatten().map(|entry| format!("{}{:?}", entry.name, entry.place));
            assert_eq!((&*body.name, places.collect::<Vec<_>>()), ("a", Vec::new()));
            (body.mark.0, body.both.note.map(|note| note.0))
        };
        assert_eq!(of(json!({ "name": "a", "sure": true })), (None, None));
        let sent = json!({ "name": "a", "sure": null, "mark": null, "note": "n" });
        assert_eq!(of(sent), (Some(None), Some("n".into())));
    }

    #[test]
    fn a_body_describes_what_it_reads() {
        let mut generator = SchemaGenerator::default();
        let schema = Example::json_schema(&mut generator).to_value();
        assert_eq!(schema["description"], "A body, on two lines.");
        assert_eq!(schema["required"], json!(["name", "sure"]));
        assert_eq!(schema["minProperties"], 2);
        assert_eq!(schema["properties"]["name"], json!({ "type": "string", "description": "Of something." }));
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["entries", "mark", "name", "note", "sure"]);
    }
}
