//! What the phone tells about itself.

use super::*;

/// What a page of anchors leaves free of a frame, bytes.
const PAGE_RESERVE_BYTES: usize = 2048;

pub(in crate::device) fn identity(inside: &Inside, host_known: bool) -> IdentityMap {
    let material = &inside.material;
    let installed = inside.memory().installed_anchors.len() as u8;
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
            Consent::Press { .. } | Consent::Ask => 1,
            Consent::Code { .. } => 2,
        },
        host_known,
    }
}

pub(in crate::device) fn device_proof(inside: &Inside, handshake_hash: &[u8; 32]) -> Option<DeviceProof> {
    let (chain, pkcs8) = inside.material.factory.as_ref()?;
    let hash = inside.nature.session_to_prove(*handshake_hash);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8.as_slice().into(), &PKCS_ECDSA_P256_SHA256).ok()?;
    let signature = key.sign(&binding::device_proof_message(&hash)).ok()?;
    Some(DeviceProof {
        chain: chain.iter().cloned().map(ByteVec::from).collect(),
        algorithm: ECDSA_SHA256,
        signature: signature.into(),
    })
}

pub(super) fn state(inside: &Inside, peer: &Peer) -> State {
    let memory = inside.memory();
    State {
        clock: inside.time().map(OffsetDateTime::unix_timestamp),
        identity: memory.identity.as_ref().and_then(current_identity),
        pending: memory.pending.as_ref().map(|pending| pending_map(pending, peer)),
        committed: memory.committed,
        settings: memory.settings.clone(),
        anchors: (inside.material.anchors.len() + memory.installed_anchors.len()) as u16,
    }
}

pub(super) fn current_identity(identity: &StoredIdentity) -> Option<CurrentIdentity> {
    let (_, leaf) = X509Certificate::from_der(&identity.leaf).ok()?;
    Some(CurrentIdentity {
        user: identity.user.clone(),
        fingerprint: (*Fingerprint::of(&identity.leaf).as_bytes()).into(),
        not_before: leaf.validity().not_before.timestamp(),
        not_after: leaf.validity().not_after.timestamp(),
        intermediates: identity.intermediates.iter().map(|der| (*Fingerprint::of(der).as_bytes()).into()).collect(),
        key: Some(identity.key.kind),
    })
}

pub(super) fn pending_map(pending: &Pending, peer: &Peer) -> PendingMap {
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
pub(super) fn all_anchors(inside: &Inside) -> Vec<(Vec<u8>, u8)> {
    let built_in = inside.material.anchors.iter().map(|der| (der.clone(), 0));
    let installed = inside.memory().installed_anchors.into_iter().map(|der| (der.to_vec(), 1));
    built_in.chain(installed).collect()
}

pub(super) fn anchors(inside: &Inside, start: u64) -> AnchorPage {
    // Room for the other answers of the request: a page is asked for together with the state.
    let mut room = (inside.material.max_body_bytes as usize).saturating_sub(PAGE_RESERVE_BYTES);
    let all = all_anchors(inside);
    let mut anchors = Vec::new();
    for (der, origin) in all.iter().skip(usize::try_from(start).unwrap_or(usize::MAX)) {
        let Some(anchor) = anchor_map(der, *origin) else { continue };
        let Some(left) = room.checked_sub(messages::encode(&anchor).len()) else { break };
        room = left;
        anchors.push(anchor);
    }
    AnchorPage { anchors, total: all.len() as u16 }
}

pub(super) fn anchor_map(der: &[u8], origin: u8) -> Option<AnchorMap> {
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

pub(super) fn read_certificate(inside: &Inside, fingerprint: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    let identity = inside.memory().identity;
    let own = identity.iter().flat_map(|identity| std::iter::once(&identity.leaf).chain(&identity.intermediates));
    let mut stored = own.map(|der| der.to_vec()).chain(all_anchors(inside).into_iter().map(|(der, _)| der));
    match stored.find(|der| Fingerprint::of(der).as_bytes() == fingerprint) {
        Some(der) => answer(&DerMap { der: der.into() }),
        None => refuse(code::NO_SUCH, "no certificate with that fingerprint"),
    }
}

pub(super) fn log(inside: &Inside, start: u64) -> LogPage {
    let entries = inside.log.iter().filter(|entry| u64::from(entry.index) >= start).take(64).cloned().collect();
    LogPage { entries, end: inside.log.last().map_or(0, |last| last.index.wrapping_add(1)) }
}
