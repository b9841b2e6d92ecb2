//! A tape: what was said between a job and everything outside it, in order, as a text that a person can read.
//!
//! Whoever carries something notes it here while a tape records, and asks here instead while it plays: then what is asked
//! has to be what was asked. The first difference stays, with both sides in words, and nothing is answered after it.
//! What may be noted is the business of the carriers: nothing secret comes here.

mod difference;
mod text;
mod value;

pub use difference::Difference;
pub use text::BadTape;
pub use value::{NotAValue, Value};

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// What an entry of a tape is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What was to be done.
    Job,
    /// What this computer is to the phone.
    Host,
    /// What the ledger knew before.
    Known,
    /// This computer's clock from here on, in whole seconds.
    Time,
    /// Random bytes: what for, and which.
    Random,
    /// The phone was asked.
    PhoneAsked,
    /// The phone answered.
    PhoneAnswered,
    /// The phone, or the cable, failed.
    PhoneFailed,
    /// The service was asked.
    ServiceAsked,
    /// The service answered.
    ServiceAnswered,
    /// The service refused or failed.
    ServiceFailed,
    /// A person was asked.
    PersonAsked,
    /// A person answered.
    PersonAnswered,
    /// How it ended.
    Outcome,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Job,
        Self::Host,
        Self::Known,
        Self::Time,
        Self::Random,
        Self::PhoneAsked,
        Self::PhoneAnswered,
        Self::PhoneFailed,
        Self::ServiceAsked,
        Self::ServiceAnswered,
        Self::ServiceFailed,
        Self::PersonAsked,
        Self::PersonAnswered,
        Self::Outcome,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::Host => "host",
            Self::Known => "ledger knew",
            Self::Time => "time",
            Self::Random => "random",
            Self::PhoneAsked => "phone asked",
            Self::PhoneAnswered => "phone answered",
            Self::PhoneFailed => "phone failed",
            Self::ServiceAsked => "service asked",
            Self::ServiceAnswered => "service answered",
            Self::ServiceFailed => "service failed",
            Self::PersonAsked => "person asked",
            Self::PersonAnswered => "person answered",
            Self::Outcome => "outcome",
        })
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub value: Value,
    /// The line that it begins on, where it was read from a text.
    pub line: usize,
}

/// A tape that records or plays. Clones are the same tape.
#[derive(Clone)]
pub struct Tape(Arc<Mutex<Inner>>);

struct Inner {
    plays: bool,
    entries: Vec<Entry>,
    /// While it plays: the next entry.
    next: usize,
    /// What the clock showed last, whole seconds.
    clock: OffsetDateTime,
    difference: Option<Difference>,
    /// Until when what is on it could do harm.
    holds_back_until: Option<OffsetDateTime>,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner();
        let what = if inner.plays { "plays" } else { "records" };
        write!(f, "Tape({what}, {} of {} entries)", inner.next, inner.entries.len())
    }
}

impl Tape {
    /// One to record on.
    pub fn blank() -> Self {
        Self::of(false, Vec::new())
    }

    /// One that plays what is on it.
    pub fn playing(entries: Vec<Entry>) -> Self {
        Self::of(true, entries)
    }

    fn of(plays: bool, entries: Vec<Entry>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            plays,
            entries,
            next: 0,
            clock: OffsetDateTime::UNIX_EPOCH,
            difference: None,
            holds_back_until: None,
        })))
    }

    /// Reads the text of a tape, to play it.
    ///
    /// # Errors
    /// Where the text is no tape.
    pub fn read(text: &str) -> Result<Self, BadTape> {
        text::read(text).map(Self::playing)
    }

    /// The tape as a text. `heading` stands above it as a remark.
    pub fn text(&self, heading: &str) -> String {
        text::written(heading, &self.inner().entries)
    }

    /// Whether it plays.
    pub fn plays(&self) -> bool {
        self.inner().plays
    }

    /// Notes what happened; nothing while it plays.
    pub fn note(&self, kind: Kind, value: Value) {
        let mut inner = self.inner();
        if !inner.plays {
            inner.entries.push(Entry { kind, value, line: 0 });
        }
    }

    /// Puts an entry at the front, for what is known only in the end; nothing while it plays.
    pub fn note_first(&self, kind: Kind, value: Value) {
        let mut inner = self.inner();
        if !inner.plays {
            inner.entries.insert(0, Entry { kind, value, line: 0 });
        }
    }

    /// The tape holds what could do harm until then.
    pub fn hold_back_until(&self, time: OffsetDateTime) {
        let mut inner = self.inner();
        inner.holds_back_until = inner.holds_back_until.max(Some(time));
    }

    /// Until when the tape holds what could do harm, if it does.
    pub fn holds_back_until(&self) -> Option<OffsetDateTime> {
        self.inner().holds_back_until
    }

    /// Asks for something. While the tape records that is noted; while it plays it has to be what was asked then.
    ///
    /// # Errors
    /// The difference, while it plays.
    pub fn ask(&self, kind: Kind, value: Value) -> Result<(), Difference> {
        if !self.plays() {
            self.note(kind, value);
            return Ok(());
        }
        let mut inner = self.inner();
        match inner.take(&format!("{kind}: {}", value.on_a_line()), |entry| entry.kind == kind)? {
            entry if entry.value == value => Ok(()),
            entry => Err(inner.differs(Difference::between(&entry, &value))),
        }
    }

    /// What was answered then: an entry of one of these kinds.
    ///
    /// # Errors
    /// The difference.
    pub fn answer(&self, kinds: &[Kind]) -> Result<Entry, Difference> {
        let words: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        self.inner().take(&words.join(" or "), |entry| kinds.contains(&entry.kind))
    }

    /// What is read of the tape makes no sense: that too is a difference.
    pub fn nonsense(&self, entry: &Entry) -> Difference {
        let mut inner = self.inner();
        inner.differs(Difference::nonsense(entry))
    }

    /// The clock now, as it is noted or played: whole seconds, standing still in between.
    pub(crate) fn now(&self, system: impl FnOnce() -> OffsetDateTime) -> OffsetDateTime {
        let mut inner = self.inner();
        if inner.plays {
            // A time that nobody asked for any more is passed over by whatever is taken next.
            inner.pass_one_time();
            return inner.clock;
        }
        let now = system().replace_nanosecond(0).expect("0 is a nanosecond");
        if now != inner.clock {
            inner.clock = now;
            let value = Value::Int(now.unix_timestamp().into());
            inner.entries.push(Entry { kind: Kind::Time, value, line: 0 });
        }
        now
    }

    /// Random bytes, as they are noted or played.
    pub(crate) fn random(&self, what: &str, bytes: &mut [u8]) {
        if !self.plays() {
            return self.note(Kind::Random, Value::Array(vec![Value::text(what), Value::bytes(bytes)]));
        }
        bytes.fill(0);
        let mut inner = self.inner();
        let Ok(entry) = inner.take(&format!("random: {what}"), |entry| entry.kind == Kind::Random) else { return };
        match entry.value.as_list() {
            Some([Value::Text(name), Value::Bytes(played)]) if name == what && played.len() == bytes.len() => {
                bytes.copy_from_slice(played);
            }
            _ => {
                inner.differs(Difference::between(&entry, &Value::Array(vec![Value::text(what)])));
            }
        }
    }

    /// Ends the playing: nothing may be left.
    ///
    /// # Errors
    /// The first difference that there was, or what is left.
    pub fn end(&self) -> Result<(), Difference> {
        let mut inner = self.inner();
        while inner.pass_one_time() {}
        match (&inner.difference, inner.entries.get(inner.next)) {
            (Some(difference), _) => Err(difference.clone()),
            (None, Some(left)) => Err(Difference::left(left)),
            (None, None) => Ok(()),
        }
    }

    /// How many entries of this kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.inner().entries.iter().filter(|entry| entry.kind == kind).count()
    }

    /// The first difference so far.
    pub fn difference(&self) -> Option<Difference> {
        self.inner().difference.clone()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The next entry that is no time, where it is the right one.
    fn take(&mut self, wanted: &str, is_it: impl FnOnce(&Entry) -> bool) -> Result<Entry, Difference> {
        if let Some(difference) = &self.difference {
            return Err(difference.clone());
        }
        while self.pass_one_time() {}
        match self.entries.get(self.next).cloned() {
            Some(entry) if is_it(&entry) => {
                self.next += 1;
                Ok(entry)
            }
            Some(other) => Err(self.differs(Difference::another(&other, wanted))),
            None => Err(self.differs(Difference::over(wanted))),
        }
    }

    fn pass_one_time(&mut self) -> bool {
        let Some(Entry { kind: Kind::Time, value, .. }) = self.entries.get(self.next) else { return false };
        let seconds = value.as_number::<i64>().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        self.clock = seconds.unwrap_or(self.clock);
        self.next += 1;
        true
    }

    /// Only the first difference counts: what follows follows from it.
    fn differs(&mut self, difference: Difference) -> Difference {
        self.difference.get_or_insert(difference).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn what_is_recorded_plays_in_the_same_order() {
        let recorded = Tape::blank();
        let now = datetime!(2026-11-22 10:00:00.7 UTC);
        assert_eq!(recorded.now(|| now), datetime!(2026-11-22 10:00 UTC));
        let mut bytes = [7; 4];
        recorded.random("nonce", &mut bytes);
        recorded.ask(Kind::PhoneAsked, Value::text("state")).unwrap();
        recorded.note(Kind::PhoneAnswered, Value::Null);

        let played = Tape::read(&recorded.text("a test")).unwrap();
        assert_eq!(played.now(|| unreachable!()), datetime!(2026-11-22 10:00 UTC));
        assert_eq!(played.now(|| unreachable!()), datetime!(2026-11-22 10:00 UTC), "it stands still");
        let mut bytes = [0; 4];
        played.random("nonce", &mut bytes);
        assert_eq!(bytes, [7; 4]);
        played.ask(Kind::PhoneAsked, Value::text("state")).unwrap();
        assert_eq!(played.answer(&[Kind::PhoneAnswered, Kind::PhoneFailed]).unwrap().value, Value::Null);
        played.end().unwrap();
    }

    #[test]
    fn the_first_difference_stays_and_nothing_is_answered_after_it() {
        let recorded = Tape::blank();
        recorded.ask(Kind::PhoneAsked, Value::text("state")).unwrap();
        recorded.note(Kind::PhoneAnswered, Value::Null);
        let played = Tape::read(&recorded.text("")).unwrap();
        let first = played.ask(Kind::PhoneAsked, Value::text("anchors")).unwrap_err();
        assert!(first.to_string().contains("state") && first.to_string().contains("anchors"), "{first}");
        assert_eq!(played.answer(&[Kind::PhoneAnswered]).unwrap_err(), first);
        assert_eq!(played.end().unwrap_err(), first);
    }

    #[test]
    fn a_time_that_nobody_asks_for_any_more_is_no_difference_and_what_is_left_is_one() {
        let recorded = Tape::blank();
        recorded.now(|| datetime!(2026-11-22 10:00 UTC));
        recorded.ask(Kind::PhoneAsked, Value::text("state")).unwrap();
        let text = recorded.text("");
        Tape::read(&text).unwrap().ask(Kind::PhoneAsked, Value::text("state")).unwrap();
        let left = Tape::read(&text).unwrap().end().unwrap_err();
        assert!(left.to_string().contains("phone asked"), "{left}");
    }
}
