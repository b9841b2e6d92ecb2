//! Private keys for the lab's servers and virtual phones, made before they are asked for.
//!
//! An RSA key takes its time (2048 bits: 0.1 s, 3072 bits: 0.3 s on one small core, tests' profile or not), and a lab
//! needs several. [`Keys::fresh`] makes each key once, on threads of its own, a few ahead of demand. [`Keys::recycled`] is
//! for tests: a handful of keys per process, handed out in turn. No key ever leaves the process's memory.

use crate::credential::KeyKind;
use crate::device::keys::{Stock, make};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use zeroize::Zeroizing;

/// A private key as PKCS#8, DER.
pub type Pkcs8 = Zeroizing<Vec<u8>>;

/// How many different RSA keys [`Keys::recycled`] has of each size: enough that neighbouring phones differ.
const RECYCLED: usize = 4;

/// A supply of private keys. A clone draws from the same supply.
#[derive(Clone)]
pub struct Keys(Supply);

#[derive(Clone)]
enum Supply {
    Fresh(Arc<Fresh>),
    Stock(Stock),
    Recycled,
}

struct Fresh {
    ahead: usize,
    rsa_2048: OnceLock<Mutex<Receiver<Pkcs8>>>,
    rsa_3072: OnceLock<Mutex<Receiver<Pkcs8>>>,
}

impl Keys {
    /// Keys that nobody else has or will have. `ahead` RSA 2048 keys are made ready at once on threads of their own; RSA
    /// 3072 keys only after the first was asked for. Where the environment names a [`Stock`], from there.
    pub fn fresh(ahead: usize) -> Self {
        if let Some(stock) = Stock::of_environment() {
            return Self(Supply::Stock(stock));
        }
        let fresh = Fresh { ahead, rsa_2048: OnceLock::new(), rsa_3072: OnceLock::new() };
        if ahead > 0 {
            fresh.rsa_2048.get_or_init(|| workshop(KeyKind::Rsa2048, ahead));
        }
        Self(Supply::Fresh(Arc::new(fresh)))
    }

    /// Keys of this process, handed out in turn: the fifth RSA 2048 key is the first again. For tests.
    pub const fn recycled() -> Self {
        Self(Supply::Recycled)
    }

    /// The next key of this kind. Blocks for as long as making one takes; [`Keys::ready`] is for async code.
    pub fn take(&self, kind: KeyKind) -> Pkcs8 {
        match (&self.0, kind) {
            (_, KeyKind::P256) => make(kind),
            (Supply::Fresh(fresh), KeyKind::Rsa2048) => fresh.take(&fresh.rsa_2048, kind),
            (Supply::Fresh(fresh), KeyKind::Rsa3072) => fresh.take(&fresh.rsa_3072, kind),
            (Supply::Stock(stock), _) => stock.take(kind),
            (Supply::Recycled, KeyKind::Rsa2048) => RING_2048.take(kind),
            (Supply::Recycled, KeyKind::Rsa3072) => RING_3072.take(kind),
        }
    }

    /// `N` RSA 2048 keys of which no two are the same, whoever else takes keys meanwhile. At most 4.
    pub fn different<const N: usize>(&self) -> [Pkcs8; N] {
        const { assert!(N <= RECYCLED) }
        match &self.0 {
            Supply::Fresh(_) | Supply::Stock(_) => std::array::from_fn(|_| self.take(KeyKind::Rsa2048)),
            Supply::Recycled => RING_2048.different(),
        }
    }

    /// [`Keys::take`] without holding up the other tasks.
    pub async fn ready(&self, kind: KeyKind) -> Pkcs8 {
        let keys = self.clone();
        tokio::task::spawn_blocking(move || keys.take(kind)).await.expect("making a key does not panic")
    }
}

impl Fresh {
    fn take(&self, queue: &OnceLock<Mutex<Receiver<Pkcs8>>>, kind: KeyKind) -> Pkcs8 {
        let queue = queue.get_or_init(|| workshop(kind, self.ahead.min(1)));
        let receiver = queue.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.recv().unwrap_or_else(|_| make(kind))
    }
}

/// Threads that make keys until nobody holds the other end, `ahead` more than were taken and one in each thread's hand.
fn workshop(kind: KeyKind, ahead: usize) -> Mutex<Receiver<Pkcs8>> {
    let (sender, receiver) = sync_channel(ahead);
    for _ in 0..ahead.clamp(1, 2) {
        let sender = sender.clone();
        std::thread::spawn(move || while sender.send(make(kind)).is_ok() {});
    }
    Mutex::new(receiver)
}

static RING_2048: Ring = Ring(Mutex::new((Vec::new(), 0)));
static RING_3072: Ring = Ring(Mutex::new((Vec::new(), 0)));

struct Ring(Mutex<(Vec<Pkcs8>, usize)>);

impl Ring {
    fn take(&self, kind: KeyKind) -> Pkcs8 {
        next(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), kind)
    }

    /// Neighbours in the ring, taken at once.
    fn different<const N: usize>(&self) -> [Pkcs8; N] {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::array::from_fn(|_| next(&mut ring, KeyKind::Rsa2048))
    }
}

fn next((keys, next): &mut (Vec<Pkcs8>, usize), kind: KeyKind) -> Pkcs8 {
    let place = *next % RECYCLED;
    *next += 1;
    if keys.len() <= place {
        keys.push(make(kind));
    }
    keys[place].clone()
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_keys_never_repeat() {
        let keys = Keys::fresh(1);
        assert_ne!(keys.take(KeyKind::Rsa2048), keys.take(KeyKind::Rsa2048));
        assert_ne!(keys.take(KeyKind::P256), keys.take(KeyKind::P256));
    }

    #[test]
    fn recycled_keys_differ_between_neighbours_and_cost_nothing_once_made() {
        let keys = Keys::recycled();
        let taken: Vec<_> = (0..4 * RECYCLED).map(|_| keys.take(KeyKind::Rsa2048)).collect();
        let mut different = taken.clone();
        different.sort_by(|a, b| a.as_slice().cmp(b));
        different.dedup();
        assert_eq!(different.len(), RECYCLED);
    }
}
