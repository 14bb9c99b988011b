//! The tuning of the private Postgres. It is written to `orch.conf` beside `postgresql.conf` at every start, so an
//! upgrade of orch may change it. Lines that users add at the end of `postgresql.conf` override it.

use std::fmt::Write as _;

/// The settings that differ between uses. All others are constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    durable: bool,
    max_connections: u16,
    extra: Vec<(String, String)>,
}

impl Default for Settings {
    /// Returns settings for user data: every commit is flushed to disk.
    fn default() -> Self {
        Self { durable: true, max_connections: 100, extra: Vec::new() }
    }
}

impl Settings {
    /// Returns settings for data that may be lost in a power failure: commits do not wait for the disk. A killed
    /// process loses nothing.
    pub fn without_durability() -> Self {
        Self { durable: false, ..Self::default() }
    }

    #[must_use]
    pub fn max_connections(mut self, connections: u16) -> Self {
        self.max_connections = connections;
        self
    }

    /// Adds a setting of `postgresql.conf` by name.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.extra.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }

    pub(crate) fn render(&self) -> String {
        let max_connections = self.max_connections.to_string();
        let durability = if self.durable { "on" } else { "off" };
        let fixed = [
            ("max_connections", max_connections.as_str()),
            ("fsync", durability),
            ("full_page_writes", durability),
            ("synchronous_commit", "on"),
            ("shared_buffers", "128MB"),
            // The statements of orch run faster than their compilation.
            ("jit", "off"),
            // All rows of the hot tables are replaced within seconds, so dead rows must not wait for the default of a
            // minute.
            ("autovacuum_naptime", "5s"),
            // Recycled segments spare commits the allocation of files. 1 GB limits crash recovery to seconds.
            ("min_wal_size", "256MB"),
            ("max_wal_size", "1GB"),
            ("checkpoint_completion_target", "0.9"),
            // Streams can capture the changes of other databases on this server. The limit bounds the WAL that an
            // inactive replication slot retains.
            ("wal_level", "logical"),
            ("max_slot_wal_keep_size", "2GB"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("log_min_messages", "warning"),
            ("log_checkpoints", "off"),
            ("log_line_prefix", "%m [%p] "),
        ];
        let mut text =
            String::from("# Written by orch at every start. Your own settings go to the end of postgresql.conf.\n");
        let extra = self.extra.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in fixed.into_iter().chain(extra) {
            writeln!(text, "{name} = '{}'", value.replace('\'', "''")).expect("writing to a string cannot fail");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_data_is_durable_unless_told_otherwise() {
        assert!(Settings::default().render().contains("fsync = 'on'\n"));
        assert!(Settings::without_durability().render().contains("fsync = 'off'\n"));
    }

    #[test]
    fn a_quote_in_a_value_is_doubled() {
        assert!(Settings::default().set("log_line_prefix", "it's ").render().ends_with("log_line_prefix = 'it''s '\n"));
    }
}
