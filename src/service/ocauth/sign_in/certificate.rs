//! By a certificate from an earlier enrolment: WebTicketServiceCert, [MS-OCAUTHWS] 3.2 (confirmed). Its header is not public;
//! this is what WCF writes for an endorsing X.509 token over transport security (inferred).
//!
//! The key is inside the phone. It signs one timestamp, for [`EndorsementTerms`] that it was shown; nothing else of the
//! message is signed, and TLS protects the rest.

use super::super::endorsement::{Endorsement, EndorsementAlgorithm, EndorsementTerms};
use super::super::error::ServiceError;
use super::super::http::Repeat;
use super::super::names::{ACTION_ISSUE, BASE64, PORT_CERTIFICATE, WSA, X509};
use super::super::ticket::{Entropy, Issued};
use super::super::xml::{ControlCharacter, escape};
use super::super::{Meaning, OcAuth, Route};
use super::request::request;
use super::{Door, NAME, port};
use crate::credential::SipAddress;
use crate::service::SignInWay;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use uuid::Uuid;

/// By the service's clock, and by the algorithm of the port's policy; SHA-1 where it says none, as WCF's default has it.
pub(in super::super) async fn endorsement_terms(
    service: &mut OcAuth,
    user: &SipAddress,
) -> Result<EndorsementTerms, ServiceError> {
    let known = service.known().await?;
    Door::to(service, &known, user, SignInWay::Certificate)?;
    let algorithm = port(&known, &[PORT_CERTIFICATE]).and_then(|port| port.algorithm);
    Ok(EndorsementTerms::beginning(service.service_now(), algorithm.unwrap_or(EndorsementAlgorithm::RsaSha1)))
}

pub(super) async fn ticket(
    service: &mut OcAuth,
    door: &Door,
    endorsement: &Endorsement,
) -> Result<Issued, ServiceError> {
    let entropy = Entropy::new();
    let message = header(endorsement, door.url.as_str())
        .and_then(|header| request(&header, Some(&door.user), &door.applies_to, &entropy))
        .expect("a URL and a SIP address hold no control characters");
    let asked = service.ask_ticket(door, &message, None, Repeat::IfUnsent).await;
    let answer = asked.map_err(|unanswered| unanswered.error)?;
    if answer.status != 200 {
        let said = service.diagnosis(&answer);
        // A time that has passed says nothing about the certificate: the phone signs anew for the next try.
        let late = said.fault_code.as_deref() == Some("MessageExpired");
        let refused = match said.meaning() {
            Meaning::TicketInvalid => true,
            Meaning::Unknown => answer.status == 401 || said.route != Route::Status,
            _ => answer.status == 401,
        };
        if refused && !late {
            let (host, user) = (door.host.clone(), door.user.clone());
            return Err(ServiceError::CertificateRefused { host, user, diagnosis: Some(said) });
        }
    }
    service.read_ticket(door, &answer, &entropy, NAME)
}

/// Timestamp, token, signature: in this order and without white space between them.
fn header(endorsement: &Endorsement, to: &str) -> Result<String, ControlCharacter> {
    let to = escape(to)?;
    let (timestamp, signed_info) = (endorsement.terms.timestamp(), endorsement.terms.signed_info());
    let certificate = STANDARD.encode(&endorsement.certificate);
    let signature = STANDARD.encode(&endorsement.signature);
    let message_id = Uuid::new_v4();
    Ok(format!(
        "<wsa:Action soap:mustUnderstand=\"1\">{ACTION_ISSUE}</wsa:Action>\
         <wsa:MessageID>urn:uuid:{message_id}</wsa:MessageID>\
         <wsa:ReplyTo><wsa:Address>{WSA}/anonymous</wsa:Address></wsa:ReplyTo>\
         <wsa:To soap:mustUnderstand=\"1\">{to}</wsa:To>\
         <wsse:Security soap:mustUnderstand=\"1\">{timestamp}\
         <wsse:BinarySecurityToken wsu:Id=\"x509\" ValueType=\"{X509}\" EncodingType=\"{BASE64}\">{certificate}\
         </wsse:BinarySecurityToken><Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\">{signed_info}\
         <SignatureValue>{signature}</SignatureValue><KeyInfo><wsse:SecurityTokenReference>\
         <wsse:Reference URI=\"#x509\" ValueType=\"{X509}\"></wsse:Reference></wsse:SecurityTokenReference></KeyInfo>\
         </Signature></wsse:Security>"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::super::xml::{child, descendant, parse, text};
    use super::*;

    #[test]
    fn what_the_phone_signed_stands_in_the_header_as_it_was_signed() {
        let terms =
            EndorsementTerms::beginning(time::macros::datetime!(2026-11-22 10:00 UTC), EndorsementAlgorithm::RsaSha256);
        let endorsement = Endorsement { certificate: vec![1, 2], terms, signature: vec![3] };
        let header = header(&endorsement, "https://web/x.svc/cert?a&b").unwrap();
        assert!(header.contains(&terms.timestamp()) && header.contains(&terms.signed_info()));
        let message = request(&header, None, "https://a/", &Entropy::new()).unwrap();
        let document = parse(std::str::from_utf8(&message).unwrap()).unwrap();
        let security = descendant(document.root_element(), "Security").unwrap();
        let order: Vec<_> = security.children().map(|node| node.tag_name().name()).collect();
        assert_eq!(order, ["Timestamp", "BinarySecurityToken", "Signature"]);
        let signature = child(security, "Signature").unwrap();
        assert_eq!(child(signature, "SignatureValue").map(text).as_deref(), Some("Aw=="));
        assert_eq!(
            descendant(signature, "SignedInfo").unwrap().tag_name().namespace(),
            signature.tag_name().namespace()
        );
    }
}
