//! A connection with a registration on it: requests and their answers, signed once there are keys.

use super::association::{Association, SignatureFault};
use super::challenge::{Authentication, Place};
use super::connection::{Connection, Heard, Server};
use super::endpoint::{Dialogue, Endpoint, Lasting};
use super::error::{Refusal, RegistrarError, Stage};
use super::message::Message;
use super::ms_diagnostics::MsDiagnostics;
use crate::text_form::hex;
use crate::world::World;
use std::time::Duration;
use tokio::time::Instant;

pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) server: Server,
    pub(super) association: Option<Association>,
    dialogue: Dialogue,
    world: World,
    limit: Duration,
}

/// How a REGISTER proves who it is from.
pub(super) enum Proof<'a> {
    /// Not at all: the registrar is to say what it wants.
    None,
    /// By a part of a handshake.
    Handshake(Place, Authentication),
    /// By the message that completes it.
    Completing(Option<&'a [u8]>),
    /// By the keys.
    Signed,
}

impl Session {
    pub(super) fn new(connection: Connection, server: Server, world: World, limit: Duration) -> Self {
        let dialogue = Dialogue::new(world.random("registration"));
        Self { connection, server, association: None, dialogue, world, limit }
    }

    /// Registers, and waits for the answer that is no provisional one. Whether it counts is not judged.
    pub(super) async fn register(
        &mut self,
        endpoint: &Endpoint,
        lasting: Lasting,
        proof: Proof<'_>,
        stage: Stage,
    ) -> Result<Message, RegistrarError> {
        let branch = self.world.random("branch");
        let mut message = endpoint.register(&mut self.dialogue, self.connection.local(), branch, lasting);
        let random = self.world.random("signature");
        match (proof, &mut self.association) {
            (Proof::Handshake(place, value), _) => message.headers.push(place.credentials_header(), &value.to_string()),
            (Proof::Completing(data), Some(association)) => association.complete(&mut message, data, random),
            (Proof::Signed, Some(association)) => association.sign(&mut message, random),
            (Proof::None, _) | (Proof::Completing(_) | Proof::Signed, None) => {}
        }
        let until = Instant::now() + self.limit;
        self.connection.send(&message, stage, self.limit).await?;
        loop {
            let message = match self.connection.hear(until, stage).await? {
                Heard::Message(message) => message,
                Heard::Nothing => return Err(self.connection.timed_out(stage, self.limit)),
            };
            match message.status() {
                Some(status) if status >= 200 && self.dialogue.is_answered_by(&message) => return Ok(message),
                // Provisional, or to an earlier request; unsigned ones of both were seen.
                Some(status) => tracing::debug!(status, "an answer that nobody waits for"),
                None => self.answer(&message, stage).await?,
            }
        }
    }

    /// Waits, and answers what the registrar asks meanwhile.
    pub(super) async fn wait(&mut self, until: Instant, stage: Stage) -> Result<(), RegistrarError> {
        loop {
            match self.connection.hear(until, stage).await? {
                Heard::Nothing => return Ok(()),
                Heard::Message(message) if message.status().is_none() => self.answer(&message, stage).await?,
                Heard::Message(message) => tracing::debug!(start = %message.start, "an answer that nobody waits for"),
            }
        }
    }

    /// Nobody is here to be called: a caller hears so at once, and does not wait for a phone that is none. What is not signed
    /// gets no answer ([MS-SIP] 3.1.5.2).
    async fn answer(&mut self, request: &Message, stage: Stage) -> Result<(), RegistrarError> {
        let Some(association) = &mut self.association else { return Ok(()) };
        let Some(method) = request.method().filter(|method| *method != "ACK") else { return Ok(()) };
        if let Err(fault) = association.verify(request) {
            tracing::debug!(method, %fault, "a request that does not count");
            return Ok(());
        }
        let mut answer = match method {
            "OPTIONS" | "NOTIFY" => Message::response(200, "OK"),
            // What needs no answer, by its definition ([MS-SIP] 2.2).
            "BENOTIFY" => return Ok(()),
            _ => Message::response(480, "Temporarily Unavailable"),
        };
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            request.headers.all(name).for_each(|value| answer.headers.push(name, value));
        }
        let to = request.header("To").unwrap_or_default();
        let tag: [u8; 5] = self.world.random("tag");
        let to = if to.contains(";tag=") { to.to_owned() } else { format!("{to};tag={}", hex(&tag)) };
        answer.headers.push("To", &to);
        association.sign(&mut answer, self.world.random("signature"));
        self.connection.send(&answer, stage, self.limit).await
    }

    /// Whether the server has signed this answer.
    pub(super) fn verified(&mut self, answer: &Message, stage: Stage) -> Result<(), RegistrarError> {
        let verdict = match &mut self.association {
            Some(association) => association.verify(answer),
            None => Err(SignatureFault::Missing),
        };
        verdict.map_err(|fault| RegistrarError::Unsigned { server: self.server.to_string(), stage, fault })
    }

    /// A refusal. It need not be signed, since a registrar without keys has none to sign with; a wrong signature is none.
    pub(super) fn refusal(&mut self, answer: &Message, stage: Stage) -> Result<Refusal, RegistrarError> {
        match self.verified(answer, stage) {
            Ok(()) | Err(RegistrarError::Unsigned { fault: SignatureFault::Missing, .. }) => Ok(refusal(answer)),
            Err(error) => Err(error),
        }
    }

    pub(super) fn nonsense(&self, stage: Stage, what: impl Into<String>) -> RegistrarError {
        RegistrarError::Nonsense { server: self.server.to_string(), stage, what: what.into() }
    }
}

/// What an answer says.
fn refusal(answer: &Message) -> Refusal {
    let reason = match &answer.start {
        super::message::Start::Response { reason, .. } => reason.chars().take(120).collect(),
        super::message::Start::Request { .. } => String::new(),
    };
    let retry_after = answer.header("Retry-After").and_then(|value| {
        let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        value[..digits].parse().ok()
    });
    Refusal {
        status: answer.status().unwrap_or_default(),
        reason,
        diagnostics: MsDiagnostics::of(&answer.headers).map(Box::new),
        retry_after,
    }
}
