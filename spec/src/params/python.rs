//! Regular expressions with Python's meaning of `\w`, `\s` and `$`, on regex-lite, whose `\w` and `\s` are ASCII only.
//! In the text, each letter and space beyond ASCII is replaced by a proxy, which the classes of the expression contain.

use crate::pattern::compile;
use regex_lite::Regex;
use std::borrow::Cow;

/// Private-use characters, which have no other meaning.
const LETTER: char = '\u{e000}';
const SPACE: char = '\u{e001}';
const WORD_CLASS: &str = "0-9A-Za-z_\u{e000}";
const SPACE_CLASS: &str = r" \t\n\x0B\x0C\r\x1C-\x1F\u{85}\u{e001}";

pub(super) struct PythonRegex {
    regex: Regex,
    /// True if the expression contains characters beyond ASCII. They must then not be replaced in the text.
    is_literal: bool,
}

impl PythonRegex {
    /// Compiles an expression. Fails if it is not valid in regex-lite or exceeds a limit.
    pub(super) fn new(pattern: &str) -> Result<PythonRegex, String> {
        compile(pattern)?;
        let is_literal = !pattern.is_ascii() || [r"\x", r"\u", r"\U"].iter().any(|escape| pattern.contains(escape));
        let regex = if is_literal { compile(pattern) } else { compile(&widened(pattern)) }?;
        Ok(PythonRegex { regex, is_literal })
    }

    /// Searches the text like Python's `re.search`, in which `$` also matches before a final newline.
    pub(super) fn is_match(&self, text: &str) -> bool {
        let text =
            if text.is_ascii() || self.is_literal { Cow::Borrowed(text) } else { text.chars().map(proxy).collect() };
        self.regex.is_match(&text) || text.strip_suffix('\n').is_some_and(|line| self.regex.is_match(line))
    }
}

fn proxy(letter: char) -> char {
    match letter {
        ascii if ascii.is_ascii() => ascii,
        letter if letter.is_alphanumeric() => LETTER,
        space if space.is_whitespace() => SPACE,
        other => other,
    }
}

/// Replaces `\w`, `\s` and, outside of brackets, `\W` and `\S`.
fn widened(pattern: &str) -> String {
    let (mut out, mut in_brackets, mut chars) = (String::new(), false, pattern.chars());
    while let Some(letter) = chars.next() {
        match letter {
            '\\' => match (chars.next(), in_brackets) {
                (Some('w'), true) => out.push_str(WORD_CLASS),
                (Some('s'), true) => out.push_str(SPACE_CLASS),
                (Some('w'), false) => out.extend(["[", WORD_CLASS, "]"]),
                (Some('s'), false) => out.extend(["[", SPACE_CLASS, "]"]),
                (Some('W'), false) => out.extend(["[^", WORD_CLASS, "]"]),
                (Some('S'), false) => out.extend(["[^", SPACE_CLASS, "]"]),
                (other, _) => out.extend(['\\'].into_iter().chain(other)),
            },
            _ => {
                in_brackets = letter == '[' || (in_brackets && letter != ']');
                out.push(letter);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_letters_and_spaces_beyond_ascii() {
        for (pattern, text, expected) in [
            (r"^\w+$", "Zürich_1", true),
            (r"^\w+$", "a–b", false),
            (r"^[\w-]{3}$", "ü-ö", true),
            (r"^[a-z]+$", "ü", false),
            (r"^\W$", "ü", false),
            (r"^\S+$", "a\u{a0}b", false),
            (r"a\sb", "a\u{a0}b", true),
            ("^[à-ü]$", "é", true),
            (r"\[\w\]", "[é]", true),
            ("^a$", "a\n", true),
        ] {
            assert_eq!(PythonRegex::new(pattern).map(|regex| regex.is_match(text)), Ok(expected), "{pattern} {text}");
        }
        assert!(PythonRegex::new("(").is_err());
    }
}
