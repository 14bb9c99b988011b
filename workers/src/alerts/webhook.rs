//! Sends alerts to webhooks: in the format of Slack, which many chat systems accept, or as JSON with all fields.

use super::PATIENCE;
use crate::outside::http::{Address, Ask, Http, anywhere, below, refusal};
use hmac::{Hmac, KeyInit, Mac};
use orch_core::alert::Message;
use orch_core::network::shown_origin;
use orch_sdk::task::Connection;
use serde_json::json;
use sha2::Sha256;
use std::fmt::Write as _;

/// Key in `extra` whose value is the signing secret, which the receiver also has.
const SIGNING_SECRET: &str = "signing_secret";
/// Maximum size of a response body. Only the status is used.
const MOST_ANSWER: u64 = 64 * 1024;

/// Sends an alert to a Slack webhook. `host` is the base URL and the password is the rest of the path, as in Airflow's
/// `slackwebhook` connections. A password that is a complete URL is used alone.
pub(super) async fn slack(http: &Http, connection: &Connection, message: &Message) -> Result<(), String> {
    let token = connection.password.as_deref().unwrap_or_default();
    let url = match connection.host.as_deref().filter(|host| !host.is_empty()) {
        _ if token.contains("://") => token.to_string(),
        Some(host) if token.is_empty() => host.to_string(),
        Some(host) => format!("{}/{}", host.trim_end_matches('/'), token.trim_start_matches('/')),
        None => format!("https://hooks.slack.com/services/{}", token.trim_start_matches('/')),
    };
    let address =
        anywhere(&url).map_err(|_| format!("connection `{}` leads to no address of a webhook", connection.id))?;
    post(http, address, message, json!({ "text": message.slack_text }).to_string()).await
}

/// Sends all fields of an alert as JSON. With a `signing_secret`, signs the body, so that the receiver can verify the
/// sender.
pub(super) async fn generic(http: &Http, connection: &Connection, message: &Message) -> Result<(), String> {
    let mut reached = connection.clone();
    let secret = reached.extra.remove(SIGNING_SECRET);
    let mut address = below(&reached, "").map_err(|error| format!("{error:#}"))?;
    let mut body = message.fields.clone();
    (body["subject"], body["text"]) = (json!(message.subject), json!(message.text));
    let body = body.to_string();
    if let Some(secret) = secret.as_ref().and_then(|secret| secret.as_str()) {
        address.headers.insert("X-Orch-Signature".into(), signature(secret, body.as_bytes()));
    }
    post(http, address, message, body).await
}

/// Returns the value of the header `X-Orch-Signature`: the HMAC-SHA256 of the body.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold("sha256=".to_string(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string can grow");
        hex
    })
}

async fn post(http: &Http, mut address: Address, message: &Message, body: String) -> Result<(), String> {
    // Receivers can detect duplicate deliveries by this key.
    address.headers.insert("Idempotency-Key".into(), message.key.clone());
    address.headers.insert("X-Orch-Alert".into(), message.kind.to_string());
    address.headers.insert("Content-Type".into(), "application/json".into());
    address.is_trusted = true;
    // The path may contain a secret, as in Slack's webhook URLs, so show only the origin.
    let receiver = shown_origin(&address.url);
    let (method, body) = ("POST".to_string(), Some(body.into_bytes()));
    let told = http.ask(Ask { method, address, body, timeout: PATIENCE, most_bytes: MOST_ANSWER }).await;
    let told = told.map_err(|error| error.message(&receiver))?;
    if (200..300).contains(&told.status) {
        return Ok(());
    }
    // Omit the response body: it may come from a server that the user who reads the error must not access.
    Err(refusal(&receiver, told.status, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_everybody_else() {
        // RFC 4231, test case 2.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), expected);
    }
}
