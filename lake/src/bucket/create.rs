//! Making what is not there: a folder, or a bucket on a server. The crate that we speak S3 with knows no such request, so it
//! signs an address and we send it.

use super::{Bucket, Error, Result};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::Signer;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Of the signed address, and of the request.
const TIMEOUT: Duration = Duration::from_secs(30);

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
        Maker::Folder(path) => tokio::fs::create_dir_all(path).await.map_err(|error| failed(error.into())),
        Maker::Server { store, bucket: name, region } => {
            // Most of the time it is there, and whoever may read may not make buckets.
            match store.list(None).next().await {
                None | Some(Ok(_)) => return Ok(()),
                Some(Err(object_store::Error::NotFound { .. })) => {}
                Some(Err(source)) => return Err(Error::of("look at", bucket.url().into(), source)),
            }
            make(store, region.as_deref()).await.map_err(|problem| {
                failed(
                    format!("{problem}\nhint: make the bucket `{name}` on its server, or allow these keys to").into(),
                )
            })
        }
    }
}

async fn make(store: &AmazonS3, region: Option<&str>) -> std::result::Result<(), String> {
    let address = store.signed_url(reqwest::Method::PUT, &Path::ROOT, TIMEOUT).await;
    let address = address.map_err(|error| error.to_string())?;
    let body = match region {
        None | Some("us-east-1") => String::new(),
        Some(region) => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().map_err(|error| error.to_string())?;
    // The address carries the signature, so no error may carry the address.
    let answer = client.put(address).body(body).send().await.map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    // 409: somebody else has just made it; if it is not ours, reading and writing will say so.
    if status.is_success() || status == reqwest::StatusCode::CONFLICT {
        return Ok(());
    }
    Err(format!("the server answers {status}"))
}
