//! Parses messages of the `pgoutput` plugin, protocol version 1.

use anyhow::{bail, ensure};
use bytes::{Buf as _, Bytes};
use orch_sdk::task::TaskResult;

/// Microseconds between the Unix epoch and the Postgres epoch, 2000-01-01.
const EPOCH_MICROS: i64 = super::super::EPOCH_MICROS;

/// A logical replication message. The changes of a transaction are between its begin and commit messages.
/// Transactions arrive in commit order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    Begin {
        /// WAL position of the commit record.
        commit_lsn: u64,
        /// Time of the commit, in microseconds since the Unix epoch.
        at: i64,
        xid: u32,
    },
    Commit {
        /// WAL position after the commit record.
        end_lsn: u64,
    },
    /// Row format of a table, which applies to the row messages that follow.
    Relation(Relation),
    Insert {
        relation: u32,
        new: Tuple,
    },
    /// `old` is the row before the change. `None` if no key column changed, unless the table has `replica identity
    /// full`.
    Update {
        relation: u32,
        old: Option<Old>,
        new: Tuple,
    },
    /// `old` is the deleted row. Only its key columns have values unless the table has `replica identity full`.
    Delete {
        relation: u32,
        old: Old,
    },
    /// All rows of these tables were deleted.
    Truncate {
        relations: Vec<u32>,
    },
    /// A message that capture ignores.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    pub id: u32,
    pub schema: String,
    pub name: String,
    /// Replica identity of the table: `d` for the primary key, `i` for an index, `f` for all columns, `n` for none.
    pub identity: u8,
    pub columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub type_oid: u32,
    pub is_key: bool,
}

/// The values of a row before a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Old {
    /// Values of the key columns only.
    Key(Tuple),
    Full(Tuple),
}

pub type Tuple = Vec<Cell>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    /// A large (TOAST) value that the change did not modify. Its content is not sent.
    Unchanged,
    /// A value in the text format of its type.
    Text(Bytes),
}

impl Message {
    /// Parses a replication message.
    ///
    /// # Errors
    /// Returns an error if the data is not a valid message.
    pub fn parse(mut body: Bytes) -> TaskResult<Message> {
        Ok(match body.try_get_u8()? {
            b'B' => {
                let (commit_lsn, at) = (body.try_get_u64()?, body.try_get_i64()?);
                Message::Begin { commit_lsn, at: at.saturating_add(EPOCH_MICROS), xid: body.try_get_u32()? }
            }
            b'C' => {
                let (_flags, _commit_lsn) = (body.try_get_u8()?, body.try_get_u64()?);
                let (end_lsn, _at) = (body.try_get_u64()?, body.try_get_i64()?);
                Message::Commit { end_lsn }
            }
            b'R' => Message::Relation(relation(&mut body)?),
            b'I' => {
                let relation = body.try_get_u32()?;
                ensure!(body.try_get_u8()? == b'N', "an insert without its row");
                Message::Insert { relation, new: tuple(&mut body)? }
            }
            b'U' => {
                let relation = body.try_get_u32()?;
                let old = match body.first() {
                    Some(b'K' | b'O') => Some(old(&mut body)?),
                    _ => None,
                };
                ensure!(body.try_get_u8()? == b'N', "an update without its row");
                Message::Update { relation, old, new: tuple(&mut body)? }
            }
            b'D' => Message::Delete { relation: body.try_get_u32()?, old: old(&mut body)? },
            b'T' => {
                let (many, _options) = (body.try_get_u32()?, body.try_get_u8()?);
                let relations = (0..many).map(|_| Ok(body.try_get_u32()?)).collect::<TaskResult<_>>()?;
                Message::Truncate { relations }
            }
            // Messages about data types, replication origins, and messages emitted by users
            // (`pg_logical_emit_message`).
            b'Y' | b'O' | b'M' => Message::Other,
            other => bail!("Postgres sends a change of a kind that orch does not know: `{}`", char::from(other)),
        })
    }
}

fn relation(body: &mut Bytes) -> TaskResult<Relation> {
    let id = body.try_get_u32()?;
    let (schema, name) = (text(body)?, text(body)?);
    let identity = body.try_get_u8()?;
    let many = body.try_get_u16()?;
    let mut columns = Vec::with_capacity(usize::from(many));
    for _ in 0..many {
        let is_key = body.try_get_u8()? & 1 == 1;
        let name = text(body)?;
        let (type_oid, _modifier) = (body.try_get_u32()?, body.try_get_i32()?);
        columns.push(Column { name, type_oid, is_key });
    }
    // The schema is omitted for tables in `pg_catalog`.
    let schema = if schema.is_empty() { "pg_catalog".into() } else { schema };
    Ok(Relation { id, schema, name, identity, columns })
}

fn old(body: &mut Bytes) -> TaskResult<Old> {
    match body.try_get_u8()? {
        b'K' => Ok(Old::Key(tuple(body)?)),
        b'O' => Ok(Old::Full(tuple(body)?)),
        other => bail!("an old row of a kind that orch does not know: `{}`", char::from(other)),
    }
}

fn tuple(body: &mut Bytes) -> TaskResult<Tuple> {
    let many = body.try_get_u16()?;
    let mut cells = Vec::with_capacity(usize::from(many));
    for _ in 0..many {
        cells.push(match body.try_get_u8()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = body.try_get_u32()? as usize;
                ensure!(body.len() >= length, "a value is cut off");
                Cell::Text(body.split_to(length))
            }
            other => bail!("a value of a kind that orch does not know: `{}`", char::from(other)),
        });
    }
    Ok(cells)
}

/// Reads a NUL-terminated string.
fn text(body: &mut Bytes) -> TaskResult<String> {
    let Some(end) = body.iter().position(|byte| *byte == 0) else { bail!("a name without an end") };
    let text = String::from_utf8(body.split_to(end).into())?;
    body.advance(1);
    Ok(text)
}

/// Parses a row of `copy … to stdout` in text format, in which values are separated by tabs.
///
/// # Errors
/// Returns an error if the line is truncated or has a different number of values.
pub fn row_of_copy(line: &Bytes, columns: usize) -> TaskResult<Tuple> {
    let Some(line) = line.strip_suffix(b"\n") else { bail!("a row of a copy is cut off") };
    // A table without columns has rows too; their lines are empty.
    let cells: Tuple = if columns == 0 { Vec::new() } else { line.split(|byte| *byte == b'\t').map(cell).collect() };
    ensure!(cells.len() == columns, "a row of a copy has {} values, not {columns}", cells.len());
    Ok(cells)
}

fn cell(written: &[u8]) -> Cell {
    if written == b"\\N" {
        return Cell::Null;
    }
    if !written.contains(&b'\\') {
        return Cell::Text(Bytes::copy_from_slice(written));
    }
    let mut plain = Vec::with_capacity(written.len());
    let mut bytes = written.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'b') => 8,
                Some(b'f') => 12,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'v') => 11,
                Some(other) => *other,
                None => b'\\',
            },
            other => *other,
        });
    }
    Cell::Text(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Bytes {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    fn text(value: &'static str) -> Cell {
        Cell::Text(Bytes::from_static(value.as_bytes()))
    }

    const TRIPS: &str = "52 00004001 7461786900 747269707300 64 0003 01 696400 00000017 ffffffff 00 6661726500 000006a4 00080006 \
        00 6e6f746500 00000019 ffffffff";

    /// Test data: messages recorded from a Postgres server of version 15.
    #[test]
    fn messages_are_read() {
        let begin = "42 0000000001528d08 000303e59d92e8da 000002d7";
        let insert = "49 00004001 4e 0003 74 00000001 31 74 00000005 31322e3530 6e";
        let touched = "55 00004001 4e 0003 74 00000001 31 74 00000005 31332e3030 75";
        let other_key =
            "55 00004001 4b 0003 74 00000001 32 6e 6e 4e 0003 74 00000001 33 74 00000004 302e3030 74 00000001 78";
        let whole = "55 00004001 4f 0003 74 00000001 31 74 00000005 31332e3030 6e 4e 0003 74 00000001 31 74 00000005 31332e3030 74 00000001 7a";
        let key_of_two = Old::Key(vec![text("2"), Cell::Null, Cell::Null]);
        for (sent, expected) in [
            (begin, Message::Begin { commit_lsn: 0x152_8D08, at: 1_795_394_456_176_858, xid: 727 }),
            ("43 00 0000000001528d08 0000000001528d38 000303e59d92e8da", Message::Commit { end_lsn: 0x152_8D38 }),
            (insert, Message::Insert { relation: 16_385, new: vec![text("1"), text("12.50"), Cell::Null] }),
            (
                touched,
                Message::Update { relation: 16_385, old: None, new: vec![text("1"), text("13.00"), Cell::Unchanged] },
            ),
            (
                other_key,
                Message::Update {
                    relation: 16_385,
                    old: Some(key_of_two),
                    new: vec![text("3"), text("0.00"), text("x")],
                },
            ),
            (
                whole,
                Message::Update {
                    relation: 16_385,
                    old: Some(Old::Full(vec![text("1"), text("13.00"), Cell::Null])),
                    new: vec![text("1"), text("13.00"), text("z")],
                },
            ),
            (
                "44 00004001 4b 0003 74 00000001 33 6e 6e",
                Message::Delete { relation: 16_385, old: Old::Key(vec![text("3"), Cell::Null, Cell::Null]) },
            ),
            ("54 00000001 00 00004001", Message::Truncate { relations: vec![16_385] }),
            ("59 00004001 7461786900 6d6f6f6400", Message::Other),
        ] {
            assert_eq!(Message::parse(bytes(sent)).unwrap(), expected);
            assert!(
                Message::parse(bytes(&sent[..sent.len() - 3])).is_err() || expected == Message::Other,
                "cut off: {sent}"
            );
        }
        assert!(Message::parse(bytes("7a")).is_err() && Message::parse(Bytes::new()).is_err());
    }

    #[test]
    fn a_relation_names_its_columns_and_its_key() {
        let relation = |sent: String| match Message::parse(bytes(&sent)).unwrap() {
            Message::Relation(relation) => relation,
            other => panic!("{other:?}"),
        };
        let known = relation(TRIPS.into());
        assert_eq!(
            (known.id, known.schema.as_str(), known.name.as_str(), known.identity),
            (16_385, "taxi", "trips", b'd')
        );
        let columns: Vec<_> = known.columns.iter().map(|one| (one.name.as_str(), one.type_oid, one.is_key)).collect();
        assert_eq!(columns, [("id", 23, true), ("fare", 1_700, false), ("note", 25, false)]);
        assert!(!relation(TRIPS.replacen("0003 01", "0003 00", 1)).columns[0].is_key);
        assert!(Message::parse(bytes(&TRIPS[..90])).is_err());
    }

    #[test]
    fn rows_of_a_copy_are_what_replication_sends() {
        let line = Bytes::from_static(b"1\t\\N\ta\\tb\\\\c\\n\t\n");
        assert_eq!(row_of_copy(&line, 4).unwrap(), [text("1"), Cell::Null, text("a\tb\\c\n"), text("")]);
        assert!(row_of_copy(&line, 3).is_err());
        assert!(row_of_copy(&Bytes::from_static(b"1\t2"), 2).is_err());
        assert_eq!(row_of_copy(&Bytes::from_static(b"\n"), 0).unwrap(), []);
        assert_eq!(row_of_copy(&Bytes::from_static(b"\n"), 1).unwrap(), [text("")]);
    }
}
