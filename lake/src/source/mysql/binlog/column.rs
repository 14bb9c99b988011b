//! Parses column types in the format of `information_schema`, and determines how their values are decoded from the
//! binlog.

use super::event::TableMap;
use anyhow::{anyhow, ensure};
use orch_sdk::task::TaskResult;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub is_key: bool,
    pub kind: BinlogType,
}

/// Logical type of a column. The table map event in the binlog describes how values are stored.
///
/// The width of `Bytes` is the n of `binary(n)`, and 0 for other binary types. `Json` is MySQL's binary JSON; MariaDB
/// stores JSON as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BinlogType {
    Number { is_unsigned: bool },
    Float,
    Decimal,
    Text(Charset),
    Bytes { width: usize },
    Bit { width: usize },
    Enum(Vec<String>),
    Set(Vec<String>),
    Date,
    Time,
    Datetime,
    Timestamp,
    Year,
    Json,
    Inet4,
    Inet6,
    Uuid,
}

/// Character set of a text column. Text in the binlog is encoded in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charset {
    /// UTF-8, or its subset ASCII.
    Utf8,
    /// Windows-1252, which MySQL calls `latin1`.
    Latin1,
    Utf16,
    Utf32,
}

impl Column {
    /// Parses a column type such as `int(10) unsigned`.
    ///
    /// # Errors
    /// Returns an error if values of this type cannot be read from the binlog.
    pub fn of(name: &str, is_key: bool, kind: &str, charset: Option<&str>) -> TaskResult<Column> {
        let found = BinlogType::of(kind, charset).map_err(|why| anyhow!("column `{name}` ({kind}) {why}"))?;
        Ok(Column { name: name.into(), is_key, kind: found })
    }
}

impl BinlogType {
    fn of(text: &str, charset: Option<&str>) -> Result<BinlogType, String> {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let size = || rest.strip_prefix('(').and_then(|rest| rest.split(')').next()?.parse().ok());
        if rest.contains("COMPRESSED") {
            return Err("is kept compressed, which is not read from the binlog".into());
        }
        if rest.contains("mariadb-5.3") && rest.starts_with('(') {
            return Err(
                "is kept in the form of MariaDB 5.3: `alter table … force` brings it to the one of today".into()
            );
        }
        Ok(match word {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => {
                BinlogType::Number { is_unsigned: rest.contains("unsigned") }
            }
            "float" | "double" => BinlogType::Float,
            "decimal" => BinlogType::Decimal,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => {
                BinlogType::Text(Charset::of(charset.unwrap_or("utf8mb4"))?)
            }
            "binary" => BinlogType::Bytes { width: size().unwrap_or(1) },
            "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "geometry" | "point" | "linestring"
            | "polygon" | "multipoint" | "multilinestring" | "multipolygon" | "geometrycollection"
            | "geomcollection" | "vector" => BinlogType::Bytes { width: 0 },
            "bit" => BinlogType::Bit { width: size().unwrap_or(1) },
            "enum" => BinlogType::Enum(words(rest)),
            "set" => BinlogType::Set(words(rest)),
            "date" => BinlogType::Date,
            "time" => BinlogType::Time,
            "datetime" => BinlogType::Datetime,
            "timestamp" => BinlogType::Timestamp,
            "year" => BinlogType::Year,
            "json" => BinlogType::Json,
            "inet4" => BinlogType::Inet4,
            "inet6" => BinlogType::Inet6,
            "uuid" => BinlogType::Uuid,
            _ => return Err("is of a type that orch does not know".into()),
        })
    }

    /// Returns true if the binlog stores values of this type with the given type code and metadata.
    fn is_written_as(&self, wire: u8, meta: &[u8]) -> bool {
        let real = if wire == 254 && matches!(meta.first(), Some(247 | 248)) { meta[0] } else { wire };
        match self {
            BinlogType::Number { .. } => matches!(real, 1 | 2 | 3 | 8 | 9),
            BinlogType::Float => matches!(real, 4 | 5),
            BinlogType::Decimal => real == 246,
            BinlogType::Text(_) | BinlogType::Bytes { .. } => matches!(real, 15 | 242 | 249..=255),
            BinlogType::Inet4 | BinlogType::Inet6 | BinlogType::Uuid => matches!(real, 15 | 253 | 254),
            BinlogType::Bit { .. } => real == 16,
            BinlogType::Enum(_) => real == 247,
            BinlogType::Set(_) => real == 248,
            BinlogType::Date => matches!(real, 10 | 14),
            BinlogType::Time => matches!(real, 11 | 19),
            BinlogType::Datetime => matches!(real, 12 | 18),
            BinlogType::Timestamp => matches!(real, 7 | 17),
            BinlogType::Year => real == 13,
            BinlogType::Json => real == 245,
        }
    }
}

/// Parses the members of an enum or set, such as `('a','it''s')`.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut letters) = (Vec::new(), text.chars().peekable());
    while let Some(letter) = letters.next() {
        if letter != '\'' {
            continue;
        }
        let mut word = String::new();
        while let Some(letter) = letters.next() {
            match (letter, letters.peek()) {
                ('\'', Some('\'')) => {
                    letters.next();
                    word.push('\'');
                }
                ('\'', _) => break,
                (letter, _) => word.push(letter),
            }
        }
        words.push(word);
    }
    words
}

impl Charset {
    fn of(name: &str) -> Result<Charset, String> {
        match name {
            "utf8mb4" | "utf8mb3" | "utf8" | "ascii" => Ok(Charset::Utf8),
            "latin1" => Ok(Charset::Latin1),
            "ucs2" | "utf16" => Ok(Charset::Utf16),
            "utf32" => Ok(Charset::Utf32),
            other => {
                Err(format!("has the charset {other}, which is not read from the binlog: convert the table to utf8mb4"))
            }
        }
    }

    /// Returns the character set of a collation id. Ids specific to MariaDB start at 1024 (variants without padding)
    /// and 2048.
    fn of_collation(number: usize) -> Option<Charset> {
        match number {
            2048..=2559 => return Some(Charset::Utf8),
            2560..=3071 => return Some(Charset::Utf16),
            3072..=3327 => return Some(Charset::Utf32),
            _ => {}
        }
        match number % 1_024 {
            11 | 33 | 45 | 46 | 65 | 83 | 192..=215 | 223..=247 | 255..=323 => Some(Charset::Utf8),
            5 | 8 | 15 | 31 | 47 | 48 | 49 | 94 => Some(Charset::Latin1),
            35 | 54 | 55 | 90 | 101..=124 | 128..=151 | 159 => Some(Charset::Utf16),
            60 | 61 | 160..=183 => Some(Charset::Utf32),
            _ => None,
        }
    }

    pub(super) fn decode(self, bytes: &[u8]) -> TaskResult<String> {
        let broken = || anyhow!("its letters are not of its charset");
        match self {
            Charset::Utf8 => String::from_utf8(bytes.to_vec()).map_err(|_| broken()),
            Charset::Latin1 => Ok(bytes.iter().map(|byte| latin1(*byte)).collect()),
            Charset::Utf16 => {
                ensure!(bytes.len().is_multiple_of(2), broken());
                let units = bytes.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
                char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| broken())
            }
            Charset::Utf32 => {
                ensure!(bytes.len().is_multiple_of(4), broken());
                let letters =
                    bytes.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
                letters.map(char::from_u32).collect::<Option<_>>().ok_or_else(broken)
            }
        }
    }
}

/// Decodes a Windows-1252 byte. Five bytes between 0x80 and 0x9f are undefined in Windows-1252 and become control
/// characters.
fn latin1(byte: u8) -> char {
    const WINDOWS: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => WINDOWS[usize::from(byte - 0x80)],
        other => char::from(other),
    }
}

/// Returns the columns of a row event. If the binlog contains column names, columns are matched by name; otherwise
/// the known columns are used in order. Returns `None` if they do not match the row format, because the table was
/// altered in between.
pub fn columns_of(table: &TableMap, known: &[Column]) -> Option<Vec<Column>> {
    let fits = |column: &Column, place: usize| {
        table.types.get(place).is_some_and(|(wire, meta)| column.kind.is_written_as(*wire, meta))
    };
    let Some(named) = &table.named else {
        let are_of_these_rows =
            known.len() == table.types.len() && known.iter().enumerate().all(|(place, column)| fits(column, place));
        return are_of_these_rows.then(|| known.to_vec());
    };
    let (mut unsigned, mut texts) = (named.unsigned.iter(), 0);
    let column = |(place, name): (usize, &String)| {
        let (wire, meta) = &table.types[place];
        let is_unsigned = matches!(wire, 1..=5 | 8 | 9 | 246) && unsigned.next().copied().unwrap_or_default();
        let is_word = *wire == 254 && matches!(meta.first(), Some(247 | 248));
        let is_text = matches!(wire, 15 | 249..=254) && !is_word;
        let collation = is_text.then(|| named.collations.of(texts));
        texts += usize::from(is_text);
        let found = known.iter().find(|column| column.name == *name && fits(column, place));
        let kind = match (found, wire) {
            (_, 1..=3 | 8 | 9) => BinlogType::Number { is_unsigned },
            (Some(found), _) => found.kind.clone(),
            (None, _) => unknown((*wire, meta), collation)?,
        };
        Some(Column { name: name.clone(), is_key: named.key.contains(&place), kind })
    };
    named.names.iter().enumerate().map(column).collect()
}

/// Infers the type of a column that is no longer in the catalog. Returns `None` for enums and sets, because their
/// members are not known.
fn unknown((wire, meta): (u8, &[u8]), collation: Option<usize>) -> Option<BinlogType> {
    match (wire, collation) {
        (_, Some(63)) => Some(BinlogType::Bytes { width: 0 }),
        (_, Some(collation)) => Charset::of_collation(collation).map(BinlogType::Text),
        (4 | 5, _) => Some(BinlogType::Float),
        (246, _) => Some(BinlogType::Decimal),
        (10 | 14, _) => Some(BinlogType::Date),
        (11 | 19, _) => Some(BinlogType::Time),
        (12 | 18, _) => Some(BinlogType::Datetime),
        (7 | 17, _) => Some(BinlogType::Timestamp),
        (13, _) => Some(BinlogType::Year),
        (16, _) => Some(BinlogType::Bit { width: usize::from(meta[1]) * 8 + usize::from(meta[0]) }),
        (245, _) => Some(BinlogType::Json),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::binlog::event::{Collations, Named};

    fn column(name: &str, kind: &str) -> Column {
        Column::of(name, false, kind, None).unwrap()
    }

    fn table(types: &[(u8, &[u8])], names: Option<&[&str]>) -> TableMap {
        let types = types.iter().map(|(wire, meta)| (*wire, meta.to_vec())).collect();
        let named = names.map(|names| Named {
            names: names.iter().map(|name| (*name).to_string()).collect(),
            key: vec![0],
            unsigned: vec![true, false],
            collations: Collations { usual: 45, others: vec![(1, 63), (2, 1)] },
        });
        TableMap { number: 1, database: "d".into(), name: "t".into(), types, named }
    }

    #[test]
    fn kinds_are_read_from_what_the_catalog_says() {
        for (text, kind) in [
            ("int(10) unsigned", BinlogType::Number { is_unsigned: true }),
            ("tinyint(1)", BinlogType::Number { is_unsigned: false }),
            ("enum('a','it''s',',')", BinlogType::Enum(vec!["a".into(), "it's".into(), ",".into()])),
            ("binary(16)", BinlogType::Bytes { width: 16 }),
            ("bit(12)", BinlogType::Bit { width: 12 }),
            ("datetime(6)", BinlogType::Datetime),
        ] {
            assert_eq!(column("c", text).kind, kind);
        }
        for (text, charset, why) in [
            ("varchar(9)", Some("sjis"), "charset sjis"),
            ("text /*M!100301 COMPRESSED*/", Some("utf8mb4"), "kept compressed"),
            ("datetime(3) /* mariadb-5.3 */", None, "alter table"),
            ("cube", None, "does not know"),
        ] {
            let error = Column::of("c", false, text, charset).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("column `c`"), "{error}");
        }
    }

    #[test]
    fn letters_are_those_of_the_charset() {
        assert_eq!(Charset::Latin1.decode(b"\x80\xe9").unwrap(), "€é");
        assert_eq!(Charset::Utf16.decode(&[0xd8, 0x3d, 0xde, 0x00]).unwrap(), "😀");
        assert_eq!(Charset::Utf32.decode(&[0, 1, 0xf6, 0]).unwrap(), "😀");
        assert!(Charset::Utf8.decode(b"\xff").is_err() && Charset::Utf16.decode(b"a").is_err());
    }

    /// Rows that were written before an `alter table` must not be decoded with the new column types.
    #[test]
    fn columns_are_those_of_the_rows() {
        let known = [column("a", "int(11)"), column("b", "date")];
        assert_eq!(columns_of(&table(&[(3, &[]), (10, &[])], None), &known), Some(known.to_vec()));
        assert_eq!(columns_of(&table(&[(3, &[])], None), &known), None);
        assert_eq!(columns_of(&table(&[(3, &[]), (18, &[6])], None), &known), None);
        let found = columns_of(&table(&[(8, &[]), (10, &[])], Some(&["x", "b"])), &known).unwrap();
        let number = BinlogType::Number { is_unsigned: true };
        assert_eq!(found[0], Column { name: "x".into(), is_key: true, kind: number });
        assert_eq!((found[1].name.as_str(), &found[1].kind), ("b", &BinlogType::Date));
        // The types of dropped columns: the collation determines the charset of a text, but the members of an enum
        // are unknown.
        let texts: [(u8, &[u8]); 3] = [(252, &[2]), (252, &[2]), (252, &[2])];
        let kinds = |many: usize, names: &[&str]| {
            let found = columns_of(&table(&texts[..many], Some(names)), &known)?;
            Some(found.into_iter().map(|column| column.kind).collect::<Vec<_>>())
        };
        assert_eq!(kinds(2, &["x", "y"]), Some(vec![BinlogType::Text(Charset::Utf8), BinlogType::Bytes { width: 0 }]));
        assert_eq!(kinds(3, &["x", "y", "z"]), None);
        assert_eq!(columns_of(&table(&[(254, &[247, 1])], Some(&["x"])), &known), None);
    }
}
