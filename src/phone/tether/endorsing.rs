//! The phone signs in for itself (docs/tether-protocol.md, 7.6): asked once for a consent, and believed only by its signature.

use super::messages::{DerMap, EndorsedMap, Operation};
use super::{Tether, proof, read};
use crate::credential::{Certificate, Fingerprint};
use crate::phone::{Endorsed, Endorsing, PhoneError, Step};
use crate::service::{Endorsement, EndorsementAlgorithm, EndorsementTerms};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256};

impl Tether {
    pub(super) async fn have_endorsed(&mut self, endorsing: &Endorsing) -> Result<Endorsed, PhoneError> {
        let during = Step::Endorse;
        let consent = self.consent_to_sign(&endorsing.consent)?;
        let clock = endorsing.set_clock.and_then(|ahead| self.world.now().checked_add(ahead));
        let fingerprint = (*endorsing.certificate.as_bytes()).into();
        let mut operations: Vec<_> = consent.into_iter().map(|consent| (Step::Consent, consent)).collect();
        operations.extend(clock.map(|time| (Step::Clock, Operation::SetClock { time: time.unix_timestamp() })));
        operations.push((Step::Look, Operation::ReadCertificate { fingerprint }));
        operations.push((during, operation(&endorsing.terms)));

        let answers = self.request(&operations).await?;
        let [.., certificate, signed] = answers.as_slice() else {
            return Err(PhoneError::Protocol { during, what: "too few answers".into() });
        };
        let certificate: DerMap = read(certificate, Step::Look)?;
        let certificate = Certificate::from_der(&certificate.der).map_err(PhoneError::Certificate)?;
        let signed: EndorsedMap = read(signed, during)?;
        if [certificate.fingerprint(), Fingerprint::from_bytes(*signed.fingerprint)] != [endorsing.certificate; 2] {
            return Err(PhoneError::NotEndorsed("it gave or used another certificate than the one in use".into()));
        }
        let signature = signed.signature.to_vec();
        if !verifies(&certificate, &endorsing.terms, &signature) {
            return Err(PhoneError::NotEndorsed("the signature does not fit the certificate's key".into()));
        }
        let endorsement = Endorsement { certificate: certificate.der().to_vec(), terms: endorsing.terms, signature };
        Ok(Endorsed { endorsement, clock })
    }
}

fn operation(terms: &EndorsementTerms) -> Operation {
    Operation::Endorse {
        created: terms.created.unix_timestamp(),
        expires: terms.expires.unix_timestamp(),
        hash: match terms.algorithm {
            EndorsementAlgorithm::RsaSha256 => 0,
            EndorsementAlgorithm::RsaSha1 => 1,
        },
    }
}

fn verifies(certificate: &Certificate, terms: &EndorsementTerms, signature: &[u8]) -> bool {
    let algorithm = match terms.algorithm {
        EndorsementAlgorithm::RsaSha1 => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        EndorsementAlgorithm::RsaSha256 => &RSA_PKCS1_2048_8192_SHA256,
    };
    proof::verifies_by(algorithm, certificate.spki_der(), terms.signed_info().as_bytes(), signature)
}
