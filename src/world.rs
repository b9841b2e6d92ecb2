//! Time, randomness and waiting, as they are passed in: the system's own, or those of a tape.

use crate::tape::Tape;
use std::time::{Duration, Instant};
use time::OffsetDateTime;

/// Where a job gets the time and random bytes from.
#[derive(Debug, Clone, Default)]
pub struct World(Option<Tape>);

/// A moment, to know later how long ago it was.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    uptime: Instant,
    clock: OffsetDateTime,
}

impl World {
    /// This computer's.
    pub fn system() -> Self {
        Self(None)
    }

    /// This computer's, noted on the tape; or what is on it, where it plays.
    pub fn of(tape: &Tape) -> Self {
        Self(Some(tape.clone()))
    }

    /// This computer's clock. On a tape it has whole seconds.
    pub fn now(&self) -> OffsetDateTime {
        match &self.0 {
            None => OffsetDateTime::now_utc(),
            Some(tape) => tape.now(OffsetDateTime::now_utc),
        }
    }

    /// Random bytes, never secret ones: what they are for is noted with them.
    pub fn random<const N: usize>(&self, what: &'static str) -> [u8; N] {
        let mut bytes = [0; N];
        aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
        if let Some(tape) = &self.0 {
            tape.random(what, &mut bytes);
        }
        bytes
    }

    /// This moment.
    pub fn moment(&self) -> Moment {
        Moment { uptime: Instant::now(), clock: self.now() }
    }

    /// How long ago a moment was. A clock that is set meanwhile does not count, but on a tape.
    pub fn since(&self, moment: Moment) -> Duration {
        match &self.0 {
            None => moment.uptime.elapsed(),
            Some(_) => Duration::try_from(self.now() - moment.clock).unwrap_or_default(),
        }
    }

    /// Waits; a tape that plays waits for nothing.
    pub async fn sleep(&self, time: Duration) {
        match &self.0 {
            Some(tape) if tape.plays() => {}
            Some(_) | None => tokio::time::sleep(time).await,
        }
    }
}
