//! The transaction: from an old identity to a new one, all or nothing.

use super::*;

const MAX_USER_BYTES: usize = 255;
/// X.520: ub-common-name.
const MAX_COMMON_NAME_CHARACTERS: usize = 64;

/// Writes the memory; when the power goes, the phone goes with it.
pub(super) fn save(inside: &mut Inside, memory: &Memory) -> Result<(), Stop> {
    let written = inside.storage.write(memory);
    stored(inside, written)
}

/// What a failed write means for the phone.
pub(super) fn stored(inside: &mut Inside, written: Result<(), WriteError>) -> Result<(), Stop> {
    let Err(error) = written else { return Ok(()) };
    match &error {
        WriteError::PowerLost | WriteError::Unknown(_) => {
            inside.power = false;
            inside.power_lost.notify_one();
        }
        WriteError::Failed(reason) => inside.write_log(format!("the storage cannot be written: {reason}")),
    }
    refuse(code::STORAGE, error.to_string())
}

pub(super) fn begin(
    inside: &mut Inside,
    peer: &Peer,
    id: ByteArray<16>,
    user: String,
    replaces: Option<ByteArray<32>>,
) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.memory();
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
    if memory.committed == Some(id) {
        return refuse(code::OUT_OF_ORDER, "this transaction was committed");
    }
    plain(&user)?;
    let named = user
        .split_once('@')
        .is_some_and(|(name, domain)| !name.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !named || user.len() > MAX_USER_BYTES {
        return refuse(code::NOT_ACCEPTED, format!("a user is user@domain, at most {MAX_USER_BYTES} bytes"));
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
pub(super) fn own_pending(memory: &Memory, peer: &Peer, id: &[u8; 16]) -> Result<Pending, Stop> {
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
pub(super) fn change_pending(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    change: impl FnOnce(&mut Pending) -> Result<(), Stop>,
) -> Result<(), Stop> {
    extend_pending(inside, peer, id, |pending| {
        let before = pending.clone();
        change(pending)?;
        pending.checked &= *pending == before;
        Ok(())
    })
}

/// Gives the pending transaction what no check looks at.
fn extend_pending(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    change: impl FnOnce(&mut Pending) -> Result<(), Stop>,
) -> Result<(), Stop> {
    changing(peer)?;
    let mut memory = inside.memory();
    let before = own_pending(&memory, peer, id)?;
    let mut pending = before.clone();
    change(&mut pending)?;
    if pending == before {
        return Ok(());
    }
    memory.pending = Some(pending);
    save(inside, &memory)
}

pub(super) async fn make_key(phone: &Phone, peer: &Peer, id: &[u8; 16], kind: u64) -> Result<Vec<u8>, Stop> {
    let (wanted, maker, delay) = {
        let inside = phone.lock();
        changing(peer)?;
        let pending = own_pending(&inside.memory(), peer, id)?;
        if let Some(key) = &pending.key {
            if u64::from(key.kind) != kind {
                return refuse(code::OUT_OF_ORDER, "the transaction has a key of another kind");
            }
            return answer(&KeyMade { key: key_id(key)?.into(), took_ms: 0 });
        }
        let wanted = inside.material.key_kinds.iter().find(|known| u64::from(kind_number(**known)) == kind);
        let Some(wanted) = wanted.copied() else {
            return refuse(code::KEY_KIND, format!("keys of kind {kind} cannot be made here"));
        };
        let keys = inside.material.keys.clone();
        (wanted, move || keys(wanted), inside.material.key_delay)
    };

    let started = Instant::now();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let made = tokio::task::spawn_blocking(maker).await;
    let Ok(pkcs8) = made else { return refuse(code::KEY_FAILED, "the key could not be made") };
    let key = StoredKey { kind: kind_number(wanted), pkcs8: pkcs8.to_vec().into() };
    // Zero would say that the key was there before.
    let took_ms = (started.elapsed().as_millis() as u32).max(1);
    let made = KeyMade { key: key_id(&key)?.into(), took_ms };
    // A session before this one may have ended while its key was in the making: the first key stored is the key.
    let mut stored = made.key;
    extend_pending(&mut phone.lock(), peer, id, |pending| {
        stored = key_id(pending.key.get_or_insert(key))?.into();
        Ok(())
    })?;
    answer(&KeyMade { key: stored, ..made })
}

/// The signing request for this common name, DER; `None` where the key is damaged.
pub(in crate::device) fn pkcs10(key: &StoredKey, common_name: &str) -> Option<Vec<u8>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serialize_request(&key_pair(key).ok()?).ok().map(|request| request.der().to_vec())
}

pub(super) fn signing_request(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    common_name: &str,
    hash: u64,
) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let pending = own_pending(&inside.memory(), peer, id)?;
    if let Some(request) = &pending.request {
        return answer(&DerMap { der: request.clone() });
    }
    let Some(key) = &pending.key else { return refuse(code::OUT_OF_ORDER, "a key has to be made first") };
    plain(common_name)?;
    if !(1..=MAX_COMMON_NAME_CHARACTERS).contains(&common_name.chars().count()) {
        return refuse(code::NOT_ACCEPTED, format!("a common name has 1 to {MAX_COMMON_NAME_CHARACTERS} characters"));
    }
    if hash != 0 {
        return refuse(code::HASH, "this phone signs with SHA-256 only");
    }
    let Some(der) = inside.nature.signing_request(key, common_name, &inside.material.keys) else {
        return refuse(code::KEY_FAILED, "the key does not sign");
    };
    let der = ByteVec::from(der);
    extend_pending(inside, peer, id, |pending| {
        pending.request = Some(der.clone());
        Ok(())
    })?;
    answer(&DerMap { der })
}

pub(super) fn stage(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    role: u64,
    fingerprint: &[u8; 32],
    certificate: ByteVec,
) -> Result<Vec<u8>, Stop> {
    let max_bytes = inside.material.max_certificate_bytes as usize;
    let max_intermediates = inside.material.max_intermediates.into();
    let held = all_anchors(inside);
    let room =
        usize::from(inside.material.max_installed_anchors).saturating_sub(inside.memory().installed_anchors.len());
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

pub(super) fn check(
    inside: &mut Inside,
    peer: &Peer,
    id: &[u8; 16],
    server_chain: &[ByteVec],
    server_name: &str,
) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.memory();
    let mut pending = own_pending(&memory, peer, id)?;
    plain(server_name)?;
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

pub(super) fn commit(inside: &mut Inside, peer: &Peer, id: &[u8; 16]) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.memory();
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
    memory.identity = Some(StoredIdentity { user: pending.user, key, leaf, intermediates: pending.intermediates });
    memory.installed_anchors.extend(pending.anchors);
    memory.settings = pending.settings.or(memory.settings);
    memory.committed = Some(pending.id);
    memory.pending = None;
    save(inside, &memory)?;
    inside.write_log("a new identity was installed over USB");
    answer(&Committed { fingerprint })
}

pub(super) fn abort(inside: &mut Inside, peer: &Peer, id: &[u8; 16]) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.memory();
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

pub(super) fn remove_identity(inside: &mut Inside, peer: &Peer, fingerprint: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    changing(peer)?;
    let mut memory = inside.memory();
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
