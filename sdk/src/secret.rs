//! Detection and masking of secrets: which names mark a secret, and how secrets are removed from text.

mod forms;
mod masker;
mod views;

pub use masker::Masker;

use serde_json::Value;
use std::ops::Range;

/// Replacement for a secret.
pub const MASK: &str = "***";

/// Substrings of names that mark a secret, in fields of `extra` and in keys of variables: Airflow's list and more.
const SENSITIVE: [&str; 27] = [
    "access_key",
    "access_token",
    "account_key",
    "api_key",
    "apikey",
    "auth_header",
    "authorization",
    "bearer",
    "connection_string",
    "cookie",
    "credential",
    "dsn",
    "key_pem",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "proxy_password",
    "pwd",
    "secret",
    "service_account",
    "service_key",
    "token",
    "webhook_url",
];

/// Words that mark a secret only as a whole word of a name. A substring match would include `path` and
/// `sasl.mechanism`.
const SENSITIVE_WORDS: [&str; 2] = ["pat", "sas"];

/// Returns whether a name marks a secret. Case and separators are ignored, so `API-Key` is `api_key`.
pub fn is_sensitive(name: &str) -> bool {
    let mut normal = String::with_capacity(name.len());
    for letter in name.trim().chars() {
        match letter {
            letter if letter.is_alphanumeric() || letter == '_' => normal.extend(letter.to_lowercase()),
            _ if normal.ends_with('_') => {}
            _ => normal.push('_'),
        }
    }
    SENSITIVE.iter().any(|word| normal.contains(word)) || normal.split('_').any(|word| SENSITIVE_WORDS.contains(&word))
}

/// Returns the address with `***` in place of its password. `None` if it has no password.
pub(crate) fn masked_address(address: &str) -> Option<String> {
    let password = password_of(address)?;
    let (before, after) = address.rsplit_once('@')?;
    Some(format!("{}{MASK}@{after}", before.strip_suffix(password)?))
}

/// Returns the password of an address such as `https://user:password@host`. `None` if it has none.
pub(crate) fn password_of(address: &str) -> Option<&str> {
    let (account, _) = address.rsplit_once('@')?;
    let account = account.split_once("://").map_or(account, |(_, account)| account);
    account.split_once(':').map(|(_, password)| password).filter(|password| !password.is_empty())
}

/// Returns the text with `***` in place of the password of each address. `None` if it contains no password.
fn masked_addresses(text: &str) -> Option<String> {
    let ranges = password_ranges(text);
    if ranges.is_empty() {
        return None;
    }
    let (mut masked, mut end) = (String::with_capacity(text.len()), 0);
    for range in ranges {
        masked.push_str(&text[end..range.start]);
        masked.push_str(MASK);
        end = range.end;
    }
    masked.push_str(&text[end..]);
    Some(masked)
}

/// Returns the byte ranges of the passwords of all addresses in a text, such as `hush` in `GET https://me:hush@h/ 200`.
/// An address ends at white space and quotes. The running time is linear, because records of topics can be large.
fn password_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(found) = text[from..].find("://") {
        let is_first = from == 0;
        let start = from + found + "://".len();
        let after = &text[start..];
        let authority = before(after, |letter| ends_address(letter) || matches!(letter, '/' | '?' | '#'));
        from = start;
        let account = if authority.contains('@') {
            authority
        } else if has_plain_host(authority) {
            continue;
        } else {
            // The password contains an unescaped special character, so it ends at the last `@` of the address.
            let address = before(after, ends_address);
            if address.contains('@') {
                address
            } else if is_first && is_scheme(text[..start - "://".len()].trim_start_matches(ends_address)) {
                // The text starts with the address, so the special character can be white space or a quote.
                after
            } else {
                from = start + address.len();
                continue;
            }
        };
        if let Some((account, _)) = account.rsplit_once('@')
            && let Some((user, password)) = account.split_once(':')
            && !password.is_empty()
        {
            from = start + account.len();
            ranges.push(start + user.len() + 1..from);
        }
    }
    ranges
}

fn ends_address(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '"' | '\'')
}

/// Returns the text before the first matching character.
fn before(text: &str, is_end: impl Fn(char) -> bool) -> &str {
    text.split(is_end).next().unwrap_or_default()
}

/// Returns true if an authority without `@` is a host with or without a port. A sentence may continue after it.
fn has_plain_host(authority: &str) -> bool {
    let port = authority.split_once(':').map_or("", |(_, port)| port.trim_end_matches([',', '.', ';', ')']));
    authority.starts_with('[') || port.chars().all(|letter| letter.is_ascii_digit())
}

fn is_scheme(text: &str) -> bool {
    text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.'))
}

/// Returns the secrets in a text, which may be JSON. The whole text is a secret if `is_secret` is true.
pub fn secrets_in(is_secret: bool, text: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    collect(&Value::from(text), is_secret, &mut secrets);
    secrets
}

/// Collects the secret strings and numbers of a value: all below a sensitive name, and passwords in addresses
/// everywhere. JSON inside a string is parsed.
pub(crate) fn collect(value: &Value, is_secret: bool, into: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            if is_secret {
                into.push(text.clone());
            } else {
                into.extend(password_ranges(text).into_iter().map(|range| text[range].to_owned()));
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

/// Replaces secret strings and numbers with `***`. A string that contains JSON with a secret is replaced as a whole.
pub fn mask_sensitive(value: &mut Value, is_secret: bool) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| mask_sensitive(item, is_secret)),
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, item)| mask_sensitive(item, is_secret || is_sensitive(name)));
        }
        Value::Null => {}
        Value::String(text) if !is_secret && text.trim_start().starts_with(['{', '[']) => {
            let mut inner = Vec::new();
            if let Ok(read) = serde_json::from_str::<Value>(text) {
                collect(&read, false, &mut inner);
            }
            if !inner.is_empty() {
                *value = MASK.into();
            }
        }
        other if is_secret => *other = MASK.into(),
        Value::String(text) => {
            if let Some(masked) = masked_addresses(text) {
                *text = masked;
            }
        }
        _ => {}
    }
}

/// Returns a variable as users may see it: `***` if its key marks a secret, otherwise with the secrets inside its JSON
/// or the passwords of its addresses masked.
pub fn masked_variable(key: &str, value: &str) -> String {
    if is_sensitive(key) {
        return MASK.into();
    }
    let Some(read) = json_in(value) else {
        return masked_addresses(value).unwrap_or_else(|| value.into());
    };
    let mut masked = read.clone();
    mask_sensitive(&mut masked, false);
    if masked == read { value.into() } else { masked.to_string() }
}

/// Returns true if a variable is not JSON and contains an address whose password is `***`.
pub fn has_masked_password(value: &str) -> bool {
    json_in(value).is_none() && password_ranges(value).into_iter().any(|range| &value[range] == MASK)
}

/// Returns the value to store when a user edits a masked variable: each unchanged `***` gets its stored value. The
/// password of an address is restored only if the rest of the address is unchanged. Otherwise, a user who cannot see
/// the password could send it to another host.
pub fn restored_variable(key: &str, sent: &str, stored: &str) -> String {
    if sent == masked_variable(key, stored) {
        return stored.into();
    }
    let (Some(sent_json), Some(stored)) = (json_in(sent), json_in(stored)) else { return sent.into() };
    let mut restored = sent_json.clone();
    restore(&mut restored, &stored);
    if restored == sent_json { sent.into() } else { restored.to_string() }
}

/// Replaces each `***` with the stored value at the same path.
pub(crate) fn restore(sent: &mut Value, stored: &Value) {
    match (sent, stored) {
        (Value::Object(sent), Value::Object(stored)) => {
            for (name, value) in sent {
                if let Some(stored) = stored.get(name) {
                    restore(value, stored);
                }
            }
        }
        (Value::Array(sent), Value::Array(stored)) => {
            sent.iter_mut().zip(stored).for_each(|(value, stored)| restore(value, stored));
        }
        (sent, stored) if sent.as_str() == Some(MASK) => *sent = stored.clone(),
        (Value::String(sent), Value::String(stored)) if masked_addresses(stored).as_ref() == Some(sent) => {
            sent.clone_from(stored);
        }
        _ => {}
    }
}

/// Parses a text that contains a JSON object or list.
fn json_in(text: &str) -> Option<Value> {
    if text.trim_start().starts_with(['{', '[']) { serde_json::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_however_they_are_written() {
        for name in [
            "password",
            "my_PASSWORD",
            "API-Key",
            "x.api key",
            "aws_secret_access_key",
            "Token2",
            "db_dsn",
            "azure.pat",
            "SAS",
            "pwd2",
        ] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in ["host", "key", "pass_through", "region", "tok en", "path", "pattern", "sasl.mechanism", ""] {
            assert!(!is_sensitive(name), "{name}");
        }
    }

    #[test]
    fn a_variable_is_masked_by_its_key_or_by_the_names_inside() {
        let shown = |key, value| masked_variable(key, value);
        assert_eq!(shown("api_token", "hush"), "***");
        assert_eq!(shown("api_token", "42"), "***");
        assert_eq!(shown("limit", " 42 "), " 42 ");
        assert_eq!(shown("limits", r#"{ "rows": 1 }"#), r#"{ "rows": 1 }"#);
        assert_eq!(
            shown("db", r#"{"host": "h", "password": "hush", "n": [{"token": 7}]}"#),
            r#"{"host":"h","n":[{"token":"***"}],"password":"***"}"#
        );
        assert_eq!(shown("broken", r#"{"password": "hu"#), r#"{"password": "hu"#);
        assert_eq!(shown("db", "postgres://me:hush@h/db"), "postgres://me:***@h/db");
        assert_eq!(shown("db", r#""postgres://me:hush@h/db""#), r#""postgres://me:***@h/db""#);
        assert_eq!(shown("broken", r#"{"db": "postgres://me:hush@h/db"#), r#"{"db": "postgres://me:***@h/db"#);
        for plain in ["https://h:8080/a", "postgres://me@h/db", "me:x@h", "a: b@c"] {
            assert_eq!(shown("plain", plain), plain);
        }
    }

    #[test]
    fn only_the_passwords_of_addresses_are_masked() {
        for plain in [
            "GET http://shop:8080/cart user=ada@example.com",
            "see http://shop:8080, or ask ada@example.com",
            "https://h:8443/x?mail=a@b.c",
            "https://h/x?at=12:30&mail=a@b.c",
            "http://[::1]:8080/x?mail=a@b.c",
            "12:30 https://me@h/ a:b@c",
            "https://me:@h/",
        ] {
            assert_eq!(masked_variable("line", plain), plain);
            assert!(secrets_in(false, plain).is_empty(), "{plain}");
            let json = serde_json::json!({ "line": plain }).to_string();
            assert_eq!(masked_variable("line", &json), json);
        }
        for (text, shown) in [
            ("get https://me:hush@h/x?mail=a@b.c ok", "get https://me:***@h/x?mail=a@b.c ok"),
            ("x://a:hush@h1,x://b:hush@h2", "x://a:***@h1,x://b:***@h2"),
            ("a='x://a:hush@h1' b=\"x://:hush@h2:1/d\"", "a='x://a:***@h1' b=\"x://:***@h2:1/d\""),
            ("http://h:80/ \n x://a:hu@sh@h1", "http://h:80/ \n x://a:***@h1"),
            ("got x://me:hu/sh#?@h/db for a@b", "got x://me:***@h/db for a@b"),
            ("x://me:hu sh@h/db", "x://me:***@h/db"),
            (" x://me:hu\"sh@h/db", " x://me:***@h/db"),
            ("x://mé:hüsh@h/é", "x://mé:***@h/é"),
        ] {
            assert_eq!(masked_variable("line", text), shown);
            assert_eq!(masked_variable("line", shown), shown);
            assert_eq!(restored_variable("line", shown, text), text);
            assert!(has_masked_password(shown) && !has_masked_password(text), "{shown}");
        }
        assert_eq!(secrets_in(false, "x://a:hush1@h x://b:hush2@h"), ["hush1", "hush2"]);
        assert!(masked_variable("line", &"x://a:b".repeat(200_000)).ends_with("a:b"), "it ends in linear time");
    }

    #[test]
    fn what_was_shown_and_sent_back_changes_no_secret() {
        let stored = r#"{"host": "h", "password": "hush", "list": [{"token": "a"}, {"token": "b"}]}"#;
        let back = |sent: &str| restored_variable("db", sent, stored);
        assert_eq!(back(&masked_variable("db", stored)), stored);
        let changed = r#"{"host":"other","list":[{"token":"***"},{"token":"new"}],"password":"***","more":"***"}"#;
        let expected = r#"{"host":"other","list":[{"token":"a"},{"token":"new"}],"more":"***","password":"hush"}"#;
        let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
        assert_eq!(value(&back(changed)), value(expected));
        assert_eq!(back("plain"), "plain");
        assert_eq!(restored_variable("token", "***", "hush"), "hush");
        assert_eq!(restored_variable("token", "new", "hush"), "new");
        let address = |sent: &str| restored_variable("db", sent, "postgres://me:hush@h/db");
        assert_eq!(address("postgres://me:***@h/db"), "postgres://me:hush@h/db");
        let elsewhere = address("postgres://me:***@evil.example/db");
        assert_eq!(elsewhere, "postgres://me:***@evil.example/db");
        assert!(has_masked_password(&elsewhere));
        for other in ["postgres://me:hush@h/db", "***", "me:***@h", r#"{"db": "postgres://me:***@h/db"}"#] {
            assert!(!has_masked_password(other), "{other}");
        }
    }
}
