//! What the phone does when it is asked (docs/tether-protocol.md, sections 6 and 7).

mod consent;
mod endorsing;
mod reading;
mod signing;
mod transaction;

#[cfg(test)]
pub(crate) use endorsing::{Hash, signed_info, timestamp};
pub(super) use reading::{device_proof, identity};
pub(super) use transaction::pkcs10;

use consent::*;
use endorsing::*;
use reading::*;
use signing::*;
use transaction::*;

use super::engine::Peer;
use super::{Consent, Inside, Memory, Pending, Phone, StoredIdentity, StoredKey, WriteError, judgement, transcript};
use crate::credential::{Fingerprint, KeyKind};
use crate::phone::tether::binding::{self, ShortCode, Side};
use crate::phone::tether::messages::{
    self, AnchorMap, AnchorPage, Committed, CurrentIdentity, DerMap, DeviceProof, ECDSA_SHA256, EndorsedMap, GOOD,
    IdentityMap, KeyMade, LogPage, NOT_JUDGED, Nothing, Operation, Outcome, PendingMap, PossessionMap, Problem,
    RSA_SHA256, Revealed, SignatureMap, State, capability, code,
};
use minicbor::bytes::{ByteArray, ByteVec};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SigningKey,
};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// An error number with words.
type Refusal = (u16, String);

pub(super) fn ends_session(operation: &Operation) -> bool {
    matches!(operation, Operation::Leave {} | Operation::Restart {})
}

/// Performs one operation.
pub(super) async fn perform(phone: &Phone, peer: &mut Peer, operation: Operation) -> Outcome {
    let refuses = phone.lock().nature.refuses(&operation);
    let result = match operation {
        _ if refuses => refuse(code::NOT_ACCEPTED, "this phone does not do that"),
        Operation::Consent { code } => consent(phone, peer, code).await,
        Operation::MakeKey { id, kind } => make_key(phone, peer, &id, kind).await,
        Operation::SignHandshake { transcript, scheme } => sign_handshake(phone, peer, &transcript, scheme),
        other => perform_at_once(&mut phone.lock(), peer, other),
    };
    match result {
        Ok(answer) => Outcome::Done(answer),
        Err(Stop::Refused(number, text)) => Outcome::failed(number, text),
        Err(Stop::Problem(number, problem)) => Outcome::Failed(number, *problem),
    }
}

enum Stop {
    Refused(u16, String),
    Problem(u16, Box<Problem>),
}

impl From<Refusal> for Stop {
    fn from((number, text): Refusal) -> Self {
        Self::Refused(number, text)
    }
}

fn refuse<T>(number: u16, text: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(number, text.into()))
}

/// Text from a host that goes on: its control characters would steer a screen or a log.
fn plain(text: &str) -> Result<(), Stop> {
    if text.contains(char::is_control) {
        return refuse(code::NOT_ACCEPTED, "a text has a control character");
    }
    Ok(())
}

fn answer(value: &impl minicbor::Encode<()>) -> Result<Vec<u8>, Stop> {
    Ok(messages::encode(value))
}

fn nothing() -> Result<Vec<u8>, Stop> {
    answer(&Nothing {})
}

fn perform_at_once(inside: &mut Inside, peer: &mut Peer, operation: Operation) -> Result<Vec<u8>, Stop> {
    match operation {
        Operation::State {} => answer(&state(inside, peer)),
        Operation::Anchors { start } => answer(&anchors(inside, start)),
        Operation::ReadCertificate { fingerprint } => read_certificate(inside, &fingerprint),
        Operation::SetClock { time } => set_clock(inside, peer, time),
        Operation::ShowCode { nonce } => show_code(inside, peer, &nonce),
        Operation::Attention { seconds } => attention(inside, seconds),
        Operation::Log { start } => {
            supports(inside, capability::LOG, "sign-in log")?;
            answer(&log(inside, start))
        }
        Operation::Prove { nonce } => prove(inside, peer, &nonce),
        Operation::SignIn {} => {
            supports(inside, capability::SIGN_IN, "signing in on command")?;
            changing(peer)?;
            if inside.memory().identity.is_none() {
                return refuse(code::NO_SUCH, "there is no identity to sign in with");
            }
            inside.write_log("asked to sign in");
            nothing()
        }
        Operation::Restart {} => {
            supports(inside, capability::RESTART, "restarting on command")?;
            changing(peer)?;
            inside.write_log("restarted over USB");
            nothing()
        }
        Operation::Leave {} => nothing(),
        Operation::RemoveIdentity { fingerprint } => remove_identity(inside, peer, &fingerprint),
        Operation::Endorse { created, expires, hash } => endorse(inside, peer, created, expires, hash),
        Operation::Begin { id, user, replaces } => begin(inside, peer, id, user, replaces),
        Operation::SigningRequest { id, common_name, hash } => signing_request(inside, peer, &id, &common_name, hash),
        Operation::Stage { id, role, fingerprint, certificate } => {
            stage(inside, peer, &id, role, &fingerprint, certificate)
        }
        Operation::Settings { id, settings } => {
            change_pending(inside, peer, &id, |pending| {
                plain(&settings.sip_uri)?;
                plain(settings.registrar.as_deref().unwrap_or_default())?;
                plain(&settings.web_services)?;
                pending.settings = Some(settings);
                Ok(())
            })?;
            nothing()
        }
        Operation::Check { id, server_chain, server_name } => check(inside, peer, &id, &server_chain, &server_name),
        Operation::Commit { id } => commit(inside, peer, &id),
        Operation::Abort { id } => abort(inside, peer, &id),
        Operation::MakeKey { .. } | Operation::SignHandshake { .. } | Operation::Consent { .. } => {
            unreachable!("these are performed by `perform`")
        }
    }
}

fn kind_number(kind: KeyKind) -> u8 {
    match kind {
        KeyKind::Rsa2048 => 1,
        KeyKind::Rsa3072 => 2,
        KeyKind::P256 => 3,
    }
}

fn signature_algorithm(key: &StoredKey) -> u8 {
    if key.kind == 3 { ECDSA_SHA256 } else { RSA_SHA256 }
}

fn key_pair(key: &StoredKey) -> Result<KeyPair, Stop> {
    let algorithm = if key.kind == 3 { &PKCS_ECDSA_P256_SHA256 } else { &PKCS_RSA_SHA256 };
    KeyPair::from_pkcs8_der_and_sign_algo(&key.pkcs8.as_slice().into(), algorithm)
        .map_err(|_| Stop::Refused(code::KEY_FAILED, "the stored key is damaged".into()))
}

fn key_id(key: &StoredKey) -> Result<[u8; 32], Stop> {
    Ok(*Fingerprint::of(&rcgen_spki(&key_pair(key)?)).as_bytes())
}

fn rcgen_spki(pair: &KeyPair) -> Vec<u8> {
    use rcgen::PublicKeyData;
    pair.subject_public_key_info()
}
