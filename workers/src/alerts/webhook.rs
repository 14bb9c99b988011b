//! Webhooks: one in the way of Slack, which many chats take, and one that sends everything as JSON, signed.

use super::PATIENCE;
use crate::outside::http::{Address, Ask, Http, anywhere, below, refusal};
use hmac::{Hmac, KeyInit, Mac};
use orch_core::alert::Message;
use orch_core::network::shown_origin;
use orch_sdk::task::Connection;
use serde_json::json;
use sha2::Sha256;
use std::fmt::Write as _;

/// In `extra`: what the receiver knows too.
const SIGNING_SECRET: &str = "signing_secret";
/// A receiver has nothing to say but its status.
const MOST_ANSWER: u64 = 64 * 1024;

/// `host` is the address, and the password what follows it, as Airflow's `slackwebhook` has it; or the password is the whole.
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

/// Everything as JSON. With a `signing_secret` it is signed, so that a receiver knows who sent it.
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

/// What stands in `X-Orch-Signature`: HMAC-SHA256 of the body.
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length is a key");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold("sha256=".to_string(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string can grow");
        hex
    })
}

async fn post(http: &Http, mut address: Address, message: &Message, body: String) -> Result<(), String> {
    // Whoever gets it twice knows it by this.
    address.headers.insert("Idempotency-Key".into(), message.key.clone());
    address.headers.insert("X-Orch-Alert".into(), message.kind.to_string());
    address.headers.insert("Content-Type".into(), "application/json".into());
    address.is_trusted = true;
    // The path may be a secret, as in Slack's webhooks.
    let receiver = shown_origin(&address.url);
    let (method, body) = ("POST".to_string(), Some(body.into_bytes()));
    let told = http.ask(Ask { method, address, body, timeout: PATIENCE, most_bytes: MOST_ANSWER }).await;
    let told = told.map_err(|error| error.message(&receiver))?;
    if (200..300).contains(&told.status) {
        return Ok(());
    }
    // Without the body: the response may come from a server that this machine reaches and the reader does not.
    Err(refusal(&receiver, told.status, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_everybody_else() {
        // RFC 4231, case 2.
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature("Jefe", b"what do ya want for nothing?"), expected);
    }
}
