//! Where deliveries may go: public http(s) addresses, and what the operator allows besides.
//!
//! Promise: the address checked is the address connected to; a name is resolved by us, filtered, and
//! only what is left is handed to the connector. Elsewhere: redirects and proxies are off in
//! `sender`, as either would go somewhere unchecked.

use futures::FutureExt;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use url::{Host, Url};

/// One entry of the allow-list: a host name, an address or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allow {
    /// This name, whatever it resolves to; lower case.
    Host(String),
    /// These addresses, written as such or resolved to.
    Net(IpNet),
}

impl FromStr for Allow {
    type Err = EgressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(IpNet::from(address)));
        }
        match Host::parse(text) {
            Ok(Host::Domain(name)) => Ok(Self::Host(name)),
            Ok(Host::Ipv4(address)) => Ok(Self::Net(IpNet::from(IpAddr::V4(address)))),
            Ok(Host::Ipv6(address)) => Ok(Self::Net(IpNet::from(IpAddr::V6(address)))),
            Err(_) => Err(EgressError::BadAllow(text.to_owned())),
        }
    }
}

/// Why deliveries may not go there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Not a URL.
    #[error("'{target}' is not a URL: {why}; write http://host/path or https://host/path")]
    BadUrl {
        /// As given.
        target: String,
        /// The parser's words.
        why: String,
    },
    /// Neither http nor https.
    #[error("a webhook is reached by http or https, not by '{0}'")]
    BadScheme(String),
    /// A name or password in the URL, which would end up in listings.
    #[error("the URL contains a user name or password; bodies are signed, see Weir-Signature")]
    Credentials,
    /// Private, loopback and so on, and not on the allow-list.
    #[error(
        "{host} is {address}, a {kind} address; deliveries go there only with an allow-list entry (a host, an address or a network)"
    )]
    Forbidden {
        /// Host of the URL.
        host: String,
        /// What it is.
        address: IpAddr,
        /// Which range.
        kind: &'static str,
    },
    /// Not an entry of the allow-list.
    #[error("'{0}' is not a host name, an address or a network such as 10.1.0.0/16")]
    BadAllow(String),
}

/// The check, shared by CREATE and by every connection.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    allow: Arc<[Allow]>,
}

impl Egress {
    /// Public addresses and what `allow` lists.
    pub fn new(allow: Vec<Allow>) -> Self {
        Self { allow: allow.into() }
    }

    /// Checks what can be known without resolving: scheme, credentials, a literal address.
    /// # Errors
    /// The first thing that forbids it.
    pub fn check_target(&self, target: &str) -> Result<Url, EgressError> {
        let url = Url::parse(target).map_err(|error| EgressError::BadUrl {
            target: target.to_owned(),
            why: error.to_string(),
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(EgressError::BadScheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EgressError::Credentials);
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address("the host", IpAddr::V4(address))?,
            Some(Host::Ipv6(address)) => self.check_address("the host", IpAddr::V6(address))?,
            Some(Host::Domain(name)) if is_local_name(name) => {
                self.check_host(name, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
            }
            _ => {}
        }
        Ok(url)
    }

    /// Checks one address that `host` stands for.
    /// # Errors
    /// It is not public, and neither it nor the host is allowed.
    pub fn check_host(&self, host: &str, address: IpAddr) -> Result<(), EgressError> {
        let named =
            |allow: &Allow| matches!(allow, Allow::Host(name) if name.eq_ignore_ascii_case(host));
        match self.allow.iter().any(named) {
            true => Ok(()),
            false => self.check_address(host, address),
        }
    }

    fn check_address(&self, host: &str, address: IpAddr) -> Result<(), EgressError> {
        let address = address.to_canonical();
        let listed = |allow: &Allow| matches!(allow, Allow::Net(net) if net.contains(&address));
        match not_public(address) {
            Some(kind) if !self.allow.iter().any(listed) => {
                Err(EgressError::Forbidden { host: host.to_owned(), address, kind })
            }
            _ => Ok(()),
        }
    }

    async fn resolve_allowed(self, name: String) -> Result<Vec<SocketAddr>, std::io::Error> {
        let found: Vec<_> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
        let mut refused = None;
        let mut allowed = Vec::with_capacity(found.len());
        for address in found {
            match self.check_host(&name, address.ip()) {
                Ok(()) => allowed.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match (allowed.is_empty(), refused) {
            (true, Some(error)) => {
                Err(std::io::Error::new(std::io::ErrorKind::PermissionDenied, error))
            }
            (true, None) => Err(std::io::Error::other(format!("{name} has no address"))),
            (false, _) => Ok(allowed),
        }
    }
}

impl Resolve for Egress {
    fn resolve(&self, name: Name) -> Resolving {
        let resolved = self.clone().resolve_allowed(name.as_str().to_owned());
        async move {
            let addresses = resolved.await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        }
        .boxed()
    }
}

/// `localhost` and its subdomains are loopback by RFC 6761, whatever a resolver says.
fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

/// Which range keeps an address from being public; `None` if it is.
fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => v4_not_public(address),
        IpAddr::V6(address) => v6_not_public(address),
    }
}

fn v4_not_public(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Some("this-network"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some("private"),
        (100, 64..=127, _) => Some("carrier-private"),
        (127, ..) => Some("loopback"),
        (169, 254, _) => Some("link-local"),
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113) => Some("reserved"),
        (198, 18..=19, _) => Some("benchmarking"),
        (224..=239, ..) => Some("multicast"),
        (240.., ..) => Some("reserved"),
        _ => None,
    }
}

fn v6_not_public(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("unspecified"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("loopback"),
        // An IPv4 address inside: compatible, mapped or translated (NAT64, 6to4).
        [0, 0, 0, 0, 0, 0, hi, lo] | [0, 0, 0, 0, 0, 0xffff, hi, lo] => embedded(hi, lo),
        [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] | [0x2002, hi, lo, ..] => embedded(hi, lo),
        [0x64, 0xff9b, 1, ..] => Some("private"),
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("reserved"),
        [0x100, 0, 0, 0, ..] => Some("discard"),
        [0xfc00..=0xfdff, ..] => Some("private"),
        [0xfe80..=0xfebf, ..] => Some("link-local"),
        [0xfec0..=0xfeff, ..] => Some("site-local"),
        [0xff00..=0xffff, ..] => Some("multicast"),
        _ => None,
    }
}

fn embedded(hi: u16, lo: u16) -> Option<&'static str> {
    let [a, b] = hi.to_be_bytes();
    let [c, d] = lo.to_be_bytes();
    v4_not_public(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(allow: &[&str]) -> Egress {
        Egress::new(allow.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn public_addresses_are_allowed() {
        for target in ["http://93.184.216.34/x", "https://example.org", "https://[2a00:1450::1]/"] {
            assert!(egress(&[]).check_target(target).is_ok(), "{target}");
        }
    }

    #[test]
    fn what_is_not_public_is_refused_however_it_is_spelled() {
        for target in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://localhost:8520/",
            "http://a.localhost./",
            "http://0.0.0.0/",
            "http://10.1.2.3/",
            "http://172.31.0.1/",
            "http://192.168.1.1/",
            "http://100.64.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://[::]/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:7f00:1::]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
            "http://[ff02::1]/",
        ] {
            let refused = egress(&[]).check_target(target);
            assert!(matches!(refused, Err(EgressError::Forbidden { .. })), "{target}: {refused:?}");
        }
    }

    #[test]
    fn only_http_and_https_without_credentials() {
        for target in ["ftp://example.org", "file:///etc/passwd", "gopher://x", "example.org", ""] {
            assert!(egress(&[]).check_target(target).is_err(), "{target}");
        }
        let with_password = egress(&[]).check_target("https://a:b@example.org/");
        assert_eq!(with_password, Err(EgressError::Credentials));
    }

    #[test]
    fn an_allow_list_entry_permits_a_host_an_address_or_a_network() {
        let egress = egress(&["127.0.0.1", "10.1.0.0/16", "pager.local", "fd00::/8"]);
        assert!(egress.check_target("http://127.0.0.1:9/").is_ok());
        assert!(egress.check_target("http://[::ffff:127.0.0.1]:9/").is_ok());
        assert!(egress.check_target("http://127.0.0.2:9/").is_err());
        assert!(egress.check_target("http://10.1.200.3/").is_ok());
        assert!(egress.check_target("http://10.2.0.1/").is_err());
        assert!(egress.check_target("http://[fd00::7]/").is_ok());
        assert!(egress.check_host("PAGER.local", "192.168.0.4".parse().unwrap()).is_ok());
        assert!(egress.check_host("other.local", "192.168.0.4".parse().unwrap()).is_err());
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_loopback_is_refused_at_the_connection() {
        let refused = egress(&[]).resolve_allowed("localhost".to_owned()).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
        assert!(egress(&["localhost"]).resolve_allowed("localhost".to_owned()).await.is_ok());
    }
}
