//! Splits batches by partition. Most batches contain few partitions, so rows are grouped by a hash map with the
//! encoded partition values as keys.

use crate::error::{LakeError, LakeResult};
use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::row::{RowConverter, SortField};
use iceberg::arrow::{PartitionValueCalculator, arrow_struct_to_literal};
use iceberg::spec::{Literal, PartitionSpec, Schema, Struct};
use std::collections::HashMap;

pub(super) struct Splitter {
    calculator: PartitionValueCalculator,
}

impl Splitter {
    pub(super) fn new(schema: &Schema, spec: &PartitionSpec) -> LakeResult<Self> {
        Ok(Self { calculator: PartitionValueCalculator::try_new(spec, schema)? })
    }

    /// Returns the rows of each partition, in their original order.
    pub(super) fn split(&self, batch: &RecordBatch) -> LakeResult<Vec<(Struct, RecordBatch)>> {
        let values = self.calculator.calculate(batch)?;
        let columns = values.as_struct().columns();
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(columns)?;
        // Partitions are ordered by first appearance, so that the same input produces the same files.
        let mut groups: Vec<Vec<u32>> = vec![];
        let mut by_value: HashMap<&[u8], usize> = HashMap::new();
        let keys: Vec<_> = rows.iter().collect();
        for (row, key) in keys.iter().enumerate() {
            let group = *by_value.entry(key.as_ref()).or_insert_with(|| {
                groups.push(vec![]);
                groups.len() - 1
            });
            groups[group].push(row as u32);
        }
        if let [only] = groups.as_slice() {
            return Ok(vec![(self.partition(&values, only[0])?, batch.clone())]);
        }
        let parts = groups.into_iter().map(|group| {
            let partition = self.partition(&values, group[0])?;
            Ok((partition, take_record_batch(batch, &UInt32Array::from(group))?))
        });
        parts.collect()
    }

    fn partition(&self, values: &ArrayRef, row: u32) -> LakeResult<Struct> {
        let one = values.slice(row as usize, 1);
        match arrow_struct_to_literal(&one, self.calculator.partition_type())?.pop() {
            Some(Some(Literal::Struct(partition))) => Ok(partition),
            _ => Err(LakeError::input("a row has no partition", "this is a fault of orch: please report it")),
        }
    }
}
