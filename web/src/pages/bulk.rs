//! Confirmation page for changes to several objects: it lists the changes, and the button repeats their number.

use super::Shell;
use crate::parts;
use askama::Template;

#[derive(Template)]
#[template(path = "pages/bulk.html")]
pub(crate) struct BulkPage {
    pub(crate) shell: Shell,
    /// Address and title of the list that the user comes from.
    pub(crate) list: (&'static str, &'static str),
    pub(crate) title: String,
    pub(crate) sentence: String,
    pub(crate) lines: Vec<BulkLine>,
    /// Options of the preview: name, label, and whether it is selected.
    pub(crate) options: Vec<(&'static str, &'static str, bool)>,
    /// Hidden fields of both forms.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Value, label, and whether the button is dangerous.
    pub(crate) buttons: Vec<(&'static str, String, bool)>,
    pub(crate) action: &'static str,
    pub(crate) back: String,
    /// Equivalent shell command.
    pub(crate) command: String,
}

/// An object in the list, changed or not.
pub(crate) struct BulkLine {
    pub(crate) state: parts::State,
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) note: String,
}
