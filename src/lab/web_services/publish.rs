//! GetAndPublishCert ([MS-OCAUTHWS] 3.1.4.1): the ticket checked, the request checked, a certificate issued and published.

use super::proof::Claim;
use super::soap::{OCS, SOAP, WSA, WSSE, WST_SLASH, WSTEP, at, base64, bytes, escape, only, text};
use super::web_ticket::{Ticket, Tickets};
use crate::lab::pki::certificates_only_pkcs7;
use roxmltree::Document;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

const X509: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
const PKCS10: &str = "http://schemas.microsoft.com/OCS/AuthWebServices.xsd#PKCS10";
const BASE64: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd#Base64Binary";

/// Why a ticket is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketError {
    /// There is none (28020).
    Missing,
    /// It is not what was issued, or not proven (28032).
    Invalid(&'static str),
    /// It has ended (LAB 99007).
    Expired,
}

/// The ticket that `document` proves and its id, for use at `own` address now.
pub(super) fn ticket(
    document: &Document<'_>,
    tickets: &Tickets,
    own: &str,
    now: OffsetDateTime,
) -> Result<(Ticket, String), TicketError> {
    use TicketError::{Expired, Invalid, Missing};
    let security = at(document.root_element(), &[(SOAP, "Header"), (WSSE, "Security")]).ok_or(Missing)?;
    if !security.children().any(|child| child.is_element()) {
        return Err(Missing);
    }
    let claim = Claim::read(document, security).map_err(Invalid)?;
    let ticket = tickets.get(claim.assertion_id).ok_or(Invalid("no such ticket was issued here"))?;
    claim.verify(&ticket.key, &ticket.assertion).map_err(Invalid)?;
    let time =
        |text| OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Invalid("a time in the Timestamp is malformed"));
    let window = claim.window();
    let (created, expires) = (time(window.created)?, time(window.expires)?);
    if ticket.expires <= now || expires <= now {
        return Err(Expired);
    }
    // A client's whole seconds may cut off what the ticket had of a second, and never more.
    if now < created - time::Duration::seconds(1) {
        return Err(Invalid("the Timestamp begins in the future"));
    }
    if !same_address(&ticket.applies_to, own) {
        return Err(Invalid("the ticket is for another address"));
    }
    Ok((ticket.clone(), claim.assertion_id.to_owned()))
}

/// `wsa:MessageID`.
pub(super) fn message_id<'a>(document: &'a Document<'_>) -> Option<&'a str> {
    at(document.root_element(), &[(SOAP, "Header"), (WSA, "MessageID")]).and_then(text).filter(|id| !id.is_empty())
}

/// Equal addresses: host and path in any case, the default port said or not.
fn same_address(a: &str, b: &str) -> bool {
    let (Ok(a), Ok(b)) = (url::Url::parse(a), url::Url::parse(b)) else {
        return false;
    };
    a.origin() == b.origin() && a.path().eq_ignore_ascii_case(b.path())
}

/// What is asked for, its shape checked.
pub(super) struct PublishRequest<'a> {
    pub(super) entity: &'a str,
    pub(super) device: Uuid,
    device_text: &'a str,
    pub(super) request_id: Option<&'a str>,
    /// The PKCS#10, DER, not looked into yet.
    pub(super) signing_request: Vec<u8>,
}

impl<'a> PublishRequest<'a> {
    /// Reads the message; the error is what a WCF service would have choked on.
    pub(super) fn read(document: &'a Document<'_>) -> Result<Self, &'static str> {
        let root = document.root_element();
        if at(root, &[(SOAP, "Header"), (WSA, "ReplyTo")]).is_some() {
            message_id(document).ok_or("a ReplyTo without a MessageID")?;
        }
        let request = at(root, &[(SOAP, "Body"), (OCS, "GetAndPublishCert")]).ok_or("no GetAndPublishCert")?;
        let device_text = request.attribute("DeviceId").ok_or("no DeviceId")?;
        let device = device_text.strip_prefix('{').and_then(|id| id.strip_suffix('}'));
        let device = device.and_then(|id| Uuid::try_parse(id).ok()).ok_or("the DeviceId is no {uuid}")?;
        let token = only(request, WST_SLASH, "RequestSecurityToken");
        let token = token.ok_or("no RequestSecurityToken in the namespace with a slash at its end")?;
        if only(token, WST_SLASH, "TokenType").and_then(text) != Some(X509) {
            return Err("the TokenType is not X509v3");
        }
        if only(token, WST_SLASH, "RequestType").and_then(text) != Some(&format!("{WST_SLASH}Issue")) {
            return Err("the RequestType is not Issue");
        }
        let binary = only(token, WSSE, "BinarySecurityToken").ok_or("no BinarySecurityToken")?;
        if binary.attribute("ValueType") != Some(PKCS10) || binary.attribute("EncodingType") != Some(BASE64) {
            return Err("the BinarySecurityToken is not a PKCS10 in Base64Binary");
        }
        Ok(Self {
            entity: request.attribute("Entity").ok_or("no Entity")?,
            device,
            device_text,
            request_id: only(token, WSTEP, "RequestID").and_then(text),
            signing_request: bytes(binary).ok_or("the request is not base64")?,
        })
    }

    /// The answer with the certificate; `issuer` adds a PKCS#7 before it.
    pub(super) fn answer(&self, certificate: &[u8], issuer: Option<&[u8]>) -> String {
        let chain = issuer.map_or(String::new(), |issuer| {
            let pkcs7 = base64(&certificates_only_pkcs7(&[issuer, certificate]));
            format!(
                "<wsse:BinarySecurityToken xmlns:wsse=\"{WSSE}\" ValueType=\"{WSSE}#PKCS7\" EncodingType=\"{BASE64}\">\
                 {pkcs7}</wsse:BinarySecurityToken>"
            )
        });
        let id = self.request_id.map_or(String::new(), |id| {
            format!("<wstep:RequestID xmlns:wstep=\"{WSTEP}\">{}</wstep:RequestID>", escape(id))
        });
        self.envelope(
            "Success",
            &format!(
                "<wst:RequestSecurityTokenResponse xmlns:wst=\"{WST_SLASH}\"><wst:TokenType>{X509}</wst:TokenType>{chain}\
                 <wst:RequestedSecurityToken><wsse:BinarySecurityToken xmlns:wsse=\"{WSSE}\" ValueType=\"{X509}\" \
                 EncodingType=\"{BASE64}\">{certificate}</wsse:BinarySecurityToken></wst:RequestedSecurityToken>{id}\
                 </wst:RequestSecurityTokenResponse>",
                certificate = base64(certificate)
            ),
        )
    }

    /// DeviceId and Entity as they came: an answer repeats them.
    pub(super) fn device_and_entity(&self) -> (String, String) {
        (self.device_text.to_owned(), self.entity.to_owned())
    }

    fn envelope(&self, class: &str, inside: &str) -> String {
        super::soap::envelope(&format!(
            "<GetAndPublishCertResponse xmlns=\"{OCS}\" DeviceId=\"{}\" Entity=\"{}\" ResponseClass=\"{class}\">{inside}\
             </GetAndPublishCertResponse>",
            escape(self.device_text),
            escape(self.entity)
        ))
    }
}

/// Why a PKCS#10 is not signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestError {
    /// LAB 99003.
    Malformed(&'static str),
    /// LAB 99004.
    KeySize(usize),
}

/// The SubjectPublicKeyInfo of a PKCS#10 that its own key has signed; an RSA key of `bits`.
pub(super) fn public_key(
    signing_request: &[u8],
    bits: std::ops::RangeInclusive<usize>,
) -> Result<Vec<u8>, RequestError> {
    use RequestError::{KeySize, Malformed};
    let (rest, request) =
        X509CertificationRequest::from_der(signing_request).map_err(|_| Malformed("the request is no PKCS#10"))?;
    if !rest.is_empty() {
        return Err(Malformed("bytes after the request"));
    }
    let key = &request.certification_request_info.subject_pki;
    let Ok(PublicKey::RSA(rsa)) = key.parsed() else {
        return Err(Malformed("the key is not RSA"));
    };
    let leading = rsa.modulus.iter().take_while(|byte| **byte == 0).count();
    let size = (rsa.modulus.len() - leading) * 8;
    if !bits.contains(&size) {
        return Err(KeySize(size));
    }
    request.verify_signature().map_err(|_| Malformed("the request is not signed by its own key"))?;
    Ok(key.raw.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::web_services::soap;
    use crate::lab::web_services::web_ticket::{TicketRequest, number_and_pin};
    use proptest::prelude::*;

    #[test]
    fn an_address_is_the_same_in_any_case_and_with_its_default_port() {
        let own = "https://web.contoso.example/CertProv/x.svc/WebTicket_Proof_SHA1";
        assert!(same_address("HTTPS://WEB.contoso.example:443/certprov/X.svc/webticket_proof_sha1", own));
        assert!(!same_address("https://web.contoso.example:444/CertProv/x.svc/WebTicket_Proof_SHA1", own));
        assert!(!same_address("https://web.contoso.example/CertProv/x.svc", own));
        assert!(!same_address("CertProv", own));
    }

    /// Trees of the elements that the lab reads, nested and repeated at random.
    fn xml() -> impl Strategy<Value = String> {
        let names = [
            format!("Header xmlns=\"{SOAP}\""),
            format!("Body xmlns=\"{SOAP}\""),
            format!("Security xmlns=\"{WSSE}\""),
            format!("UsernameToken xmlns=\"{WSSE}\""),
            format!("BinarySecurityToken xmlns=\"{WSSE}\" ValueType=\"{PKCS10}\" EncodingType=\"{BASE64}\""),
            format!("GetAndPublishCert xmlns=\"{OCS}\" Entity=\"é\" DeviceId=\"{{é}}\""),
            format!("RequestSecurityToken xmlns=\"{WST_SLASH}\""),
            format!("RequestSecurityToken xmlns=\"{}\"", soap::WST),
            format!("Timestamp xmlns=\"{}\" Id=\"t\"", soap::WSU),
            format!("Assertion xmlns=\"{}\" AssertionID=\"t\"", soap::SAML),
            format!("Signature xmlns=\"{}\"", soap::DS),
            format!("SignedInfo xmlns=\"{}\"", soap::DS),
            format!("Reference xmlns=\"{}\" URI=\"#t\"", soap::DS),
        ];
        let text = "[a-zA-Z0-9+/= é]{0,12}";
        text.prop_map(String::from).prop_recursive(6, 40, 5, move |inner| {
            let name = proptest::sample::select(names.to_vec());
            (name, proptest::collection::vec(inner, 0..5)).prop_map(|(name, inside)| {
                let close = name.split(' ').next().unwrap_or_default().to_owned();
                format!("<{name}>{}</{close}>", inside.concat())
            })
        })
    }

    fn read_everything(text: &str) {
        if let Some(document) = soap::parse(text) {
            let _ = TicketRequest::read(&document);
            let _ = number_and_pin(&document);
            let _ = PublishRequest::read(&document);
            let own = "https://localhost/";
            assert!(ticket(&document, &Tickets::new(), own, OffsetDateTime::UNIX_EPOCH).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_envelope_is_read_or_refused(inside in xml()) {
            read_everything(&format!("<s:Envelope xmlns:s=\"{SOAP}\">{inside}</s:Envelope>"));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            read_everything(&text);
        }

        #[test]
        fn any_bytes_are_a_signing_request_or_refused(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(public_key(&der, 2048..=4096).is_err());
        }
    }
}
