//! `POST /theme`: light, dark or system theme, stored in a cookie so that the server renders the right one.

use super::see_other;
use crate::extract::Form;
use crate::state::App;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;

pub(crate) async fn change(State(app): State<App>, form: Form) -> Response {
    let mut response = see_other(form.text("back").unwrap_or("/"));
    let secure = if app.config.https { "; Secure" } else { "" };
    let cookie = match form.text("theme") {
        Some("dark") => format!("theme=dark; Path=/; Max-Age=31536000; SameSite=Lax{secure}"),
        Some("light") => format!("theme=light; Path=/; Max-Age=31536000; SameSite=Lax{secure}"),
        _ => format!("theme=; Path=/; Max-Age=0; SameSite=Lax{secure}"),
    };
    let cookie = HeaderValue::from_str(&cookie).expect("it is one of three ASCII texts");
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}
