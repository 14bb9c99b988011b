//! The source of the trip files: a server, a folder or generated trips. A template with YYYY and MM yields the path of
//! a month.

use super::raw::RawFile;
use super::sample::Sample;
use crate::common::nyc::month::Month;
use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use orch::{Connection, Ctx, TaskResult, fatal};
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::parquet;
use orch_lake::source::http::Http;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const DEFAULT_TEMPLATE: &str = "yellow_tripdata_YYYY-MM.parquet";

#[derive(Debug, Clone)]
pub struct Source {
    kind: TaxiBackend,
    template: String,
    /// Part of an address before the path.
    base: String,
}

#[derive(Debug, Clone)]
enum TaxiBackend {
    Server(Box<Http>),
    Folder(Bucket),
    Sample(Sample),
}

impl Source {
    /// Parses a connection: `https://host?template=trip-data/yellow_tripdata_YYYY-MM.parquet`,
    /// `file:///folder?template=…`, or `sample://taxi?trips=6000&seed=7`.
    pub(super) fn of(connection: &Connection) -> TaskResult<Source> {
        let mut connection = connection.clone();
        let id = connection.id.clone();
        let template = match connection.extra.remove("template") {
            Some(Value::String(template)) => template.trim_matches('/').to_string(),
            _ => DEFAULT_TEMPLATE.to_string(),
        };
        if !(template.contains("YYYY") && template.contains("MM")) {
            let hint = format!("hint: write `template` as `{DEFAULT_TEMPLATE}`");
            return Err(fatal(format!("the template of connection `{id}` has no YYYY or no MM\n{hint}")));
        }
        let host = connection.host.clone().unwrap_or_default();
        let (kind, base) = match connection.conn_type.as_str() {
            "http" | "https" => {
                let base = if host.contains("://") { host } else { format!("{}://{host}", connection.conn_type) };
                (TaxiBackend::Server(Box::new(Http::of(&connection)?)), base)
            }
            "file" => {
                let path = connection.extra_field("path").and_then(Value::as_str);
                let path = path.or(connection.schema.as_deref()).unwrap_or_default().trim_matches('/');
                let bucket = Bucket::open(&format!("file:///{path}"), &Options::default());
                let bucket = bucket.with_context(|| format!("connection `{id}`"))?;
                (TaxiBackend::Folder(bucket), format!("file:///{path}"))
            }
            "sample" => (TaxiBackend::Sample(Sample::of(&connection)?), "sample://taxi".into()),
            other => {
                let hint = "hint: write `https://host?template=…`, `file:///folder?template=…` or `sample://taxi`";
                return Err(fatal(format!("connection `{id}` is of type `{other}`\n{hint}")));
            }
        };
        Ok(Source { kind, template, base })
    }

    /// Returns the address of the file of a month, without its query string.
    pub(super) fn address(&self, month: Month) -> String {
        format!("{}/{}", self.base.trim_end_matches('/'), self.path(month).split('?').next().unwrap_or_default())
    }

    fn path(&self, month: Month) -> String {
        let (year, number) = (month.first().format("%Y").to_string(), month.first().format("%m").to_string());
        self.template.replace("YYYY", &year).replace("MM", &number)
    }

    /// Copies the file of a month into a bucket. The object appears only when it is complete. Returns `None` if the
    /// month has no file.
    pub(super) async fn fetch(
        &self,
        ctx: &Ctx,
        bucket: &Bucket,
        month: Month,
        now: DateTime<Utc>,
    ) -> TaskResult<Option<RawFile>> {
        let path = self.path(month);
        let key = key_of(&path, month);
        let read =
            async |bucket: &Bucket, key: &str| TaskResult::Ok(bucket.read(key).await?.map_err(Into::into).boxed());
        let pieces = match &self.kind {
            TaxiBackend::Server(http) => http.get_if_there(ctx, &path).await?,
            TaxiBackend::Folder(folder) if folder.find(&path).await?.is_some() => Some(read(folder, &path).await?),
            TaxiBackend::Sample(sample) if sample.has(month, now) => {
                parquet::write(bucket, &key, sample.file(month)?.report_progress(ctx)).await?;
                Some(read(bucket, &key).await?)
            }
            _ => None,
        };
        let Some(pieces) = pieces else { return Ok(None) };
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        let pieces = pieces.inspect_ok(|piece: &Bytes| {
            hash.update(piece);
            bytes += piece.len() as u64;
            ctx.progress(0, bytes);
        });
        match self.kind {
            // The sample object is already written, so it is only hashed.
            TaxiBackend::Sample(_) => pieces.try_for_each(|_| std::future::ready(Ok(()))).await?,
            _ => bucket.put_stream(&key, pieces).await.map(drop)?,
        }
        let sha256 = hash.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Ok(Some(RawFile { source_file: stem(&key).into(), month, key, bytes, sha256, from: self.address(month) }))
    }
}

/// Returns the key of a file in the bucket: its name, with the month added if the name does not contain it.
fn key_of(path: &str, month: Month) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or(path);
    let month = month.to_string();
    if name.contains(&month) { name.into() } else { format!("{month}-{name}") }
}

/// Removes the extension, and `.gz` if present.
fn stem(key: &str) -> &str {
    let key = key.strip_suffix(".gz").unwrap_or(key);
    key.strip_suffix(".csv").or_else(|| key.strip_suffix(".parquet")).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_the_path_of_a_month() {
        let source = |uri| Source::of(&Connection::from_uri("nyc_taxi", uri).expect("a URI"));
        let month = Month::parse("2025-02").expect("a month");
        for (uri, address, key) in [
            ("https://d37.net?template=a%2Fyellow_YYYY-MM.parquet", "https://d37.net/a/yellow_2025-02.parquet", None),
            ("http://127.0.0.1:81", "http://127.0.0.1/yellow_tripdata_2025-02.parquet", None),
            ("file:///d?template=YYYY%2FMM%2Fx.csv.gz", "file:///d/2025/02/x.csv.gz", Some("2025-02-x.csv.gz")),
            ("sample://taxi", "sample://taxi/yellow_tripdata_2025-02.parquet", None),
        ] {
            let source = source(uri).expect(uri);
            assert_eq!(source.address(month), address);
            let name = address.rsplit('/').next().expect("a name");
            assert_eq!(key_of(&source.path(month), month), key.unwrap_or(name));
        }
        for uri in ["https://d37.net?template=trips.csv", "ftp://d37.net", "file:///data?template=YYYY.csv"] {
            assert!(source(uri).is_err(), "{uri}");
        }
        assert_eq!(["x.csv.gz", "x.csv", "x.parquet", "x"].map(stem), ["x"; 4]);
    }
}
