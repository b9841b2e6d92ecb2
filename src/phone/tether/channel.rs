//! What carries the driver's messages in the clear: a sealed session over the cable, or a tape in its place.
//!
//! A tape is taken here, above the session: operations and outcomes before they are sealed. Of the session it keeps the
//! handshake hash and nonces, which say nothing about its keys. A code that somebody gave the phone is left out.

use super::binding::{self, Side};
use super::exchange::Exchange;
use super::frames::{self, FrameKind};
use super::messages::{self, OpenAnswer, Operation};
use super::session::{self, Hello, Session, SessionError};
use super::{HostKey, failed, malformed, no_session, read};
use crate::phone::{PhoneError, Step, Traffic};
use crate::tape::{Difference, Entry, Kind, Tape, Value};
use crate::usb::{Doing, UsbError, Where};
use std::time::Duration;

/// What stands in a tape in place of a secret.
const LEFT_OUT: &str = "(left out)";

/// The driver's way to the phone.
pub(super) struct Channel {
    carrier: Carrier,
    tape: Option<Tape>,
}

enum Carrier {
    Cable { exchange: Box<Exchange>, session: Option<Box<Session>> },
    Tape { session: Option<Taped>, max_body_bytes: usize, exchanges: u64 },
}

/// What is known of a session that was recorded.
struct Taped {
    handshake_hash: [u8; 32],
    nonce: [u8; 32],
}

/// A session that was opened.
pub(super) struct Opened {
    pub(super) answer: OpenAnswer,
    pub(super) handshake_hash: [u8; 32],
    /// The phone's static key.
    pub(super) phone_key: Vec<u8>,
    max_body_bytes: usize,
}

impl Opened {
    /// As it is noted, with the answer as it came.
    fn value(&self, answer: &[u8]) -> Value {
        Value::map([
            ("handshake_hash", Value::bytes(self.handshake_hash)),
            ("phone_key", Value::bytes(&self.phone_key)),
            ("max_body_bytes", Value::Int(self.max_body_bytes as i128)),
            ("answer", said(answer)),
        ])
    }

    fn of(value: &Value) -> Option<Self> {
        Some(Self {
            answer: messages::decode(&bytes_of(value.get("answer")?)).ok()?,
            handshake_hash: value.get("handshake_hash")?.as_bytes()?.try_into().ok()?,
            phone_key: value.get("phone_key")?.as_bytes()?.to_vec(),
            max_body_bytes: value.get("max_body_bytes")?.as_number()?,
        })
    }
}

impl Channel {
    pub(super) fn cable(exchange: Exchange) -> Self {
        Self { carrier: Carrier::Cable { exchange: Box::new(exchange), session: None }, tape: None }
    }

    /// The phone of a tape that plays.
    pub(super) fn tape(tape: Tape) -> Self {
        let carrier = Carrier::Tape { session: None, max_body_bytes: frames::MAX_BODY_BYTES, exchanges: 0 };
        Self { carrier, tape: Some(tape) }
    }

    /// From here on everything is noted on the tape.
    pub(super) fn record_on(&mut self, tape: &Tape) {
        self.tape = Some(tape.clone());
    }

    /// Opens a session: handshake and answer. `nonce` is the host's part of the short code.
    pub(super) async fn open(&mut self, key: &HostKey, label: &str, nonce: [u8; 32]) -> Result<Opened, PhoneError> {
        let during = Step::Identify;
        self.forget();
        let commitment = binding::commitment(Side::Host, &nonce);
        let asked = Value::map([("host_label", Value::text(label)), ("commitment", Value::bytes(commitment))]);
        self.ask(Value::Array(vec![Value::text("open"), asked]), during)?;
        match &mut self.carrier {
            Carrier::Cable { exchange, session } => match open(exchange, key, label, nonce).await {
                Ok((live, bytes)) => {
                    let opened = Opened {
                        answer: read(&bytes, during)?,
                        handshake_hash: *live.handshake_hash(),
                        phone_key: live.phone_key().to_vec(),
                        max_body_bytes: exchange.max_body_bytes(),
                    };
                    *session = Some(Box::new(live));
                    self.note(Kind::PhoneAnswered, || opened.value(&bytes));
                    Ok(opened)
                }
                Err(error) => Err(self.failed(error)),
            },
            Carrier::Tape { session, max_body_bytes, exchanges } => {
                *exchanges += 2;
                let (tape, entry) = played(self.tape.as_ref(), during)?;
                let opened = Opened::of(&entry.value).ok_or_else(|| differs(&tape.nonsense(&entry), during))?;
                *max_body_bytes = opened.max_body_bytes;
                *session = Some(Taped { handshake_hash: opened.handshake_hash, nonce });
                Ok(opened)
            }
        }
    }

    /// Sends operations in one request and gives what the phone answered, in the clear. After an error there is no session.
    pub(super) async fn request(&mut self, operations: &[Operation], during: Step) -> Result<Vec<u8>, PhoneError> {
        let request = messages::encode_request(operations);
        if self.has_no_session() {
            return Err(no_session(during));
        }
        let limit = self.max_plain_bytes();
        if request.len() > limit {
            return Err(PhoneError::TooLong { during, bytes: request.len(), limit });
        }
        self.ask(Value::Array(operations.iter().map(noted).collect()), during)?;
        let answer = match &mut self.carrier {
            Carrier::Cable { exchange, session } => sealed(exchange, session, &request, during).await,
            Carrier::Tape { session, exchanges, .. } => {
                *exchanges += 1;
                let played = played(self.tape.as_ref(), during);
                if played.is_err() {
                    *session = None;
                }
                return played.map(|(_, entry)| bytes_of(&entry.value));
            }
        };
        match answer {
            Ok(answer) => {
                self.note(Kind::PhoneAnswered, || said(&answer));
                Ok(answer)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Names the session and no other; nothing without one.
    pub(super) fn handshake_hash(&self) -> Option<[u8; 32]> {
        match &self.carrier {
            Carrier::Cable { session, .. } => session.as_ref().map(|session| *session.handshake_hash()),
            Carrier::Tape { session, .. } => session.as_ref().map(|session| session.handshake_hash),
        }
    }

    /// The host's nonce of the short code.
    pub(super) fn nonce(&self) -> Option<[u8; 32]> {
        match &self.carrier {
            Carrier::Cable { session, .. } => session.as_ref().map(|session| *session.nonce()),
            Carrier::Tape { session, .. } => session.as_ref().map(|session| session.nonce),
        }
    }

    fn has_no_session(&self) -> bool {
        self.handshake_hash().is_none()
    }

    /// There is no session any more, whatever the phone thinks.
    pub(super) fn forget(&mut self) {
        match &mut self.carrier {
            Carrier::Cable { session, .. } => *session = None,
            Carrier::Tape { session, .. } => *session = None,
        }
    }

    /// Ends the session without a message.
    pub(super) async fn end(&mut self) -> Result<(), PhoneError> {
        let during = Step::Leave;
        self.forget();
        self.ask(Value::Array(vec![Value::text("reset")]), during)?;
        match &mut self.carrier {
            Carrier::Cable { exchange, .. } => match exchange.end().await {
                Ok(()) => {
                    self.note(Kind::PhoneAnswered, || Value::Null);
                    Ok(())
                }
                Err(error) => Err(self.failed(error)),
            },
            Carrier::Tape { .. } => played(self.tape.as_ref(), during).map(|_| ()),
        }
    }

    /// The longest request in the clear, bytes.
    pub(super) fn max_plain_bytes(&self) -> usize {
        let body = match &self.carrier {
            Carrier::Cable { exchange, .. } => exchange.max_body_bytes(),
            Carrier::Tape { max_body_bytes, .. } => *max_body_bytes,
        };
        body.saturating_sub(session::TAG_BYTES)
    }

    pub(super) fn traffic(&self) -> Traffic {
        match &self.carrier {
            Carrier::Cable { exchange, .. } => {
                let counters = exchange.link().counters();
                Traffic {
                    exchanges: exchange.exchanges(),
                    transfers: counters.transfers(),
                    bytes_out: counters.bytes_out,
                    bytes_in: counters.bytes_in,
                }
            }
            Carrier::Tape { exchanges, .. } => Traffic { exchanges: *exchanges, ..Traffic::default() },
        }
    }

    /// The link under it, where there is one.
    #[cfg(test)]
    pub(super) fn link(&self) -> Option<&crate::usb::Link> {
        match &self.carrier {
            Carrier::Cable { exchange, .. } => Some(exchange.link()),
            Carrier::Tape { .. } => None,
        }
    }

    fn ask(&self, asked: Value, during: Step) -> Result<(), PhoneError> {
        let Some(tape) = &self.tape else { return Ok(()) };
        tape.ask(Kind::PhoneAsked, asked).map_err(|difference| differs(&difference, during))
    }

    fn note(&self, kind: Kind, value: impl FnOnce() -> Value) {
        if let Some(tape) = &self.tape {
            tape.note(kind, value());
        }
    }

    fn failed(&self, error: PhoneError) -> PhoneError {
        self.note(Kind::PhoneFailed, || failure(&error));
        error
    }
}

async fn open(
    exchange: &mut Exchange,
    key: &HostKey,
    label: &str,
    nonce: [u8; 32],
) -> Result<(Session, Vec<u8>), PhoneError> {
    let during = Step::Identify;
    let (hello, body) = Hello::new(key).map_err(failed(during))?;
    let answer = exchange.exchange(FrameKind::Hello, body, FrameKind::HelloAnswer, during).await?;
    let (opening, answer) = hello.answered(&answer).map_err(failed(during))?;
    if answer.max_body_bytes < frames::MIN_BODY_LIMIT_BYTES {
        let what = format!("a limit of {} bytes is below the least allowed", answer.max_body_bytes);
        return Err(PhoneError::Protocol { during, what });
    }
    exchange.limit(answer.max_body_bytes);
    let (mut session, body) = opening.open(label, nonce).map_err(failed(during))?;
    let answer = exchange.exchange(FrameKind::Open, body, FrameKind::OpenAnswer, during).await?;
    let bytes = session.unseal(&answer).map_err(failed(during))?;
    Ok((session, bytes))
}

async fn sealed(
    exchange: &mut Exchange,
    open: &mut Option<Box<Session>>,
    request: &[u8],
    during: Step,
) -> Result<Vec<u8>, PhoneError> {
    // Taken out for as long as it is in use: what fails, or is broken off, leaves none.
    let mut session = open.take().ok_or_else(|| no_session(during))?;
    let body = session.seal(request).map_err(failed(during))?;
    let answer = exchange.exchange(FrameKind::Request, body, FrameKind::Answer, during).await?;
    let answer = session.unseal(&answer).map_err(failed(during))?;
    *open = Some(session);
    Ok(answer)
}

/// An operation as it is noted: its name and its parameters, without the administrator's code.
fn noted(operation: &Operation) -> Value {
    let mut parameters = match Value::of_cbor(&messages::encode(operation)) {
        Some(Value::Array(pair)) => pair.into_iter().nth(1).unwrap_or(Value::Null),
        _ => Value::Null,
    };
    if let (Operation::Consent { code: Some(_) }, Value::Map(entries)) = (operation, &mut parameters) {
        entries.iter_mut().for_each(|(_, code)| *code = Value::text(LEFT_OUT));
    }
    Value::Array(vec![Value::text(operation.name()), parameters])
}

/// What the phone said. An answer that reads back otherwise than it came is noted as its bytes.
fn said(bytes: &[u8]) -> Value {
    Value::of_cbor(bytes).unwrap_or_else(|| Value::bytes(bytes))
}

/// The bytes that were said.
fn bytes_of(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        value => value.to_cbor(),
    }
}

/// The phone's next answer on a tape, or how it failed then.
fn played(tape: Option<&Tape>, during: Step) -> Result<(&Tape, Entry), PhoneError> {
    let tape = tape.ok_or_else(|| no_session(during))?;
    let entry = tape.answer(&[Kind::PhoneAnswered, Kind::PhoneFailed]);
    let entry = entry.map_err(|difference| differs(&difference, during))?;
    match entry.kind {
        Kind::PhoneFailed => {
            Err(revived(&entry.value, during).unwrap_or_else(|| differs(&tape.nonsense(&entry), during)))
        }
        _ => Ok((tape, entry)),
    }
}

fn differs(difference: &Difference, during: Step) -> PhoneError {
    PhoneError::Protocol { during, what: format!("the recording differs: {difference}") }
}

/// A failure as it is noted: what can be told apart later.
fn failure(error: &PhoneError) -> Value {
    let text = || Value::text(error);
    match error {
        PhoneError::Usb { source: UsbError::Unplugged { .. }, .. } => Value::map([("unplugged", text())]),
        PhoneError::Usb { source: UsbError::Stalled { .. }, .. } => Value::map([("stalled", text())]),
        PhoneError::Usb { source: UsbError::TimedOut { after, .. }, .. } => {
            Value::map([("silent", text()), ("seconds", Value::Int(after.as_secs().into()))])
        }
        PhoneError::TooSlow { seconds, .. } => {
            Value::map([("too slow", text()), ("seconds", Value::Int((*seconds).into()))])
        }
        PhoneError::Refused { number, text, .. } => {
            Value::map([("refused", Value::Int((*number).into())), ("text", Value::text(text))])
        }
        PhoneError::Session { source: SessionError::Decrypt, .. } => Value::map([("not decrypted", text())]),
        PhoneError::Session { source: SessionError::Version(version), .. } => {
            Value::map([("version", Value::Int((*version).into()))])
        }
        PhoneError::Session { .. } => Value::map([("handshake", text())]),
        PhoneError::Protocol { what, .. } => Value::map([("protocol", Value::text(what))]),
        _ => Value::map([("protocol", text())]),
    }
}

fn revived(value: &Value, during: Step) -> Option<PhoneError> {
    let Value::Map(entries) = value else { return None };
    let how = entries.first()?.0.as_text()?;
    let told = |word: &str| value.get(word).and_then(Value::as_text).unwrap_or_default().to_owned();
    let seconds = || value.get("seconds").and_then(Value::as_number::<u64>);
    // Where it was plugged in is the job's business.
    let (at, doing) = (Where::Computer, Doing::Transfer { endpoint: 0 });
    let usb = |source| PhoneError::Usb { during, source };
    Some(match how {
        "unplugged" => usb(UsbError::Unplugged { at, during: doing }),
        "stalled" => usb(UsbError::Stalled { at, during: doing }),
        "silent" => usb(UsbError::TimedOut { at, during: doing, after: Duration::from_secs(seconds()?) }),
        "too slow" => PhoneError::TooSlow { during, seconds: seconds()? },
        "refused" => {
            let number = value.get("refused")?.as_number()?;
            PhoneError::Refused { during, number, text: told("text"), tries_left: None }
        }
        "not decrypted" => PhoneError::Session { during, source: SessionError::Decrypt },
        "version" => PhoneError::Session { during, source: SessionError::Version(value.get("version")?.as_number()?) },
        "handshake" => PhoneError::Session { during, source: SessionError::Handshake },
        "protocol" => PhoneError::Protocol { during, what: told("protocol") },
        _ => return None,
    })
}

/// What the phone answered, as the driver reads it.
pub(super) fn outcomes(answer: &[u8], during: Step) -> Result<Vec<messages::Outcome>, PhoneError> {
    messages::decode_answer(answer).map_err(malformed(during))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrators_code_is_not_noted() {
        let noted = noted(&Operation::Consent { code: Some("4711".into()) }).on_a_line();
        assert_eq!(noted, r#"["consent", {0: "(left out)"}]"#);
        let without = Value::Array(vec![Value::text("consent"), Value::Map(Vec::new())]);
        assert_eq!(super::noted(&Operation::Consent { code: None }), without);
    }

    #[test]
    fn a_failure_comes_back_as_what_it_was() {
        let during = Step::Commit;
        let usb = |source| PhoneError::Usb { during, source };
        let (at, doing) = (Where::Computer, Doing::Transfer { endpoint: 0 });
        for error in [
            usb(UsbError::Unplugged { at: at.clone(), during: doing }),
            usb(UsbError::Stalled { at: at.clone(), during: doing }),
            usb(UsbError::TimedOut { at, during: doing, after: Duration::from_secs(5) }),
            PhoneError::TooSlow { during, seconds: 180 },
            PhoneError::Refused { during, number: 3, text: "no".into(), tries_left: None },
            PhoneError::Session { during, source: SessionError::Decrypt },
            PhoneError::Session { during, source: SessionError::Version(9) },
            PhoneError::Protocol { during, what: "nonsense".into() },
        ] {
            let again = revived(&failure(&error), during).unwrap();
            assert_eq!(format!("{again:?}"), format!("{error:?}"));
        }
        assert!(revived(&Value::Null, during).is_none());
    }
}
