//! Named objects of the API that users manage, such as pools (nouns). One table declares the fields of a noun; bodies,
//! responses, update masks, sorting, filters and the description in `/openapi.json` are derived from the table.

mod kind;
mod schema;

pub use kind::FieldKind;

use crate::body::counts;
use crate::fields::{Fields, text};
use crate::problem::Problem;
use serde_json::{Map, Value};

#[derive(Debug)]
pub struct Noun {
    /// Singular name, such as `Pool`. Used in error messages and in the names of schemas.
    pub one: &'static str,
    /// Plural name, such as `pools`. It is the name of the list in a response.
    pub many: &'static str,
    /// Route of the list of objects.
    pub path: &'static str,
    pub path_of_one: &'static str,
    /// Name of the path parameter with the object's name, such as `pool_name`. The list has a filter of the same name.
    pub path_key: &'static str,
    /// Fields of the object. The first field is the name.
    pub fields: &'static [Field],
    pub patch: Patch,
    pub taken: NameConflict,
    /// True if a request body may contain a secret. Error responses then do not echo the body.
    pub has_secrets: bool,
    /// Descriptions for `/openapi.json`. `about` describes the bodies; the others are appended to the summaries of the
    /// list, change and delete routes.
    pub about: &'static str,
    pub about_list: &'static str,
    pub about_change: &'static str,
    pub about_delete: &'static str,
}

/// Form of the error about a name that is already taken, which differs between nouns as in Airflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameConflict {
    /// The error is a plain message.
    Text,
    /// The error names the violated unique constraint of the database.
    Constraint,
}

/// The body of an update request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// The body contains only the fields that change. It may contain the object's name under the key `name`, but cannot
    /// change it.
    Parts { name: &'static str },
    /// The body contains the object's name and all fields that creation requires. If its name differs from the path,
    /// the request is rejected with the message `other_name`.
    Whole {
        other_name: &'static str,
        /// True if an update mask that contains the object's name is rejected.
        mask_is_checked: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Name of the field in request bodies and responses.
    pub name: &'static str,
    /// Column of the field in the database.
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
    /// The field appears only in responses to changes, and only if it has a value.
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

/// Airflow's field for teams. It is always null, because orch has no teams.
pub const TEAM: Field = Field::new("team_name", FieldKind::Team);

/// A parsed request body: the object's name, and the new values by column.
#[derive(Clone, Default)]
pub struct NounBody {
    pub name: String,
    pub columns: Vec<(&'static str, Value)>,
}

impl Noun {
    pub fn name(&self) -> &'static Field {
        &self.fields[0]
    }

    /// Returns the fields that a body may contain in addition to the name.
    pub fn parts(&self) -> impl Iterator<Item = &'static Field> {
        self.fields[1..].iter().filter(|field| field.appears_in == AppearsIn::BodiesAndAnswers)
    }

    /// Returns the names of the fields that an update mask may contain.
    pub fn mask(&self) -> Vec<&'static str> {
        self.parts().filter(|field| !matches!(field.kind, FieldKind::Team)).map(|field| field.name).collect()
    }

    /// Returns the one-line summary of the route with this method and path. `None` if it is not a route of this noun.
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

    /// Reads the body of a request that creates an object, in which all required fields must be set. Problems are added
    /// to `fields`.
    pub fn read(&self, fields: &mut Fields) -> NounBody {
        let key = self.name();
        let name = fields.required_checked(key.name, |value| key.kind.read(value));
        NounBody { name: name.as_str().unwrap_or_default().into(), columns: self.columns(fields, true) }
    }

    /// Reads a body in which only the name is required. Problems are added to `fields`.
    pub fn read_name(&self, fields: &mut Fields) -> NounBody {
        NounBody { name: fields.required_checked(self.name().name, text), columns: self.columns(fields, false) }
    }

    /// Reads the body of a request that updates the object named `path`. Problems are added to `fields`.
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

    /// Returns the JSON body that would be read as `sent`.
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

    /// Removes the fields that an update mask does not contain. An empty mask stands for all fields.
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
                // Null clears a field that can be empty and is ignored for any other field.
                fields.checked(field.name, |value| field.kind.read(value)).or(field.kind.empty().filter(|_| is_there))
            };
            if let Some(value) = value.filter(|_| !matches!(field.kind, FieldKind::Team)) {
                columns.push((field.column, value));
            }
        }
        columns
    }
}
