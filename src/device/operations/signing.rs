//! What the phone signs: only what it has read itself.

use super::*;

pub(super) fn prove(inside: &mut Inside, peer: &Peer, nonce: &[u8; 32]) -> Result<Vec<u8>, Stop> {
    let Some(identity) = inside.memory().identity else {
        return refuse(code::NO_SUCH, "there is no identity to prove");
    };
    let fingerprint = Fingerprint::of(&identity.leaf);
    let algorithm = signature_algorithm(&identity.key);
    let pair = key_pair(&inside.nature.key_to_prove_with(identity.key))?;
    let message = binding::possession_message(&peer.handshake_hash, nonce, &fingerprint);
    let Ok(signature) = pair.sign(&message) else { return refuse(code::KEY_FAILED, "the key does not sign") };
    answer(&PossessionMap { fingerprint: (*fingerprint.as_bytes()).into(), algorithm, signature: signature.into() })
}

pub(super) fn sign_handshake(phone: &Phone, peer: &mut Peer, messages: &[u8], scheme: u64) -> Result<Vec<u8>, Stop> {
    let mut inside = phone.lock();
    supports(&inside, capability::HANDSHAKE, "handshake signature")?;
    if !std::mem::take(&mut peer.may_sign) {
        return refuse(code::CONSENT_NEEDED, "one handshake is signed for each consent");
    }
    let memory = inside.memory();
    let (Some(identity), Some(settings)) = (memory.identity, memory.settings) else {
        return refuse(code::NO_SUCH, "there is no identity with settings to sign in with");
    };
    let anchors: Vec<Vec<u8>> = all_anchors(&inside).into_iter().map(|(der, _)| der).collect();
    let expected: u16 = match identity.key.kind {
        3 => 0x0403,
        _ => 0x0401,
    };
    if scheme != u64::from(expected) {
        return refuse(code::HANDSHAKE_REFUSED, format!("scheme {scheme:#06x} does not fit the key"));
    }
    let names = transcript::names_of(&settings);
    let intermediates: Vec<Vec<u8>> = identity.intermediates.iter().map(|der| der.to_vec()).collect();
    let trust = judgement::ServerTrust { anchors: &anchors, intermediates: &intermediates, now: inside.time() };
    let server = match transcript::read(messages, &identity.leaf, expected).and_then(|t| t.judge(&trust, &names)) {
        Ok(server) => server,
        Err(reason) => {
            inside.write_log(format!("refused to sign a sign-in over USB: {reason}"));
            return refuse(code::HANDSHAKE_REFUSED, reason);
        }
    };
    let key = inside.nature.key_to_sign_in_with(identity.key, &inside.material.keys);
    let Ok(signature) = key_pair(&key)?.sign(messages) else {
        return refuse(code::KEY_FAILED, "the key does not sign");
    };
    inside.write_log(format!("signed a sign-in at {server} over USB"));
    answer(&SignatureMap { signature: signature.into() })
}
