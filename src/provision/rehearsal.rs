//! The sign-in rehearsal: the user is registered with the certificate that the phone holds, by the key inside the phone, and
//! signed off again.
//!
//! The registrar's client waits on a thread of its own while the key signs. What is to be signed comes from there to here,
//! where the phone is, and goes to the phone: which reads it, judges the server itself, and asks for somebody's consent. So a
//! refusal of the phone stays the phone's, whatever the handshake makes of it.

use super::Stop;
use super::story::full_text;
use crate::credential::{Certificate, KeyKind, SipAddress};
use crate::phone::tether::messages::code;
use crate::phone::{Consent, Driver, HandshakeSigning, Identity, PhoneError};
use crate::registrar::{
    Client, Credential, Endpoint, Facts, Failure, NegotiationError, PORT, Passed, RegistrarError, Registration, Rules,
    Server,
};
use crate::service::ErrorClass;
use crate::tls::tunnel::{ClientIdentity, ClientKey, Scheme, SignError, Signer, TunnelError};
use crate::tls::{Connector, Engine, TlsError};
use crate::world::World;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Where a sign-in is rehearsed, and by which TLS.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// As the pool is reached.
    pub by: Arc<Connector>,
    /// The registrar; nothing: the one in the phone's settings.
    pub registrar: Option<Server>,
}

/// Whose sign-in is rehearsed.
#[derive(Debug)]
pub struct Rehearser<'a> {
    /// The user.
    pub user: &'a SipAddress,
    /// The phone.
    pub identity: &'a Identity,
    /// The certificate in use.
    pub certificate: &'a Certificate,
    /// The registrar in the phone's settings, `host:port`.
    pub registrar: Option<&'a str>,
    /// How the phone's consent is given.
    pub consent: &'a Consent,
}

/// What a rehearsal has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// The user can sign in with what the phone holds.
    Good,
    /// The user cannot.
    Bad,
    /// It could not be found out.
    Unknown,
}

impl Grade {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }
}

/// What the rehearsal of a sign-in showed. No key and no signature is in it.
#[derive(Debug, Clone, Serialize)]
pub struct Rehearsed {
    /// Whether the user can sign in.
    pub grade: Grade,
    /// What was found, for people, in lines.
    pub said: Vec<String>,
    /// What the technician does next.
    pub next_step: Option<String>,
    /// Where: the last server that was spoken to.
    pub registrar: Option<String>,
    /// What the registrar is, by its own word.
    pub product: Option<String>,
    /// How it was signed in.
    pub scheme: Option<String>,
    /// The connection's TLS.
    pub outer_tls: Option<String>,
    /// The TLS inside the sign-in.
    pub inner_tls: Option<String>,
    /// How long the registration was to last, seconds.
    pub expires_seconds: Option<u64>,
    /// Signatures that the phone gave, each with a consent.
    pub signatures: u32,
    /// Whether the user was signed off again; nothing where there was nothing to sign off.
    pub signed_off: Option<bool>,
    /// Each step at the registrar that went well.
    pub steps: Vec<RegistrarStep>,
    /// How long all of it took.
    #[serde(rename = "took_ms", serialize_with = "super::event::milliseconds")]
    pub took: Duration,
}

/// A step at the registrar that went well.
#[derive(Debug, Clone, Serialize)]
pub struct RegistrarStep {
    /// `connect`, `challenge`, `handshake`, `register`, `sign-off`.
    pub step: &'static str,
    /// At which server.
    pub server: String,
    /// What it showed.
    pub said: String,
    /// How long it took.
    #[serde(rename = "took_ms", serialize_with = "super::event::milliseconds")]
    pub took: Duration,
}

impl Rehearsed {
    /// All of it in one line.
    pub fn line(&self) -> String {
        self.said.join("; ")
    }

    /// Nothing was tried.
    pub(crate) fn not_tried(why: impl Into<String>, next_step: impl Into<String>) -> Self {
        Self {
            grade: Grade::Unknown,
            said: vec![why.into()],
            next_step: Some(next_step.into()),
            registrar: None,
            product: None,
            scheme: None,
            outer_tls: None,
            inner_tls: None,
            expires_seconds: None,
            signatures: 0,
            signed_off: None,
            steps: Vec::new(),
            took: Duration::ZERO,
        }
    }
}

/// What is done where this computer cannot rehearse.
const BY_ITSELF: &str = "have the phone sign in by itself over its network, and read its log: tethercert info";

/// Registers as the phone would, and signs off again. `tell` hears what is waited for. Nothing that goes wrong is an error:
/// it is what was found.
pub async fn rehearse<D: Driver>(
    rehearsal: &Rehearsal,
    who: &Rehearser<'_>,
    phone: &mut D,
    tell: &mut (dyn FnMut(&str) + Send),
    stop: &Stop,
) -> Rehearsed {
    let server = match ready(rehearsal, who) {
        Ok(server) => server,
        Err(not_tried) => return *not_tried,
    };
    let started = Instant::now();
    let mut rehearsed = tokio::select! {
        rehearsed = at(server, rehearsal, who, phone, tell) => rehearsed,
        () = stop.asked() => {
            Rehearsed::not_tried("it was stopped; the registration, if there is one, ends by itself", "repeat it: tethercert verify --sign-in")
        }
    };
    rehearsed.took = started.elapsed();
    rehearsed
}

/// The registrar, if everything is there that a rehearsal needs.
fn ready(rehearsal: &Rehearsal, who: &Rehearser<'_>) -> Result<Server, Box<Rehearsed>> {
    let not_tried = |why: &str, next: &str| Err(Box::new(Rehearsed::not_tried(why, next)));
    if rehearsal.by.engine() == Engine::Legacy {
        let why = "this pool is reached by old TLS, whose engine cannot use a key inside the phone";
        return not_tried(why, BY_ITSELF);
    }
    if !who.identity.abilities.handshake {
        return not_tried("this phone does not sign a sign-in over the cable", BY_ITSELF);
    }
    let configured = rehearsal.registrar.clone();
    let Some(server) = configured.or_else(|| who.registrar.and_then(server_named)) else {
        return not_tried(
            "no registrar is known: neither by option or pool nor in the phone's settings",
            "give it: --registrar sip.contoso.example:5061",
        );
    };
    Ok(server)
}

/// `host:port`, `[address]:port` or `host`.
fn server_named(text: &str) -> Option<Server> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()?),
        Some(_) | None => (text, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Server { host: host.to_owned(), port, at: None })
}

async fn at<D: Driver>(
    server: Server,
    rehearsal: &Rehearsal,
    who: &Rehearser<'_>,
    phone: &mut D,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Rehearsed {
    let (asks, mut asked) = mpsc::channel(1);
    let key = ClientKey::Elsewhere(Arc::new(KeyInPhone { scheme: scheme(who.certificate), asks }));
    let certificate = CertificateDer::from(who.certificate.der().to_vec());
    let credential = Credential::Certificate(ClientIdentity { certificate, key });
    let endpoint = Endpoint::of_device(who.user.clone(), who.identity.device);
    let client = Client::new(rehearsal.by.clone(), endpoint, vec![credential], Rules::default(), World::system());
    let client = Arc::new(client);

    tell(&format!("{} at {}", who.user, place(&server)));
    let mut signatures = 0;
    let (mut nobody, mut again) = (|_: &Passed| {}, |_: &Passed| {});
    let mut registering = Box::pin(client.register(&server, &mut nobody));
    let registered = loop {
        let ask: Ask = tokio::select! {
            biased;
            registered = &mut registering => break registered,
            Some(ask) = asked.recv() => ask,
        };
        tell(match who.consent {
            Consent::KeyPress => {
                "press the key that the phone shows: it signs the sign-in, with the key that never leaves it"
            }
            Consent::NotWanted | Consent::Code(_) => "the phone signs the sign-in, with the key that never leaves it",
        });
        let signing = HandshakeSigning { certificate: who.certificate, messages: &ask.messages, consent: who.consent };
        match phone.sign_handshake(&signing).await {
            Ok(signature) => {
                signatures += 1;
                // Whoever asked may have gone meanwhile; that comes out as the registration's end.
                let _ = ask.signed.send(signature);
            }
            // The handshake would make an error of its own of it.
            Err(error) => return refused_by_the_phone(&error, &server, signatures),
        }
    };
    drop(registering);
    match registered {
        Ok(registration) => signed_in(registration, who.user, signatures, &mut again).await,
        Err(failure) => failed(&failure, signatures),
    }
}

async fn signed_in(
    registration: Registration,
    user: &SipAddress,
    signatures: u32,
    watch: crate::registrar::Watch<'_>,
) -> Rehearsed {
    let facts = registration.facts().clone();
    let lasts = facts.expires.unwrap_or_default().as_secs();
    let (steps, signed_off) = match registration.sign_off(watch).await {
        Ok(signed_off) => (signed_off.passed, None),
        Err(failure) => (failure.passed.clone(), Some(full_text(&failure.error))),
    };
    let shown = shown(&facts, &steps, signatures);
    let by = [shown.product.clone(), shown.scheme.as_ref().map(|scheme| format!("by {scheme}"))];
    let by: Vec<String> = by.into_iter().flatten().collect();
    let mut said = vec![format!("{user} at {}", shown.registrar.as_deref().unwrap_or_default()), by.join(", ")];
    said.extend(shown.inner_tls.as_ref().map(|inner| format!("inside {inner}")));
    said.push("signed in the phone: its key never left it".to_owned());
    said.push(match &signed_off {
        None => format!("registered for {lasts} s, and signed off again"),
        Some(error) => format!("registered; not signed off ({error}), which ends by itself in {lasts} s"),
    });
    said.extend(facts.skew());
    Rehearsed { grade: Grade::Good, said, signed_off: Some(signed_off.is_none()), ..shown }
}

fn failed(failure: &Failure, signatures: u32) -> Rehearsed {
    let Failure { server, error, passed, facts, .. } = failure;
    let next = match error {
        // Who holds the key is the phone, and what it said is known here.
        RegistrarError::Negotiation { source: NegotiationError::Tunnel(TunnelError::KeyOutOfReach), .. } => BY_ITSELF,
        error => error.next_step(),
    };
    let mut said = vec![full_text(error)];
    said.extend(facts.skew());
    Rehearsed {
        grade: grade(error),
        said,
        next_step: Some(next.to_owned()),
        registrar: Some(place(server)),
        ..shown(facts, passed, signatures)
    }
}

/// What a failure says of the user's sign-in: that the way there is closed says nothing of it.
fn grade(error: &RegistrarError) -> Grade {
    match error {
        RegistrarError::Connection(TlsError::Untrusted { .. }) => Grade::Bad,
        RegistrarError::Connection(_) => Grade::Unknown,
        RegistrarError::Negotiation { source: NegotiationError::Tunnel(error), .. } => match error {
            TunnelError::NoCommonCipher { .. }
            | TunnelError::KeyOutOfReach
            | TunnelError::EngineMissing { .. }
            | TunnelError::NoAnchors
            | TunnelError::NotSigned(_) => Grade::Unknown,
            _ => Grade::Bad,
        },
        error => match error.class() {
            ErrorClass::Temporary | ErrorClass::Unknown | ErrorClass::Policy | ErrorClass::NeedsPerson => {
                Grade::Unknown
            }
            ErrorClass::Failed => Grade::Bad,
        },
    }
}

fn refused_by_the_phone(error: &PhoneError, server: &Server, signatures: u32) -> Rehearsed {
    let grade = match error {
        // The phone would not sign in there by itself either.
        PhoneError::Refused { number: code::HANDSHAKE_REFUSED, .. } | PhoneError::NotSignedIn(_) => Grade::Bad,
        _ => Grade::Unknown,
    };
    Rehearsed {
        grade,
        registrar: Some(place(server)),
        signatures,
        ..Rehearsed::not_tried(full_text(error), error.next_step())
    }
}

/// The facts, without a judgement.
fn shown(facts: &Facts, passed: &[Passed], signatures: u32) -> Rehearsed {
    let version = facts.version.map(|version| format!(" version {version}")).unwrap_or_default();
    Rehearsed {
        next_step: None,
        registrar: facts.server.as_ref().map(place),
        product: facts.product().map(str::to_owned).or_else(|| facts.kind.clone()),
        scheme: facts.scheme.map(|scheme| format!("{scheme}{version}")),
        outer_tls: facts.outer.as_ref().map(ToString::to_string),
        inner_tls: facts.inner.as_ref().map(ToString::to_string),
        expires_seconds: facts.expires.map(|expires| expires.as_secs()),
        signatures,
        steps: passed.iter().map(step).collect(),
        ..Rehearsed::not_tried("", "")
    }
}

/// The server by its name; by which of its addresses is nothing to the reader.
fn place(server: &Server) -> String {
    Server { at: None, ..server.clone() }.to_string()
}

fn step(passed: &Passed) -> RegistrarStep {
    RegistrarStep {
        step: passed.stage.name(),
        server: place(&passed.server),
        said: passed.said.clone(),
        took: passed.took,
    }
}

/// What the phone signs with; its driver asks by the same rule.
fn scheme(certificate: &Certificate) -> Scheme {
    match certificate.key_kind().key_kind() {
        Some(KeyKind::P256) => Scheme::EcdsaP256Sha256,
        Some(KeyKind::Rsa2048 | KeyKind::Rsa3072) | None => Scheme::RsaPkcs1Sha256,
    }
}

/// The key inside the phone, as the handshake's thread sees it: a question that is answered elsewhere.
struct KeyInPhone {
    scheme: Scheme,
    asks: mpsc::Sender<Ask>,
}

/// What is to be signed, and where the signature goes. Dropped, it says that there is none.
struct Ask {
    messages: Vec<u8>,
    signed: oneshot::Sender<Vec<u8>>,
}

/// Whoever has the phone has gone.
#[derive(Debug, thiserror::Error)]
#[error("nobody asks the phone any more")]
struct NobodyAsks;

impl Signer for KeyInPhone {
    fn scheme(&self) -> Scheme {
        self.scheme
    }

    fn sign(&self, messages: &[u8]) -> Result<Vec<u8>, SignError> {
        let (signed, answer) = oneshot::channel();
        self.asks.blocking_send(Ask { messages: messages.to_vec(), signed }).map_err(|_| NobodyAsks)?;
        Ok(answer.blocking_recv().map_err(|_| NobodyAsks)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrar_in_a_phones_settings_may_have_a_port() {
        let named = |text| server_named(text).map(|server| (server.host, server.port));
        assert_eq!(named("sip.contoso.example:5062"), Some(("sip.contoso.example".into(), 5062)));
        assert_eq!(named("sip.contoso.example"), Some(("sip.contoso.example".into(), 5061)));
        assert_eq!(named("[2001:db8::1]:5061"), Some(("2001:db8::1".into(), 5061)));
        assert_eq!((named(":5061"), named("sip.contoso.example:x")), (None, None));
    }

    #[test]
    fn a_signature_that_nobody_gives_is_an_error_of_its_own() {
        let (asks, asked) = mpsc::channel(1);
        let key = KeyInPhone { scheme: Scheme::RsaPkcs1Sha256, asks };
        drop(asked);
        assert!(key.sign(b"messages").unwrap_err().downcast_ref::<NobodyAsks>().is_some());
    }
}
