//! The unescaped forms in which the bytes of a secret can appear in a text: plain, in hex, and in base64 at any offset.
//! Escaped forms are found by decoding the text (`views.rs`).

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// Minimum length of an encoded form. Shorter ones match by chance: three bytes are four base64 characters.
const SHORTEST_CODE: usize = 6;

/// In base64, the characters at both ends can also contain bits of neighboring bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretForm {
    AsItIs,
    Base64 { begins_inside: bool, ends_inside: bool },
}

pub(super) fn of(secret: &str) -> Vec<(String, SecretForm)> {
    let bytes = secret.as_bytes();
    let mut forms = vec![(secret.to_string(), SecretForm::AsItIs)];
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let lower: String = digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect();
    if lower.len() >= SHORTEST_CODE {
        forms.push((lower.to_uppercase(), SecretForm::AsItIs));
        forms.push((lower, SecretForm::AsItIs));
    }
    for alphabet in [&STANDARD, &URL_SAFE] {
        let engine = GeneralPurpose::new(alphabet, NO_PAD);
        for offset in 0..3 {
            // A base64 character encodes six bits. Only characters without bits of a neighboring byte are the same in
            // every context.
            let mut shifted = vec![0; offset];
            shifted.extend_from_slice(bytes);
            let (first, end) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
            let code = engine.encode(&shifted);
            if end.saturating_sub(first) >= SHORTEST_CODE {
                let kind = SecretForm::Base64 { begins_inside: offset > 0, ends_inside: shifted.len() % 3 != 0 };
                forms.push((code[first..end].to_string(), kind));
            }
        }
    }
    forms.sort_by(|a, b| a.0.cmp(&b.0));
    forms.dedup_by(|a, b| a.0 == b.0);
    forms
}
