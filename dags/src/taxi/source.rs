//! The source of the files: a server, a folder or generated trips. A template with YYYY and MM is the path of a month.

use super::raw::RawFile;
use super::sample::Sample;
use crate::common::nyc::month::Month;
use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use orch::{Connection, Ctx, TaskResult, fatal};
use orch_lake::bucket::{Bucket, Options};
use orch_lake::format::parquet;
use orch_lake::frame::blocking;
use orch_lake::source::http::Http;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The field in the extra of the connection.
const TEMPLATE: &str = "template";
const DEFAULT_TEMPLATE: &str = "yellow_tripdata_YYYY-MM.parquet";

#[derive(Debug, Clone)]
pub struct Source {
    kind: TaxiBackend,
    template: String,
    /// The part of an address before the path.
    base: String,
}

#[derive(Debug, Clone)]
enum TaxiBackend {
    Server(Box<Http>),
    Folder(Bucket),
    Sample(Sample),
}

impl Source {
    /// `https://host?template=trip-data/yellow_tripdata_YYYY-MM.parquet`, `file:///folder?template=…`, or
    /// `sample://taxi?trips=6000&seed=7`.
    ///
    /// # Errors
    /// A fatal error if the connection has another type, or its template has no YYYY or no MM.
    pub fn of(connection: &Connection) -> TaskResult<Source> {
        let mut connection = connection.clone();
        let id = connection.id.clone();
        let template = match connection.extra.remove(TEMPLATE) {
            Some(Value::String(template)) => template.trim_matches('/').to_string(),
            _ => DEFAULT_TEMPLATE.to_string(),
        };
        if !(template.contains("YYYY") && template.contains("MM")) {
            let hint = format!("hint: write `{TEMPLATE}` as `{DEFAULT_TEMPLATE}`");
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

    /// The address of the file of a month.
    pub fn address(&self, month: Month) -> String {
        format!("{}/{}", self.base.trim_end_matches('/'), self.path(month).split('?').next().unwrap_or_default())
    }

    fn path(&self, month: Month) -> String {
        let (year, number) = (month.first().format("%Y").to_string(), month.first().format("%m").to_string());
        self.template.replace("YYYY", &year).replace("MM", &number)
    }

    /// Copies the file of a month into a bucket. The object appears only when it is complete. Returns `None` if there is
    /// no file of that month.
    ///
    /// # Errors
    /// The server rejects the request, does not respond, or breaks off more often than the request is retried.
    pub async fn fetch(
        &self,
        ctx: &Ctx,
        bucket: &Bucket,
        month: Month,
        now: DateTime<Utc>,
    ) -> TaskResult<Option<RawFile>> {
        let path = self.path(month);
        let key = key_of(&path, month);
        let pieces = match &self.kind {
            TaxiBackend::Server(http) => http.get_if_there(ctx, &path).await?,
            TaxiBackend::Folder(folder) => pieces_of(folder, &path).await?,
            TaxiBackend::Sample(sample) => {
                if !sample.has(month, now) {
                    return Ok(None);
                }
                parquet::write(bucket, &key, sample.file(month)?.report_progress(ctx)).await?;
                let bytes = bucket.find(&key).await?.map_or(0, |entry| entry.bytes);
                let (mut pieces, mut sum) = (bucket.read(&key).await?, Sha256::new());
                while let Some(piece) = pieces.try_next().await? {
                    sum = summed(sum, piece).await?;
                }
                return Ok(Some(self.raw(month, key, bytes, sum)));
            }
        };
        let Some(mut pieces) = pieces else { return Ok(None) };
        let (mut upload, mut sum) = (bucket.upload(&key)?, Sha256::new());
        loop {
            match pieces.try_next().await {
                Ok(None) => break,
                Ok(Some(piece)) => {
                    upload.write(piece.clone()).await?;
                    sum = summed(sum, piece).await?;
                    ctx.progress(0, upload.bytes());
                }
                Err(error) => {
                    upload.abort().await;
                    return Err(error);
                }
            }
        }
        let bytes = upload.finish().await?;
        Ok(Some(self.raw(month, key, bytes, sum)))
    }

    fn raw(&self, month: Month, key: String, bytes: u64, sum: Sha256) -> RawFile {
        let sha256 = sum.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        RawFile { source_file: stem(&key).into(), month, key, bytes, sha256, from: self.address(month) }
    }
}

async fn summed(mut sum: Sha256, piece: Bytes) -> TaskResult<Sha256> {
    blocking(move |_| {
        sum.update(&piece);
        Ok(sum)
    })
    .await
}

async fn pieces_of(folder: &Bucket, path: &str) -> TaskResult<Option<BoxStream<'static, TaskResult<Bytes>>>> {
    if folder.find(path).await?.is_none() {
        return Ok(None);
    }
    Ok(Some(folder.read(path).await?.map_err(Into::into).boxed()))
}

/// The key of a file in the bucket: its name, with the month if the name does not contain it.
fn key_of(path: &str, month: Month) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or(path);
    let month = month.to_string();
    if name.contains(&month) { name.into() } else { format!("{month}-{name}") }
}

/// Removes the extension.
fn stem(key: &str) -> &str {
    let key = key.strip_suffix(".gz").unwrap_or(key);
    key.strip_suffix(".csv").or_else(|| key.strip_suffix(".parquet")).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str) -> TaskResult<Source> {
        Source::of(&Connection::from_uri("nyc_taxi", uri).expect("a URI"))
    }

    #[test]
    fn a_template_says_where_the_file_of_a_month_is() {
        let month = Month::parse("2025-02").expect("a month");
        for (uri, expected) in [
            (
                "https://d37.net?template=trip-data%2Fyellow_YYYY-MM.parquet",
                "https://d37.net/trip-data/yellow_2025-02.parquet",
            ),
            ("http://127.0.0.1:81", "http://127.0.0.1/yellow_tripdata_2025-02.parquet"),
            ("file:///data/taxi?template=YYYY%2FMM%2Ftrips.csv", "file:///data/taxi/2025/02/trips.csv"),
            ("sample://taxi", "sample://taxi/yellow_tripdata_2025-02.parquet"),
        ] {
            assert_eq!(source(uri).expect(uri).address(month), expected);
        }
        for uri in ["https://d37.net?template=trips.csv", "ftp://d37.net", "file:///data?template=YYYY.csv"] {
            assert!(source(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_month_is_the_same_in_every_format() {
        let month = Month::parse("2019-01").expect("a month");
        for (path, key, name) in [
            ("a/yellow_2019-01.csv.gz", "yellow_2019-01.csv.gz", "yellow_2019-01"),
            ("yellow_2019-01.parquet?key=hush", "yellow_2019-01.parquet", "yellow_2019-01"),
            ("2019/01/trips.csv", "2019-01-trips.csv", "2019-01-trips"),
        ] {
            assert_eq!(key_of(path, month), key);
            assert_eq!(stem(key), name);
        }
    }
}
