//! rustls-webpki, asked with the phone's anchors and clock. In its granting form it is the only judge.

use std::time::Duration;

use aws_lc_rs::signature::{self as aws, RsaParameters, UnparsedPublicKey};
use rustls::pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, UnixTime, alg_id,
};

use super::walk::Path;
use super::{Culprit, Flaw, LEAST_RSA_BITS, PhoneView};
use crate::credential::Certificate;

/// What a run is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strictness {
    /// Says good.
    Grant,
    /// Takes SHA-1, short keys and anchors out of date, to tell a chain that is sound otherwise. Never says good.
    ExplainOnly,
}

/// An RSA signature algorithm that no granting run knows.
#[derive(Debug)]
struct Legacy {
    id: AlgorithmIdentifier,
    algorithm: &'static RsaParameters,
}

/// sha1WithRSAEncryption, 1.2.840.113549.1.1.5, with NULL.
const RSA_PKCS1_SHA1: AlgorithmIdentifier =
    AlgorithmIdentifier::from_slice(&[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05, 0x05, 0x00]);

static LEGACY: [&dyn SignatureVerificationAlgorithm; 2] = [
    &Legacy { id: RSA_PKCS1_SHA1, algorithm: &aws::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY },
    &Legacy { id: alg_id::RSA_PKCS1_SHA256, algorithm: &aws::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY },
];

impl SignatureVerificationAlgorithm for Legacy {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        UnparsedPublicKey::new(self.algorithm, key).verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.id
    }
}

/// Asks webpki whether a TLS server may be trusted by exactly this way. A way without an anchor never is.
///
/// One way at a time, so that certificates made to confuse cannot make the search explode.
pub(super) fn verify(path: &Path, view: &PhoneView<'_>, strictness: Strictness) -> Result<(), webpki::Error> {
    let Some(((server, intermediates), anchor)) = path.chain.split_first().zip(path.anchor()) else {
        return Err(webpki::Error::UnknownIssuer);
    };
    if strictness == Strictness::Grant {
        // webpki judges neither an anchor's dates nor the server's own key.
        let least = view.min_rsa_bits.max(LEAST_RSA_BITS);
        let short = |c: &Certificate| c.key_kind().rsa_bits().is_some_and(|bits| bits < least);
        if !anchor.is_in_date(view.clock) || path.whole().iter().any(short) {
            return Err(webpki::Error::UnknownIssuer);
        }
    }
    let (server, anchor) = (CertificateDer::from(server.der()), CertificateDer::from(anchor.der()));
    let intermediates: Vec<CertificateDer<'_>> = intermediates.iter().map(|c| CertificateDer::from(c.der())).collect();
    let algorithms: Vec<&dyn SignatureVerificationAlgorithm> = match strictness {
        Strictness::Grant => webpki::ALL_VERIFICATION_ALGS.to_vec(),
        Strictness::ExplainOnly => webpki::ALL_VERIFICATION_ALGS.iter().chain(&LEGACY).copied().collect(),
    };
    let clock = Duration::from_secs(u64::try_from(view.clock.unix_timestamp()).unwrap_or(0));
    webpki::EndEntityCert::try_from(&server)?.verify_for_usage(
        &algorithms,
        &[webpki::anchor_from_trusted_cert(&anchor)?],
        &intermediates,
        UnixTime::since_unix_epoch(clock),
        webpki::KeyUsage::server_auth(),
        None,
        None,
    )?;
    Ok(())
}

impl Path {
    /// The chain with its anchor last.
    pub(super) fn whole(&self) -> Vec<Certificate> {
        self.chain.iter().chain(self.anchor()).cloned().collect()
    }
}

/// What webpki finds wrong with the mere format of a certificate; it reads more strictly than we do.
pub(super) fn format_flaw(which: Culprit, certificate: &Certificate) -> Option<Flaw> {
    let der = CertificateDer::from(certificate.der());
    webpki::EndEntityCert::try_from(&der).err().map(|error| explain(&error, which))
}

/// What webpki refused, where the own walk saw nothing wrong or where it is about `which` alone.
pub(super) fn explain(error: &webpki::Error, which: Culprit) -> Flaw {
    use webpki::Error as E;
    let malformed = |why| Flaw::Malformed { which: which.clone(), why };
    let rule = match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) | E::MalformedExtensions | E::ExtensionValueInvalid => {
            return malformed("its encoding is not DER");
        }
        E::UnsupportedCertVersion => return malformed("it is not of version 3"),
        E::InvalidSerialNumber => return malformed("its serial number is not positive or too long"),
        E::InvalidCertValidity => return malformed("it ends before it begins"),
        E::MalformedDnsIdentifier => return malformed("a host name in it is none"),
        E::NameConstraintViolation | E::MalformedNameConstraint | E::InvalidNetworkMaskConstraint => {
            "an issuer may not issue for these names"
        }
        E::PathLenConstraintViolated => "an issuer may not have so many intermediates below it",
        E::CaUsedAsEndEntity => "the server certificate is the certificate of a CA",
        E::EndEntityUsedAsCa => "a certificate that is no CA's was used to issue another",
        E::UnsupportedCriticalExtension => "a certificate has a critical extension that is not known here",
        E::CertDistrusted => "a certificate in it is distrusted everywhere",
        E::SignatureAlgorithmMismatch => "a certificate names two different signature algorithms",
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a signature is of a kind that is not checked here"
        }
        E::InvalidSignatureForPublicKey => "a signature does not fit its issuer's key",
        E::EmptyEkuExtension => "a certificate is limited to no purpose at all",
        E::MaximumPathDepthExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded => "it is longer or more tangled than any honest chain",
        // The enum is open, and what is left concerns revocation lists, which are not used here.
        other => return Flaw::Forbidden { rule: format!("{other:?}") },
    };
    Flaw::Forbidden { rule: rule.to_owned() }
}
