//! Secrets are masked in every form in which they can appear in a log line, and nothing else is masked.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use orch_sdk::secret::Masker;
use proptest::prelude::*;
use std::time::Instant;

fn percent(text: &str, keeps: &str, upper: bool) -> String {
    let code = |byte: u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
    let put = |byte: u8| match char::from(byte) {
        sign if sign.is_ascii_alphanumeric() || keeps.contains(sign) => sign.to_string(),
        _ => code(byte),
    };
    text.bytes().map(put).collect()
}

fn hex(text: &str, before: &str) -> String {
    text.bytes().fold(String::new(), |hex, byte| format!("{hex}{before}{byte:02x}"))
}

fn ascii_json(text: &str) -> String {
    let put = |unit: u16| match u8::try_from(unit).map(char::from) {
        Ok(letter) if letter.is_ascii_alphanumeric() => letter.to_string(),
        _ => format!("\\u{unit:04X}"),
    };
    text.encode_utf16().map(put).collect()
}

/// Returns every form in which a library may write a text.
fn written(secret: &str) -> Vec<String> {
    let json = serde_json::to_string(secret).expect("text is JSON");
    let mut all = vec![
        secret.to_string(),
        percent(secret, "-._~", true),
        percent(secret, "-._~", false),
        percent(secret, "-._~/", true),
        percent(secret, "!'()*-._~", true),
        percent(secret, "*-._ ", true).replace(' ', "+"),
        percent(&percent(secret, "-._~", true), "-._~", true),
        json.clone(),
        serde_json::to_string(&json).expect("text is JSON"),
        json.replace('/', "\\/"),
        ascii_json(secret),
        format!("{secret:?}"),
        format!("{:?}", percent(secret, "", false)),
        secret.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#x27;"),
        hex(secret, ""),
        hex(secret, "").to_uppercase(),
        hex(secret, "\\x"),
    ];
    for before in ["", "u", "me", "abc"] {
        for after in ["", "@", "@h"] {
            let text = format!("{before}{secret}{after}");
            all.extend([STANDARD.encode(&text), STANDARD_NO_PAD.encode(&text)]);
            all.extend([URL_SAFE.encode(&text), URL_SAFE_NO_PAD.encode(&text)]);
        }
    }
    all
}

fn check(secret: &str) {
    let masker = Masker::of([secret]);
    for form in written(secret) {
        for line in
            [form.clone(), format!("with {form} in it"), format!("url=x://me:{form}@host/;"), format!("é{form}é")]
        {
            let masked = masker.mask(&line);
            assert!(masked.contains("***"), "{secret:?} as {line:?} is not masked");
            // Base64 characters that contain bits of a neighboring byte may remain; the secret must not.
            assert!(!masked.contains(&form) && !masked.contains(secret), "{line:?} became {masked:?}");
        }
    }
}

#[test]
fn a_secret_is_found_in_every_encoding() {
    for secret in
        ["hunter2", "p@ss/w:rd%41", "ünïcödé ☃ 🦀", "a b+c&d=e", "quote\"back\\slash", "<it's>", "tab\tand\nline end"]
    {
        check(secret);
    }
}

proptest! {
    #[test]
    fn any_secret_is_found_in_every_encoding(secret in "[ -~éß☃🦀]{5,24}") {
        prop_assume!(secret.trim() == secret && secret.chars().any(|letter| letter != '*'));
        // A secret that is part of `***`, or that contains `***`, cannot be distinguished from its mask.
        prop_assume!(!"***".contains(&secret) && !secret.contains("***"));
        check(&secret);
    }

    #[test]
    fn a_text_without_secrets_stays_as_it_is(text in "\\PC{0,60}") {
        let masker = Masker::of(["QQ-never-QQ"]);
        prop_assert_eq!(&*masker.mask(&text), &text);
    }

    #[test]
    fn how_secrets_come_makes_no_difference(
        secrets in prop::collection::vec("[abc]{3,5}", 1..12),
        text in "[abc ]{0,40}",
    ) {
        let one_by_one = secrets.iter().fold(Masker::default(), |masker, secret| masker.with([secret]));
        prop_assert_eq!(one_by_one.mask(&text), Masker::of(&secrets).mask(&text));
    }
}

#[test]
fn overlapping_secrets_leave_nothing_of_each_other() {
    let masker = Masker::of(["abcd", "cdef"]);
    assert_eq!(masker.mask("xabcdefx cdef abcdcdef"), "x***x *** ***");
}

#[test]
fn what_is_too_short_or_a_word_of_everyday_is_no_secret() {
    for word in ["", "ab", "true", "Airflow", "***", "postgres"] {
        assert!(Masker::of([word]).is_empty(), "{word}");
    }
    assert_eq!(Masker::of(["abc"]).mask("an abc"), "an ***");
}

#[test]
fn a_private_key_is_found_line_by_line() {
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n";
    let masker = Masker::of([key]);
    assert_eq!(masker.mask("line 2: hkiG9w0BAQEFAASC"), "line 2: ***");
    assert_eq!(masker.mask(&format!("{{\"key\":{key:?}}}")), "{\"key\":\"***\"}");
}

#[test]
fn values_keep_their_shape() {
    let masker = Masker::of(["hunter2", "12345"]);
    let mut value = serde_json::json!({ "a": ["hunter2", 12345, 1, true, null], "hunter2": { "b": "x hunter2" } });
    masker.mask_value(&mut value);
    assert_eq!(value, serde_json::json!({ "a": ["***", "***", 1, true, null], "***": { "b": "x ***" } }));
}

#[test]
fn a_thousand_secrets_are_as_quick_as_one() {
    let secrets: Vec<String> = (0..1_000).map(|number| format!("planted-{number}-secret-{}", number * 7919)).collect();
    let began = Instant::now();
    let masker = secrets.iter().fold(Masker::default(), |masker, secret| masker.with([secret]));
    let built = began.elapsed();
    assert_eq!(masker.len(), 1_000);
    let line = "an ordinary line of a log, as long as they are: 12345 rows loaded in 7.5 s from table `sales`";
    let began = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(masker.mask(line), line);
    }
    let each = began.elapsed() / 10_000;
    // For a debug build on a busy machine. An optimised build takes about a microsecond per line.
    assert!(each.as_micros() < 500 && built.as_secs() < 60, "{each:?} a line, built in {built:?}");
    assert_eq!(masker.mask("planted-999-secret-7911081"), "***");
}
