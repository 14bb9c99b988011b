//! Generic create, update and delete for the named objects that users manage (nouns). The rules of each noun are in its
//! `Kept` implementation.

mod announcement;
mod connection;
mod file;
mod pool;
mod topic;
mod variable;

pub use announcement::{Announcement, IS_OVER};
pub use connection::{Connection, applied};
pub use file::{ExportFile, ImportFile};
pub use pool::Pool;
pub use topic::Topic;
pub use variable::Variable;

use crate::Actor;
use orch_store::StoreError;
use orch_store::audit::Deed;
use orch_store::hint::Hint;
use orch_store::kept::{self, Columns, Record, Table};
use orch_store::list::{Column, Filter};
use orch_store::seal::{Keyring, SecretError};
use orch_wire::{Noun, NounBody};
use serde_json::{Map, Value, json};
use sqlx::PgConnection;
use std::borrow::Cow;

pub static NOUNS: [&Noun; 5] = [POOL, CONNECTION, VARIABLE, TOPIC, ANNOUNCEMENT];

const NAMED: &[Filter] = &[Filter::Pattern, Filter::Prefix];
const DESCRIPTION: Column = Column::text("description", "description").by(&[Filter::Pattern]).nullable().sorted();

pub const POOL: &Noun = Pool::NOUN;
pub const CONNECTION: &Noun = Connection::NOUN;
pub const VARIABLE: &Noun = Variable::NOUN;
pub const TOPIC: &Noun = Topic::NOUN;
pub const ANNOUNCEMENT: &Noun = Announcement::NOUN;

/// Description of the bodies of nouns with secrets.
const MASKS: &str = "`***` leaves what is stored.";

/// A noun with its table and its rules.
pub trait Kept: Send + Sync + 'static {
    const NOUN: &'static Noun;
    const TABLE: &'static Table;
    /// Columns that users can filter and sort the list by.
    const COLUMNS: &'static [Column];
    /// Hint to send after the commit of a change.
    const HINT: Option<Hint> = None;
    /// Names that only admins can add, change or delete, because orch itself uses them.
    const ADMIN_NAMES: &'static [&'static str] = &[];
    /// Columns that the audit log records in addition to the name.
    const AUDITED: &'static [&'static str] = &[];

    /// Returns the columns to write when `sent` is applied to the stored record.
    fn change(_old: Option<&Record>, sent: NounBody, _keys: &Keyring) -> Result<Change, Refused> {
        Ok(Change::of(sent.columns))
    }

    /// Rejects names that cannot be deleted.
    fn check_delete(_name: &str) -> Result<(), Refused> {
        Ok(())
    }

    /// Returns the fields of a response. `sees` is true if the user may see values. Sealed columns are left out unless
    /// the noun overrides this.
    fn visible_fields(record: &Record, _keys: &Keyring, _sees: bool) -> Map<String, Value> {
        let plain = Self::NOUN.fields.iter().filter(|field| !Self::TABLE.sealed.contains(&field.column));
        plain.map(|field| (field.name.to_string(), field.kind.answer_value(record.get(field.column)))).collect()
    }
}

/// The result of applying a request body to the stored record.
pub struct Change {
    pub columns: Columns,
    /// Secrets that are dropped because the connection now leads elsewhere.
    pub dropped: Vec<String>,
    /// The reason why only an admin may write this.
    pub needs_admin: Option<String>,
}

impl Change {
    pub fn of(columns: Columns) -> Change {
        Change { columns, dropped: Vec::new(), needs_admin: None }
    }
}

/// The reason why nothing was changed.
#[derive(Debug)]
pub enum Refused {
    NotFound,
    Taken,
    /// The change violates a rule of the noun.
    Rule(Cow<'static, str>),
    Forbidden(String),
    Secret(SecretError),
}

impl From<SecretError> for Refused {
    fn from(error: SecretError) -> Self {
        Refused::Secret(error)
    }
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Refused::Secret(error.into())
    }
}

fn check_actor<K: Kept>(actor: &Actor, name: &str, needs_admin: Option<String>) -> Result<(), Refused> {
    let of_installation = || {
        let noun = K::NOUN.one.to_lowercase();
        format!("the installation itself uses the {noun} `{name}`, so only admins change it")
    };
    let needs_admin = needs_admin.or_else(|| K::ADMIN_NAMES.contains(&name).then(of_installation));
    match needs_admin.filter(|_| !actor.is_admin) {
        Some(why) => Err(Refused::Forbidden(why)),
        None => Ok(()),
    }
}

pub async fn add<K: Kept>(
    tx: &mut PgConnection,
    actor: &Actor,
    keys: &Keyring,
    sent: NounBody,
) -> Result<Record, Refused> {
    let name = sent.name.clone();
    let Change { columns, needs_admin, .. } = K::change(None, sent, keys)?;
    check_actor::<K>(actor, &name, needs_admin)?;
    // A null leaves the column to its default.
    let columns: Columns = columns.into_iter().filter(|(_, value)| !value.is_null()).collect();
    if !kept::insert(tx, K::TABLE, &name, &columns, keys).await? {
        return Err(Refused::Taken);
    }
    written::<K>(tx, actor, &name, ("add", &[])).await
}

/// Also returns the names of the secrets that were dropped.
pub async fn change<K: Kept>(
    tx: &mut PgConnection,
    actor: &Actor,
    keys: &Keyring,
    sent: NounBody,
) -> Result<(Record, Vec<String>), Refused> {
    let name = sent.name.clone();
    let old = kept::lock(tx, K::TABLE, &name).await?.ok_or(Refused::NotFound)?;
    let Change { columns, dropped, needs_admin } = K::change(Some(&old), sent, keys)?;
    check_actor::<K>(actor, &name, needs_admin)?;
    kept::update(tx, K::TABLE, &name, &columns, keys).await?;
    let record = written::<K>(tx, actor, &name, ("change", &dropped)).await?;
    Ok((record, dropped))
}

pub async fn delete<K: Kept>(tx: &mut PgConnection, actor: &Actor, name: &str) -> Result<(), Refused> {
    K::check_delete(name)?;
    check_actor::<K>(actor, name, None)?;
    if !kept::delete(tx, K::TABLE, name).await? {
        return Err(Refused::NotFound);
    }
    Ok(actor.did(tx, deed(&event::<K>("delete"), json!({ K::NOUN.name().name: name }))).await?)
}

/// Reads the record back and writes its audit entry, which never contains a secret.
async fn written<K: Kept>(
    tx: &mut PgConnection,
    actor: &Actor,
    name: &str,
    (verb, dropped): (&str, &[String]),
) -> Result<Record, Refused> {
    let record = kept::get(tx, K::TABLE, name).await?.ok_or(Refused::NotFound)?;
    let mut extra = json!({ K::NOUN.name().name: name });
    for column in K::AUDITED {
        extra[*column] = record.get(column).clone();
    }
    if !dropped.is_empty() {
        extra["dropped_secrets"] = json!(dropped);
    }
    actor.did(tx, deed(&event::<K>(verb), extra)).await?;
    Ok(record)
}

/// Returns the name of an audit event, such as `add_pool`.
fn event<K: Kept>(verb: &str) -> String {
    format!("{verb}_{}", K::NOUN.one.to_lowercase())
}

fn deed(event: &str, extra: Value) -> Deed<'_> {
    Deed { event, extra: Some(extra), ..Deed::default() }
}

fn checked<T, E: ToString>(checked: Result<T, E>) -> Result<(), String> {
    checked.map(|_| ()).map_err(|bad| bad.to_string())
}
