//! `GET /api/v2/auth/login` and `…/logout`: where a browser that follows Airflow's addresses logs in and out.

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

/// Nobody is logged out by following a link, which any page could show: the button does it, at the place this leads to.
pub(crate) async fn logout() -> Result<Response, Refusal> {
    to("/login")
}

fn to(place: &str) -> Result<Response, Refusal> {
    let place = HeaderValue::from_str(place).map_err(|_| Refusal::bad_request("Invalid or unsafe next URL"))?;
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, place)]).into_response())
}
