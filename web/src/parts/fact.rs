//! A value in a list of facts: text, a time with the exact one in its title, or a link.

use super::{Escaped, Markdown, Stamp};
use askama::filters::HtmlSafe;
use std::fmt;

#[derive(Debug, Clone)]
pub(crate) enum Fact {
    Words(String),
    Moment(Stamp),
    Prose(Markdown),
    Link { words: String, href: String },
}

impl Fact {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Fact::Words(words) if words.is_empty())
    }
}

impl From<String> for Fact {
    fn from(words: String) -> Fact {
        Fact::Words(words)
    }
}

impl From<&str> for Fact {
    fn from(words: &str) -> Fact {
        Fact::Words(words.into())
    }
}

impl From<Stamp> for Fact {
    fn from(stamp: Stamp) -> Fact {
        Fact::Moment(stamp)
    }
}

/// `None` becomes an empty text.
impl From<Option<Markdown>> for Fact {
    fn from(prose: Option<Markdown>) -> Fact {
        prose.map_or(Fact::Words(String::new()), Fact::Prose)
    }
}

/// `None` becomes an empty text.
impl From<Option<Stamp>> for Fact {
    fn from(stamp: Option<Stamp>) -> Fact {
        stamp.map_or(Fact::Words(String::new()), Fact::Moment)
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Words(words) => Escaped(words).fmt(f),
            Fact::Moment(stamp) => stamp.fmt(f),
            Fact::Prose(prose) => write!(f, "<div class=\"md\">{prose}</div>"),
            Fact::Link { words, href } => {
                write!(f, r#"<a class="link" href="{}">{}</a>"#, Escaped(href), Escaped(words))
            }
        }
    }
}

impl HtmlSafe for Fact {}
