//! What a build may reach: nothing, every public address, or named hosts.
//!
//! Pure: it compares names. Whether an address is public is asked after the name is resolved, elsewhere (`outbound`).

use std::fmt;

use url::Host;

/// The longest name that DNS knows, in bytes.
const MAX_NAME: usize = 253;
/// The longest part of a name, in bytes.
const MAX_LABEL: usize = 63;

/// What a build may reach.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BuildNetwork {
    /// Nothing.
    None,
    /// Every public address, through HTTP and HTTPS. The default: most builds install what they need.
    #[default]
    Full,
    /// These hosts only, at public addresses, through HTTP and HTTPS. At least one.
    Hosts(Vec<HostPattern>),
}

impl BuildNetwork {
    /// Whether a host may be reached as far as its name tells. Case and a dot at the end do not matter. An address in
    /// place of a name is never in a list, because lists hold names.
    pub fn permits(&self, host: &str) -> bool {
        match self {
            Self::None => false,
            Self::Full => true,
            Self::Hosts(patterns) => patterns.iter().any(|pattern| pattern.matches(host)),
        }
    }
}

impl fmt::Display for BuildNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Full => f.write_str("full"),
            Self::Hosts(patterns) => {
                let names: Vec<String> = patterns.iter().map(ToString::to_string).collect();
                f.write_str(&names.join(", "))
            }
        }
    }
}

/// A host's name, or `*.` and a name: then every name below that one, at any depth, but not that name itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    /// Lower case, in ASCII, without a dot at the end and without `*.`.
    name: String,
    below: bool,
}

impl HostPattern {
    /// Reads one entry of the list.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence, and what to write instead when that can be told.
    pub fn parse(text: &str) -> Result<Self, (&'static str, Option<String>)> {
        let text = text.trim();
        let (below, rest) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let name = rest.strip_suffix('.').unwrap_or(rest);
        if text == "*" {
            return Err(("means every host; write network: full instead of the list", None));
        }
        if name.contains('*') {
            return Err(("has a * that does not stand at the beginning, before a dot", None));
        }
        if text.contains(['/', ':', '@', '?', '#']) {
            return Err(("is not the plain name of a host: leave scheme, port and path away", host_of(text)));
        }
        match Host::parse(name) {
            Ok(Host::Domain(domain)) if domain.len() <= MAX_NAME && domain.split('.').all(is_label) => {
                Ok(Self { name: domain.to_ascii_lowercase(), below })
            }
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => Err(("is an address; write the name of a host", None)),
            _ => Err(("is not the name of a host such as registry.example.com", None)),
        }
    }

    fn matches(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if !self.below {
            return host == self.name;
        }
        host.strip_suffix(&self.name).and_then(|above| above.strip_suffix('.')).is_some_and(|above| !above.is_empty())
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.below { "*." } else { "" }, self.name)
    }
}

fn is_label(label: &str) -> bool {
    let letters = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    letters && !label.is_empty() && label.len() <= MAX_LABEL && !label.starts_with('-') && !label.ends_with('-')
}

/// The host inside of an address that was written where a host belongs.
fn host_of(text: &str) -> Option<String> {
    let address = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    url::Url::parse(&address).ok()?.domain().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(list: &[&str]) -> BuildNetwork {
        BuildNetwork::Hosts(list.iter().map(|text| HostPattern::parse(text).expect(text)).collect())
    }

    #[test]
    fn names_are_compared_without_case_and_without_the_last_dot() {
        let network = hosts(&["Registry.Example.com.", "*.cdn.example"]);
        for host in [
            "registry.example.com",
            "REGISTRY.EXAMPLE.COM",
            "registry.example.com.",
            "a.cdn.example",
            "A.b.CDN.example.",
        ] {
            assert!(network.permits(host), "{host}");
        }
        for host in [
            "example.com",
            "xregistry.example.com",
            "registry.example.com.evil.test",
            "evilcdn.example",
            "cdn.example",
            ".cdn.example",
            "registry.example.com..",
            "",
            "127.0.0.1",
            "93.184.215.14",
        ] {
            assert!(!network.permits(host), "{host}");
        }
        assert!(BuildNetwork::Full.permits("anything.example") && !BuildNetwork::None.permits("anything.example"));
        assert_eq!(network.to_string(), "registry.example.com, *.cdn.example");
    }

    #[test]
    fn names_in_other_scripts_are_compared_in_ascii() {
        assert!(hosts(&["bücher.example"]).permits("xn--bcher-kva.example"));
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_way_out() {
        for (text, why, instead) in [
            ("*", "network: full", None),
            ("a.*.example", "does not stand at the beginning", None),
            ("*example.com", "does not stand at the beginning", None),
            ("https://registry.example.com/x", "leave scheme", Some("registry.example.com")),
            ("registry.example.com:443", "leave scheme", Some("registry.example.com")),
            ("user@registry.example.com", "leave scheme", Some("registry.example.com")),
            ("10.0.0.1", "is an address", None),
            ("0x7f.1", "is an address", None),
            ("2130706433", "is an address", None),
            ("a b", "not the name", None),
            ("a..b", "not the name", None),
            ("-a.example", "not the name", None),
            (".", "not the name", None),
            ("*.", "not the name", None),
            ("[::1]", "leave scheme", None),
        ] {
            let (told, suggestion) = HostPattern::parse(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
            assert_eq!(suggestion.as_deref(), instead, "{text}");
        }
        assert!(HostPattern::parse(&format!("{}.example", "a".repeat(64))).is_err());
    }
}
