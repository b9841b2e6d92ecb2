//! What the ledger says of a roster's rows, so that a station that was stopped or killed goes on where it was.

use super::board::Past;
use super::roster::{PhoneKeys, Row};
use crate::ledger::{JobPhone, JobSummary, Ledger, LedgerError, Outcome, State, TransactionView, Unfinished};
use std::collections::HashMap;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

/// A certificate that ends sooner is renewed, as a job by hand would.
const LONG_ENOUGH: Duration = Duration::days(30);

/// What is known of each row. `lab` tells the jobs of a lab from real ones.
///
/// A row is *done* where the last job that a fitting phone has ended well was for its user. It is *begun* where something
/// may be published for a fitting phone.
///
/// # Errors
/// Those of the ledger.
pub async fn look_up(rows: &[Row], ledger: &Ledger, lab: bool) -> Result<Vec<Past>, LedgerError> {
    let jobs: Vec<JobSummary> =
        ledger.jobs().await?.into_iter().filter(|job| !job.dry_run && job.lab == lab && job.phone.is_some()).collect();
    if jobs.is_empty() {
        return Ok(vec![Past::Nothing; rows.len()]);
    }
    let done = |job: &&JobSummary| job.end.as_ref().is_some_and(|end| end.outcome == Outcome::Done);
    let mut last: HashMap<Uuid, &JobSummary> = HashMap::new();
    for job in jobs.iter().filter(done) {
        let Some(phone) = &job.phone else { continue };
        let newer = last.get(&phone.device).is_none_or(|known| known.began <= job.began);
        if newer {
            last.insert(phone.device, job);
        }
    }
    let mut unfinished = ledger.unfinished().await?;
    unfinished.retain(|it| {
        let published = it.transaction.as_ref().is_some_and(TransactionView::may_be_published);
        it.state == State::Open && it.job.lab == lab && published
    });
    let mut past = Vec::new();
    for row in rows {
        past.push(of(row, &last, &unfinished, ledger).await?);
    }
    Ok(past)
}

async fn of(
    row: &Row,
    last: &HashMap<Uuid, &JobSummary>,
    unfinished: &[Unfinished],
    ledger: &Ledger,
) -> Result<Past, LedgerError> {
    let begun = unfinished.iter().rev().find(|it| fits(row, &it.job));
    if let Some((job, phone)) = begun.and_then(|it| Some((it.job.job, it.job.phone.as_ref()?))) {
        return Ok(Past::Begun { device: phone.device, job });
    }
    let done = last.values().filter(|job| fits(row, job)).max_by_key(|job| job.began);
    let Some((job, phone)) = done.and_then(|job| Some((job, job.phone.as_ref()?))) else { return Ok(Past::Nothing) };
    let published = ledger.newest_publication(phone.device, Some(&row.user)).await?.and_then(|view| view.published);
    // Where another ledger has the publication: when it was found good it was so for as long.
    let ends = published.map_or(job.began + LONG_ENOUGH, |published| published.not_after - LONG_ENOUGH);
    if ends < OffsetDateTime::now_utc() {
        return Ok(Past::Nothing);
    }
    Ok(Past::Done { device: phone.device, job: job.job, port: port(&job.slot) })
}

/// Whether a job was for this row, by what it says of its phone.
fn fits(row: &Row, job: &JobSummary) -> bool {
    let keys = job.phone.as_ref().and_then(|phone| keys(phone, &job.slot));
    job.user == row.user && keys.is_some_and(|keys| row.keys.fit(&keys).is_whole())
}

fn keys(phone: &JobPhone, slot: &str) -> Option<PhoneKeys> {
    let mac = phone.mac.as_ref()?.parse().ok()?;
    Some(PhoneKeys { mac, serial: phone.serial.clone(), slot: slot.parse().ok()?, device: phone.device })
}

fn port(slot: &str) -> String {
    slot.parse::<crate::usb::Slot>().map_or_else(|_| slot.to_owned(), |slot| slot.port())
}
