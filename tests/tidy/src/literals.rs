//! Finds the string literals of a Rust source, so that rules about SQL ignore comments and names.

/// Returns every string literal with the line number of its start. Escapes are not decoded.
pub(crate) fn string_literals(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let step = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((start, end, next)) = string_at(rest, source[..at].chars().next_back()) {
            found.push((source[..at].matches('\n').count() + 1, &rest[start..end]));
            next
        } else if rest.starts_with('\'') {
            character_at(rest)
        } else {
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += step;
    }
    found
}

/// Returns the start and end of the content, and where to continue.
fn string_at(rest: &str, before: Option<char>) -> Option<(usize, usize, usize)> {
    if let Some(body) = rest.strip_prefix('"') {
        let end = end_of_plain(body);
        return Some((1, 1 + end, (end + 2).min(rest.len())));
    }
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let body = raw[hashes..].strip_prefix('"')?;
    let start = rest.len() - body.len();
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close).unwrap_or(body.len());
    Some((start, start + end, (start + end + close.len()).min(rest.len())))
}

fn end_of_plain(body: &str) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    body.len()
}

/// Returns the length of a character literal, which may contain a quote; a lifetime is only the tick.
fn character_at(rest: &str) -> usize {
    let body = &rest[1..];
    if body.starts_with('\\') {
        return body.get(2..).and_then(|after| after.find('\'')).map_or(1, |end| end + 4);
    }
    let width = body.chars().next().map_or(0, char::len_utf8);
    if body[width..].starts_with('\'') { width + 2 } else { 1 }
}

#[test]
fn literals_are_told_from_comments_and_characters() {
    let source = "// \"no\"\nlet a = \"one \\\" \"; let q = '\"'; let e = '\\''; fn f<'a>() {}\nlet b = r#\"two \"quoted\"\"#; /* \"no\" */ var(\"three\")";
    assert_eq!(string_literals(source), [(2, "one \\\" "), (3, "two \"quoted\""), (3, "three")]);
}
