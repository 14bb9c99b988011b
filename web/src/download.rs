//! Streams the rows of a query as a file: CSV, JSON, or JSON lines.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream::try_unfold;
use orch_store::lake_view::{Chunk, QueryRows, ResultColumn, csv_head, csv_line, escape_formulas, row_object};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Csv,
    /// CSV for a spreadsheet: texts that it would run as formulas are escaped.
    SafeCsv,
    /// A JSON array of objects.
    Json,
    /// One JSON object per line.
    JsonLines,
}

impl Form {
    /// Returns `None` if the format is not a file.
    pub(crate) fn of(word: &str) -> Option<Form> {
        match word {
            "csv" => Some(Form::Csv),
            "safe_csv" => Some(Form::SafeCsv),
            "jsonl" => Some(Form::JsonLines),
            _ => None,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Form::Csv | Form::SafeCsv => "text/csv; charset=utf-8",
            Form::Json => "application/json",
            Form::JsonLines => "application/x-ndjson",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Form::Csv | Form::SafeCsv => "query.csv",
            Form::Json => "query.json",
            Form::JsonLines => "query.jsonl",
        }
    }

    fn begin(self, columns: &[ResultColumn]) -> String {
        match self {
            Form::Csv | Form::SafeCsv => csv_head(columns),
            Form::Json => "[".into(),
            Form::JsonLines => String::new(),
        }
    }

    fn rows(self, columns: &[ResultColumn], chunk: Chunk, first: bool) -> String {
        let mut text = String::new();
        for (place, mut row) in chunk.into_iter().enumerate() {
            match self {
                Form::Csv => text.push_str(&csv_line(&row)),
                Form::SafeCsv => {
                    escape_formulas(&mut row);
                    text.push_str(&csv_line(&row));
                }
                Form::JsonLines => {
                    text.push_str(&row_object(columns, row).to_string());
                    text.push('\n');
                }
                Form::Json => {
                    text.push_str(if first && place == 0 { "\n" } else { ",\n" });
                    text.push_str(&row_object(columns, row).to_string());
                }
            }
        }
        text
    }

    fn end(self) -> &'static str {
        if self == Form::Json { "\n]\n" } else { "" }
    }
}

enum At {
    Head,
    Rows { first: bool },
    Over,
}

/// Streams the rows. If the query fails, the response is aborted, so that clients do not mistake a partial file for a
/// complete one.
pub(crate) fn stream(rows: impl QueryRows + 'static, form: Form) -> Response {
    let pieces = try_unfold((rows, At::Head), move |(mut rows, at)| async move {
        let (text, at) = match at {
            At::Over => return Ok::<_, std::io::Error>(None),
            At::Head => (form.begin(rows.columns()), At::Rows { first: true }),
            At::Rows { first } => match rows.next().await.map_err(std::io::Error::other)? {
                None => (form.end().into(), At::Over),
                Some(chunk) => {
                    let first_left = first && chunk.is_empty();
                    (form.rows(rows.columns(), chunk, first), At::Rows { first: first_left })
                }
            },
        };
        Ok(Some((Bytes::from(text), (rows, at))))
    });
    let file = HeaderValue::from_str(&format!("attachment; filename=\"{}\"", form.name()));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(form.kind())),
        (header::CONTENT_DISPOSITION, file.unwrap_or(HeaderValue::from_static("attachment"))),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}
