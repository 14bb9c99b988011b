//! Regular expressions from users. `regex-lite` takes time in proportion to the text and to the compiled expression, so
//! both are bounded.

use regex_lite::{Regex, RegexBuilder};

/// Maximum length of an expression.
pub const MAX_PATTERN_BYTES: usize = 1_024;
/// Maximum size of a compiled expression: about 2,000 states. `a{100}{1000}` has 100,000, and a match visits up to all
/// of them for each character.
const MAX_COMPILED_BYTES: usize = 64 << 10;

/// Compiles an expression. Fails if it is not valid or exceeds a limit.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > MAX_PATTERN_BYTES {
        return Err(format!("it has {} bytes; the maximum is {MAX_PATTERN_BYTES}", pattern.len()));
    }
    RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).build().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_large_expressions_are_refused() {
        for pattern in ["a{100}{1000}", "(", &"a".repeat(MAX_PATTERN_BYTES + 1)] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        let names: Vec<String> = (0..150).map(|number| format!("t_{number}")).collect();
        for pattern in ["^[A-Za-z0-9_.-]{1,250}$", r"^\d{4}-\d{2}$", &format!("^({})$", names.join("|"))] {
            assert!(compile(pattern).is_ok(), "{pattern}");
        }
    }
}
