//! The user's address.

use std::fmt;
use std::str::FromStr;

/// A user's SIP address without its scheme, in lower case: `alice@contoso.example`.
///
/// Holds one `@` with a name before it and a domain after it, of printable ASCII without blanks, quotes, angle brackets or
/// `;`; at most 254 bytes. So it can stand in SOAP, SIP, a subject and a terminal line as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SipAddress(String);

/// Why a text is no SIP address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SIP address: write it like alice@contoso.example")]
pub struct ParseSipAddressError {
    text: String,
}

impl SipAddress {
    /// `alice@contoso.example`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `contoso.example`.
    pub fn domain(&self) -> &str {
        self.0.split_once('@').expect("a SIP address has one @").1
    }

    /// `sip:alice@contoso.example`.
    pub fn uri(&self) -> String {
        format!("sip:{}", self.0)
    }
}

/// Whether a host is the domain itself or in it. Case does not count, nor a dot at the end of the host.
pub fn is_in_domain(host: &str, domain: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let domain = domain.to_ascii_lowercase();
    host == domain || host.strip_suffix(&domain).is_some_and(|front| front.ends_with('.'))
}

impl fmt::Display for SipAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SipAddress {
    type Err = ParseSipAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseSipAddressError { text: text.escape_default().to_string() };
        let scheme = text.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("sip:"));
        let address = scheme.map_or(text, |_| &text[4..]);
        let (name, domain) = address.split_once('@').ok_or_else(error)?;
        let plain = |c: char| c.is_ascii_graphic() && !"\"'<>;&@\\,:".contains(c);
        let host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let whole = !name.is_empty() && name.chars().all(plain) && address.len() <= 254;
        let labels = domain.split('.').all(|label| !label.is_empty()) && domain.chars().all(host);
        if !whole || !labels {
            return Err(error());
        }
        Ok(Self(address.to_ascii_lowercase()))
    }
}

crate::text_form::serde_as_text!(SipAddress);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_scheme_is_optional_and_case_does_not_count() {
        let address: SipAddress = "SIP:Alice@Contoso.Example".parse().unwrap();
        assert_eq!(address.as_str(), "alice@contoso.example");
        assert_eq!(address.domain(), "contoso.example");
        assert_eq!(address.uri(), "sip:alice@contoso.example");
    }

    #[test]
    fn what_could_break_out_of_a_line_a_subject_or_an_envelope_is_refused() {
        for bad in ["alice", "@b", "a@", "a@b@c", "a b@c", "a\"@c", "a<@c", "a@b..c", "a;x@c", "a\n@c", "CONTOSO\\a@c"]
        {
            assert!(bad.parse::<SipAddress>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused_and_reads_back(text in "\\PC{0,60}") {
            if let Ok(address) = text.parse::<SipAddress>() {
                prop_assert_eq!(address.as_str().parse::<SipAddress>(), Ok(address));
            }
        }
    }
}
