//! Variables. A secret that the client sends back as `***` keeps its stored value.

use super::{Change, DESCRIPTION, ExportFile, ImportFile, Kept, MASKS, NAMED, Refused, checked};
use orch_document::kept::{BadDocument, Document, FileFormat, Serialization, WrittenVariable, write_variables};
use orch_sdk::secret::{MASK, has_masked_password, is_sensitive, masked_variable, restored_variable};
use orch_spec::ids::{MAX_ID_CHARS, check_variable_key};
use orch_store::kept::{self, Record, Table};
use orch_store::list::Column;
use orch_store::seal::{Keyring, SecretError};
use orch_wire::NounBody;
use orch_wire::noun::{AppearsIn, Field, FieldKind, NameConflict, Noun, Patch, TEAM};
use serde_json::{Map, Value, json};

#[derive(Debug)]
pub struct Variable;

static NOUN: Noun = Noun {
    one: "Variable",
    many: "variables",
    path: "/api/v2/variables",
    path_of_one: "/api/v2/variables/{variable_key}",
    path_key: "variable_key",
    fields: &[
        Field::new(
            "key",
            FieldKind::Name { most: MAX_ID_CHARS, pattern: None, check: |key| checked(check_variable_key(key)) },
        ),
        Field::new("value", FieldKind::AnyText).required().about("What is not text is kept as its JSON."),
        Field::new("description", FieldKind::Text),
        Field::new("is_encrypted", FieldKind::Flag).only_in(AppearsIn::Answers),
        TEAM,
    ],
    // All values are sealed and there are no teams, so the list cannot be sorted by either.
    patch: Patch::Whole {
        other_name: "Invalid body, key from request body doesn't match uri parameter",
        mask_is_checked: true,
    },
    taken: NameConflict::Text,
    has_secrets: true,
    about: MASKS,
    about_list: "secrets are `***`, and viewers see no values",
    about_change: "`***` leaves what is stored",
    about_delete: "",
};

impl Kept for Variable {
    const NOUN: &'static Noun = &NOUN;
    const TABLE: &'static Table = &kept::VARIABLE;
    const COLUMNS: &'static [Column] = &[
        Column::text("variable_key", "key").by(NAMED),
        Column::text("key", "key").sorted(),
        Column::text("id", "created_at").sorted(),
        Column::text("_val", "key").sorted(),
        DESCRIPTION,
        Column::text("is_encrypted", "created_at").sorted(),
        Column::text("team_name", "created_at").sorted(),
    ];

    fn change(
        old: Option<&Record>,
        NounBody { name, mut columns }: NounBody,
        keys: &Keyring,
    ) -> Result<Change, Refused> {
        if let Some(old) = old {
            // The user was not shown this secret. It stays as it is, so no key is needed.
            columns.retain(|(column, sent)| !(*column == "value" && sent == MASK && is_sensitive(&name)));
            for (column, sent) in &mut columns {
                if let Some(text) = sent.as_str().filter(|text| *column == "value" && text.contains(MASK)) {
                    let stored = value(old, keys)?;
                    let restored = restored_variable(&name, text, &stored);
                    if restored != stored && has_masked_password(&restored) {
                        return Err(Refused::Rule(
                            "value: the address was changed, but its password is `***`; enter the password again"
                                .into(),
                        ));
                    }
                    *sent = restored.into();
                }
            }
        } else {
            let mut sent =
                columns.iter().filter(|(column, _)| *column == "value").filter_map(|(_, sent)| sent.as_str());
            if sent.any(|text| has_masked_password(text) || (text == MASK && is_sensitive(&name))) {
                let why = format!("value: the secret of variable `{name}` is `***`; enter the secret");
                return Err(Refused::Rule(why.into()));
            }
        }
        Ok(Change::of(columns))
    }

    fn visible_fields(record: &Record, keys: &Keyring, sees: bool) -> Map<String, Value> {
        let shown = [
            ("key", json!(record.name())),
            ("value", Variable::visible(record, keys, sees).into()),
            ("description", record.get("description").clone()),
            ("is_encrypted", true.into()),
        ];
        shown.into_iter().map(|(field, value)| (field.to_string(), value)).collect()
    }
}

impl ImportFile for Variable {
    fn read(document: &Document<'_>) -> Result<Vec<NounBody>, BadDocument> {
        let body = |(name, variable): (String, WrittenVariable)| {
            check_variable_key(&name).map_err(|error| document.bad(error.to_string()))?;
            let mut columns = vec![("value", json!(variable.value))];
            // Without a description, the stored one stays.
            columns.extend(variable.description.map(|text| ("description", json!(text))));
            Ok(NounBody { name, columns })
        };
        document.variables()?.into_iter().map(body).collect()
    }
}

impl ExportFile for Variable {
    type Written = (String, WrittenVariable);
    const FILE_FORMATS: &'static [FileFormat] = &[FileFormat::Json];

    fn opened(record: &Record, keys: &Keyring) -> Result<Self::Written, SecretError> {
        Ok(written(record, record.open("value", keys)?.unwrap_or_default()))
    }

    fn masked(record: &Record, keys: &Keyring) -> Self::Written {
        written(record, Variable::visible(record, keys, true))
    }

    fn write(all: Vec<Self::Written>, _: FileFormat, _: Serialization) -> String {
        write_variables(all)
    }
}

fn written(record: &Record, value: String) -> (String, WrittenVariable) {
    (record.name().into(), WrittenVariable { value, description: record.text("description").map(String::from) })
}

impl Variable {
    /// Returns the value with its secrets masked. Without `sees` or without a key, all of it is masked.
    pub fn visible(record: &Record, keys: &Keyring, sees: bool) -> String {
        let value = if sees { value(record, keys).ok() } else { None };
        value.map_or_else(|| MASK.into(), |value| masked_variable(record.name(), &value))
    }
}

fn value(record: &Record, keys: &Keyring) -> Result<String, Refused> {
    Ok(record.open("value", keys)?.unwrap_or_default())
}
