//! Storage credentials that catalogs issue for the files of their tables.

use crate::bucket::{self, Bucket};
use crate::catalog::LentKeys;
use crate::table::now;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Credentials that expire within this time are replaced by new ones: 5 minutes.
const EARLY_MS: i64 = 300_000;

/// Issued credentials by the location prefix to which they apply.
#[derive(Clone, Default)]
pub(super) struct Lent(Arc<Mutex<BTreeMap<String, LentBucket>>>);

#[derive(Clone)]
pub(super) struct LentBucket {
    pub(super) keys: LentKeys,
    pub(super) bucket: Bucket,
}

impl Lent {
    /// Adds credentials for a location prefix.
    ///
    /// # Errors
    /// Returns an error if the prefix is not in a bucket.
    pub(super) fn lend(&self, keys: LentKeys) -> bucket::Result<()> {
        let keys = LentKeys { prefix: with_s3(&keys.prefix).trim_end_matches('/').to_owned(), ..keys };
        let mut lent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = now().timestamp_millis() + EARLY_MS;
        let will_do = |known: &LentBucket| known.keys == keys || known.keys.end_at.is_some_and(|end| end > soon);
        if !lent.get(&keys.prefix).is_some_and(will_do) {
            let name = keys.prefix.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
            let bucket = Bucket::open(&format!("s3://{name}"), &keys.options)?;
            lent.insert(keys.prefix.clone(), LentBucket { keys, bucket });
        }
        Ok(())
    }

    /// Returns the credentials with the longest prefix that matches the location.
    pub(super) fn at(&self, location: &str) -> Option<LentBucket> {
        let lent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lent.is_empty() {
            return None;
        }
        let location = with_s3(location);
        let is_within =
            |prefix: &str| location.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        lent.iter().rev().find(|(prefix, _)| is_within(prefix)).map(|(_, bucket)| bucket.clone())
    }
}

/// Replaces the URL schemes `s3a` and `s3n` by the equivalent `s3`.
fn with_s3(location: &str) -> Cow<'_, str> {
    match location.strip_prefix("s3a://").or_else(|| location.strip_prefix("s3n://")) {
        Some(rest) => format!("s3://{rest}").into(),
        None => location.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storages;

    #[test]
    fn a_file_is_reached_with_the_keys_of_the_place_that_says_most() {
        let storages = Storages::new(bucket::Options { endpoint: Some("http://minio".into()), ..<_>::default() });
        let lend = |prefix: &str, key: &str, end_at: Option<i64>| {
            let options = bucket::Options { access_key: Some(key.into()), ..<_>::default() };
            storages.lend(LentKeys { prefix: prefix.into(), options, end_at }).expect("it is a bucket");
        };
        let key_of = |location: &str| storages.options_at(location).access_key.unwrap_or_default();
        lend("s3://lake/orders/", "orders", None);
        lend("s3a://lake/orders/2026", "year", None);
        assert_eq!(key_of("s3n://lake/orders/a.parquet"), "orders");
        assert_eq!(key_of("s3://lake/orders"), "orders");
        assert_eq!(key_of("s3://lake/orders/2026/b.parquet"), "year");
        assert_eq!(["s3://lake/orders_2/a", "s3://other/orders/a", "file:///lake/orders/a"].map(key_of), ["", "", ""]);
        assert_eq!(storages.options_at("s3://lake/orders/a").endpoint.as_deref(), Some("http://minio"));
        // Existing credentials are replaced if they expire soon or have no expiry, and are kept otherwise.
        lend("s3://lake/orders", "newer", Some(now().timestamp_millis() + 2 * EARLY_MS));
        assert_eq!(key_of("s3://lake/orders/a"), "newer");
        lend("s3://lake/orders", "newest", None);
        assert_eq!(key_of("s3://lake/orders/a"), "newer");
    }
}
