//! Pools. The default pool always exists.

use super::{Change, DESCRIPTION, ImportFile, Kept, NAMED, Refused};
use orch_core::gates::{DEFAULT_POOL, MOST_POOL_NAME, check_pool_name};
use orch_document::kept::{BadDocument, Document, FileFormat, WrittenPool};
use orch_store::hint::Hint;
use orch_store::kept::{self, Record, Table};
use orch_store::list::{Column, Filter};
use orch_store::seal::Keyring;
use orch_wire::NounBody;
use orch_wire::noun::{AppearsIn, Field, FieldKind, NameConflict, Noun, Patch, TEAM};
use serde_json::json;

#[derive(Debug)]
pub struct Pool;

static NOUN: Noun = Noun {
    one: "Pool",
    many: "pools",
    path: "/api/v2/pools",
    path_of_one: "/api/v2/pools/{pool_name}",
    path_key: "pool_name",
    fields: &[
        Field::new(
            "name",
            FieldKind::Name { most: MOST_POOL_NAME, pattern: None, check: |name| Ok(check_pool_name(name)?) },
        ),
        Field::new("slots", FieldKind::Whole { least: -1, most: i32::MAX }).required().about("-1: infinite."),
        Field::new("description", FieldKind::Text),
        Field::new("include_deferred", FieldKind::Flag),
        Field::new("occupied_slots", FieldKind::Count).only_in(AppearsIn::Answers),
        Field::new("running_slots", FieldKind::Count).only_in(AppearsIn::Answers),
        Field::new("queued_slots", FieldKind::Count).only_in(AppearsIn::Answers),
        Field::new("scheduled_slots", FieldKind::Count).only_in(AppearsIn::Answers),
        Field::new("open_slots", FieldKind::Count).only_in(AppearsIn::Answers).about("-1: infinite."),
        Field::new("deferred_slots", FieldKind::Count).only_in(AppearsIn::Answers),
        TEAM,
    ],
    patch: Patch::Parts { name: "pool" },
    taken: NameConflict::Constraint,
    has_secrets: false,
    about: "",
    about_list: "taken and free slots are counted",
    about_change: "its name stays",
    about_delete: "tasks that name it wait for a new one",
};

impl Kept for Pool {
    const NOUN: &'static Noun = &NOUN;
    const TABLE: &'static Table = &kept::POOL;
    const COLUMNS: &'static [Column] = &[
        Column::text("pool_name", "name").by(NAMED),
        Column::text("id", "name").sorted(),
        Column::text("pool", "name").sorted(),
        Column::text("name", "name").sorted(),
        Column::whole("slots", "slots").by(&[Filter::AnyOf]).about("Of that many slots").sorted(),
        DESCRIPTION,
    ];
    /// Hint for the schedulers: slots may have become free.
    const HINT: Option<Hint> = Some(Hint::Due);
    const AUDITED: &'static [&'static str] = &["slots", "include_deferred"];

    fn change(old: Option<&Record>, NounBody { name, columns }: NounBody, _: &Keyring) -> Result<Change, Refused> {
        let description = columns.iter().find(|(column, _)| *column == "description");
        if let (DEFAULT_POOL, Some(old), Some((_, new))) = (name.as_str(), old, description)
            && new != old.get("description")
        {
            return Err(Refused::Rule("Only slots and included_deferred can be modified on Default Pool".into()));
        }
        Ok(Change::of(columns))
    }

    fn check_delete(name: &str) -> Result<(), Refused> {
        if name == DEFAULT_POOL { Err(Refused::Rule("Default Pool can't be deleted".into())) } else { Ok(()) }
    }
}

impl ImportFile for Pool {
    const USUAL_FORMAT: Option<FileFormat> = Some(FileFormat::Json);

    fn read(document: &Document<'_>) -> Result<Vec<NounBody>, BadDocument> {
        let body = |(name, pool): (String, WrittenPool)| {
            let shown = name.escape_debug();
            check_pool_name(&name).map_err(|why| document.bad(format!("`{shown}` cannot be a pool: {why}")))?;
            if pool.slots < -1 {
                let why = format!("pool `{shown}` has {} slots; -1 means no limit", pool.slots);
                return Err(document.bad(why));
            }
            let mut columns = vec![("slots", json!(pool.slots)), ("include_deferred", json!(pool.include_deferred))];
            // The description of the default pool cannot be changed.
            if name != DEFAULT_POOL {
                columns.push(("description", json!(pool.description)));
            }
            Ok(NounBody { name, columns })
        };
        document.pools()?.into_iter().map(body).collect()
    }
}
