//! Templates of notifiers: text with a small set of fields in braces. A template is never evaluated: a field is only a
//! name.

/// Valid names of fields.
pub const FIELDS: [&str; 24] = [
    "kind",
    "dag_id",
    "run_id",
    "task_id",
    "map_index",
    "count",
    "try_number",
    "state",
    "reason",
    "asset",
    "logical_date",
    "at",
    "key",
    "link",
    // Number of failed tasks of a failed run.
    "failed_tasks",
    // Fields of a stopped stream.
    "stream",
    "topic",
    "records",
    "command",
    // Fields of a question.
    "subject",
    "body",
    "options",
    "asked",
    "deadline",
];

/// Rejects an invalid template with the reason.
pub fn check_template(template: &str) -> Result<(), String> {
    filled(template, |field| FIELDS.contains(&field).then(String::new)).map(drop)
}

/// Replaces fields in braces by their values. `{{` and `}}` are escaped braces.
pub fn filled(template: &str, field: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("{{").or_else(|| from.strip_prefix("}}")) {
            text.push_str(&from[..1]);
            rest = after;
        } else if let Some((name, after)) = from.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            text.push_str(&field(name).ok_or_else(|| format!("`{{{name}}}` is no field of an alert"))?);
            rest = after;
        } else {
            return Err(format!("a `{}` stands alone: write it twice", &from[..1]));
        }
    }
    Ok(text + rest)
}
