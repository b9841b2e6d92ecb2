//! GetAndPublishCert, [MS-OCAUTHWS] 3.1.4.1: a signing request goes in, a published certificate comes out.

use super::diagnostics::{Said, error_info};
use super::names::{ACTION_PUBLISH, CERTPROV, WST_CERTPROV, WSTEP};
use super::profile::Profile;
use super::ticket::WebTicket;
use super::xml::{BadMessage, ControlCharacter, child, children, escape, parse, text};
use crate::service::Publication;
use crate::tls::pkcs7;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;
use uuid::Uuid;
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};
use zeroize::Zeroizing;

/// Longest signing request sent, bytes.
const MAX_REQUEST: usize = 16 << 10;

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// A certificate, DER, and other certificates beside it.
    Issued { certificate: Vec<u8>, accompanying: Vec<Vec<u8>> },
    /// The service said no inside an ordinary answer.
    Refused(Said),
}

/// The public key (SubjectPublicKeyInfo, DER) that the certificate has to be for.
pub(super) fn requested_key(signing_request: &[u8]) -> Result<Vec<u8>, String> {
    if signing_request.len() > MAX_REQUEST {
        return Err(format!("longer than {} KiB", MAX_REQUEST >> 10));
    }
    let (rest, request) = X509CertificationRequest::from_der(signing_request).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err("something follows it".to_owned());
    }
    Ok(request.certification_request_info.subject_pki.raw.to_vec())
}

/// The message.
pub(super) fn request(
    ticket: &WebTicket,
    location: &str,
    publication: &Publication,
) -> Result<Zeroizing<Vec<u8>>, ControlCharacter> {
    let declarations = ticket.declarations()?;
    let security = ticket.security();
    let location = escape(location)?;
    let entity = escape(publication.user.as_str())?;
    let (device, request_id) = (publication.device, publication.request_id);
    // A MessageID names one message: a repeated publication is another message, and a strict service refuses an id twice.
    let message_id = Uuid::new_v4();
    let signing_request = lines_of_76(&publication.signing_request);
    let message = Zeroizing::new(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><soap:Envelope{declarations}><soap:Header>\
         <wsa:To>{location}</wsa:To>\
         <wsa:ReplyTo><wsa:Address>http://www.w3.org/2005/08/addressing/anonymous</wsa:Address></wsa:ReplyTo>\
         <wsa:MessageID>uuid:{message_id}</wsa:MessageID><wsa:Action>{ACTION_PUBLISH}</wsa:Action>\
         <wsse:Security>{}</wsse:Security></soap:Header><soap:Body>\
         <GetAndPublishCert xmlns=\"{CERTPROV}\" xmlns:wst=\"{WST_CERTPROV}\" xmlns:wstep=\"{WSTEP}\" \
         DeviceId=\"{{{device}}}\" Entity=\"{entity}\"><wst:RequestSecurityToken>\
         <wst:TokenType>http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3\
         </wst:TokenType>\
         <wst:RequestType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/Issue</wst:RequestType>\
         <wsse:BinarySecurityToken ValueType=\"http://schemas.microsoft.com/OCS/AuthWebServices.xsd#PKCS10\" \
         EncodingType=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd#Base64Binary\">\
         {signing_request}</wsse:BinarySecurityToken><wstep:RequestID>{request_id}</wstep:RequestID>\
         </wst:RequestSecurityToken></GetAndPublishCert></soap:Body></soap:Envelope>",
        security.as_str()
    ));
    Ok(Zeroizing::new(message.as_bytes().to_vec()))
}

/// base64 in lines of 76 characters, each begun by CR LF: other forms were refused as malformed (confirmed).
fn lines_of_76(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = String::with_capacity(text.len() + text.len() / 38 + 2);
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(76));
        lines.push_str("\r\n");
        lines.push_str(line);
        rest = after;
    }
    lines
}

/// Reads the answer along its confirmed path; a PKCS#7 beside the certificate gives what accompanies it.
pub(super) fn read(source: &str, profile: &Profile) -> Result<Answer, BadMessage> {
    let document = parse(source)?;
    let body = super::xml::body(&document)?;
    let answer =
        child(body, "GetAndPublishCertResponse").ok_or(BadMessage::Missing("answer to the request to publish"))?;
    if let Some(said) = error_info(answer, profile.error_info()) {
        return Ok(Answer::Refused(said));
    }
    let response =
        child(answer, "RequestSecurityTokenResponse").ok_or(BadMessage::Missing("response of the enrolment"))?;
    let requested = child(response, "RequestedSecurityToken").ok_or(BadMessage::Missing("certificate"))?;
    let is_chain = |token: &Node<'_, '_>| {
        token.attribute("ValueType").is_some_and(|kind| kind.trim().to_ascii_uppercase().ends_with("#PKCS7"))
    };
    let token = children(requested, "BinarySecurityToken")
        .find(|token| !is_chain(token))
        .ok_or(BadMessage::Missing("certificate"))?;
    let certificate = decode(&text(token)).map_err(|problem| BadMessage::BadValue { what: "certificate", problem })?;
    let mut accompanying = Vec::new();
    let beside =
        children(response, "BinarySecurityToken").chain(children(requested, "BinarySecurityToken").filter(is_chain));
    for der in beside.filter_map(|token| decode(&text(token)).ok()) {
        if let Some(chain) = pkcs7::certificates(&der) {
            accompanying.extend(chain.iter().map(|c| c.to_vec()).filter(|c| *c != certificate));
        }
    }
    Ok(Answer::Issued { certificate, accompanying })
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).map_err(|error| error.to_string())
}

/// Why `certificate` is not the one for `key`, if it is not.
pub(super) fn misfit(certificate: &[u8], key: &[u8]) -> Option<String> {
    match X509Certificate::from_der(certificate) {
        Err(error) => Some(format!("it is not readable: {error}")),
        Ok((rest, _)) if !rest.is_empty() => Some("something follows it".to_owned()),
        Ok((_, parsed)) if parsed.public_key().raw != key => Some("it is for another key".to_owned()),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::peer::messages::publish_answer;
    use super::super::signed_text::{SignatureMethod, signed_info, timestamp};
    use super::super::ticket::tests::issued;
    use super::super::xml::descendant;
    use super::*;
    use proptest::prelude::*;

    fn publication() -> Publication {
        Publication {
            user: "alice@contoso.example".parse().unwrap(),
            device: Uuid::from_u128(0x34d859db_6585_5f91_a3b4_de853c15347d),
            signing_request: vec![0x30; 300],
            request_id: Uuid::from_u128(1),
        }
    }

    #[test]
    fn the_request_has_the_phones_device_id_the_bare_user_and_lines_of_76() {
        let bytes = request(&issued().ticket, "https://web.contoso.example/x?a=1&b=2", &publication()).unwrap();
        let message = std::str::from_utf8(&bytes).unwrap();
        let document = parse(message).unwrap();
        let operation = descendant(document.root_element(), "GetAndPublishCert").unwrap();
        assert_eq!(operation.attribute("DeviceId"), Some("{34d859db-6585-5f91-a3b4-de853c15347d}"));
        assert_eq!(operation.attribute("Entity"), Some("alice@contoso.example"));
        let rst = child(operation, "RequestSecurityToken").unwrap();
        assert_eq!(rst.tag_name().namespace(), Some("http://docs.oasis-open.org/ws-sx/ws-trust/200512/"));
        let token = message.split_once("Base64Binary\">").unwrap().1.split_once('<').unwrap().0;
        assert!(token.starts_with("\r\n") && token.trim().split("\r\n").all(|line| line.len() <= 76));
    }

    #[test]
    fn every_sending_of_a_publication_is_a_message_of_its_own_with_the_same_request_id() {
        let send =
            || String::from_utf8(request(&issued().ticket, "https://a/x", &publication()).unwrap().to_vec()).unwrap();
        let inside = |message: &str, name: &str| {
            let document = parse(message).unwrap();
            text(descendant(document.root_element(), name).unwrap())
        };
        let (first, second) = (send(), send());
        assert!(inside(&first, "MessageID").starts_with("uuid:"));
        assert_ne!(inside(&first, "MessageID"), inside(&second, "MessageID"));
        assert_eq!(inside(&first, "RequestID"), inside(&second, "RequestID"));
    }

    #[test]
    fn what_is_signed_stands_in_the_message_as_it_was_digested() {
        let bytes = request(&issued().ticket, "https://web.contoso.example/x", &publication()).unwrap();
        let message = std::str::from_utf8(&bytes).unwrap();
        let timestamp = timestamp("2026-11-22T10:00:00.000Z", "2026-11-22T18:00:00.000Z");
        assert!(message.contains(&timestamp));
        assert!(message.contains(&signed_info(&timestamp, SignatureMethod::HmacSha1)));
    }

    #[test]
    fn the_certificate_is_taken_from_its_path_and_not_from_the_pkcs7_beside_it() {
        let answer = publish_answer(b"certificate");
        let beside =
            "<wst:RequestSecurityTokenResponse xmlns:wst=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512/\">";
        let with_pkcs7 = answer
            .replace(beside, &format!("{beside}<BinarySecurityToken ValueType=\"x#PKCS7\">MIIC</BinarySecurityToken>"));
        assert_ne!(answer, with_pkcs7);
        let expected = Answer::Issued { certificate: b"certificate".to_vec(), accompanying: Vec::new() };
        assert_eq!(read(&with_pkcs7, &Profile::lab()), Ok(expected));
    }

    #[test]
    fn the_certificates_of_a_pkcs7_beside_it_accompany_the_certificate() {
        let authority = crate::tls::fixture::Authority::new();
        let own = authority.intermediate_der();
        let bag = crate::tls::fixture::certs_only(&[authority.root_der(), own.clone()]);
        let beside = format!("<BinarySecurityToken>{}</BinarySecurityToken>", STANDARD.encode(bag));
        let answer = publish_answer(&own)
            .replace("<wst:RequestedSecurityToken>", &format!("{beside}<wst:RequestedSecurityToken>"));
        let expected = Answer::Issued { certificate: own, accompanying: vec![authority.root_der()] };
        assert_eq!(read(&answer, &Profile::lab()), Ok(expected));
    }

    #[test]
    fn an_answer_without_a_certificate_is_no_success() {
        let answer = publish_answer(b"certificate").replace("RequestedSecurityToken", "Other");
        assert_eq!(read(&answer, &Profile::lab()), Err(BadMessage::Missing("certificate")));
    }

    proptest! {
        #[test]
        fn any_and_any_mutated_answer_is_read_or_refused(at in 0usize..900, byte in any::<u8>(), cut in 0usize..900) {
            let mut bytes = publish_answer(b"certificate").into_bytes();
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            let _ = read(&String::from_utf8_lossy(&bytes), &Profile::lab());
            bytes.truncate(cut);
            let _ = read(&String::from_utf8_lossy(&bytes), &Profile::lab());
            let _ = requested_key(&bytes);
            let _ = misfit(&bytes, b"key");
        }
    }
}
