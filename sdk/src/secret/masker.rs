//! Masks secrets in text.
//!
//! Finds each secret plain, in hex of either case and in base64 at any offset, each also behind up to three layers of
//! escapes (URLs, forms, JSON, debug output, HTML). Each batch of secrets is searched in a single pass. Adding a secret
//! is cheap because batches are merged like the digits of a binary counter.

use super::MASK;
use super::forms::{self, SecretForm};
use super::views::{Escapes, View};
use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Minimum length of a secret in characters. Shorter ones appear in many ordinary words.
const SHORTEST_SECRET: usize = 3;
/// Minimum length of a line of a multi-line secret (such as a private key) that is also masked alone.
const SHORTEST_LINE: usize = 8;
/// Words that are never masked, although some users put them where a secret belongs. A log with these words masked
/// would be unreadable.
const TRIVIAL: [&str; 10] = ["airflow", "orch", "postgres", "root", "admin", "user", "true", "false", "null", "none"];
/// Maximum number of nested escapes, such as JSON in a URL in JSON.
const DEEPEST: usize = 3;

/// A set of secrets to mask. Cloning is cheap, and an empty masker costs nothing.
#[derive(Clone, Default)]
pub struct Masker {
    parts: Vec<Arc<SecretBatch>>,
}

/// Some of the secrets, with the automaton that finds them. The masker merges small batches into larger ones, so adding
/// a secret does not rebuild the automaton for all of them.
struct SecretBatch {
    secrets: BTreeSet<String>,
    finder: AhoCorasick,
    kinds: Vec<SecretForm>,
}

impl Masker {
    pub fn of<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Self {
        Masker::default().with(secrets)
    }

    /// Returns a masker that also masks these secrets. Strings that are too short and trivial words are ignored.
    #[must_use]
    pub fn with<S: AsRef<str>>(&self, secrets: impl IntoIterator<Item = S>) -> Self {
        let mut new = BTreeSet::new();
        for secret in secrets {
            let secret = secret.as_ref();
            let whole = [secret, secret.trim()];
            let lines = secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
            new.extend(
                whole.into_iter().chain(lines).filter(|text| is_secret(text) && !self.knows(text)).map(String::from),
            );
        }
        if new.is_empty() {
            return self.clone();
        }
        let mut parts = self.parts.clone();
        while let Some(last) = parts.pop_if(|last| last.secrets.len() <= 2 * new.len()) {
            new.extend(last.secrets.iter().cloned());
        }
        parts.push(Arc::new(SecretBatch::of(new)));
        Masker { parts }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub fn knows(&self, secret: &str) -> bool {
        self.parts.iter().any(|part| part.secrets.contains(secret))
    }

    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.secrets.len()).sum()
    }

    /// Returns the text with `***` in place of every secret.
    pub fn mask<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut found = Vec::new();
        self.find_secrets(&View::of(text), &mut found, DEEPEST);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|range| (range.start, range.end));
        let (mut masked, mut end) = (String::with_capacity(text.len()), 0);
        for (number, range) in found.into_iter().enumerate() {
            // Extend to character boundaries: an escape may encode only some bytes of a character.
            let range = text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end);
            if number == 0 || range.start > end {
                masked.push_str(&text[end..range.start]);
                masked.push_str(MASK);
            }
            end = end.max(range.end);
        }
        masked.push_str(&text[end..]);
        Cow::Owned(masked)
    }

    /// Masks all strings, numbers and keys of a JSON value.
    pub fn mask_value(&self, value: &mut Value) {
        match value {
            _ if self.is_empty() => {}
            Value::String(text) => {
                if let Cow::Owned(masked) = self.mask(text) {
                    *text = masked;
                }
            }
            Value::Number(number) => {
                if let Cow::Owned(masked) = self.mask(&number.to_string()) {
                    *value = Value::String(masked);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_value(item)),
            Value::Object(fields) => self.mask_fields(fields),
            Value::Bool(_) | Value::Null => {}
        }
    }

    pub fn mask_fields(&self, fields: &mut Map<String, Value>) {
        if self.is_empty() {
            return;
        }
        let named: Vec<String> =
            fields.keys().filter(|name| matches!(self.mask(name), Cow::Owned(_))).cloned().collect();
        for name in named {
            if let Some(value) = fields.remove(&name) {
                fields.insert(self.mask(&name).into_owned(), value);
            }
        }
        fields.values_mut().for_each(|value| self.mask_value(value));
    }

    /// Finds secrets in a text and in its decoded forms.
    fn find_secrets(&self, view: &View<'_>, found: &mut Vec<Range<usize>>, deeper: usize) {
        for part in &self.parts {
            for hit in part.finder.find_overlapping_iter(&*view.text) {
                let range = part.kinds[hit.pattern().as_usize()].whole(&view.text, hit.range());
                found.push(view.origin(range));
            }
        }
        if deeper > 0 {
            for escapes in Escapes::ALL {
                if let Some(undone) = view.undo(escapes) {
                    self.find_secrets(&undone, found, deeper - 1);
                }
            }
        }
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masker({} secrets)", self.len())
    }
}

fn is_secret(text: &str) -> bool {
    text.chars().count() >= SHORTEST_SECRET
        && !TRIVIAL.iter().any(|word| text.eq_ignore_ascii_case(word))
        && text.chars().any(|letter| letter != '*')
}

impl SecretBatch {
    fn of(secrets: BTreeSet<String>) -> Self {
        let forms: Vec<_> = secrets.iter().flat_map(|secret| forms::of(secret)).collect();
        let builder = || AhoCorasick::builder().match_kind(MatchKind::Standard).build(forms.iter().map(|form| &form.0));
        let finder = builder().expect("secrets are far from filling an automaton");
        SecretBatch { kinds: forms.into_iter().map(|(_, kind)| kind).collect(), secrets, finder }
    }
}

impl SecretForm {
    /// Extends a match by the base64 characters that it shares with its neighbors, and by the padding.
    fn whole(self, text: &[u8], range: Range<usize>) -> Range<usize> {
        let SecretForm::Base64 { begins_inside, ends_inside } = self else { return range };
        let is_code =
            |at: usize| text.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte));
        let Range { mut start, mut end } = range;
        if begins_inside && start > 0 && is_code(start - 1) {
            start -= 1;
        }
        if ends_inside && is_code(end) {
            end += 1;
        }
        while text.get(end) == Some(&b'=') {
            end += 1;
        }
        start..end
    }
}
