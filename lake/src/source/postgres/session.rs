//! Sessions of users' Postgres databases. They use tokio-postgres because its `copy` returns the server's data in the
//! original chunks. Orch's own database is accessed with sqlx (`orch_store`).

use crate::boxed;
use anyhow::Context;
use orch_sdk::task::{Connection, TaskResult, fatal};
use orch_store::connect::Database;
use sqlx::postgres::PgSslMode;
use std::fs;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A database session. Dropping it closes the socket immediately, without reading the rest of a result; the server
/// rolls uncommitted changes back.
#[derive(Debug)]
pub struct Session {
    client: Client,
    _driver: JoinSet<()>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Opens a session for a connection.
///
/// # Errors
/// Returns a fatal error if the connection has another type or the account is rejected. Returns a retryable error if
/// the server does not respond.
#[boxed]
pub async fn connect(connection: &Connection) -> TaskResult<Session> {
    let (id, to) = (&connection.id, Database::of(connection)?);
    let place = format!("{}:{}", to.host, to.port);
    let tls = MakeRustlsConnect::new(tls(&to).with_context(|| format!("TLS of connection `{id}`"))?);
    match tokio::time::timeout(CONNECT_TIMEOUT, config(&to).connect(tls)).await {
        Ok(Ok((client, driver))) => {
            // The task drives the connection. If it fails, pending requests return its error.
            let mut task = JoinSet::new();
            task.spawn(async { driver.await.unwrap_or_default() });
            Ok(Session { client, _driver: task })
        }
        Ok(Err(error)) => Err(refused(error, id, &place)),
        Err(_) => anyhow::bail!("the Postgres server of connection `{id}` does not answer at {place}"),
    }
}

/// Replaces a database error by its main message. The detail is removed because it can contain row values, which must
/// not be logged.
pub(crate) fn without_rows(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::as_db_error) {
        Some(refused) => anyhow::anyhow!("the database says: {}", refused.message()),
        None => error,
    }
}

fn refused(error: tokio_postgres::Error, id: &str, place: &str) -> anyhow::Error {
    match error.as_db_error() {
        // SQLSTATE class 28 stands for invalid authorization.
        Some(refused)
            if refused.code().code().starts_with("28") || *refused.code() == SqlState::INVALID_CATALOG_NAME =>
        {
            fatal(format!(
                "the Postgres server at {place} refuses connection `{id}`: {}\n\
                 hint: look at login, password and schema of the connection: `orch connections get {id}`",
                refused.message()
            ))
        }
        _ => anyhow::Error::new(error).context(format!(
            "cannot reach the Postgres server of connection `{id}` at {place}\n\
             hint: is it running, and is the address right? `orch connections get {id}`"
        )),
    }
}

fn config(to: &Database) -> Config {
    let mut config = Config::new();
    config
        .host(&to.host)
        .port(to.port)
        .user(&to.login)
        .password(&to.password)
        .dbname(&to.name)
        .application_name("orch task")
        .ssl_mode(match to.ssl_mode {
            PgSslMode::Disable => SslMode::Disable,
            PgSslMode::Allow | PgSslMode::Prefer => SslMode::Prefer,
            PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull => SslMode::Require,
        });
    config
}

/// Returns the TLS configuration. Like libpq, verifies the server certificate only if the TLS mode or a root
/// certificate requires it.
pub(super) fn tls(to: &Database) -> TaskResult<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let issuer = match (to.ssl_mode, &to.ssl_root_cert) {
        (PgSslMode::VerifyFull, _) => {
            return Ok(builder.with_root_certificates(roots(to)?).with_no_client_auth());
        }
        (PgSslMode::VerifyCa, _) | (PgSslMode::Require, Some(_)) => {
            let builder = WebPkiServerVerifier::builder_with_provider(roots(to)?.into(), provider.clone());
            Some(builder.build()?)
        }
        _ => None,
    };
    let verifier = Arc::new(NotTheName { issuer, provider });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

fn roots(to: &Database) -> TaskResult<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &to.ssl_root_cert {
        Some(path) => {
            let pem = fs::read(path).with_context(|| format!("cannot read `sslrootcert` {path}"))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                roots.add(certificate.with_context(|| format!("`sslrootcert` {path} is no certificate"))?)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

/// Certificate verifier that never checks the host name. It checks the issuer if a root certificate is configured.
#[derive(Debug)]
struct NotTheName {
    issuer: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NotTheName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(issuer) = &self.issuer else { return Ok(ServerCertVerified::assertion()) };
        match issuer.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
