//! Creates folders, and buckets on a server. `object_store` cannot create a bucket, so it is only used to sign the
//! URL; this module sends the request.

use super::{Bucket, Error, Result};
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::Signer;
use reqwest::header::CONTENT_LENGTH;
use reqwest::{Method, StatusCode};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Lifetime of the signed URL, and timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of attempts while the server is busy or restarting. The delays double each time, to 5 seconds in
/// total.
const TRIES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(80);

/// Creates the local folder or the server-side bucket of a [`Bucket`].
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
        // Other users of this machine must not read the objects, and only the mode of this folder protects them.
        Maker::Folder(path) => {
            let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).await;
            made.map_err(|error| failed(error.into()))
        }
        Maker::Server { store, bucket: name, region } => {
            let there = ask(store, &Method::HEAD, String::new()).await.map_err(|error| failed(error.into()))?;
            // Checks for the bucket first. It usually exists, and read-only credentials cannot create one.
            if there != StatusCode::NOT_FOUND {
                return refused(bucket, there).map_or(Ok(()), Err);
            }
            let made = ask(store, &Method::PUT, body(region.as_deref())).await.map_err(|error| failed(error.into()))?;
            // Status 409 means that the bucket was created concurrently. If it belongs to another account, reads and
            // writes fail later.
            if made.is_success() || made == StatusCode::CONFLICT {
                return Ok(());
            }
            let hint = format!("hint: make the bucket `{name}` on its server, or allow these keys to");
            Err(failed(format!("the server answers {made}\n{hint}").into()))
        }
    }
}

/// Removes the empty subfolders of a prefix. Otherwise the folders of prefixes that are used only once, such as those
/// of task attempts, would remain forever.
pub(super) async fn remove_folders(bucket: &Bucket, prefix: &str) {
    if let Maker::Folder(path) = &bucket.maker {
        let folder = path.join(prefix);
        // Errors are ignored: a folder that cannot be removed is not empty or no longer exists.
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

/// Returns the body of the request that creates a bucket. Outside `us-east-1`, it must contain the region.
fn body(region: Option<&str>) -> String {
    match region {
        None | Some("us-east-1") => String::new(),
        Some(region) => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    }
}

/// Sends a request for the bucket itself (not for an object), with retries while the server is busy.
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
        // The header is set explicitly, because an empty body is sent without Content-Length, and some servers reject
        // that with status 411.
        request = request.header(CONTENT_LENGTH, body.len()).body(body);
    }
    // The URL is removed from the error because it contains the signature.
    let answer = request.send().await.map_err(|error| error.without_url().to_string())?;
    Ok(answer.status())
}
