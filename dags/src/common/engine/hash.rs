//! A hash of the rows of a table: the same for the same rows, in whatever order, number of objects and format they come.
//!
//! The SHA-256 of each row's values, as texts with their lengths, added up as numbers of 256 bits.

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use orch::TaskResult;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

const LIMBS: usize = 4;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ContentHash {
    pub(super) rows: u64,
    /// The lowest first.
    sum: [u64; LIMBS],
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
            self.add_row(&hash.finalize().into());
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn add_row(&mut self, row: &[u8; 8 * LIMBS]) {
        let mut carry = false;
        for (limb, bytes) in self.sum.iter_mut().zip(row.as_chunks().0) {
            let (sum, over) = limb.overflowing_add(u64::from_le_bytes(*bytes));
            let (sum, more) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, over || more);
        }
    }

    pub(super) fn text(&self) -> String {
        self.sum.iter().rev().fold(String::new(), |mut text, limb| {
            // Writing to a string does not fail.
            write!(text, "{limb:016x}").ok();
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    fn hash(batches: &[&[(i32, Option<&str>)]]) -> String {
        let field = |name, of| Field::new(name, of, true);
        let schema = Arc::new(Schema::new(vec![field("n", DataType::Int32), field("t", DataType::Utf8)]));
        let mut hash = ContentHash::default();
        for rows in batches {
            let numbers: Int32Array = rows.iter().map(|row| Some(row.0)).collect();
            let texts: StringArray = rows.iter().map(|row| row.1).collect();
            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(numbers), Arc::new(texts)]);
            hash.add(&batch.expect("a batch")).expect("all have texts");
        }
        hash.text()
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        let (a, b, c) = ((1, Some("a")), (2, None), (3, Some("")));
        let all = hash(&[&[a, b, c]]);
        assert_eq!(all, hash(&[&[c], &[], &[b, a]]));
        for other in
            [hash(&[&[a, b]]), hash(&[&[a, b, c, c]]), hash(&[&[a, b, (3, None)]]), hash(&[&[a, c, (2, Some("0"))]])]
        {
            assert_ne!(all, other);
        }
        assert_eq!(all.len(), 64);
    }
}
