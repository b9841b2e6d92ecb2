//! The web ticket as it is answered (WS-Trust 1.3 RSTR, read by local names) and used.

use super::metadata::TicketUse;
use super::names::WSSE;
use super::signed_text::{USUAL_ID, p_sha1, signature, timestamp_with_id};
use super::xml::{BadMessage, ControlCharacter, child, descendant, escape, parse, text};
use crate::credential::SipAddress;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

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

impl WebTicket {
    /// What stands for a ticket where a recording is replayed: it gives no right to anything.
    pub(crate) fn of_a_recording() -> Self {
        let nothing = String::new;
        Self {
            assertion: Zeroizing::new(nothing()),
            assertion_id: nothing(),
            inherited: Vec::new(),
            created: nothing(),
            expires: nothing(),
            key: None,
        }
    }
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

    /// For the message, base64.
    pub(super) fn written(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }
}

/// Reads an answer. `named_by` is the local name of the element that holds the user's name.
pub(super) fn read(source: &str, entropy: &Entropy, usage: TicketUse, named_by: &str) -> Result<Issued, BadMessage> {
    let document = parse(source)?;
    let body = super::xml::body(&document)?;
    let answer = descendant(body, "RequestSecurityTokenResponse").ok_or(BadMessage::Missing("web ticket"))?;
    let assertion = child(answer, "RequestedSecurityToken")
        .and_then(|token| child(token, "Assertion"))
        .ok_or(BadMessage::Missing("assertion"))?;
    let assertion_id = assertion.attribute("AssertionID").ok_or(BadMessage::Missing("assertion id"))?;
    let assertion_id = escape(assertion_id)
        .map_err(|error| BadMessage::BadValue { what: "assertion id", problem: error.to_string() })?
        .into_owned();
    let copied = document.input_text().get(assertion.range()).ok_or(BadMessage::Missing("assertion"))?;
    let ((created, _), (expires, expires_at)) = lifetime(answer, assertion)?;

    // Our `Security` element declares `wsse` itself.
    let ours = |prefix, uri| {
        (prefix, uri) == (Some("xml"), "http://www.w3.org/XML/1998/namespace") || (prefix, uri) == (Some("wsse"), WSSE)
    };
    let outside = assertion.parent_element().into_iter().flat_map(|parent| parent.namespaces());
    let inherited = outside
        .map(|namespace| (namespace.name(), namespace.uri()))
        .filter(|(prefix, uri)| !ours(*prefix, *uri))
        .map(|(prefix, uri)| (prefix.map(str::to_owned), uri.to_owned()))
        .collect();

    let key = match usage {
        TicketUse::Bearer => None,
        TicketUse::Proof => Some(proof_key(answer, entropy)?),
    };
    let named = |node: &Node<'_, '_>| node.is_element() && node.tag_name().name() == named_by;
    let names: Vec<String> = answer.descendants().filter(named).map(text).filter(|name| !name.is_empty()).collect();
    let name = names.iter().find(|name| name.parse::<SipAddress>().is_ok()).or(names.first()).cloned();
    let assertion = Zeroizing::new(copied.to_owned());
    let ticket = WebTicket { assertion, assertion_id, inherited, created, expires, key };
    Ok(Issued { ticket, expires: expires_at, name })
}

/// Beginning and end, each as it is written and as it is meant. WS-Trust lets `Lifetime` be left out; the assertion has its
/// own conditions then.
fn lifetime(answer: Node<'_, '_>, assertion: Node<'_, '_>) -> Result<(Moment, Moment), BadMessage> {
    const BEGINNING: &str = "beginning of the web ticket";
    const END: &str = "end of the web ticket";
    if let Some(lifetime) = child(answer, "Lifetime") {
        let written = |name, what| child(lifetime, name).map(text).ok_or(BadMessage::Missing(what));
        return Ok((moment(written("Created", BEGINNING)?, BEGINNING)?, moment(written("Expires", END)?, END)?));
    }
    let conditions = child(assertion, "Conditions").ok_or(BadMessage::Missing("lifetime of the web ticket"))?;
    let written = |name, what| conditions.attribute(name).map(str::to_owned).ok_or(BadMessage::Missing(what));
    Ok((moment(written("NotBefore", BEGINNING)?, BEGINNING)?, moment(written("NotOnOrAfter", END)?, END)?))
}

/// A time as it is written and as it is meant; without an offset it is UTC.
type Moment = (String, OffsetDateTime);

fn moment(written: String, what: &'static str) -> Result<Moment, BadMessage> {
    let written = written.trim().to_owned();
    // It is signed as it stands, so it must be its own canonical form.
    if written.chars().any(|c| !c.is_ascii_alphanumeric() && !":.+-".contains(c)) {
        return Err(BadMessage::BadValue { what, problem: "it is not plainly written".to_owned() });
    }
    let parsed = OffsetDateTime::parse(&written, &Rfc3339)
        .or_else(|error| OffsetDateTime::parse(&format!("{written}Z"), &Rfc3339).map_err(|_| error))
        .map_err(|error| BadMessage::BadValue { what, problem: error.to_string() })?;
    Ok((written, parsed))
}

/// From both entropies; or the server's own, where it gives the whole key (WS-Trust 1.3 section 4.4.4).
fn proof_key(answer: Node<'_, '_>, entropy: &Entropy) -> Result<Zeroizing<Vec<u8>>, BadMessage> {
    let secret = |holder: &str| -> Option<Zeroizing<String>> {
        let secret = Zeroizing::new(text(child(child(answer, holder)?, "BinarySecret")?));
        Some(Zeroizing::new(secret.chars().filter(|c| !c.is_ascii_whitespace()).collect()))
    };
    let decode = |secret: Zeroizing<String>, what| match STANDARD.decode(secret.as_bytes()).map(Zeroizing::new) {
        Ok(bytes) if bytes.is_empty() => Err(BadMessage::Missing(what)),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(BadMessage::BadValue { what, problem: error.to_string() }),
    };
    if let Some(whole) = secret("RequestedProofToken") {
        return decode(whole, "proof key");
    }
    let server = secret("Entropy").ok_or(BadMessage::Missing("server entropy"))?;
    let computed = child(answer, "RequestedProofToken").and_then(|token| child(token, "ComputedKey")).map(text);
    if let Some(rule) = computed.filter(|rule| !rule.ends_with("/PSHA1")) {
        let problem = format!("the rule {} is not known", super::diagnostics::one_line(&rule));
        return Err(BadMessage::BadValue { what: "proof key", problem });
    }
    Ok(p_sha1(entropy.0.as_slice(), &decode(server, "server entropy")?, entropy.0.len()))
}

impl WebTicket {
    /// The whole `Security` header: timestamp, assertion, signature, without white space between them. What the assertion
    /// took from around it is declared here; our own elements inside declare what they use themselves.
    pub(super) fn security(&self) -> Result<Zeroizing<String>, ControlCharacter> {
        let mut declared = String::new();
        for (prefix, uri) in &self.inherited {
            let name = prefix.as_ref().map_or_else(|| "xmlns".to_owned(), |prefix| format!("xmlns:{prefix}"));
            declared.push_str(&format!(" {name}=\"{}\"", escape(uri)?));
        }
        let taken = |prefix: &str| self.inherited.iter().any(|(other, _)| other.as_deref() == Some(prefix));
        let own = free("wsse", taken);
        let in_assertion =
            |id: &str| ['"', '\''].iter().any(|quote| self.assertion.contains(&format!("{quote}{id}{quote}")));
        let id = free(USUAL_ID, in_assertion);
        let timestamp = timestamp_with_id(&id, &self.created, &self.expires);
        let signature = self.key.as_ref().map(|key| signature(key, (&id, &timestamp), &self.assertion_id));
        Ok(Zeroizing::new(format!(
            "<{own}:Security xmlns:{own}=\"{WSSE}\"{declared}>{timestamp}{}{}</{own}:Security>",
            self.assertion.as_str(),
            signature.unwrap_or_default()
        )))
    }
}

/// `name`, or with the first number behind it that makes it free.
fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    let mut numbered = (2..).map(|number| format!("{name}-{number}"));
    numbered.find(|name| !taken(name)).expect("a ticket has an end")
}

impl std::fmt::Debug for WebTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebTicket(..)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::names::SAML;
    use super::super::peer::messages::ticket_answer;
    use super::*;
    use proptest::prelude::*;

    pub(in super::super) fn issued() -> Issued {
        let answer = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z");
        read(&answer, &Entropy(Zeroizing::new([7; 32])), TicketUse::Proof, "NameIdentifier").unwrap()
    }

    #[test]
    fn the_assertion_is_copied_byte_for_byte_with_the_declarations_it_took_from_outside() {
        let issued = issued();
        assert!(issued.ticket.assertion.starts_with("<saml:Assertion  MajorVersion='1'"), "odd spelling is kept");
        assert_eq!(issued.name.as_deref(), Some("sip:alice@contoso.example"));
        assert_eq!(issued.expires, time::macros::datetime!(2026-11-22 18:00 UTC));
        let security = issued.ticket.security().unwrap();
        let document = parse(&security).unwrap();
        let assertion = descendant(document.root_element(), "Assertion").unwrap();
        assert_eq!(assertion.tag_name().namespace(), Some(SAML));
    }

    #[test]
    fn an_assertion_that_uses_our_names_for_something_else_travels_with_them() {
        let whole = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z");
        let foreign = whole.replace("<saml:Conditions />", "<wsse:Note xmlns:x='u:x' x:Id='timestamp'/>").replacen(
            "Envelope ",
            "Envelope xmlns:wsse='urn:foreign' ",
            1,
        );
        assert_eq!(foreign.matches("urn:foreign").count() + foreign.matches("'timestamp'").count(), 2);
        let issued = read(&foreign, &Entropy::new(), TicketUse::Proof, "NameIdentifier").unwrap();
        let security = issued.ticket.security().unwrap();
        let document = parse(&security).unwrap();
        let root = document.root_element();
        assert_eq!(root.tag_name().namespace(), Some(WSSE));
        assert_eq!(descendant(root, "Note").unwrap().tag_name().namespace(), Some("urn:foreign"));
        assert_eq!(descendant(root, "SecurityTokenReference").unwrap().tag_name().namespace(), Some(WSSE));
        assert!(security.contains("wsu:Id=\"timestamp-2\"") && security.contains("URI=\"#timestamp-2\""));
    }

    #[test]
    fn a_ticket_without_assertion_lifetime_or_entropy_is_refused() {
        let whole = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z");
        for (name, other) in
            [("AssertionID", "Id"), (":Lifetime", ":Life"), ("Entropy", "Nothing"), ("18:00:00.000Z", "soon")]
        {
            let entropy = Entropy::new();
            let cut = whole.replace(name, other);
            assert!(read(&cut, &entropy, TicketUse::Proof, "NameIdentifier").is_err(), "{name}");
        }
    }

    #[test]
    fn a_ticket_of_other_spelling_is_read() {
        let whole = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z");
        let end = |answer: &str| {
            assert_ne!(answer, whole);
            read(answer, &Entropy::new(), TicketUse::Proof, "NameIdentifier").map(|issued| issued.expires)
        };
        let expected = Ok(time::macros::datetime!(2026-11-22 18:00 UTC));
        assert_eq!(end(&whole.replace("wsu:", "u:").replace(":wsu=", ":u=")), expected);
        assert_eq!(end(&whole.replace("18:00:00.000Z", "18:00:00")), expected, "without an offset");
        assert_eq!(end(&whole.replace("2026-11-22T18:00:00.000Z", "\n 2026-11-22T19:00:00+01:00 ")), expected);
        let conditions = "<saml:Conditions NotBefore='2026-11-22T10:00:00Z' NotOnOrAfter='2026-11-22T18:00:00Z'/>";
        let without = whole.replace(":Lifetime", ":Life").replace("<saml:Conditions />", conditions);
        assert_eq!(end(&without), expected, "by the assertion's conditions");
        assert_eq!(end(&format!("\r\n{whole}")), expected);
    }

    #[test]
    fn a_key_that_the_server_gives_whole_is_taken_and_an_unknown_rule_is_not() {
        let whole = ticket_answer("alice@contoso.example", "2026-11-22T18:00:00.000Z");
        let rule = "<trust:ComputedKey>http://docs.oasis-open.org/ws-sx/ws-trust/200512/CK/PSHA1</trust:ComputedKey>";
        let given = whole.replace(rule, "<trust:BinarySecret>AAEC\nAwQF</trust:BinarySecret>");
        let key = |answer: &str| {
            let issued = read(answer, &Entropy::new(), TicketUse::Proof, "NameIdentifier")?;
            Ok::<_, BadMessage>(issued.ticket.key.map(|key| key.to_vec()))
        };
        assert_eq!(key(&given), Ok(Some(vec![0, 1, 2, 3, 4, 5])));
        assert!(key(&whole.replace("PSHA1", "PSHA9")).is_err());
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
            let _ = read(&String::from_utf8_lossy(&bytes), &Entropy::new(), TicketUse::Proof, "NameIdentifier");
            bytes.truncate(cut);
            let _ = read(&String::from_utf8_lossy(&bytes), &Entropy::new(), TicketUse::Bearer, "NameIdentifier");
        }
    }
}
