//! The question before something is deleted for good: what will happen, a button, and the way back.

use super::Shell;
use crate::parts;
use askama::Template;

#[derive(Template)]
#[template(path = "pages/delete.html")]
pub(crate) struct DeletePage {
    pub(crate) shell: Shell,
    /// Where all of its kind are, and what that page is called.
    pub(crate) list: (&'static str, &'static str),
    pub(crate) name: String,
    pub(crate) sentence: String,
    /// Where the form goes, and what it says there.
    pub(crate) action: String,
    pub(crate) field: Option<(&'static str, String)>,
    /// Where it can be looked at.
    pub(crate) back: String,
}
