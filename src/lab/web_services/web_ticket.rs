//! Web tickets: who asks, what is issued, and the table by which a ticket is known again.

use super::front_end::FrontEnd;
use super::proof;
use super::soap::{self, AUTH, SAML, SOAP, Spelling, WSA, WSP, WSSE, WST, WSU, at, base64, bytes, escape, only, text};
use super::users::User;
use crate::lab::keys::random;
use roxmltree::{Document, Node};
use std::collections::HashMap;
use time::OffsetDateTime;
use time::macros::format_description;
use uuid::Uuid;
use zeroize::Zeroizing;

/// What the service remembers of a ticket. The assertion itself needs no signature: it is compared with this.
#[derive(Clone)]
pub(super) struct Ticket {
    pub(super) key: Zeroizing<Vec<u8>>,
    /// Index in the directory.
    pub(super) user: usize,
    pub(super) issued_by: FrontEnd,
    /// The address the ticket was asked for.
    pub(super) applies_to: String,
    pub(super) expires: OffsetDateTime,
    /// The assertion's exclusive canonical form.
    pub(super) assertion: Vec<u8>,
}

/// The tickets in force, by AssertionID.
pub(super) type Tickets = HashMap<String, Ticket>;

/// A RequestSecurityToken of WS-Trust 1.3.
pub(super) struct TicketRequest<'a> {
    context: Option<&'a str>,
    applies_to: &'a str,
    /// The SIP URI that the client claims.
    pub(super) claim: Option<&'a str>,
    entropy: Zeroizing<Vec<u8>>,
}

impl<'a> TicketRequest<'a> {
    /// Reads the body; the error says what is missing.
    pub(super) fn read(document: &'a Document<'_>) -> Result<Self, &'static str> {
        let path = [(SOAP, "Body"), (WST, "RequestSecurityToken")];
        let request = at(document.root_element(), &path).ok_or("no RequestSecurityToken")?;
        let demand = |name, value, error| {
            let found = only(request, WST, name).and_then(text);
            if found == Some(value) { Ok(()) } else { Err(error) }
        };
        let saml = "http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1";
        demand("TokenType", saml, "the TokenType is not SAML 1.1")?;
        demand("RequestType", "http://schemas.xmlsoap.org/ws/2005/02/trust/Issue", "the RequestType is not Issue")?;
        demand("KeyType", &format!("{WST}/SymmetricKey"), "the KeyType is not SymmetricKey")?;
        let path = [(WSP, "AppliesTo"), (WSA, "EndpointReference"), (WSA, "Address")];
        let applies_to = at(request, &path).and_then(text).filter(|address| !address.is_empty());
        let entropy = at(request, &[(WST, "Entropy"), (WST, "BinarySecret")]).and_then(bytes);
        let claim = only(request, WST, "Claims").map(claim).transpose()?;
        Ok(Self {
            context: request.attribute("Context"),
            applies_to: applies_to.ok_or("no AppliesTo")?,
            claim,
            entropy: entropy.filter(|e| e.len() >= 16).ok_or("no Entropy of 16 bytes or more")?.into(),
        })
    }
}

fn claim<'a>(claims: Node<'a, '_>) -> Result<&'a str, &'static str> {
    if claims.attribute("Dialect") != Some("urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims") {
        return Err("the dialect of the Claims is unknown");
    }
    let claim = only(claims, AUTH, "ClaimType").ok_or("not one ClaimType")?;
    if claim.attribute("Uri") != Some("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri") {
        return Err("the claim is not a uri");
    }
    only(claim, AUTH, "Value").and_then(text).ok_or("the claim has no Value")
}

/// Number and PIN of the LAB profile's header.
pub(super) fn number_and_pin<'a>(document: &'a Document<'_>) -> Option<(&'a str, &'a str)> {
    let path = [(SOAP, "Header"), (WSSE, "Security"), (WSSE, "UsernameToken")];
    let token = at(document.root_element(), &path)?;
    Some((only(token, WSSE, "Username").and_then(text)?, only(token, WSSE, "Password").and_then(text)?))
}

/// Makes a ticket for `user` and the answer that carries it.
pub(super) fn issue(
    request: &TicketRequest<'_>,
    (index, user): (usize, &User),
    issued_by: FrontEnd,
    (now, expires): (OffsetDateTime, OffsetDateTime),
    spelling: &Spelling,
) -> (String, Ticket, String) {
    let id = format!("SamlSecurityToken-{}", Uuid::new_v4());
    let entropy: Zeroizing<[u8; 32]> = random().into();
    let key = proof::p_sha1(&request.entropy, entropy.as_slice(), request.entropy.len());
    let (created, ends) = (stamp(now), stamp(expires));
    let uri = user.sip.uri();
    let declared = format!(" xmlns:saml=\"{SAML}\"");
    let (outside, inside) = if spelling.hoisted { (declared.as_str(), "") } else { ("", declared.as_str()) };
    let context = request.context.map(|c| format!(" Context=\"{}\"", escape(c))).unwrap_or_default();
    let answer = format!(
        "<s:Envelope xmlns:s=\"{SOAP}\" xmlns:wsu=\"{WSU}\"{outside}><s:Body>\
         <trust:RequestSecurityTokenResponseCollection xmlns:trust=\"{WST}\">\
         <trust:RequestSecurityTokenResponse{context}>\
         <trust:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1</trust:TokenType>\
         <trust:Lifetime><wsu:Created>{created}</wsu:Created><wsu:Expires>{ends}</wsu:Expires></trust:Lifetime>\
         <wsp:AppliesTo xmlns:wsp=\"{WSP}\"><wsa:EndpointReference xmlns:wsa=\"{WSA}\"><wsa:Address>{applies_to}\
         </wsa:Address></wsa:EndpointReference></wsp:AppliesTo><trust:RequestedSecurityToken>\
         <saml:Assertion{inside} MajorVersion=\"1\" MinorVersion=\"1\" AssertionID=\"{id}\" \
         Issuer=\"https://{issued_by}/webticket\" IssueInstant=\"{created}\">\
         <saml:Conditions NotBefore=\"{created}\" NotOnOrAfter=\"{ends}\"/>\
         <saml:AuthenticationStatement AuthenticationMethod=\"urn:oasis:names:tc:SAML:1.0:am:unspecified\" \
         AuthenticationInstant=\"{created}\"><saml:Subject>\
         <saml:NameIdentifier Format=\"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri\">{uri}\
         </saml:NameIdentifier><saml:SubjectConfirmation>\
         <saml:ConfirmationMethod>urn:oasis:names:tc:SAML:1.0:cm:holder-of-key</saml:ConfirmationMethod>\
         </saml:SubjectConfirmation></saml:Subject></saml:AuthenticationStatement></saml:Assertion>\
         </trust:RequestedSecurityToken><trust:RequestedProofToken>\
         <trust:ComputedKey>{WST}/CK/PSHA1</trust:ComputedKey></trust:RequestedProofToken>\
         <trust:Entropy><trust:BinarySecret>{secret}</trust:BinarySecret></trust:Entropy>\
         </trust:RequestSecurityTokenResponse></trust:RequestSecurityTokenResponseCollection></s:Body></s:Envelope>",
        applies_to = escape(request.applies_to),
        uri = escape(&uri),
        secret = base64(entropy.as_slice()),
    );
    let answer = (spelling.respell)(answer);
    let ticket = Ticket {
        key: key.into(),
        user: index,
        issued_by,
        applies_to: request.applies_to.to_owned(),
        expires,
        assertion: proof::canonical_assertion(&answer).expect("the lab's own answer is well-formed"),
    };
    (id, ticket, answer)
}

/// `2026-11-22T10:00:00.000Z`, as Windows writes it.
fn stamp(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    time.to_offset(time::UtcOffset::UTC).format(&format).expect("a UTC time can be written")
}

/// The fault for a claim that is not the credential's; its number is not public.
pub(super) fn claim_fault() -> String {
    soap::plain_fault(
        WST,
        "RequestFailed",
        "The SIP URI in the claim type requirements does not match the SIP URI associated with the presented credentials.",
    )
}
