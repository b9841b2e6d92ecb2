//! Names of hosts, as DHCP options and DNS have them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A full host name in lower case without a dot at its end: `web.contoso.example`.
///
/// Two labels or more of letters, digits, `-` and `_`, each of 1 to 63 bytes without a `-` at its ends, at most 253 bytes
/// together (RFC 1035, RFC 1123). No address: a phone compares the server's certificate with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// Why a text is no full host name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// `192.0.2.1`.
    #[error("{0} is an address, and certificates are for names")]
    Address(Ipv4Addr),
    /// `web`.
    #[error("`{0}` has no domain: a full name is needed, like web.contoso.example")]
    NoDomain(String),
    /// Anything else.
    #[error("`{0}` is not a host name")]
    NotAName(String),
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the domain itself or in it.
    pub fn is_in(&self, domain: &str) -> bool {
        crate::credential::is_in_domain(&self.0, domain)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shown = || text.chars().take(100).flat_map(char::escape_default).collect::<String>();
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() {
            return Err(BadName::Empty);
        }
        if let Ok(address) = name.parse() {
            return Err(BadName::Address(address));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let fits = |label: &str| {
            (1..=63).contains(&label.len())
                && label.chars().all(plain)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() > 253 || !name.split('.').all(fits) {
            return Err(BadName::NotAName(shown()));
        }
        if !name.contains('.') {
            return Err(BadName::NoDomain(shown()));
        }
        Ok(Self(name.to_ascii_lowercase()))
    }
}

crate::text_form::serde_as_text!(HostName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_is_taken_and_what_no_certificate_is_for_is_told_apart() {
        assert_eq!("Web.Contoso.example.".parse::<HostName>().unwrap().as_str(), "web.contoso.example");
        let refused = |text: &str| text.parse::<HostName>().unwrap_err();
        assert_eq!(refused(""), BadName::Empty);
        assert_eq!(refused("192.0.2.1"), BadName::Address(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(refused("web"), BadName::NoDomain("web".to_owned()));
        for bad in ["a..b", "-a.b", "a b.c", "https://a.b", "a\0.b", "wéb.example", &"a.".repeat(200)] {
            assert!(matches!(refused(bad), BadName::NotAName(_)), "{bad}");
        }
    }
}
