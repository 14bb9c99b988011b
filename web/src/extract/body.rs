//! JSON bodies with limits on size, depth and time. Rejects NUL characters, which Postgres cannot store.

use crate::body::{BodyError, read_body};
use crate::refusal::Refusal;
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use orch_spec::params::MAX_CONF_BYTES;
use orch_wire::{Body as TypedBody, Fields, Problem};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;

/// A conf may take up to `MAX_CONF_BYTES`, and its body has other fields as well.
pub(crate) const MOST_BYTES: usize = MAX_CONF_BYTES + 64 * 1024;
/// Maximum nesting depth. Deeper JSON could overflow the stack.
const MOST_DEPTH: usize = 64;
/// Timeout for a body. A client that takes longer is withholding it deliberately.
const MOST_TIME: Duration = Duration::from_secs(10);

/// A JSON object. Every body of the API is one.
#[derive(Debug, Default)]
pub(crate) struct JsonBody(Map<String, Value>);

impl JsonBody {
    pub(crate) fn fields(self) -> Fields {
        Fields::new(self.0)
    }

    /// Parses the body as the type that describes it in the OpenAPI document.
    pub(crate) fn read<B: TypedBody>(self) -> Result<B, Refusal> {
        Ok(self.fields().whole()?)
    }

    /// Returns a hash that does not depend on the formatting of the JSON text.
    pub(crate) fn digest(&self) -> Vec<u8> {
        Sha256::digest(Value::Object(self.0.clone()).to_string()).to_vec()
    }

    /// Like `fields`, for a body that contains a secret.
    pub(crate) fn secret_fields(self) -> Fields {
        Fields::secret(self.0)
    }
}

impl<S: Sync> FromRequest<S> for JsonBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let is_json = is_json(request.headers());
        let bytes = read(request).await?;
        JsonBody::parse(&bytes, is_json)
    }
}

/// A body, parsed as the type that describes it in the OpenAPI document.
pub(crate) struct Typed<B>(pub(crate) B);

impl<B: TypedBody, S: Sync> FromRequest<S> for Typed<B> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        <JsonBody as FromRequest<S>>::from_request(request, state).await?.read().map(Typed)
    }
}

/// Like [`Typed`], for a body that contains a secret: error messages do not repeat its values.
pub(crate) struct Secret<B>(pub(crate) B);

impl<B: TypedBody, S: Sync> FromRequest<S> for Secret<B> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = <JsonBody as FromRequest<S>>::from_request(request, state).await?;
        Ok(Secret(body.secret_fields().whole()?))
    }
}

/// An optional body. A missing body and `null` are equivalent.
impl<S: Sync> OptionalFromRequest<S> for JsonBody {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Option<Self>, Refusal> {
        let is_json = is_json(request.headers());
        let bytes = read(request).await?;
        if bytes.is_empty() || bytes.trim_ascii() == b"null" {
            return Ok(None);
        }
        JsonBody::parse(&bytes, is_json).map(Some)
    }
}

impl JsonBody {
    fn parse(bytes: &[u8], is_json: bool) -> Result<Self, Refusal> {
        if bytes.is_empty() {
            return Err(Problem::new("missing", "Field required").at(["body"]).into());
        }
        check_depth(bytes)?;
        let value: Value = serde_json::from_slice(bytes).map_err(|error| invalid_json(&error.to_string()))?;
        if !is_json {
            let msg = "Input should be a valid dictionary or object: send it with `Content-Type: application/json`";
            return Err(Problem::new("model_attributes_type", msg).at(["body"]).with_input(&value).into());
        }
        if let Some(place) = find_nul(&value) {
            let why = "text must not hold a NUL character";
            return Err(Problem::value(why).at(std::iter::once(json!("body")).chain(place)).into());
        }
        match value {
            Value::Object(fields) => Ok(JsonBody(fields)),
            other => {
                let msg = "Input should be a valid dictionary or object to extract fields from";
                Err(Problem::new("model_attributes_type", msg).at(["body"]).with_input(&other).into())
            }
        }
    }
}

pub(super) async fn read(request: Request) -> Result<axum::body::Bytes, Refusal> {
    let said = request.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|bytes| bytes > MOST_BYTES) {
        return Err(too_large());
    }
    match tokio::time::timeout(MOST_TIME, read_body(request.into_body(), MOST_BYTES)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(BodyError::TooLarge(_))) => Err(too_large()),
        Ok(Err(BodyError::Broken(_))) => Err(Refusal::bad_request("the body could not be read")),
        Err(_) => Err(Refusal::plain(StatusCode::REQUEST_TIMEOUT, "the body took too long to arrive")),
    }
}

fn too_large() -> Refusal {
    let text = format!("the body is larger than {MOST_BYTES} bytes: hand over large data by reference");
    Refusal::plain(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
        || (kind.len() > 5
            && kind.is_char_boundary(kind.len() - 5)
            && kind[kind.len() - 5..].eq_ignore_ascii_case("+json"))
}

/// Counts brackets outside of strings, which is an upper bound of the nesting depth.
fn check_depth(bytes: &[u8]) -> Result<(), Refusal> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'[' | b'{') => depth += 1,
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MOST_DEPTH {
            return Err(invalid_json(&format!("nested deeper than {MOST_DEPTH} levels")));
        }
    }
    Ok(())
}

fn invalid_json(why: &str) -> Refusal {
    let problem = Problem::new("json_invalid", "JSON decode error").with_ctx(json!({ "error": why }));
    problem.at(["body"]).with_input(&json!({})).into()
}

/// Returns the path of the first string with a NUL character.
fn find_nul(value: &Value) -> Option<Vec<Value>> {
    let below = |place: Value, value: &Value| {
        let mut path = find_nul(value)?;
        path.insert(0, place);
        Some(path)
    };
    match value {
        Value::String(text) => text.contains('\0').then(Vec::new),
        Value::Array(list) => list.iter().enumerate().find_map(|(i, v)| below(json!(i), v)),
        Value::Object(map) => map.iter().find_map(|(key, v)| {
            if key.contains('\0') { Some(vec![json!(key.replace('\0', "\u{FFFD}"))]) } else { below(json!(key), v) }
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_no_depth() {
        let text = format!(r#"{{"a": "{}\"[[["}}"#, "[".repeat(200));
        assert!(check_depth(text.as_bytes()).is_ok());
        assert!(check_depth("[".repeat(64).as_bytes()).is_ok());
        assert!(check_depth("[".repeat(65).as_bytes()).is_err());
        assert!(check_depth("[]".repeat(500).as_bytes()).is_ok());
    }

    #[test]
    fn a_nul_is_found_wherever_it_is() {
        assert_eq!(find_nul(&json!({ "a": [1, { "b": "x\0" }] })), Some(vec![json!("a"), json!(1), json!("b")]));
        assert_eq!(find_nul(&json!({ "a\0": 1 })), Some(vec![json!("a\u{FFFD}")]));
        assert_eq!(find_nul(&json!({ "a": "b" })), None);
    }
}
