//! Encryption of secrets at rest. Secrets are sealed (encrypted) with a key that is not stored in the database. Each is
//! bound to its location, so a user with write access to the tables cannot copy a secret into a column that is
//! displayed.
//!
//! A sealed value consists of a format version, the id of its key, a random nonce and the ciphertext
//! (XChaCha20-Poly1305). Its location is the associated data of the cipher. For key rotation, several keys can be
//! configured: the first one seals new values, and all of them open existing values.

use crate::StoreError;
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chacha20poly1305::aead::{Aead as _, Generate as _, Payload};
use chacha20poly1305::{Key, KeyInit as _, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use std::fmt;

const VERSION: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

/// Location to which a sealed value is bound. The value cannot be opened at another location.
#[derive(Debug, Clone, Copy)]
pub struct Seat<'a> {
    pub table: &'static str,
    pub id: &'a str,
    pub column: &'static str,
}

impl Seat<'_> {
    /// Returns the location as associated data for the cipher. It is unique per location, because no component contains
    /// NUL.
    fn bytes(&self) -> Vec<u8> {
        [self.table, "\0", self.id, "\0", self.column].concat().into_bytes()
    }

    /// Returns an instruction for users about replacing the secret if its key is lost.
    fn replacement(&self) -> String {
        match self.table {
            "connection" => format!("delete connection `{}` and add it again", self.id),
            "variable" => format!("set variable `{}` again", self.id),
            _ => "rerun the tasks that return the value".into(),
        }
    }
}

impl fmt::Display for Seat<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.table, self.column) {
            ("variable", _) => write!(f, "variable `{}`", self.id),
            (table, column) => write!(f, "the {column} of {table} `{}`", self.id),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A secret cannot be sealed, because this process has no key.
    #[error(
        "{seat} cannot be kept: this process has no key for secrets\nhint: set `ORCH_SECRET_KEY`, or name a file with \
        `ORCH_SECRET_KEY_FILE`; `orch secrets generate-key` prints a new key"
    )]
    NoKey { seat: String },
    /// A sealed secret cannot be opened, because this process does not have its key. `replacement` is what users do if
    /// the key is lost.
    #[error(
        "{seat} is sealed with the key {key}, which this process does not have\nhint: add that key to `ORCH_SECRET_KEY`, behind \
        a comma, or to the file of `ORCH_SECRET_KEY_FILE` (`orch standalone` keeps its key in `secret.key` of its data folder); a new \
        key cannot open the secret. If the key is lost, {replacement}"
    )]
    UnknownKey { seat: String, key: String, replacement: String },
    #[error("{seat} cannot be opened: it was changed, or copied from elsewhere\nhint: set the value again")]
    Damaged { seat: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for SecretError {
    fn from(error: sqlx::Error) -> Self {
        SecretError::Store(error.into())
    }
}

/// Error for an invalid key. The message does not contain any part of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key {number} for secrets is not 32 bytes in base64\nhint: make one with `orch secrets generate-key`")]
pub struct BadKey {
    number: usize,
}

/// The encryption keys of this process. The keyring may be empty; then sealing or opening a secret fails.
#[derive(Clone, Default)]
pub struct Keyring {
    keys: Vec<SecretKey>,
}

#[derive(Clone)]
struct SecretKey {
    id: [u8; ID_BYTES],
    cipher: XChaCha20Poly1305,
}

impl Keyring {
    /// Parses encryption keys that are separated by commas or newlines. The first key seals new values, and all keys
    /// open existing ones. Fernet keys from Airflow are valid keys.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let written = text.split([',', '\n']).map(str::trim).filter(|key| !key.is_empty() && !key.starts_with('#'));
        let keys = written.enumerate().map(|(number, key)| {
            let decode = |alphabet| GeneralPurpose::new(alphabet, config).decode(key).ok();
            let bytes = decode(&URL_SAFE).or_else(|| decode(&STANDARD)).filter(|bytes| bytes.len() == KEY_BYTES);
            bytes.and_then(|bytes| SecretKey::new(&bytes)).ok_or(BadKey { number: number + 1 })
        });
        Ok(Keyring { keys: keys.collect::<Result<_, _>>()? })
    }

    /// Generates a random key in the format that `parse` accepts.
    pub fn generate() -> String {
        let config = GeneralPurposeConfig::new();
        GeneralPurpose::new(&URL_SAFE, config).encode(Key::generate())
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the id of the key that seals new values, for lists and error messages.
    pub fn first_id(&self) -> Option<String> {
        self.keys.first().map(|key| name(&key.id))
    }

    pub fn seal(&self, seat: Seat<'_>, secret: &str) -> Result<Vec<u8>, SecretError> {
        let key = self.keys.first().ok_or_else(|| SecretError::NoKey { seat: seat.to_string() })?;
        let nonce = XNonce::generate();
        let payload = Payload { msg: secret.as_bytes(), aad: &seat.bytes() };
        let text = key.cipher.encrypt(&nonce, payload).map_err(|_| SecretError::Damaged { seat: seat.to_string() })?;
        Ok([&[VERSION][..], &key.id, &nonce, &text].concat())
    }

    pub fn open(&self, seat: Seat<'_>, sealed: &[u8]) -> Result<String, SecretError> {
        let damaged = || SecretError::Damaged { seat: seat.to_string() };
        let (id, rest) = parts(sealed).ok_or_else(damaged)?;
        let (nonce, text) = rest.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| SecretError::UnknownKey {
            seat: seat.to_string(),
            key: name(id),
            replacement: seat.replacement(),
        })?;
        let nonce = XNonce::try_from(nonce).map_err(|_| damaged())?;
        let opened = key.cipher.decrypt(&nonce, Payload { msg: text, aad: &seat.bytes() }).map_err(|_| damaged())?;
        String::from_utf8(opened).map_err(|_| damaged())
    }

    /// Returns true if the value is sealed with the first key, so that key rotation need not seal it again.
    pub(crate) fn is_current(&self, sealed: &[u8]) -> bool {
        parts(sealed).is_some_and(|(id, _)| self.keys.first().is_some_and(|key| key.id == id))
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| name(&key.id))).finish()
    }
}

impl SecretKey {
    fn new(bytes: &[u8]) -> Option<Self> {
        let hash = Sha256::new().chain_update(b"orch secret key").chain_update(bytes).finalize();
        let mut id = [0; ID_BYTES];
        id.copy_from_slice(&hash[..ID_BYTES]);
        Some(SecretKey { id, cipher: XChaCha20Poly1305::new_from_slice(bytes).ok()? })
    }
}

/// Splits a sealed value into the id of its key and the remaining bytes.
fn parts(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    sealed.strip_prefix(&[VERSION])?.split_at_checked(ID_BYTES)
}

fn name(id: &[u8]) -> String {
    id.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAT: Seat<'static> = Seat { table: "connection", id: "db", column: "password" };

    fn ring(keys: &[&str]) -> Keyring {
        Keyring::parse(&keys.join(",")).expect("keys")
    }

    #[test]
    fn a_secret_is_opened_with_its_key_and_at_its_place_only() {
        let (one, two) = (Keyring::generate(), Keyring::generate());
        let sealed = ring(&[&one]).seal(SEAT, "hunter2").expect("a key is known");
        assert!(!sealed.windows(7).any(|bytes| bytes == b"hunter2"));
        assert_eq!(ring(&[&one]).open(SEAT, &sealed).expect("its key"), "hunter2");
        assert_eq!(ring(&[&two, &one]).open(SEAT, &sealed).expect("one of the keys"), "hunter2");
        assert!(matches!(ring(&[&two]).open(SEAT, &sealed), Err(SecretError::UnknownKey { .. })));
        for keys in [Keyring::default(), ring(&[&two])] {
            let missing = keys.open(SEAT, &sealed).expect_err("the key is missing").to_string();
            let message = format!(
                "the password of connection `db` is sealed with the key {}, which",
                ring(&[&one]).first_id().expect("a key")
            );
            assert!(missing.starts_with(&message), "{missing}");
            assert!(missing.contains("\nhint: add that key to `ORCH_SECRET_KEY`"), "{missing}");
            assert!(missing.ends_with("If the key is lost, delete connection `db` and add it again"), "{missing}");
            assert!(!missing.contains("generate-key"), "a new key opens nothing: {missing}");
        }
        for seat in [Seat { id: "d", ..SEAT }, Seat { column: "extra", ..SEAT }, Seat { table: "variable", ..SEAT }] {
            assert!(matches!(ring(&[&one]).open(seat, &sealed), Err(SecretError::Damaged { .. })), "{seat}");
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(ring(&[&one]).open(SEAT, &changed).is_err(), "byte {at}");
            assert!(ring(&[&one]).open(SEAT, &sealed[..at]).is_err(), "{at} bytes");
        }
        assert_ne!(
            sealed,
            ring(&[&one]).seal(SEAT, "hunter2").expect("a key is known"),
            "equal secrets look different"
        );
    }

    #[test]
    fn keys_are_32_bytes_and_are_never_shown() {
        let key = Keyring::generate();
        assert!(
            ring(&[&key, &key.replace('-', "+").replace('_', "/"), key.trim_end_matches('=')])
                .is_current(&ring(&[&key]).seal(SEAT, "x").expect("a key is known"))
        );
        for wrong in ["hush", "aHVzaA==", &format!("{key}x")] {
            let error = Keyring::parse(&format!("{key},{wrong}")).expect_err(wrong);
            assert!(error.to_string().starts_with("key 2 ") && !error.to_string().contains("hush"), "{error}");
        }
        assert!(!format!("{:?}", ring(&[&key])).contains(&key[..8]));
        assert!(Keyring::parse(" \n# none\n").expect("nothing is fine").is_empty());
        let error = Keyring::default().seal(SEAT, "hunter2").expect_err("no key").to_string();
        assert!(
            error.starts_with("the password of connection `db` cannot be kept") && error.contains("hint:"),
            "{error}"
        );
    }
}
