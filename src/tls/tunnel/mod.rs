//! A TLS handshake whose records travel elsewhere: inside SIP headers, as TLS-DSK has it ([MS-SIPAE] 3.1).
//!
//! Nothing is ever sent over the TLS that it makes: what is wanted of it is that both sides have proved who they are, and key
//! material that only they have. So the server's certificate is judged as that of the connection around it, before the own
//! key signs, and a handshake in which the own key did not sign is an error.

mod error;
mod key;
#[cfg(feature = "legacy-tls")]
mod legacy;
mod modern;
#[cfg(test)]
mod tests;

pub use error::TunnelError;
pub use key::{ClientIdentity, ClientKey, Scheme, SignError, Signer};

use super::connector::distrust;
use super::judge::Judge;
use super::{Engine, Negotiated, chain};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, Error};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A TLS client handshake, to TLS 1.2 at most, whose records travel elsewhere.
///
/// After an error it is of no more use, and after [`Handshake::finished`] it has nothing more to say.
pub trait Handshake: Send {
    /// Feeds what the peer sent, whole records or parts of them, nothing to begin with; gives what to send. That is empty
    /// where the peer's flight is not whole yet, and at the end. Blocks while the key signs: not for async threads.
    ///
    /// # Errors
    /// Nothing that the engine would still say to the peer, an alert, is sent: the error is for here.
    fn step(&mut self, records: &[u8]) -> Result<Vec<u8>, TunnelError>;

    /// What was agreed, once the peer's Finished is verified.
    fn finished(&self) -> Option<Agreed>;
}

/// What both sides have after the handshake, and nobody else.
#[derive(Clone)]
pub struct Agreed {
    /// 128 bytes by the exporter of RFC 5705 with the label `client EAP encryption` and no context, which up to TLS 1.2 is
    /// the key derivation that [MS-SIPAE] 3.2.5.1 describes.
    pub key_material: Zeroizing<[u8; 128]>,
    /// What messages are signed with from now on.
    pub hash: SignatureHash,
    /// Version and cipher.
    pub negotiated: Negotiated,
    /// The server's certificates as sent, its own first.
    pub peer: Vec<CertificateDer<'static>>,
}

impl std::fmt::Debug for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key_material: _, hash, negotiated, peer } = self;
        write!(f, "Agreed({negotiated}, {hash:?}, {} certificates)", peer.len())
    }
}

/// The hash of the signatures that follow, by the cipher suite of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignatureHash {
    /// Suites that end in `_SHA`, whatever the version of TLS.
    Sha1,
    /// Suites that end in `_SHA256`.
    Sha256,
    /// Suites that end in `_SHA384`.
    Sha384,
}

impl SignatureHash {
    /// By a suite's name as IANA has it. SHA-1 and SHA-384 were seen with real servers; that the last word decides for all
    /// is inferred, and the length of the server's first signature shows it.
    pub fn of_suite(name: &str) -> Option<Self> {
        match name.rsplit_once('_')?.1 {
            "SHA" => Some(Self::Sha1),
            "SHA256" => Some(Self::Sha256),
            "SHA384" => Some(Self::Sha384),
            _ => None,
        }
    }
}

/// The exporter's label ([MS-SIPAE] 3.2.5.1, RFC 5216 2.3).
const LABEL: &str = "client EAP encryption";

/// The longest that all records of a registrar may be together: a chain of certificates makes 4 to 6 kB of them.
const MAX_RECORDS: usize = 256 << 10;

/// Begins a handshake with the registrar that calls itself `target`.
pub(super) fn begin(
    engine: Engine,
    judge: Option<&Arc<Judge>>,
    target: &str,
    identity: &ClientIdentity,
) -> Result<Box<dyn Handshake>, TunnelError> {
    let bad = |_| TunnelError::BadTarget { target: target.to_owned() };
    let name = ServerName::try_from(target.to_owned()).map_err(bad)?;
    let judge = judge.ok_or(TunnelError::NoAnchors)?.clone();
    match engine {
        Engine::Modern => Ok(Box::new(Tunnel::new(modern::Modern::new(judge, name, identity)?, target))),
        #[cfg(feature = "legacy-tls")]
        Engine::Legacy => Ok(Box::new(Tunnel::new(legacy::Legacy::new(judge, name, identity)?, target))),
        #[cfg(not(feature = "legacy-tls"))]
        Engine::Legacy => Err(TunnelError::EngineMissing { target: target.to_owned() }),
    }
}

/// What an engine does with what came: what it answers, and what was agreed if that was the end.
trait Turn: Send {
    fn turn(&mut self, records: &[u8], target: &str) -> Result<(Vec<u8>, Option<Agreed>), TunnelError>;
}

/// What every engine is kept to.
struct Tunnel<E> {
    engine: E,
    target: String,
    received: usize,
    state: State,
}

enum State {
    New,
    Going,
    Finished(Box<Agreed>),
    Failed,
}

impl<E> Tunnel<E> {
    fn new(engine: E, target: &str) -> Self {
        Self { engine, target: target.to_owned(), received: 0, state: State::New }
    }
}

impl<E: Turn> Handshake for Tunnel<E> {
    fn step(&mut self, records: &[u8]) -> Result<Vec<u8>, TunnelError> {
        let target = self.target.clone();
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Going if records.is_empty() => return Err(TunnelError::Silent { target }),
            State::New | State::Going => {}
            ended @ (State::Finished(_) | State::Failed) => {
                self.state = ended;
                return Err(TunnelError::Over { target });
            }
        }
        self.received = self.received.saturating_add(records.len());
        if self.received > MAX_RECORDS {
            return Err(TunnelError::TooLong { target, limit: MAX_RECORDS });
        }
        let (answer, agreed) = self.engine.turn(records, &target)?;
        self.state = agreed.map_or(State::Going, |agreed| State::Finished(Box::new(agreed)));
        Ok(answer)
    }

    fn finished(&self) -> Option<Agreed> {
        match &self.state {
            State::Finished(agreed) => Some(agreed.as_ref().clone()),
            State::New | State::Going | State::Failed => None,
        }
    }
}

/// The judge's refusal of what the registrar presented.
fn untrusted(judge: &Judge, target: &str, presented: Vec<CertificateDer<'static>>, verdict: Error) -> TunnelError {
    let reason = match &verdict {
        Error::InvalidCertificate(error) => {
            let top = chain::walk(&presented, &judge.helping());
            distrust(error, &presented, top, Vec::new())
        }
        _ => super::Distrust::Unfit,
    };
    let presented = presented.iter().map(|certificate| certificate.to_vec()).collect();
    TunnelError::Untrusted { target: target.to_owned(), reason, presented, verdict: Box::new(verdict) }
}

/// What an alert of the registrar means. `agreed` is whether it had chosen a cipher by then: before that, its refusal is of
/// versions and ciphers, and later of the certificate.
fn alert(engine: Engine, target: &str, alert: AlertDescription, agreed: bool, source: SignError) -> TunnelError {
    use AlertDescription as A;
    let target = target.to_owned();
    match alert {
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity if !agreed => {
            TunnelError::NoCommonCipher { target, engine, source }
        }
        other => TunnelError::Alert { target, alert: in_words(other) },
    }
}

/// `certificate revoked` of `CertificateRevoked`.
fn in_words(alert: AlertDescription) -> String {
    if let AlertDescription::Unknown(number) = alert {
        return format!("alert {number}");
    }
    let (mut words, mut before) = (String::new(), ' ');
    for letter in format!("{alert:?}").chars() {
        if letter.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        before = letter;
    }
    words
}
