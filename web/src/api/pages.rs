//! What lists share: which page, in which order, and words that must be of a known set.

use crate::extract::Query;
use crate::refusal::Refusal;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use orch_store::name_pattern::NamePattern;

/// Airflow's default.
const USUAL: i64 = 50;
/// What a cursor holds before its place.
const CURSOR: &str = "place:";
/// More is asked for page by page: Airflow's `maximum_page_limit`.
const MOST: i64 = 100;
/// Airflow's bound.
const MOST_ORDERS: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: i64,
    pub(super) offset: i64,
    /// Asked for by a cursor, so it is answered with those of its neighbours.
    by_cursor: bool,
}

impl Page {
    pub(super) fn new(limit: i64, offset: i64) -> Page {
        Page { limit: limit.min(MOST), offset, by_cursor: false }
    }

    pub(super) fn of(query: &mut Query) -> Page {
        Page::new(query.count("limit", USUAL), query.count("offset", 0))
    }

    /// Of a list that may also be asked for by `cursor`: empty for the first page, then what the answer said.
    pub(super) fn with_cursor(query: &mut Query) -> Result<Page, Refusal> {
        let page = Page::of(query);
        let Some(cursor) = query.text("cursor") else { return Ok(page) };
        let wrong = || Refusal::bad_request("Invalid cursor token: send `next_cursor` of an answer as it is");
        let offset = match cursor {
            "" => 0,
            token => {
                let bytes = BASE64.decode(token).map_err(|_| wrong())?;
                let text = String::from_utf8(bytes).map_err(|_| wrong())?;
                let place = text.strip_prefix(CURSOR).and_then(|place| place.parse::<u32>().ok());
                place.map(i64::from).ok_or_else(wrong)?
            }
        };
        Ok(Page { offset, by_cursor: true, ..page })
    }

    /// Of the next page and of the one before, where there are such.
    pub(super) fn cursors(self, total: i64) -> (Option<String>, Option<String>) {
        let token = |offset: i64| BASE64.encode(format!("{CURSOR}{offset}"));
        let next = self.offset.saturating_add(self.limit);
        let moves = self.by_cursor && self.limit > 0;
        let before = (self.offset - self.limit).max(0);
        ((moves && next < total).then(|| token(next)), (moves && self.offset > 0).then(|| token(before)))
    }

    /// How many there are, if a page that is not full says so.
    pub(super) fn total(self, found: usize) -> Option<i64> {
        let found = found as i64;
        (found < self.limit && (found > 0 || self.offset == 0)).then_some(self.offset + found)
    }
}

/// `order_by`, each with whether it descends. Both spellings are taken: repeated, and one list with commas.
pub(super) fn orders<T>(query: &Query, known: impl Fn(&str) -> Option<T>) -> Result<Vec<(T, bool)>, Refusal> {
    orders_of(query.all("order_by"), known)
}

/// The same of texts from elsewhere.
pub(super) fn orders_of<'a, T>(
    words: impl Iterator<Item = &'a str>,
    known: impl Fn(&str) -> Option<T>,
) -> Result<Vec<(T, bool)>, Refusal> {
    let words: Vec<&str> = words.flat_map(|words| words.split(',')).map(str::trim).collect();
    if words.len() > MOST_ORDERS {
        let text =
            format!("Ordering with more than {MOST_ORDERS} parameters is not allowed. Provided: {}", words.len());
        return Err(Refusal::bad_request(text));
    }
    let read = |word: &str| {
        let (name, descends) = word.strip_prefix('-').map_or((word, false), |name| (name, true));
        known(name).map(|order| (order, descends)).ok_or_else(|| {
            let name = name.chars().take(100).collect::<String>();
            let text = format!("Ordering with '{name}' is disallowed or the attribute does not exist on the model");
            Refusal::bad_request(text)
        })
    };
    words.into_iter().map(read).collect()
}

/// Words of a set, as filters take them; one that is unknown is refused with all that are known.
pub(super) fn words<T: std::str::FromStr>(
    query: &Query,
    name: &str,
    (noun, known): (&str, &[&str]),
) -> Result<Vec<T>, Refusal> {
    let read = |word: &str| {
        word.parse().map_err(|_| {
            let text = format!("Invalid value for {noun}. Valid values are {}", known.join(", "));
            Refusal::plain(StatusCode::UNPROCESSABLE_ENTITY, text)
        })
    };
    query.all(name).map(read).collect()
}

/// A pattern parameter: its alternatives, or nothing if it lets everything through.
pub(super) fn pattern(query: &Query, name: &str) -> Option<Vec<String>> {
    let text = query.text(name).filter(|text| !text.is_empty() && *text != "~")?;
    let parts: Vec<String> = text.split('|').map(str::trim).filter(|part| !part.is_empty()).map(String::from).collect();
    (!parts.is_empty() && !parts.iter().any(|part| part == "~")).then_some(parts)
}

/// The same for the beginning of a text. What is no letter or digit at its end does not count, as in Airflow.
pub(super) fn prefix_pattern(query: &Query, name: &str) -> Option<Vec<String>> {
    let parts = pattern(query, name)?;
    Some(parts.iter().map(|part| part.trim_end_matches(|c: char| !c.is_alphanumeric()).to_string()).collect())
}

/// `…_pattern` and `…_prefix_pattern` of a name.
pub(super) fn name_pattern(query: &Query, name: &str) -> NamePattern {
    NamePattern {
        contains: pattern(query, &format!("{name}_pattern")),
        begins: prefix_pattern(query, &format!("{name}_prefix_pattern")),
    }
}
