//! Sends e-mail over SMTP. Configured like Airflow's `smtp` connections: `from_email`, `disable_tls` and `disable_ssl`
//! in `extra`. If the notifier names no recipients, the `to` of `extra` is used.

use super::PATIENCE;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport as _};
use orch_core::alert::Message;
use orch_core::network::{NOT_REACHED, Reach};
use orch_sdk::task::Connection;
use serde_json::Value;
use std::error::Error;
use std::io::Read as _;
use std::net::ToSocketAddrs as _;

/// Port for implicit TLS.
const SMTPS: u16 = 465;
/// Port for STARTTLS, or for unencrypted SMTP if the connection sets `disable_tls`.
const SUBMISSION: u16 = 587;
/// Maximum size of `ca_file` in bytes. For comparison, all certificate authorities of a browser take 200 kB.
const MOST_CERTIFICATE_BYTES: u64 = 1 << 20;

/// Sends an e-mail. If `reach` is set, the server's address must be permitted by it.
pub(super) async fn send(
    connection: &Connection,
    message: &Message,
    to: &[String],
    reach: Option<&Reach>,
) -> Result<(), String> {
    let mail = mail(connection, message, to)?;
    let (connection, reach) = (connection.clone(), reach.cloned());
    let sent = tokio::task::spawn_blocking(move || {
        let transport = transport(&connection, reach.as_ref())?;
        transport.send(&mail).map(drop).map_err(|error| problem(&error))
    });
    sent.await.map_err(|error| error.to_string())?
}

/// Describes an error. Only the code of an SMTP response is included, because the response may come from a server that
/// the user must not read from.
fn problem(error: &smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answers {code}"),
        None if error.is_response() => "its answer is not that of a mail server".into(),
        None => chain(error),
    }
}

fn transport(connection: &Connection, reach: Option<&Reach>) -> Result<SmtpTransport, String> {
    let host = connection.host.as_deref().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| format!("connection `{}` has no host", connection.id))?;
    let says = |name: &str| connection.extra_field(name).is_some_and(|yes| yes == true || yes == "true");
    let port = connection.port.unwrap_or(if says("disable_ssl") { SUBMISSION } else { SMTPS });
    let tls = if port == SMTPS && !says("disable_ssl") {
        Tls::Wrapper(tls(connection, host)?)
    } else if says("disable_tls") {
        Tls::None
    } else {
        Tls::Required(tls(connection, host)?)
    };
    let server = reach.map_or_else(|| Ok(host.to_string()), |reach| resolved(host, port, reach))?;
    let mut builder = SmtpTransport::builder_dangerous(server).port(port).tls(tls).timeout(Some(PATIENCE));
    if let Some(login) = connection.login.clone().filter(|login| !login.is_empty()) {
        builder = builder.credentials(Credentials::new(login, connection.password.clone().unwrap_or_default()));
    }
    Ok(builder.build())
}

/// Resolves the host once and returns a permitted IP address, so that the checked address is also the one that is used.
fn resolved(host: &str, port: u16, reach: &Reach) -> Result<String, String> {
    let mut found = (host, port).to_socket_addrs().map_err(|error| format!("`{host}` cannot be resolved: {error}"))?;
    let allowed = found.find(|address| reach.allows(address.ip()));
    allowed.map(|address| address.ip().to_string()).ok_or_else(|| format!("`{host}`: {NOT_REACHED}"))
}

/// Trusts the usual certificate authorities, and the certificates in `ca_file` if it is set.
fn tls(connection: &Connection, host: &str) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_string());
    if let Some(file) = connection.extra_field("ca_file").and_then(Value::as_str) {
        let wrong = |error: &dyn Error| format!("`ca_file` of connection `{}`: {error}", connection.id);
        let pem = certificates(file).map_err(|error| wrong(&error))?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|error| wrong(&error))?);
    }
    builder.build().map_err(|error| chain(&error))
}

/// Reads the certificates in `file`, a path that users choose. Rejects files that are not regular or are larger than
/// `MOST_CERTIFICATE_BYTES`.
fn certificates(file: &str) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(file)?.is_file() {
        return Err(std::io::Error::other("it is not a file"));
    }
    let mut pem = Vec::new();
    std::fs::File::open(file)?.take(MOST_CERTIFICATE_BYTES + 1).read_to_end(&mut pem)?;
    if pem.len() as u64 > MOST_CERTIFICATE_BYTES {
        return Err(std::io::Error::other(format!("the file is larger than {} MiB", MOST_CERTIFICATE_BYTES >> 20)));
    }
    Ok(pem)
}

fn mail(connection: &Connection, message: &Message, to: &[String]) -> Result<lettre::Message, String> {
    let address = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("`{text}` is no address: {error}"));
    let from = connection.extra_field("from_email").and_then(Value::as_str).or(connection.login.as_deref());
    let from = from.ok_or_else(|| format!("connection `{}` has no sender: set `from_email`", connection.id))?;
    let usual = match connection.extra_field("to") {
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(String::from).collect(),
        Some(Value::String(all)) => all.split(',').map(|one| one.trim().to_string()).collect(),
        _ => Vec::new(),
    };
    let to = if to.is_empty() { &usual } else { to };
    if to.is_empty() {
        return Err(format!("neither the notifier nor connection `{}` names a recipient: set `to`", connection.id));
    }
    let mut mail = lettre::Message::builder()
        .from(address(from)?)
        .subject(&message.subject)
        .header(Key(message.key.clone()))
        // Without this header, an e-mail is ASCII, and clients show umlauts in names and reasons incorrectly.
        .header(ContentType::TEXT_PLAIN);
    for one in to {
        mail = mail.to(address(one)?);
    }
    mail.body(message.text.clone()).map_err(|error| chain(&error))
}

/// Header with which receivers can detect duplicate e-mails.
#[derive(Debug, Clone)]
struct Key(String);

impl Header for Key {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Orch-Alert-Key")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Key(text.into()))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.clone())
    }
}

fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_of_certificates_is_rejected_as_a_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let read = |bytes: u64| {
            std::fs::write(&file, vec![b'a'; usize::try_from(bytes).expect("it is small")]).expect("a file");
            certificates(file.to_str().expect("a path"))
        };
        let whole = read(MOST_CERTIFICATE_BYTES).expect("it is read");
        assert_eq!(whole.len() as u64, MOST_CERTIFICATE_BYTES);
        let error = read(MOST_CERTIFICATE_BYTES + 1).expect_err("it is too large");
        assert_eq!(error.to_string(), "the file is larger than 1 MiB");
    }
}
