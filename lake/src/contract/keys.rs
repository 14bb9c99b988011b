//! Sets of keys, used to check uniqueness and references.
//!
//! A key is stored as a 128-bit hash; a collision among a billion keys is less likely than a memory error. Most keys
//! are integers below 2³², which are stored exactly in a bitmap with at most two bytes per key. Numbers and texts are
//! compared by value, regardless of the width of their types.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use roaring::RoaringBitmap;
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

/// Maximum number of keys in a set. More keys would take over 256 MiB, and twice that while the set grows.
pub(super) const MOST_KEYS: usize = 14_000_000;

/// Multiplier that scatters consecutive integers, which keys often are, over the hash space. It is odd, so different
/// integers have different products.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;
/// Fingerprint shared by all values that are not integers, in a set of integer keys.
const NO_NUMBER: u128 = 1 << 64;

/// The set of keys of a table, or of the rows seen so far.
#[derive(Debug, Clone)]
pub struct KeySet {
    types: Vec<DataType>,
    /// Keys that consist of a single integer below 2³².
    numbers: RoaringBitmap,
    /// 128-bit hashes of all other keys.
    prints: HashSet<u128, BuildHasherDefault<Already>>,
}

#[derive(Debug, Clone, Copy)]
enum Key {
    Number(u32),
    Print(u128),
}

impl KeySet {
    pub fn of(batches: &[RecordBatch], columns: &[&str]) -> Result<KeySet, ArrowError> {
        let mut keys = KeySet::for_columns(&[]);
        for batch in batches {
            let named = columns.iter().map(|name| {
                let missing = || ArrowError::SchemaError(format!("there is no column `{name}`"));
                batch.column_by_name(name).cloned().ok_or_else(missing)
            });
            let named = named.collect::<Result<Vec<_>, _>>()?;
            if keys.types.is_empty() {
                keys = KeySet::for_columns(&named);
            }
            keys.add(&named)?;
        }
        Ok(keys)
    }

    /// Creates an empty set for keys with the types of these columns.
    pub(super) fn for_columns(columns: &[ArrayRef]) -> KeySet {
        let types = columns.iter().map(|column| common(column.data_type())).collect();
        KeySet { types, numbers: RoaringBitmap::new(), prints: HashSet::default() }
    }

    pub fn len(&self) -> usize {
        usize::try_from(self.numbers.len()).unwrap_or(usize::MAX) + self.prints.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the keys of all rows. Rows with a null in a key column are skipped.
    pub fn add(&mut self, columns: &[ArrayRef]) -> Result<(), ArrowError> {
        for key in self.keys(columns)?.into_iter().flatten() {
            self.insert(key);
        }
        Ok(())
    }

    /// Returns the rows whose key was seen before, in this batch or an earlier one, and adds all keys to the set.
    /// Rows that are false in `asked` are skipped.
    pub(super) fn repeated(&mut self, columns: &[ArrayRef], asked: &BooleanArray) -> Result<BooleanArray, ArrowError> {
        let keys = self.keys(columns)?;
        let repeats = keys.into_iter().zip(asked.iter()).map(|(key, asked)| match key {
            Some(key) if asked == Some(true) => !self.insert(key),
            _ => false,
        });
        Ok(repeats.collect::<Vec<bool>>().into())
    }

    /// Returns the rows whose key is not in the set.
    pub(super) fn unknown(&self, columns: &[ArrayRef]) -> Result<BooleanArray, ArrowError> {
        let unknown = self.keys(columns)?.into_iter().map(|key| key.is_some_and(|key| !self.has(key)));
        Ok(unknown.collect::<Vec<bool>>().into())
    }

    /// Adds a key. Returns false if it was already in the set.
    fn insert(&mut self, key: Key) -> bool {
        match key {
            Key::Number(number) => self.numbers.insert(number),
            Key::Print(print) => self.prints.insert(print),
        }
    }

    fn has(&self, key: Key) -> bool {
        match key {
            Key::Number(number) => self.numbers.contains(number),
            Key::Print(print) => self.prints.contains(&print),
        }
    }

    /// Returns the key of each row, or `None` for a row with a null in a key column.
    fn keys(&self, columns: &[ArrayRef]) -> Result<Vec<Option<Key>>, ArrowError> {
        if self.types.len() != columns.len() {
            // The key set of an empty table has no column types and contains no keys.
            let nulls = with_null(columns);
            let rows = columns.first().map_or(0, Array::len);
            let none = |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)).then_some(Key::Number(0));
            return Ok((0..rows).map(none).collect());
        }
        let alike = columns.iter().zip(&self.types).map(|(column, of)| cast(column, of));
        let alike = alike.collect::<Result<Vec<_>, _>>()?;
        if let [DataType::Int64] = self.types[..] {
            return Ok(numbers(&columns[0], &alike[0]));
        }
        let fields = self.types.iter().map(|of| SortField::new(of.clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&alike)?;
        // Nulls are determined before the cast. A value that cannot be cast to the key type becomes null too, but
        // must count as a key that is not in the set.
        let nulls = with_null(columns);
        let print = |row: usize| {
            let whole = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            whole.then(|| Key::Print(fingerprint(rows.row(row).as_ref())))
        };
        Ok((0..rows.num_rows()).map(print).collect())
    }
}

/// Returns integer keys. `alike` contains the values of `given` as integers; values that are not integers are null.
fn numbers(given: &ArrayRef, alike: &ArrayRef) -> Vec<Option<Key>> {
    let nulls = given.logical_nulls();
    let key = |(row, number): (usize, Option<i64>)| {
        let whole = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        whole.then(|| number.map_or(Key::Print(NO_NUMBER), key_of_number))
    };
    alike.as_primitive::<Int64Type>().iter().enumerate().map(key).collect()
}

fn key_of_number(number: i64) -> Key {
    let print = || Key::Print(u128::from(number.cast_unsigned().wrapping_mul(SCATTER)));
    u32::try_from(number).map_or_else(|_| print(), Key::Number)
}

/// Returns a mask in which rows without a null in any column are valid. `None` if no row has a null.
fn with_null(columns: &[ArrayRef]) -> Option<NullBuffer> {
    let nulls = columns.iter().map(Array::logical_nulls);
    nulls.fold(None, |all, one| NullBuffer::union(all.as_ref(), one.as_ref()))
}

/// Returns the type to which keys are cast before they are compared.
fn common(of: &DataType) -> DataType {
    match of {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            DataType::Int64
        }
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Dictionary(_, values) => common(values),
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
        other => other.clone(),
    }
}

fn fingerprint(key: &[u8]) -> u128 {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write(key);
        hasher.finish()
    };
    (u128::from(half(1)) << 64) | u128::from(half(2))
}

/// Hasher for keys that are hashes already: returns the key itself.
#[derive(Debug, Clone, Default)]
struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |all, &byte| (all << 8) ^ u64::from(byte));
    }

    fn write_u128(&mut self, print: u128) {
        self.0 = print as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array, StringArray, StringViewArray};
    use std::sync::Arc;

    #[test]
    fn keys_are_compared_by_what_they_say() {
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(2), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        let mut keys = KeySet::for_columns(&[narrow.clone(), texts.clone()]);
        keys.add(&[narrow, texts]).expect("they are keys");
        assert_eq!(keys.len(), 2, "a row with a null has no key");
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), None]));
        let views: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "x", "c", "d"]));
        let unknown = keys.unknown(&[wide, views]).expect("they can be compared");
        assert_eq!(unknown, BooleanArray::from(vec![false, true, true, false]));
    }

    #[test]
    fn a_whole_number_is_found_whatever_its_type_and_what_is_none_is_not() {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(-1), Some(i64::MAX), Some(i64::MIN), None]));
        let mut keys = KeySet::for_columns(std::slice::from_ref(&ids));
        let all = BooleanArray::from(vec![true; 5]);
        assert_eq!(keys.repeated(std::slice::from_ref(&ids), &all).expect("they are keys").true_count(), 0);
        assert_eq!(keys.repeated(&[ids], &all).expect("they are keys").true_count(), 4, "a null is no key");
        let narrow: ArrayRef = Arc::new(Int32Array::from(vec![Some(0), Some(-1), Some(7), None]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["0", "-1", "seven", "1e3"]));
        for column in [narrow, texts] {
            let unknown = keys.unknown(std::slice::from_ref(&column)).expect("they can be compared");
            let expected = [false, false, true, column.is_valid(3)];
            assert_eq!(unknown, BooleanArray::from(expected.to_vec()), "{}", column.data_type());
        }
    }

    #[test]
    fn keys_in_and_out_of_the_bitmap_are_counted_and_found_once() {
        let ids = [0, 1, 1, i64::from(u32::MAX), i64::from(u32::MAX) + 1, i64::from(u32::MAX) + 1, -1, -1];
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let mut keys = KeySet::for_columns(std::slice::from_ref(&ids));
        let all = BooleanArray::from(vec![true; ids.len()]);
        let repeated = keys.repeated(std::slice::from_ref(&ids), &all).expect("they are keys");
        assert_eq!(repeated, BooleanArray::from(vec![false, false, true, false, false, true, false, true]));
        assert_eq!(keys.len(), 5);
    }

    #[test]
    fn a_table_without_rows_has_no_keys() {
        let keys = KeySet::of(&[], &["id"]).expect("nothing is wrong");
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(keys.unknown(&[ids]).expect("it can be asked"), BooleanArray::from(vec![true, false]));
    }
}
