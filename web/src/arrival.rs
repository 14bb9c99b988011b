//! The origin of a request: client address, host name and scheme. They come from the connection, or from the headers of
//! a reverse proxy. Forwarding headers count only if the connection comes from a configured proxy, because any client
//! can send them.

use crate::config::WebConfig;
use crate::extract::Peer;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, Uri, header};
use orch_core::network::Network;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A request as its client sent it, before any proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// The client's address.
    pub(crate) peer: IpAddr,
    /// The host name of the request, with the port if there is one.
    pub(crate) host: Option<String>,
    /// True if the request was sent without encryption over a network, where others could read it.
    pub(crate) is_plain: bool,
}

impl Arrival {
    pub(crate) fn of(config: &WebConfig, headers: &HeaderMap, uri: &Uri, peer: Option<Peer>) -> Arrival {
        let Peer(peer) = peer.unwrap_or(Peer(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).or(uri.authority().map(Authority::as_str));
        let is_proxied = is_trusted(&config.trusted_proxies, peer);
        if !is_proxied {
            // With a certificate of its own, this server accepts encrypted connections only.
            let is_plain = config.tls.is_none() && !peer.is_loopback();
            return Arrival { peer, host: host.map(String::from), is_plain };
        }
        let last = |name| text(name).and_then(|value| value.rsplit(',').next()).map(str::trim);
        let is_plain = last(FORWARDED_PROTO).is_some_and(|scheme| !scheme.eq_ignore_ascii_case("https"));
        let host = last(FORWARDED_HOST).or(host).map(String::from);
        Arrival { peer: client(&config.trusted_proxies, headers, peer), host, is_plain }
    }
}

fn is_trusted(proxies: &[Network], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(address))
}

/// Returns the client's address: the first one from the right that is not a trusted proxy. Each proxy appends the
/// address of its peer at the right, and the client may have forged those further left.
fn client(proxies: &[Network], headers: &HeaderMap, peer: IpAddr) -> IpAddr {
    let said: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().flat_map(|value| value.to_str().unwrap_or("?").split(',')).collect();
    let mut nearest = peer;
    for address in said.into_iter().rev() {
        let Some(address) = address_in(address.trim()) else { return nearest };
        nearest = address;
        if !is_trusted(proxies, address) {
            return address;
        }
    }
    nearest
}

/// Some proxies append a port to the address.
fn address_in(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address =
        bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn arrival(from: &str, headers: &[(HeaderName, &'static str)]) -> Arrival {
        let trusted = ["10.0.0.0/8", "127.0.0.1"].map(|network| network.parse().expect("a network"));
        let config = WebConfig { trusted_proxies: trusted.into(), https: true, ..WebConfig::new("postgres://") };
        let mut sent = HeaderMap::new();
        sent.insert(header::HOST, HeaderValue::from_static("inner:8080"));
        for (name, value) in headers {
            sent.append(name, HeaderValue::from_static(value));
        }
        let peer = Peer(from.parse().expect("an address"));
        Arrival::of(&config, &sent, &Uri::from_static("/"), Some(peer))
    }

    #[test]
    fn only_a_trusted_proxy_says_who_the_client_is() {
        for (from, said, client) in [
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "203.0.113.9, 198.51.100.7", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7, 10.0.0.2", "198.51.100.7"),
            ("10.0.0.1", "198.51.100.7:4711", "198.51.100.7"),
            ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
            ("10.0.0.1", "198.51.100.7, unknown", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ] {
            let found = arrival(from, &[(FORWARDED_FOR, said)]).peer;
            assert_eq!(found, client.parse::<IpAddr>().expect("an address"), "{from} {said}");
        }
        // Repeated headers form one list.
        let twice = arrival("10.0.0.1", &[(FORWARDED_FOR, "203.0.113.9"), (FORWARDED_FOR, "198.51.100.7")]);
        assert_eq!(twice.peer, "198.51.100.7".parse::<IpAddr>().expect("an address"));
    }

    #[test]
    fn only_a_trusted_proxy_says_how_and_as_what_the_server_was_asked() {
        let said = [(FORWARDED_PROTO, "https"), (FORWARDED_HOST, "orch.example.com")];
        let proxied = arrival("10.0.0.1", &said);
        assert_eq!((proxied.host.as_deref(), proxied.is_plain), (Some("orch.example.com"), false));
        assert!(arrival("10.0.0.1", &[(FORWARDED_PROTO, "http")]).is_plain);
        let direct = arrival("198.51.100.1", &said);
        assert_eq!((direct.host.as_deref(), direct.is_plain), (Some("inner:8080"), true));
    }
}
