//! What is asked for, and how it is stopped.

use super::rehearsal::Rehearsal;
use crate::credential::SipAddress;
use crate::ledger::Terms;
use crate::phone::Parting;
use crate::service::SignInWay;
use crate::world::World;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// One phone for one user.
#[derive(Debug, Clone)]
pub struct Job {
    /// The user.
    pub user: SipAddress,
    /// How the user signs in. By its certificate a phone is always renewed: nothing else needs its signature.
    pub sign_in: SignInWay,
    /// Say what would be done, and do nothing.
    pub dry_run: bool,
    /// Replace another user's identity without asking.
    pub replace: bool,
    /// Publish a new certificate although the phone holds a good one.
    pub renew: bool,
    /// Give up another computer's pending job in the phone.
    pub abort_pending: bool,
    /// Somebody can compare a short code, where nothing else vouches for the phone.
    pub compare_code: bool,
    /// Refuse a phone for which nothing vouches.
    pub require_authentic: bool,
    /// What the phone goes by after the commit: `host:port` of the registrar, where it is given.
    pub registrar: Option<String>,
    /// URL of the certificate provisioning service, as the phone will use it.
    pub web_services: String,
    /// Where the user is signed in and off again after the proof, by the key in the phone.
    pub rehearsal: Option<Rehearsal>,
    /// How the session ends.
    pub parting: Parting,
    /// Where the phone is plugged in, for the ledger: `1-4.2`.
    pub slot: String,
    /// Whether the pool is a lab.
    pub lab: bool,
    /// What has to show that the phone is a lab's too.
    pub lab_phone: LabPhone,
    /// How often a publication is tried that an unavailable data store keeps from happening, at least once.
    pub publish_tries: u32,
    /// How long is waited between two such tries, give or take a fifth.
    pub publish_wait: Duration,
    /// Spreads the waits, so that a station's phones do not come back all at once.
    pub jitter: Jitter,
    /// What the ledger keeps so that the job can be resumed.
    pub terms: Option<Terms>,
    /// Time, random bytes and waiting.
    pub world: World,
}

/// What has to show that a phone belongs to a lab, before it gets what a lab's pool gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LabPhone {
    /// Nothing: the pool is real, or the way to the phone leads to a lab and nowhere else.
    NotAsked,
    /// Its factory key: the phone's definition names the roots of a lab's maker, and no real phone has such a key.
    ByItsMaker,
    /// Nothing can: its definition is that of a real model.
    Impossible,
}

/// Numbers that look random and are the same for the same seed.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// By a seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// By a seed that nobody knows.
    pub fn random() -> Self {
        Self(Uuid::new_v4().as_u64_pair().1)
    }

    /// The seed as it stands.
    pub(crate) fn seed(&self) -> u64 {
        self.0
    }

    /// The wait, a fifth longer or shorter at most.
    pub(super) fn spread(&mut self, wait: Duration) -> Duration {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let thousandth = u32::try_from((mixed ^ (mixed >> 31)) % 401).expect("less than 401");
        wait * (800 + thousandth) / 1000
    }
}

/// Stops a job at its next safe point: Ctrl-C, SIGTERM, a closed terminal.
///
/// Between the moment at which a certificate may have been published and the phone's proof there is no safe point: the job
/// is brought to its end, which takes seconds.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Asks for the stop.
    pub fn ask(&self) {
        self.0.cancel();
    }

    /// Whether it was asked for.
    pub fn is_asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is asked for.
    pub async fn asked(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_spread_by_a_fifth_to_either_side_and_repeat_with_their_seed() {
        let wait = Duration::from_secs(30);
        let waits = |seed| {
            let mut jitter = Jitter::seeded(seed);
            (0..500).map(|_| jitter.spread(wait)).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
        let (least, most) = (waits(7).into_iter().min().unwrap(), waits(7).into_iter().max().unwrap());
        assert!(least >= Duration::from_secs(24) && least < Duration::from_secs(25), "{least:?}");
        assert!(most <= Duration::from_secs(36) && most > Duration::from_secs(35), "{most:?}");
        assert_eq!(Jitter::random().spread(Duration::ZERO), Duration::ZERO);
    }
}
