//! HTTPS with certificate and key files. They are reloaded when they change, so a renewed certificate needs no restart.
//! If the new files are invalid, the error is logged and the old certificate stays in use.

use crate::{WebError, WebResult};
use std::fmt;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ServerConfig, version};
use tokio_util::sync::CancellationToken;

/// Poll interval for changed files. A poll costs two system calls.
const LOOK_EVERY: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

/// The certificate for new connections.
#[derive(Debug)]
struct Current {
    key: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads PEM files: the certificate followed by its intermediate certificates, and its key.
    pub fn load(certificate: &Path, key: &Path) -> WebResult<Tls> {
        let provider = Arc::new(ring::default_provider());
        let current = Arc::new(Current { key: RwLock::new(read(&provider, certificate, key)?) });
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .map_err(|error| WebError::Tls(error.to_string()))?;
        let mut config = config.with_no_client_auth().with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls { certificate: certificate.into(), key: key.into(), current, config: Arc::new(config) })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// Reloads the files when they change, until `stop`.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        let mut seen = self.read_file_stamps();
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let now = self.read_file_stamps();
            if now == seen {
                continue;
            }
            // Invalid files are read and reported again only after another change.
            seen = now;
            match read(self.config.crypto_provider(), &self.certificate, &self.key) {
                Ok(key) => {
                    *self.current.key.write().unwrap_or_else(PoisonError::into_inner) = key;
                    tracing::info!(certificate = %self.certificate.display(), "a new certificate is in use");
                }
                Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the old one stays in use"),
            }
        }
    }

    /// Returns the modification times and sizes of the files.
    fn read_file_stamps(&self) -> [Option<(SystemTime, u64)>; 2] {
        let stamp = |metadata: Metadata| Some((metadata.modified().ok()?, metadata.len()));
        [&self.certificate, &self.key].map(|path| path.metadata().ok().and_then(stamp))
    }
}

fn read(provider: &CryptoProvider, certificate: &Path, key: &Path) -> WebResult<Arc<CertifiedKey>> {
    let cannot = |path: &Path, why: String| WebError::Tls(format!("`{}`: {why}", path.display()));
    let bytes = |path: &Path| std::fs::read(path).map_err(|error| cannot(path, error.to_string()));
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes(certificate)?)
        .collect::<Result<_, _>>()
        .map_err(|error| cannot(certificate, format!("it is no certificate in PEM: {error}")))?;
    if chain.is_empty() {
        return Err(cannot(certificate, "there is no certificate in it, in PEM".into()));
    }
    let secret = PrivateKeyDer::from_pem_slice(&bytes(key)?)
        .map_err(|error| cannot(key, format!("it is no private key in PEM: {error}")))?;
    let certified = CertifiedKey::from_der(chain, secret, provider)
        .map_err(|error| cannot(key, format!("it does not fit the certificate: {error}")))?;
    Ok(Arc::new(certified))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use std::io;
    use std::sync::Mutex;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no writer panicked").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_certificate_is_reported_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".into()]).expect("it is signed");
        std::fs::write(&certificate, cert.pem()).expect("it is written");
        std::fs::write(&key, signing_key.serialize_pem()).expect("it is written");
        let lines = Lines::default();
        let writer = lines.clone();
        let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _log = tracing::subscriber::set_default(log);

        let stop = CancellationToken::new();
        let watching = Tls::load(&certificate, &key).expect("it fits").watch(stop.clone());
        let change = async {
            tokio::time::sleep(LOOK_EVERY / 2).await;
            std::fs::write(&certificate, "broken").expect("it is written");
            tokio::time::sleep(20 * LOOK_EVERY).await;
            stop.cancel();
        };
        tokio::join!(watching, change);
        let lines = String::from_utf8(lines.0.lock().expect("no writer panicked").clone()).expect("text");
        assert_eq!(lines.matches("the new certificate cannot be used").count(), 1, "{lines}");
    }
}
