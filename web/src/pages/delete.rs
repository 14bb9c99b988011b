//! Confirmation page for a permanent deletion: it shows the consequences, a button, and a link back.

use super::Shell;
use crate::parts;
use askama::Template;

#[derive(Template)]
#[template(path = "pages/delete.html")]
pub(crate) struct DeletePage {
    pub(crate) shell: Shell,
    /// Address and title of the list of such objects.
    pub(crate) list: (&'static str, &'static str),
    pub(crate) name: String,
    pub(crate) sentence: String,
    /// Address that the form is sent to, and its hidden field.
    pub(crate) action: String,
    pub(crate) field: Option<(&'static str, String)>,
    /// Address of the link that cancels the deletion.
    pub(crate) back: String,
}
