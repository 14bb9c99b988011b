//! Sealing of secrets in task outputs. Other tasks of the run need the secrets, but users must not see them. Each
//! string that contains a secret is therefore sealed (encrypted) and stored together with its masked form.

use crate::seal::{Keyring, Seat, SecretError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use orch_sdk::secret::{MASK, Masker};
use serde_json::Value;
use std::borrow::Cow;
use uuid::Uuid;

/// Prefix of a sealed string. The format is: this prefix, the sealed JSON in base64, a colon, and the masked form.
const MARK: &str = "orch-sealed:";

fn seat(run: &str) -> Seat<'_> {
    Seat { table: "output", id: run, column: "value" }
}

/// Returns `value` with every string that contains a secret sealed for this run, or `None` if there is none. `text` is
/// `value` serialized as JSON.
pub fn sealed(
    value: &Value,
    text: &str,
    run: Uuid,
    masker: &Masker,
    keys: &Keyring,
) -> Result<Option<Value>, SecretError> {
    if matches!(masker.mask(text), Cow::Borrowed(_)) {
        return Ok(None);
    }
    let mut value = value.clone();
    let changed = seal(&mut value, &run.to_string(), masker, keys)?;
    Ok(changed.then_some(value))
}

fn seal(value: &mut Value, run: &str, masker: &Masker, keys: &Keyring) -> Result<bool, SecretError> {
    let seen = match value {
        Value::Array(items) => {
            return items.iter_mut().try_fold(false, |any, item| Ok(seal(item, run, masker, keys)? | any));
        }
        Value::Object(fields) => {
            if fields.keys().any(|name| matches!(masker.mask(name), Cow::Owned(_))) {
                MASK.into()
            } else {
                let mut fields = fields.values_mut();
                return fields.try_fold(false, |any, item| Ok(seal(item, run, masker, keys)? | any));
            }
        }
        Value::String(text) => match masker.mask(text) {
            Cow::Borrowed(_) => return Ok(false),
            Cow::Owned(masked) => masked,
        },
        Value::Number(number) if matches!(masker.mask(&number.to_string()), Cow::Owned(_)) => MASK.into(),
        Value::Number(_) | Value::Bool(_) | Value::Null => return Ok(false),
    };
    let code = BASE64.encode(keys.seal(seat(run), &value.to_string())?);
    *value = format!("{MARK}{code}:{seen}").into();
    Ok(true)
}

/// Returns `value` with all sealed strings replaced by their original values.
pub fn opened(mut value: Value, run: Uuid, keys: &Keyring) -> Result<Value, SecretError> {
    open(&mut value, &run.to_string(), keys)?;
    Ok(value)
}

fn open(value: &mut Value, run: &str, keys: &Keyring) -> Result<(), SecretError> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(|item| open(item, run, keys)),
        Value::Object(fields) => fields.values_mut().try_for_each(|item| open(item, run, keys)),
        Value::String(text) => {
            let code = text.strip_prefix(MARK).and_then(|rest| rest.split_once(':'));
            let Some(code) = code.and_then(|(code, _)| BASE64.decode(code).ok()) else { return Ok(()) };
            match keys.open(seat(run), &code) {
                Ok(json) => *value = serde_json::from_str(&json).unwrap_or(Value::String(json)),
                // The string has the prefix of a sealed string but was never sealed, so it is kept.
                Err(SecretError::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
            Ok(())
        }
        Value::Number(_) | Value::Bool(_) | Value::Null => Ok(()),
    }
}

/// Returns `value` with each sealed string replaced by its masked form, for display.
pub fn mask_sealed(value: Value) -> Value {
    let text = value.to_string();
    if !text.contains(MARK) {
        return value;
    }
    serde_json::from_str(&shown_text(&text)).unwrap_or_else(|_| MASK.into())
}

/// Replaces sealed strings by their masked forms in JSON text. The text may be cut off in the middle of a string.
pub fn shown_text(text: &str) -> String {
    let mut parts = text.split(MARK);
    let mut shown = parts.next().unwrap_or_default().to_string();
    for part in parts {
        // Base64 contains no colon. If the text is cut off within the base64, the masked form after it is missing.
        let end = part.find(|sign: char| !sign.is_ascii_alphanumeric() && !"-_".contains(sign));
        match end {
            Some(end) if part[end..].starts_with(':') => shown.push_str(&part[end + 1..]),
            Some(_) => shown.extend([MARK, part]),
            None => shown.push_str(MASK),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_secret_is_sealed_leaf_by_leaf_and_comes_back_as_it_was() {
        let keys = Keyring::parse(&Keyring::generate()).expect("a key");
        let (masker, run) = (Masker::of(["hunter2", "77123"]), Uuid::from_u128(7));
        let given = json!({ "url": "pg://me:hunter2@h", "plain": "x", "list": [1, "hunter2", 77123], "hunter2": 1 });
        let kept = sealed(&given, &given.to_string(), run, &masker, &keys)
            .expect("a key is known")
            .expect("there are secrets in it");
        let text = kept.to_string();
        assert!(!text.contains("hunter2") && !text.contains("77123"), "{text}");
        assert_eq!(opened(kept.clone(), run, &keys).expect("its key"), given);
        assert_eq!(mask_sealed(kept), json!("***"), "a name of a field is secret");
        let given = json!({ "url": "pg://me:hunter2@h", "plain": "x", "list": [1, "hunter2", 77123] });
        let kept = sealed(&given, &given.to_string(), run, &masker, &keys)
            .expect("a key is known")
            .expect("there are secrets in it");
        assert_eq!(
            mask_sealed(kept.clone()),
            json!({ "url": "pg://me:***@h", "plain": "x", "list": [1, "***", "***"] })
        );
        let text = kept.to_string();
        for end in 0..text.len() {
            let cut = shown_text(&text[..end]);
            assert!(!cut.contains("hunter2") && (end < 40 || !cut.contains(&text[30..end.min(60)])), "{cut}");
        }
        assert!(opened(kept.clone(), run, &Keyring::default()).is_err());
        assert_eq!(opened(kept.clone(), Uuid::from_u128(8), &keys).expect("it is left as it is"), kept);
        assert!(sealed(&json!(["x", 1]), "[\"x\",1]", run, &masker, &keys).expect("nothing to do").is_none());
        let like = json!("orch-sealed:no code");
        assert_eq!(
            (opened(like.clone(), run, &keys).expect("it is a text"), mask_sealed(like.clone())),
            (like.clone(), like)
        );
    }
}
