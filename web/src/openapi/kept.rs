//! Bodies and schemas of a noun, generated from its field table.

use crate::api::bulk::Entity;
use crate::api::mask::Masked;
use orch_deeds::Kept;
use orch_wire::{Body, Fields, NounBody, Problem};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;
use std::marker::PhantomData;

/// The body that creates an object.
pub(crate) struct BodyOf<K> {
    pub(crate) sent: NounBody,
    of: PhantomData<K>,
}
/// The body that identifies an object.
pub(crate) struct NameOf<K>(NounBody, PhantomData<K>);
/// The body that changes an object.
pub(crate) struct PatchOf<K>(PhantomData<K>);
/// An object in a response.
pub(crate) struct ViewOf<K>(PhantomData<K>);
/// A page of a list of objects.
pub(crate) struct PageOf<K>(PhantomData<K>);

fn schema(of: Value) -> Schema {
    of.try_into().expect("a noun describes objects")
}

impl<K: Kept> Body for BodyOf<K> {
    fn take(fields: &mut Fields) -> Option<Self> {
        Some(BodyOf { sent: K::NOUN.read(fields), of: PhantomData })
    }
}

impl<K: Kept> Body for NameOf<K> {
    fn take(fields: &mut Fields) -> Option<Self> {
        Some(NameOf(K::NOUN.read_name(fields), PhantomData))
    }
}

impl<K: Kept> From<NameOf<K>> for BodyOf<K> {
    fn from(NameOf(sent, of): NameOf<K>) -> Self {
        BodyOf { sent, of }
    }
}

/// An object in a bulk request.
impl<K: Kept> Entity for BodyOf<K> {
    const ID: &'static str = K::NOUN.fields[0].name;
    type Create = BodyOf<K>;
    type Update = BodyOf<K>;
    type Delete = NameOf<K>;

    fn body_name() -> Cow<'static, str> {
        format!("Bulk{}sBody", K::NOUN.one).into()
    }

    fn updated(update: BodyOf<K>, mask: &[String]) -> Result<BodyOf<K>, Problem> {
        Ok(BodyOf { sent: K::NOUN.masked(update.sent, mask), of: PhantomData })
    }
}

impl<K: Kept> JsonSchema for NameOf<K> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}NameBody", K::NOUN.one).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut body = schema(K::NOUN.body_schema());
        body.insert("required".into(), vec![K::NOUN.name().name].into());
        body
    }
}

impl<K: Kept> JsonSchema for BodyOf<K> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Body", K::NOUN.one).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(K::NOUN.body_schema())
    }
}

impl<K: Kept> JsonSchema for PatchOf<K> {
    fn schema_name() -> Cow<'static, str> {
        if K::NOUN.patch_schema().is_some() {
            format!("{}PatchBody", K::NOUN.one).into()
        } else {
            BodyOf::<K>::schema_name()
        }
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(K::NOUN.patch_schema().unwrap_or_else(|| K::NOUN.body_schema()))
    }
}

impl<K: Kept> Masked for PatchOf<K> {
    fn fields() -> Cow<'static, [&'static str]> {
        K::NOUN.mask().into()
    }
}

impl<K: Kept> JsonSchema for ViewOf<K> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}View", K::NOUN.one).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schema(K::NOUN.view_schema())
    }
}

impl<K: Kept> JsonSchema for PageOf<K> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}Page", K::NOUN.one).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let view = generator.subschema_for::<ViewOf<K>>();
        let properties = serde_json::json!({ K::NOUN.many: { "type": "array", "items": view },
            "total_entries": { "type": "integer", "format": "int64" } });
        json_schema!({ "type": "object", "properties": properties, "required": [K::NOUN.many, "total_entries"] })
    }
}
