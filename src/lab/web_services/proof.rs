//! Whether a message proves that its sender holds a key: the web ticket's (HMAC-SHA1) or a certificate's (RSA), over the
//! exclusive canonical form of one timestamp.
//!
//! Written for itself, after WS-Trust 1.3, XML Signature and Exclusive XML Canonicalization, and not after the client.

use super::soap::{self, DS, SAML, WSSE, WSU, bytes, only, text};
use aws_lc_rs::{constant_time, digest, hmac, signature};
use roxmltree::{Document, Node};
use std::collections::HashSet;
use xml_sec::c14n::{C14nAlgorithm, C14nMode, canonicalize};

const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const X509: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";

/// `P_SHA1(secret, seed)` of RFC 2246 section 5, as long as asked for (WS-Trust 1.3 `CK/PSHA1`).
pub(super) fn p_sha1(secret: &[u8], seed: &[u8], length: usize) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let mut out = Vec::with_capacity(length + 20);
    let mut a = hmac::sign(&key, seed);
    while out.len() < length {
        out.extend_from_slice(hmac::sign(&key, &[a.as_ref(), seed].concat()).as_ref());
        a = hmac::sign(&key, a.as_ref());
    }
    out.truncate(length);
    out
}

/// A signed timestamp, its shape checked and nothing believed yet.
struct Signed<'a, 'i> {
    text: &'i str,
    signed_info: Node<'a, 'i>,
    reference: Node<'a, 'i>,
    key_info: Node<'a, 'i>,
    value: Vec<u8>,
    timestamp: Node<'a, 'i>,
    window: Window<'a>,
}

/// What a signed timestamp says, still as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window<'a> {
    pub(super) created: &'a str,
    pub(super) expires: &'a str,
}

/// How a signature was made: its algorithm, and the digest of what it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    HmacSha1,
    RsaSha1,
    RsaSha256,
}

impl Method {
    /// URI of the algorithm, URI and algorithm of the digest, and what to say of another.
    fn names(self) -> (&'static str, &'static str, &'static digest::Algorithm, &'static str) {
        let sha1 = "http://www.w3.org/2000/09/xmldsig#sha1";
        let legacy = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        match self {
            Self::HmacSha1 => {
                let uri = "http://www.w3.org/2000/09/xmldsig#hmac-sha1";
                (uri, sha1, legacy, "the signature is not plain hmac-sha1")
            }
            Self::RsaSha1 => {
                let uri = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";
                (uri, sha1, legacy, "the signature is not plain rsa-sha1")
            }
            Self::RsaSha256 => (
                "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
                "http://www.w3.org/2001/04/xmlenc#sha256",
                &digest::SHA256,
                "the signature is not plain rsa-sha256",
            ),
        }
    }
}

impl<'a, 'i> Signed<'a, 'i> {
    /// Reads the header, refusing everything by which a signature could cover something else than what is acted upon:
    /// more than one timestamp, signature or reference, or an id that occurs twice anywhere in the message.
    fn read(document: &'a Document<'i>, security: Node<'a, 'i>) -> Result<Self, &'static str> {
        let timestamp = only(security, WSU, "Timestamp").ok_or("not one Timestamp in the Security header")?;
        let signature = only(security, DS, "Signature").ok_or("not one Signature in the Security header")?;
        if everywhere(document, WSU, "Timestamp") != 1 || everywhere(document, DS, "Signature") != 1 {
            return Err("a second Timestamp or Signature elsewhere in the message");
        }
        let signed_info = only(signature, DS, "SignedInfo").ok_or("no SignedInfo")?;
        let reference = only(signed_info, DS, "Reference").ok_or("not one Reference")?;
        let id = reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')).filter(|id| !id.is_empty());
        let id = id.ok_or("the Reference is not to an id in this message")?;
        if ids(document, id) != 1 {
            return Err("the referenced id does not occur exactly once");
        }
        if timestamp.attribute((WSU, "Id")) != Some(id) {
            return Err("the Reference is not to the Timestamp");
        }
        let time = |name| only(timestamp, WSU, name).and_then(text);
        Ok(Self {
            text: document.input_text(),
            signed_info,
            reference,
            key_info: only(signature, DS, "KeyInfo").ok_or("no KeyInfo")?,
            value: only(signature, DS, "SignatureValue").and_then(bytes).ok_or("no SignatureValue")?,
            timestamp,
            window: Window {
                created: time("Created").ok_or("no Created in the Timestamp")?,
                expires: time("Expires").ok_or("no Expires in the Timestamp")?,
            },
        })
    }

    /// Whether this very timestamp is covered; what the key has to have signed.
    fn covered(&self, by: Method) -> Result<Vec<u8>, &'static str> {
        let (algorithm, digest_uri, digest_algorithm, otherwise) = by.names();
        let method = only(self.signed_info, DS, "CanonicalizationMethod").ok_or("no CanonicalizationMethod")?;
        let canonicalization = exclusive(method).ok_or("the canonicalization is not exclusive")?;
        let method = only(self.signed_info, DS, "SignatureMethod").ok_or("no SignatureMethod")?;
        if method.attribute("Algorithm") != Some(algorithm) || method.children().any(|child| child.is_element()) {
            return Err(otherwise);
        }
        let transforms = only(self.reference, DS, "Transforms").ok_or("no Transforms")?;
        let transform = only(transforms, DS, "Transform").and_then(exclusive).ok_or("not one exclusive Transform")?;
        let digest_method = only(self.reference, DS, "DigestMethod").and_then(|method| method.attribute("Algorithm"));
        if digest_method != Some(digest_uri) {
            return Err("the digest is of another kind than the signature");
        }
        let claimed = only(self.reference, DS, "DigestValue").and_then(bytes).ok_or("no DigestValue")?;
        let timestamp =
            canonical(self.text, self.timestamp, &transform).ok_or("the Timestamp has no canonical form")?;
        let digest = digest::digest(digest_algorithm, &timestamp);
        constant_time::verify_slices_are_equal(digest.as_ref(), &claimed)
            .map_err(|_| "the Timestamp is not the one that was signed")?;
        canonical(self.text, self.signed_info, &canonicalization).ok_or("SignedInfo has no canonical form")
    }
}

fn everywhere(document: &Document<'_>, namespace: &str, name: &str) -> usize {
    document.descendants().filter(|node| node.has_tag_name((namespace, name))).count()
}

/// How often an id stands anywhere in the message.
fn ids(document: &Document<'_>, id: &str) -> usize {
    let is_id = |name: &str| name.eq_ignore_ascii_case("id") || name == "AssertionID";
    let attributes = document.descendants().flat_map(|node| node.attributes());
    attributes.filter(|attribute| is_id(attribute.name()) && attribute.value() == id).count()
}

/// A web ticket with the proof that its key is held.
pub(super) struct Claim<'a, 'i> {
    signed: Signed<'a, 'i>,
    assertion: Node<'a, 'i>,
    /// The ticket's id, the same in the assertion and in the signature's key reference.
    pub(super) assertion_id: &'a str,
}

impl<'a, 'i> Claim<'a, 'i> {
    /// Reads the header; nothing is believed yet.
    pub(super) fn read(document: &'a Document<'i>, security: Node<'a, 'i>) -> Result<Self, &'static str> {
        let assertion = only(security, SAML, "Assertion").ok_or("not one Assertion in the Security header")?;
        if everywhere(document, SAML, "Assertion") != 1 {
            return Err("a second Assertion elsewhere in the message");
        }
        let signed = Signed::read(document, security)?;
        let assertion_id = assertion.attribute("AssertionID").ok_or("no AssertionID")?;
        let path = [(WSSE, "SecurityTokenReference"), (WSSE, "KeyIdentifier")];
        let key = soap::at(signed.key_info, &path).ok_or("no KeyIdentifier")?;
        let kind = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID";
        if key.attribute("ValueType") != Some(kind) || text(key) != Some(assertion_id) {
            return Err("the KeyIdentifier does not name the Assertion");
        }
        Ok(Self { signed, assertion, assertion_id })
    }

    /// The window of the signed timestamp.
    pub(super) fn window(&self) -> Window<'a> {
        self.signed.window
    }

    /// Whether the signature was made with `key`, covers this very timestamp, and carries the assertion as it was issued.
    pub(super) fn verify(&self, key: &[u8], issued: &[u8]) -> Result<(), &'static str> {
        let signed = self.signed.covered(Method::HmacSha1)?;
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        hmac::verify(&key, &signed, &self.signed.value).map_err(|_| "the signature is not by the ticket's key")?;
        let assertion =
            canonical(self.signed.text, self.assertion, &plain()).ok_or("the Assertion has no canonical form")?;
        if assertion != issued {
            return Err("the Assertion is not the one that was issued");
        }
        Ok(())
    }
}

/// A certificate with the proof that its key is held: an endorsing X.509 token (WSS X.509 token profile 1.0).
pub(super) struct Endorsed<'a, 'i> {
    signed: Signed<'a, 'i>,
    /// DER.
    pub(super) certificate: Vec<u8>,
}

impl<'a, 'i> Endorsed<'a, 'i> {
    /// Reads the header; nothing is believed yet.
    pub(super) fn read(document: &'a Document<'i>, security: Node<'a, 'i>) -> Result<Self, &'static str> {
        let token = only(security, WSSE, "BinarySecurityToken").ok_or("not one BinarySecurityToken")?;
        if everywhere(document, WSSE, "BinarySecurityToken") != 1 {
            return Err("a second BinarySecurityToken elsewhere in the message");
        }
        let base64 = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";
        if token.attribute("ValueType") != Some(X509) || token.attribute("EncodingType") != Some(base64) {
            return Err("the BinarySecurityToken is not an X509v3 in Base64Binary");
        }
        let signed = Signed::read(document, security)?;
        let path = [(WSSE, "SecurityTokenReference"), (WSSE, "Reference")];
        let reference = soap::at(signed.key_info, &path).ok_or("no reference to the BinarySecurityToken")?;
        let id = reference.attribute("URI").and_then(|uri| uri.strip_prefix('#')).unwrap_or_default();
        if token.attribute((WSU, "Id")) != Some(id) || ids(document, id) != 1 {
            return Err("the key reference is not to the BinarySecurityToken");
        }
        Ok(Self { signed, certificate: bytes(token).ok_or("the certificate is not base64")? })
    }

    /// The window of the signed timestamp.
    pub(super) fn window(&self) -> Window<'a> {
        self.signed.window
    }

    /// Whether the signature was made with the RSA key `public_key` (RSAPublicKey, DER) and covers this very timestamp.
    pub(super) fn verify(&self, public_key: &[u8], sha256: bool) -> Result<(), &'static str> {
        let (method, algorithm) = match sha256 {
            false => (Method::RsaSha1, &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY),
            true => (Method::RsaSha256, &signature::RSA_PKCS1_2048_8192_SHA256),
        };
        let signed = self.signed.covered(method)?;
        let key = signature::UnparsedPublicKey::new(algorithm, public_key);
        key.verify(&signed, &self.signed.value).map_err(|_| "the signature is not by the certificate's key")
    }
}

/// The exclusive canonical form of the one assertion in `message`.
pub(super) fn canonical_assertion(message: &str) -> Option<Vec<u8>> {
    let document = Document::parse(message).ok()?;
    let assertion = document.descendants().find(|node| node.has_tag_name((SAML, "Assertion")))?;
    canonical(message, assertion, &plain())
}

fn plain() -> C14nAlgorithm {
    C14nAlgorithm::new(C14nMode::Exclusive1_0, false)
}

/// Exclusive canonicalization without comments, with the prefixes that the element asks to keep.
fn exclusive(method: Node<'_, '_>) -> Option<C14nAlgorithm> {
    (method.attribute("Algorithm")? == EXCLUSIVE).then_some(())?;
    let prefixes = only(method, EXCLUSIVE, "InclusiveNamespaces").and_then(|node| node.attribute("PrefixList"));
    Some(prefixes.map_or_else(plain, |prefixes| plain().with_prefix_list(prefixes)))
}

/// The canonical form of one element of `text`, found in the canonicaliser's own tree by its place in the text.
fn canonical(text: &str, element: Node<'_, '_>, algorithm: &C14nAlgorithm) -> Option<Vec<u8>> {
    let document = xml_sec::Document::parse(text).ok()?;
    let apex = document.descendants().find(|node| node.is_element() && node.range() == element.range())?;
    let subtree: HashSet<_> = apex.descendants().map(xml_sec::Node::id).collect();
    let mut out = Vec::new();
    canonicalize(&document, Some(&|node| subtree.contains(&node.id())), algorithm, &mut out).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMESTAMP: &str = concat!(
        r#"<wsu:Timestamp xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd" "#,
        r#"wsu:Id="timestamp"><wsu:Created>2026-11-22T10:00:00Z</wsu:Created>"#,
        r#"<wsu:Expires>2026-11-22T18:00:00Z</wsu:Expires></wsu:Timestamp>"#
    );
    /// Spelled another way than its canonical form: empty-element tags, single quotes, blanks in tags.
    const SIGNATURE: &str = concat!(
        r#"<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'><SignedInfo ><CanonicalizationMethod "#,
        r#"Algorithm='http://www.w3.org/2001/10/xml-exc-c14n#'/><SignatureMethod Algorithm='http://www.w3.org/2000/09/xmldsig#hmac-sha1' />"#,
        r##"<Reference URI="#timestamp"><Transforms><Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"/></Transforms>"##,
        r#"<DigestMethod Algorithm="http://www.w3.org/2000/09/xmldsig#sha1"/><DigestValue>wjl8345AKnn8yBfPxGGVXqgcnaI=</DigestValue>"#,
        r#"</Reference></SignedInfo><SignatureValue>ZU2hmpMIZLTs8USdLsdnC2gth2E=</SignatureValue><KeyInfo>"#,
        r#"<o:SecurityTokenReference xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd">"#,
        r#"<o:KeyIdentifier ValueType="http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.0#SAMLAssertionID">t1"#,
        r#"</o:KeyIdentifier></o:SecurityTokenReference></KeyInfo></Signature>"#
    );
    const ASSERTION: &str = r#"<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" AssertionID="t1"/>"#;
    const ISSUED: &[u8] =
        br#"<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:1.0:assertion" AssertionID="t1"></saml:Assertion>"#;

    fn key() -> Vec<u8> {
        let client: Vec<u8> = (0..32).collect();
        let server: Vec<u8> = (32..64).collect();
        p_sha1(&client, &server, 32)
    }

    fn checked(security: &str) -> Result<(), &'static str> {
        let envelope = format!(r#"<x xmlns="urn:around" xmlns:unused="urn:unused">{security}</x>"#);
        let document = Document::parse(&envelope).unwrap();
        Claim::read(&document, document.root_element())?.verify(&key(), ISSUED)
    }

    #[test]
    fn the_proof_key_of_the_published_vector_comes_out() {
        let hex: String = key().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "df59132c2af6d230e4337732076a14561694be12838cc00203d63c816653d75b");
    }

    #[test]
    fn the_signature_of_the_published_vector_verifies_in_any_spelling() {
        assert_eq!(checked(&format!("{TIMESTAMP}{ASSERTION}{SIGNATURE}")), Ok(()));
        let respelled = TIMESTAMP.replace("wsu:Id=\"timestamp\"", "  wsu:Id='timestamp'\n");
        assert_eq!(checked(&format!("{ASSERTION}{respelled}\n{SIGNATURE}")), Ok(()));
    }

    #[test]
    fn what_was_not_signed_is_refused() {
        let late = TIMESTAMP.replace("T18", "T19");
        let error = checked(&format!("{late}{ASSERTION}{SIGNATURE}"));
        assert_eq!(error, Err("the Timestamp is not the one that was signed"));

        let forged = SIGNATURE.replace("ZU2hmp", "AU2hmp");
        let error = checked(&format!("{TIMESTAMP}{ASSERTION}{forged}"));
        assert_eq!(error, Err("the signature is not by the ticket's key"));

        let other = ASSERTION.replace("/>", "><saml:Conditions/></saml:Assertion>");
        let error = checked(&format!("{TIMESTAMP}{other}{SIGNATURE}"));
        assert_eq!(error, Err("the Assertion is not the one that was issued"));
    }

    #[test]
    fn a_wrapped_signature_is_refused() {
        let late = TIMESTAMP.replace("T18", "T19").replace("\"timestamp\"", "\"other\"");
        let wrapped = format!("{late}{ASSERTION}{SIGNATURE}<hidden>{TIMESTAMP}</hidden>");
        assert!(checked(&wrapped).unwrap_err().starts_with("a second Timestamp"));

        let twice = format!("{TIMESTAMP}{ASSERTION}{SIGNATURE}<y Id=\"timestamp\"/>");
        assert_eq!(checked(&twice), Err("the referenced id does not occur exactly once"));
    }
}
