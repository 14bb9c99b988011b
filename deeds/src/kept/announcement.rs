//! Announcements of operators on the home page.

use super::{Kept, NAMED};
use orch_store::kept::Table;
use orch_store::list::{Column, Filter};
use orch_wire::noun::{AppearsIn, Field, FieldKind, NameConflict, Noun, Patch};

#[derive(Debug)]
pub struct Announcement;

static NOUN: Noun = Noun {
    one: "Announcement",
    many: "announcements",
    path: "/api/orch/v1/announcements",
    path_of_one: "/api/orch/v1/announcements/{announcement_name}",
    path_key: "announcement_name",
    fields: &[
        Field::new("name", FieldKind::Name { most: 250, pattern: None, check: check_name }),
        Field::new("message", FieldKind::Word { usual: |message| message.trim().into() })
            .required()
            .about("In Markdown."),
        Field::new("until", FieldKind::Moment).about("When it disappears; without it when it is deleted."),
        Field::new("created_at", FieldKind::Moment).only_in(AppearsIn::Answers),
    ],
    patch: Patch::Parts { name: "name" },
    taken: NameConflict::Text,
    has_secrets: false,
    about: "",
    about_list: "which the home page shows",
    about_change: "its name stays",
    about_delete: "",
};

static TABLE: Table =
    Table { name: "announcement", key: "name", from: "announcement r", sealed: &[], has_moments: true };

/// True if the home page no longer shows the announcement.
pub const IS_OVER: Column = Column::flag("is_over", "coalesce(until <= now(), false)");

impl Kept for Announcement {
    const NOUN: &'static Noun = &NOUN;
    const TABLE: &'static Table = &TABLE;
    const COLUMNS: &'static [Column] = &[
        Column::text("announcement_name", "name").by(NAMED),
        Column::text("name", "name").sorted(),
        IS_OVER,
        Column::moment("until", "until").by(&[Filter::Range]).nullable().sorted(),
        Column::moment("created_at", "created_at").by(&[Filter::Range]).sorted(),
    ];
    const AUDITED: &'static [&'static str] = &["message", "until"];
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err("an announcement is named with letters, digits, `.`, `_` and `-`".into());
    }
    Ok(())
}
