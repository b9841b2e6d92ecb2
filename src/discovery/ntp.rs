//! One question to a time server: SNTP (RFC 4330, RFC 5905).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Where time servers listen.
pub const NTP_PORT: u16 = 123;
const LENGTH: usize = 48;
/// Version 4, client.
const CLIENT: u8 = 0x23;
/// From 1900 to 1970, seconds.
const TO_UNIX: i64 = 2_208_988_800;
const PATIENCE: Duration = Duration::from_millis(1500);
const TRIES: usize = 2;

/// What a time server said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Time {
    /// The server's clock less this computer's, seconds; half of the way there and back is taken off.
    pub offset: f64,
    /// How far it is from a clock: 1 has one itself.
    pub stratum: u8,
}

/// Why there is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTime {
    /// Nobody answered in time, or the port is closed.
    #[error("{0}")]
    Silent(String),
    /// It says itself that it does not know: not synchronised, or a "kiss of death" with its letters.
    #[error("{0}")]
    NotKnown(String),
    /// Something else answered.
    #[error("{0}")]
    Unreadable(String),
}

/// Asks a server for the time.
pub async fn ask(server: SocketAddr) -> Result<Time, NoTime> {
    let silent = |error: io::Error| NoTime::Silent(error.to_string());
    let local: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(local).await.map_err(silent)?;
    socket.connect(server).await.map_err(silent)?;
    let mut last = NoTime::Silent("no answer".to_owned());
    for _ in 0..TRIES {
        let sent = OffsetDateTime::now_utc();
        let mut query = [0; LENGTH];
        query[0] = CLIENT;
        query[40..].copy_from_slice(&to_wire(sent));
        socket.send(&query).await.map_err(silent)?;
        let mut answer = [0; 512];
        match timeout(PATIENCE, socket.recv(&mut answer)).await {
            Ok(Ok(length)) => return read(&answer[..length], sent, OffsetDateTime::now_utc()),
            Ok(Err(error)) => last = NoTime::Silent(error.to_string()),
            Err(_) => {}
        }
    }
    Err(last)
}

/// Reads an answer to what was sent at `sent`, that came at `came`.
fn read(answer: &[u8], sent: OffsetDateTime, came: OffsetDateTime) -> Result<Time, NoTime> {
    let unreadable = |what: &str| NoTime::Unreadable(what.to_owned());
    let Some(answer) = answer.first_chunk::<LENGTH>() else {
        return Err(NoTime::Unreadable(format!("{} bytes instead of {LENGTH}", answer.len())));
    };
    let stamp = |at: usize| <[u8; 8]>::try_from(&answer[at..at + 8]).expect("eight bytes of 48");
    let (leap, mode, stratum) = (answer[0] >> 6, answer[0] & 7, answer[1]);
    if mode != 4 {
        return Err(unreadable("it is no server's"));
    }
    if stamp(24) != to_wire(sent) {
        return Err(unreadable("it answers another question"));
    }
    if stratum == 0 {
        let code: String = answer[12..16].iter().map(|&byte| char::from(byte)).filter(char::is_ascii_graphic).collect();
        return Err(NoTime::NotKnown(format!("it refuses with {code}")));
    }
    if leap == 3 || stratum > 15 {
        return Err(NoTime::NotKnown(format!("it is not synchronised, stratum {stratum}")));
    }
    if stamp(40) == [0; 8] {
        return Err(unreadable("it has no time"));
    }
    let [sent, came] = [sent, came].map(|time| time.unix_timestamp_nanos() as f64 / 1e9);
    let (received, answered) = (from_wire(stamp(32)), from_wire(stamp(40)));
    Ok(Time { offset: ((received - sent) + (answered - came)) / 2.0, stratum })
}

/// Seconds since 1900 and their fraction, 32 bits each.
fn to_wire(time: OffsetDateTime) -> [u8; 8] {
    let seconds = (time.unix_timestamp() + TO_UNIX) as u32;
    let fraction = ((u64::from(time.nanosecond()) << 32) / 1_000_000_000) as u32;
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&seconds.to_be_bytes());
    bytes[4..].copy_from_slice(&fraction.to_be_bytes());
    bytes
}

/// Seconds since 1970. What begins with a clear bit is of the era that begins in 2036 (RFC 4330 section 3).
fn from_wire(stamp: [u8; 8]) -> f64 {
    let [a, b, c, d, e, f, g, h] = stamp;
    let (seconds, fraction) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
    let era = if seconds & 0x8000_0000 == 0 { 1i64 << 32 } else { 0 };
    (i64::from(seconds) + era - TO_UNIX) as f64 + f64::from(fraction) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    const SENT: OffsetDateTime = datetime!(2026-11-30 10:00 UTC);

    fn answer(server: OffsetDateTime) -> [u8; LENGTH] {
        let mut answer = [0; LENGTH];
        (answer[0], answer[1]) = (0x24, 2);
        answer[24..32].copy_from_slice(&to_wire(SENT));
        answer[32..40].copy_from_slice(&to_wire(server));
        answer[40..48].copy_from_slice(&to_wire(server));
        answer
    }

    #[test]
    fn the_way_there_and_back_is_no_difference_of_the_clocks() {
        let came = SENT + time::Duration::milliseconds(200);
        let time = read(&answer(SENT + time::Duration::milliseconds(2_100)), SENT, came).unwrap();
        assert!((time.offset - 2.0).abs() < 1e-6, "{time:?}");
        assert_eq!(time.stratum, 2);
    }

    #[test]
    fn a_server_without_the_time_and_one_that_answers_something_else_are_told_apart() {
        let mut unsynchronised = answer(SENT);
        unsynchronised[0] |= 0xc0;
        assert!(matches!(read(&unsynchronised, SENT, SENT), Err(NoTime::NotKnown(_))));
        let mut kiss = answer(SENT);
        kiss[1] = 0;
        kiss[12..16].copy_from_slice(b"RATE");
        assert_eq!(read(&kiss, SENT, SENT), Err(NoTime::NotKnown("it refuses with RATE".to_owned())));
        let other = read(&answer(SENT), SENT + time::Duration::SECOND, SENT);
        assert!(matches!(other, Err(NoTime::Unreadable(_))));
        assert!(matches!(read(&[0x24; 20], SENT, SENT), Err(NoTime::Unreadable(_))));
    }

    #[test]
    fn the_era_that_begins_in_2036_is_read() {
        let later = datetime!(2040-01-01 00:00 UTC);
        assert_eq!(from_wire(to_wire(later)) as i64, later.unix_timestamp());
        assert_eq!(from_wire(to_wire(SENT)) as i64, SENT.unix_timestamp());
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read(&bytes, SENT, SENT);
        }
    }
}
