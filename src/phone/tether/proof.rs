//! What keys in the phone prove: the factory key that it is a phone of its maker, the identity's key that it is in there.

use super::messages::{DeviceProof, ECDSA_SHA256, PossessionMap, RSA_SHA256};
use super::{Host, binding};
use crate::credential::{Certificate, Fingerprint};
use crate::phone::{Authenticity, Identity, PhoneError};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_parser::oid_registry;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};

/// What vouches for the phone by its device proof, and the factory key that does.
pub(super) fn judge(
    proof: Option<&DeviceProof>,
    handshake_hash: &[u8; 32],
    identity: &Identity,
    host: &Host,
    now: OffsetDateTime,
) -> (Authenticity, Option<Fingerprint>) {
    match by_maker(proof, handshake_hash, identity, host, now) {
        Ok((root, key)) => (Authenticity::Maker { root }, Some(key)),
        Err(reason) => (Authenticity::Nothing { reason }, None),
    }
}

fn by_maker(
    proof: Option<&DeviceProof>,
    handshake_hash: &[u8; 32],
    identity: &Identity,
    host: &Host,
    now: OffsetDateTime,
) -> Result<(String, Fingerprint), String> {
    let proof = proof.ok_or("it has no factory key")?;
    let presented = proof.chain.iter().filter_map(|der| Certificate::from_der(der).ok());
    let named = presented.filter(|root| host.maker_root_fingerprints.contains(&root.fingerprint()));
    let roots: Vec<Certificate> = host.maker_roots.iter().cloned().chain(named).collect();
    if roots.is_empty() {
        return Err("no definition names its maker's root".into());
    }
    let leaf = proof.chain.first().ok_or("its factory chain is empty")?;
    let leaf = Certificate::from_der(leaf).map_err(|_| "its factory certificate cannot be read")?;
    let message = binding::device_proof_message(handshake_hash);
    if !verifies(leaf.spki_der(), proof.algorithm, &message, &proof.signature) {
        return Err("its factory key did not sign this session".into());
    }

    let seconds = u64::try_from(now.unix_timestamp()).map_err(|_| "this computer's clock is wrong")?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let root_ders: Vec<CertificateDer<'_>> = roots.iter().map(|root| CertificateDer::from(root.der())).collect();
    let anchors: Vec<_> = root_ders.iter().filter_map(|der| anchor_from_trusted_cert(der).ok()).collect();
    let between: Vec<CertificateDer<'_>> =
        proof.chain.iter().skip(1).map(|der| CertificateDer::from(der.as_slice())).collect();
    let der = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&der).map_err(|_| "its factory certificate cannot be read")?;
    let path = end_entity
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, &between, now, KeyUsage::client_auth(), None, None)
        .map_err(|error| format!("its factory certificate does not chain to its maker's root: {error}"))?;

    // A good factory key of another phone must not vouch for this one.
    if serial_number(&leaf).as_deref() != Some(identity.serial.as_str()) {
        return Err("its factory certificate is for another serial number".into());
    }
    let anchor = path.anchor();
    let root = roots.iter().find(|root| {
        anchor_from_trusted_cert(&CertificateDer::from(root.der())).is_ok_and(|found| found.subject == anchor.subject)
    });
    Ok((root.map(Certificate::label).unwrap_or_default(), leaf.key_id()))
}

/// The subject's `serialNumber` attribute.
fn serial_number(certificate: &Certificate) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate.der()).ok()?;
    let serial = parsed.subject().iter_by_oid(&oid_registry::OID_X509_SERIALNUMBER).next()?;
    serial.as_str().ok().map(str::to_owned)
}

/// Verifies that the key of `leaf` signed this session's challenge.
pub(super) fn verify_possession(
    possession: &PossessionMap,
    handshake_hash: &[u8; 32],
    nonce: &[u8; 32],
    leaf: &Certificate,
) -> Result<(), PhoneError> {
    let fingerprint = Fingerprint::from_bytes(*possession.fingerprint);
    if fingerprint != leaf.fingerprint() {
        let found = fingerprint.short();
        return Err(PhoneError::NotProven(format!("it proves {found}, not {}", leaf.fingerprint().short())));
    }
    let message = binding::possession_message(handshake_hash, nonce, &fingerprint);
    if verifies(leaf.spki_der(), possession.algorithm, &message, &possession.signature) {
        Ok(())
    } else {
        Err(PhoneError::NotProven("the signature does not fit the certificate's key".into()))
    }
}

pub(super) fn verifies(spki: &[u8], algorithm: u8, message: &[u8], signature: &[u8]) -> bool {
    let algorithm: &'static dyn VerificationAlgorithm = match algorithm {
        RSA_SHA256 => &RSA_PKCS1_2048_8192_SHA256,
        ECDSA_SHA256 => &ECDSA_P256_SHA256_ASN1,
        _ => return false,
    };
    verifies_by(algorithm, spki, message, signature)
}

pub(super) fn verifies_by(
    algorithm: &'static dyn VerificationAlgorithm,
    spki: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok((_, spki)) = SubjectPublicKeyInfo::from_der(spki) else { return false };
    UnparsedPublicKey::new(algorithm, &spki.subject_public_key.data).verify(message, signature).is_ok()
}
