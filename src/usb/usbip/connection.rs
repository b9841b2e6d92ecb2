//! An imported device: transfers and their answers on one TCP connection.
//!
//! There is no task behind it. Whoever waits for a transfer moves the bytes, and dropping the connection closes it at
//! once, so the server can give the device to the next. A transfer whose future is dropped is withdrawn.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::super::error::{Doing, UsbError, Where};
use super::wire::{self, AnswerKind, HEADER, Submit, Violation};

/// How long after its deadline a transfer's withdrawal may stay unanswered, at most; never longer than the deadline.
const GRACE: Duration = Duration::from_secs(1);

// Linux numbers its errors, and USB/IP takes them over.
const NO_ENTRY: i32 = -2;
const NO_DEVICE: i32 = -19;
const BROKEN_PIPE: i32 = -32;
const CONNECTION_RESET: i32 = -104;
const SHUT_DOWN: i32 = -108;
const TIMED_OUT: i32 = -110;

pub(super) struct Connection {
    stream: TcpStream,
    at: Where,
    device: u32,
    last_sequence: u32,
    incoming: BytesMut,
    outgoing: BytesMut,
    under_way: BTreeMap<u32, UnderWay>,
    /// Withdrawals under way, by their own sequence number, with that of the transfer they withdraw.
    withdrawals: BTreeMap<u32, u32>,
    ended: bool,
}

/// What is known of a transfer that has no answer yet.
struct UnderWay {
    is_in: bool,
    asked: u32,
}

/// What is to be transferred.
pub(super) struct Transfer<'a> {
    /// `bEndpointAddress`; for a control request 0x80 or 0x00.
    pub(super) endpoint: u8,
    pub(super) setup: [u8; 8],
    /// What the device is given.
    pub(super) data: &'a [u8],
    /// How much the device may give.
    pub(super) asked: u32,
    pub(super) interval: u8,
    pub(super) during: Doing,
}

enum Event {
    Completed { sequence: u32, status: i32, actual: u32, data: Bytes },
    Withdrawn { target: u32 },
}

/// Why nothing more comes from a connection.
enum End {
    Closed,
    Broken(Violation),
}

impl Connection {
    /// Takes over `stream` after the server has agreed to the import; `incoming` is what it has sent since.
    pub(super) fn new(stream: TcpStream, at: Where, device: u32, incoming: BytesMut) -> Self {
        Self {
            stream,
            at,
            device,
            last_sequence: 0,
            incoming,
            outgoing: BytesMut::new(),
            under_way: BTreeMap::new(),
            withdrawals: BTreeMap::new(),
            ended: false,
        }
    }

    /// Makes one transfer and gives the data that the device sent, or for an OUT transfer none.
    pub(super) async fn transfer(&mut self, transfer: Transfer<'_>, deadline: Duration) -> Result<Bytes, UsbError> {
        let during = transfer.during;
        let until = Instant::now() + deadline;
        if self.ended {
            return Err(UsbError::Unplugged { at: self.at.clone(), during });
        }
        // What an earlier transfer left behind must not take the data of this one.
        while !self.withdrawals.is_empty() {
            match timeout_at(until, self.event()).await {
                Ok(event) => drop(event.map_err(|end| self.ended_by(end, during))?),
                Err(_) => return Err(self.silent(during, deadline)),
            }
        }
        let sequence = self.submit(&transfer);
        let Some(event) = self.landing(sequence, until, deadline).await else {
            return Err(self.silent(during, deadline));
        };
        let at = self.at.clone();
        match event {
            Err(end) => Err(self.ended_by(end, during)),
            Ok(Event::Withdrawn { .. }) => Err(UsbError::TimedOut { at, during, after: deadline }),
            Ok(Event::Completed { status, actual, data, .. }) => match status {
                // Only part of the data went out, and nobody can say which.
                0 if !transfer.is_in() && actual as usize != transfer.data.len() => {
                    Err(UsbError::Damaged { at, during, source: None })
                }
                0 => Ok(data),
                BROKEN_PIPE => Err(UsbError::Stalled { at, during }),
                NO_DEVICE | SHUT_DOWN => {
                    self.ended = true;
                    Err(UsbError::Unplugged { at, during })
                }
                NO_ENTRY | CONNECTION_RESET | TIMED_OUT => Err(UsbError::TimedOut { at, during, after: deadline }),
                _ => {
                    let source = Some(io::Error::other(format!("USB/IP status {status}")));
                    Err(UsbError::Damaged { at, during, source })
                }
            },
        }
    }

    /// Waits for a submitted transfer, and withdraws it when it misses its deadline. `None` when the server falls silent.
    async fn landing(&mut self, sequence: u32, until: Instant, deadline: Duration) -> Option<Result<Event, End>> {
        let mut flight = Flight { connection: self, sequence, landed: false };
        match timeout_at(until, flight.landing()).await {
            Ok(event) => Some(event),
            Err(_) => {
                // It may complete while it is withdrawn: then it is taken.
                flight.withdraw();
                timeout_at(until + deadline.min(GRACE), flight.landing()).await.ok()
            }
        }
    }

    fn submit(&mut self, transfer: &Transfer<'_>) -> u32 {
        let sequence = self.next_sequence();
        let is_in = transfer.is_in();
        // A transfer is bounded by the caller's buffer: 4 GiB never reach this line.
        let given = u32::try_from(transfer.data.len()).expect("a transfer is shorter than 4 GiB");
        let asked = if is_in { transfer.asked } else { given };
        let submit = Submit {
            sequence,
            device: self.device,
            endpoint: transfer.endpoint & 0x0f,
            is_in,
            length: asked,
            interval: transfer.interval,
            setup: transfer.setup,
        };
        self.outgoing.extend_from_slice(&submit.header());
        self.outgoing.extend_from_slice(transfer.data);
        self.under_way.insert(sequence, UnderWay { is_in, asked });
        sequence
    }

    fn withdraw(&mut self, target: u32) {
        let sequence = self.next_sequence();
        self.outgoing.extend_from_slice(&wire::unlink(sequence, self.device, target));
        self.withdrawals.insert(sequence, target);
    }

    fn next_sequence(&mut self) -> u32 {
        self.last_sequence = self.last_sequence.wrapping_add(1).max(1);
        self.last_sequence
    }

    /// The next answer from the server. May be dropped at any time without loss.
    async fn event(&mut self) -> Result<Event, End> {
        loop {
            if let Some(event) = self.parse().map_err(End::Broken)? {
                return Ok(event);
            }
            let moved = if self.outgoing.is_empty() {
                self.incoming.reserve(HEADER);
                self.stream.read_buf(&mut self.incoming).await
            } else {
                self.stream.write_buf(&mut self.outgoing).await
            };
            // A cable cut in the middle of an answer ends like one cut between two: the device is gone.
            match moved {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(End::Closed),
            }
        }
    }

    /// Takes one whole answer from what has arrived.
    fn parse(&mut self) -> Result<Option<Event>, Violation> {
        let Some(header) = self.incoming.first_chunk::<HEADER>() else { return Ok(None) };
        let answer = wire::answer(header)?;
        let sequence = answer.sequence;
        match answer.kind {
            AnswerKind::Submitted { status, actual } => {
                let UnderWay { is_in, asked } =
                    *self.under_way.get(&sequence).ok_or(Violation::Sequence { sequence })?;
                if actual > asked {
                    return Err(Violation::Length { actual, asked });
                }
                let length = if is_in { actual as usize } else { 0 };
                if self.incoming.len() < HEADER + length {
                    return Ok(None);
                }
                self.under_way.remove(&sequence);
                let mut frame = self.incoming.split_to(HEADER + length);
                let data = frame.split_off(HEADER).freeze();
                Ok(Some(Event::Completed { sequence, status, actual, data }))
            }
            AnswerKind::Unlinked => {
                let target = self.withdrawals.remove(&sequence).ok_or(Violation::Sequence { sequence })?;
                // Status 0 says that the transfer was complete already: its answer has come before this one.
                self.under_way.remove(&target);
                let _ = self.incoming.split_to(HEADER);
                Ok(Some(Event::Withdrawn { target }))
            }
        }
    }

    fn silent(&mut self, during: Doing, after: Duration) -> UsbError {
        self.ended = true;
        UsbError::Silent { at: self.at.clone(), during, after }
    }

    fn ended_by(&mut self, end: End, during: Doing) -> UsbError {
        self.ended = true;
        let at = self.at.clone();
        match end {
            End::Closed => UsbError::Unplugged { at, during },
            End::Broken(source) => UsbError::Protocol { at, during, source },
        }
    }
}

impl Transfer<'_> {
    fn is_in(&self) -> bool {
        self.endpoint & 0x80 != 0
    }
}

/// A transfer that has been submitted: withdrawn when it is dropped before it has landed.
struct Flight<'a> {
    connection: &'a mut Connection,
    sequence: u32,
    landed: bool,
}

impl Flight<'_> {
    async fn landing(&mut self) -> Result<Event, End> {
        loop {
            let event = self.connection.event().await;
            let ours = match &event {
                Ok(Event::Completed { sequence, .. }) => *sequence == self.sequence,
                Ok(Event::Withdrawn { target }) => *target == self.sequence,
                Err(_) => true,
            };
            if ours {
                self.landed = true;
                return event;
            }
        }
    }

    fn withdraw(&mut self) {
        self.connection.withdraw(self.sequence);
        self.landed = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.connection.withdraw(self.sequence);
            // As far as it goes now; the next transfer sends the rest.
            if let Ok(sent) = self.connection.stream.try_write(&self.connection.outgoing) {
                let _ = self.connection.outgoing.split_to(sent);
            }
        }
    }
}
