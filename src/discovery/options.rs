//! Options 43 and 120 of DHCP: the only two that a phone of the Lync era asks for.
//!
//! The bytes of an option without its code and length, in either direction. What is read is all that the option has: an
//! option that came in several parts has been put together before (RFC 3396).

use super::name::{BadName, HostName};
use super::trouble::Trouble;
use std::net::Ipv4Addr;

/// What phones call themselves in option 60, and what sub-option 1 has to repeat, letter by letter.
pub const UC_CLIENT: &str = "MS-UC-Client";
/// What they call themselves when they ask for their VLAN.
pub const VLAN_CLIENT: &str = "CPE-OCPHONE";
/// Where the certificate provisioning service is on every pool.
pub const CERTPROV_PATH: &str = "/CertProv/CertProvisioningService.svc";
/// Most bytes in one option (RFC 2132): Windows has no way to send a longer one.
const MOST: usize = 255;
/// The sub-option with the VLAN.
const VLAN: u8 = 10;

/// Where the Web Services are, by option 43.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebServices {
    /// Sub-option 3.
    pub host: HostName,
    /// Sub-option 4.
    pub port: u16,
    /// Sub-option 5, with a `/` at its beginning.
    pub path: String,
}

/// Why an option says nothing that a phone could use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOption {
    /// Option 120 has nothing in it.
    #[error("it is empty")]
    Empty,
    /// Option 120, encoding 1: legal, and useless, since certificates are for names.
    #[error("it has {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Addresses(Vec<Ipv4Addr>),
    /// Option 120 as text.
    #[error("it is the text `{0}` instead of the encoding byte 00 and labels")]
    Text(String),
    /// Option 120 with labels that do not fit.
    #[error("its labels do not fit: {0}")]
    Labels(String),
    /// A name that is none.
    #[error(transparent)]
    Name(BadName),
    /// Option 43 ends within a sub-option.
    #[error("sub-option {code} wants {wanted} bytes, and {left} are left: {bytes}")]
    CutShort {
        /// The sub-option.
        code: u8,
        /// As its length says.
        wanted: usize,
        /// What is there.
        left: usize,
        /// All of the option, in hex.
        bytes: String,
    },
    /// No sub-option 1.
    #[error("sub-option 1 is missing; it has {0}")]
    NoIdentifier(String),
    /// Sub-option 1 in other letters.
    #[error("sub-option 1 is `{0}`")]
    IdentifierCase(String),
    /// Sub-option 1 says something else.
    #[error("sub-option 1 is `{0}`")]
    OtherIdentifier(String),
    /// Sub-option 2.
    #[error("sub-option 2 is `{0}`")]
    Scheme(String),
    /// Sub-option 3.
    #[error("sub-option 3: {0}")]
    WebName(BadName),
    /// Sub-option 4.
    #[error("sub-option 4 is `{0}`")]
    Port(String),
    /// Sub-option 5.
    #[error("sub-option 5 is `{0}`")]
    Path(String),
    /// A sub-option is missing.
    #[error("sub-option {code}, {what}, is missing")]
    Missing {
        /// The sub-option.
        code: u8,
        /// What it says.
        what: &'static str,
    },
    /// The VLAN is not two bytes, or no VLAN.
    #[error("sub-option 10 is {0}")]
    Vlan(String),
}

impl BadOption {
    /// What is wrong, as a finding has it.
    pub const fn trouble(&self) -> Trouble {
        match self {
            Self::Empty | Self::Text(_) | Self::Labels(_) | Self::Name(_) => Trouble::RegistrarUnreadable,
            Self::Addresses(_) => Trouble::RegistrarByAddress,
            Self::CutShort { .. } => Trouble::WebUnreadable,
            Self::NoIdentifier(_) => Trouble::IdentifierMissing,
            Self::IdentifierCase(_) => Trouble::IdentifierCase,
            Self::OtherIdentifier(_) => Trouble::IdentifierOther,
            Self::Scheme(_) => Trouble::SchemeNotHttps,
            Self::WebName(_) | Self::Missing { code: 3, .. } => Trouble::WebNameUnreadable,
            Self::Port(_) => Trouble::WebPortUnreadable,
            Self::Path(_) => Trouble::WebPathUnreadable,
            Self::Missing { .. } => Trouble::WebIncomplete,
            Self::Vlan(_) => Trouble::VlanUnreadable,
        }
    }
}

impl WebServices {
    /// The address of the certificate provisioning service, with its port, as administrators know it.
    pub fn url(&self) -> String {
        format!("https://{}:{}{}", self.host, self.port, self.path)
    }

    /// Reads option 43: sub-options in any order, unknown ones passed over, texts with or without a zero at their end.
    pub fn read(option: &[u8]) -> Result<Self, BadOption> {
        let parts = sub_options(option)?;
        let part = |code| parts.iter().find(|(it, _)| *it == code).map(|(_, value)| text(value));
        match part(1) {
            None => return Err(BadOption::NoIdentifier(summary(&parts))),
            Some(id) if id == UC_CLIENT => {}
            Some(id) if id.eq_ignore_ascii_case(UC_CLIENT) => return Err(BadOption::IdentifierCase(id)),
            Some(id) => return Err(BadOption::OtherIdentifier(id)),
        }
        let wanted = |code, what| part(code).ok_or(BadOption::Missing { code, what });
        let scheme = wanted(2, "the scheme")?;
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(BadOption::Scheme(scheme));
        }
        let host = wanted(3, "the name")?.parse().map_err(BadOption::WebName)?;
        let port = wanted(4, "the port")?;
        let port = match port.parse() {
            Ok(number @ 1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => number,
            Ok(_) | Err(_) => return Err(BadOption::Port(port)),
        };
        let path = wanted(5, "the path")?;
        if !is_path(&path) {
            return Err(BadOption::Path(path));
        }
        Ok(Self { host, port, path })
    }

    /// The sub-options: code, what Microsoft's tool calls it, value.
    pub fn parts(&self) -> [(u8, &'static str, String); 5] {
        [
            (1, "UCIdentifier", UC_CLIENT.to_owned()),
            (2, "URLScheme", "https".to_owned()),
            (3, "WebServerFqdn", self.host.to_string()),
            (4, "WebServerPort", self.port.to_string()),
            (5, "CertProvRelPath", self.path.clone()),
        ]
    }

    /// Writes option 43.
    pub fn bytes(&self) -> Result<Vec<u8>, TooLong> {
        let mut bytes = Vec::new();
        for (code, _, value) in self.parts() {
            let length = u8::try_from(value.len()).map_err(|_| TooLong { option: 43, bytes: value.len() })?;
            bytes.extend([code, length]);
            bytes.extend(value.bytes());
        }
        fits(43, bytes)
    }
}

/// What does not fit into an option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("option {option} would have {bytes} bytes, and 255 are the most")]
pub struct TooLong {
    /// The option.
    pub option: u8,
    /// How long it would be.
    pub bytes: usize,
}

/// Whether a text can be the path of a URL as it is.
pub fn is_path(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}?#".contains(&byte);
    text.starts_with('/') && !text.starts_with("//") && text.bytes().all(plain)
}

/// Reads option 120 (RFC 3361): the names, at least one.
pub fn read_registrars(option: &[u8]) -> Result<Vec<HostName>, BadOption> {
    match option.split_first() {
        None => Err(BadOption::Empty),
        Some((0, labels)) => names(labels),
        Some((1, addresses)) if !addresses.is_empty() && addresses.len().is_multiple_of(4) => {
            let addresses = addresses.chunks_exact(4).map(|it| Ipv4Addr::new(it[0], it[1], it[2], it[3]));
            Err(BadOption::Addresses(addresses.collect()))
        }
        Some(_) if option.iter().all(|byte| byte.is_ascii_graphic()) => Err(BadOption::Text(text(option))),
        Some(_) => Err(BadOption::Labels(format!("encoding {}, {}", option[0], hex(option)))),
    }
}

/// Writes option 120 with one name, as Microsoft's tool does.
pub fn registrar_bytes(name: &HostName) -> Result<Vec<u8>, TooLong> {
    let mut bytes = vec![0];
    for label in name.as_str().split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label has 63 bytes at most"));
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    fits(120, bytes)
}

/// Reads option 43 of an answer to [`VLAN_CLIENT`]: the VLAN of phones, where one is in it.
pub fn read_vlan(option: &[u8]) -> Result<Option<u16>, BadOption> {
    let parts = sub_options(option)?;
    let Some((_, value)) = parts.iter().find(|(code, _)| *code == VLAN) else { return Ok(None) };
    match value[..] {
        [high, low] => match u16::from_be_bytes([high, low]) {
            vlan @ 1..=4094 => Ok(Some(vlan)),
            other => Err(BadOption::Vlan(format!("{other}, and VLANs are 1 to 4094"))),
        },
        _ => Err(BadOption::Vlan(format!("{} instead of two bytes", hex(value)))),
    }
}

/// Bytes as administrators compare them: `2b 56`.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn fits(option: u8, bytes: Vec<u8>) -> Result<Vec<u8>, TooLong> {
    if bytes.len() > MOST { Err(TooLong { option, bytes: bytes.len() }) } else { Ok(bytes) }
}

/// Code and value of each sub-option. 255 ends them, a code of 0 is padding (RFC 2132 section 8.4).
fn sub_options(option: &[u8]) -> Result<Vec<(u8, &[u8])>, BadOption> {
    let mut parts = Vec::new();
    let mut rest = option;
    while let Some((&code, after)) = rest.split_first() {
        rest = match code {
            0 => after,
            255 => break,
            _ => {
                let (&length, value) = after.split_first().unwrap_or((&0, &[]));
                let wanted = usize::from(length);
                if after.is_empty() || value.len() < wanted {
                    return Err(BadOption::CutShort { code, wanted, left: value.len(), bytes: hex(option) });
                }
                let (value, after) = value.split_at(wanted);
                parts.push((code, value));
                after
            }
        };
    }
    Ok(parts)
}

fn summary(parts: &[(u8, &[u8])]) -> String {
    match parts {
        [] => "none".to_owned(),
        parts => parts.iter().map(|(code, _)| code.to_string()).collect::<Vec<_>>().join(", "),
    }
}

/// A text of an option, as far as it is one; without zeros at its end.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// Names of labels that each end in an empty one. RFC 3361 has no compression: it refers to RFC 1035, section 3.1.
fn names(mut labels: &[u8]) -> Result<Vec<HostName>, BadOption> {
    let all = labels;
    let wrong = |what: &str| BadOption::Labels(format!("{what}, {}", hex(all)));
    let mut names = Vec::new();
    let mut name = String::new();
    while let Some((&length, after)) = labels.split_first() {
        let length = usize::from(length);
        labels = match length {
            0 if name.is_empty() && !names.is_empty() => after,
            0 => {
                names.push(std::mem::take(&mut name).parse().map_err(BadOption::Name)?);
                after
            }
            1..=63 if after.len() >= length => {
                let (label, after) = after.split_at(length);
                if !name.is_empty() {
                    name.push('.');
                }
                let label = std::str::from_utf8(label).map_err(|_| wrong("a label is no text"))?;
                if label.contains('.') {
                    return Err(wrong("a label has a dot in it"));
                }
                name.push_str(label);
                after
            }
            1..=63 => return Err(wrong("the last label is cut short")),
            _ => return Err(wrong("a label is longer than 63 bytes, or compressed")),
        };
    }
    if !name.is_empty() {
        return Err(wrong("the name has no end"));
    }
    if names.is_empty() { Err(BadOption::Empty) } else { Ok(names) }
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
