//! The phone signs a sign-in at the registrar (docs/tether-protocol.md, 7.6), and is believed only by its signature.

use super::messages::{ECDSA_SHA256, Operation, RSA_SHA256, SignatureMap};
use super::{Tether, proof, read};
use crate::credential::{Certificate, KeyKind};
use crate::phone::{HandshakeSigning, PhoneError, Step};

impl Tether {
    pub(super) async fn have_signed(&mut self, signing: &HandshakeSigning<'_>) -> Result<Vec<u8>, PhoneError> {
        let during = Step::SignHandshake;
        let (scheme, algorithm) = scheme_of(signing.certificate)?;
        let consent = self.consent_to_sign(signing.consent)?;
        let mut operations: Vec<_> = consent.into_iter().map(|consent| (Step::Consent, consent)).collect();
        let transcript = signing.messages.to_vec().into();
        operations.push((during, Operation::SignHandshake { transcript, scheme }));

        let answers = self.request(&operations).await?;
        let signed: SignatureMap = read(answers.last().map(Vec::as_slice).unwrap_or_default(), during)?;
        let signature = signed.signature.to_vec();
        // Else the registrar would refuse it, and nobody would know why.
        if !proof::verifies(signing.certificate.spki_der(), algorithm, signing.messages, &signature) {
            return Err(PhoneError::NotSignedIn("the signature does not fit the certificate's key".into()));
        }
        Ok(signature)
    }
}

/// TLS's SignatureScheme for the key of a certificate, and the protocol's number of the same.
fn scheme_of(certificate: &Certificate) -> Result<(u64, u8), PhoneError> {
    match certificate.key_kind().key_kind() {
        Some(KeyKind::Rsa2048 | KeyKind::Rsa3072) => Ok((0x0401, RSA_SHA256)),
        Some(KeyKind::P256) => Ok((0x0403, ECDSA_SHA256)),
        None => Err(PhoneError::NotSignedIn("its certificate is for a key that phones do not have".into())),
    }
}
