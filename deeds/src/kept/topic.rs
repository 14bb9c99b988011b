//! Topics of the built-in log.

use super::{Change, DESCRIPTION, Kept, NAMED, Refused};
use orch_store::kept::{self, Record, Table};
use orch_store::list::{Column, Filter};
use orch_store::seal::Keyring;
use orch_wire::NounBody;
use orch_wire::noun::{AppearsIn, Field, FieldKind, NameConflict, Noun, Patch};

/// Same rule as Kafka's topic names.
const NAMES: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,248}$";
const MOST_NAME: usize = 249;
const MOST_PARTITIONS: i32 = 64;
/// 100 years.
const MOST_HOURS: i32 = 876_000;

#[derive(Debug)]
pub struct Topic;

static NOUN: Noun = Noun {
    one: "Topic",
    many: "topics",
    path: "/api/orch/v1/topics",
    path_of_one: "/api/orch/v1/topics/{topic_name}",
    path_key: "topic_name",
    fields: &[
        Field::new("name", FieldKind::Name { most: MOST_NAME, pattern: Some(NAMES), check: check_topic_name }),
        Field::new("partitions", FieldKind::Whole { least: 1, most: MOST_PARTITIONS })
            .about("How many; there may be more later, never fewer. 1 if nothing is said."),
        Field::new("retention_hours", FieldKind::Whole { least: -1, most: MOST_HOURS })
            .about("How long a record is kept; -1: for ever. 168 if nothing is said."),
        Field::new("description", FieldKind::Text),
        Field::new("records", FieldKind::Count).only_in(AppearsIn::Answers),
        Field::new("last_record_at", FieldKind::Moment).only_in(AppearsIn::Answers),
        Field::new("created_at", FieldKind::Moment).only_in(AppearsIn::Answers),
    ],
    patch: Patch::Parts { name: "name" },
    taken: NameConflict::Text,
    has_secrets: false,
    about: "",
    about_list: "of the built-in log",
    about_change: "its name stays",
    about_delete: "all its records go with it",
};

impl Kept for Topic {
    const NOUN: &'static Noun = &NOUN;
    const TABLE: &'static Table = &kept::TOPIC;
    const COLUMNS: &'static [Column] = &[
        Column::text("topic_name", "name").by(NAMED),
        Column::text("name", "name").sorted(),
        Column::whole("partitions", "partitions").by(&[Filter::AnyOf]).about("Of that many partitions").sorted(),
        Column::whole("records", "records").by(&[Filter::AnyOf]).about("With that many records").sorted(),
        Column::moment("last_record_at", "last_record_at").by(&[Filter::Range]).nullable().sorted(),
        Column::moment("created_at", "created_at").by(&[Filter::Range]).sorted(),
        DESCRIPTION,
    ];
    const AUDITED: &'static [&'static str] = &["partitions", "retention_hours"];

    fn change(old: Option<&Record>, NounBody { columns, .. }: NounBody, _: &Keyring) -> Result<Change, Refused> {
        let number =
            |name: &str| columns.iter().find(|(column, _)| *column == name).and_then(|(_, value)| value.as_i64());
        if number("retention_hours") == Some(0) {
            return Err(Refused::Rule(
                "retention_hours: a topic keeps records for an hour at least; -1 keeps them without a limit".into(),
            ));
        }
        if let (Some(old), Some(new)) = (old, number("partitions"))
            && new < old.whole("partitions")
        {
            return Err(Refused::Rule(
                "partitions: a topic cannot have fewer than before, as their records would be lost".into(),
            ));
        }
        Ok(Change::of(columns))
    }
}

fn check_topic_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
        return Err("a topic is named with letters, digits, `.`, `_` and `-`, and does not begin with a dot".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kafka_takes() {
        for name in ["weather", "lakehouse.payment_types", "__x", "-", "0"] {
            assert!(check_topic_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a b", "a/b", "ä"] {
            assert!(check_topic_name(name).is_err(), "{name}");
        }
    }
}
