//! Applies the statements in a row-based binlog (transaction boundaries, DDL and TRUNCATE) to the tables of a capture.

use super::table::At;
use super::{BinlogEventPosition, MySql};
use crate::capture::envelope::{RowChange, records};
use crate::capture::lot::Lot;
use orch_lake::source::mysql::binlog::{Name, Statement};
use orch_sdk::task::{TaskResult, fatal};

impl MySql {
    pub(super) async fn statement(
        &mut self,
        (text, database): (&str, &str),
        here: BinlogEventPosition,
        lot: &mut Lot,
    ) -> TaskResult<()> {
        let statement = Statement::parse(text, database);
        if statement == Statement::Begin {
            self.groups.has_begun(here.begins);
            return Ok(());
        }
        self.groups.ensure_begun(here.begins);
        match statement {
            Statement::Commit | Statement::Rollback { is_whole: true } | Statement::Xa { is_end: true } => {
                if statement != Statement::Commit {
                    self.check_undone(text)?;
                }
                self.end(lot);
                self.groups.end_group();
                return Ok(());
            }
            Statement::Rollback { is_whole: false } => self.check_undone(text)?,
            Statement::Xa { is_end: false } => self.groups.set_xa(),
            Statement::Truncate(name) => self.emptied(&name, here, lot)?,
            Statement::Drop(names) => self.dropped(&names, here, lot)?,
            Statement::DropDatabase(database) => {
                let of = self.tables.values().filter(|table| table.name.database == database);
                let names: Vec<Name> = of.map(|table| table.name.clone()).collect();
                self.dropped(&names, here, lot)?;
            }
            Statement::Create { name, replaces } => {
                if replaces {
                    self.emptied(&name, here, lot)?;
                }
                self.changed(&name).await?;
            }
            Statement::Alter(name) => self.changed(&name).await?,
            Statement::Rename(pairs) => self.check_names(&pairs)?,
            Statement::AlterRows(name) => {
                if let Some(name) = self.captured(&name) {
                    return Err(fatal(format!(
                        "rows of table `{name}` came or went without being told, with a partition or a file: `{}`\n{}",
                        short(text),
                        self.anew()
                    )));
                }
            }
            Statement::Rows(text) => self.check_rows(&text)?,
            Statement::Begin | Statement::Other => {}
        }
        self.end(lot);
        self.groups.end_statement();
        Ok(())
    }

    /// Returns the declared name of a table, or `None` if the table is not captured.
    fn captured(&self, name: &Name) -> Option<String> {
        self.tables.iter().find(|(_, table)| table.name == *name).map(|(name, _)| name.clone())
    }

    fn emptied(&mut self, name: &Name, here: BinlogEventPosition, lot: &mut Lot) -> TaskResult<()> {
        let Some(name) = self.captured(name) else { return Ok(()) };
        if !self.groups.is_new() {
            return Ok(());
        }
        let table = &self.tables[&name];
        let origin = self.origin(here, 0);
        let at = At { name: &table.name, columns: &table.columns, is_told: &[] };
        for record in records(&at, RowChange::Truncate, &origin, here.now_ms)? {
            lot.push(&table.topic, record);
        }
        lot.at_ms = lot.at_ms.max(Some(here.at_ms));
        Ok(())
    }

    /// Adds a TRUNCATE to the topics of dropped tables, and marks the tables as missing.
    fn dropped(&mut self, names: &[Name], here: BinlogEventPosition, lot: &mut Lot) -> TaskResult<()> {
        for name in names {
            self.emptied(name, here, lot)?;
            if let Some(gone) = self.captured(name) {
                tracing::warn!(stream = self.stream, table = gone, "a table is gone from the source");
                self.missing.insert(gone);
            }
        }
        Ok(())
    }

    /// Reads the columns of a table after `ALTER TABLE`. The catalog may already contain a later change; rows that do
    /// not match its columns are detected.
    async fn changed(&mut self, name: &Name) -> TaskResult<()> {
        match self.captured(name) {
            Some(name) => self.learn(&name).await,
            None => Ok(()),
        }
    }

    fn check_undone(&self, text: &str) -> TaskResult<()> {
        if self.groups.changes() == 0 {
            return Ok(());
        }
        Err(fatal(format!(
            "changes that are in the topics were undone (`{}`): a transaction changed tables with and without transactions\n\
             hint: `alter table … engine=InnoDB` for all that are changed together\n{}",
            short(text),
            self.anew()
        )))
    }

    fn check_names(&self, pairs: &[(Name, Name)]) -> TaskResult<()> {
        let change = pairs.iter().find_map(|(from, to)| {
            let gone = self.captured(from).map(|name| (name, format!("was renamed to `{}`", to.full())));
            gone.or_else(|| {
                self.captured(to)
                    .map(|name| (name, format!("is `{}` of before, whose rows are in no topic", from.full())))
            })
        });
        match change {
            Some((name, what)) => Err(fatal(format!(
                "table `{name}` {what}\nhint: declare it by the name that it has now, if that is another\n{}",
                self.anew()
            ))),
            None => Ok(()),
        }
    }

    /// Returns an error if a session logged a statement instead of rows and the statement contains the name of a
    /// captured table. The statement is not parsed.
    fn check_rows(&self, text: &str) -> TaskResult<()> {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let names = |table: &str| text.split(|c| !is_word(c)).any(|word| word.eq_ignore_ascii_case(table));
        let found = self.tables.iter().find(|(_, table)| names(&table.name.table));
        match found {
            Some((name, _)) => Err(fatal(format!(
                "a statement is in the log instead of the rows of table `{name}` that it changed: `{}`\n\
                 hint: some session has binlog_format = STATEMENT or MIXED: `set global binlog_format = 'ROW'`, and let it connect anew\n{}",
                short(text),
                self.anew()
            ))),
            None => Ok(()),
        }
    }
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}
