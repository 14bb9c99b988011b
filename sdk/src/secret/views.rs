//! Decoded views of a text that map each decoded byte back to its position in the original.
//!
//! Decoding is more reliable than listing the output of encoders, which differ in the characters that they escape and
//! in the case of hex digits.

use std::borrow::Cow;
use std::ops::Range;

/// A decoded text with its positions in the original.
pub(super) struct View<'a> {
    pub(super) text: Cow<'a, [u8]>,
    /// The original offset of each byte, followed by the end of the original. `None` for the original itself.
    origins: Option<Vec<u32>>,
}

impl<'a> View<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        View { text: Cow::Borrowed(text.as_bytes()), origins: None }
    }

    pub(super) fn origin(&self, range: Range<usize>) -> Range<usize> {
        match &self.origins {
            Some(origins) => origins[range.start] as usize..origins[range.end] as usize,
            None => range,
        }
    }

    /// Decodes one kind of escape. `None` if the text contains none.
    pub(super) fn undo(&self, escapes: Escapes) -> Option<View<'static>> {
        let text = &*self.text;
        if !text.iter().any(|byte| escapes.begin_with(*byte)) {
            return None;
        }
        let (mut bytes, mut origins) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len() + 1));
        let start = |at: usize| self.origins.as_ref().map_or(at as u32, |origins| origins[at]);
        let (mut at, mut changed) = (0, false);
        while at < text.len() {
            let mut sign = [0; 4];
            let (said, length) = match escapes.read(&text[at..]) {
                Some((DecodedEscape::Byte(byte), length)) => {
                    sign[0] = byte;
                    (&sign[..1], length)
                }
                Some((DecodedEscape::Letter(letter), length)) => (letter.encode_utf8(&mut sign).as_bytes(), length),
                None => (&text[at..=at], 1),
            };
            changed |= length > 1 || said != &text[at..=at];
            bytes.extend_from_slice(said);
            origins.extend(said.iter().map(|_| start(at)));
            at += length;
        }
        origins.push(start(text.len()));
        changed.then_some(View { text: Cow::Owned(bytes), origins: Some(origins) })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// URL escapes: `%2F`.
    Percent,
    /// Form encoding: URL escapes, and `+` for a space.
    Form,
    /// JSON, and debug output of Rust and Python: `\"`, `\n`, `\u00e9`, `\u{e9}`, `\xe9`, `\/`.
    Backslash,
    /// HTML and XML: `&amp;`, `&#39;`, `&#x27;`.
    Entity,
}

enum DecodedEscape {
    Byte(u8),
    Letter(char),
}

impl Escapes {
    pub(super) const ALL: [Escapes; 4] = [Escapes::Backslash, Escapes::Percent, Escapes::Form, Escapes::Entity];

    fn begin_with(self, byte: u8) -> bool {
        match self {
            Escapes::Percent => byte == b'%',
            // Without a `+`, the result is the same as for `Percent`.
            Escapes::Form => byte == b'+',
            Escapes::Backslash => byte == b'\\',
            Escapes::Entity => byte == b'&',
        }
    }

    /// Decodes the escape at the start of the text and returns it with its length.
    fn read(self, text: &[u8]) -> Option<(DecodedEscape, usize)> {
        match (self, text[0]) {
            (Escapes::Form, b'+') => Some((DecodedEscape::Byte(b' '), 1)),
            (Escapes::Percent | Escapes::Form, b'%') => {
                Some((DecodedEscape::Byte(u8::try_from(hex(text.get(1..3)?)?).ok()?), 3))
            }
            (Escapes::Backslash, b'\\') => backslash(text),
            (Escapes::Entity, b'&') => entity(text),
            _ => None,
        }
    }
}

fn backslash(text: &[u8]) -> Option<(DecodedEscape, usize)> {
    let byte = |byte| Some((DecodedEscape::Byte(byte), 2));
    match text.get(1)? {
        b'n' => byte(b'\n'),
        b't' => byte(b'\t'),
        b'r' => byte(b'\r'),
        b'0' => byte(0),
        b'b' => byte(8),
        b'f' => byte(12),
        sign @ (b'"' | b'\\' | b'/' | b'\'') => byte(*sign),
        b'x' => Some((DecodedEscape::Byte(u8::try_from(hex(text.get(2..4)?)?).ok()?), 4)),
        b'u' if text.get(2) == Some(&b'{') => {
            let end = text.iter().take(10).position(|byte| *byte == b'}')?;
            Some((DecodedEscape::Letter(char::from_u32(hex(&text[3..end])?)?), end + 1))
        }
        b'u' => {
            let unit = hex(text.get(2..6)?)?;
            let low = || (text.get(6..8)? == b"\\u").then(|| hex(text.get(8..12)?)).flatten();
            match (unit, low()) {
                // A surrogate pair.
                (0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
                    let code = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                    Some((DecodedEscape::Letter(char::from_u32(code)?), 12))
                }
                _ => Some((DecodedEscape::Letter(char::from_u32(unit)?), 6)),
            }
        }
        _ => None,
    }
}

fn entity(text: &[u8]) -> Option<(DecodedEscape, usize)> {
    let end = text.iter().take(10).position(|byte| *byte == b';')?;
    let letter = match &text[1..end] {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x' | b'X', digits @ ..] => char::from_u32(hex(digits)?)?,
        [b'#', digits @ ..] => char::from_u32(std::str::from_utf8(digits).ok()?.parse().ok()?)?,
        _ => return None,
    };
    Some((DecodedEscape::Letter(letter), end + 1))
}

fn hex(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 6 {
        return None;
    }
    digits.iter().try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}
