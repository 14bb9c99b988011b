//! `POST /zone`: sets the time zone of all displayed times. A cookie holds its name, so that the server renders the
//! right times. The prefix `~` means that the page's script detected the zone and keeps it up to date.

use super::see_other;
use crate::auth::cookie_of;
use crate::extract::Form;
use crate::refusal::Refusal;
use crate::state::App;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono_tz::Tz;
use std::sync::LazyLock;

/// Time zone that the browser's cookie requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ZoneCookie {
    pub(crate) zone: Tz,
    pub(crate) follows_browser: bool,
}

static OF_SERVER: LazyLock<Option<Tz>> =
    LazyLock::new(|| iana_time_zone::get_timezone().ok().and_then(|name| known(&name)));

/// Returns the zone of this machine; `None` if the machine reports no known zone.
pub(crate) fn of_server() -> Option<Tz> {
    *OF_SERVER
}

pub(crate) fn wish(headers: &HeaderMap) -> Option<ZoneCookie> {
    let text = cookie_of(headers, "zone")?;
    let name = text.strip_prefix('~');
    Some(ZoneCookie { zone: known(name.unwrap_or(text))?, follows_browser: name.is_some() })
}

/// Accepts UTC and names with a `/`. Abbreviations such as `EST` are misleading and rejected.
fn known(name: &str) -> Option<Tz> {
    let is_utc = ["UTC", "Etc/UTC", "utc", "Z"].contains(&name);
    if is_utc { Some(Tz::UTC) } else { name.parse().ok().filter(|_| name.contains('/')) }
}

/// Sets the zone. `zone` is `UTC`, `server`, `browser`, or `other` with the name in `name`.
pub(crate) async fn change(State(app): State<App>, form: Form) -> Result<Response, Refusal> {
    let named: String = form.text("name").unwrap_or_default().trim().replace(' ', "_");
    let value = match form.text("zone") {
        Some("server") => of_server().unwrap_or(Tz::UTC).name().to_string(),
        // `browser` is the zone that the page's script detected; without a script it is unknown.
        Some("browser") => {
            known(form.text("browser").unwrap_or_default()).map_or("~UTC".into(), |zone| format!("~{zone}"))
        }
        Some("other") => {
            let unknown = || {
                Refusal::plain(
                    StatusCode::BAD_REQUEST,
                    format!("there is no zone `{named}`: write it like `Europe/Berlin`"),
                )
            };
            known(&named).ok_or_else(unknown)?.name().to_string()
        }
        _ => "UTC".into(),
    };
    let mut response = see_other(form.text("back").unwrap_or("/"));
    let secure = if app.config.https { "; Secure" } else { "" };
    let cookie = format!("zone={value}; Path=/; Max-Age=31536000; SameSite=Lax{secure}");
    let cookie = HeaderValue::from_str(&cookie).expect("names of zones are ASCII");
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_places_are_zones() {
        for (name, zone) in
            [("Europe/Berlin", Some(Tz::Europe__Berlin)), ("Etc/UTC", Some(Tz::UTC)), ("EST", None), ("x", None)]
        {
            assert_eq!(known(name), zone, "{name}");
        }
    }
}
