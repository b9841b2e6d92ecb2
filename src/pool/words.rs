//! How settings are written, the same in files, options and the environment.

use crate::tls::{Engine, Proxy, Resolve};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use url::Url;

/// Why a word is no such setting. It does not repeat the word, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it like {0}")]
pub struct BadWord(pub &'static str);

/// What a pool is called: a-z, 0-9 and -, at most 64 of them, a letter or digit first. It is a file's name everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolName(String);

impl PoolName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PoolName {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        // Windows keeps some names for devices.
        let device = matches!(text, "con" | "prn" | "aux" | "nul")
            || (text.len() == 4
                && (text.starts_with("com") || text.starts_with("lpt"))
                && text.ends_with(char::is_numeric));
        if text.is_empty() || text.len() > 64 || text.starts_with('-') || !text.chars().all(plain) || device {
            return Err(BadWord("contoso or contoso-2, in a-z, 0-9 and -"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server: `sip.contoso.example:5061`. The host is not empty, the port not 0; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAndPort {
    host: String,
    port: u16,
}

impl HostAndPort {
    /// The host, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for HostAndPort {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = BadWord("sip.contoso.example:5061");
        let (host, port) = text.rsplit_once(':').ok_or(error)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let fits = match bracketed {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        match port.parse() {
            Ok(port @ 1..) if fits => Ok(Self { host: host.to_owned(), port }),
            Ok(_) | Err(_) => Err(error),
        }
    }
}

impl fmt::Display for HostAndPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Whether `text` can be a host's or a domain's name.
pub(super) fn is_host(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    !text.is_empty() && text.len() <= 253 && text.chars().all(plain)
}

/// `HOST:PORT:ADDRESS`; an address with a port of its own leads there.
impl FromStr for Resolve {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = BadWord("web.contoso.example:443:192.0.2.7");
        let mut parts = text.splitn(3, ':');
        let (Some(host), Some(port), Some(address)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(error);
        };
        let port: u16 = port.parse().map_err(|_| error)?;
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        let address = match (address.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
            (Ok(address), _) => address,
            (Err(_), Ok(ip)) => SocketAddr::new(ip, port),
            (Err(_), Err(_)) => return Err(error),
        };
        if !is_host(host) {
            return Err(error);
        }
        Ok(Self { host: host.to_owned(), port, address })
    }
}

impl fmt::Display for Resolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.host, self.port, self.address)
    }
}

impl FromStr for Engine {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "modern" => Ok(Self::Modern),
            "legacy" => Ok(Self::Legacy),
            _ => Err(BadWord("modern or legacy")),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modern => "modern",
            Self::Legacy => "legacy",
        })
    }
}

impl FromStr for Proxy {
    type Err = BadWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = BadWord("system, straight or http://proxy.contoso.example:8080");
        match text {
            "system" => Ok(Self::System),
            "straight" => Ok(Self::Straight),
            address => match Url::parse(address) {
                Ok(url) if url.scheme() == "http" && url.has_host() => Ok(Self::Through(url)),
                Ok(_) | Err(_) => Err(error),
            },
        }
    }
}

/// Never with a password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Straight => f.write_str("straight"),
            Self::Through(url) => {
                let host = url.host_str().unwrap_or_default();
                let user = if url.username().is_empty() { "" } else { "…@" };
                let port = url.port_or_known_default().unwrap_or(80);
                write!(f, "http://{user}{host}:{port}")
            }
        }
    }
}

/// The proxy, where its address holds no user and no password: for files and options, which others can read.
pub fn without_password(proxy: Proxy) -> Result<Proxy, BadWord> {
    match &proxy {
        Proxy::Through(url) if !url.username().is_empty() || url.password().is_some() => Err(BadWord(
            "http://proxy.contoso.example:8080, without user and password, which only HTTPS_PROXY and \
             TETHERCERT_PROXY may hold",
        )),
        Proxy::Through(_) | Proxy::System | Proxy::Straight => Ok(proxy),
    }
}

crate::text_form::serde_as_text!(PoolName);
crate::text_form::serde_as_text!(HostAndPort);
crate::text_form::serde_as_text!(Resolve);
crate::text_form::serde_as_text!(Engine);
crate::text_form::serde_as_text!(Proxy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_led_to_an_address_with_or_without_another_port() {
        let resolve = |text: &str| text.parse::<Resolve>().map(|it| (it.host, it.port, it.address));
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(resolve("web:443:192.0.2.7"), Ok(("web".into(), 443, address("192.0.2.7:443"))));
        assert_eq!(resolve("web:443:127.0.0.1:99"), Ok(("web".into(), 443, address("127.0.0.1:99"))));
        assert_eq!(resolve("web:443:[::1]"), Ok(("web".into(), 443, address("[::1]:443"))));
        for bad in ["web", "web:443", ":443:192.0.2.7", "web:x:192.0.2.7", "web:443:name"] {
            assert!(resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_word_is_written_as_it_was_read() {
        fn same<T: FromStr<Err = BadWord> + fmt::Display>(text: &str) {
            assert_eq!(text.parse::<T>().map(|it| it.to_string()), Ok(text.to_owned()));
        }
        same::<PoolName>("contoso-2");
        same::<HostAndPort>("sip.contoso.example:5061");
        same::<HostAndPort>("[::1]:5061");
        same::<Resolve>("web:443:[::1]:444");
        same::<Engine>("modern");
        same::<Engine>("legacy");
        same::<Proxy>("system");
        same::<Proxy>("straight");
        same::<Proxy>("http://proxy.contoso.example:8080");
    }

    #[test]
    fn what_is_no_name_and_no_server_is_refused() {
        for bad in ["", "-x", "Contoso", "../x", "a/b", "a.b", "nul", "com1"] {
            assert!(bad.parse::<PoolName>().is_err(), "{bad}");
        }
        for bad in ["", "sip", "sip:0", "sip:x", ":5061", "a b:1", "[x]:1", "user:pw@host:1"] {
            assert!(bad.parse::<HostAndPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_proxys_password_is_neither_shown_nor_taken_where_others_can_read_it() {
        let proxy: Proxy = "http://alice:s3cret@proxy.contoso.example:8080".parse().unwrap();
        assert_eq!(proxy.to_string(), "http://…@proxy.contoso.example:8080");
        assert!(without_password(proxy).is_err());
        assert!(!"ftp://alice:s3cret@proxy".parse::<Proxy>().unwrap_err().to_string().contains("s3cret"));
    }
}
