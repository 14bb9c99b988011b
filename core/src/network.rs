//! IP networks such as `10.0.0.0/8`, and the addresses that a connection test may contact. Pure: names are resolved
//! elsewhere.

mod base_path;

pub use base_path::BasePath;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, width: u8| {
            let rest = u32::from(width - self.bits);
            ours.checked_shr(rest).unwrap_or(0) == theirs.checked_shr(rest).unwrap_or(0)
        };
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => same(ours.to_bits().into(), theirs.to_bits().into(), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.to_bits(), theirs.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address or network such as `10.0.0.0/8`");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > width {
            return Err(wrong());
        }
        Ok(Network { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Reason why a private address is not contacted, and who can allow it. The message names the host before this text.
pub const NOT_REACHED: &str = "its address is not public: an administrator allows private addresses with the setting \
    `test_networks` (`ORCH_TEST_NETWORKS=10.0.0.0/8`)";

/// Returns a URL without its user, password, query and fragment, which may be secrets.
pub fn shown_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_at(url.find("://").map_or(0, |at| at + 3));
    let (server, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = server.rsplit_once('@').map_or(server, |(_, host)| host);
    format!("{scheme}{host}{path}")
}

/// Returns the scheme, host and port of a URL for messages. The rest is omitted, because the path of a webhook is a
/// secret.
pub fn shown_origin(url: &str) -> String {
    let url = shown_url(url);
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find('/').map_or(url.len(), |at| start + at);
    url[..end].into()
}

/// Returns the hint for the user after a server responded with an error status.
pub fn step_after_status(status: u16) -> &'static str {
    match status {
        300..=399 => "write the address that the server redirects to",
        401 | 403 => "check the login, the password and the token, and what they may do on that server",
        404 | 410 => "check the address: the server has nothing at this path",
        408 | 425 | 429 | 500.. => "try again later; if it fails again, read the log of that server",
        _ => "compare the request with the documentation of that server",
    }
}

/// Addresses that orch may contact on behalf of an operator: public addresses, and the networks in the settings.
/// Services next to this server (its database, a cloud's metadata service) trust this machine, not the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    allowed: Vec<Network>,
}

impl Reach {
    /// Allows public addresses, and also the networks in `allowed`.
    pub fn also(allowed: Vec<Network>) -> Reach {
        Reach { allowed }
    }

    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_public(address) || self.allowed.iter().any(|network| network.contains(address))
    }
}

/// Returns true for internet addresses. Loopback, private, link-local and multicast addresses are not public.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_special = match first {
        0 | 10 | 127 | 224.. => true,
        100 => (64..128).contains(&second),
        169 => second == 254,
        172 => (16..32).contains(&second),
        192 => second == 168 || (second == 0 && third == 0),
        198 => second == 18 || second == 19,
        _ => false,
    };
    !is_special
}

/// Returns true for public IPv6 addresses. If the address contains an IPv4 address (NAT64, 6to4), the IPv4 address
/// decides.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let inner = |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => inner(high, low),
        // Global unicast addresses are public. Teredo addresses are not, because their inner IPv4 address is
        // obfuscated.
        [0x2001, 0, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_and_those_of_the_settings_are_reached() {
        let private = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:1::1",
            "fec0::1",
        ];
        let public = ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"];
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (addresses, expected) in [(&private[..], false), (&public[..], true)] {
            for text in addresses {
                assert_eq!(Reach::default().allows(address(text)), expected, "{text}");
            }
        }
        let reach = Reach::also(vec!["10.0.0.0/8".parse().expect("a network")]);
        assert!(reach.allows(address("10.1.2.3")) && reach.allows(address("::ffff:10.1.2.3")));
        assert!(!reach.allows(address("127.0.0.1")));
    }

    #[test]
    fn messages_contain_urls_without_secrets() {
        for (url, shown, origin) in [
            ("http://api.test:8080/v1/x?key=hush#part", "http://api.test:8080/v1/x", "http://api.test:8080"),
            ("https://me:hush@api.test/v1@2", "https://api.test/v1@2", "https://api.test"),
            ("https://me:hush@api.test?key=hush", "https://api.test", "https://api.test"),
            ("http://[::1]:80/", "http://[::1]:80/", "http://[::1]:80"),
            ("me:hush@api.test/v1", "api.test/v1", "api.test"),
            ("/v1/x?key=hush", "/v1/x", ""),
            ("", "", ""),
        ] {
            assert_eq!((shown_url(url).as_str(), shown_origin(url).as_str()), (shown, origin), "{url}");
        }
    }

    #[test]
    fn an_address_is_in_a_network_by_its_first_bits() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let network: Network = network.parse().expect("a network");
            assert_eq!(network.contains(address.parse().expect("an address")), is_in, "{network} {address}");
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "example.com"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
