//! Computes the size of each row of a column in bytes. Parts of shared buffers that belong to other rows are not
//! counted.

use arrow::array::{Array, AsArray as _, OffsetSizeTrait};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;

/// Size of the offset or view that each value of variable length needs, in bytes.
const BESIDES: u64 = 4;

pub(crate) fn row_bytes(array: &dyn Array) -> Vec<u64> {
    match array.data_type() {
        DataType::Utf8 => lengths(array.as_string::<i32>().offsets()),
        DataType::LargeUtf8 => lengths(array.as_string::<i64>().offsets()),
        DataType::Binary => lengths(array.as_binary::<i32>().offsets()),
        DataType::LargeBinary => lengths(array.as_binary::<i64>().offsets()),
        DataType::Utf8View => array.as_string_view().views().iter().map(|view| viewed(*view)).collect(),
        DataType::BinaryView => array.as_binary_view().views().iter().map(|view| viewed(*view)).collect(),
        DataType::List(_) => sums(array.as_list::<i32>().offsets(), array.as_list::<i32>().values().as_ref()),
        DataType::LargeList(_) => sums(array.as_list::<i64>().offsets(), array.as_list::<i64>().values().as_ref()),
        DataType::Map(..) => sums(array.as_map().offsets(), array.as_map().entries()),
        DataType::FixedSizeList(_, count) => {
            let count = usize::try_from(*count).unwrap_or_default();
            let items = row_bytes(array.as_fixed_size_list().values().as_ref());
            (0..array.len()).map(|row| items.iter().skip(row * count).take(count).sum()).collect()
        }
        DataType::Struct(_) => {
            let mut rows = vec![0; array.len()];
            for column in array.as_struct().columns() {
                rows.iter_mut().zip(row_bytes(column.as_ref())).for_each(|(row, bytes)| *row += bytes);
            }
            rows
        }
        other => {
            let width = other.primitive_width().unwrap_or(size_of::<u128>());
            vec![width as u64; array.len()]
        }
    }
}

/// Returns the length of a value from its Arrow view, whose low 32 bits contain it.
fn viewed(view: u128) -> u64 {
    u64::from(view as u32) + BESIDES
}

fn lengths<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> Vec<u64> {
    offsets.lengths().map(|length| length as u64 + BESIDES).collect()
}

fn sums<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, items: &dyn Array) -> Vec<u64> {
    let items = row_bytes(items);
    let lists = offsets.windows(2).map(|pair| (pair[0].as_usize(), pair[1].as_usize()));
    lists.map(|(from, to)| items[from..to].iter().sum::<u64>() + BESIDES).collect()
}
