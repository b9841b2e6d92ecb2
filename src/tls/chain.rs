//! The path from a server's certificate to an anchor: what was sent, what had to be added, and where it ends if it does.

use super::signature::Hash;
use super::trust::Trust;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// Longest chain that is followed, certificates.
const MAX_DEPTH: usize = 8;

/// A trusted server's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerChain {
    /// Exactly as the server sent them, its own first, DER.
    pub presented: Vec<Vec<u8>>,
    /// What had to be added for this computer to trust the server: intermediates in order, then the root, DER.
    pub completed: Vec<Vec<u8>>,
}

/// Where the walk from a server's certificate upwards stops.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Top {
    /// How many certificates were walked.
    pub(super) length: usize,
    /// The name that the last of them gives as its issuer, for people.
    pub(super) issuer: String,
    /// It signed itself: the chain is whole and its root is simply not trusted.
    pub(super) is_root: bool,
    /// Where it says its issuer's certificate can be fetched (AIA caIssuers; http and https only).
    pub(super) addresses: Vec<String>,
}

/// Walks up by names. For explanation and for fetching only: a name is no proof.
pub(super) fn walk(presented: &[CertificateDer<'_>], helping: &[CertificateDer<'_>]) -> Option<Top> {
    let known: Vec<X509Certificate<'_>> =
        presented.iter().chain(helping).filter_map(|c| Some(X509Certificate::from_der(c).ok()?.1)).collect();
    let (_, mut top) = X509Certificate::from_der(presented.first()?).ok()?;
    let mut length = 1;
    while top.subject() != top.issuer() && length < MAX_DEPTH {
        let Some(issuer) = known.iter().find(|c| c.subject() == top.issuer()) else { break };
        top = issuer.clone();
        length += 1;
    }
    let is_root = top.subject() == top.issuer();
    Some(Top { length, issuer: top.issuer().to_string(), is_root, addresses: issuer_addresses(&top) })
}

/// The first certificate that a broken hash signs. A root is believed for its key, whatever it is signed with.
pub(super) fn signed_with_a_broken_hash(presented: &[CertificateDer<'_>]) -> Option<String> {
    let certificates = presented.iter().filter_map(|c| Some(X509Certificate::from_der(c).ok()?.1));
    let signed = certificates.filter(|certificate| certificate.subject() != certificate.issuer());
    let mut broken = signed.filter(|certificate| Hash::of_signature(certificate).is_some_and(Hash::is_broken));
    broken.next().map(|certificate| certificate.subject().to_string())
}

fn issuer_addresses(certificate: &X509Certificate<'_>) -> Vec<String> {
    let mut addresses = Vec::new();
    for extension in certificate.extensions() {
        let ParsedExtension::AuthorityInfoAccess(access) = extension.parsed_extension() else { continue };
        for description in access.iter() {
            let is_issuer = description.access_method.to_id_string() == "1.3.6.1.5.5.7.48.2";
            if let (true, GeneralName::URI(uri)) = (is_issuer, &description.access_location)
                && (uri.starts_with("http://") || uri.starts_with("https://"))
            {
                addresses.push((*uri).to_owned());
            }
        }
    }
    addresses
}

/// Names which certificates lead from what was presented to the anchor, by webpki's own path.
pub(super) fn complete(
    presented: &[CertificateDer<'static>],
    helping: &[CertificateDer<'static>],
    trust: &Trust,
) -> ServerChain {
    let chain = |completed| ServerChain { presented: presented.iter().map(|c| c.to_vec()).collect(), completed };
    let Some(Ok(leaf)) = presented.first().map(EndEntityCert::try_from) else { return chain(Vec::new()) };
    let sent = presented.get(1..).unwrap_or_default();
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    // The same two tries as the verifier's, so that the path shown is the path that was trusted.
    for candidates in [sent.to_vec(), [sent, helping].concat()] {
        let path = leaf.verify_for_usage(
            algorithms.all,
            &trust.store().roots,
            &candidates,
            UnixTime::now(),
            KeyUsage::server_auth(),
            None,
            None,
        );
        let Ok(path) = path else { continue };
        let mut completed: Vec<Vec<u8>> = path
            .intermediate_certificates()
            .map(|c| c.der().to_vec())
            .filter(|der| !presented.iter().any(|c| c.as_ref() == der))
            .collect();
        let anchor = path.anchor();
        let root = trust.anchors().iter().find(|root| {
            webpki::anchor_from_trusted_cert(root).is_ok_and(|a| {
                a.subject == anchor.subject && a.subject_public_key_info == anchor.subject_public_key_info
            })
        });
        if let Some(root) = root {
            completed.push(root.to_vec());
        }
        return chain(completed);
    }
    chain(Vec::new())
}
