//! What is asked for, and how it is stopped.

use crate::credential::SipAddress;
use crate::phone::Parting;
use crate::service::SignInWay;
use tokio_util::sync::CancellationToken;

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
    /// How the session ends.
    pub parting: Parting,
    /// Where the phone is plugged in, for the ledger: `1-4.2`.
    pub slot: String,
    /// Whether the pool is a lab.
    pub lab: bool,
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
