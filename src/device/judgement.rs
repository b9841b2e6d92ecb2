//! The phone's own judgement of what is staged. It shares nothing with the host's: two judges, one verdict.

use crate::phone::tether::messages::{BAD, Checked, GOOD, NOT_JUDGED};
use minicbor::bytes::ByteVec;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use std::time::Duration;
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What a transaction has so far.
pub(super) struct Staged<'a> {
    pub(super) leaf: Option<&'a [u8]>,
    /// SubjectPublicKeyInfo of the transaction's key.
    pub(super) key: Option<&'a [u8]>,
    pub(super) user: &'a str,
    pub(super) intermediates: &'a [ByteVec],
    /// The phone's own and the staged ones.
    pub(super) anchors: &'a [Vec<u8>],
    pub(super) now: Option<OffsetDateTime>,
}

impl Staged<'_> {
    pub(super) fn check(&self, server_chain: &[ByteVec], server_name: &str) -> Checked {
        let mut checked =
            Checked { key: NOT_JUDGED, user: NOT_JUDGED, dates: NOT_JUDGED, server: NOT_JUDGED, text: String::new() };
        let mut reasons = Vec::new();
        if let Some(leaf) = self.leaf {
            self.check_leaf(leaf, &mut checked, &mut reasons);
        }
        if !server_chain.is_empty() {
            let presented: Vec<Vec<u8>> = server_chain.iter().map(|der| der.to_vec()).collect();
            let intermediates: Vec<Vec<u8>> = self.intermediates.iter().map(|der| der.to_vec()).collect();
            let trust = ServerTrust { anchors: self.anchors, intermediates: &intermediates, now: self.now };
            checked.server = match trust.judge(&presented, server_name) {
                Ok(()) => GOOD,
                Err(reason) => {
                    reasons.push(reason);
                    BAD
                }
            };
        }
        checked.text = reasons.join("; ");
        checked
    }

    fn check_leaf(&self, leaf: &[u8], checked: &mut Checked, reasons: &mut Vec<String>) {
        let Ok((_, leaf)) = X509Certificate::from_der(leaf) else {
            checked.key = BAD;
            reasons.push("the certificate cannot be read".into());
            return;
        };
        checked.key = if self.key == Some(leaf.public_key().raw) { GOOD } else { BAD };
        if checked.key == BAD {
            reasons.push("the certificate is for another key".into());
        }
        let names = names(&leaf);
        checked.user = match names.iter().any(|name| name.eq_ignore_ascii_case(self.user)) {
            true => GOOD,
            false if names.is_empty() => NOT_JUDGED,
            false => BAD,
        };
        if checked.user == BAD {
            reasons.push(format!("the certificate names {}", names.join(", ")));
        }
        let validity = leaf.validity();
        checked.dates = match self.now.map(OffsetDateTime::unix_timestamp) {
            Some(now) if now < validity.not_before.timestamp() => BAD,
            Some(now) if now > validity.not_after.timestamp() => BAD,
            Some(_) => GOOD,
            None => BAD,
        };
        if checked.dates == BAD {
            reasons.push("the phone's clock is not within the certificate's dates".into());
        }
    }
}

/// The users that a certificate names: addresses without scheme.
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let common = leaf.subject().iter_common_name().filter_map(|name| name.as_str().ok());
    let mut names: Vec<String> = common.filter(|name| name.contains('@')).map(str::to_owned).collect();
    if let Ok(Some(extension)) = leaf.subject_alternative_name() {
        for name in &extension.value.general_names {
            match name {
                GeneralName::URI(uri) => names.extend(sip_user(uri)),
                GeneralName::RFC822Name(address) => names.push((*address).to_owned()),
                _ => {}
            }
        }
    }
    names
}

/// The address of a SIP URI without its parameters and headers; `sips` is another scheme.
fn sip_user(uri: &str) -> Option<String> {
    let (scheme, address) = uri.split_once(':')?;
    let address = address.split([';', '?']).next()?;
    scheme.eq_ignore_ascii_case("sip").then(|| address.to_owned())
}

/// What the phone judges a server by.
pub(super) struct ServerTrust<'a> {
    pub(super) anchors: &'a [Vec<u8>],
    pub(super) intermediates: &'a [Vec<u8>],
    pub(super) now: Option<OffsetDateTime>,
}

impl ServerTrust<'_> {
    /// Whether `presented` (the server's own first) builds to an anchor and is for `name`.
    pub(super) fn judge(&self, presented: &[Vec<u8>], name: &str) -> Result<(), String> {
        let (server, rest) = presented.split_first().ok_or("the server showed no certificate")?;
        let seconds = self.now.map(OffsetDateTime::unix_timestamp).and_then(|s| u64::try_from(s).ok());
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds.ok_or("the phone has no time")?));
        let anchors: Vec<CertificateDer<'_>> =
            self.anchors.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        // An anchor is a name and a key: what its extensions say is not judged.
        let anchors = anchors.iter().filter_map(|der| anchor_from_trusted_cert(der).ok());
        let anchors: Vec<_> = anchors.map(|anchor| TrustAnchor { name_constraints: None, ..anchor }).collect();
        let between: Vec<CertificateDer<'_>> =
            rest.iter().chain(self.intermediates).map(|der| CertificateDer::from(der.as_slice())).collect();
        let server = CertificateDer::from(server.as_slice());
        let server = EndEntityCert::try_from(&server).map_err(|_| "the server's certificate cannot be read")?;
        server
            .verify_for_usage(
                webpki::ALL_VERIFICATION_ALGS,
                &anchors,
                &between,
                now,
                KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|error| format!("the server's chain does not build: {error}"))?;
        let name = ServerName::try_from(name.strip_suffix('.').unwrap_or(name))
            .map_err(|_| format!("{name} is no server name"))?;
        server
            .verify_is_valid_for_subject_name(&name)
            .map_err(|_| "the server's certificate is for another name".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..100)
    }

    #[test]
    fn a_sip_address_is_what_stands_between_scheme_and_parameters() {
        for uri in ["sip:a@b", "SIP:a@b", "Sip:a@b;transport=tls", "sip:a@b?x=1", "sip:a@b;c?d"] {
            assert_eq!(sip_user(uri).as_deref(), Some("a@b"), "{uri}");
        }
        for uri in ["sips:a@b", "a@b", "mailto:a@b"] {
            assert_eq!(sip_user(uri), None, "{uri}");
        }
    }

    proptest! {
        #[test]
        fn foreign_certificates_are_never_good(leaf in bytes(), server in bytes(), anchor in bytes(), name in any::<String>()) {
            let staged = Staged {
                leaf: Some(&leaf),
                key: Some(b"a key"),
                user: "alice@contoso.example",
                intermediates: &[],
                anchors: &[anchor],
                now: Some(OffsetDateTime::UNIX_EPOCH),
            };
            let checked = staged.check(&[server.into()], &name);
            prop_assert_eq!((checked.key, checked.server), (BAD, BAD));
            prop_assert!(!checked.text.is_empty());
        }
    }
}
