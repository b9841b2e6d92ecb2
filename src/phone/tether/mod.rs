//! The open Tether Device Protocol (docs/tether-protocol.md), in layers: [`frames`] and [`messages`] are bytes to types,
//! [`session`] and [`binding`] the cryptography, `exchange` one message and its answer, this file the [`Driver`].

pub mod binding;
mod channel;
mod endorsing;
#[cfg(test)]
mod examples;
mod exchange;
pub mod frames;
pub mod messages;
mod proof;
mod reading;
pub mod session;
mod signing;
#[cfg(test)]
mod tests;

pub use session::{HostKey, HostKeyError};

use super::{
    Consent, Driver, Endorsed, Endorsing, HandshakeSigning, Identified, LogLine, Meant, Parting, PhoneError,
    PhoneState, Possession, Preparation, Prepared, ProvedKeys, ServerTrust, ShortCode, Step, Traffic, TransactionId,
};
use crate::credential::{Certificate, Expected, Fingerprint, KeyKind, SigningRequest};
use crate::tape::Tape;
use crate::usb::Link;
use crate::world::World;
use binding::Side;
use channel::Channel;
use exchange::{Exchange, shown};
use messages::{
    AnchorPage, BAD, Checked, DerMap, GOOD, KeyMade, LogPage, Operation, Outcome, PossessionMap, Revealed, SettingsMap,
    State,
};
use minicbor::bytes::ByteVec;
use secrecy::ExposeSecret;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Class, subclass and protocol of the interface, by which a phone is found and opened.
pub const INTERFACE: (u8, u8, u8) = (frames::INTERFACE_CLASS, frames::INTERFACE_SUBCLASS, frames::INTERFACE_PROTOCOL);

/// What the driver knows of this host and of makers.
#[derive(Clone)]
pub struct Host {
    /// Its static key.
    pub key: Arc<HostKey>,
    /// What phones call it, at most 32 characters.
    pub label: String,
    /// Roots of the makers that the phone's definition names whole.
    pub maker_roots: Vec<Certificate>,
    /// All of them by fingerprint; a root that is named by its fingerprint alone comes with the phone's chain.
    pub maker_root_fingerprints: Vec<Fingerprint>,
}

/// A phone that speaks the protocol.
pub struct Tether {
    channel: Channel,
    host: Host,
    world: World,
    /// What the phone committed to, for the short code.
    commitment: [u8; 32],
    vouched: bool,
    /// Which phone is meant: after the first session, the one that it was with.
    meant: Meant,
}

impl Tether {
    /// Takes an open interface.
    pub async fn new(link: Link, host: Host) -> Result<Self, PhoneError> {
        let exchange = Exchange::start(link).await?;
        Ok(Self::with(Channel::cable(exchange), host, World::system()))
    }

    /// The phone of a tape that plays: it answers what it answered then.
    pub fn replayed(tape: &Tape, host: Host) -> Self {
        Self::with(Channel::tape(tape.clone()), host, World::of(tape))
    }

    fn with(channel: Channel, host: Host, world: World) -> Self {
        Self { channel, host, world, commitment: [0; 32], vouched: false, meant: Meant::default() }
    }

    /// Says which phone is meant: another one that answers is an error.
    pub fn means(&mut self, meant: Meant) {
        self.meant = meant;
    }

    /// Which phone is meant.
    pub fn meant(&self) -> &Meant {
        &self.meant
    }

    /// From here on all that is said, and the time and the random bytes that go into it, is noted on the tape.
    pub fn record_on(&mut self, tape: &Tape) {
        self.channel.record_on(tape);
        self.world = World::of(tape);
    }

    /// What this host is to the phone.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Sends a request and gives the answers of all its operations; the first refusal is the error.
    /// A cable or a session that fails is told of the last operation: it is what the others are for.
    async fn request(&mut self, operations: &[(Step, Operation)]) -> Result<Vec<Vec<u8>>, PhoneError> {
        let during = operations.last().map_or(Step::Look, |(step, _)| *step);
        let plain: Vec<Operation> = operations.iter().map(|(_, operation)| operation.clone()).collect();
        let answer = self.channel.request(&plain, during).await?;
        let outcomes = channel::outcomes(&answer, during)?;

        let mut answers = Vec::new();
        for (outcome, (step, _)) in outcomes.into_iter().zip(operations) {
            match outcome {
                Outcome::Done(answer) => answers.push(answer),
                Outcome::Failed(number, problem) => {
                    let text = shown(&problem.text);
                    let tries_left = problem.tries_left;
                    return Err(PhoneError::Refused { during: *step, number, text, tries_left });
                }
            }
        }
        if answers.len() != operations.len() {
            let what = format!("{} answers to {} operations", answers.len(), operations.len());
            return Err(PhoneError::Protocol { during, what });
        }
        Ok(answers)
    }

    async fn one(&mut self, step: Step, operation: Operation) -> Result<Vec<u8>, PhoneError> {
        let mut answers = self.request(&[(step, operation)]).await?;
        answers.pop().ok_or_else(|| PhoneError::Protocol { during: step, what: "no answer".into() })
    }

    /// The rest of the anchors, when they did not fit into the first page.
    async fn all_anchors(&mut self, first: AnchorPage) -> Result<Vec<messages::AnchorMap>, PhoneError> {
        let mut anchors = first.anchors;
        if usize::from(first.total) > MOST_ANCHORS {
            let what = format!("it says that it holds {} trust anchors", first.total);
            return Err(PhoneError::Protocol { during: Step::Look, what });
        }
        while anchors.len() < usize::from(first.total) {
            let start = anchors.len() as u64;
            let page: AnchorPage = read(&self.one(Step::Look, Operation::Anchors { start }).await?, Step::Look)?;
            if page.anchors.is_empty() {
                let what = "the list of trust anchors ends before its own total".into();
                return Err(PhoneError::Protocol { during: Step::Look, what });
            }
            anchors.extend(page.anchors);
        }
        Ok(anchors)
    }

    fn consent(&self, consent: &Consent) -> Result<Option<Operation>, PhoneError> {
        match consent {
            Consent::NotWanted => Ok(None),
            Consent::KeyPress => Ok(Some(Operation::Consent { code: None })),
            Consent::Code(_) if !self.vouched => Err(PhoneError::CodeWithheld),
            Consent::Code(code) => Ok(Some(Operation::Consent { code: Some(code.expose_secret().to_owned()) })),
        }
    }

    /// Also a phone that wants no consent, or knows this host, signs once for each.
    fn consent_to_sign(&self, consent: &Consent) -> Result<Option<Operation>, PhoneError> {
        match consent {
            Consent::NotWanted => Ok(Some(Operation::Consent { code: None })),
            wanted => self.consent(wanted),
        }
    }

    fn staged(transaction: TransactionId, role: u64, certificate: &Certificate) -> (Step, Operation) {
        let operation = Operation::Stage {
            id: (*transaction.as_bytes()).into(),
            role,
            fingerprint: (*certificate.fingerprint().as_bytes()).into(),
            certificate: certificate.der().to_vec().into(),
        };
        (Step::Stage, operation)
    }

    fn check(transaction: TransactionId, trust: &ServerTrust) -> (Step, Operation) {
        let operation = Operation::Check {
            id: (*transaction.as_bytes()).into(),
            server_chain: trust.presented.iter().map(|c| ByteVec::from(c.der().to_vec())).collect(),
            server_name: trust.server_name.clone(),
        };
        (Step::Check, operation)
    }
}

impl Driver for Tether {
    async fn identify(&mut self) -> Result<Identified, PhoneError> {
        let nonce = self.world.random("nonce of the short code");
        let channel::Opened { answer, handshake_hash, phone_key, .. } =
            self.channel.open(&self.host.key, &self.host.label, nonce).await?;
        let identity = self.met(&answer, &handshake_hash, &phone_key);
        if identity.is_err() {
            self.channel.forget();
        }
        identity
    }

    async fn look(&mut self, attention: Duration) -> Result<PhoneState, PhoneError> {
        let mut operations = vec![(Step::Look, Operation::State {}), (Step::Look, Operation::Anchors { start: 0 })];
        if !attention.is_zero() {
            let seconds = attention.as_secs().min(120);
            operations.push((Step::Look, Operation::Attention { seconds }));
        }
        let answers = self.request(&operations).await?;
        let state: State = read(&answers[0], Step::Look)?;
        let anchors = self.all_anchors(read(&answers[1], Step::Look)?).await?;
        reading::state(state, anchors)
    }

    async fn read_certificate(&mut self, fingerprint: Fingerprint) -> Result<Certificate, PhoneError> {
        let operation = Operation::ReadCertificate { fingerprint: (*fingerprint.as_bytes()).into() };
        let answer: DerMap = read(&self.one(Step::Look, operation).await?, Step::Look)?;
        let certificate = Certificate::from_der(&answer.der).map_err(PhoneError::Certificate)?;
        if certificate.fingerprint() != fingerprint {
            let what = "it gave another certificate than the one asked for".into();
            return Err(PhoneError::Protocol { during: Step::Look, what });
        }
        Ok(certificate)
    }

    async fn show_code(&mut self) -> Result<ShortCode, PhoneError> {
        let session = self.channel.handshake_hash().zip(self.channel.nonce());
        let (hash, nonce) = session.ok_or_else(|| no_session(Step::ShowCode))?;
        let operation = Operation::ShowCode { nonce: nonce.into() };
        let revealed: Revealed = read(&self.one(Step::ShowCode, operation).await?, Step::ShowCode)?;
        if binding::commitment(Side::Phone, &revealed.nonce) != self.commitment {
            self.channel.forget();
            return Err(PhoneError::BrokenCommitment);
        }
        Ok(ShortCode::new(&hash, &nonce, &revealed.nonce))
    }

    fn code_was_compared(&mut self) {
        self.vouched = true;
    }

    async fn attention(&mut self, time: Duration) -> Result<(), PhoneError> {
        let seconds = time.as_secs().min(120);
        self.one(Step::Look, Operation::Attention { seconds }).await.map(|_| ())
    }

    async fn prepare(&mut self, preparation: &Preparation) -> Result<Prepared, PhoneError> {
        let id = (*preparation.transaction.as_bytes()).into();
        let common_name = preparation.user.as_str().to_owned();
        let mut operations = Vec::new();
        if let Some(consent) = self.consent(&preparation.consent)? {
            operations.push((Step::Consent, consent));
        }
        if let Some(pending) = preparation.gives_up {
            operations.push((Step::Abort, Operation::Abort { id: (*pending.as_bytes()).into() }));
        }
        let replaces = preparation.replaces.map(|fingerprint| (*fingerprint.as_bytes()).into());
        operations.push((Step::Begin, Operation::Begin { id, user: common_name.clone(), replaces }));
        operations.push((Step::MakeKey, Operation::MakeKey { id, kind: reading::kind_number(preparation.key).into() }));
        let request = Operation::SigningRequest { id, common_name: common_name.clone(), hash: 0 };
        operations.push((Step::SigningRequest, request));

        let answers = self.request(&operations).await?;
        let [.., made, request] = answers.as_slice() else {
            return Err(PhoneError::Protocol { during: Step::MakeKey, what: "too few answers".into() });
        };
        let made: KeyMade = read(made, Step::MakeKey)?;
        let request: DerMap = read(request, Step::SigningRequest)?;
        let request = SigningRequest::from_der(&request.der).map_err(PhoneError::Request)?;
        let expected = Expected { kind: preparation.key, common_name: &common_name };
        request.check(&expected).map_err(PhoneError::WrongRequest)?;
        if request.key_id().as_bytes() != &*made.key {
            let what = "its request holds another key than the one it made".into();
            return Err(PhoneError::Protocol { during: Step::SigningRequest, what });
        }
        Ok(Prepared { request, key_took: Duration::from_millis(made.took_ms.into()) })
    }

    async fn stage_trust(
        &mut self,
        transaction: TransactionId,
        trust: &ServerTrust,
        set_clock: Option<time::Duration>,
    ) -> Result<Option<OffsetDateTime>, PhoneError> {
        let clock = set_clock.and_then(|ahead| self.world.now().checked_add(ahead));
        let set = clock.map(|time| (Step::Clock, Operation::SetClock { time: time.unix_timestamp() }));
        let anchors = trust.anchors.iter().map(|anchor| Self::staged(transaction, 2, anchor));
        let between = trust.intermediates.iter().map(|between| Self::staged(transaction, 1, between));
        let mut operations: Vec<_> = set.into_iter().chain(anchors).chain(between).collect();
        let settings = SettingsMap {
            sip_uri: trust.settings.sip_uri.clone(),
            registrar: trust.settings.registrar.clone(),
            web_services: trust.settings.web_services.clone(),
        };
        let id = (*transaction.as_bytes()).into();
        operations.push((Step::Stage, Operation::Settings { id, settings }));
        operations.push(Self::check(transaction, trust));
        let answers = self.request_in_pieces(operations).await?;
        let checked: Checked = read(answers.last().map(Vec::as_slice).unwrap_or_default(), Step::Check)?;
        match checked.server {
            GOOD => Ok(clock),
            _ => Err(PhoneError::CheckBad(verdict_text(&checked))),
        }
    }

    async fn install(
        &mut self,
        transaction: TransactionId,
        leaf: &Certificate,
        trust: &ServerTrust,
    ) -> Result<(), PhoneError> {
        let id = (*transaction.as_bytes()).into();
        let operations = vec![
            Self::staged(transaction, 0, leaf),
            Self::check(transaction, trust),
            (Step::Commit, Operation::Commit { id }),
        ];
        // The phone itself refuses to commit what its check does not find good, so one exchange serves for all three.
        let answers = match self.request_in_pieces(operations).await {
            Ok(answers) => answers,
            Err(PhoneError::Refused { during: Step::Commit, number: messages::code::NOT_CHECKED, .. }) => {
                let checked: Checked =
                    read(&self.one(Step::Check, Self::check(transaction, trust).1).await?, Step::Check)?;
                return Err(PhoneError::CheckBad(verdict_text(&checked)));
            }
            Err(error) => return Err(error),
        };
        let [.., checked, committed] = answers.as_slice() else {
            return Err(PhoneError::Protocol { during: Step::Commit, what: "too few answers".into() });
        };
        let checked: Checked = read(checked, Step::Check)?;
        if checked.key != GOOD || checked.dates != GOOD || checked.user == BAD || checked.server == BAD {
            let what = format!("it committed what its own check had found bad: {}", verdict_text(&checked));
            return Err(PhoneError::Protocol { during: Step::Commit, what });
        }
        let committed: messages::Committed = read(committed, Step::Commit)?;
        if &*committed.fingerprint != leaf.fingerprint().as_bytes() {
            let what = "it says that it committed another certificate".into();
            return Err(PhoneError::Protocol { during: Step::Commit, what });
        }
        Ok(())
    }

    async fn endorse(&mut self, endorsing: &Endorsing) -> Result<Endorsed, PhoneError> {
        self.have_endorsed(endorsing).await
    }

    async fn sign_handshake(&mut self, signing: &HandshakeSigning<'_>) -> Result<Vec<u8>, PhoneError> {
        self.have_signed(signing).await
    }

    async fn prove(&mut self, leaf: &Certificate) -> Result<(Possession, PhoneState), PhoneError> {
        let during = Step::Prove;
        let nonce: [u8; 32] = self.world.random("challenge");
        let hash = self.channel.handshake_hash().ok_or_else(|| no_session(during))?;
        let operations = [
            (during, Operation::Prove { nonce: nonce.into() }),
            (during, Operation::State {}),
            (during, Operation::Anchors { start: 0 }),
        ];
        let answers = self.request(&operations).await?;
        let possession: PossessionMap = read(&answers[0], during)?;
        let state: State = read(&answers[1], during)?;
        let anchors = self.all_anchors(read(&answers[2], during)?).await?;
        proof::verify_possession(&possession, &hash, &nonce, leaf)?;
        Ok((Possession { certificate: leaf.fingerprint() }, reading::state(state, anchors)?))
    }

    async fn abort(&mut self, transaction: TransactionId) -> Result<(), PhoneError> {
        let id = (*transaction.as_bytes()).into();
        self.one(Step::Abort, Operation::Abort { id }).await.map(|_| ())
    }

    async fn leave(&mut self, parting: Parting) -> Result<(), PhoneError> {
        let last = match parting {
            Parting::Leave => return self.channel.end().await,
            Parting::SignIn => Operation::SignIn {},
            Parting::Restart => Operation::Restart {},
        };
        self.request(&[(Step::Leave, last), (Step::Leave, Operation::Leave {})]).await?;
        self.channel.forget();
        Ok(())
    }

    async fn log(&mut self, start: u32) -> Result<(Vec<LogLine>, u32), PhoneError> {
        let page: LogPage = read(&self.one(Step::Log, Operation::Log { start: start.into() }).await?, Step::Log)?;
        Ok((page.entries.iter().map(reading::log_line).collect(), page.end))
    }

    fn traffic(&self) -> Traffic {
        self.channel.traffic()
    }
}

impl Tether {
    /// Who answered, and whether it is the phone that is meant.
    fn met(
        &mut self,
        answer: &messages::OpenAnswer,
        handshake_hash: &[u8; 32],
        phone_key: &[u8],
    ) -> Result<Identified, PhoneError> {
        let identity = reading::identity(&answer.identity)?;
        let now = self.world.now();
        let (authenticity, factory) = proof::judge(answer.proof.as_ref(), handshake_hash, &identity, &self.host, now);
        let keys = ProvedKeys { session: Fingerprint::of(phone_key), factory };
        if let Some(what) = self.meant.differs(&identity, &keys) {
            return Err(PhoneError::AnotherPhone { what });
        }
        self.meant.keys = Some(keys);
        self.commitment = *answer.commitment;
        self.vouched = authenticity.is_vouched();
        Ok(Identified { identity, authenticity, keys })
    }

    /// Sends operations in as few requests as the phone's limits allow, and gives all their answers.
    async fn request_in_pieces(&mut self, operations: Vec<(Step, Operation)>) -> Result<Vec<Vec<u8>>, PhoneError> {
        let room = self.channel.max_plain_bytes();
        let (mut answers, mut piece, mut bytes) = (Vec::new(), Vec::new(), REQUEST_OVERHEAD);
        for operation in operations {
            let length = messages::encode(&operation.1).len();
            if !piece.is_empty() && (bytes + length > room || piece.len() == messages::MAX_OPERATIONS) {
                answers.extend(self.request(&piece).await?);
                piece.clear();
                bytes = REQUEST_OVERHEAD;
            }
            bytes += length;
            piece.push(operation);
        }
        answers.extend(self.request(&piece).await?);
        Ok(answers)
    }
}

/// How many trust anchors a phone may have; browsers have some 150.
const MOST_ANCHORS: usize = 1024;
/// CBOR around the operations of a request: a map with one key, an array of up to 16.
const REQUEST_OVERHEAD: usize = 3;

fn verdict_text(checked: &Checked) -> String {
    match shown(&checked.text) {
        text if text.is_empty() => "it gives no reason".into(),
        text => text,
    }
}

fn no_session(during: Step) -> PhoneError {
    PhoneError::Protocol { during, what: "the session has ended".into() }
}

fn failed(during: Step) -> impl FnOnce(session::SessionError) -> PhoneError {
    move |source| PhoneError::Session { during, source }
}

fn malformed(during: Step) -> impl FnOnce(minicbor::decode::Error) -> PhoneError {
    move |error| PhoneError::Protocol { during, what: error.to_string() }
}

fn read<'b, T: minicbor::Decode<'b, ()>>(bytes: &'b [u8], during: Step) -> Result<T, PhoneError> {
    messages::decode(bytes).map_err(malformed(during))
}

/// Keys that the protocol knows, in the order in which they are preferred where the service does not care.
pub const KEY_KINDS: [KeyKind; 3] = [KeyKind::P256, KeyKind::Rsa2048, KeyKind::Rsa3072];
