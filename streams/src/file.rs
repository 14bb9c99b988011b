//! Converts the content of a stream file to a [`Stream`], or returns the problems that prevent it.

use crate::declare::{CommitAt, Start, Stream};
use crate::runs::Runs;
use crate::{Capture, Changes, OFFSET, PARTITION, Windows};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use iceberg::spec::{PrimitiveType, Transform};
use orch_document::folder::problem_of_file;
use orch_document::stream::{self as said, FieldType, Measure, Policy, StreamFile, argument};
use orch_lake::contract::{self, Contract};
use orch_lake::{TableDef, TableName};
use orch_lake_sql::RowExpressions;
use orch_spec::check::FileProblem;
use orch_spec::text::clean_json;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

const HINT: &str = "see the guide of streams";
/// Columns that windows add to the table.
const OF_WINDOWS: [&str; 2] = ["window_start", "window_end"];

impl Stream {
    /// Parses a stream in YAML or JSON. If the document has no `name`, the stream is named after `file`.
    ///
    /// # Errors
    /// Returns all problems of the document.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Stream, Vec<FileProblem>> {
        let said = StreamFile::read(file, bytes)?;
        let made = made_of(&said).and_then(|stream| stream.check().map(|()| stream)).and_then(storable);
        made.map_err(|text| vec![problem_of_file(file, &text, HINT)])
    }
}

/// Returns an error if the database row of the stream cannot be stored. All streams of a folder are registered by one
/// statement, so one such row would block the others.
fn storable(stream: Stream) -> Result<Stream, String> {
    match clean_json(&stream.registered().spec.to_string()) {
        Cow::Owned(_) => Err("a text has a NUL character, which Postgres does not store".into()),
        Cow::Borrowed(_) => Ok(stream),
    }
}

/// Returns the fields of the registered spec that describe the expressions of a stream file in the UI.
pub(crate) fn expression_fields(written: &Value) -> Vec<(&'static str, Value)> {
    let columns = written["columns"].as_array().into_iter().flatten();
    let columns: Vec<String> =
        columns.filter_map(|column| Some(format!("{} = {}", column[0].as_str()?, column[1].as_str()?))).collect();
    let columns = (!columns.is_empty()).then(|| columns.into());
    let kept = (!written["where"].is_null()).then(|| written["where"].clone());
    [("columns", columns), ("where", kept)].into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn made_of(said: &StreamFile) -> Result<Stream, String> {
    let mut stream = Stream::new(&said.name).describe(&said.description);
    stream.written = serde_json::to_value(said).ok();
    if let Some(connection) = &said.connection {
        stream = stream.at(connection);
    }
    if let Some(every) = said.commit_every {
        stream = stream.commit_at(CommitAt { every, ..CommitAt::default() });
    }
    if said.paused {
        stream = stream.paused();
    }
    stream = said.on_failure.iter().cloned().fold(stream, Stream::on_failure);
    if let Some(captured) = &said.capture {
        return Ok(stream.capture(capture(captured, said.partitions)?));
    }
    stream = stream.topic(&said.topic).partitions(whole(said.partitions.unwrap_or(1), "partitions")?);
    if let Some(many) = said.shares {
        stream = stream.shares(whole(many, "shares")?);
    }
    stream = stream.start(match said.start {
        said::Start::Earliest => Start::Earliest,
        said::Start::Latest => Start::Latest,
    });
    let record: SchemaRef = Arc::new(Schema::new(fields(&said.fields)));
    stream = match said.changes {
        Some(changes) => stream.changes(changes_of(record.clone(), changes, said.ignore_unknown_fields)),
        None => stream.json(record.clone()),
    };
    if said.ignore_unknown_fields {
        stream = stream.ignore_unknown_fields();
    }
    if said.numbers_as_text {
        stream = stream.numbers_as_text();
    }
    if let Some(runs) = &said.runs {
        let per = match runs.per {
            said::Per::Record => Runs::PerRecord,
            said::Per::Batch => Runs::PerBatch,
            said::Per::Key => Runs::PerKey,
        };
        stream = stream.start_runs(&runs.dag, per);
        return Ok(runs.most_open.into_iter().fold(stream, Stream::most_open_runs));
    }
    let (stream, rows) = with_expressions(stream, said, record)?;
    let stream = with_contract(stream, said, &rows)?;
    let (stream, table) = match &said.windows {
        Some(windows) => (stream.windows(windows_of(windows)), of_windows(windows, &rows)?),
        None => (stream, rows),
    };
    into_table(stream, said, &table)
}

/// Adds the computed columns and the filter condition to the stream. Returns it with the resulting row schema.
fn with_expressions(stream: Stream, said: &StreamFile, record: SchemaRef) -> Result<(Stream, SchemaRef), String> {
    if said.columns.is_empty() && said.filter.is_none() {
        return Ok((stream, record));
    }
    let of_rows = match said.changes {
        Some(changes) => Arc::new(changes_of(record.clone(), changes, false).schema()),
        None => record.clone(),
    };
    let mut columns = said.columns.clone();
    if columns.is_empty() {
        let names = record.fields().iter().map(|field| field.name().clone());
        columns = names.map(|name| (name.clone(), format!("\"{}\"", name.replace('"', "\"\"")))).collect();
    }
    let expressions =
        RowExpressions::new(&of_rows, &columns, said.filter.as_deref()).map_err(|error| error.to_string())?;
    let rows = expressions.schema().clone();
    let mut beside = vec![PARTITION.to_owned(), OFFSET.to_owned()];
    // The metadata columns of the change, such as `__op`, are kept in addition to the computed columns.
    let of_change = of_rows.fields().iter().map(|field| field.name().clone());
    beside.extend(of_change.filter(|name| name.starts_with("__") && rows.field_with_name(name).is_err()));
    let stream = stream.transform(move |batch| {
        let beside: Vec<&str> = beside.iter().map(String::as_str).collect();
        Ok(expressions.of(&batch, &beside)?)
    });
    Ok((stream, rows))
}

fn into_table(mut stream: Stream, said: &StreamFile, rows: &SchemaRef) -> Result<Stream, String> {
    if let Some(from) = &said.snapshot_from {
        stream = stream.snapshot_from(&from.connection, &from.table);
    }
    if said.delete_on_tombstone {
        stream = stream.delete_on_tombstone();
    }
    let of_windows = said.windows.as_ref().map(|windows| {
        let by = windows.by.iter().map(String::as_str);
        by.chain([OF_WINDOWS[0]]).collect::<Vec<_>>()
    });
    let key = of_windows.unwrap_or_else(|| said.key.iter().map(String::as_str).collect());
    let newest_by = said.newest_by.as_deref();
    key.iter().try_for_each(|name| find(rows, name, "key").map(drop))?;
    newest_by.iter().try_for_each(|name| find(rows, name, "newest_by").map(drop))?;
    if let Some(table) = &said.postgres {
        return Ok(match (key.is_empty(), said.changes.is_some()) {
            (true, _) => stream.append_postgres(&table.connection, &table.table),
            (false, true) => stream.mirror_postgres(&table.connection, &table.table, &key),
            (false, false) => stream.upsert_postgres(&table.connection, &table.table, &key, newest_by),
        });
    }
    let name: TableName =
        said.table.as_deref().unwrap_or_default().parse().map_err(|error| format!("`table`: {error}"))?;
    let mut definition = TableDef::of(rows).map_err(|error| error.to_string())?.key(key.clone());
    if said.changes.is_some() && key.is_empty() {
        definition = with_what_was_done(definition, rows);
    }
    for text in &said.partition_by {
        let (column, transform) = partition(text)?;
        find(rows, &column, "partition_by")?;
        definition = definition.partition(&column, transform);
    }
    said.sort_by.iter().try_for_each(|name| find(rows, name, "sort_by").map(drop))?;
    definition = definition.sorted(said.sort_by.clone());
    for (property, value) in &said.properties {
        definition = definition.property(property, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    Ok(match (key.is_empty(), said.changes.is_some()) {
        (true, _) => stream.append(name, definition),
        (false, true) => stream.mirror(name, definition, &key),
        (false, false) => stream.upsert(name, definition, &key, newest_by),
    })
}

/// Adds the change's operation, time, table and position as columns to a table that stores every change.
fn with_what_was_done(definition: TableDef, rows: &SchemaRef) -> TableDef {
    let columns = [
        (crate::OP, PrimitiveType::String),
        (crate::EVENT_TS, PrimitiveType::Timestamptz),
        (crate::SOURCE_TABLE, PrimitiveType::String),
        (crate::POSITION, PrimitiveType::String),
    ];
    let missing = columns.into_iter().filter(|(name, _)| rows.field_with_name(name).is_err());
    missing.fold(definition, |definition, (name, of)| definition.optional(name, of))
}

fn with_contract(stream: Stream, said: &StreamFile, rows: &SchemaRef) -> Result<Stream, String> {
    if said.contract.is_empty() {
        return Ok(stream);
    }
    let mut contract = Contract::of(uri(said)).key(said.key.clone());
    for check in &said.contract {
        let ranged = check.between.iter().map(|between| &between.column);
        let named = ranged.chain(check.fresh.iter().map(|fresh| &fresh.column)).chain(&check.not_null);
        named.chain(&check.unique).try_for_each(|name| find(rows, name, "contract").map(drop))?;
        let usual = if check.fresh.is_some() { Policy::Warn } else { Policy::Quarantine };
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        contract = match check {
            said::Check { between: Some(between), .. } => match (&between.least, &between.most) {
                (Some(least), Some(most)) => contract.between(&between.column, text(least), text(most)),
                (Some(least), None) => contract.at_least(&between.column, text(least)),
                (None, Some(most)) => contract.at_most(&between.column, text(most)),
                (None, None) => {
                    let column = &between.column;
                    return Err(format!("`between` of `{column}` has no bound\nhint: write `least`, `most`, or both"));
                }
            },
            said::Check { fresh: Some(fresh), .. } => {
                contract.fresh(&fresh.column, fresh.within.unwrap_or(Duration::ZERO))
            }
            check if !check.unique.is_empty() => contract.unique(check.unique.clone()),
            check => contract.not_null(check.not_null.clone()),
        };
        contract = contract.or(match check.or.unwrap_or(usual) {
            Policy::Quarantine => contract::Policy::Quarantine,
            Policy::Warn => contract::Policy::Warn,
            Policy::Fail => contract::Policy::Fail,
        });
    }
    Ok(stream.contract(contract))
}

fn uri(said: &StreamFile) -> String {
    match (&said.postgres, &said.table) {
        (Some(table), _) => format!("postgres://{}", table.table.replacen('.', "/", 1)),
        (None, table) => format!("lake://{}", table.as_deref().unwrap_or_default().replacen('.', "/", 1)),
    }
}

fn windows_of(said: &said::Windows) -> Windows {
    let hopping = said.hopping.and_then(|hopping| hopping.size.zip(hopping.every));
    let windows = match (said.tumbling, hopping, said.session) {
        (Some(size), _, _) => Windows::tumbling(size),
        (_, Some((size, every)), _) => Windows::hopping(size, every),
        (_, _, gap) => Windows::session(gap.unwrap_or(Duration::ZERO)),
    };
    let by: Vec<&str> = said.by.iter().map(String::as_str).collect();
    let windows = windows.by(&by).at(&said.at).allow_late(said.allow_late.unwrap_or(Duration::ZERO));
    said.measures.iter().fold(windows, |windows, (name, measure)| match measure {
        Measure::Count => windows.count(name),
        Measure::Sum(of) => windows.sum(of, name),
        Measure::Average(of) => windows.average(of, name),
        Measure::Least(of) => windows.least(of, name),
        Measure::Greatest(of) => windows.greatest(of, name),
    })
}

/// Returns the schema of the table that stores the windows.
fn of_windows(said: &said::Windows, rows: &SchemaRef) -> Result<SchemaRef, String> {
    let find = |name: &str| find(rows, name, "windows");
    let mut fields = said.by.iter().map(|name| find(name).cloned()).collect::<Result<Vec<_>, _>>()?;
    find(&said.at)?;
    fields.extend(OF_WINDOWS.map(|name| Field::new(name, timestamp(), true)));
    for (name, measure) in &said.measures {
        let data = match measure {
            Measure::Count => DataType::Int64,
            Measure::Sum(of) | Measure::Average(of) | Measure::Least(of) | Measure::Greatest(of) => {
                find(of)?;
                DataType::Float64
            }
        };
        fields.push(Field::new(name, data, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn capture(said: &said::Capture, partitions: Option<u32>) -> Result<Capture, String> {
    let is_postgres = said.database == said::Database::Postgres;
    let foreign = [
        ("slot", said.slot.is_some() && !is_postgres),
        ("publication", said.publication.is_some() && !is_postgres),
        ("snapshot_by_mirrors", said.snapshot_by_mirrors && !is_postgres),
        ("server_id", said.server_id.is_some() && is_postgres),
        ("leave_out", !said.leave_out.is_empty() && is_postgres),
    ];
    if let Some((key, _)) = foreign.into_iter().find(|(_, is_there)| *is_there) {
        return Err(format!("`{key}` does not belong to this kind of database\nhint: leave it out"));
    }
    let of = if is_postgres { Capture::postgres } else { Capture::mysql };
    let mut capture = of(said.connection.clone()).tables(said.tables.iter().map(String::as_str));
    capture = said.topics.iter().fold(capture, Capture::topics);
    capture = said.slot.iter().fold(capture, Capture::slot);
    capture = said.publication.iter().fold(capture, Capture::publication);
    capture = said.server_id.into_iter().fold(capture, Capture::server_id);
    if said.snapshot_by_mirrors {
        capture = capture.snapshot_by_mirrors();
    }
    if let Some(many) = partitions {
        capture = capture.partitions(whole(many, "partitions")?);
    }
    Ok(said.leave_out.iter().fold(capture, |capture, (table, columns)| capture.leave_out(table, columns.0.clone())))
}

fn changes_of(record: SchemaRef, said: said::Changes, ignores_unknown: bool) -> Changes {
    let mut changes = Changes::of(record);
    if said.decimals_as_bytes {
        changes = changes.decimals_as_bytes();
    }
    if said.times_in_milliseconds {
        changes = changes.times_in_milliseconds();
    }
    if ignores_unknown { changes.ignore_unknown_columns() } else { changes }
}

fn fields(said: &[(String, FieldType)]) -> Vec<Field> {
    said.iter().map(|(name, of)| Field::new(name, data_type(of), true)).collect()
}

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
}

fn data_type(said: &FieldType) -> DataType {
    match said {
        FieldType::Text => DataType::Utf8,
        FieldType::Integer => DataType::Int64,
        FieldType::Number => DataType::Float64,
        FieldType::Decimal(precision, scale) => DataType::Decimal128(*precision, *scale),
        FieldType::Boolean => DataType::Boolean,
        FieldType::Date => DataType::Date32,
        FieldType::Timestamp => timestamp(),
        FieldType::LocalTimestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        FieldType::List(inner) => DataType::List(Arc::new(Field::new("element", data_type(inner), true))),
        FieldType::Object(inner) => DataType::Struct(fields(inner).into()),
    }
}

/// Parses a partition expression: `day(ts)`, `bucket(16, id)` or a column name.
fn partition(text: &str) -> Result<(String, Transform), String> {
    let numbered = |name: &str, of: fn(u32) -> Transform| {
        let (number, column) = argument(text, name)?.split_once(',')?;
        Some((column.trim().to_owned(), of(number.trim().parse().ok().filter(|number| *number > 0)?)))
    };
    let plain =
        [("year", Transform::Year), ("month", Transform::Month), ("day", Transform::Day), ("hour", Transform::Hour)];
    let mut dated =
        plain.into_iter().filter_map(|(name, transform)| Some((argument(text, name)?.to_owned(), transform)));
    if let Some(found) = numbered("bucket", Transform::Bucket)
        .or_else(|| numbered("truncate", Transform::Truncate))
        .or_else(|| dated.next())
    {
        return Ok(found);
    }
    if text.contains('(') {
        let hint =
            "write a column, or `year`, `month`, `day` or `hour` of one, `bucket(16, id)` or `truncate(4, name)`";
        return Err(format!("`partition_by` does not know `{text}`\nhint: {hint}"));
    }
    Ok((text.trim().to_owned(), Transform::Identity))
}

/// Returns the column `name`. `key` is the key in the file that refers to the column, for the error message.
fn find<'a>(rows: &'a Schema, name: &str, key: &str) -> Result<&'a Field, String> {
    rows.field_with_name(name).map_err(|_| {
        let names: Vec<String> = rows.fields().iter().map(|field| format!("`{}`", field.name())).collect();
        format!("the rows have no column `{name}`, which `{key}` names\nhint: the columns are {}", names.join(", "))
    })
}

fn whole<T: TryFrom<u32>>(many: u32, key: &str) -> Result<T, String> {
    T::try_from(many).map_err(|_| format!("`{key}` is too large: {many}\nhint: write a smaller number"))
}

#[cfg(test)]
mod tests;
