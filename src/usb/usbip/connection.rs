//! An imported device: transfers with deadlines on one TCP connection.
//!
//! There is no task behind it. Whoever waits for a transfer moves the bytes, and dropping the connection closes it at
//! once, so the server can give the device to the next. A transfer whose future is dropped is withdrawn.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::super::came::Came;
use super::super::error::{Doing, UsbError, Where};
use super::super::transfer::{UNDER_WAY, end_of};
use super::exchange::{Event, Exchange, Request};
use super::wire::{HEADER, Violation};

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
    exchange: Exchange,
    /// What has come on each IN endpoint for a read that was given up.
    came: BTreeMap<u8, Came>,
    ended: bool,
}

/// What is to be read of an IN endpoint: all until a short packet, `asked` bytes at most, `piece` bytes at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) endpoint: u8,
    pub(super) interval: u8,
    pub(super) asked: usize,
    pub(super) piece: usize,
}

/// Why nothing more comes from a connection.
enum End {
    Closed,
    Broken(Violation),
}

impl Connection {
    /// Takes over `stream` after the server has agreed to the import; `incoming` is what it has sent since.
    pub(super) fn new(stream: TcpStream, at: Where, device: u32, incoming: BytesMut) -> Self {
        Self { stream, at, exchange: Exchange::new(device, incoming), came: BTreeMap::new(), ended: false }
    }

    /// Makes one transfer and gives the data that the device sent, or for an OUT transfer none.
    pub(super) async fn transfer(
        &mut self,
        request: Request<'_>,
        during: Doing,
        deadline: Duration,
    ) -> Result<Bytes, UsbError> {
        let until = end_of(deadline);
        self.settle(during, deadline).await?;
        let sequence = self.exchange.submit(&request);
        let at = self.at.clone();
        let (status, actual, data) = match self.landing(sequence, until, deadline).await {
            None => return Err(self.silent(during, deadline)),
            Some(Err(end)) => return Err(self.ended_by(end, during)),
            Some(Ok(Event::Withdrawn { .. })) => return Err(UsbError::TimedOut { at, during, after: deadline }),
            Some(Ok(Event::Completed { status, actual, data, .. })) => (status, actual, data),
        };
        // Only part of the data went out, and nobody can say which.
        if status == 0 && !request.is_in() && actual as usize != request.data.len() {
            return Err(UsbError::Damaged { at, during, source: None });
        }
        self.judge(status, during, deadline).map(|()| data)
    }

    /// What an answer's status means.
    fn judge(&mut self, status: i32, during: Doing, deadline: Duration) -> Result<(), UsbError> {
        let at = self.at.clone();
        match status {
            0 => Ok(()),
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
        }
    }

    /// Sends several requests on one OUT endpoint, some under way at a time; each that is done starts the deadline anew.
    pub(super) async fn send(
        &mut self,
        mut requests: VecDeque<Request<'_>>,
        during: Doing,
        deadline: Duration,
    ) -> Result<(), UsbError> {
        self.settle(during, deadline).await?;
        let mut flights = Flights { connection: self, under_way: VecDeque::new(), landed: BTreeMap::new() };
        let outcome = loop {
            while flights.under_way.len() < UNDER_WAY
                && let Some(request) = requests.pop_front()
            {
                flights.submit(&request);
            }
            if flights.under_way.is_empty() {
                return Ok(());
            }
            let at = flights.connection.at.clone();
            match timeout_at(end_of(deadline), flights.landing()).await {
                Ok(Ok(Landed { status: 0, asked, actual, .. })) if asked == actual => {}
                Ok(Ok(Landed { status: 0, .. })) => break Err(UsbError::Damaged { at, during, source: None }),
                Ok(Ok(Landed { status, .. })) => match flights.connection.judge(status, during, deadline) {
                    Ok(()) => {}
                    failed => break failed,
                },
                Ok(Err(end)) => break Err(flights.connection.ended_by(end, during)),
                Err(_) => break Err(UsbError::TimedOut { at, during, after: deadline }),
            }
        };
        drop(flights);
        self.land(outcome, during, deadline).await
    }

    /// Reads from one IN endpoint, some requests under way at a time; each that brings something starts the deadline anew.
    pub(super) async fn receive(
        &mut self,
        reading: Reading,
        during: Doing,
        deadline: Duration,
    ) -> Result<Vec<u8>, UsbError> {
        let Reading { endpoint, interval, asked, piece } = reading;
        self.settle(during, deadline).await?;
        let mut submitted = 0;
        let mut flights = Flights { connection: self, under_way: VecDeque::new(), landed: BTreeMap::new() };
        let outcome = loop {
            let came = flights.connection.came.entry(endpoint).or_default();
            if let Some(data) = came.take(asked) {
                break Ok(data);
            }
            let begun = came.begun();
            while flights.under_way.len() < UNDER_WAY && begun + submitted < asked {
                let length = piece.min(asked - begun - submitted);
                let asked = u32::try_from(length).unwrap_or(u32::MAX);
                flights.submit(&Request { endpoint, setup: [0; 8], data: &[], asked, interval });
                submitted += length;
            }
            match timeout_at(end_of(deadline), flights.landing()).await {
                Ok(Ok(Landed { status, asked, data, .. })) => {
                    submitted = submitted.saturating_sub(asked as usize);
                    let came = flights.connection.came.entry(endpoint).or_default();
                    if status == 0 {
                        let is_short = data.len() < asked as usize;
                        came.add(data.into(), is_short);
                        continue;
                    }
                    came.break_off();
                    match flights.connection.judge(status, during, deadline) {
                        Ok(()) => {}
                        Err(failed) => break Err(failed),
                    }
                }
                Ok(Err(end)) => break Err(flights.connection.ended_by(end, during)),
                Err(_) => {
                    let at = flights.connection.at.clone();
                    break Err(UsbError::TimedOut { at, during, after: deadline });
                }
            }
        };
        drop(flights);
        match self.land(outcome, during, deadline).await {
            // It has come while it was withdrawn.
            Err(UsbError::TimedOut { at, during, after }) => {
                let came = self.came.entry(endpoint).or_default().take(asked);
                came.ok_or(UsbError::TimedOut { at, during, after })
            }
            landed => landed,
        }
    }

    /// Waits for the answers to what was withdrawn at the end of a call, for a moment only.
    async fn land<T>(
        &mut self,
        outcome: Result<T, UsbError>,
        during: Doing,
        deadline: Duration,
    ) -> Result<T, UsbError> {
        if self.ended {
            return outcome;
        }
        match self.settle_until(end_of(deadline.min(GRACE))).await {
            Some(Err(end)) if outcome.is_err() => Err(self.ended_by(end, during)),
            Some(_) => outcome,
            None => Err(self.silent(during, deadline)),
        }
    }

    /// Waits for the answers to what an earlier call has withdrawn. What came all the same is for the next read.
    async fn settle(&mut self, during: Doing, deadline: Duration) -> Result<(), UsbError> {
        if self.ended {
            return Err(UsbError::Unplugged { at: self.at.clone(), during });
        }
        match self.settle_until(end_of(deadline)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(end)) => Err(self.ended_by(end, during)),
            None => Err(self.silent(during, deadline)),
        }
    }

    /// `None` when the answers do not come in time.
    async fn settle_until(&mut self, until: Instant) -> Option<Result<(), End>> {
        while self.exchange.is_withdrawing() {
            match timeout_at(until, self.event()).await {
                Ok(Ok(Event::Completed { endpoint, status: 0, asked, data, .. })) if endpoint & 0x8f > 0x80 => {
                    let is_short = data.len() < asked as usize;
                    self.came.entry(endpoint).or_default().add(data.into(), is_short);
                }
                Ok(Ok(Event::Completed { .. } | Event::Withdrawn { .. })) => {}
                Ok(Err(end)) => return Some(Err(end)),
                Err(_) => return None,
            }
        }
        Some(Ok(()))
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

    /// The next answer from the server. May be dropped at any time without loss.
    async fn event(&mut self) -> Result<Event, End> {
        let Self { stream, exchange, .. } = self;
        loop {
            if let Some(event) = exchange.take().map_err(End::Broken)? {
                return Ok(event);
            }
            let moved = if exchange.outgoing.is_empty() {
                exchange.incoming.reserve(HEADER);
                stream.read_buf(&mut exchange.incoming).await
            } else {
                stream.write_buf(&mut exchange.outgoing).await
            };
            // A cable cut in the middle of an answer ends like one cut between two: the device is gone.
            match moved {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Err(End::Closed),
            }
        }
    }

    /// Sends as far as it goes now; the next transfer sends the rest.
    fn send_what_goes(&mut self) {
        if let Ok(sent) = self.stream.try_write(&self.exchange.outgoing) {
            let _ = self.exchange.outgoing.split_to(sent);
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
        self.connection.exchange.withdraw(self.sequence);
        self.landed = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.landed {
            self.connection.exchange.withdraw(self.sequence);
            self.connection.send_what_goes();
        }
    }
}

/// Transfers on one endpoint: those still under way are withdrawn when it is dropped.
struct Flights<'a> {
    connection: &'a mut Connection,
    under_way: VecDeque<u32>,
    /// Answers that came before those of earlier transfers.
    landed: BTreeMap<u32, Landed>,
}

/// An answer.
struct Landed {
    status: i32,
    asked: u32,
    actual: u32,
    data: Bytes,
}

impl Flights<'_> {
    fn submit(&mut self, request: &Request<'_>) {
        let sequence = self.connection.exchange.submit(request);
        self.under_way.push_back(sequence);
    }

    /// The answer to the first that is under way. May be dropped at any time without loss.
    async fn landing(&mut self) -> Result<Landed, End> {
        loop {
            if let Some(first) = self.under_way.front()
                && let Some(landed) = self.landed.remove(first)
            {
                self.under_way.pop_front();
                return Ok(landed);
            }
            if let Event::Completed { sequence, status, asked, actual, data, .. } = self.connection.event().await? {
                self.landed.insert(sequence, Landed { status, asked, actual, data });
            }
        }
    }
}

impl Drop for Flights<'_> {
    fn drop(&mut self) {
        let landed = &self.landed;
        let left: Vec<u32> = self.under_way.drain(..).filter(|sequence| !landed.contains_key(sequence)).collect();
        if left.is_empty() || self.connection.ended {
            return;
        }
        left.into_iter().for_each(|sequence| self.connection.exchange.withdraw(sequence));
        self.connection.send_what_goes();
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const BRIEF: Duration = Duration::from_millis(10);
    const DURING: Doing = Doing::Transfer { endpoint: 0x81 };
    const READ: Request<'static> = Request { endpoint: 0x81, setup: [0; 8], data: &[], asked: 512, interval: 0 };

    /// A connection, and the other end of it for a peer that keeps to no rule.
    async fn wires() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().await.unwrap();
        let at = Where::Port("127.0.0.1:1/1-1".parse().unwrap());
        (Connection::new(stream, at, 0x0001_0002, BytesMut::new()), peer)
    }

    fn answer(command: u32, sequence: u32, status: i32, actual: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        for (at, word) in [(0, command), (4, sequence), (20, status.cast_unsigned()), (24, actual)] {
            bytes[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        bytes.extend(data);
        bytes
    }

    async fn command(peer: &mut TcpStream) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        peer.read_exact(&mut header).await.unwrap();
        header
    }

    /// The peer answers the first transfer with `bytes`.
    async fn answered_with(bytes: Vec<u8>, request: Request<'_>) -> (Connection, Result<Bytes, UsbError>) {
        let (mut connection, mut peer) = wires().await;
        peer.write_all(&bytes).await.unwrap();
        let outcome = connection.transfer(request, DURING, SOON).await;
        (connection, outcome)
    }

    #[tokio::test]
    async fn a_transfer_that_completes_while_it_is_withdrawn_is_taken() {
        let (mut connection, mut peer) = wires().await;
        let racing = async {
            command(&mut peer).await;
            let unlink = command(&mut peer).await;
            assert_eq!((unlink[3], unlink[7], unlink[23]), (2, 2, 1));
            peer.write_all(&answer(3, 1, 0, 4, b"late")).await.unwrap();
            peer.write_all(&answer(4, 2, 0, 0, b"")).await.unwrap();
            command(&mut peer).await;
            peer.write_all(&answer(3, 3, 0, 4, b"next")).await.unwrap();
        };
        let (_, (late, next)) = tokio::join!(racing, async {
            let late = connection.transfer(READ, DURING, BRIEF).await;
            (late, connection.transfer(READ, DURING, SOON).await)
        });
        assert_eq!(late.unwrap(), "late");
        assert_eq!(next.unwrap(), "next");
    }

    #[tokio::test]
    async fn a_withdrawn_transfer_has_timed_out_and_the_next_goes_its_way() {
        let (mut connection, mut peer) = wires().await;
        let peer = async {
            command(&mut peer).await;
            command(&mut peer).await;
            peer.write_all(&answer(4, 2, -104, 0, b"")).await.unwrap();
            command(&mut peer).await;
            peer.write_all(&answer(3, 3, 0, 0, b"")).await.unwrap();
        };
        let (_, (first, next)) = tokio::join!(peer, async {
            let first = connection.transfer(READ, DURING, BRIEF).await;
            (first, connection.transfer(READ, DURING, SOON).await)
        });
        assert!(matches!(first, Err(UsbError::TimedOut { .. })));
        assert_eq!(next.unwrap(), "");
    }

    #[tokio::test]
    async fn a_peer_that_falls_silent_ends_the_link_by_the_deadline() {
        let (mut connection, _peer) = wires().await;
        let error = connection.transfer(READ, DURING, BRIEF).await.unwrap_err();
        assert!(matches!(error, UsbError::Silent { after: BRIEF, .. }) && error.ends_link(), "{error}");
        let error = connection.transfer(READ, DURING, SOON).await.unwrap_err();
        assert!(matches!(error, UsbError::Unplugged { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_ends_the_link_by_the_deadline() {
        let (mut connection, _peer) = wires().await;
        let much = vec![0; 64 << 20];
        let write = Request { endpoint: 0x01, data: &much, ..READ };
        assert!(matches!(connection.transfer(write, DURING, BRIEF).await, Err(UsbError::Silent { .. })));
    }

    #[tokio::test]
    async fn a_peer_that_breaks_the_protocol_is_not_spoken_to_again() {
        for (bytes, violation) in [
            (answer(3, 1, 0, 513, b""), Violation::Length { actual: 513, asked: 512 }),
            (answer(3, 7, 0, 0, b""), Violation::Sequence { sequence: 7 }),
            (answer(4, 1, 0, 0, b""), Violation::Sequence { sequence: 1 }),
            (answer(1, 1, 0, 0, b""), Violation::Code { code: 1 }),
        ] {
            let (mut connection, outcome) = answered_with(bytes, READ).await;
            let error = outcome.unwrap_err();
            assert!(matches!(&error, UsbError::Protocol { source, .. } if *source == violation), "{error}");
            assert!(matches!(connection.transfer(READ, DURING, SOON).await, Err(UsbError::Unplugged { .. })));
        }
    }

    #[tokio::test]
    async fn what_a_status_means_decides_what_the_technician_does() {
        let status = |status| answered_with(answer(3, 1, status, 0, b""), READ);
        assert!(matches!(status(-32).await.1, Err(UsbError::Stalled { .. })));
        assert!(matches!(status(-19).await.1, Err(UsbError::Unplugged { .. })));
        assert!(matches!(status(-108).await.1, Err(UsbError::Unplugged { .. })));
        assert!(matches!(status(-110).await.1, Err(UsbError::TimedOut { .. })));
        assert!(matches!(status(-71).await.1, Err(UsbError::Damaged { source: Some(_), .. })));
        assert!(matches!(status(5).await.1, Err(UsbError::Damaged { .. })));
    }

    #[tokio::test]
    async fn data_that_went_out_only_in_part_is_damage() {
        let write = Request { endpoint: 0x01, data: b"abcd", ..READ };
        assert!(matches!(answered_with(answer(3, 1, 0, 3, b""), write).await.1, Err(UsbError::Damaged { .. })));
        assert_eq!(answered_with(answer(3, 1, 0, 4, b""), write).await.1.unwrap(), "");
    }

    #[tokio::test]
    async fn a_connection_that_ends_in_the_middle_of_an_answer_is_an_unplug() {
        let (mut connection, mut peer) = wires().await;
        peer.write_all(&answer(3, 1, 0, 10, b"half")).await.unwrap();
        drop(peer);
        assert!(matches!(connection.transfer(READ, DURING, SOON).await, Err(UsbError::Unplugged { .. })));
    }

    #[tokio::test]
    async fn a_deadline_without_end_is_no_mistake() {
        let (mut connection, mut peer) = wires().await;
        peer.write_all(&answer(3, 1, 0, 4, b"data")).await.unwrap();
        assert_eq!(connection.transfer(READ, DURING, Duration::MAX).await.unwrap(), "data");
    }

    #[tokio::test]
    async fn an_answer_may_come_byte_by_byte() {
        let (mut connection, mut peer) = wires().await;
        peer.set_nodelay(true).unwrap();
        let (_, outcome) = tokio::join!(
            async {
                for byte in answer(3, 1, 0, 5, b"bytes") {
                    peer.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            },
            connection.transfer(READ, DURING, SOON)
        );
        assert_eq!(outcome.unwrap(), "bytes");
    }
}
