//! Runs the same tests on a folder and on an S3 protocol server.

use crate::support::words;
use bytes::Bytes;
use futures::TryStreamExt;
use orch_lake::bucket::{Bucket, Buckets, Error, Options};
use orch_sdk::task::Connection;
use orch_test_lake::S3Server;
use std::future::Future;
use std::os::unix::fs::PermissionsExt as _;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Runs a test on a bucket in a folder and on a bucket of a server.
async fn on_both<F: Future<Output = ()>>(test: impl Fn(Bucket) -> F) {
    let folder = TempDir::new().expect("a folder");
    let files = Connection::from_uri("buckets", &format!("file://{}", folder.path().display())).expect("a URI");
    let server = S3Server::start().await;
    for connection in [files, server.connection()] {
        let bucket = Buckets::of(&connection).expect("buckets").bucket("raw").expect("a name");
        bucket.ensure().await.expect("it can be made");
        test(bucket).await;
    }
}

#[tokio::test]
async fn a_folder_made_for_a_bucket_is_private() {
    let folder = TempDir::new().expect("a folder");
    let bucket = Bucket::open(&format!("file://{}/new/raw", folder.path().display()), &Options::default());
    bucket.expect("a bucket").ensure().await.expect("it can be made");
    for made in ["new", "new/raw"] {
        let mode = std::fs::metadata(folder.path().join(made)).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{made}");
    }
}

#[tokio::test]
async fn an_object_is_what_was_written_last() {
    on_both(|bucket| async move {
        bucket.put("a/b.txt", "one").await.expect("it can be written");
        bucket.put("a/b.txt", "three").await.expect("it can be written again");
        assert_eq!(bucket.get("a/b.txt").await.expect("it is there"), "three");
        assert_eq!(bucket.range("a/b.txt", 1..3).await.expect("it is there"), "hr");
        let found = bucket.find("a/b.txt").await.expect("the store answers").expect("it is there");
        assert_eq!((found.key.as_str(), found.bytes), ("a/b.txt", 5));
        bucket.copy("a/b.txt", "c").await.expect("it can be copied");
        bucket.delete("a/b.txt").await.expect("it can be removed");
        bucket.delete("a/b.txt").await.expect("twice is once");
        assert!(bucket.find("a/b.txt").await.expect("the store answers").is_none());
        assert_eq!(bucket.get("c").await.expect("it is there"), "three");
        let gone = bucket.get("a/b.txt").await.expect_err("it is gone");
        assert!(matches!(&gone, Error::NotFound { location } if *location == bucket.location("a/b.txt")), "{gone}");
    })
    .await;
}

#[tokio::test]
async fn who_writes_if_absent_is_told_whether_he_was_first() {
    on_both(|bucket| async move {
        assert!(bucket.put_if_absent("once", "one").await.expect("the store answers"));
        assert!(!bucket.put_if_absent("once", "two").await.expect("the store answers"));
        assert_eq!(bucket.get("once").await.expect("it is there"), "one");
    })
    .await;
    // The test server checks and then writes, which is not atomic. Folders decide with a single system call.
    let folder = TempDir::new().expect("a folder");
    let bucket = Bucket::open(&format!("file://{}", folder.path().display()), &Options::default()).expect("a folder");
    let all = (0..8).map(|number: u8| {
        let bucket = bucket.clone();
        async move { bucket.put_if_absent("once", vec![number]).await.expect("the folder answers") }
    });
    let first: Vec<bool> = futures::future::join_all(all).await;
    let winner = first.iter().position(|first| *first).expect("one was first");
    assert_eq!(first.iter().filter(|first| **first).count(), 1);
    assert_eq!(bucket.get("once").await.expect("it is there"), vec![winner as u8]);
}

#[tokio::test]
async fn lists_are_of_whole_parts_below_the_bucket() {
    on_both(|bucket| async move {
        assert_eq!(bucket.list_all("").await.expect("the store answers"), []);
        for key in ["2025/01/a", "2025/01/b c", "2025/02/ä=1/x.parquet", "2025-old"] {
            bucket.put(key, key).await.expect("it can be written");
        }
        let keys = |prefix: &'static str| {
            let bucket = bucket.clone();
            async move {
                let found = bucket.list_all(prefix).await.expect("the store answers");
                found.into_iter().map(|entry| entry.key).collect::<Vec<_>>()
            }
        };
        assert_eq!(keys("2025").await, ["2025/01/a", "2025/01/b c", "2025/02/ä=1/x.parquet"]);
        assert_eq!(keys("").await.len(), 4);
        assert_eq!(bucket.delete_all("2025").await.expect("they can be removed"), 3);
        assert_eq!(keys("").await, ["2025-old"]);
        if let Some(folder) = bucket.url().strip_prefix("file://") {
            let folder = std::path::Path::new(folder);
            assert!(folder.join("2025-old").exists() && !folder.join("2025").exists(), "no empty folders are left");
        }
    })
    .await;
}

#[tokio::test]
async fn a_place_inside_of_a_bucket_shows_only_what_is_below_it() {
    let server = S3Server::start().await;
    let options = Options::of(&server.connection());
    let whole = Bucket::open("s3://raw", &options).expect("a URL");
    whole.ensure().await.expect("it can be made");
    let inner = Bucket::open("s3a://raw/in/ner/", &options).expect("Hadoop's word");
    inner.put("x", "1").await.expect("it can be written");
    whole.put("in/nerd", "2").await.expect("it can be written");
    assert_eq!(inner.list_all("").await.expect("the store answers").len(), 1);
    assert_eq!(whole.get("in/ner/x").await.expect("it is there"), "1");
    assert_eq!(inner.location("x"), "s3a://raw/in/ner/x");
}

#[tokio::test]
async fn large_objects_go_through_in_pieces_both_ways() {
    on_both(|bucket| async move {
        let piece = |number: u8| Bytes::from(vec![number; 3 << 20]);
        let pieces = futures::stream::iter((0..7).map(|number| Ok::<_, Error>(piece(number))));
        assert_eq!(bucket.put_stream("large", pieces).await.expect("it can be written"), 21 << 20);
        let mut read = bucket.read_from("large", (3 << 20) + 1).await.expect("it is there");
        let (mut bytes, mut last) = (0, 0);
        while let Some(piece) = read.try_next().await.expect("it can be read") {
            assert!(piece.is_sorted(), "the pieces are in order");
            bytes += piece.len();
            last = *piece.last().expect("no piece is empty");
        }
        assert_eq!((bytes, last), ((18 << 20) - 1, 6));
    })
    .await;
}

#[tokio::test]
async fn an_object_that_was_given_up_is_not_there() {
    on_both(|bucket| async move {
        bucket.put("kept", "old").await.expect("it can be written");
        for key in ["kept", "new"] {
            let pieces = [Ok(Bytes::from(vec![0; 9 << 20])), Err(anyhow::anyhow!("the source broke"))];
            let error = bucket.put_stream(key, futures::stream::iter(pieces)).await.expect_err("the source broke");
            assert_eq!(words(&error), "the source broke");
        }
        assert_eq!(bucket.get("kept").await.expect("the old one"), "old");
        assert_eq!(bucket.list_all("").await.expect("the store answers").len(), 1);
    })
    .await;
}

#[tokio::test]
async fn wrong_keys_and_absent_servers_are_told_without_the_keys() {
    let server = S3Server::start().await;
    let good = server.connection();
    let wrong = Connection { password: Some("hush".into()), ..good.clone() };
    let error = Buckets::of(&wrong).expect("buckets").bucket("raw").expect("a name").ensure().await;
    let error = words(&error.expect_err("the key is wrong").into());
    assert!(error.contains("s3://raw") && error.contains("hint:") && !error.contains("hush"), "{error}");
    // The server was stopped, so no process listens on its port.
    drop(server);
    let bucket = Buckets::of(&good).expect("buckets").bucket("raw").expect("a name");
    let error = words(&bucket.get("x").await.expect_err("nobody is there").into());
    assert!(error.contains("cannot read `s3://raw/x`"), "{error}");
}

/// The raw server responds with 404 to everything except the creation of a bucket, and records that request.
#[tokio::test]
async fn a_bucket_is_made_by_a_request_that_says_its_length() {
    for (region, length) in [(None, 0), (Some("eu-north-1"), 154)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let options = Options {
            endpoint: Some(format!("http://{}", listener.local_addr().expect("it is bound"))),
            region: region.map(Into::into),
            access_key: Some("key".into()),
            secret_key: Some("secret".into()),
            ..Options::default()
        };
        let bucket = Bucket::open("s3://raw", &options).expect("an address");
        let server = async {
            for (method, answer) in
                [("HEAD /raw/?", "404 Not Found"), ("PUT /raw/?", "503 Slow Down"), ("PUT /raw/?", "200 OK")]
            {
                let (mut stream, _) = listener.accept().await.expect("a client comes");
                let head = head_of(&mut stream).await;
                assert!(head.starts_with(method), "{head}");
                let says_length =
                    head.lines().any(|line| line.eq_ignore_ascii_case(&format!("content-length: {length}")));
                assert_eq!(says_length, method.starts_with("PUT"), "{head}");
                let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("it is taken");
            }
        };
        let (made, ()) = tokio::join!(bucket.ensure(), server);
        made.expect("it is made, though the server was busy at first");
    }
}

async fn head_of(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut read).await.expect("it can be read") > 0, "the request breaks off");
    }
    String::from_utf8(read).expect("text")
}
