//! How places of files are written.

/// One spelling for a place that has several: `file:/a`, `file:///a` and `/a`; `/a//b` and `/a/b`; `s3a://` and `s3://`. A place that
/// begins nowhere stays as it is.
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
}
