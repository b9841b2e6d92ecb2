//! Credentials that a service has refused, so that none is sent twice: a wrong PIN or password tried again and again
//! locks the user out.

use aws_lc_rs::{hmac, rand};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;

/// Remembers refused credentials by a keyed hash; the key lives and dies with the process.
#[derive(Clone)]
pub struct RefusedCredentials(Arc<Memory>);

struct Memory {
    key: hmac::Key,
    refused: Mutex<HashSet<Mark>>,
    turns: Mutex<HashMap<Mark, Arc<tokio::sync::Mutex<()>>>>,
}

/// A credential's keyed hash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Mark(Vec<u8>);

impl RefusedCredentials {
    /// An empty memory of its own.
    pub fn new() -> Self {
        let mut key = [0; 32];
        rand::fill(&mut key).expect("the system gives random bytes");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self(Arc::new(Memory { key, refused: Mutex::default(), turns: Mutex::default() }))
    }

    /// The one memory of this process.
    pub fn of_this_process() -> Self {
        static PROCESS: LazyLock<RefusedCredentials> = LazyLock::new(RefusedCredentials::new);
        PROCESS.clone()
    }

    /// `kind` keeps a PIN, a password and a certificate apart; case does not count in `login`.
    pub(super) fn mark(&self, kind: &str, login: &str, secret: &[u8]) -> Mark {
        let mut context = hmac::Context::with_key(&self.0.key);
        for part in [kind.as_bytes(), login.to_lowercase().as_bytes(), secret] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        Mark(context.sign().as_ref().to_vec())
    }

    /// The turn to send this credential: several phones of one user must not all send the same wrong PIN at once.
    pub(super) async fn turn(&self, mark: &Mark) -> OwnedMutexGuard<()> {
        let lock = {
            let mut turns = self.0.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(turns.entry(mark.clone()).or_default())
        };
        lock.lock_owned().await
    }

    pub(super) fn contains(&self, mark: &Mark) -> bool {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).contains(mark)
    }

    pub(super) fn remember(&self, mark: Mark) {
        self.0.refused.lock().unwrap_or_else(PoisonError::into_inner).insert(mark);
    }
}

impl Default for RefusedCredentials {
    fn default() -> Self {
        Self::of_this_process()
    }
}

impl std::fmt::Debug for RefusedCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefusedCredentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corrected_password_is_another_credential_and_the_case_of_the_login_does_not_count() {
        let memory = RefusedCredentials::new();
        memory.remember(memory.mark("windows", "CONTOSO\\alice", b"wrong"));
        assert!(memory.contains(&memory.mark("windows", "contoso\\Alice", b"wrong")));
        assert!(!memory.contains(&memory.mark("windows", "CONTOSO\\alice", b"right")));
        assert!(!memory.contains(&memory.mark("pin", "CONTOSO\\alice", b"wrong")));
    }
}
