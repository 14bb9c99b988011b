//! The stylesheet, the script and the icons of the pages, embedded in the binary.
//!
//! Each file is served under a URL that contains the hash of its content, so browsers cache it permanently and load a
//! new version immediately. Only files in this list are served: names from requests are never used as file system
//! paths.

use crate::extract::StaticPath;
use crate::refusal::Refusal;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    hash: String,
    url: String,
}

const FILES: [(&str, &str, &[u8]); 13] = [
    ("app.css", "text/css; charset=utf-8", include_bytes!("../assets/app.css")),
    ("app.js", "text/javascript; charset=utf-8", include_bytes!("../assets/app.js")),
    ("changes.js", "text/javascript; charset=utf-8", include_bytes!("../assets/changes.js")),
    ("favicon.svg", "image/svg+xml", include_bytes!("../assets/favicon.svg")),
    ("favicon-failed.svg", "image/svg+xml", include_bytes!("../assets/favicon-failed.svg")),
    ("favicon-running.svg", "image/svg+xml", include_bytes!("../assets/favicon-running.svg")),
    ("graph.js", "text/javascript; charset=utf-8", include_bytes!("../assets/graph.js")),
    ("grid.js", "text/javascript; charset=utf-8", include_bytes!("../assets/grid.js")),
    ("icons.svg", "image/svg+xml", include_bytes!("../assets/icons.svg")),
    ("import.js", "text/javascript; charset=utf-8", include_bytes!("../assets/import.js")),
    ("keys.js", "text/javascript; charset=utf-8", include_bytes!("../assets/keys.js")),
    ("live.js", "text/javascript; charset=utf-8", include_bytes!("../assets/live.js")),
    ("sql.js", "text/javascript; charset=utf-8", include_bytes!("../assets/sql.js")),
];

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let assets = FILES.into_iter().map(|(name, kind, bytes)| {
        let mut hash = String::new();
        for byte in &Sha256::digest(bytes)[..8] {
            write!(hash, "{byte:02x}").expect("a string takes all");
        }
        Asset { name, kind, bytes, url: format!("/static/{hash}/{name}"), hash }
    });
    assets.collect()
});

/// Returns the URL of a file in the list, for use in pages.
pub(crate) fn url(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.url.as_str())
}

/// Handles `GET /static/{hash}/{name}`. A hash of another build returns 404 rather than the wrong file.
pub(crate) async fn serve(path: StaticPath, headers: HeaderMap) -> Result<Response, Refusal> {
    let asset = ASSETS.iter().find(|asset| asset.name == path.name && asset.hash == path.hash);
    let asset = asset.ok_or_else(|| Refusal::not_found("there is no such file"))?;
    let tag = format!("\"{}\"", asset.hash);
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    // Compression turns the tag into a weak one, but the content is the same.
    let known = known.flat_map(|tags| tags.split(',')).any(|known| known.trim().trim_start_matches("W/") == tag);
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], Bytes::from_static(asset.bytes)).into_response()
    };
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, kept);
    response.headers_mut().insert(header::ETAG, HeaderValue::from_str(&tag).expect("a hash is visible ASCII"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_symbol_that_is_used_is_in_the_icons() {
        let icons = FILES.iter().find(|file| file.0 == "icons.svg").expect("it is there");
        let icons = std::str::from_utf8(icons.2).expect("text");
        for state in orch_spec::state::TaskState::ALL {
            let word = match state.as_str() {
                "none" => "no_status",
                word => word,
            };
            for id in [format!("id=\"s-{word}\""), format!("id=\"g-{word}\"")] {
                assert!(icons.contains(&id) || id == "id=\"g-success\"", "{id}");
            }
        }
    }
}
