//! The web ticket: asking for it (WS-Trust 1.3 RST) and reading the answer (RSTR) by local names.

use super::metadata::TicketUse;
use super::names::{AUTH, LAB_PIN_PASSWORD_TYPE, SAML, SOAP, WSA, WSP, WSSE, WST, WSU};
use super::proof::{p_sha1, signature, timestamp};
use super::xml::{BadMessage, ControlCharacter, child, descendant, escape, parse, text, text_of};
use crate::credential::SipAddress;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Prefixes that our own envelope declares around a copied assertion.
const OURS: [(&str, &str); 4] = [("soap", SOAP), ("wsa", WSA), ("wsse", WSSE), ("wsu", WSU)];

/// A SAML assertion with its proof key: the right to act as a user for some hours. Never shown, never logged.
pub struct WebTicket {
    /// Byte for byte as the server sent it: anything else breaks its signature.
    assertion: Zeroizing<String>,
    assertion_id: String,
    /// Declarations that the assertion took from around it.
    inherited: Vec<(Option<String>, String)>,
    created: String,
    expires: String,
    /// None for bearer use.
    key: Option<Zeroizing<Vec<u8>>>,
}

/// A ticket as it was read, with what else its answer says.
pub(super) struct Issued {
    pub(super) ticket: WebTicket,
    pub(super) expires: OffsetDateTime,
    /// The name inside the assertion; real assertions need not show one.
    pub(super) name: Option<String>,
}

/// The client's half of the proof key.
pub(super) struct Entropy(Zeroizing<[u8; 32]>);

impl Entropy {
    pub(super) fn new() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(bytes.as_mut()).expect("the system gives random bytes");
        Self(bytes)
    }
}

/// Who asks for the ticket, as far as the message says it.
pub(super) enum Asker<'a> {
    /// HTTP says who it is; the claim says as whom.
    Windows(&'a SipAddress),
    /// LAB profile: number and PIN in the message, the answer says who it is.
    LabPin { number: &'a str, pin: &'a SecretString },
}

/// The message that asks for a ticket for `applies_to`.
pub(super) fn request(
    asker: &Asker<'_>,
    applies_to: &str,
    entropy: &Entropy,
) -> Result<Zeroizing<Vec<u8>>, ControlCharacter> {
    let (header, claims) = match asker {
        Asker::Windows(user) => (Zeroizing::new(String::new()), claims(user)?),
        Asker::LabPin { number, pin } => (lab_pin_header(number, pin)?, String::new()),
    };
    let applies_to = escape(applies_to)?;
    let secret = Zeroizing::new(STANDARD.encode(entropy.0.as_slice()));
    let context = Uuid::new_v4();
    let message = Zeroizing::new(format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <soap:Envelope xmlns:soap=\"{SOAP}\" xmlns:saml=\"{SAML}\" xmlns:wst=\"{WST}\" xmlns:auth=\"{AUTH}\" \
         xmlns:wsa=\"{WSA}\" xmlns:wsp=\"{WSP}\" xmlns:wsse=\"{WSSE}\" xmlns:wsu=\"{WSU}\">{}<soap:Body>\
         <wst:RequestSecurityToken Context=\"{context}\">\
         <wst:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV1.1</wst:TokenType>\
         <wst:RequestType>http://schemas.xmlsoap.org/ws/2005/02/trust/Issue</wst:RequestType>\
         <wsp:AppliesTo><wsa:EndpointReference><wsa:Address>{applies_to}</wsa:Address></wsa:EndpointReference>\
         </wsp:AppliesTo>{claims}\
         <wst:Entropy><wst:BinarySecret>{}</wst:BinarySecret></wst:Entropy>\
         <wst:KeyType>http://docs.oasis-open.org/ws-sx/ws-trust/200512/SymmetricKey</wst:KeyType>\
         </wst:RequestSecurityToken></soap:Body></soap:Envelope>",
        header.as_str(),
        secret.as_str()
    ));
    Ok(Zeroizing::new(message.as_bytes().to_vec()))
}

fn claims(user: &SipAddress) -> Result<String, ControlCharacter> {
    let uri = user.uri();
    Ok(format!(
        "<wst:Claims Dialect=\"urn:component:Microsoft.Rtc.WebAuthentication.2010:authclaims\">\
         <auth:ClaimType Uri=\"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uri\" Optional=\"false\">\
         <auth:Value>{}</auth:Value></auth:ClaimType></wst:Claims>",
        escape(&uri)?
    ))
}

/// LAB. Nothing about this header is known of real servers.
fn lab_pin_header(number: &str, pin: &SecretString) -> Result<Zeroizing<String>, ControlCharacter> {
    let number = normal_number(number);
    Ok(Zeroizing::new(format!(
        "<soap:Header><wsse:Security soap:mustUnderstand=\"1\"><wsse:UsernameToken>\
         <wsse:Username>{}</wsse:Username><wsse:Password Type=\"{LAB_PIN_PASSWORD_TYPE}\">{}</wsse:Password>\
         </wsse:UsernameToken></wsse:Security></soap:Header>",
        escape(&number)?,
        escape(pin.expose_secret())?
    )))
}

/// `tel:+1 (206) 555-1219;ext=19` as `12065551219;ext=19`: the leading `+` is dropped by Microsoft's own test (observed).
pub(super) fn normal_number(number: &str) -> String {
    let number = number.trim();
    let bare = number.get(..4).filter(|s| s.eq_ignore_ascii_case("tel:")).map_or(number, |_| &number[4..]);
    bare.chars().filter(|c| !c.is_whitespace() && !"+-()".contains(*c)).collect()
}

/// Reads the answer to [`request`].
pub(super) fn read(bytes: &[u8], entropy: &Entropy, usage: TicketUse) -> Result<Issued, BadMessage> {
    let source = text_of(bytes)?;
    let document = parse(source)?;
    let body = super::xml::body(&document)?;
    let answer = descendant(body, "RequestSecurityTokenResponse").ok_or(BadMessage::Missing("web ticket"))?;
    let lifetime = child(answer, "Lifetime").ok_or(BadMessage::Missing("lifetime of the web ticket"))?;
    let moment = |name, what| -> Result<(String, OffsetDateTime), BadMessage> {
        let written = child(lifetime, name).map(text).ok_or(BadMessage::Missing(what))?;
        let parsed = OffsetDateTime::parse(&written, &Rfc3339)
            .map_err(|error| BadMessage::BadValue { what, problem: error.to_string() })?;
        // It is signed as it stands, so it must be its own canonical form.
        if written.chars().any(|c| !c.is_ascii_alphanumeric() && !":.+-".contains(c)) {
            return Err(BadMessage::BadValue { what, problem: "it is not plainly written".to_owned() });
        }
        Ok((written, parsed))
    };
    let (created, _) = moment("Created", "beginning of the web ticket")?;
    let (expires, expires_at) = moment("Expires", "end of the web ticket")?;

    let assertion = child(answer, "RequestedSecurityToken")
        .and_then(|token| child(token, "Assertion"))
        .ok_or(BadMessage::Missing("assertion"))?;
    let assertion_id = assertion.attribute("AssertionID").ok_or(BadMessage::Missing("assertion id"))?;
    let assertion_id = escape(assertion_id)
        .map_err(|error| BadMessage::BadValue { what: "assertion id", problem: error.to_string() })?
        .into_owned();
    let copied = source.get(assertion.range()).ok_or(BadMessage::Missing("assertion"))?;

    let mut inherited = Vec::new();
    for namespace in assertion.parent_element().into_iter().flat_map(|parent| parent.namespaces()) {
        let (prefix, uri) = (namespace.name(), namespace.uri());
        if prefix == Some("xml") || OURS.iter().any(|ours| prefix == Some(ours.0) && uri == ours.1) {
            continue;
        }
        let taken = OURS.iter().any(|ours| prefix == Some(ours.0));
        if taken && copied.contains(&format!("{}:", prefix.unwrap_or_default())) {
            let problem = format!("it uses the prefix {} for another namespace", prefix.unwrap_or_default());
            return Err(BadMessage::BadValue { what: "assertion", problem });
        }
        if !taken {
            inherited.push((prefix.map(str::to_owned), uri.to_owned()));
        }
    }

    let key = match usage {
        TicketUse::Bearer => None,
        TicketUse::Proof => {
            let secret = child(answer, "Entropy")
                .and_then(|entropy| child(entropy, "BinarySecret"))
                .map(|node| Zeroizing::new(text(node)))
                .ok_or(BadMessage::Missing("server entropy"))?;
            let server = STANDARD
                .decode(secret.as_bytes())
                .map(Zeroizing::new)
                .map_err(|error| BadMessage::BadValue { what: "server entropy", problem: error.to_string() })?;
            if server.is_empty() {
                return Err(BadMessage::Missing("server entropy"));
            }
            Some(p_sha1(entropy.0.as_slice(), &server, entropy.0.len()))
        }
    };
    let name = descendant(assertion, "NameIdentifier").map(text).filter(|name| !name.is_empty());
    let assertion = Zeroizing::new(copied.to_owned());
    let ticket = WebTicket { assertion, assertion_id, inherited, created, expires, key };
    Ok(Issued { ticket, expires: expires_at, name })
}

impl WebTicket {
    /// Declarations for an envelope that carries this ticket, its own and the assertion's.
    pub(super) fn declarations(&self) -> Result<String, ControlCharacter> {
        let mut text = String::new();
        for (prefix, uri) in OURS {
            text.push_str(&format!(" xmlns:{prefix}=\"{uri}\""));
        }
        for (prefix, uri) in &self.inherited {
            let uri = escape(uri)?;
            match prefix {
                Some(prefix) => text.push_str(&format!(" xmlns:{prefix}=\"{uri}\"")),
                None => text.push_str(&format!(" xmlns=\"{uri}\"")),
            }
        }
        Ok(text)
    }

    /// The content of `wsse:Security`: timestamp, assertion, signature, without white space between them.
    pub(super) fn security(&self) -> Zeroizing<String> {
        let timestamp = timestamp(&self.created, &self.expires);
        let signature = self.key.as_ref().map(|key| signature(key, &timestamp, &self.assertion_id));
        Zeroizing::new(format!("{timestamp}{}{}", self.assertion.as_str(), signature.unwrap_or_default()))
    }
}

impl std::fmt::Debug for WebTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebTicket(..)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::peer::ticket_answer;
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) fn issued() -> Issued {
        let answer = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z");
        read(answer.as_bytes(), &Entropy(Zeroizing::new([7; 32])), TicketUse::Proof).unwrap()
    }

    #[test]
    fn the_assertion_is_copied_byte_for_byte_with_the_declarations_it_took_from_outside() {
        let issued = issued();
        assert!(issued.ticket.assertion.starts_with("<saml:Assertion  MajorVersion='1'"), "odd spelling is kept");
        assert_eq!(issued.name.as_deref(), Some("sip:alice@contoso.example"));
        assert_eq!(issued.expires, time::macros::datetime!(2026-11-22 18:00 UTC));
        let envelope = format!("<e{}>{}</e>", issued.ticket.declarations().unwrap(), issued.ticket.security().as_str());
        let document = parse(&envelope).unwrap();
        let assertion = descendant(document.root_element(), "Assertion").unwrap();
        assert_eq!(assertion.tag_name().namespace(), Some(SAML));
    }

    #[test]
    fn a_ticket_without_assertion_lifetime_or_entropy_is_refused() {
        let whole = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z");
        for (name, other) in
            [("AssertionID", "Id"), (":Lifetime", ":Life"), ("Entropy", "Nothing"), ("18:00:00.000Z", "soon")]
        {
            let entropy = Entropy::new();
            assert!(read(whole.replace(name, other).as_bytes(), &entropy, TicketUse::Proof).is_err(), "{name}");
        }
    }

    #[test]
    fn a_number_is_sent_as_digits_and_its_extension_is_kept_apart() {
        assert_eq!(normal_number("tel:+1 (206) 555-1219"), "12065551219");
        assert_eq!(normal_number("5551219;ext=19"), "5551219;ext=19");
    }

    #[test]
    fn a_windows_request_names_the_user_and_a_pin_request_does_not() {
        let user: SipAddress = "alice@contoso.example".parse().unwrap();
        let text = |asker| String::from_utf8(request(&asker, "https://a/", &Entropy::new()).unwrap().to_vec()).unwrap();
        let windows = text(Asker::Windows(&user));
        assert!(windows.contains("<auth:Value>sip:alice@contoso.example</auth:Value>") && !windows.contains("Header"));
        let pin = text(Asker::LabPin { number: "+1206", pin: &"07<12".into() });
        assert!(pin.contains("<wsse:Username>1206</wsse:Username>") && pin.contains(">07&lt;12<"));
        assert!(!pin.contains("Claims"));
        assert!(parse(&windows).is_ok() && parse(&pin).is_ok());
    }

    #[test]
    fn a_ticket_shows_nothing() {
        assert_eq!(format!("{:?}", issued().ticket), "WebTicket(..)");
    }

    proptest! {
        #[test]
        fn any_and_any_mutated_answer_is_read_or_refused(at in 0usize..2400, byte in any::<u8>(), cut in 0usize..2400) {
            let mut bytes = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z").into_bytes();
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            let _ = read(&bytes, &Entropy::new(), TicketUse::Proof);
            bytes.truncate(cut);
            let _ = read(&bytes, &Entropy::new(), TicketUse::Bearer);
            let _ = normal_number(&String::from_utf8_lossy(&bytes));
        }
    }
}
