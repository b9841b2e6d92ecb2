use super::super::samples::{self, DEVICE, TRANSACTION, publication, published, started};
use super::super::{Break, Outcome, Phase, Standing};
use super::*;
use crate::credential::Fingerprint;
use time::macros::datetime;

async fn ledger() -> Ledger {
    Ledger::temporary("bench-1").await.unwrap()
}

async fn write(ledger: &Ledger, events: &[Event]) {
    for event in events {
        ledger.append(Some(JobNumber(1)), event).await.unwrap();
    }
}

fn intended(transaction: TransactionId) -> Event {
    Event::PublishIntended { transaction, publication: publication(1) }
}

/// What somebody with a database tool can do, once the triggers are out of the way.
async fn tamper(ledger: &Ledger, sql: &'static str) {
    for trigger in ["DROP TRIGGER events_are_never_updated", "DROP TRIGGER events_are_never_deleted"] {
        sqlx::query(trigger).execute(&ledger.pool).await.unwrap();
    }
    sqlx::query(sql).execute(&ledger.pool).await.unwrap();
}

fn broken(error: LedgerError) -> (u64, Break) {
    match error {
        LedgerError::Broken { sequence, what, .. } => (sequence, what),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_was_appended_is_read_back_in_order_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/inside/ledger.sqlite");
    let ledger = Ledger::open(&path, "bench-1").await.unwrap();
    write(&ledger, &samples::events()).await;
    ledger.close().await;

    let ledger = Ledger::open_existing(&path, "bench-1").await.unwrap();
    let records = ledger.events(Filter::default()).await.unwrap();
    let numbers: Vec<u64> = records.iter().map(|record| record.sequence.get()).collect();
    assert_eq!(numbers, (1..=23).collect::<Vec<u64>>());
    assert_eq!(records.into_iter().map(|record| record.event).collect::<Vec<_>>(), samples::events());
    assert_eq!(ledger.verify().await.unwrap().events, 23);
}

#[tokio::test]
async fn an_event_is_synced_before_append_returns() {
    let ledger = ledger().await;
    assert_eq!(ledger.number("PRAGMA synchronous").await.unwrap(), 2, "FULL");
    assert_eq!(ledger.number("PRAGMA foreign_keys").await.unwrap(), 1);
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&ledger.pool).await.unwrap();
    assert_eq!(journal, "wal");
}

#[tokio::test]
async fn two_handles_on_one_file_write_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    // Both make the file at once, as two processes do.
    let (one, two) = tokio::join!(Ledger::open(&path, "bench-1"), Ledger::open(&path, "bench-1"));
    let (one, two) = (one.unwrap(), two.unwrap());
    let events = samples::events();
    tokio::join!(write(&one, &events), write(&two, &events), async {
        let (a, b) = tokio::join!(one.begin_job(started()), two.begin_job(started()));
        assert_ne!(a.unwrap(), b.unwrap());
    });

    let verified = one.verify().await.unwrap();
    assert_eq!(verified.events, 2 * 23 + 2);
    assert_eq!(verified.heads.len(), 1);
    assert_eq!(two.verify().await.unwrap(), verified);
}

#[tokio::test]
async fn each_station_has_its_own_chain_and_its_own_job_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let one = Ledger::open(&path, "bench-1").await.unwrap();
    let two = Ledger::open(&path, "bench-2").await.unwrap();
    for ledger in [&one, &two] {
        assert_eq!(ledger.begin_job(started()).await.unwrap().get(), 1);
        assert_eq!(ledger.begin_job(started()).await.unwrap().get(), 2);
    }
    let verified = one.verify().await.unwrap();
    assert_eq!(verified.heads.iter().map(|head| head.sequence.get()).collect::<Vec<_>>(), [2, 2]);
    let labels: Vec<String> = one.stations().await.unwrap().into_iter().map(|(_, label)| label).collect();
    assert!(labels.contains(&"bench-1".into()) && labels.contains(&"bench-2".into()));
}

#[tokio::test]
async fn events_are_neither_changed_nor_deleted() {
    let ledger = ledger().await;
    write(&ledger, &samples::events()).await;
    for sql in [
        "UPDATE events SET body = '{}'",
        "DELETE FROM events",
        "UPDATE stations SET label = 'x'",
        "DELETE FROM stations",
    ] {
        let error = sqlx::query(sql).execute(&ledger.pool).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_changed_event_is_named() {
    let ledger = ledger().await;
    write(&ledger, &samples::events()).await;
    tamper(&ledger, "UPDATE events SET body = REPLACE(body, 'alice', 'mallory') WHERE sequence = 10").await;
    assert_eq!(broken(ledger.verify().await.unwrap_err()), (10, Break::Hash));
}

#[tokio::test]
async fn a_truncated_event_is_named() {
    let ledger = ledger().await;
    write(&ledger, &samples::events()).await;
    tamper(&ledger, "UPDATE events SET body = SUBSTR(body, 1, 20) WHERE sequence = 6").await;
    assert_eq!(broken(ledger.verify().await.unwrap_err()), (6, Break::Hash));
    let error = ledger.events(Filter::default()).await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreadable { sequence: 6, .. }), "{error:?}");
}

#[tokio::test]
async fn a_removed_event_is_named_by_the_one_after_it() {
    let ledger = ledger().await;
    write(&ledger, &samples::events()).await;
    tamper(&ledger, "DELETE FROM events WHERE sequence = 4").await;
    assert_eq!(broken(ledger.verify().await.unwrap_err()), (5, Break::Gap));
}

#[tokio::test]
async fn a_chain_cut_at_its_end_shows_by_its_head() {
    let ledger = ledger().await;
    write(&ledger, &samples::events()).await;
    let noted = ledger.verify().await.unwrap();
    tamper(&ledger, "DELETE FROM events WHERE sequence = 23").await;
    assert_ne!(ledger.verify().await.unwrap().heads, noted.heads);
}

#[tokio::test]
async fn an_event_of_a_newer_version_is_kept() {
    let ledger = ledger().await;
    let body = serde_json::json!({"colour": "red"});
    let painted = Event::Other { kind: "phone_painted".into(), body, standing: Standing::Claimed };
    ledger.append(None, &painted).await.unwrap();
    assert_eq!(ledger.events(Filter::default()).await.unwrap()[0].event, painted);
}

#[tokio::test]
async fn a_job_without_its_end_was_cut_short() {
    let ledger = ledger().await;
    let whole = ledger.begin_job(started()).await.unwrap();
    for event in &samples::events()[1..18] {
        ledger.append(Some(whole), event).await.unwrap();
    }
    let cut = ledger.begin_job(started()).await.unwrap();

    let jobs = ledger.jobs().await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.job).collect::<Vec<_>>(), [whole, cut]);
    assert_eq!(jobs[0].end.as_ref().unwrap().outcome, Outcome::Done);
    assert_eq!(jobs[0].phone.as_ref().unwrap().model, "Desk 2");
    assert_eq!(jobs[0].proved, Some(Fingerprint::of(b"a certificate")));
    assert_eq!(jobs[1].end, None);
    assert!(jobs[1].lab);

    let filter = Filter { job: Some(cut), ..Filter::default() };
    assert_eq!(ledger.events(filter).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_transaction_cut_short_gives_back_all_that_resuming_needs() {
    let ledger = ledger().await;
    let events = samples::events();
    assert_eq!(ledger.transaction(TRANSACTION).await.unwrap(), None);
    write(&ledger, &events[..9]).await;
    assert_eq!(ledger.transaction(TRANSACTION).await.unwrap().unwrap().phase, Phase::Requested);
    assert_eq!(ledger.pending_for(DEVICE).await.unwrap(), None, "nothing was sent");

    write(&ledger, &events[9..10]).await;
    let pending = ledger.pending_for(DEVICE).await.unwrap().unwrap();
    assert_eq!(pending.phase, Phase::PublishIntended);
    assert_eq!(pending.publication, Some(publication(1)));

    write(&ledger, &events[10..11]).await;
    let pending = ledger.pending_for(DEVICE).await.unwrap().unwrap();
    assert_eq!(pending.phase, Phase::Published);
    assert_eq!(pending.published.unwrap().certificate, b"a certificate");
    assert_eq!(pending.user, Some(samples::alice()));
}

#[tokio::test]
async fn what_is_proved_refused_or_dropped_is_not_pending() {
    let events = samples::events();
    for (last, phase) in [(12, Phase::PublishRefused), (15, Phase::Proved), (16, Phase::Aborted)] {
        let ledger = ledger().await;
        write(&ledger, &[intended(TRANSACTION), events[last].clone()]).await;
        assert_eq!(ledger.transaction(TRANSACTION).await.unwrap().unwrap().phase, phase);
        assert_eq!(ledger.pending_for(DEVICE).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_repetition_that_fails_does_not_unpublish_what_was_published() {
    let ledger = ledger().await;
    let events = samples::events();
    write(&ledger, &[intended(TRANSACTION), published(TRANSACTION), intended(TRANSACTION), events[11].clone()]).await;
    assert_eq!(ledger.pending_for(DEVICE).await.unwrap().unwrap().phase, Phase::Published);
}

#[tokio::test]
async fn only_the_newest_transaction_of_a_phone_is_pending_even_when_the_clock_was_set_back() {
    let ledger = ledger().await;
    let (old, new) = (TransactionId::from_bytes([1; 16]), TransactionId::from_bytes([2; 16]));
    ledger.append_at(datetime!(2040-01-01 00:00 UTC), None, &intended(old)).await.unwrap();
    ledger.append_at(datetime!(2026-11-22 00:00 UTC), None, &intended(new)).await.unwrap();
    assert_eq!(ledger.pending_for(DEVICE).await.unwrap().unwrap().id, new);
    assert_eq!(ledger.pending_for(Uuid::from_u128(9)).await.unwrap(), None);

    let proved = Event::Proved {
        device: DEVICE,
        transaction: Some(new),
        fingerprint: Fingerprint::of(b"a certificate"),
        user: samples::alice(),
    };
    ledger.append(None, &proved).await.unwrap();
    assert_eq!(ledger.pending_for(DEVICE).await.unwrap(), None, "the older one is never given");
}

#[tokio::test]
async fn another_programs_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "not a database, but long enough to have a header of one hundred bytes. ".repeat(3)).unwrap();
    let database = folder.path().join("photos.sqlite");
    let other = SqliteConnectOptions::new().filename(&database).create_if_missing(true);
    let other = SqlitePool::connect_with(other).await.unwrap();
    sqlx::query("CREATE TABLE photos (name TEXT)").execute(&other).await.unwrap();
    other.close().await;

    for path in [text, database] {
        let before = std::fs::read(&path).unwrap();
        let error = Ledger::open(&path, "bench-1").await.unwrap_err();
        assert!(matches!(error, LedgerError::NotALedger { .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[tokio::test]
async fn a_ledger_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let ledger = Ledger::open(&path, "bench-1").await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                 VALUES (99, 'later', TRUE, x'00', 0)";
    sqlx::query(newer).execute(&ledger.pool).await.unwrap();
    ledger.close().await;

    let error = Ledger::open(&path, "bench-1").await.unwrap_err();
    assert!(matches!(error, LedgerError::NewerSchema { version: 99, .. }), "{error:?}");
}

#[tokio::test]
async fn a_full_disk_is_said_and_the_chain_goes_on_once_there_is_room() {
    let ledger = ledger().await;
    write(&ledger, &samples::events()).await;
    sqlx::query("PRAGMA max_page_count = 1").execute(&ledger.pool).await.unwrap();
    let mut reason = "x".repeat(8000);
    reason.push('y');
    let error = ledger.append(None, &Event::Aborted { transaction: TRANSACTION, reason }).await.unwrap_err();
    assert!(matches!(error, LedgerError::DiskFull { .. }), "{error:?}");
    assert_eq!(ledger.verify().await.unwrap().events, 23);

    // Somebody made room.
    sqlx::query("PRAGMA max_page_count = 1000000").execute(&ledger.pool).await.unwrap();
    write(&ledger, &samples::events()[17..18]).await;
    assert_eq!(ledger.verify().await.unwrap().events, 24);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_and_a_file_that_is_not_there_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Ledger::open(&file.join("ledger.sqlite"), "bench-1").await.unwrap_err();
    assert!(matches!(error, LedgerError::NotWritable { .. }), "{error:?}");
    let error = Ledger::open(folder.path(), "bench-1").await.unwrap_err();
    assert!(matches!(error, LedgerError::NotWritable { .. }), "{error:?}");

    let missing = folder.path().join("missing.sqlite");
    let error = Ledger::open_existing(&missing, "bench-1").await.unwrap_err();
    assert!(matches!(error, LedgerError::Missing { .. }) && !missing.exists(), "{error:?}");
    assert!(error.next_step().contains("--ledger"));
}

#[tokio::test]
async fn a_temporary_ledger_leaves_nothing_behind() {
    let ledger = ledger().await;
    let folder = ledger.path().parent().unwrap().to_owned();
    write(&ledger, &samples::events()).await;
    ledger.close().await;
    assert!(!folder.exists());
}

#[test]
fn every_migration_is_in_the_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ledger/migrations");
    assert_eq!(MIGRATIONS.iter().count(), std::fs::read_dir(folder).unwrap().count());
}

#[tokio::test]
async fn an_append_that_is_dropped_at_any_point_writes_all_or_nothing_and_hinders_nobody() {
    let ledger = ledger().await;
    let event = Event::Aborted { transaction: TRANSACTION, reason: "dropped".into() };
    let mut kept = 0;
    let mut dropped = 0;
    for polls in (0..30).chain((5..).map(|power| 1 << power)) {
        let mut append = Box::pin(ledger.append(None, &event));
        let mut done = false;
        for _ in 0..polls {
            done = futures_util::poll!(append.as_mut()).is_ready();
            if done {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(append);
        dropped += u64::from(!done);
        ledger.append(None, &event).await.unwrap();
        kept += 1 + u64::from(done);
        if done {
            break;
        }
    }
    let events = ledger.verify().await.unwrap().events;
    assert!((kept..=kept + dropped).contains(&events), "{kept} + at most {dropped}, not {events}");
}

#[tokio::test]
async fn a_record_for_scripts_has_its_place_and_its_body() {
    let ledger = ledger().await;
    let now = datetime!(2026-11-22 21:10:00.000_001 UTC);
    ledger.append_at(now, Some(JobNumber(41)), &samples::events()[16]).await.unwrap();
    let record = ledger.events(Filter::default()).await.unwrap().remove(0);
    let json = serde_json::to_value(&record).unwrap();
    let expected = serde_json::json!({
        "station": record.station,
        "sequence": 1,
        "time": "2026-11-22T21:10:00.000001Z",
        "job": 41,
        "kind": "aborted",
        "standing": "claimed",
        "body": { "transaction": TRANSACTION, "reason": "the operator asked for it" },
        "hash": Fingerprint::from_bytes(record.hash),
    });
    assert_eq!(json, expected);
}
