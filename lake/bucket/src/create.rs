//! Making what is not there: a folder, or a bucket on a server. The crate that we speak S3 with knows no such
//! request, so it signs an address and we send it.

use super::{Bucket, Error, Result};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::Signer;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, StatusCode};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Of the signed address, and of the request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A server that is busy or restarts is asked again, after pauses that double: five seconds in all.
const TRIES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(80);

/// Who makes the place of a bucket.
#[derive(Debug, Clone)]
pub(super) enum Maker {
    Folder(PathBuf),
    Server { store: Arc<AmazonS3>, bucket: Arc<str>, region: Option<Arc<str>> },
}

pub(super) async fn ensure(bucket: &Bucket) -> Result<()> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Failed {
        verb: "make",
        location: bucket.url().into(),
        source,
    };
    match &bucket.maker {
        // Nobody else on this machine may look in: objects are as private as the folder above them.
        Maker::Folder(path) => {
            let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).await;
            made.map_err(|error| failed(error.into()))
        }
        Maker::Server { store, bucket: name, region } => {
            let there = ask(store, &Method::HEAD, String::new()).await.map_err(|error| failed(error.into()))?;
            // Most of the time it is there, and keys that may read may not make buckets.
            if there != StatusCode::NOT_FOUND {
                return refused(bucket, there).map_or(Ok(()), Err);
            }
            let made = ask(store, &Method::PUT, body(region.as_deref())).await.map_err(|error| failed(error.into()))?;
            // 409: somebody else has just made it; if it is not ours, reading and writing will say so.
            if made.is_success() || made == StatusCode::CONFLICT {
                return Ok(());
            }
            let hint = format!("hint: make the bucket `{name}` on its server, or allow these keys to");
            Err(failed(format!("the server answers {made}\n{hint}").into()))
        }
    }
}

/// Removes the folders of a prefix that no object is left in: of a prefix that is used once, such as that of a try, they would stay for ever.
pub(super) async fn remove_folders(bucket: &Bucket, prefix: &str) {
    if let Maker::Folder(path) = &bucket.maker {
        let folder = path.join(prefix);
        // What cannot be removed holds something, or is gone.
        tokio::task::spawn_blocking(move || remove_empty(&folder)).await.ok();
    }
}

fn remove_empty(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_empty(&entry.path());
        }
    }
    std::fs::remove_dir(folder).ok();
}

fn refused(bucket: &Bucket, status: StatusCode) -> Option<Error> {
    let is_refused = matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
    is_refused.then(|| Error::Denied { verb: "look at", location: bucket.url().into() })
}

/// Outside of `us-east-1` a bucket is made where its region says.
fn body(region: Option<&str>) -> String {
    match region {
        None | Some("us-east-1") => String::new(),
        Some(region) => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    }
}

/// A request about the bucket itself, sent again while the server is busy.
async fn ask(store: &AmazonS3, method: &Method, body: String) -> std::result::Result<StatusCode, String> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        let status = ask_once(store, method, body.clone()).await?;
        if !(status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS) {
            return Ok(status);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    ask_once(store, method, body).await
}

async fn ask_once(store: &AmazonS3, method: &Method, body: String) -> std::result::Result<StatusCode, String> {
    let address = store.signed_url(method.clone(), &Path::ROOT, TIMEOUT).await.map_err(|error| error.to_string())?;
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(|error| error.to_string())?;
    let mut request = client.request(method.clone(), address);
    if *method == Method::PUT {
        // An empty body would go without its length, and some servers answer that with 411.
        request = request.header(CONTENT_LENGTH, body.len()).body(body);
    }
    // The address carries the signature, so no error may carry the address.
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    Ok(answer.status())
}
