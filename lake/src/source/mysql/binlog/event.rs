//! Parses binlog events of MySQL and MariaDB.

use super::bytes::Bytes;
use anyhow::{Context as _, ensure};
use flate2::read::ZlibDecoder;
use orch_sdk::task::TaskResult;
use std::io::Read as _;
use std::sync::Arc;
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Start of an event group, which is a transaction or a single statement.
    Gtid(Gtid),
    /// A SQL statement that starts or ends a transaction or changes tables.
    Query {
        database: String,
        text: String,
    },
    /// Row format of a table. It applies to the row events that follow.
    Table(TableMap),
    Rows(Rows),
    /// End of a transaction.
    Commit,
    /// The binlog continues in another file.
    Rotate {
        file: String,
        pos: u64,
    },
    /// The server failed to write a change to the log.
    Incident,
    /// End of the first phase (`XA PREPARE`) of an XA transaction, which can still be rolled back.
    XaPrepare,
    /// Rows that contain partial JSON updates of this table (`binlog_row_value_options = PARTIAL_JSON`).
    Partial {
        table: u64,
    },
    /// An event that capture ignores.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gtid {
    MariaDb {
        domain: u32,
        sequence: u64,
        /// True if the event group is a single statement instead of a transaction.
        is_alone: bool,
        /// True if the event group is the first phase of an XA transaction.
        is_prepared: bool,
    },
    /// A GTID in MySQL's notation. Empty for an anonymous transaction.
    MySql(String),
}

/// Row format of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableMap {
    pub number: u64,
    pub database: String,
    pub name: String,
    /// Binlog type code and type metadata of each column.
    pub types: Vec<(u8, Vec<u8>)>,
    pub named: Option<Named>,
}

/// Optional column metadata, which the binlog contains only with `binlog_row_metadata=FULL`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub names: Vec<String>,
    /// Indexes of the primary key columns.
    pub key: Vec<usize>,
    /// For each numeric column, in order: true if it is unsigned.
    pub unsigned: Vec<bool>,
    /// Collation ids of the text and binary columns, in order. The collation determines the character set.
    pub collations: Collations,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collations {
    pub usual: usize,
    /// Columns whose collation differs from the default: index among the text and binary columns, and collation id.
    pub others: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Insert,
    Update,
    Delete,
}

/// Row changes in binary form, not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    pub table: u64,
    pub op: Op,
    pub columns: usize,
    /// Bitmaps of the columns that are present in the row images. The first is for the only image of an insert or
    /// delete, or the old image of an update; the second is for the new image of an update.
    pub told: [Vec<u8>; 2],
    pub data: Arc<[u8]>,
}

const QUERY: u8 = 2;
const ROTATE: u8 = 4;
const XID: u8 = 16;
const TABLE_MAP: u8 = 19;
const INCIDENT: u8 = 26;
const GTID: u8 = 33;
const ANONYMOUS_GTID: u8 = 34;
const XA_PREPARE: u8 = 38;
const PARTIAL_UPDATE_ROWS: u8 = 39;
const GTID_TAGGED: u8 = 42;
const MARIADB_GTID: u8 = 162;
const MARIADB_QUERY_COMPRESSED: u8 = 165;
/// Type code of the insert event in each family of row events. The codes of update and delete follow it.
const ROWS: [(u8, bool, bool); 4] = [(23, false, false), (30, true, false), (166, false, true), (169, true, true)];

impl Event {
    /// Parses an event of the given type code.
    ///
    /// # Errors
    /// Returns an error if the data is not a valid event of this type.
    pub fn parse(kind: u8, data: &[u8]) -> TaskResult<Event> {
        let event = match kind {
            QUERY | MARIADB_QUERY_COMPRESSED => query(data, kind == MARIADB_QUERY_COMPRESSED),
            ROTATE => rotate(data),
            XID => Ok(Event::Commit),
            TABLE_MAP => TableMap::parse(data).map(Event::Table),
            INCIDENT => Ok(Event::Incident),
            GTID | GTID_TAGGED => mysql_gtid(data),
            ANONYMOUS_GTID => Ok(Event::Gtid(Gtid::MySql(String::new()))),
            XA_PREPARE => Ok(Event::XaPrepare),
            PARTIAL_UPDATE_ROWS => Bytes(data).number(6).map(|table| Event::Partial { table }),
            MARIADB_GTID => mariadb_gtid(data),
            _ => match ROWS.into_iter().find(|(first, ..)| (*first..first + 3).contains(&kind)) {
                Some((first, has_extra, is_compressed)) => {
                    let op = [Op::Insert, Op::Update, Op::Delete][usize::from(kind - first)];
                    Rows::parse(op, data, has_extra, is_compressed).map(Event::Rows)
                }
                None => Ok(Event::Other),
            },
        };
        event.with_context(|| format!("an event of the binlog cannot be read (type {kind})"))
    }
}

fn query(data: &[u8], is_compressed: bool) -> TaskResult<Event> {
    let mut data = Bytes(data);
    data.skip(8)?; // Skips session id and execution time.
    let database = usize::from(data.u8()?);
    data.skip(2)?;
    let status = data.number(2)? as usize;
    data.skip(status)?;
    let database = String::from_utf8_lossy(data.take(database)?).into_owned();
    data.skip(1)?;
    let text = if is_compressed { inflated(data.0)? } else { data.0.to_vec() };
    Ok(Event::Query { database, text: String::from_utf8_lossy(&text).into_owned() })
}

fn rotate(data: &[u8]) -> TaskResult<Event> {
    let mut data = Bytes(data);
    let pos = data.number(8)?;
    Ok(Event::Rotate { file: String::from_utf8_lossy(data.0).into_owned(), pos })
}

fn mysql_gtid(data: &[u8]) -> TaskResult<Event> {
    let mut data = Bytes(data);
    data.skip(1)?;
    let source = Uuid::from_slice(data.take(16)?)?;
    let number = data.number(8)?;
    Ok(Event::Gtid(Gtid::MySql(format!("{source}:{number}"))))
}

fn mariadb_gtid(data: &[u8]) -> TaskResult<Event> {
    let mut data = Bytes(data);
    let sequence = data.number(8)?;
    let domain = u32::try_from(data.number(4)?)?;
    let flags = data.u8()?;
    Ok(Event::Gtid(Gtid::MariaDb { domain, sequence, is_alone: flags & 1 != 0, is_prepared: flags & 64 != 0 }))
}

impl TableMap {
    fn parse(data: &[u8]) -> TaskResult<TableMap> {
        let mut data = Bytes(data);
        let number = data.number(6)?;
        data.skip(2)?;
        let mut name = || -> TaskResult<String> {
            let many = usize::from(data.u8()?);
            let name = String::from_utf8_lossy(data.take(many)?).into_owned();
            data.skip(1)?;
            Ok(name)
        };
        let (database, name) = (name()?, name()?);
        let many = data.length()?;
        let types = data.take(many)?.to_vec();
        let size = data.length()?;
        let mut meta = Bytes(data.take(size)?);
        let types = types.into_iter().map(|kind| Ok((kind, meta.take(meta_bytes(kind))?.to_vec())));
        let types = types.collect::<TaskResult<Vec<_>>>()?;
        data.skip(many.div_ceil(8))?;
        let named = named(data)?.filter(|named| named.names.len() == many);
        Ok(TableMap { number, database, name, types, named })
    }
}

/// Returns the number of bytes of type metadata for a column type.
fn meta_bytes(kind: u8) -> usize {
    match kind {
        4 | 5 | 17..=19 | 140 | 242 | 245 | 249..=252 | 255 => 1,
        15 | 16 | 141 | 246 | 247 | 248 | 253 | 254 => 2,
        _ => 0,
    }
}

fn named(mut data: Bytes<'_>) -> TaskResult<Option<Named>> {
    const UNSIGNED: u8 = 1;
    const USUAL_COLLATION: u8 = 2;
    const COLLATIONS: u8 = 3;
    const NAMES: u8 = 4;
    const KEY: u8 = 8;
    const KEY_WITH_PREFIX: u8 = 9;
    let mut named = Named::default();
    while !data.0.is_empty() {
        let (kind, many) = (data.u8()?, data.length()?);
        let mut field = Bytes(data.take(many)?);
        match kind {
            UNSIGNED => {
                named.unsigned =
                    field.0.iter().flat_map(|byte| (0..8).map(move |bit| byte & (0x80 >> bit) != 0)).collect();
            }
            USUAL_COLLATION => {
                named.collations.usual = field.length()?;
                while !field.0.is_empty() {
                    named.collations.others.push((field.length()?, field.length()?));
                }
            }
            COLLATIONS => {
                while !field.0.is_empty() {
                    let place = named.collations.others.len();
                    named.collations.others.push((place, field.length()?));
                }
            }
            NAMES => {
                while !field.0.is_empty() {
                    let many = field.length()?;
                    named.names.push(String::from_utf8_lossy(field.take(many)?).into_owned());
                }
            }
            KEY | KEY_WITH_PREFIX => {
                while !field.0.is_empty() {
                    named.key.push(field.length()?);
                    if kind == KEY_WITH_PREFIX {
                        field.length()?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(Some(named))
}

impl Collations {
    pub(super) fn of(&self, place: usize) -> usize {
        self.others.iter().find(|(other, _)| *other == place).map_or(self.usual, |(_, collation)| *collation)
    }
}

impl Rows {
    fn parse(op: Op, data: &[u8], has_extra: bool, is_compressed: bool) -> TaskResult<Rows> {
        let mut data = Bytes(data);
        let table = data.number(6)?;
        data.skip(2)?;
        if has_extra {
            // The length field counts its own two bytes too.
            let many = data.number(2)? as usize;
            data.skip(many.checked_sub(2).context("a length")?)?;
        }
        let columns = data.length()?;
        let mut told = || data.take(columns.div_ceil(8)).map(<[u8]>::to_vec);
        let first = told()?;
        let second = if op == Op::Update { told()? } else { Vec::new() };
        let data = if is_compressed { inflated(data.0)? } else { data.0.to_vec() };
        Ok(Rows { table, op, columns, told: [first, second], data: data.into() })
    }

    /// Returns true if all columns are present in the old and the new row image.
    pub fn is_whole(&self) -> bool {
        let is_whole = |told: &[u8]| (0..self.columns).all(|place| is_set(told, place));
        is_whole(&self.told[0]) && (self.op != Op::Update || is_whole(&self.told[1]))
    }
}

pub(super) fn is_set(bits: &[u8], place: usize) -> bool {
    bits.get(place / 8).is_some_and(|byte| byte & (1 << (place % 8)) != 0)
}

/// Decompresses an event in MariaDB's format (`log_bin_compress`): the size of the length field, the length, then a
/// zlib stream.
fn inflated(data: &[u8]) -> TaskResult<Vec<u8>> {
    let mut data = Bytes(data);
    let head = data.u8()?;
    ensure!(head & 0x80 != 0 && (head & 0x70) >> 4 == 0, "a compression that orch does not know");
    let mut size = 0_u64;
    for byte in data.take(usize::from(head & 0x07))? {
        size = size << 8 | u64::from(*byte);
    }
    let mut out = Vec::new();
    // Stops at the declared size, because a corrupt event could otherwise decompress to any size and exhaust the
    // memory.
    ZlibDecoder::new(data.0).take(size).read_to_end(&mut out)?;
    ensure!(out.len() as u64 == size, "a compressed event ends too early");
    Ok(out)
}
