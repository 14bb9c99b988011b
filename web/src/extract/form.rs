//! Forms of pages: names and values, with the CSRF token of the session. Reading a form always checks its token, so no
//! handler can omit the check.

use super::body;
use crate::auth::Session;
use crate::refusal::Refusal;
use axum::extract::{FromRequest, Request};
use axum::http::{StatusCode, header};

/// Name of the field with the CSRF token.
pub(crate) const TOKEN_FIELD: &str = "form_token";

#[derive(Debug)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    /// Returns the last value with this name.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_form = kind.split(';').next().unwrap_or_default().trim() == "application/x-www-form-urlencoded";
        let session = request.extensions().get::<Session>().cloned();
        let bytes = body::read(request).await?;
        let pairs: Vec<_> = form_urlencoded::parse(&bytes).map(|(n, v)| (n.into_owned(), v.into_owned())).collect();
        let form = Form { pairs };
        if let Some(session) = session
            && !(is_form && form.text(TOKEN_FIELD).is_some_and(|sent| session.is_form_token(sent)))
        {
            let text = "the form is from another login: open its page again and send it once more";
            return Err(Refusal::plain(StatusCode::FORBIDDEN, text));
        }
        if !is_form {
            let text = "send it as a form: `Content-Type: application/x-www-form-urlencoded`";
            return Err(Refusal::plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
        if form.pairs.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(Refusal::bad_request("text must not hold a NUL character"));
        }
        Ok(form)
    }
}

#[cfg(test)]
impl Form {
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Form {
        Form { pairs: pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect() }
    }
}
