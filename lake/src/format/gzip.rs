//! Decompresses gzip on the fly. Input that does not start with the magic bytes of gzip is passed through unchanged.

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use orch_sdk::task::{TaskResult, fatal};
use std::io::Write as _;

const MAGIC: [u8; 2] = [0x1f, 0x8b];

pub(super) struct Unpack {
    how: GzipState,
    location: String,
}

enum GzipState {
    /// No input was received yet, so the format is not known.
    Unknown,
    Plain,
    Packed(Box<MultiGzDecoder<Vec<u8>>>),
}

impl Unpack {
    pub(super) fn new(location: &str) -> Unpack {
        Unpack { how: GzipState::Unknown, location: location.into() }
    }

    /// Adds input, and returns the output that can be decompressed so far.
    pub(super) fn piece(&mut self, piece: &Bytes) -> TaskResult<Bytes> {
        if matches!(self.how, GzipState::Unknown) {
            let is_packed = piece.starts_with(&MAGIC);
            self.how =
                if is_packed { GzipState::Packed(Box::new(MultiGzDecoder::new(Vec::new()))) } else { GzipState::Plain };
        }
        match &mut self.how {
            GzipState::Packed(decoder) => match decoder.write_all(piece).and_then(|()| decoder.flush()) {
                Ok(()) => Ok(std::mem::take(decoder.get_mut()).into()),
                Err(error) => Err(self.broken(&error)),
            },
            GzipState::Unknown | GzipState::Plain => Ok(piece.clone()),
        }
    }

    /// Returns the remaining output at the end of the input.
    pub(super) fn end(&mut self) -> TaskResult<Bytes> {
        let GzipState::Packed(decoder) = &mut self.how else { return Ok(Bytes::new()) };
        match decoder.try_finish() {
            Ok(()) => Ok(std::mem::take(decoder.get_mut()).into()),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn broken(&self, error: &std::io::Error) -> anyhow::Error {
        fatal(format!(
            "`{}` is no whole gzip file: {error}\nhint: it was cut off or is something else; have it written again",
            self.location
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).expect("memory takes everything");
        encoder.finish().expect("memory takes everything")
    }

    fn unpacked(bytes: &[u8], at_once: usize) -> TaskResult<String> {
        let mut unpack = Unpack::new("file:///x.gz");
        let mut all = Vec::new();
        for piece in bytes.chunks(at_once) {
            all.extend_from_slice(&unpack.piece(&Bytes::copy_from_slice(piece))?);
        }
        all.extend_from_slice(&unpack.end()?);
        Ok(String::from_utf8(all).expect("it is text"))
    }

    #[test]
    fn pieces_may_end_anywhere_and_files_may_be_joined() {
        let text: Vec<String> = (0..5_000).map(|line| format!("{line},{}\n", line * 7)).collect();
        let text = text.concat();
        let both = [packed(&text), packed("end\n")].concat();
        for at_once in [7, 1_000, both.len()] {
            assert_eq!(unpacked(&both, at_once).expect("it is whole"), format!("{text}end\n"), "{at_once}");
        }
        assert_eq!(unpacked(b"id\n1\n", 1).expect("it is plain"), "id\n1\n");
    }

    #[test]
    fn what_was_cut_off_is_no_shorter_file() {
        let whole = packed("id\n1\n2\n3\n");
        let error = unpacked(&whole[..whole.len() - 5], 1_000).expect_err("it is cut");
        assert!(error.to_string().contains("`file:///x.gz` is no whole gzip file"), "{error}");
    }
}
