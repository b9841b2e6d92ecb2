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
/// A row is *done* where the last job that a fitting phone has ended well was for its user, and *due* where that phone's
/// certificate ends soon: it is still that phone's. It is *begun* where something may be published for a fitting phone. Each
/// by any station of this ledger.
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
    let mut unfinished = ledger.unfinished_of_all_stations().await?;
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
        return Ok(Past::Due { device: phone.device, job: job.job });
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

#[cfg(test)]
mod tests {
    use super::super::roster::Draft;
    use super::*;
    use crate::credential::{Fingerprint, SipAddress};
    use crate::ledger::{Authenticity, Event, JobNumber, JobStarted, TransactionId};
    use crate::service::Publication;
    use std::path::Path;

    const DEVICE: Uuid = Uuid::from_u128(1);
    const TRANSACTION: TransactionId = TransactionId::from_bytes([1; 16]);

    fn alice() -> SipAddress {
        "alice@contoso.example".parse().unwrap()
    }

    async fn station(folder: &Path, label: &str) -> Ledger {
        Ledger::open(&folder.join("ledger.sqlite"), label).await.unwrap()
    }

    /// A job for alice on the phone with the serial number A.
    async fn begun(ledger: &Ledger) -> JobNumber {
        let slot = "1-1".to_owned();
        let started = JobStarted { tool: "0.1.0".into(), lab: true, dry_run: false, user: alice(), slot, terms: None };
        let job = ledger.begin_job(started).await.unwrap();
        let identified = Event::PhoneIdentified {
            maker: "Acme".into(),
            model: "Desk 2".into(),
            serial: "A".into(),
            mac: Some("00:04:f2:aa:bb:01".into()),
            firmware: "3.1".into(),
            device: DEVICE,
            authenticity: Authenticity::Unauthenticated,
            keys: None,
        };
        ledger.append(Some(job), &identified).await.unwrap();
        job
    }

    async fn published(ledger: &Ledger, job: JobNumber, not_after: OffsetDateTime) {
        let signing_request = b"a request".to_vec();
        let publication = Publication { user: alice(), device: DEVICE, signing_request, request_id: Uuid::nil() };
        let certificate = b"a certificate".to_vec();
        let fingerprint = Fingerprint::of(&certificate);
        for event in [
            Event::PublishIntended { transaction: TRANSACTION, publication },
            Event::Published { transaction: TRANSACTION, certificate, fingerprint, not_after, server: None },
        ] {
            ledger.append(Some(job), &event).await.unwrap();
        }
    }

    async fn done(ledger: &Ledger, job: JobNumber) {
        let (transaction, fingerprint) = (Some(TRANSACTION), Fingerprint::of(b"a certificate"));
        let ended = Event::JobEnded { outcome: Outcome::Done, exit_code: 0, message: String::new(), next_step: None };
        for event in [Event::Proved { device: DEVICE, transaction, fingerprint, user: alice() }, ended] {
            ledger.append(Some(job), &event).await.unwrap();
        }
    }

    /// What this ledger says of the one row.
    async fn past(ledger: &Ledger) -> Past {
        let draft = Draft::of("roster.csv", b"serial,user\nA,alice@contoso.example\n").unwrap();
        look_up(draft.rows(), ledger, true).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_row_whose_certificate_ends_soon_is_still_its_phones() {
        for (days, is_due) in [(-1, true), (29, true), (31, false)] {
            let folder = tempfile::tempdir().unwrap();
            let ledger = station(folder.path(), "bench-1").await;
            let job = begun(&ledger).await;
            published(&ledger, job, OffsetDateTime::now_utc() + Duration::days(days)).await;
            done(&ledger, job).await;
            let expected = match is_due {
                true => Past::Due { device: DEVICE, job },
                false => Past::Done { device: DEVICE, job, port: "1-1".into() },
            };
            assert_eq!(past(&ledger).await, expected, "{days}");
        }
    }

    #[tokio::test]
    async fn what_another_station_has_begun_is_begun_until_any_of_them_has_ended_it() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (station(folder.path(), "bench-1").await, station(folder.path(), "bench-2").await);
        let job = begun(&one).await;
        assert_eq!((past(&one).await, past(&two).await), (Past::Nothing, Past::Nothing), "nothing is published");
        published(&one, job, OffsetDateTime::now_utc() + Duration::days(180)).await;
        let open = Past::Begun { device: DEVICE, job };
        assert_eq!((past(&one).await, past(&two).await), (open.clone(), open));
        let later = begun(&two).await;
        done(&two, later).await;
        let ended = Past::Done { device: DEVICE, job: later, port: "1-1".into() };
        assert_eq!((past(&one).await, past(&two).await), (ended.clone(), ended));
    }
}
