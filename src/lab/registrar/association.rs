//! A security association: from the first record of its handshake to its end ([MS-SIPAE] section 3.1; [MS-SIP] section 3.1).

use super::faults::{Faults, SignatureFault};
use super::ntlm::{Challenge, Signer};
use super::record::Proof;
use super::signature::{Fields, Hash, Party, asserted, hex, is_hex_of};
use super::tunnel::Tunnel;
use super::window::Window;
use crate::credential::SipAddress;
use crate::lab::keys::random;
use crate::registrar::challenge::{Authentication, Place, REALM, Scheme};
use crate::registrar::message::Message;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// What one connection knows of one endpoint's sign-in.
pub(super) struct Association {
    pub(super) scheme: Scheme,
    /// Its name: 8 hexadecimal digits.
    pub(super) opaque: String,
    /// The endpoint that began it; nobody else goes on with it.
    pub(super) epid: String,
    /// The version of the challenge that it began with.
    pub(super) version: u32,
    pub(super) stage: Stage,
}

/// How far it is.
pub(super) enum Stage {
    Tunnel(Box<Tunnel>),
    Challenged(Challenge),
    Established(Box<Established>),
}

/// What there is after the handshake.
pub(super) struct Established {
    pub(super) user: SipAddress,
    pub(super) proof: Proof,
    pub(super) keys: Keys,
    /// When it ends.
    pub(super) until: OffsetDateTime,
    /// In version 3 the message that ends the handshake is not signed, and that one alone.
    pub(super) owes_unsigned: bool,
    /// Whether the client was served by it.
    pub(super) served: bool,
    seen: Window,
    next: u32,
}

/// What signs and verifies.
pub(super) enum Keys {
    Dsk { client: Zeroizing<[u8; 32]>, server: Zeroizing<[u8; 32]>, hash: Hash },
    Ntlm(Signer),
}

/// Why a signed message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distrust {
    /// Its number came before: somebody plays it again. It is dropped without a word.
    Replayed,
    /// Its signature is wrong, or its number is none: the association is compromised.
    Wrong(&'static str),
}

impl Association {
    pub(super) fn new(scheme: Scheme, epid: &str, faults: &Faults, stage: Stage) -> Self {
        let version = if faults.version_3 { 3 } else { 4 };
        Self { scheme, opaque: hex(&random::<4>()), epid: epid.to_owned(), version, stage }
    }
}

impl Established {
    pub(super) fn new(user: SipAddress, proof: Proof, keys: Keys, until: OffsetDateTime) -> Self {
        let (owes_unsigned, served) = (false, false);
        Self { user, proof, keys, until, owes_unsigned, served, seen: Window::default(), next: 1 }
    }

    /// The hash of the signatures, where it was the cipher suite's choice.
    pub(super) fn hash(&self) -> Option<Hash> {
        match self.keys {
            Keys::Dsk { hash, .. } => Some(hash),
            Keys::Ntlm(_) => None,
        }
    }

    /// Believes a request by its signature: that first, and its number after.
    pub(super) fn believe(&mut self, request: &Message, given: &Authentication) -> Result<(), Distrust> {
        let value = |name| given.get(name).unwrap_or_default();
        let text = fields(request, given, value("crand"), value("cnum")).text();
        let right = match &self.keys {
            Keys::Dsk { client, hash, .. } => is_hex_of(value("response"), &hash.sign(&**client, &text)),
            Keys::Ntlm(signer) => signer.verifies(&text, value("response")),
        };
        if !right {
            return Err(Distrust::Wrong("the signature is wrong"));
        }
        let number = given.number("cnum").ok().flatten().filter(|number| *number > 0);
        let number = number.ok_or(Distrust::Wrong("cnum is no number"))?;
        if self.seen.takes(number.into()) { Ok(()) } else { Err(Distrust::Replayed) }
    }

    /// Adds the header with the server's signature, which goes over what the answer has by now.
    pub(super) fn sign(
        &mut self,
        answer: Message,
        (scheme, opaque, version): (Scheme, &str, u32),
        target: &str,
        place: Place,
        fault: SignatureFault,
    ) -> Message {
        if fault == SignatureFault::Missing {
            return answer;
        }
        let (random, number) = (hex(&random::<4>()), self.next.to_string());
        if fault != SignatureFault::Repeated {
            self.next = self.next.wrapping_add(1);
        }
        let info = Authentication::new(scheme.name())
            .with("qop", "auth")
            .with("opaque", opaque)
            .with("srand", &random)
            .with("snum", &number);
        let named = Authentication::new(scheme.name()).with("realm", REALM).with("targetname", target);
        let text = fields(&answer, &named, &random, &number).text();
        let text = if fault == SignatureFault::Wrong { format!("{text}<of another message>") } else { text };
        let signature = match &self.keys {
            Keys::Dsk { server, hash, .. } => hex(&hash.sign(&**server, &text)),
            Keys::Ntlm(signer) => signer.sign(&text),
        };
        let info = info.with("rspauth", &signature).with("targetname", target).with("realm", REALM);
        answer.with(place.info_header(), &info.with_bare("version", version).to_string())
    }
}

/// What is signed of a message.
fn fields<'a>(message: &'a Message, named: &'a Authentication, random: &'a str, number: &'a str) -> Fields<'a> {
    let header = |name| message.header(name).unwrap_or_default();
    let (sequence, method) = header("CSeq").split_once([' ', '\t']).unwrap_or_default();
    Fields {
        scheme: named.scheme_name(),
        random,
        number,
        realm: named.get("realm").unwrap_or_default(),
        target: named.get("targetname").unwrap_or_default(),
        call_id: header("Call-ID"),
        sequence,
        method: method.trim(),
        from: Party::read(header("From")),
        to: Party::read(header("To")),
        asserted: asserted(message.headers.all("P-Asserted-Identity")),
        expires: header("Expires"),
        status: message.status(),
    }
}
