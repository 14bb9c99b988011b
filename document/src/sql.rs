//! The outer structure of SQL text: where statements end, where the main statement of a `WITH` starts, and the
//! variables.
//!
//! Comments, quoted names, strings and dollar quotes are skipped, so that a `;` in them ends nothing. Nothing else is
//! parsed: the server checks the syntax.

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Open,
    Close,
    Comma,
    Semicolon,
    /// A string, a quoted name, an operator or a parameter.
    Other,
}

struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl<'a> Tokens<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Skips past the next `end`, or to the end of the text.
    fn skip_behind(&mut self, end: &str) {
        self.at = self.text[self.at..].find(end).map_or(self.text.len(), |found| self.at + found + end.len());
    }

    /// Skips white space and comments. Comments in `/* */` nest.
    fn skip_space(&mut self) {
        loop {
            match self.rest() {
                [byte, ..] if byte.is_ascii_whitespace() => self.at += 1,
                [b'-', b'-', ..] => self.skip_behind("\n"),
                [b'/', b'*', ..] => {
                    let mut depth = 0_usize;
                    loop {
                        match self.rest() {
                            [] => return,
                            [b'/', b'*', ..] => (depth, self.at) = (depth + 1, self.at + 2),
                            [b'*', b'/', ..] => (depth, self.at) = (depth - 1, self.at + 2),
                            _ => self.at += 1,
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                }
                _ => return,
            }
        }
    }

    /// Skips a quoted part. A doubled quote reads as two strings in a row, which end at the same offset.
    fn skip_quoted(&mut self, quote: u8, has_escapes: bool) {
        self.at += 1;
        while let Some(&byte) = self.rest().first() {
            self.at += if byte == b'\\' && has_escapes { 2 } else { 1 };
            if byte == quote {
                break;
            }
        }
        self.at = self.at.min(self.text.len());
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = (usize, Token<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_space();
        let start = self.at;
        let token = match *self.rest().first()? {
            quote @ (b'\'' | b'"') => {
                self.skip_quoted(quote, false);
                Token::Other
            }
            b'$' => {
                let name = self.rest()[1..].iter().take_while(|byte| is_word(**byte) && **byte != b'$').count();
                let tag = &self.text[start..self.text.len().min(start + name + 2)];
                self.at += 1 + name;
                let is_parameter = tag.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
                if tag.len() == name + 2 && tag.ends_with('$') && !is_parameter {
                    self.at += 1;
                    self.skip_behind(tag);
                }
                Token::Other
            }
            byte if is_word(byte) => {
                self.at += self.rest().iter().take_while(|byte| is_word(**byte)).count();
                let word = &self.text[start..self.at];
                if word.eq_ignore_ascii_case("e") && self.rest().first() == Some(&b'\'') {
                    self.skip_quoted(b'\'', true);
                    Token::Other
                } else {
                    Token::Word(word)
                }
            }
            byte => {
                self.at += 1;
                match byte {
                    b'(' => Token::Open,
                    b')' => Token::Close,
                    b',' => Token::Comma,
                    b';' => Token::Semicolon,
                    _ => Token::Other,
                }
            }
        };
        Some((start, token))
    }
}

fn tokens(text: &str) -> Tokens<'_> {
    Tokens { text, at: 0 }
}

fn is_one_of(token: Option<Token<'_>>, words: &[&str]) -> bool {
    matches!(token, Some(Token::Word(word)) if words.iter().any(|known| known.eq_ignore_ascii_case(word)))
}

/// Returns the statements of a text, without the `;` after each and without comments around them.
pub fn statements(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    // The body of a function in standard SQL, `begin atomic … end`, has a `;` after each of its statements.
    let is_whole = tokens(text).any(|(_, token)| is_one_of(Some(token), &["atomic"]));
    let mut reader = tokens(text);
    while let Some((start, token)) = reader.next() {
        if token == Token::Semicolon && !is_whole {
            found.extend(open.take().map(|(from, to)| &text[from..to]));
        } else {
            open = Some((open.map_or(start, |(from, _)| from), reader.at));
        }
    }
    let trimmed = |text: &'_ str| if is_whole { text.trim_end_matches([';', ' ', '\n']).len() } else { text.len() };
    found.extend(open.map(|(from, to)| &text[from..from + trimmed(&text[from..to])]));
    found
}

/// Returns the variables `$name` of a text in order, without the `$`. Strings, comments and quoted names contain none.
pub fn variables(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut reader = tokens(text);
    while let Some((start, _)) = reader.next() {
        let Some(rest) = text[start..reader.at].strip_prefix('$') else { continue };
        let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
        // A `$` after the name starts a dollar quote.
        if end > 0 && !rest[end..].starts_with('$') {
            found.push(&rest[..end]);
        }
    }
    found
}

/// Returns the offset of the main statement of a `WITH`, which follows its last subquery. `None` if the text is not a
/// `WITH`.
pub fn main_statement(text: &str) -> Option<usize> {
    const STARTS: [&str; 7] = ["select", "values", "table", "insert", "update", "delete", "merge"];
    let mut reader = tokens(text);
    if !is_one_of(reader.next().map(|(_, token)| token), &["with"]) {
        return None;
    }
    // A `)` at depth 0 ends either a list of columns, followed by `as`, or a subquery.
    let (mut depth, mut is_behind_subquery) = (0_usize, false);
    for (start, token) in reader {
        if depth == 0 && is_behind_subquery && (token == Token::Open || is_one_of(Some(token), &STARTS)) {
            return Some(start);
        }
        match token {
            Token::Open => depth += 1,
            Token::Close => {
                depth = depth.checked_sub(1)?;
                is_behind_subquery = depth == 0;
            }
            // `search … set column` and `cycle … set column` may appear between a subquery and what follows it.
            Token::Comma | Token::Word(_) if depth == 0 => {
                is_behind_subquery = is_behind_subquery && token != Token::Comma && !is_one_of(Some(token), &["as"]);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_semicolon_ends_a_statement_unless_it_is_quoted() {
        for (text, expected) in [
            ("select 1", vec!["select 1"]),
            ("select 1;", vec!["select 1"]),
            ("-- a; b\nselect 1 ; -- done;\n", vec!["select 1"]),
            ("/* ; /* ; */ ; */ select ';', \";\", 'it''s;'", vec!["select ';', \";\", 'it''s;'"]),
            (r"select e'\';', E'\\'; select 2", vec![r"select e'\';', E'\\'", "select 2"]),
            ("do $$ begin a; b; end $$", vec!["do $$ begin a; b; end $$"]),
            ("do $x$ a; $$ b; $x$; select $1;", vec!["do $x$ a; $$ b; $x$", "select $1"]),
            (
                "insert into t values (1); insert into t values (2);",
                vec!["insert into t values (1)", "insert into t values (2)"],
            ),
            (
                "create function f() returns int begin atomic select 1; select 2; end;",
                vec!["create function f() returns int begin atomic select 1; select 2; end"],
            ),
            ("select 'ä;", vec!["select 'ä;"]),
            (" ; ;", vec![]),
        ] {
            assert_eq!(statements(text), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_found_outside_of_texts_and_comments() {
        for (text, expected) in [
            ("select $a + $b_2 from t where x >= $a", vec!["a", "b_2", "a"]),
            ("select '$a', \"$b\", e'\\'$c' /* $d */ -- $e\n, $f", vec!["f"]),
            ("select $$ $a $$, $x$ $b $x$, $1", vec!["1"]),
            ("select $a-1, $b::date, a$b, $, $größe", vec!["a", "b", "größe"]),
            ("select $", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(variables(text), expected, "{text}");
        }
    }

    #[test]
    fn the_main_statement_of_a_with_is_found() {
        for (text, expected) in [
            ("with a as (select 1) select * from a", Some("select * from a")),
            (
                "WITH a (x, y) AS MATERIALIZED (select (1), 2), b as (delete from t returning *) TABLE b",
                Some("TABLE b"),
            ),
            ("with recursive a as (select 1) search depth first by x set y select * from a", Some("select * from a")),
            (
                "with update as (select 1) insert into t select * from update",
                Some("insert into t select * from update"),
            ),
            ("with a as (select ')') /* select */ (select 1)", Some("(select 1)")),
            ("select 1", None),
            ("with a as (select 1", None),
            ("with )", None),
        ] {
            assert_eq!(main_statement(text).map(|at| &text[at..]), expected, "{text}");
        }
    }
}
