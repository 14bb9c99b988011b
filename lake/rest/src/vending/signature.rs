//! AWS Signature Version 4 for `POST /` with a form body.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

pub(super) struct Signer<'a> {
    pub(super) access_key: &'a str,
    pub(super) secret_key: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

impl Signer<'_> {
    /// Returns the headers of the request, including the signature.
    pub(super) fn headers(
        &self,
        host: &str,
        body: &str,
        session_token: Option<&str>,
        now: DateTime<Utc>,
    ) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("host", host.to_owned()),
            ("x-amz-date", now.format("%Y%m%dT%H%M%SZ").to_string()),
        ];
        headers.extend(session_token.map(|token| ("x-amz-security-token", token.to_owned())));
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines = headers.iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>().join("\n");
        let request = format!("POST\n/\n\n{lines}\n\n{names}\n{}", hash(body));
        let scope = format!("{}/{}/{}/aws4_request", now.format("%Y%m%d"), self.region, self.service);
        let signed = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", now.format("%Y%m%dT%H%M%SZ"), hash(&request));
        let signature = hex(&keyed(&self.key(now), &signed));
        let credential = format!("{}/{scope}", self.access_key);
        headers.push((
            "authorization",
            format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"),
        ));
        headers
    }

    fn key(&self, now: DateTime<Utc>) -> Vec<u8> {
        let first = format!("AWS4{}", self.secret_key).into_bytes();
        let parts = [&now.format("%Y%m%d").to_string(), self.region, self.service, "aws4_request"];
        parts.into_iter().fold(first, |key, part| keyed(&key, part))
    }
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { unreachable!("HMAC takes keys of any length") };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone as _;

    /// Test data: the example for a signing key in the AWS documentation.
    #[test]
    fn a_key_is_derived_as_aws_documents_it() {
        let secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let signer = Signer { access_key: "AKIDEXAMPLE", secret_key, region: "us-east-1", service: "iam" };
        let day = Utc.with_ymd_and_hms(2015, 8, 30, 12, 36, 0).single().expect("a time");
        assert_eq!(hex(&signer.key(day)), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }
}
