//! Rows as text, so that tables can be compared regardless of which program writes and reads them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Rows with cells in the order of the columns; null is `None`.
pub type Rows = Vec<Vec<Option<String>>>;

/// Returns the rows of these batches, sorted.
pub fn printed(batches: &[RecordBatch]) -> Rows {
    let mut rows = Rows::new();
    for batch in batches {
        let options = FormatOptions::default();
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column.as_ref(), &options));
        let columns: Vec<_> = columns.collect::<Result<_, _>>().expect("every type of ours can be printed");
        rows.extend((0..batch.num_rows()).map(|row| {
            let cell = |(column, text): (&ArrayRef, &ArrayFormatter<'_>)| {
                (!column.is_null(row)).then(|| text.value(row).to_string())
            };
            batch.columns().iter().zip(&columns).map(cell).collect()
        }));
    }
    rows.sort();
    rows
}

/// Returns a batch of string columns. Tables convert them to the types of their columns.
pub fn batch<S: AsRef<str>>(columns: &[S], rows: &Rows) -> RecordBatch {
    let column =
        |place: usize| Arc::new(rows.iter().map(|row| row[place].as_deref()).collect::<StringArray>()) as ArrayRef;
    let columns = columns.iter().enumerate().map(|(place, name)| (name.as_ref(), column(place), true));
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

/// Parses a row like `1 Oslo -`; `-` is null.
pub fn row(text: &str) -> Vec<Option<String>> {
    text.split_whitespace().map(|cell| (cell != "-").then(|| cell.to_owned())).collect()
}
