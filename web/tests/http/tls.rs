//! The server's own HTTPS: certificate files that may change while it runs, for HTTP/1.1 and HTTP/2.

use crate::fixture::Web;
use crate::server::{HEALTHZ, SOON, TestServer, ask};
use orch_web::{Tls, WebConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Writes a new certificate for `localhost`. Returns it as PEM.
fn certify(folder: &Path) -> String {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_string()]).unwrap();
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
    cert.pem()
}

fn load(folder: &Path) -> orch_web::WebResult<Tls> {
    Tls::load(&folder.join("cert.pem"), &folder.join("key.pem"))
}

async fn connect(running: &TestServer, trusted: &str, version: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![version.to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, running.connect().await).await
}

#[tokio::test]
async fn https_is_spoken_with_a_certificate_that_may_change() {
    let (web, folder) = (Web::new().await, TempDir::new().unwrap());
    let first = certify(folder.path());
    let tls = load(folder.path()).unwrap();
    let running = TestServer::with(&web, |config| WebConfig { tls: Some(tls), https: true, ..config }).await;
    let mut stream = connect(&running, &first, b"http/1.1").await.expect("it is trusted");
    let answer = ask(&mut stream, HEALTHZ).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security: max-age=31536000"),
        "{answer}"
    );
    let login = "POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-www-form-urlencoded\r\n\
        content-length: 40\r\n\r\nusername=admin&password=canary-5f1c2e&a=1";
    let answer =
        ask(&mut stream, &login.replace("40", &"username=admin&password=canary-5f1c2e&a=1".len().to_string())).await;
    assert!(answer.contains("set-cookie: __Host-orch=") && answer.contains("; Path=/; "), "{answer}");
    let h2 = connect(&running, &first, b"h2").await.expect("it is trusted");
    assert_eq!(h2.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // Plain HTTP gets no response at that port.
    let mut plain = running.connect().await;
    assert!(!ask(&mut plain, HEALTHZ).await.starts_with("HTTP/1.1 200"));

    // A broken certificate is ignored and the next valid one is used. Open connections stay open.
    std::fs::write(folder.path().join("cert.pem"), "broken").unwrap();
    let second = certify(folder.path());
    let taken = async {
        while connect(&running, &second, b"http/1.1").await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    timeout(2 * SOON, taken).await.expect("it is taken in a few seconds");
    assert!(ask(&mut stream, HEALTHZ).await.starts_with("HTTP/1.1 200"));
    drop((stream, h2, plain));
    running.stop().await;
}

#[tokio::test]
async fn files_that_are_no_certificate_and_key_are_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let said = || load(folder.path()).expect_err("it cannot be used").to_string();
    assert!(said().contains("cert.pem`: No such file"), "{}", said());
    certify(folder.path());
    assert!(load(folder.path()).is_ok());
    std::fs::write(folder.path().join("key.pem"), "nothing").unwrap();
    assert!(said().contains("key.pem`: it is no private key in PEM"), "{}", said());
    let other = TempDir::new().unwrap();
    certify(other.path());
    std::fs::copy(other.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
    assert!(said().contains("it does not fit the certificate"), "{}", said());
    std::fs::write(folder.path().join("cert.pem"), "").unwrap();
    assert!(said().contains("there is no certificate in it"), "{}", said());
}
