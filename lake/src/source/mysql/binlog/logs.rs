//! The files of a binlog, and the distance in bytes from a position to the end of the log.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub file: String,
    pub bytes: u64,
}

/// Returns the number of bytes from a position to the end of the binlog, or `None` if the position does not exist.
pub fn bytes_behind(logs: &[Log], file: &str, pos: u64) -> Option<u64> {
    let at = logs.iter().position(|log| log.file == file)?;
    let rest = logs[at].bytes.checked_sub(pos)?;
    Some(rest + logs[at + 1..].iter().map(|log| log.bytes).sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_place_counts_over_files() {
        let log = |file: &str, bytes| Log { file: file.into(), bytes };
        let logs = [log("b.1", 100), log("b.2", 50), log("b.3", 10)];
        for (file, pos, expected) in [("b.1", 40, Some(120)), ("b.3", 10, Some(0)), ("b.3", 11, None), ("b.0", 4, None)]
        {
            assert_eq!(bytes_behind(&logs, file, pos), expected, "{file} {pos}");
        }
    }
}
