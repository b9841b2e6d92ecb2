//! What a phone makes of every server, and what it would have to be given; nothing is changed.

use super::ProvisionError;
use super::planning::date;
use super::trust::{ServerJudgement, ServerSeen};
use crate::credential::{Remedy, Unremedied};
use crate::phone::{Authenticity, Driver, Identity, Parting};
use crate::service::server_trust::{Download, ServerFound};
use std::time::Duration;
use time::OffsetDateTime;

/// A phone that was asked about its trust.
#[derive(Debug)]
pub struct TrustChecked {
    /// Who it says it is.
    pub identity: Identity,
    /// What vouches for it.
    pub authenticity: Authenticity,
    /// What its clock shows.
    pub clock: Option<OffsetDateTime>,
    /// How many trust anchors it holds.
    pub anchors: usize,
    /// Of them, those that are out of date by the clock that was judged by, as `X expired 2020-05-30`.
    pub expired: Vec<String>,
    /// Each server, the Web Services first.
    pub servers: Vec<ServerChecked>,
}

/// One server through the phone's eyes.
#[derive(Debug)]
pub struct ServerChecked {
    /// With what the phone holds now.
    pub judgement: ServerJudgement,
    /// What makes the phone trust it, or why nothing does; `None` where there is no chain to judge.
    pub remedy: Option<Result<Remedy, Unremedied>>,
}

/// Asks a phone for its anchors and judges `servers` by them and by `clock`, the right time: that a phone's clock is wrong
/// is a finding of its own, and a job sets it.
///
/// # Errors
/// Only what keeps it from looking.
pub async fn check_trust<D: Driver>(
    phone: &mut D,
    servers: &[ServerFound],
    download: &Download,
    clock: OffsetDateTime,
) -> Result<TrustChecked, ProvisionError> {
    let identified = phone.identify().await?;
    let state = phone.look(Duration::ZERO).await?;
    let seen = ServerSeen::new(servers, download, &state, clock, phone).await?;
    // The phone has said all that it was asked; a lost farewell changes nothing of it.
    let _ = phone.leave(Parting::Leave).await;
    let held = state.identity.as_ref().map(|identity| identity.intermediates.as_slice()).unwrap_or_default();
    let expired = state.anchors.iter().filter(|anchor| anchor.not_after < clock);
    Ok(TrustChecked {
        identity: identified.identity,
        authenticity: identified.authenticity,
        clock: state.clock,
        anchors: state.anchors.len(),
        expired: expired.map(|anchor| format!("{} expired {}", anchor.name, date(anchor.not_after))).collect(),
        servers: checked(&seen, held),
    })
}

fn checked(seen: &ServerSeen, held: &[crate::credential::Fingerprint]) -> Vec<ServerChecked> {
    let judged = seen.judgements_with(held).into_iter().zip(seen.remedies());
    judged.map(|(judgement, remedy)| ServerChecked { judgement, remedy }).collect()
}
