//! The phone signs in for itself: one timestamp, in two texts that it writes with code of its own
//! (docs/tether-protocol.md, sections 7.6 and 10.4).

use super::*;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pkcs8::DecodePrivateKey;
use time::macros::format_description;

const MAX_LIFETIME_SECONDS: i64 = 600;
/// By how much the phone's clock may lie outside of the window.
const ALLOWANCE_SECONDS: i64 = 120;

const C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";

/// What stands before the hash in a signature with SHA-1 (RFC 8017, 9.2).
const SHA1_DIGEST_INFO: [u8; 15] = [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 5, 0, 4, 20];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha1,
}

pub(super) fn endorse(
    inside: &mut Inside,
    peer: &mut Peer,
    created: i64,
    expires: i64,
    hash: u64,
) -> Result<Vec<u8>, Stop> {
    supports(inside, capability::ENDORSE, "signing of ticket requests")?;
    if !std::mem::take(&mut peer.may_sign) {
        return refuse(code::CONSENT_NEEDED, "one ticket request is signed for each consent");
    }
    let Some(timestamp) = timestamp(created, expires) else {
        return refuse(code::NOT_ACCEPTED, "no such time");
    };
    let Some(identity) = inside.memory().identity else {
        return refuse(code::NO_SUCH, "there is no identity to sign in with");
    };
    let hash = match hash {
        0 => Hash::Sha256,
        1 => Hash::Sha1,
        _ => return refuse(code::HASH, format!("there is no hash {hash}")),
    };
    let now = inside.time().map(OffsetDateTime::unix_timestamp);
    if let Some(reason) = unwilling(&identity.key, created, expires, now) {
        inside.write_log(format!("refused to sign a ticket request: {reason}"));
        return refuse(code::ENDORSEMENT_REFUSED, reason);
    }
    let key = inside.nature.key_to_endorse_with(identity.key, &inside.material.keys);
    let Some(signature) = signature(&key, hash, &signed_info(&timestamp, hash)) else {
        return refuse(code::KEY_FAILED, "the key does not sign");
    };
    inside.write_log(format!("ticket request signed for {}", identity.user));
    let fingerprint = (*Fingerprint::of(&identity.leaf).as_bytes()).into();
    answer(&EndorsedMap { fingerprint, signature: signature.into() })
}

fn unwilling(key: &StoredKey, created: i64, expires: i64, now: Option<i64>) -> Option<&'static str> {
    if key.kind == kind_number(KeyKind::P256) {
        return Some("the key is not RSA");
    }
    if !(1..=MAX_LIFETIME_SECONDS).contains(&(expires - created)) {
        return Some("it would hold for more than ten minutes, or not at all");
    }
    match now {
        None => Some("this phone has no time"),
        Some(now) if !(created - ALLOWANCE_SECONDS..=expires + ALLOWANCE_SECONDS).contains(&now) => {
            Some("it does not hold at the time that this phone's clock shows")
        }
        Some(_) => None,
    }
}

/// `None`: a time that cannot be written with four digits for the year.
pub(crate) fn timestamp(created: i64, expires: i64) -> Option<String> {
    let written = |seconds| {
        let time =
            OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|time| (1..=9999).contains(&time.year()))?;
        time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).ok()
    };
    let (created, expires) = (written(created)?, written(expires)?);
    let mut text = format!(r#"<wsu:Timestamp xmlns:wsu="{WSU}" wsu:Id="timestamp">"#);
    text += &format!("<wsu:Created>{created}</wsu:Created><wsu:Expires>{expires}</wsu:Expires>");
    Some(text + "</wsu:Timestamp>")
}

pub(crate) fn signed_info(timestamp: &str, hash: Hash) -> String {
    let (signature_method, digest_method, algorithm) = match hash {
        Hash::Sha256 => {
            ("http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256", &SHA256)
        }
        Hash::Sha1 => (
            "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            "http://www.w3.org/2000/09/xmldsig#sha1",
            &SHA1_FOR_LEGACY_USE_ONLY,
        ),
    };
    let empty = |name: &str, algorithm: &str| format!(r#"<{name} Algorithm="{algorithm}"></{name}>"#);
    let digest = STANDARD.encode(digest(algorithm, timestamp.as_bytes()));
    [
        r#"<SignedInfo xmlns="http://www.w3.org/2000/09/xmldsig#">"#.to_owned(),
        empty("CanonicalizationMethod", C14N),
        empty("SignatureMethod", signature_method),
        r##"<Reference URI="#timestamp"><Transforms>"##.to_owned(),
        empty("Transform", C14N),
        "</Transforms>".to_owned(),
        empty("DigestMethod", digest_method),
        format!("<DigestValue>{digest}</DigestValue></Reference></SignedInfo>"),
    ]
    .concat()
}

fn signature(key: &StoredKey, hash: Hash, text: &str) -> Option<Vec<u8>> {
    match hash {
        Hash::Sha256 => key_pair(key).ok()?.sign(text.as_bytes()).ok(),
        // aws-lc-rs verifies SHA-1 and does not sign with it.
        Hash::Sha1 => {
            let key = rsa::RsaPrivateKey::from_pkcs8_der(&key.pkcs8).ok()?;
            let padding = Pkcs1v15Sign { hash_len: Some(20), prefix: SHA1_DIGEST_INFO.into() };
            key.sign(padding, digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref()).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xml_sec::c14n::{C14nAlgorithm, canonicalize_xml};

    #[test]
    fn the_texts_are_their_own_canonical_form() {
        let exclusive = C14nAlgorithm::from_uri(C14N).unwrap();
        let timestamp = timestamp(1_780_000_000, 1_780_000_300).unwrap();
        for text in [signed_info(&timestamp, Hash::Sha256), signed_info(&timestamp, Hash::Sha1), timestamp] {
            let canonical = canonicalize_xml(text.as_bytes(), &exclusive).unwrap();
            assert_eq!(String::from_utf8(canonical).unwrap(), text);
        }
    }

    #[test]
    fn a_time_that_needs_more_than_four_digits_is_not_written() {
        assert_eq!(timestamp(-62_135_596_801, 0), None);
        assert_eq!(timestamp(0, 253_402_300_800), None);
        assert!(timestamp(-62_135_596_800, 253_402_300_799).unwrap().contains("0001-01-01T00:00:00Z"));
        assert_eq!(timestamp(i64::MIN, i64::MAX), None);
    }
}
