//! A page that asks before several things are changed at once: what will change is listed, and the button repeats how many.

use super::Shell;
use crate::parts;
use askama::Template;

#[derive(Template)]
#[template(path = "pages/bulk.html")]
pub(crate) struct BulkPage {
    pub(crate) shell: Shell,
    /// Address and words of the list one comes from.
    pub(crate) list: (&'static str, &'static str),
    pub(crate) title: String,
    pub(crate) sentence: String,
    pub(crate) lines: Vec<BulkLine>,
    /// Of the form that shows the same for another choice: name, words, whether it is on.
    pub(crate) options: Vec<(&'static str, &'static str, bool)>,
    /// What both forms carry on.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Value and words of each button; the third says that it is dangerous.
    pub(crate) buttons: Vec<(&'static str, String, bool)>,
    pub(crate) action: &'static str,
    pub(crate) back: String,
    /// The same for a terminal.
    pub(crate) command: String,
}

/// One of the things that change, or do not.
pub(crate) struct BulkLine {
    pub(crate) state: parts::State,
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) note: String,
}
