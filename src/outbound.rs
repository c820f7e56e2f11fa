//! Where Titan may go when an address comes from a policy or a setting: public addresses, and private ones only when
//! `ALLOW_PRIVATE_TARGETS` names them.
//!
//! Probes and deploy hooks share this guard. It checks the address that is really connected to, after name resolution,
//! so a name that points inwards, or begins to, gets nowhere. Redirects are never followed and no proxy is used.

use std::error::Error as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Ranges of IPv4 that are not public servers, from IANA's registry of special-purpose addresses (read 2026-11), and
/// the one public address behind which Azure answers a machine about itself.
const CLOSED_V4: [Ipv4Net; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(168, 63, 129, 16, 32),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
];

/// The only range of IPv6 with public servers.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// Parts of [`GLOBAL_V6`] that lead elsewhere: special purposes and Teredo, documentation twice, 6to4.
const CLOSED_V6: [Ipv6Net; 4] =
    [v6([0x2001, 0, 0, 0], 23), v6([0x2001, 0xdb8, 0, 0], 32), v6([0x2002, 0, 0, 0], 16), v6([0x3fff, 0, 0, 0], 20)];

/// IPv4 written as IPv6 for a network that has only that (NAT64): it leads to the IPv4 address in its last four bytes.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0], 96);

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6(head: [u16; 4], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(head[0], head[1], head[2], head[3], 0, 0, 0, 0), length)
}

/// The rule, with the private networks that the operator allows. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard {
    allowed: Arc<[IpNet]>,
}

/// No client could be made, e.g. because the machine has no certificate authorities.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: {0}; install the ca-certificates package")]
pub struct NoClient(String);

impl Guard {
    /// `allowed` are the networks of `ALLOW_PRIVATE_TARGETS`.
    pub fn new(allowed: &[IpNet]) -> Self {
        Self { allowed: allowed.into() }
    }

    /// Whether a URL may be called as far as the URL itself tells: scheme, no credentials, and the address when the
    /// host is one. Names are judged when they are resolved. Plain `http` is for allowed private networks only.
    ///
    /// # Errors
    /// A sentence for people: what was seen and what to do.
    pub fn check_url(&self, url: &Url) -> Result<(), String> {
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            other => return Err(format!("the scheme is {other}; use https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL contains a user name or password; remove it".to_owned());
        }
        let address = match url.host() {
            None => return Err("the URL names no host".to_owned()),
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) if plain && self.allowed.is_empty() => return Err(plain_http()),
            Some(Host::Domain(_)) => return Ok(()),
        };
        match (plain, self.is_allowed(address)) {
            (_, true) => Ok(()),
            (false, false) if is_public(address) => Ok(()),
            (true, false) if is_public(address) => Err(plain_http()),
            (_, false) => Err(refused(&address.to_string())),
        }
    }

    /// A client that can only reach what `scheme` and this guard allow. Its callers must call [`Self::check_url`]
    /// first, because a host that is an address never passes through name resolution.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn client(&self, scheme: Scheme, timeout: Duration) -> Result<reqwest::Client, NoClient> {
        plain_client(timeout, scheme)
            // a kept connection could lead to the old instance of a service that has just been replaced
            .pool_max_idle_per_host(0)
            .https_only(scheme == Scheme::Https)
            .dns_resolver(GuardedResolver { guard: self.clone(), scheme })
            .build()
            .map_err(|error| NoClient(explain(&error)))
    }

    /// Whether a build may be connected with this address, whatever it speaks: public, and not this machine's own. A
    /// machine reaches itself at its public address too, past the firewall that stands before it.
    pub fn permits_build(&self, address: IpAddr) -> bool {
        self.is_allowed(address) || (is_public(address) && !is_own(address))
    }

    /// Whether the operator allowed this address although it is private.
    fn is_allowed(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address))
    }

    fn permits(&self, address: IpAddr, scheme: Scheme) -> bool {
        self.is_allowed(address) || (scheme == Scheme::Https && is_public(address))
    }
}

/// A client for an address that the operator set, such as Render's API: no address rule, and also no redirects and no
/// second sending.
///
/// # Errors
/// When TLS cannot be set up.
pub fn operator_client(address: &Url, timeout: Duration) -> Result<reqwest::Client, NoClient> {
    plain_client(timeout, Scheme::of(address)).build().map_err(|error| NoClient(explain(&error)))
}

fn plain_client(timeout: Duration, scheme: Scheme) -> reqwest::ClientBuilder {
    let client = reqwest::Client::builder();
    // Reading the machine's certificate authorities is what takes longest at the start; plain HTTP needs none.
    let client = if scheme == Scheme::Http { client.tls_certs_only([]) } else { client };
    client
        .user_agent(concat!("titan/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .timeout(timeout)
}

/// How a service is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Encrypted: public addresses and allowed private ones.
    Https,
    /// Plain: allowed private addresses only.
    Http,
}

impl Scheme {
    /// The scheme of a URL that passed [`Guard::check_url`].
    pub fn of(url: &Url) -> Self {
        if url.scheme() == "http" { Self::Http } else { Self::Https }
    }
}

/// Resolves a name as the system does and keeps only the addresses that the guard permits.
struct GuardedResolver {
    guard: Guard,
    scheme: Scheme,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, scheme) = (self.guard.clone(), self.scheme);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let good: Vec<SocketAddr> = found.iter().copied().filter(|a| guard.permits(a.ip(), scheme)).collect();
            match (good.is_empty(), found.first()) {
                (false, _) => Ok(Box::new(good.into_iter()) as Addrs),
                (true, None) => Err(format!("{} has no address", name.as_str()).into()),
                (true, Some(seen)) if is_public(seen.ip()) => Err(plain_http().into()),
                (true, Some(seen)) => Err(refused(&format!("{} ({})", name.as_str(), seen.ip())).into()),
            }
        })
    }
}

fn plain_http() -> String {
    "plain http is only for networks in ALLOW_PRIVATE_TARGETS; use https".to_owned()
}

fn refused(what: &str) -> String {
    format!(
        "{what} is not a public address, so Titan does not connect to it; its operator can allow the network in \
         ALLOW_PRIVATE_TARGETS"
    )
}

/// Whether the address belongs to a server on the internet. Anything unusual does not.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !CLOSED_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !CLOSED_V6.iter().any(|network| network.contains(&address))
        }
    }
}

/// Whether the address is one of this machine's. The system would talk to its own address from that same address; asking
/// it sends nothing.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let asked = std::net::UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    asked.is_ok_and(|from| from.ip() == address)
}

/// Why a request failed, in a few words for people. Never contains the URL, which may be a secret.
pub fn explain(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut deepest: &dyn std::error::Error = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match error.source() {
        Some(_) => deepest.to_string(),
        None if error.is_redirect() => "a redirect, which is not followed".to_owned(),
        None if error.is_builder() => "the request cannot be formed".to_owned(),
        None => "the request failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str]) -> Guard {
        let nets: Vec<IpNet> = allowed.iter().map(|net| net.parse().expect("a network")).collect();
        Guard::new(&nets)
    }

    fn check(guard: &Guard, url: &str) -> Result<(), String> {
        guard.check_url(&Url::parse(url).expect("a url"))
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        let closed = guard(&[]);
        for host in [
            "127.0.0.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.1",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::]",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:8.8.8.8]",
            "[::7f00:1]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fdaa::3]",
            "[ff02::1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001::1]",
            "[2001:db8::1]",
            "[3fff::1]",
        ] {
            let error = check(&closed, &format!("https://{host}/")).expect_err(host);
            assert!(error.contains("ALLOW_PRIVATE_TARGETS"), "{host}: {error}");
        }
        for host in ["1.1.1.1", "[2606:4700::1111]", "[64:ff9b::101:101]", "example.com"] {
            assert_eq!(check(&closed, &format!("https://{host}/")), Ok(()), "{host}");
        }
    }

    #[test]
    fn an_allowed_network_opens_only_itself_and_only_there_plain_http() {
        let open = guard(&["127.0.0.0/8", "fd00::/8"]);
        for url in ["http://127.0.0.1:8080/", "https://127.9.9.9/", "https://[::ffff:127.0.0.1]/", "http://[fd12::1]/"]
        {
            assert_eq!(check(&open, url), Ok(()), "{url}");
        }
        for url in ["http://10.0.0.1/", "http://1.1.1.1/", "https://[::1]/", "https://[::ffff:10.0.0.1]/"] {
            assert!(check(&open, url).is_err(), "{url}");
        }
        assert!(check(&guard(&[]), "http://example.com/").is_err());
    }

    #[test]
    fn other_schemes_and_credentials_are_refused() {
        for url in
            ["ftp://example.com/", "file:///etc/passwd", "https://user:pw@example.com/", "https://user@example.com/"]
        {
            assert!(check(&guard(&[]), url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_build_reaches_public_addresses_that_are_not_this_machine() {
        let public = IpAddr::from([93, 184, 215, 14]);
        assert!(guard(&[]).permits_build(public));
        for closed in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:93.184.215.14", "fd00:ec2::254"] {
            assert!(!guard(&[]).permits_build(closed.parse().expect("an address")), "{closed}");
        }
        assert!(is_own(IpAddr::from([127, 0, 0, 1])) && !is_own(public));
    }

    #[test]
    fn resolved_addresses_follow_the_scheme() {
        let open = guard(&["10.0.0.0/8"]);
        let (private, public) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([1, 1, 1, 1]));
        assert!(open.permits(private, Scheme::Http) && open.permits(private, Scheme::Https));
        assert!(!open.permits(public, Scheme::Http) && open.permits(public, Scheme::Https));
        assert!(!open.permits(IpAddr::from([127, 0, 0, 1]), Scheme::Https));
    }
}
