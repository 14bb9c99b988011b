//! A noun of the API: a kind of named object that users manage, such as pools. A table declares its fields; bodies,
//! responses, update masks, sorting, filters and the description in `/openapi.json` are derived from it.

mod kind;
mod schema;

pub use kind::FieldKind;

use crate::body::counts;
use crate::fields::{Fields, text};
use crate::problem::Problem;
use serde_json::{Map, Value};

#[derive(Debug)]
pub struct Noun {
    /// `Pool`. Used in error messages and in the names of its schemas.
    pub one: &'static str,
    /// `pools`. The name of the list in a response.
    pub many: &'static str,
    /// Route of the list.
    pub path: &'static str,
    pub path_of_one: &'static str,
    /// Name of the path parameter and of the filter for its name: `pool_name`.
    pub path_key: &'static str,
    /// The first field is the name.
    pub fields: &'static [Field],
    pub patch: Patch,
    pub taken: NameConflict,
    /// The body may contain a secret, so error responses must not echo it.
    pub has_secrets: bool,
    /// Descriptions for `/openapi.json`: of the bodies, and appended to the lines of the list, change and delete
    /// routes.
    pub about: &'static str,
    pub about_list: &'static str,
    pub about_change: &'static str,
    pub about_delete: &'static str,
}

/// The form in which Airflow reports a name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameConflict {
    /// A plain message.
    Text,
    /// The violated unique constraint of the database.
    Constraint,
}

/// The body of an update request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// Contains the fields that change. It may contain the name under this key, but the name cannot change.
    Parts { name: &'static str },
    /// Contains the name and all fields that creation requires. A name that differs from the path is rejected with
    /// `other_name`.
    Whole {
        other_name: &'static str,
        /// Reject an update mask that contains the name.
        mask_is_checked: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name in bodies and responses.
    pub name: &'static str,
    /// Column in the database.
    pub column: &'static str,
    pub kind: FieldKind,
    pub about: &'static str,
    pub is_required: bool,
    pub appears_in: AppearsIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppearsIn {
    BodiesAndAnswers,
    Answers,
    /// Only in responses to changes, and only if there is a value.
    AnswersOfChanges,
}

impl Field {
    pub const fn new(name: &'static str, kind: FieldKind) -> Field {
        Field { name, column: name, kind, about: "", is_required: false, appears_in: AppearsIn::BodiesAndAnswers }
    }

    #[must_use]
    pub const fn required(self) -> Field {
        Field { is_required: true, ..self }
    }

    #[must_use]
    pub const fn column(self, column: &'static str) -> Field {
        Field { column, ..self }
    }

    #[must_use]
    pub const fn about(self, about: &'static str) -> Field {
        Field { about, ..self }
    }

    #[must_use]
    pub const fn only_in(self, appears_in: AppearsIn) -> Field {
        Field { appears_in, ..self }
    }
}

/// orch has no teams, so this field of Airflow is always null.
pub const TEAM: Field = Field::new("team_name", FieldKind::Team);

/// The body of a request: the name, and values by the column that they set.
#[derive(Clone, Default)]
pub struct NounBody {
    pub name: String,
    pub columns: Vec<(&'static str, Value)>,
}

impl Noun {
    pub fn name(&self) -> &'static Field {
        &self.fields[0]
    }

    /// Returns the fields after the name that a body may contain.
    pub fn parts(&self) -> impl Iterator<Item = &'static Field> {
        self.fields[1..].iter().filter(|field| field.appears_in == AppearsIn::BodiesAndAnswers)
    }

    /// Returns the names of fields that an update mask may contain.
    pub fn mask(&self) -> Vec<&'static str> {
        self.parts().filter(|field| !matches!(field.kind, FieldKind::Team)).map(|field| field.name).collect()
    }

    /// Returns a one-line description of the route with this method and path.
    pub fn line(&self, method: &str, path: &str) -> Option<String> {
        let (one, many) = (self.one.to_lowercase(), self.many);
        let and = |about: &str| if about.is_empty() { String::new() } else { format!("; {about}") };
        match (method, path == self.path, path == self.path_of_one) {
            ("GET", true, _) => Some(format!("Lists {many}{}", and(self.about_list))),
            ("POST", true, _) => Some(format!("Adds a {one}")),
            ("PATCH", true, _) => Some(format!("Adds, changes or deletes many {many}")),
            ("GET", _, true) => Some(format!("Reads a {one}{}", and(self.about_list))),
            ("PATCH", _, true) => {
                Some(format!("Changes the fields of a {one} that are sent{}", and(self.about_change)))
            }
            ("DELETE", _, true) => Some(format!("Deletes a {one}{}", and(self.about_delete))),
            _ => None,
        }
    }

    /// Reads a body that must contain all required fields. Problems are collected in `fields`.
    pub fn read(&self, fields: &mut Fields) -> NounBody {
        let key = self.name();
        let name = fields.required_checked(key.name, |value| key.kind.read(value));
        NounBody { name: name.as_str().unwrap_or_default().into(), columns: self.columns(fields, true) }
    }

    /// Reads a body in which only the name is required.
    pub fn read_name(&self, fields: &mut Fields) -> NounBody {
        NounBody { name: fields.required_checked(self.name().name, text), columns: self.columns(fields, false) }
    }

    /// Reads the body of an update request for the object with the name `path`.
    pub fn read_change(&self, fields: &mut Fields, path: &str) -> NounBody {
        match self.patch {
            Patch::Whole { .. } => self.read(fields),
            Patch::Parts { name } => {
                if fields.checked(name, text).is_some_and(|named| named != path) {
                    let noun = self.one.to_lowercase();
                    fields.refuse(Problem::value(format!("{name}: the name of a {noun} cannot be changed")));
                }
                NounBody { name: path.into(), columns: self.columns(fields, false) }
            }
        }
    }

    /// Returns the request body that is read as `sent`.
    pub fn body(&self, sent: NounBody) -> Value {
        let mut body = Map::from_iter([(self.name().name.to_string(), sent.name.into())]);
        for (column, value) in sent.columns {
            for field in self.parts().filter(|field| field.column == column) {
                let is_text = matches!(field.kind, FieldKind::Object) && !value.is_null();
                body.insert(field.name.into(), if is_text { value.to_string().into() } else { value.clone() });
            }
        }
        body.into()
    }

    /// Drops the fields that the mask does not contain. An empty mask contains every field.
    pub fn masked<S: AsRef<str>>(&self, mut sent: NounBody, mask: &[S]) -> NounBody {
        let named: Vec<&str> =
            self.parts().filter(|field| counts(mask, field.name)).map(|field| field.column).collect();
        sent.columns.retain(|(column, _)| named.contains(column));
        sent
    }

    fn columns(&self, fields: &mut Fields, is_whole: bool) -> Vec<(&'static str, Value)> {
        let mut columns = Vec::new();
        for field in self.parts() {
            let is_there = fields.has(field.name);
            let value = if is_whole && field.is_required {
                Some(fields.required_checked(field.name, |value| field.kind.read(value)))
            } else {
                // Null clears optional fields and is ignored for the others.
                fields.checked(field.name, |value| field.kind.read(value)).or(field.kind.empty().filter(|_| is_there))
            };
            if let Some(value) = value.filter(|_| !matches!(field.kind, FieldKind::Team)) {
                columns.push((field.column, value));
            }
        }
        columns
    }
}
