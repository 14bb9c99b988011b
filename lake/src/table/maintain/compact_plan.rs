//! Selects the files that a compaction rewrites and groups them into bins. Deterministic.

use std::collections::HashMap;

use iceberg::spec::Struct;
use serde::{Deserialize, Serialize};

use super::TRIES;
use crate::table::{TableName, spark};

/// Files below this fraction of the target size are considered small. Iceberg's own compaction uses the same value,
/// so neither rewrites the output of the other.
const SMALL: f64 = 0.75;
/// A file of any size is rewritten if at least this fraction of its rows is deleted.
const DELETED: f64 = 0.3;
/// Size of a bin, as a multiple of the target file size. Larger bins produce more full files; smaller bins lose less
/// work if a commit fails.
const BIN: u64 = 8;

/// Options of a compaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Compaction {
    min_files: usize,
    min_deletes: Option<usize>,
    max_bytes: u64,
    share: Option<Share>,
    pub(super) tries: u32,
}

/// One of `of` shares of a table's files, so that several tasks can compact the table in parallel. All files of a
/// partition belong to the same share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Index of the share, counted from 0.
    pub number: u32,
    pub of: u32,
}

impl Share {
    fn has(self, file: &Candidate) -> bool {
        file.share_key % u64::from(self.of.max(1)) == u64::from(self.number)
    }
}

impl Default for Compaction {
    /// By default, a compaction rewrites each file to which a delete applies, and the small files of each partition
    /// that has at least five. It reads at most 10 GB per commit. The target file size is the table property
    /// `write.target-file-size-bytes`.
    fn default() -> Self {
        Self { min_files: 5, min_deletes: Some(1), max_bytes: 10 << 30, share: None, tries: TRIES }
    }
}

impl Compaction {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the minimum number of small files in a partition for which they are rewritten.
    #[must_use]
    pub fn min_files(mut self, count: usize) -> Self {
        self.min_files = count.max(2);
        self
    }

    /// Sets the number of delete files that must apply to a data file before it is rewritten.
    #[must_use]
    pub fn min_deletes(mut self, count: usize) -> Self {
        self.min_deletes = Some(count.max(1));
        self
    }

    /// Ignores delete files unless they delete a large fraction of the rows of a data file.
    #[must_use]
    pub fn ignore_deletes(mut self) -> Self {
        self.min_deletes = None;
        self
    }

    /// Sets the maximum number of bytes read per commit. Remaining files are compacted by further commits.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the maximum number of attempts when commits of other writers conflict. Default: 10.
    #[must_use]
    pub fn tries(mut self, count: u32) -> Self {
        self.tries = count.max(1);
        self
    }

    /// Restricts the compaction to one share of the files.
    #[must_use]
    pub fn share(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }

    /// Returns an equivalent Spark SQL statement for the whole table. `catalog` is the name of the catalog in Spark.
    /// Shares and `max_bytes` have no equivalent in Spark.
    pub fn spark_statement(&self, catalog: &str, table: &TableName, is_sorted: bool) -> String {
        let table = spark::text(&spark::table(table));
        let strategy = if is_sorted { "sort" } else { "binpack" };
        let deletes = self.min_deletes.map(|count| format!(", 'delete-file-threshold', '{count}'")).unwrap_or_default();
        format!(
            "call {catalog}.system.rewrite_data_files(table => {table}, strategy => '{strategy}', options => \
             map('min-input-files', '{}', 'delete-ratio-threshold', '{DELETED}', 'remove-dangling-deletes', 'true'{deletes}))",
            self.min_files
        )
    }
}

/// The properties of a data file that determine whether and with which files it is compacted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// Index of the file in the caller's list.
    pub index: usize,
    /// Partition of the file. `None` if the file has an older partition spec: its rows may belong to any partition of
    /// the current spec.
    pub partition: Option<Struct>,
    pub bytes: u64,
    pub rows: u64,
    /// Number of delete files that apply to the data file, and the maximum number of rows that they delete.
    pub deletes: usize,
    pub deleted_rows: u64,
    /// Assigns the file to a share of the compaction. Files with the same key belong to the same share.
    pub share_key: u64,
}

/// Groups files into bins and returns the file indexes of each bin. The files of a bin are read together and
/// rewritten to files of the target size. Files that need no rewrite are omitted.
pub(crate) fn plan(files: &[Candidate], asked: &Compaction, target: u64) -> Vec<Vec<usize>> {
    let mut partitions: HashMap<Option<&Struct>, Vec<&Candidate>> = HashMap::new();
    let is_asked = |file: &&Candidate| asked.share.is_none_or(|share| share.has(file));
    for file in files.iter().filter(is_asked).filter(|file| is_small(file, target) || must_go(file, asked)) {
        partitions.entry(file.partition.as_ref()).or_default().push(file);
    }
    let mut bins: Vec<Bin<'_>> = partitions.into_values().flat_map(|files| pack(files, target)).collect();
    bins.retain(|bin| bin.files.len() >= asked.min_files || bin.files.iter().any(|file| must_go(file, asked)));
    bins.sort_by_key(|bin| bin.files.iter().map(|file| file.index).min());
    let mut read = 0;
    let within = |bin: &Bin<'_>| {
        // The first bin is accepted even if it exceeds the limit; otherwise a large bin would never be compacted.
        let fits = read == 0 || read + bin.bytes <= asked.max_bytes;
        read += bin.bytes;
        fits
    };
    bins.into_iter().take_while(within).map(|bin| bin.files.iter().map(|file| file.index).collect()).collect()
}

struct Bin<'a> {
    bytes: u64,
    files: Vec<&'a Candidate>,
}

fn is_small(file: &Candidate, target: u64) -> bool {
    (file.bytes as f64) < target as f64 * SMALL
}

/// Returns true if the file must be rewritten even without others: it has enough deletes, or an older partition spec.
fn must_go(file: &Candidate, asked: &Compaction) -> bool {
    let many = asked.min_deletes.is_some_and(|count| file.deletes >= count);
    let most = file.deletes > 0 && file.deleted_rows as f64 >= file.rows as f64 * DELETED;
    many || most || file.partition.is_none()
}

/// Packs files into bins by first fit, in their original order, so that rows that were written together stay
/// together.
fn pack(files: Vec<&Candidate>, target: u64) -> Vec<Bin<'_>> {
    let mut bins: Vec<Bin<'_>> = Vec::new();
    for file in files {
        match bins.iter_mut().find(|bin| bin.bytes.saturating_add(file.bytes) <= target.saturating_mul(BIN)) {
            Some(bin) => {
                bin.bytes += file.bytes;
                bin.files.push(file);
            }
            None => bins.push(Bin { bytes: file.bytes, files: vec![file] }),
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;
    use iceberg::spec::Literal;

    /// Test notation: a file is `partition:bytes`, with `+n` for n delete files; a bin is a list of file indexes. The
    /// target size is 100.
    fn check(files: &str, asked: &Compaction, expected: &str) {
        let candidate = |(index, text): (usize, &str)| {
            let (partition, rest) = text.split_once(':').unwrap();
            let (bytes, deletes) = rest.split_once('+').unwrap_or((rest, "0"));
            let partition = (partition != "old").then(|| Struct::from_iter([Some(Literal::string(partition))]));
            let (bytes, deletes) = (bytes.parse().unwrap(), deletes.parse().unwrap());
            let share_key = index as u64;
            Candidate { index, partition, bytes, rows: 100, deletes, deleted_rows: deletes as u64, share_key }
        };
        let files: Vec<_> = files.split_whitespace().enumerate().map(candidate).collect();
        let bins = plan(&files, asked, 100);
        let bins: Vec<_> =
            bins.iter().map(|bin| bin.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")).collect();
        assert_eq!(bins.join(" "), expected, "{files:?}");
    }

    #[test]
    fn small_files_of_a_partition_are_written_together_and_good_ones_are_let_be() {
        let two = Compaction::new().min_files(2);
        check("", &two, "");
        check("a:10", &two, "");
        check("a:10 a:20", &two, "0,1");
        check("a:10 b:20", &two, "");
        check("a:10 b:20 a:30 b:5", &two, "0,2 1,3");
        check("a:60 a:60 a:40 a:40", &two, "0,1,2,3");
        check("a:80 a:100 a:170 a:10", &two, "");
        check(&"a:70 ".repeat(13), &two, "0,1,2,3,4,5,6,7,8,9,10 11,12");
        check("a:10 a:10 a:10 a:10", &Compaction::new(), "");
        check("a:10 a:10 a:10 a:10 a:10", &Compaction::new(), "0,1,2,3,4");
    }

    #[test]
    fn deletes_and_old_specs_are_reason_enough() {
        let usual = Compaction::new();
        check("a:100+1", &usual, "0");
        check("a:100+1", &usual.clone().min_deletes(2), "");
        check("a:100+29", &usual.clone().ignore_deletes(), "");
        check("a:100+30", &usual.clone().ignore_deletes(), "0");
        check("old:100 a:100", &usual, "0");
        check("a:10 a:10+1", &usual, "0,1");
    }

    #[test]
    fn each_file_is_in_one_of_the_shares() {
        let two = |number| Compaction::new().min_files(2).share(Share { number, of: 2 });
        check("a:10 a:20 a:30 a:40 a:50", &two(0), "0,2,4");
        check("a:10 a:20 a:30 a:40 a:50", &two(1), "1,3");
        check("a:10 b:20 a:30 b:40", &two(0), "0,2");
        check("a:10 a:20", &two(1), "");
    }

    #[test]
    fn a_commit_has_its_limit_but_does_something() {
        let little = Compaction::new().max_bytes(50);
        check("a:100+1 b:100+1", &little, "0");
        check("a:20+1 b:20+1 c:20+1", &little, "0 1");
    }

    #[test]
    fn spark_is_asked_for_the_same() {
        let said = |compaction: Compaction, table: &str, is_sorted| {
            compaction.spark_statement("orch", &table.parse().unwrap(), is_sorted)
        };
        assert_eq!(
            said(Compaction::new(), "retail.orders", false),
            "call orch.system.rewrite_data_files(table => '`retail`.`orders`', strategy => 'binpack', options => \
             map('min-input-files', '5', 'delete-ratio-threshold', '0.3', 'remove-dangling-deletes', 'true', \
             'delete-file-threshold', '1'))"
        );
        let sorted = said(Compaction::new().min_files(2).ignore_deletes(), r"it's.a\b`c", true);
        assert!(sorted.contains(r"(table => '`it\'s`.`a\\b``c`', strategy => 'sort', "), "{sorted}");
        assert!(sorted.ends_with(
            "map('min-input-files', '2', 'delete-ratio-threshold', '0.3', 'remove-dangling-deletes', 'true'))"
        ));
    }
}
