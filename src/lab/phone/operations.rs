//! What the phone does when it is asked (docs/tether-protocol.md, sections 6 and 7).

use super::engine::Peer;
use super::flash::{Memory, Pending, StoredIdentity, StoredKey};
use super::{Consent, Inside, VirtualPhone, judgement, transcript};
use crate::credential::{Fingerprint, KeyKind};
use crate::phone::tether::binding::{self, ShortCode, Side};
use crate::phone::tether::messages::{
    self, AnchorMap, AnchorPage, Committed, CurrentIdentity, DerMap, DeviceProof, ECDSA_SHA256, GOOD, IdentityMap,
    KeyMade, LogPage, NOT_JUDGED, Nothing, Operation, Outcome, PendingMap, PossessionMap, Problem, RSA_SHA256,
    Revealed, SignatureMap, State, capability, code,
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

/// How many hosts the phone remembers.
const KNOWN_HOSTS: usize = 8;

const MAX_USER_BYTES: usize = 255;
/// X.520: ub-common-name.
const MAX_COMMON_NAME_CHARACTERS: usize = 64;

/// How many short codes are shown in [`CODES_WITHIN`]: somebody between who opens session after session until a code
/// fits the one on the host's screen is stopped.
const CODES: usize = 20;
const CODES_WITHIN: Duration = Duration::from_secs(600);

pub(super) fn ends_session(operation: &Operation) -> bool {
    matches!(operation, Operation::Leave {} | Operation::Restart {})
}

/// Performs one operation.
pub(super) async fn perform(phone: &VirtualPhone, peer: &mut Peer, operation: Operation) -> Outcome {
    phone.lock().operations += 1;
    let result = match operation {
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
        Operation::Consent { code } => consent(inside, peer, code),
        Operation::Attention { seconds } => attention(inside, seconds),
        Operation::Log { start } => answer(&log(inside, start)),
        Operation::Prove { nonce } => prove(inside, peer, &nonce),
        Operation::SignIn {} => {
            changing(peer)?;
            supports(inside, capability::SIGN_IN, "signing in on command")?;
            inside.write_log("asked to sign in");
            nothing()
        }
        Operation::Restart {} => {
            changing(peer)?;
            supports(inside, capability::RESTART, "restarting on command")?;
            inside.write_log("restarted over USB");
            nothing()
        }
        Operation::Leave {} => nothing(),
        Operation::RemoveIdentity { fingerprint } => remove_identity(inside, peer, &fingerprint),
        Operation::Begin { id, user, replaces } => begin(inside, peer, id, user, replaces),
        Operation::SigningRequest { id, common_name, hash } => signing_request(inside, peer, &id, &common_name, hash),
        Operation::Stage { id, role, fingerprint, certificate } => {
            stage(inside, peer, &id, role, &fingerprint, certificate)
        }
        Operation::Settings { id, settings } => {
            change_pending(inside, peer, &id, |pending| {
                pending.settings = Some(settings);
                Ok(())
            })?;
            nothing()
        }
        Operation::Check { id, server_chain, server_name } => check(inside, peer, &id, &server_chain, &server_name),
        Operation::Commit { id } => commit(inside, peer, &id),
        Operation::Abort { id } => abort(inside, peer, &id),
        Operation::MakeKey { .. } | Operation::SignHandshake { .. } => {
            unreachable!("these two are performed by `perform`")
        }
    }
}

// Reading.

pub(super) fn identity(inside: &Inside, host_known: bool) -> IdentityMap {
    let material = &inside.material;
    let installed = inside.flash.read().installed_anchors.len() as u8;
    IdentityMap {
        maker: material.maker.clone(),
        model: material.model.clone(),
        serial: material.serial.clone(),
        mac: material.mac.into(),
        firmware: material.firmware.clone(),
        device: material.device.into_bytes().into(),
        capabilities: material.capabilities,
        key_kinds: material.key_kinds.iter().map(|kind| kind_number(*kind)).collect(),
        max_certificate_bytes: material.max_certificate_bytes,
        max_intermediates: material.max_intermediates,
        free_anchors: material.max_installed_anchors.saturating_sub(installed),
        consent: match material.consent {
            Consent::None => 0,
            Consent::Press { .. } => 1,
            Consent::Code { .. } => 2,
        },
        host_known,
    }
}

pub(super) fn device_proof(inside: &Inside, handshake_hash: &[u8; 32]) -> Option<DeviceProof> {
    let (chain, pkcs8) = inside.material.factory.as_ref()?;
    let hash = if inside.lies.replays_device_proof { &[0; 32] } else { handshake_hash };
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &PKCS_ECDSA_P256_SHA256).ok()?;
    let signature = key.sign(&binding::device_proof_message(hash)).ok()?;
    Some(DeviceProof {
        chain: chain.iter().cloned().map(ByteVec::from).collect(),
        algorithm: ECDSA_SHA256,
        signature: signature.into(),
    })
}

fn state(inside: &Inside, peer: &Peer) -> State {
    let memory = inside.flash.read();
    State {
        clock: inside.time().map(OffsetDateTime::unix_timestamp),
        identity: memory.identity.as_ref().and_then(current_identity),
        pending: memory.pending.as_ref().map(|pending| pending_map(pending, peer)),
        committed: memory.committed,
        settings: memory.settings.clone(),
        anchors: (inside.material.anchors.len() + memory.installed_anchors.len()) as u16,
    }
}

fn current_identity(identity: &StoredIdentity) -> Option<CurrentIdentity> {
    let (_, leaf) = X509Certificate::from_der(&identity.leaf).ok()?;
    Some(CurrentIdentity {
        user: identity.user.clone(),
        fingerprint: (*Fingerprint::of(&identity.leaf).as_bytes()).into(),
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
        intermediates: identity.intermediates.iter().map(|der| (*Fingerprint::of(der).as_bytes()).into()).collect(),
    })
}

fn pending_map(pending: &Pending, peer: &Peer) -> PendingMap {
    PendingMap {
        id: pending.id,
        user: pending.user.clone(),
        step: pending.step(),
        yours: *pending.host == peer.host_key,
        host_label: pending.host_label.clone(),
        replaces: pending.replaces,
    }
}

/// All anchors, the firmware's first.
fn all_anchors(inside: &Inside) -> Vec<(Vec<u8>, u8)> {
    let built_in = inside.material.anchors.iter().map(|der| (der.clone(), 0));
    let installed = inside.flash.read().installed_anchors.into_iter().map(|der| (der.to_vec(), 1));
    built_in.chain(installed).collect()
}

fn anchors(inside: &Inside, start: u16) -> AnchorPage {
    // An entry has at most some 190 bytes; so many fit with room for the other answers of the request.
    let fitting = (inside.material.max_body_bytes as usize / 2) / 190;
    let all = all_anchors(inside);
    let page = all.iter().skip(start.into()).take(fitting);
    AnchorPage { anchors: page.filter_map(|(der, origin)| anchor_map(der, *origin)).collect(), total: all.len() as u16 }
}

fn anchor_map(der: &[u8], origin: u8) -> Option<AnchorMap> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    Some(AnchorMap {
        fingerprint: (*Fingerprint::of(der).as_bytes()).into(),
        key: (*Fingerprint::of(certificate.public_key().raw).as_bytes()).into(),
        subject: (*Fingerprint::of(certificate.subject().as_raw()).as_bytes()).into(),
        not_after: certificate.validity().not_after.timestamp(),
        origin,
        name: name.unwrap_or_default().chars().take(64).collect(),
    })
}

fn read_certificate(inside: &Inside, fingerprint: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    let identity = inside.flash.read().identity;
    let own = identity.iter().flat_map(|identity| std::iter::once(&identity.leaf).chain(&identity.intermediates));
    let mut stored = own.map(|der| der.to_vec()).chain(all_anchors(inside).into_iter().map(|(der, _)| der));
    match stored.find(|der| Fingerprint::of(der).as_bytes() == fingerprint) {
        Some(der) => answer(&DerMap { der: der.into() }),
        None => refuse(code::NO_SUCH, "no certificate with that fingerprint"),
    }
}

fn log(inside: &Inside, start: u32) -> LogPage {
    let entries = inside.log.iter().skip(start as usize).take(64).cloned().collect();
    LogPage { entries, end: inside.log.len() as u32 }
}

// Agreeing.

fn changing(peer: &Peer) -> Result<(), Stop> {
    if peer.consented { Ok(()) } else { refuse(code::CONSENT_NEEDED, "consent is needed first") }
}

fn supports(inside: &Inside, wanted: u32, what: &str) -> Result<(), Stop> {
    if inside.material.capabilities & wanted != 0 {
        Ok(())
    } else {
        refuse(code::UNSUPPORTED, format!("this phone has no {what}"))
    }
}

fn show_code(inside: &mut Inside, peer: &mut Peer, nonce: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    supports(inside, capability::SCREEN, "screen")?;
    if binding::commitment(Side::Host, nonce) != peer.host_commitment {
        return refuse(code::BROKEN_COMMITMENT, "the nonce is not the one committed to");
    }
    if peer.code_shown {
        return refuse(code::OUT_OF_ORDER, "the code of this session was shown already");
    }
    let now = Instant::now();
    inside.codes_shown.retain(|shown| now.duration_since(*shown) < CODES_WITHIN);
    if inside.codes_shown.len() >= CODES {
        return refuse(code::CODE_LATER, "too many short codes were shown; wait some minutes");
    }
    inside.codes_shown.push(now);
    peer.code_shown = true;
    inside.code = Some(ShortCode::new(&peer.handshake_hash, nonce, &peer.nonce));
    let revealed = if inside.lies.breaks_its_commitment { [0; 32] } else { peer.nonce };
    answer(&Revealed { nonce: revealed.into() })
}

fn consent(inside: &mut Inside, peer: &mut Peer, given: Option<String>) -> Result<Vec<u8>, Stop> {
    let mut memory = inside.flash.read();
    match (&inside.material.consent, given) {
        (Consent::None, _) | (Consent::Press { agrees: true }, None) => {}
        (Consent::Press { agrees: false }, None) => {
            return refuse(code::DECLINED, "the person at the phone declined");
        }
        (Consent::Press { .. }, Some(_)) => {
            return refuse(code::NOT_ACCEPTED, "this phone wants a key pressed, not a code");
        }
        (Consent::Code { .. }, None) => {
            return refuse(code::CONSENT_NEEDED, "this phone wants its administrator code");
        }
        (Consent::Code { tries, .. }, Some(_)) if memory.wrong_codes >= *tries => {
            return refuse(code::CODE_LOCKED, "the administrator code is locked; reset it at the phone");
        }
        (Consent::Code { code, .. }, Some(given)) if *code == given => memory.wrong_codes = 0,
        (Consent::Code { tries, .. }, Some(_)) => {
            memory.wrong_codes += 1;
            let tries_left = tries.saturating_sub(memory.wrong_codes);
            save(inside, &memory)?;
            inside.write_log("wrong administrator code over USB");
            let problem =
                Problem { text: "wrong administrator code".into(), tries_left: Some(tries_left), pending: None };
            return Err(Stop::Problem(code::WRONG_CODE, problem.into()));
        }
    }
    memory.known_hosts.retain(|known| **known != peer.host_key);
    memory.known_hosts.push(peer.host_key.into());
    let surplus = memory.known_hosts.len().saturating_sub(KNOWN_HOSTS);
    memory.known_hosts.drain(..surplus);
    save(inside, &memory)?;
    peer.consented = true;
    peer.agreed_here = true;
    peer.may_sign_handshake = true;
    let line = format!("host {} may set up this phone", peer.host_label);
    inside.write_log(line);
    nothing()
}

fn attention(inside: &mut Inside, seconds: u8) -> Result<Vec<u8>, Stop> {
    if seconds > 120 {
        return refuse(code::NOT_ACCEPTED, "attention lasts at most 120 seconds");
    }
    supports(inside, capability::LIGHT | capability::SOUND | capability::SCREEN, "way to draw attention")?;
    if seconds > 0 {
        inside.times_lit += 1;
    }
    inside.light_until = Some(OffsetDateTime::now_utc() + time::Duration::seconds(seconds.into()));
    nothing()
}

fn set_clock(inside: &mut Inside, peer: &Peer, time: i64) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    if inside.material.capabilities & capability::CLOCK == 0 {
        return refuse(code::CLOCK_FIXED, "this phone's clock is set by its network alone");
    }
    match OffsetDateTime::from_unix_timestamp(time) {
        Ok(time) => {
            inside.clock_offset = Some((time - OffsetDateTime::now_utc()).whole_seconds());
            nothing()
        }
        Err(_) => refuse(code::NOT_ACCEPTED, "no such time"),
    }
}

// The transaction.

/// Writes the flash; when the power goes, the phone goes with it.
fn save(inside: &mut Inside, memory: &Memory) -> Result<(), Stop> {
    inside.flash.write(memory).or_else(|_| {
        inside.power = false;
        refuse(code::STORAGE, "the power went")
    })
}

fn begin(
    inside: &mut Inside,
    peer: &Peer,
    id: ByteArray<16>,
    user: String,
    replaces: Option<ByteArray<32>>,
) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.flash.read();
    let current = memory.identity.as_ref().map(|identity| *Fingerprint::of(&identity.leaf).as_bytes());
    match &memory.pending {
        Some(pending) if pending.id == id && pending.user == user && pending.replaces == replaces => {
            if *pending.host == peer.host_key {
                return nothing();
            }
            return refuse(code::OUT_OF_ORDER, "another host began this transaction");
        }
        Some(pending) => {
            let problem = Problem {
                text: format!("a transaction for {} is pending", pending.user),
                tries_left: None,
                pending: Some(pending_map(pending, peer)),
            };
            return Err(Stop::Problem(code::OTHER_PENDING, problem.into()));
        }
        None => {}
    }
    if user.len() > MAX_USER_BYTES {
        return refuse(code::NOT_ACCEPTED, format!("a user has at most {MAX_USER_BYTES} bytes"));
    }
    if replaces.map(|fingerprint| *fingerprint) != current {
        return refuse(code::IDENTITY_CHANGED, "the identity in use is not the one that the host has seen");
    }
    memory.pending = Some(Pending {
        id,
        user,
        replaces,
        host: peer.host_key.into(),
        host_label: peer.host_label.clone(),
        key: None,
        request: None,
        leaf: None,
        intermediates: Vec::new(),
        anchors: Vec::new(),
        settings: None,
        checked: false,
    });
    save(inside, &memory)?;
    nothing()
}

/// The pending transaction, if it is the host's.
fn own_pending(memory: &Memory, peer: &Peer, id: &[u8; 16]) -> Result<Pending, Stop> {
    match &memory.pending {
        Some(pending) if *pending.id != *id => {
            let problem = Problem {
                text: "another transaction is pending".into(),
                tries_left: None,
                pending: Some(pending_map(pending, peer)),
            };
            Err(Stop::Problem(code::OTHER_PENDING, problem.into()))
        }
        Some(pending) if *pending.host == peer.host_key => Ok(pending.clone()),
        Some(_) => refuse(code::OUT_OF_ORDER, "another host began this transaction"),
        None => refuse(code::UNKNOWN_TRANSACTION, "no such transaction is pending"),
    }
}

/// Changes the pending transaction; what was checked has to be checked again.
fn change_pending(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    change: impl FnOnce(&mut Pending) -> Result<(), Stop>,
) -> Result<(), Stop> {
    changing(peer)?;
    let mut memory = inside.flash.read();
    let before = own_pending(&memory, peer, id)?;
    let mut pending = before.clone();
    change(&mut pending)?;
    if pending == before {
        return Ok(());
    }
    pending.checked = false;
    memory.pending = Some(pending);
    save(inside, &memory)
}

async fn make_key(phone: &VirtualPhone, peer: &Peer, id: &[u8; 16], kind: u8) -> Result<Vec<u8>, Stop> {
    let (maker, delay) = {
        let inside = phone.lock();
        changing(peer)?;
        let pending = own_pending(&inside.flash.read(), peer, id)?;
        if let Some(key) = &pending.key {
            if key.kind != kind {
                return refuse(code::OUT_OF_ORDER, "the transaction has a key of another kind");
            }
            return answer(&KeyMade { key: key_id(key)?.into(), took_ms: 0 });
        }
        let wanted = inside.material.key_kinds.iter().find(|known| kind_number(**known) == kind);
        let Some(wanted) = wanted.copied() else {
            return refuse(code::KEY_KIND, format!("keys of kind {kind} cannot be made here"));
        };
        let keys = inside.material.keys.clone();
        (move || keys(wanted), inside.material.key_delay)
    };

    let started = Instant::now();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let made = tokio::task::spawn_blocking(maker).await;
    let Ok(pkcs8) = made else { return refuse(code::KEY_FAILED, "the key could not be made") };
    let key = StoredKey { kind, pkcs8: pkcs8.to_vec().into() };
    let made = KeyMade { key: key_id(&key)?.into(), took_ms: started.elapsed().as_millis() as u32 };
    // A session before this one may have ended while its key was in the making: the first key stored is the key.
    let mut stored = made.key;
    change_pending(&mut phone.lock(), peer, id, |pending| {
        stored = key_id(pending.key.get_or_insert(key))?.into();
        Ok(())
    })?;
    answer(&KeyMade { key: stored, ..made })
}

fn signing_request(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    common_name: &str,
    hash: u8,
) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let pending = own_pending(&inside.flash.read(), peer, id)?;
    if let Some(request) = &pending.request {
        return answer(&DerMap { der: request.clone() });
    }
    if common_name.chars().count() > MAX_COMMON_NAME_CHARACTERS {
        return refuse(
            code::NOT_ACCEPTED,
            format!("a common name has at most {MAX_COMMON_NAME_CHARACTERS} characters"),
        );
    }
    if hash != 0 {
        return refuse(code::HASH, "this phone signs with SHA-256 only");
    }
    let Some(key) = &pending.key else { return refuse(code::OUT_OF_ORDER, "a key has to be made first") };
    let common_name = if inside.lies.names_another_user { "mallory@contoso.example" } else { common_name };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let request = params.serialize_request(&key_pair(key)?);
    let Ok(request) = request else { return refuse(code::KEY_FAILED, "the key does not sign") };
    let der = ByteVec::from(request.der().to_vec());
    change_pending(inside, peer, id, |pending| {
        pending.request = Some(der.clone());
        Ok(())
    })?;
    answer(&DerMap { der })
}

fn stage(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    role: u8,
    fingerprint: &[u8; 32],
    certificate: ByteVec,
) -> Result<Vec<u8>, Stop> {
    let max_bytes = inside.material.max_certificate_bytes as usize;
    let max_intermediates = inside.material.max_intermediates.into();
    let held = all_anchors(inside);
    let room =
        usize::from(inside.material.max_installed_anchors).saturating_sub(inside.flash.read().installed_anchors.len());
    let drops_anchors = inside.lies.drops_anchors;
    change_pending(inside, peer, id, |pending| {
        if certificate.len() > max_bytes {
            return refuse(code::NO_SPACE, format!("a certificate is at most {max_bytes} bytes"));
        }
        if Fingerprint::of(&certificate).as_bytes() != fingerprint {
            return refuse(code::WRONG_HASH, "the certificate does not have that fingerprint");
        }
        match X509Certificate::from_der(&certificate) {
            Ok(([], _)) => {}
            _ => return refuse(code::UNREADABLE, "that is no certificate"),
        }
        match role {
            0 => pending.leaf = Some(certificate),
            1 if pending.intermediates.contains(&certificate) => {}
            1 if pending.intermediates.len() >= max_intermediates => {
                return refuse(code::NO_SPACE, format!("at most {max_intermediates} intermediates"));
            }
            1 => pending.intermediates.push(certificate),
            2 if drops_anchors => {}
            2 if held.iter().any(|(der, _)| *der == **certificate) || pending.anchors.contains(&certificate) => {}
            2 if pending.anchors.len() >= room => {
                return refuse(code::NO_SPACE, "no room for another trust anchor");
            }
            2 => pending.anchors.push(certificate),
            _ => return refuse(code::NOT_ACCEPTED, format!("there is no role {role}")),
        }
        Ok(())
    })?;
    nothing()
}

fn check(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    server_chain: &[ByteVec],
    server_name: &str,
) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.flash.read();
    let mut pending = own_pending(&memory, peer, id)?;
    let mut anchors: Vec<Vec<u8>> = all_anchors(inside).into_iter().map(|(der, _)| der).collect();
    anchors.extend(pending.anchors.iter().map(|der| der.to_vec()));
    let spki = pending.key.as_ref().map(|key| key_pair(key).map(|pair| rcgen_spki(&pair))).transpose()?;
    let judged = judgement::Staged {
        leaf: pending.leaf.as_deref().map(Vec::as_slice),
        key: spki.as_deref(),
        user: &pending.user,
        intermediates: &pending.intermediates,
        anchors: &anchors,
        now: inside.time(),
    };
    let checked = judged.check(server_chain, server_name);
    let good = checked.key == GOOD && checked.user != messages::BAD && checked.dates == GOOD;
    pending.checked = good && matches!(checked.server, GOOD | NOT_JUDGED);
    if memory.pending.as_ref() != Some(&pending) {
        memory.pending = Some(pending);
        save(inside, &memory)?;
    }
    answer(&checked)
}

fn commit(inside: &mut Inside, peer: &Peer, id: &[u8; 16]) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.flash.read();
    if memory.committed.as_deref() == Some(id) && memory.pending.is_none() {
        // The answer to the first commit was lost.
        if let Some(identity) = &memory.identity {
            return answer(&Committed { fingerprint: (*Fingerprint::of(&identity.leaf).as_bytes()).into() });
        }
    }
    let pending = own_pending(&memory, peer, id)?;
    let (true, Some(leaf), Some(key)) = (pending.checked, pending.leaf, pending.key) else {
        return refuse(code::NOT_CHECKED, "what is staged was not checked, or the check was not good");
    };
    let fingerprint = (*Fingerprint::of(&leaf).as_bytes()).into();
    let current = memory.identity.as_ref().map(|identity| *Fingerprint::of(&identity.leaf).as_bytes());
    if pending.replaces.map(|fingerprint| *fingerprint) != current {
        return refuse(code::IDENTITY_CHANGED, "the identity to be replaced is no longer in use");
    }
    if inside.lies.commits_nothing {
        return answer(&Committed { fingerprint });
    }
    memory.identity = Some(StoredIdentity { user: pending.user, key, leaf, intermediates: pending.intermediates });
    memory.installed_anchors.extend(pending.anchors);
    memory.settings = pending.settings.or(memory.settings);
    memory.committed = Some(pending.id);
    memory.pending = None;
    save(inside, &memory)?;
    inside.write_log("a new identity was installed over USB");
    answer(&Committed { fingerprint })
}

fn abort(inside: &mut Inside, peer: &Peer, id: &[u8; 16]) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.flash.read();
    match &memory.pending {
        Some(pending) if *pending.id != *id => return nothing(),
        Some(pending) if *pending.host != peer.host_key && inside.material.consent != Consent::None => {
            if !peer.agreed_here {
                return refuse(code::CONSENT_NEEDED, "another host's transaction ends by consent in this session only");
            }
        }
        Some(_) => {}
        None => return nothing(),
    }
    memory.pending = None;
    save(inside, &memory)?;
    nothing()
}

fn remove_identity(inside: &mut Inside, peer: &Peer, fingerprint: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.flash.read();
    match &memory.identity {
        Some(identity) if Fingerprint::of(&identity.leaf).as_bytes() == fingerprint => {}
        _ => return refuse(code::NO_SUCH, "that identity is not in use"),
    }
    memory.identity = None;
    memory.settings = None;
    memory.committed = None;
    save(inside, &memory)?;
    inside.write_log("the identity was removed over USB");
    nothing()
}

// Signing.

fn prove(inside: &mut Inside, peer: &Peer, nonce: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    let Some(identity) = inside.flash.read().identity else {
        return refuse(code::NO_SUCH, "there is no identity to prove");
    };
    let fingerprint = Fingerprint::of(&identity.leaf);
    let mut pair = key_pair(&identity.key)?;
    if inside.lies.proves_with_another_key {
        pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
            .map_err(|_| Stop::Refused(code::KEY_FAILED, "no key".into()))?;
    }
    let message = binding::possession_message(&peer.handshake_hash, nonce, &fingerprint);
    let Ok(signature) = pair.sign(&message) else { return refuse(code::KEY_FAILED, "the key does not sign") };
    answer(&PossessionMap {
        fingerprint: (*fingerprint.as_bytes()).into(),
        algorithm: signature_algorithm(&identity.key),
        signature: signature.into(),
    })
}

fn sign_handshake(phone: &VirtualPhone, peer: &mut Peer, messages: &[u8], scheme: u16) -> Result<Vec<u8>, Stop> {
    let mut inside = phone.lock();
    changing(peer)?;
    supports(&inside, capability::HANDSHAKE, "handshake signature")?;
    if !std::mem::take(&mut peer.may_sign_handshake) {
        return refuse(code::CONSENT_NEEDED, "one handshake is signed for each consent");
    }
    let memory = inside.flash.read();
    let (Some(identity), Some(settings)) = (memory.identity, memory.settings) else {
        return refuse(code::NO_SUCH, "there is no identity with settings to sign in with");
    };
    let anchors: Vec<Vec<u8>> = all_anchors(&inside).into_iter().map(|(der, _)| der).collect();
    let expected = match identity.key.kind {
        3 => 0x0403,
        _ => 0x0401,
    };
    if scheme != expected {
        return refuse(code::HANDSHAKE_REFUSED, format!("scheme {scheme:#06x} does not fit the key"));
    }
    let names = transcript::names_of(&settings);
    let intermediates: Vec<Vec<u8>> = identity.intermediates.iter().map(|der| der.to_vec()).collect();
    let trust = judgement::ServerTrust { anchors: &anchors, intermediates: &intermediates, now: inside.time() };
    let server = match transcript::read(messages, &identity.leaf, scheme).and_then(|t| t.judge(&trust, &names)) {
        Ok(server) => server,
        Err(reason) => {
            inside.write_log(format!("refused to sign a sign-in over USB: {reason}"));
            return refuse(code::HANDSHAKE_REFUSED, reason);
        }
    };
    let Ok(signature) = key_pair(&identity.key)?.sign(messages) else {
        return refuse(code::KEY_FAILED, "the key does not sign");
    };
    inside.write_log(format!("signed a sign-in at {server} over USB"));
    answer(&SignatureMap { signature: signature.into() })
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
