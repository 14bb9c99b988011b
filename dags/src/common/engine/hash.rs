//! A content hash of a table. It does not depend on the order of the rows, the number of objects or the file format.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use orch::TaskResult;
use sha2::{Digest as _, Sha256};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ContentHash {
    pub(super) rows: u64,
    /// Wrapping sums of both halves of the SHA-256 of each row. The hash input is the row's values as text, each
    /// prefixed with its length.
    sums: [u128; 2],
}

impl ContentHash {
    pub(super) fn add(&mut self, batch: &RecordBatch) -> TaskResult<()> {
        let texts = batch.columns().iter().map(|column| cast(column, &DataType::Utf8));
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let mut hash = Sha256::new();
            for column in &texts {
                if column.is_null(row) {
                    hash.update([0]);
                } else {
                    let text = column.as_string::<i32>().value(row);
                    hash.update([1]);
                    hash.update((text.len() as u64).to_le_bytes());
                    hash.update(text);
                }
            }
            let hash: [u8; 32] = hash.finalize().into();
            for (sum, half) in self.sums.iter_mut().zip(hash.as_chunks().0) {
                *sum = sum.wrapping_add(u128::from_le_bytes(*half));
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    pub(super) fn hex(&self) -> String {
        format!("{:032x}{:032x}", self.sums[1], self.sums[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int32Array, StringArray};
    use std::sync::Arc;

    fn hash(rows: &[(i32, Option<&str>)]) -> String {
        let mut hash = ContentHash::default();
        for rows in [&rows[..1], &rows[1..]] {
            let numbers: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int32Array>());
            let texts: ArrayRef = Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>());
            hash.add(&RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()).unwrap();
        }
        hash.hex()
    }

    #[test]
    fn the_hash_depends_on_values_and_not_on_order() {
        let (a, b, c) = ((1, Some("a")), (2, None), (3, Some("")));
        let all = hash(&[a, b, c]);
        assert_eq!((all.len(), &all), (64, &hash(&[c, b, a])));
        for other in [&[a, b][..], &[a, b, c, c], &[a, b, (3, None)], &[a, c, (2, Some("0"))]] {
            assert_ne!(all, hash(other));
        }
    }
}
