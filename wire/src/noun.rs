//! A noun of the API: a kind of named thing that people keep, such as pools. One table says its fields; bodies, answers, update
//! masks, sorting, filters and their description in `/openapi.json` follow from it.

mod kind;
mod schema;

pub use kind::FieldKind;

use crate::body::counts;
use crate::fields::{Fields, text};
use crate::problem::Problem;
use serde_json::{Map, Value};

/// A kind of named thing.
#[derive(Debug)]
pub struct Noun {
    /// `Pool`: in refusals, and in the names of its schemas.
    pub one: &'static str,
    /// `pools`: the name of the list in an answer.
    pub many: &'static str,
    /// Routes of all of them, and of one.
    pub path: &'static str,
    pub path_of_one: &'static str,
    /// What paths and filters call its name: `pool_name`.
    pub path_key: &'static str,
    /// The first is its name.
    pub fields: &'static [Field],
    pub patch: Patch,
    pub taken: NameConflict,
    /// Nothing of a body is sent back: it may hold a secret.
    pub has_secrets: bool,
    /// Said there of its bodies, and behind the words for a list, a change and a deletion.
    pub about: &'static str,
    pub about_list: &'static str,
    pub about_change: &'static str,
    pub about_delete: &'static str,
}

/// How Airflow refuses a name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameConflict {
    /// As a text.
    Text,
    /// As the unique constraint of its database.
    Constraint,
}

/// What the body of a change holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// The parts that change. The name may be there under this word, and stays.
    Parts { name: &'static str },
    /// The name and all that a new one needs. Another name than that in the path is refused with these words.
    Whole {
        other_name: &'static str,
        /// An update mask that names the name is refused.
        mask_is_checked: bool,
    },
}

/// A field of a noun.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// In bodies and answers.
    pub name: &'static str,
    /// As it is stored.
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
    /// Where there is something to say.
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

/// There are no teams: Airflow's field is always null.
pub const TEAM: Field = Field::new("team_name", FieldKind::Team);

/// A body as it was read: the name, and values by the column that they set.
#[derive(Clone, Default)]
pub struct NounBody {
    pub name: String,
    pub columns: Vec<(&'static str, Value)>,
}

impl Noun {
    pub fn name(&self) -> &'static Field {
        &self.fields[0]
    }

    /// The fields behind the name that a body may hold.
    pub fn parts(&self) -> impl Iterator<Item = &'static Field> {
        self.fields[1..].iter().filter(|field| field.appears_in == AppearsIn::BodiesAndAnswers)
    }

    /// Names of fields that an update mask may hold.
    pub fn mask(&self) -> Vec<&'static str> {
        self.parts().filter(|field| !matches!(field.kind, FieldKind::Team)).map(|field| field.name).collect()
    }

    /// What the route with this method and path does, in a line.
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

    /// Reads a body with all that one needs. What is wrong is gathered in `fields`.
    pub fn read(&self, fields: &mut Fields) -> NounBody {
        let key = self.name();
        let name = fields.required_checked(key.name, |value| key.kind.read(value));
        NounBody { name: name.as_str().unwrap_or_default().into(), columns: self.columns(fields, true) }
    }

    /// Reads a body of which only the name has to be there.
    pub fn read_name(&self, fields: &mut Fields) -> NounBody {
        NounBody { name: fields.required_checked(self.name().name, text), columns: self.columns(fields, false) }
    }

    /// Reads the body of a change of the one that the path names.
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

    /// The body that is read as this.
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

    /// Drops the fields that the mask does not name. An empty mask names all.
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
                // Null takes away what may be missing, and says nothing of the rest.
                fields.checked(field.name, |value| field.kind.read(value)).or(field.kind.empty().filter(|_| is_there))
            };
            if let Some(value) = value.filter(|_| !matches!(field.kind, FieldKind::Team)) {
                columns.push((field.column, value));
            }
        }
        columns
    }
}
