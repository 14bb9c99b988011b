//! Compares file paths that are spelled differently, and checks which folders contain them.

use percent_encoding::percent_decode_str;

/// Normalizes a file location that can be spelled in several ways: `file:/a`, `file:///a` and `/a`; `/a//b` and
/// `/a/b`; `s3a://` and `s3://`. Relative paths are unchanged.
pub fn plain_location(location: &str) -> String {
    let (scheme, rest) = location.split_once(':').unwrap_or(("file", location));
    match scheme {
        "file" if rest.starts_with('/') => {
            let parts = rest.split('/').filter(|part| !part.is_empty());
            format!("file:/{}", parts.collect::<Vec<_>>().join("/"))
        }
        "s3" | "s3a" | "s3n" => format!("s3:{rest}"),
        _ => location.to_owned(),
    }
}

/// The folders that may contain the files of a catalog or a table. File paths outside them are rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locations(Option<Vec<String>>);

impl Locations {
    /// Allows every path. For REST catalogs, whose server decides where files are.
    pub(crate) fn all() -> Locations {
        Locations(None)
    }

    pub fn new<S: Into<String>>(folders: impl IntoIterator<Item = S>) -> Locations {
        Locations(Some(folders.into_iter().map(Into::into).collect()))
    }

    /// Allows no path.
    pub fn none() -> Locations {
        Locations(Some(Vec::new()))
    }

    #[must_use]
    pub fn and(self, folder: impl Into<String>) -> Locations {
        Locations(self.0.map(|folders| folders.into_iter().chain([folder.into()]).collect()))
    }

    /// Returns true if the path is below an allowed folder, both as spelled and percent-decoded. Does not access the
    /// file system, so symbolic links are not resolved.
    pub fn admits(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|folders| folders.iter().any(|folder| is_below(path, folder)))
    }

    /// Like `admits`, but also returns true for the allowed folders themselves.
    pub fn admits_folder(&self, folder: &str) -> bool {
        self.admits(&format!("{}/-", folder.trim_end_matches('/')))
    }
}

/// Returns all spellings of a location that other writers may use: `file:///a`, `file:/a` and `/a`; `s3://`, `s3a://`
/// and `s3n://`.
pub(crate) fn spellings(location: &str) -> Vec<String> {
    match split(location) {
        Some((store, path)) if store == "file" => {
            let path = if location.ends_with('/') { format!("{path}/") } else { path };
            ["file://", "file:", ""].map(|scheme| format!("{scheme}{path}")).into()
        }
        Some((store, path)) => {
            ["s3", "s3a", "s3n"].map(|scheme| format!("{scheme}{}{path}", store.trim_start_matches("s3"))).into()
        }
        None => vec![location.to_owned()],
    }
}

/// Returns the folder of the table to which a metadata file belongs.
pub(crate) fn folder_of_metadata(path: &str) -> &str {
    let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
    folder.strip_suffix("/metadata").unwrap_or(folder)
}

fn is_below(path: &str, folder: &str) -> bool {
    // Fast path: most file paths are spelled like their folder.
    let rest = path.strip_prefix(folder.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    let is_plain =
        |rest: &str| !rest.starts_with(['.', '/']) && !rest.contains(['%', '\\', '\0']) && !rest.contains("/.");
    if rest.is_some_and(|rest| !rest.is_empty() && is_plain(rest)) {
        return split(folder).is_some();
    }
    let (Some((store, mut path)), Some((store_of_folder, mut folder))) = (split(path), split(folder)) else {
        return false;
    };
    let is_relative = |part: &str| part == "." || part == "..";
    if store != store_of_folder || path.contains('\0') || path.split(['/', '\\']).any(is_relative) {
        return false;
    }
    // Object stores compare keys byte by byte, so a doubled slash inside the folder's path denotes another folder.
    if !path.strip_prefix(folder.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/')) {
        return false;
    }
    loop {
        let begins_with = |path: &str| match (resolved(path), resolved(&folder)) {
            (Some(path), Some(folder)) => path.len() > folder.len() && path.starts_with(&folder),
            _ => false,
        };
        if !begins_with(&path) || !begins_with(&path.replace('\\', "/")) {
            return false;
        }
        let decoded = (decoded(&path), decoded(&folder));
        if decoded == (path.clone(), folder.clone()) {
            return true;
        }
        (path, folder) = decoded;
    }
}

/// Splits a location into the store and the path in it. The store is `file`, with an absolute path, or a bucket, with
/// a key.
fn split(location: &str) -> Option<(String, String)> {
    let (scheme, rest) = if location.starts_with('/') { ("file", location) } else { location.split_once(':')? };
    match scheme.to_ascii_lowercase().as_str() {
        "file" if rest.starts_with('/') => {
            let parts = rest.split('/').filter(|part| !part.is_empty());
            Some(("file".into(), format!("/{}", parts.collect::<Vec<_>>().join("/"))))
        }
        "s3" | "s3a" | "s3n" => {
            let rest = rest.strip_prefix("//")?;
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            Some((format!("s3://{bucket}"), format!("/{key}")))
        }
        _ => None,
    }
}

/// Returns the segments of a path after `.` and `..` are resolved, or `None` if the path leads above its root.
fn resolved(path: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}

fn decoded(path: &str) -> String {
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_same_however_it_is_written() {
        for (location, expected) in [
            ("file:///a/b", "file:/a/b"),
            ("file:/a/b", "file:/a/b"),
            ("/a//b", "file:/a/b"),
            ("a/b", "a/b"),
            ("file:a/b", "file:a/b"),
            ("s3a://bucket/a", "s3://bucket/a"),
            ("s3://bucket/a", "s3://bucket/a"),
            ("gs://bucket/a", "gs://bucket/a"),
        ] {
            assert_eq!(plain_location(location), expected, "{location}");
        }
    }

    #[test]
    fn only_paths_below_a_folder_are_admitted() {
        let folders = Locations::new(["file:///data/wh", "s3://lake/wh/", "s3://whole"]);
        for path in [
            "file:///data/wh/a.parquet",
            "file:/data/wh/a.parquet",
            "/data/wh/a.parquet",
            "FILE:///data/wh/a.parquet",
            "/data//wh//orders/a.parquet",
            "s3://lake/wh/a",
            "s3a://lake/wh/a",
            "s3n://lake/wh/a",
            "s3://lake/wh//a",
            "s3://whole/a",
            "/data/wh/city=New+York/of=a%2Fb%20c/x",
            "/data/wh/sum=100%/x",
            "/data/wh/of=a%2F..%2Fb/x",
            "/data/wh/a..b/...",
            "/data/wh/of=a\\b/x",
        ] {
            assert!(folders.admits(path), "{path}");
        }
        for path in [
            "",
            "wh/a",
            "file:data/wh/a",
            "/data/wh",
            "/data/wh/",
            "/data/wh-evil/a",
            "/data/WH/a",
            "/data/secret.key",
            "/data/wh/../secret.key",
            "/data/wh/./../secret.key",
            "/data/wh/a/../b",
            "/data/wh/..",
            "/data/wh/..\\..\\secret.key",
            "/data/wh/%2e%2e/secret.key",
            "/data/wh/%2E%2E%2Fsecret.key",
            "/data/wh/%252e%252e/secret.key",
            "/data/wh/x%2F..%2F..%2Fsecret.key",
            "/data/wh/x%5C..%5C..%5Csecret.key",
            "/data/%77h/a",
            "/data/wh%2Fa",
            "/data/wh\\a",
            "/data/wh/a\0b",
            "file://host:80/data/wh/a",
            "file:///etc/passwd",
            "http://lake/wh/a",
            "gs://lake/wh/a",
            "s3:lake/wh/a",
            "s3://lake/wh",
            "s3://lake/wh-evil/a",
            "s3://lake//wh/a",
            "s3://lake/other/../wh/a",
            "s3://lake/wh/../other/a",
            "s3://LAKE/wh/a",
            "s3://other/wh/a",
            "s3://lake.evil/wh/a",
            "s3://user@lake/wh/a",
            "s3:///wh/a",
        ] {
            assert!(!folders.admits(path), "{path}");
        }
        assert!(folders.admits_folder("/data/wh/") && folders.admits_folder("s3a://whole"));
        assert!(!folders.admits_folder("/data") && !folders.admits_folder("/data/wh-evil"));
        assert!(Locations::all().admits("/etc/passwd") && !Locations::none().admits("/data/wh/a"));
        assert_eq!(spellings("/data/wh/"), ["file:///data/wh/", "file:/data/wh/", "/data/wh/"]);
        assert_eq!(spellings("s3a://s3/wh"), ["s3://s3/wh", "s3a://s3/wh", "s3n://s3/wh"]);
        assert_eq!(folder_of_metadata("s3://other/orders/metadata/00001-a.metadata.json"), "s3://other/orders");
        assert_eq!(folder_of_metadata("/other/orders/00001-a.metadata.json"), "/other/orders");
    }
}
