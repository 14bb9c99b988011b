//! Hostile values for bodies, files and forms: text that Postgres cannot store, numbers that no type or parser can
//! hold, very long and deeply nested values.

use crate::client::encoded_bytes;
use orch_test_support::rng::Rng;
use serde_json::{Value, json};

const LONG_BYTES: usize = 10 << 20;
const DEPTH: usize = 10_000;
const MARKER: &str = "here it is";

/// Text that is valid in JSON, so that it gets past the parser.
const TEXTS: [&str; 20] = [
    "",
    " ",
    "\0",
    "a\0b",
    "\u{202e}\u{1}\u{feff}",
    "\u{1b}[2J",
    "../../../etc/passwd",
    "%00%2e%2e%2f",
    "'; drop table dag; --",
    "{{ var.secret }}",
    "{{ upstream.a.output | default(",
    "$(kill -9 $PPID)",
    "<script>alert(1)</script>",
    "+262000-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:60Z",
    "1e400",
    "NaN",
    "-9223372036854775809",
    "~",
];

/// Text that is not JSON, or JSON that no program can represent.
const RAW: [&str; 30] = [
    r#""\ud800""#,
    r#""\udfff\ud800""#,
    r#"{"a\u0000":1}"#,
    r#"{"\ud800":1}"#,
    r#"["\u0000"]"#,
    r#"{"a":1,"a":2}"#,
    "null",
    "true",
    "[]",
    "{}",
    "1e400",
    "-1e400",
    "1e-400",
    "1e308",
    "1e999999999",
    "0.1e-999999999",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "2147483648",
    "-2147483649",
    "-1",
    "-0.0",
    "0.5",
    "NaN",
    "-Infinity",
    "{",
    "\u{1}",
];

/// A source of values that are all hostile or all ordinary.
#[derive(Debug)]
pub(crate) struct Values {
    pub(crate) rng: Rng,
    pub(crate) are_hostile: bool,
}

impl Values {
    /// Returns the bytes of a JSON value. Hostile ones may be invalid JSON or invalid UTF-8.
    pub(crate) fn json(&mut self) -> Vec<u8> {
        if !self.are_hostile {
            let good = [json!("a"), json!(1), json!([1, 2]), json!({ "a": "b" }), json!(0.5), json!(true)];
            return self.rng.pick(&good).to_string().into_bytes();
        }
        match self.rng.below(20) {
            0..8 => self.rng.pick(&RAW).as_bytes().to_vec(),
            8..14 => json!(self.rng.pick(&TEXTS)).to_string().into_bytes(),
            14 => b"\"\xed\xa0\x80\xff\"".to_vec(),
            15 => self.deep(),
            16 => [b"1".repeat(400), b".5".to_vec()].concat(),
            17 => json!(self.noise()).to_string().into_bytes(),
            18 => self.wide(),
            _ if self.rng.one_in(3) => [b"\"".to_vec(), vec![b'x'; LONG_BYTES], b"\"".to_vec()].concat(),
            _ => {
                let parts = [self.json(), self.json()];
                [&b"["[..], &parts[0], b",", &parts[1], b"]"].concat()
            }
        }
    }

    /// Returns the bytes of a text.
    pub(crate) fn text(&mut self) -> Vec<u8> {
        if !self.are_hostile {
            let good = ["a", "1", "orders", "2026-01-01", "true"];
            return self.rng.pick(&good).as_bytes().to_vec();
        }
        match self.rng.below(12) {
            0..7 => self.rng.pick(&TEXTS).as_bytes().to_vec(),
            7 => b"\xed\xa0\x80\xff".to_vec(),
            8 => self.noise().into_bytes(),
            9 => self.deep(),
            10 if self.rng.one_in(4) => vec![b'x'; LONG_BYTES],
            _ => self.json(),
        }
    }

    /// Returns a part of a path. It is short because servers reject long paths.
    pub(crate) fn path_part(&mut self) -> String {
        let mut text = self.text();
        text.truncate(300);
        if text.is_empty() { "a".into() } else { encoded_bytes(&text) }
    }

    /// Returns text that does not compress and is longer than an index entry or a name may be.
    fn noise(&mut self) -> String {
        let bytes = *self.rng.pick(&[250, 2_000, 4_000, 100_000]);
        let letters = b"0123456789abcdefghijklmnopqrstuvwxyz";
        (0..bytes).map(|_| char::from(*self.rng.pick(letters))).collect()
    }

    fn deep(&mut self) -> Vec<u8> {
        let levels = *self.rng.pick(&[60, 100, 130, DEPTH]);
        let (open, close) = if self.rng.one_in(2) { ("[", "]") } else { (r#"{"a":"#, "}") };
        [open.repeat(levels), "1".into(), close.repeat(levels)].concat().into_bytes()
    }

    fn wide(&mut self) -> Vec<u8> {
        if self.rng.one_in(2) {
            return [&b"["[..], "0,".repeat(50_000).as_bytes(), b"0]"].concat();
        }
        let fields: Vec<String> = (0..10_000).map(|n| format!("\"k{n}\":{n}")).collect();
        format!("{{{}}}", fields.join(",")).into_bytes()
    }

    /// Replaces one value in a body. Ordinary values leave it unchanged.
    pub(crate) fn spoil(&mut self, right: &Value) -> Vec<u8> {
        if !self.are_hostile {
            return right.to_string().into_bytes();
        }
        if self.rng.one_in(20) {
            return self.json();
        }
        let mut pointers = Vec::new();
        collect_pointers(right, "", &mut pointers);
        if pointers.is_empty() {
            return self.json();
        }
        let (pointer, mut marked): (&String, Value) = (self.rng.pick(&pointers), right.clone());
        *marked.pointer_mut(pointer).expect("it was collected") = json!(MARKER);
        let marked = marked.to_string();
        let (before, after) = marked.split_once(&format!("\"{MARKER}\"")).expect("it was put there");
        [before.as_bytes(), &self.json(), after.as_bytes()].concat()
    }
}

fn collect_pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    let mut add = |key: &str, value: &Value| {
        let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(pointer.clone());
        collect_pointers(value, &pointer, found);
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| add(key, value)),
        Value::Array(list) => list.iter().enumerate().for_each(|(index, value)| add(&index.to_string(), value)),
        _ => {}
    }
}
