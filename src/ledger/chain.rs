//! The chain: each event's hash covers the event and the hash of the one before it.
//!
//! The hash is SHA-256 over the columns in this order: the text `tethercert ledger 1`; station, sequence, time, job,
//! kind, standing, device, transaction id, body, previous hash. A number is 8 bytes, big-endian, two's complement; a text or
//! a hash is its length in bytes, as a number, then its bytes (UTF-8, exactly as stored). Where there is no job the
//! number is 0; where there is no device or transaction the text is empty; the first event's previous hash is 32 zero bytes.
//!
//! So nobody can change, insert or remove an event without making all later ones anew. Events cut off the *end* leave a
//! whole, shorter chain: they are missed only by comparing a [`Head`] with one noted elsewhere.

use super::error::Break;
use super::event::{Event, Standing};
use super::{JobNumber, Sequence};
use crate::credential::Fingerprint;
use aws_lc_rs::digest;
use serde::ser::{Error as _, SerializeStruct as _};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// An event with its place in a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The station that wrote it.
    pub station: Uuid,
    /// Its number in the station's chain.
    pub sequence: Sequence,
    /// When, by the station's clock, to the microsecond. A clock may be set back: the order is that of `sequence`.
    pub time: OffsetDateTime,
    /// The job it belongs to.
    pub job: Option<JobNumber>,
    /// What happened.
    pub event: Event,
    /// Its hash, which covers all before it.
    pub hash: [u8; 32],
}

/// As `ledger show --json` has it: the columns, with time in RFC 3339 and hash in hexadecimal digits.
impl serde::Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, body) = self.event.to_parts().map_err(S::Error::custom)?;
        let mut fields = serializer.serialize_struct("Record", 8)?;
        fields.serialize_field("station", &self.station)?;
        fields.serialize_field("sequence", &self.sequence)?;
        fields.serialize_field("time", &self.time.format(&Rfc3339).map_err(S::Error::custom)?)?;
        fields.serialize_field("job", &self.job)?;
        fields.serialize_field("kind", &kind)?;
        fields.serialize_field("standing", &self.event.standing())?;
        fields.serialize_field("body", &body)?;
        fields.serialize_field("hash", &Fingerprint::from_bytes(self.hash))?;
        fields.end()
    }
}

/// What a whole ledger holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// All events.
    pub events: u64,
    /// The end of each station's chain, by station.
    pub heads: Vec<Head>,
}

/// The end of a chain. Noted elsewhere, it shows later whether events were cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Whose chain.
    pub station: Uuid,
    /// The last event's number.
    pub sequence: Sequence,
    /// The last event's hash.
    pub hash: [u8; 32],
}

/// A row of `events` as it stands.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) station: String,
    pub(super) sequence: i64,
    pub(super) time: i64,
    pub(super) job: Option<i64>,
    pub(super) kind: String,
    pub(super) standing: String,
    pub(super) device: Option<String>,
    pub(super) transaction_id: Option<String>,
    pub(super) body: String,
    pub(super) previous: Vec<u8>,
    pub(super) hash: Vec<u8>,
}

/// What the first event of a chain names as its predecessor.
pub(super) const NOTHING_BEFORE: [u8; 32] = [0; 32];

impl Row {
    /// The hash of everything else in the row.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        let number = |context: &mut digest::Context, number: i64| context.update(&number.to_be_bytes());
        let bytes = |context: &mut digest::Context, bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        bytes(&mut context, b"tethercert ledger 1");
        bytes(&mut context, self.station.as_bytes());
        number(&mut context, self.sequence);
        number(&mut context, self.time);
        number(&mut context, self.job.unwrap_or(0));
        bytes(&mut context, self.kind.as_bytes());
        bytes(&mut context, self.standing.as_bytes());
        bytes(&mut context, self.device.as_deref().unwrap_or("").as_bytes());
        bytes(&mut context, self.transaction_id.as_deref().unwrap_or("").as_bytes());
        bytes(&mut context, self.body.as_bytes());
        bytes(&mut context, &self.previous);
        context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// The event with its place, or nothing where no version of this program writes such a row.
    pub(super) fn read(&self) -> Option<Record> {
        let standing = Standing::from_name(&self.standing)?;
        Some(Record {
            station: self.station.parse().ok()?,
            sequence: self.sequence.try_into().ok().map(Sequence)?,
            time: OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.time) * 1000).ok()?,
            job: self.job.map(|job| job.try_into().map(JobNumber)).transpose().ok()?,
            event: Event::from_parts(&self.kind, standing, &self.body).ok()?,
            hash: self.hash.as_slice().try_into().ok()?,
        })
    }
}

/// Follows the rows of all stations, each station's in order.
#[derive(Debug, Default)]
pub(super) struct Walk {
    events: u64,
    at: Option<(String, i64, Vec<u8>)>,
    heads: Vec<Head>,
}

/// Where a walk stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) station: String,
    pub(super) sequence: i64,
    pub(super) what: Break,
}

impl Walk {
    /// One row further, or the reason why it does not continue its chain.
    pub(super) fn step(&mut self, row: Row) -> Result<(), Stop> {
        if self.at.as_ref().is_some_and(|(station, ..)| *station != row.station) {
            self.leave();
        }
        let (sequence, hash) = match &self.at {
            Some((_, sequence, hash)) => (*sequence, hash.as_slice()),
            None => (0, NOTHING_BEFORE.as_slice()),
        };
        let what = if sequence.checked_add(1) != Some(row.sequence) {
            Some(Break::Gap)
        } else if row.previous != hash {
            Some(Break::Previous)
        } else if row.hash != row.digest() {
            Some(Break::Hash)
        } else {
            None
        };
        if let Some(what) = what {
            return Err(Stop { station: row.station, sequence: row.sequence, what });
        }
        self.events += 1;
        self.at = Some((row.station, row.sequence, row.hash));
        Ok(())
    }

    /// What was walked.
    pub(super) fn finish(mut self) -> Verified {
        self.leave();
        Verified { events: self.events, heads: self.heads }
    }

    fn leave(&mut self) {
        if let Some((station, sequence, hash)) = self.at.take() {
            self.heads.push(Head {
                station: station.parse().unwrap_or_default(),
                sequence: Sequence(sequence.unsigned_abs()),
                hash: hash.try_into().expect("the hash was equal to a SHA-256"),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row() -> Row {
        Row {
            station: "5a6d33f1-0000-0000-0000-000000000001".into(),
            sequence: 1,
            time: 1_795_000_000_000_000,
            job: Some(1),
            kind: "aborted".into(),
            standing: "claimed".into(),
            device: None,
            transaction_id: Some("ab".repeat(16)),
            body: "{}".into(),
            previous: NOTHING_BEFORE.to_vec(),
            hash: Vec::new(),
        }
    }

    #[test]
    fn the_encoding_of_a_hash_never_changes() {
        let hex: String = row().digest().iter().map(|byte| format!("{byte:02x}")).collect();
        insta::assert_snapshot!(hex, @"0d3cccbc739e0c02460d65080ff20ad0fc6c82451d3a122c16854e46c6769992");
    }

    #[test]
    fn every_column_counts() {
        let changes: [fn(&mut Row); 10] = [
            |row| row.station.push('0'),
            |row| row.sequence = 2,
            |row| row.time += 1,
            |row| row.job = None,
            |row| row.kind.push('x'),
            |row| row.standing = "observed".into(),
            |row| row.device = Some("x".into()),
            |row| row.transaction_id = None,
            |row| row.body = "{ }".into(),
            |row| row.previous[31] = 1,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = row();
            change(&mut changed);
            assert_ne!(changed.digest(), row().digest(), "change {number}");
        }
    }

    proptest! {
        #[test]
        fn a_text_moved_across_a_border_is_another_event(text in "[a-z]{1,12}", cut in 0usize..12) {
            let cut = cut.min(text.len());
            let split = |at: usize| Row { kind: text[..at].into(), standing: text[at..].into(), ..row() };
            if cut != text.len() {
                prop_assert_ne!(split(cut).digest(), split(text.len()).digest());
            }
        }
    }
}
