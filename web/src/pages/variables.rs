//! `/variables`: texts that tasks read by key. All users see the keys; operators see and change the values; no page
//! shows a value whose key, or the name of a member inside it, marks it as secret.

use super::Shell;
use super::kept::list::{Cell, Head, Lists};
use crate::parts;
use crate::state::App;
use orch_deeds::Variable;
use orch_deeds::kept::ExportFile as _;
use orch_document::kept::FileFormat;
use orch_store::kept::Record;

/// Maximum number of characters of a value in the list.
const MOST_SHOWN: usize = 120;

impl Lists for Variable {
    const ABOUT: &'static str = "Texts that tasks ask for by key. All are sealed in the database; what a key calls a secret \
        is never shown.";
    const CAPTION: &'static str = "Variables";
    const HEADS: &'static [Head] = &[
        Head::new("Key", "", ""),
        Head::new("Value", "", "mono value"),
        Head::new("Changed", "only-wide", "only-wide"),
    ];
    const WORD: &'static str = "key";
    const WHEN_EMPTY: &'static str = "A task asks for one by key: `ctx.variable(\"limit\")`. Those of files, a vault and the \
        environment are found too, and are not listed here.";
    const EXPORTS: &'static [FileFormat] = Variable::FILE_FORMATS;
    const FILE_EXAMPLE: &'static str =
        "{\"limit\": 42, \"tables\": {\"value\": [\"a\", \"b\"], \"description\": \"what is copied\"}}";

    fn cells(record: &Record, app: &App, shell: &Shell) -> Vec<Cell> {
        let value = Variable::visible(record, &app.config.keys, shell.can_operate());
        let changed = parts::ago(record.updated_at(), shell.now);
        vec![Cell::Text(parts::short(&value, MOST_SHOWN).into_owned()), Cell::Ago(changed)]
    }
}
