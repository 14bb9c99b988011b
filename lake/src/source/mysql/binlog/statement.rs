//! Parses SQL statements in a row-format binlog. Only transaction control and schema changes (DDL) are expected
//! there.

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Statement {
    Begin,
    Commit,
    /// Rolls back a transaction. It is logged if the transaction changed non-transactional tables, whose changes
    /// remain.
    Rollback {
        /// False if only a part of the transaction is rolled back, to a savepoint.
        is_whole: bool,
    },
    /// A statement that controls an XA transaction.
    Xa {
        /// True for the second phase (commit or rollback) of an XA transaction, which is logged as a separate
        /// statement.
        is_end: bool,
    },
    Truncate(Name),
    Drop(Vec<Name>),
    DropDatabase(String),
    Rename(Vec<(Name, Name)>),
    Create {
        name: Name,
        /// True if the statement drops an existing table with this name.
        replaces: bool,
    },
    /// The columns of the table may be different after this statement.
    Alter(Name),
    /// Adds or removes rows without row events, for example with `truncate partition`.
    AlterRows(Name),
    /// A data change that was logged as a statement instead of row events.
    Rows(String),
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub database: String,
    pub table: String,
}

impl Name {
    pub fn full(&self) -> String {
        format!("{}.{}", self.database, self.table)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// An unquoted word as written, or the content of a quoted string or identifier.
    Word(String),
    Quoted(String),
    Sign(char),
}

impl Statement {
    /// Parses a statement. `database` is the default database for unqualified table names.
    pub fn parse(text: &str, database: &str) -> Statement {
        let tokens = tokens(text);
        let mut reader = Reader { tokens: &tokens, database };
        // Skips the prefix `set statement … for`, as in `set statement max_statement_time = 1 for`.
        if reader.pass(&["SET", "STATEMENT"]) == 2 {
            let is_for = |token: &Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case("FOR"));
            let at = reader.tokens.iter().position(is_for).map_or(reader.tokens.len(), |at| at + 1);
            reader.tokens = &reader.tokens[at..];
        }
        let first = reader.word();
        match first.as_str() {
            "BEGIN" | "START" => Statement::Begin,
            "COMMIT" => Statement::Commit,
            "ROLLBACK" => Statement::Rollback { is_whole: reader.tokens.is_empty() },
            "XA" => Statement::Xa { is_end: matches!(reader.word().as_str(), "COMMIT" | "ROLLBACK") },
            "TRUNCATE" => {
                reader.pass(&["TABLE"]);
                reader.name().map_or(Statement::Other, Statement::Truncate)
            }
            "DROP" => drop_of(&mut reader),
            "RENAME" => rename(&mut reader),
            "CREATE" => {
                let replaces = reader.pass(&["OR", "REPLACE"]) > 0;
                if reader.pass(&["TABLE"]) == 0 {
                    return Statement::Other;
                }
                reader.pass(&["IF", "NOT", "EXISTS"]);
                reader.name().map_or(Statement::Other, |name| Statement::Create { name, replaces })
            }
            "ALTER" => alter(&mut reader),
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" => Statement::Rows(text.into()),
            _ => Statement::Other,
        }
    }
}

fn drop_of(reader: &mut Reader<'_>) -> Statement {
    if reader.pass(&["DATABASE"]) + reader.pass(&["SCHEMA"]) > 0 {
        reader.pass(&["IF", "EXISTS"]);
        return reader.text().map_or(Statement::Other, Statement::DropDatabase);
    }
    // `drop temporary table` is ignored, because temporary tables are not visible to other sessions.
    if reader.pass(&["TABLE"]) == 0 {
        return Statement::Other;
    }
    reader.pass(&["IF", "EXISTS"]);
    let mut names = Vec::new();
    while let Some(name) = reader.name() {
        names.push(name);
        if !reader.sign(',') {
            break;
        }
    }
    Statement::Drop(names)
}

fn rename(reader: &mut Reader<'_>) -> Statement {
    if reader.pass(&["TABLE"]) + reader.pass(&["TABLES"]) == 0 {
        return Statement::Other;
    }
    reader.pass(&["IF", "EXISTS"]);
    let mut names = Vec::new();
    while let Some(from) = reader.name() {
        reader.pass(&["TO"]);
        let Some(to) = reader.name() else { break };
        names.push((from, to));
        if !reader.sign(',') {
            break;
        }
    }
    Statement::Rename(names)
}

fn alter(reader: &mut Reader<'_>) -> Statement {
    reader.pass(&["ONLINE"]);
    reader.pass(&["IGNORE"]);
    if reader.pass(&["TABLE"]) == 0 {
        return Statement::Other;
    }
    reader.pass(&["IF", "EXISTS"]);
    let Some(name) = reader.name() else { return Statement::Other };
    let is = |token: &Token, word: &str| matches!(token, Token::Word(text) if text.eq_ignore_ascii_case(word));
    // `rename column` and `rename index` are excluded, because they do not rename the table.
    let renamed = reader.tokens.iter().position(|token| is(token, "RENAME"));
    if let Some(at) = renamed {
        let mut rest = Reader { tokens: &reader.tokens[at + 1..], database: reader.database };
        if !["COLUMN", "INDEX", "KEY"].iter().any(|word| rest.tokens.first().is_some_and(|token| is(token, word))) {
            rest.pass(&["TO"]);
            rest.pass(&["AS"]);
            if let Some(to) = rest.name() {
                return Statement::Rename(vec![(name, to)]);
            }
        }
    }
    let takes_rows = |pair: &[Token]| {
        let first = ["TRUNCATE", "DROP", "EXCHANGE", "DISCARD", "IMPORT", "CONVERT"];
        first.iter().any(|word| is(&pair[0], word)) && (is(&pair[1], "PARTITION") || is(&pair[1], "TABLESPACE"))
    };
    if reader.tokens.windows(2).any(takes_rows) { Statement::AlterRows(name) } else { Statement::Alter(name) }
}

struct Reader<'a> {
    tokens: &'a [Token],
    database: &'a str,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    /// Returns the next word in upper case. If the next token is not a word, returns an empty string.
    fn word(&mut self) -> String {
        match self.next() {
            Some(Token::Word(word)) => word.to_ascii_uppercase(),
            _ => String::new(),
        }
    }

    /// Skips the given words in order as long as they match, and returns the number of skipped words.
    fn pass(&mut self, words: &[&str]) -> usize {
        let mut many = 0;
        for word in words {
            match self.tokens.first() {
                Some(Token::Word(found)) if found.eq_ignore_ascii_case(word) => {
                    self.tokens = &self.tokens[1..];
                    many += 1;
                }
                _ => break,
            }
        }
        many
    }

    fn sign(&mut self, sign: char) -> bool {
        let is_there = self.tokens.first() == Some(&Token::Sign(sign));
        if is_there {
            self.tokens = &self.tokens[1..];
        }
        is_there
    }

    fn text(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(text) | Token::Quoted(text) => Some(text),
            Token::Sign(_) => None,
        }
    }

    fn name(&mut self) -> Option<Name> {
        let first = self.text()?;
        if self.sign('.') {
            return Some(Name { database: first, table: self.text()? });
        }
        Some(Name { database: self.database.into(), table: first })
    }
}

/// Splits a statement into words, names and punctuation. Comments are removed, but the content of executable comments
/// (`/*! … */`) is included.
fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(letter) = rest.chars().next() {
        let after = &rest[letter.len_utf8()..];
        rest = match letter {
            '`' | '"' | '\'' => {
                let (held, after) = quoted(after, letter);
                tokens.push(Token::Quoted(held));
                after
            }
            '/' if after.starts_with("*!") || after.starts_with("*M!") => {
                after.trim_start_matches(['*', 'M', '!']).trim_start_matches(|c: char| c.is_ascii_digit())
            }
            '/' if after.starts_with('*') => after.split_once("*/").map_or("", |(_, after)| after),
            '*' if after.starts_with('/') => &after[1..],
            '#' => after.split_once('\n').map_or("", |(_, after)| after),
            '-' if after.starts_with("- ") || after.starts_with("-\n") => {
                after.split_once('\n').map_or("", |(_, after)| after)
            }
            _ if is_of_word(letter) => {
                let end = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].into()));
                &rest[end..]
            }
            _ => {
                if !letter.is_whitespace() {
                    tokens.push(Token::Sign(letter));
                }
                after
            }
        };
    }
    tokens
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut held = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            _ if letter == quote && letters.peek().is_some_and(|(_, next)| *next == quote) => {
                letters.next();
                held.push(quote);
            }
            _ if letter == quote => return (held, &text[at + quote.len_utf8()..]),
            '\\' if quote != '`' => held.extend(letters.next().map(|(_, letter)| letter)),
            _ => held.push(letter),
        }
    }
    (held, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(full: &str) -> Name {
        let (database, table) = full.split_once('.').unwrap();
        Name { database: database.into(), table: table.into() }
    }

    #[test]
    fn statements_say_what_they_do_to_tables() {
        for (text, expected) in [
            ("BEGIN", Statement::Begin),
            ("COMMIT", Statement::Commit),
            ("ROLLBACK TO `a`", Statement::Rollback { is_whole: false }),
            ("ROLLBACK", Statement::Rollback { is_whole: true }),
            ("XA START 'x'", Statement::Xa { is_end: false }),
            ("XA COMMIT 'x'", Statement::Xa { is_end: true }),
            ("truncate table orders", Statement::Truncate(name("shop.orders"))),
            ("TRUNCATE `other`.`odd``name`", Statement::Truncate(name("other.odd`name"))),
            (
                "DROP TABLE IF EXISTS `a`, other.b /* generated by server */",
                Statement::Drop(vec![name("shop.a"), name("other.b")]),
            ),
            ("SET STATEMENT max_statement_time=1, x='for' FOR truncate a", Statement::Truncate(name("shop.a"))),
            ("DROP TEMPORARY TABLE IF EXISTS a", Statement::Other),
            ("drop database `shop`", Statement::DropDatabase("shop".into())),
            (
                "/* tool */ rename table a to b, other.c to a",
                Statement::Rename(vec![(name("shop.a"), name("shop.b")), (name("other.c"), name("shop.a"))]),
            ),
            ("CREATE OR REPLACE TABLE a (id int)", Statement::Create { name: name("shop.a"), replaces: true }),
            ("create table if not exists a like b", Statement::Create { name: name("shop.a"), replaces: false }),
            ("create index i on a (b)", Statement::Other),
            ("ALTER TABLE a ADD COLUMN `rename` int DEFAULT 5", Statement::Alter(name("shop.a"))),
            ("alter table a rename column b to c", Statement::Alter(name("shop.a"))),
            ("alter table a rename other.b", Statement::Rename(vec![(name("shop.a"), name("other.b"))])),
            ("alter table a truncate partition p0", Statement::AlterRows(name("shop.a"))),
            ("ALTER TABLE a /*!50100 DROP PARTITION p0 */", Statement::AlterRows(name("shop.a"))),
            ("grant all on *.* to x", Statement::Other),
            ("# said\nupdate a set b = 1", Statement::Rows("# said\nupdate a set b = 1".into())),
        ] {
            assert_eq!(Statement::parse(text, "shop"), expected, "{text}");
        }
    }
}
