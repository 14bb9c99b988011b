//! `GET /api/v2/auth/login` and `…/logout`: redirect browsers that use Airflow's URLs to the login page.

use crate::extract::{Query, query_params};
use crate::openapi::kinds::QueryParamType;
use crate::pages::{encoded, local};
use crate::refusal::Refusal;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

query_params! {
    pub(crate) struct LoginParams {
        /// To go to afterwards
        next: Option<String> as QueryParamType::Address,
    }
}

pub(crate) async fn login(mut query: Query) -> Result<Response, Refusal> {
    let LoginParams { next } = query.whole()?;
    match next.as_deref().filter(|next| !next.is_empty()) {
        None => to("/login"),
        Some(next) => {
            let plain = next.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.~%?=&+:/-".contains(&byte));
            let next = local(next).filter(|_| plain);
            let next = next.ok_or_else(|| Refusal::bad_request("Invalid or unsafe next URL"))?;
            to(&format!("/login?next={}", encoded(next)))
        }
    }
}

/// Redirects to the login page, which has the logout button. A `GET` does not log out, because any page could contain
/// such a link.
pub(crate) async fn logout() -> Result<Response, Refusal> {
    to("/login")
}

fn to(place: &str) -> Result<Response, Refusal> {
    let place = HeaderValue::from_str(place).map_err(|_| Refusal::bad_request("Invalid or unsafe next URL"))?;
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response())
}
