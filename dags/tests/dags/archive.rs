//! An archive in a bucket, by the connection that says how it is reached.

use orch::{ArchiveDoor, fatal};
use orch_dags::archive;
use orch_test_lake::S3Server;
use std::sync::Arc;

#[tokio::test]
async fn what_is_put_in_a_bucket_is_listed_and_read_again() {
    let server = S3Server::start().await;
    std::fs::create_dir(server.folder().join("old")).expect("a folder can be made");
    let connection = server.connection();
    let find = Arc::new(move |id: &str| -> orch::BoxFuture<orch::TaskResult<orch::Connection>> {
        let found = if id == archive::ARCHIVE { Ok(connection.clone()) } else { Err(fatal(format!("no `{id}`"))) };
        Box::pin(async move { found })
    });
    let door = ArchiveDoor::to("s3://old/orch", &archive::source(), find).expect("the binary opens buckets");
    let bucket = door.open().await.expect("it opens").expect("one is named");
    assert_eq!(bucket.place(), "s3://old/orch");
    for name in ["b", "a"] {
        bucket.put(format!("logs/2026w01/{name}"), name.into()).await.expect("it is written");
    }
    bucket.put("logs/2026w02/c".into(), b"c".to_vec()).await.expect("it is written");
    assert_eq!(bucket.list("logs/2026w01".into()).await.expect("a list"), ["logs/2026w01/a", "logs/2026w01/b"]);
    assert_eq!(bucket.list("logs/1999w01".into()).await.expect("a list"), [""; 0]);
    assert_eq!(bucket.get("logs/2026w02/c".into()).await.expect("it is there"), b"c");
    assert!(bucket.get("logs/2026w02/d".into()).await.is_err());
}

#[tokio::test]
async fn a_bucket_without_its_connection_is_refused_with_the_way_to_one() {
    let find = Arc::new(|id: &str| -> orch::BoxFuture<orch::TaskResult<orch::Connection>> {
        let error = fatal(format!("there is no connection `{id}`"));
        Box::pin(async move { Err(error) })
    });
    let door = ArchiveDoor::to("s3://old", &archive::source(), find).expect("the binary opens buckets");
    let Err(error) = door.open().await else { panic!("nobody said how it is reached") };
    assert!(error.to_string().contains("hint: add one with `orch connections add archive"), "{error}");
}
