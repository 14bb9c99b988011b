//! Streaming reads of objects.

use super::{Bucket, Error, Result};
use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, GetResultPayload};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

/// Chunk size for reading local files. Large enough to make the cost of a thread switch per chunk negligible.
const PIECE: u64 = 1 << 20;

pub(super) async fn pieces(bucket: &Bucket, key: &str, first: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
    let location = bucket.location(key);
    let wrong = move |source| Error::of("read", location.clone(), source);
    let range = (first > 0).then_some(GetRange::Offset(first));
    let found = bucket
        .store
        .get_opts(&bucket.path(key)?, GetOptions { range, ..GetOptions::default() })
        .await
        .map_err(&wrong)?;
    let range = found.range.clone();
    let GetResultPayload::File(file, _) = found.payload else {
        return Ok(found.into_stream().map_err(wrong).boxed());
    };
    let location = bucket.location(key);
    let pieces = futures::stream::try_unfold((file, range.start), move |(file, at)| {
        let (end, location) = (range.end, location.clone());
        async move {
            if at >= end {
                return Ok(None);
            }
            let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Failed {
                verb: "read",
                location: location.clone(),
                source,
            };
            let read = tokio::task::spawn_blocking(move || piece_of(file, at, PIECE.min(end - at)));
            let (file, piece) = read.await.map_err(|e| failed(e.into()))?.map_err(|e| failed(e.into()))?;
            let at = at + piece.len() as u64;
            Ok(Some((piece, (file, at))))
        }
    });
    Ok(pieces.boxed())
}

fn piece_of(mut file: File, at: u64, bytes: u64) -> std::io::Result<(File, Bytes)> {
    file.seek(SeekFrom::Start(at))?;
    let mut piece = BytesMut::zeroed(usize::try_from(bytes).unwrap_or(usize::MAX));
    file.read_exact(&mut piece)?;
    Ok((file, piece.freeze()))
}
