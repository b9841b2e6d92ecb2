//! Earlier jobs that a finished phone has brought to their ends: they get the word that they lack in the ledger.

use crate::ledger::{Event, Ledger, Outcome, State};
use crate::provision::{ProvisionError, settle};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Ends the jobs of these phones that were cut short and whose end the ledger knows. Gives how many.
///
/// # Errors
/// Those of the ledger.
pub async fn settle_what_is_left(devices: &BTreeSet<Uuid>, ledger: &Ledger) -> Result<usize, ProvisionError> {
    let mut settled = 0;
    for unfinished in ledger.unfinished().await? {
        let theirs = unfinished.job.phone.as_ref().is_some_and(|phone| devices.contains(&phone.device));
        if !theirs || unfinished.state == State::Open {
            continue;
        }
        let Some(end) = settle(&unfinished, ledger).await? else { continue };
        let exit_code = if end.outcome == Outcome::Done { 0 } else { 1 };
        let (message, next_step) = (end.message, end.next_step);
        let event = Event::JobEnded { outcome: end.outcome, exit_code, message, next_step };
        ledger.append(Some(unfinished.job.job), &event).await?;
        settled += 1;
    }
    Ok(settled)
}
