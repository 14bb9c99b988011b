//! Maps internal errors to errors for users: the query is invalid, it is too expensive, or the lake is unavailable.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use orch_lake::LakeError as Inner;
use orch_store::lake_view::LakeError;

pub(crate) fn of_lake(error: Inner) -> LakeError {
    match error {
        Inner::NoTable { .. } => LakeError::NotFound(error.to_string()),
        Inner::Input { .. } | Inner::TableExists { .. } | Inner::Conflict { .. } => {
            LakeError::Refused(error.to_string())
        }
        other => LakeError::Unavailable(chain(&other)),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` is given")]
pub(crate) fn of_iceberg(error: iceberg::Error) -> LakeError {
    LakeError::Unavailable(chain(&error))
}

/// Maps errors of planning and execution. An unknown error is reported as an invalid query, which is nearly always
/// its cause.
pub(crate) fn of_query(error: &DataFusionError) -> LakeError {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<LakeError>() {
            Some(error) => error.clone(),
            None => LakeError::Unavailable(chain(inner.as_ref())),
        },
        DataFusionError::ResourcesExhausted(text) => LakeError::TooDear(format!(
            "the query needs more memory than there is for queries: {}\nhint: {}",
            first_line(text),
            "select fewer columns, filter more, or group by less"
        )),
        DataFusionError::ArrowError(error, _) if does_not_fit(error) => LakeError::Refused(format!(
            "a number does not fit its type: {}\nhint: compute with more digits, as in `cast(x as decimal(38, 0))`",
            first_line(&error.to_string())
        )),
        DataFusionError::ObjectStore(error) => LakeError::Unavailable(chain(error.as_ref())),
        DataFusionError::IoError(error) => LakeError::Unavailable(chain(error)),
        root => LakeError::Refused(readable(root)),
    }
}

fn does_not_fit(error: &ArrowError) -> bool {
    match error {
        ArrowError::ArithmeticOverflow(_) => true,
        ArrowError::CastError(text) | ArrowError::InvalidArgumentError(text) => {
            ["out of range", "too large to store"].iter().any(|words| text.contains(words))
        }
        _ => false,
    }
}

/// Removes details from an error message that are useful only to developers of DataFusion.
fn readable(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let text = text.split("\n\nbacktrace").next().unwrap_or(&text);
    let words = ["Error during planning: ", "Schema error: ", "SQL error: ", "Execution error: ", "Arrow error: "];
    let text = words.iter().fold(text, |text, word| text.strip_prefix(word).unwrap_or(text));
    first_lines(text)
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

const MOST_CHARS: usize = 600;

fn first_lines(text: &str) -> String {
    text.trim().chars().take(MOST_CHARS).collect()
}

/// Joins an error and its causes into one message, outermost error first.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = first_lines(&error.to_string());
    let mut next = error.source();
    while let Some(cause) = next {
        let said = first_lines(&cause.to_string());
        if !words.ends_with(&said) {
            words = format!("{words}: {said}");
        }
        next = cause.source();
    }
    words
}

/// Wraps an error so that it passes through DataFusion unchanged.
pub(crate) fn inside(error: LakeError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
