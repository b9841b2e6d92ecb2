//! The two texts that are signed, and the ticket's key that signs them (WS-Trust 1.3 4.4.4, WS-Security, XML-DSig).
//!
//! Both texts are written so that each is its own exclusive canonical form; the digest is over the bytes as sent. Confirmed
//! for tickets by a working client; the test vectors were computed independently.

use super::names::WSU;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// How a `SignedInfo` is signed, and how what it refers to is digested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureMethod {
    /// `http://www.w3.org/2000/09/xmldsig#hmac-sha1`, digest SHA-1: a ticket's key.
    HmacSha1,
    /// `http://www.w3.org/2000/09/xmldsig#rsa-sha1`, digest SHA-1: a certificate's key.
    RsaSha1,
    /// `http://www.w3.org/2001/04/xmldsig-more#rsa-sha256`, digest SHA-256: a certificate's key.
    RsaSha256,
}

impl SignatureMethod {
    fn uri(self) -> &'static str {
        match self {
            Self::HmacSha1 => "http://www.w3.org/2000/09/xmldsig#hmac-sha1",
            Self::RsaSha1 => "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
            Self::RsaSha256 => "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
        }
    }

    fn digest(self) -> (&'static str, &'static digest::Algorithm) {
        match self {
            Self::HmacSha1 | Self::RsaSha1 => {
                ("http://www.w3.org/2000/09/xmldsig#sha1", &digest::SHA1_FOR_LEGACY_USE_ONLY)
            }
            Self::RsaSha256 => ("http://www.w3.org/2001/04/xmlenc#sha256", &digest::SHA256),
        }
    }
}

/// The timestamp that is signed, exactly, on one line:
///
/// ```text
/// <wsu:Timestamp xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
///  wsu:Id="timestamp"><wsu:Created>2026-11-22T10:00:00Z</wsu:Created><wsu:Expires>2026-11-22T10:05:00Z</wsu:Expires></wsu:Timestamp>
/// ```
///
/// There is one blank before `wsu:Id` and no line break. The times stand as they are given: a ticket's as its server wrote
/// them, a certificate's in whole seconds of UTC.
pub fn timestamp(created: &str, expires: &str) -> String {
    format!(
        "<wsu:Timestamp xmlns:wsu=\"{WSU}\" wsu:Id=\"timestamp\"><wsu:Created>{created}</wsu:Created>\
         <wsu:Expires>{expires}</wsu:Expires></wsu:Timestamp>"
    )
}

/// What is signed over a [`timestamp`]: a reference to it, with its digest. Exactly, on one line, with the URIs of `method`:
///
/// ```text
/// <SignedInfo xmlns="http://www.w3.org/2000/09/xmldsig#"><CanonicalizationMethod
///  Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></CanonicalizationMethod><SignatureMethod
///  Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"></SignatureMethod><Reference URI="#timestamp"><Transforms><Transform
///  Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></Transform></Transforms><DigestMethod
///  Algorithm="http://www.w3.org/2000/09/xmldsig#sha1"></DigestMethod><DigestValue>base64</DigestValue></Reference></SignedInfo>
/// ```
///
/// There is one blank before each `Algorithm` and no line break. The digest is over the bytes of the timestamp.
pub fn signed_info(timestamp: &str, method: SignatureMethod) -> String {
    let (digest_uri, algorithm) = method.digest();
    format!(
        "<SignedInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\">\
         <CanonicalizationMethod Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></CanonicalizationMethod>\
         <SignatureMethod Algorithm=\"{}\"></SignatureMethod>\
         <Reference URI=\"#timestamp\"><Transforms>\
         <Transform Algorithm=\"http://www.w3.org/2001/10/xml-exc-c14n#\"></Transform></Transforms>\
         <DigestMethod Algorithm=\"{digest_uri}\"></DigestMethod>\
         <DigestValue>{}</DigestValue></Reference></SignedInfo>",
        method.uri(),
        STANDARD.encode(digest::digest(algorithm, timestamp.as_bytes()))
    )
}

/// `P_SHA1` of RFC 2246 section 5: key = first `length` bytes for secret = client entropy, seed = server entropy.
pub(super) fn p_sha1(secret: &[u8], seed: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let mut output = Zeroizing::new(Vec::with_capacity(length + 20));
    let mut a = hmac::sign(&key, seed);
    while output.len() < length {
        let mut context = hmac::Context::with_key(&key);
        context.update(a.as_ref());
        context.update(seed);
        output.extend_from_slice(context.sign().as_ref());
        a = hmac::sign(&key, a.as_ref());
    }
    output.truncate(length);
    output
}

/// base64 of HMAC-SHA1 over the signed text.
pub(super) fn signature_value(key: &[u8], signed_info: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    STANDARD.encode(hmac::sign(&key, signed_info.as_bytes()))
}

/// The whole `ds:Signature` by a ticket's key. `assertion_id` is already fit for XML.
pub(super) fn signature(key: &[u8], timestamp: &str, assertion_id: &str) -> String {
    let signed_info = signed_info(timestamp, SignatureMethod::HmacSha1);
    let value = signature_value(key, &signed_info);
    // The schema puts TokenType into the wsse11 namespace; the server takes it in wsse (confirmed).
    format!(
        "<Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\">{signed_info}<SignatureValue>{value}</SignatureValue>\
         <KeyInfo><wsse:SecurityTokenReference \
         wsse:TokenType=\"http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1\">\
         <wsse:KeyIdentifier \
         ValueType=\"http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID\">{assertion_id}\
         </wsse:KeyIdentifier></wsse:SecurityTokenReference></KeyInfo></Signature>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use xml_sec::c14n::{C14nAlgorithm, canonicalize_xml};

    fn vector() -> (Zeroizing<Vec<u8>>, String) {
        let client: Vec<u8> = (0x00..0x20).collect();
        let server: Vec<u8> = (0x20..0x40).collect();
        (p_sha1(&client, &server, 32), timestamp("2026-11-22T10:00:00Z", "2026-11-22T18:00:00Z"))
    }

    #[test]
    fn the_proof_key_is_that_of_the_test_vector() {
        let hex: String = vector().0.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "df59132c2af6d230e4337732076a14561694be12838cc00203d63c816653d75b");
    }

    #[test]
    fn digest_and_signature_are_those_of_the_test_vector() {
        let (key, timestamp) = vector();
        let signed_info = signed_info(&timestamp, SignatureMethod::HmacSha1);
        assert_eq!((timestamp.len(), signed_info.len()), (239, 535));
        assert!(signed_info.contains("<DigestValue>wjl8345AKnn8yBfPxGGVXqgcnaI=</DigestValue>"));
        assert_eq!(signature_value(&key, &signed_info), "ZU2hmpMIZLTs8USdLsdnC2gth2E=");
    }

    #[test]
    fn the_signed_texts_are_their_own_canonical_form() {
        let exclusive = C14nAlgorithm::from_uri("http://www.w3.org/2001/10/xml-exc-c14n#").unwrap();
        let (_, timestamp) = vector();
        use SignatureMethod::{HmacSha1, RsaSha1, RsaSha256};
        let mut texts = [HmacSha1, RsaSha1, RsaSha256].map(|method| signed_info(&timestamp, method)).to_vec();
        texts.push(timestamp);
        for text in texts {
            let canonical = canonicalize_xml(text.as_bytes(), &exclusive).unwrap();
            assert_eq!(String::from_utf8(canonical).unwrap(), text);
        }
    }
}
