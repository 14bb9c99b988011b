//! Packs the logs of several attempts of one run into one object: gzipped, with one line of JSON per chunk, in order.
//! The object's name contains the first and last attempt, so a reader opens only one object.

use super::ArchiveError;
use crate::log::Chunk;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use uuid::Uuid;

/// Uncompressed size of an object at which no further attempt is added to it.
const PACK_BYTES: usize = 4 << 20;
/// Maximum number of bytes to decompress from one object. No object that orch writes is larger.
const MOST_UNPACKED: u64 = 1 << 30;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackLine {
    pub(crate) attempt: Uuid,
    pub(crate) lease_no: i32,
    pub(crate) seq: i32,
    pub(crate) lines: i32,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) body: String,
}

#[derive(Debug)]
pub(crate) struct Pack {
    run: Uuid,
    first: Uuid,
    last: Uuid,
    raw: usize,
    packed: GzEncoder<Vec<u8>>,
}

impl Pack {
    pub(crate) fn new(run: Uuid, attempt: Uuid) -> Pack {
        Pack { run, first: attempt, last: attempt, raw: 0, packed: GzEncoder::new(Vec::new(), Compression::default()) }
    }

    /// True if log chunks of that attempt belong into this object. The chunks of an attempt are never split between
    /// objects.
    pub(crate) fn takes(&self, run: Uuid, attempt: Uuid) -> bool {
        self.run == run && (self.last == attempt || self.raw < PACK_BYTES)
    }

    pub(crate) fn add(&mut self, line: &PackLine) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.raw += text.len();
        self.last = line.attempt;
        self.packed.write_all(&text)
    }

    /// Returns the id of the run, the name of the object in the folder of that run, and the content of the object.
    pub(crate) fn finish(self) -> std::io::Result<(Uuid, String, Vec<u8>)> {
        Ok((self.run, format!("{}_{}.ndjson.gz", self.first, self.last), self.packed.finish()?))
    }
}

/// True if, according to its key, the object contains the log of an attempt.
pub(crate) fn holds(key: &str, attempt: Uuid) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let Some((first, last)) = name.strip_suffix(".ndjson.gz").and_then(|name| name.split_once('_')) else {
        return false;
    };
    match (Uuid::parse_str(first), Uuid::parse_str(last)) {
        (Ok(first), Ok(last)) => first <= attempt && attempt <= last,
        _ => false,
    }
}

/// Returns the log chunks of one attempt from a packed object.
pub(crate) fn unpack(key: &str, packed: &[u8], attempt: Uuid) -> Result<Vec<Chunk>, ArchiveError> {
    let damaged = |why: &dyn std::fmt::Display| ArchiveError(format!("`{key}` of the archive cannot be read: {why}"));
    let mut text = String::new();
    let mut raw = MultiGzDecoder::new(packed).take(MOST_UNPACKED);
    raw.read_to_string(&mut text).map_err(|error| damaged(&error))?;
    let mut chunks = Vec::new();
    for line in text.lines() {
        let line: PackLine = serde_json::from_str(line).map_err(|error| damaged(&error))?;
        if line.attempt == attempt {
            let PackLine { lease_no, seq, lines, created_at, body, .. } = line;
            chunks.push(Chunk { lease_no, seq, lines, created_at, body });
        }
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(attempt: u128, seq: i32, body: &str) -> PackLine {
        let created_at = DateTime::UNIX_EPOCH;
        PackLine { attempt: Uuid::from_u128(attempt), lease_no: 1, seq, lines: 1, created_at, body: body.into() }
    }

    #[test]
    fn a_try_is_found_in_the_object_whose_name_encloses_it() {
        let run = Uuid::from_u128(7);
        let mut pack = Pack::new(run, Uuid::from_u128(2));
        for line in [line(2, 0, "two"), line(4, 0, "four\nlines \u{1F980}"), line(4, 1, "more")] {
            assert!(pack.takes(run, line.attempt));
            pack.add(&line).expect("memory takes all");
        }
        assert!(!pack.takes(Uuid::from_u128(8), Uuid::from_u128(9)), "another run has another folder");
        let (_, name, packed) = pack.finish().expect("memory takes all");
        let key = format!("logs/2026w01/{run}/{name}");
        let found = [1, 2, 3, 4, 5].map(|attempt| holds(&key, Uuid::from_u128(attempt)));
        assert_eq!(found, [false, true, true, true, false]);
        let chunks = unpack(&key, &packed, Uuid::from_u128(4)).expect("it is whole");
        assert_eq!(
            chunks.iter().map(|c| (c.seq, c.body.as_str())).collect::<Vec<_>>(),
            [(0, "four\nlines \u{1F980}"), (1, "more")]
        );
        assert!(unpack(&key, &packed[..packed.len() / 2], Uuid::from_u128(4)).is_err(), "half an object is no log");
    }

    #[test]
    fn a_full_object_takes_the_rest_of_its_try_and_no_other() {
        let run = Uuid::from_u128(7);
        let mut pack = Pack::new(run, Uuid::from_u128(1));
        pack.add(&line(1, 0, &"x".repeat(PACK_BYTES))).expect("memory takes all");
        assert!(pack.takes(run, Uuid::from_u128(1)));
        assert!(!pack.takes(run, Uuid::from_u128(2)));
    }
}
