//! What nobody may read: which names mark a secret, and how secrets are taken out of a text. Pure.

mod forms;
mod masker;
mod views;

pub use masker::Masker;

use serde_json::Value;

/// Stands where a secret stood.
pub const MASK: &str = "***";

/// Names that mark a secret, in a field of `extra` or in the key of a variable: Airflow's list.
const SENSITIVE: [&str; 22] = [
    "access_key",
    "access_token",
    "api_key",
    "apikey",
    "auth_header",
    "authorization",
    "bearer",
    "connection_string",
    "dsn",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "proxy_password",
    "secret",
    "service_account",
    "service_key",
    "token",
    "webhook_url",
];

/// Does this name mark a secret? `API-Key` does as `api_key`.
pub fn is_sensitive(name: &str) -> bool {
    let mut normal = String::with_capacity(name.len());
    for letter in name.trim().chars() {
        match letter {
            letter if letter.is_alphanumeric() || letter == '_' => normal.extend(letter.to_lowercase()),
            _ if normal.ends_with('_') => {}
            _ => normal.push('_'),
        }
    }
    SENSITIVE.iter().any(|word| normal.contains(word))
}

/// What is secret in a text that is JSON, or that is a secret as a whole.
pub fn secrets_in(is_secret: bool, text: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    collect(&Value::from(text), is_secret, &mut secrets);
    secrets
}

/// Texts in a value; below a sensitive name all of them, elsewhere those that have such a name themselves. JSON inside a
/// text counts as what it says.
pub(crate) fn collect(value: &Value, is_secret: bool, into: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if is_secret {
                into.push(text.clone());
            }
            if text.trim_start().starts_with(['{', '['])
                && let Ok(inner) = serde_json::from_str::<Value>(text)
            {
                collect(&inner, is_secret, into);
            }
        }
        Value::Number(number) if is_secret => into.push(number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, is_secret, into)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, item)| collect(item, is_secret || is_sensitive(name), into));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_however_they_are_written() {
        for name in ["password", "my_PASSWORD", "API-Key", "x.api key", "aws_secret_access_key", "Token2", "db_dsn"] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in ["host", "key", "pass_through", "region", "tok en", ""] {
            assert!(!is_sensitive(name), "{name}");
        }
    }
}
