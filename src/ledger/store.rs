//! The file behind the ledger.

use super::chain::{NOTHING_BEFORE, Record, Row, Stop, Verified, Walk};
use super::error::LedgerError;
use super::event::{Event, JobStarted, Outcome};
use super::job_lock::{JobLock, JobLocks};
use super::view::{self, JobSummary, LastOfEach, TransactionView};
use super::{JobNumber, Sequence, TransactionId};
use crate::credential::SipAddress;
use crate::folders;
use crate::phone::ProvedKeys;
use futures_util::TryStreamExt as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, QueryBuilder, Sqlite, SqlitePool, Transaction};
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

static MIGRATIONS: Migrator = sqlx::migrate!("src/ledger/migrations");

/// Marks the file as ours (SQLite's `application_id`): `tcrt`.
const APPLICATION: i64 = 0x7463_7274;

/// How long another process may hold the file before [`LedgerError::Busy`].
const PATIENCE: Duration = Duration::from_secs(10);

/// The record of every job. A clone writes over the same connection.
#[derive(Debug, Clone)]
pub struct Ledger {
    pool: SqlitePool,
    path: PathBuf,
    label: String,
    locks: JobLocks,
    /// Removed with the last clone. Stands after `pool`, so that the file is let go first.
    _folder: Option<std::sync::Arc<tempfile::TempDir>>,
}

/// Which events are asked for. Nothing given: all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter {
    /// Those of one station.
    pub station: Option<Uuid>,
    /// Those of one job number; with `station`, of one job.
    pub job: Option<JobNumber>,
    /// Those about one transaction.
    pub transaction: Option<TransactionId>,
    /// Those about one phone. Not every event of a job names its phone.
    pub device: Option<Uuid>,
    /// Those later in the chain than this.
    pub after: Option<Sequence>,
}

/// Where the ledger is when nobody says otherwise: `~/.local/share/tethercert/ledger.sqlite` and its like.
pub fn default_path() -> Result<PathBuf, LedgerError> {
    let folder = folders::data().map_err(|source| LedgerError::NoHome { source })?;
    Ok(folder.join("ledger.sqlite"))
}

impl Ledger {
    /// Opens the ledger at `path`, or makes it with its folder. What is written belongs to the station called
    /// `station_label` (the host's name), which gets its UUID with its first event.
    pub async fn open(path: &Path, station_label: &str) -> Result<Self, LedgerError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            // It names people.
            folders::make_private(folder)
                .map_err(|source| LedgerError::NotWritable { path: path.to_owned(), source: source.into() })?;
        }
        Self::connect(path, station_label, None).await
    }

    /// Opens a ledger that has to be there: for reading, where a mistyped path should not make an empty one.
    pub async fn open_existing(path: &Path, station_label: &str) -> Result<Self, LedgerError> {
        if !path.exists() {
            return Err(LedgerError::Missing { path: path.to_owned() });
        }
        Self::connect(path, station_label, None).await
    }

    /// Makes a ledger in a folder of its own, which goes with the last clone. For the lab.
    pub async fn temporary(station_label: &str) -> Result<Self, LedgerError> {
        let folder = tempfile::Builder::new()
            .prefix("tethercert-ledger-")
            .tempdir()
            .map_err(|source| LedgerError::NotWritable { path: std::env::temp_dir(), source: source.into() })?;
        let path = folder.path().join("ledger.sqlite");
        Self::connect(&path, station_label, Some(folder)).await
    }

    async fn connect(path: &Path, label: &str, folder: Option<tempfile::TempDir>) -> Result<Self, LedgerError> {
        // SQLite takes `:memory:` for no file at all, and the ledger would go with the process.
        let file = std::path::absolute(path)
            .map_err(|source| LedgerError::NotWritable { path: path.to_owned(), source: source.into() })?;
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE);
        let mut ledger = Self {
            // Connects when first used. The one connection lives as long as the ledger.
            pool: SqlitePoolOptions::new()
                .max_connections(1)
                .idle_timeout(None)
                .max_lifetime(None)
                .acquire_timeout(2 * PATIENCE)
                // SQLite ends a transaction by itself when the disk is full; sqlx then counts one that is not there,
                // and begins no other on that connection.
                .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
                .connect_lazy_with(options),
            path: path.to_owned(),
            label: label.to_owned(),
            locks: JobLocks::none(path),
            _folder: folder.map(std::sync::Arc::new),
        };
        ledger.prepare().await?;
        if ledger._folder.is_none() {
            ledger.locks = JobLocks::beside(path)
                .map_err(|source| LedgerError::NotWritable { path: path.to_owned(), source: source.into() })?;
        }
        Ok(ledger)
    }

    /// Looks first whether the file is ours, so that another program's database stays untouched; then brings the tables up to date.
    async fn prepare(&self) -> Result<(), LedgerError> {
        if !self.is_ours_or_new().await? {
            return Err(LedgerError::NotALedger { path: self.path.clone() });
        }
        self.switch_to_wal().await?;
        let mut transaction = self.begin().await?;
        MIGRATIONS.run(&mut *transaction).await.map_err(|error| self.migration(error))?;
        let mark = format!("PRAGMA application_id = {APPLICATION}");
        sqlx::query(sqlx::AssertSqlSafe(mark)).execute(&mut *transaction).await.map_err(|error| self.failed(error))?;
        transaction.commit().await.map_err(|error| self.failed(error))
    }

    /// Tables first: another process may be making the ledger, and it writes the mark together with them.
    async fn is_ours_or_new(&self) -> Result<bool, LedgerError> {
        let tables = self.number("SELECT COUNT(*) FROM sqlite_master").await?;
        let application = self.number("PRAGMA application_id").await?;
        Ok(application == APPLICATION || (application == 0 && tables == 0))
    }

    async fn number(&self, sql: &'static str) -> Result<i64, LedgerError> {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.map_err(|error| self.failed(error))
    }

    /// SQLite does not wait for a lock here, however long its busy time-out: two processes that make one ledger meet.
    async fn switch_to_wal(&self) -> Result<(), LedgerError> {
        let pause = Duration::from_millis(20);
        let mut tries = PATIENCE.as_millis() / pause.as_millis();
        loop {
            match sqlx::query("PRAGMA journal_mode = WAL").execute(&self.pool).await.map_err(|error| self.failed(error))
            {
                Err(LedgerError::Busy { .. }) if tries > 0 => tries -= 1,
                other => return other.map(drop),
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Begins a job with the station's next number. It is locked until its end is appended, or the ledger dropped.
    pub async fn begin_job(&self, started: JobStarted) -> Result<JobNumber, LedgerError> {
        let mut transaction = self.begin().await?;
        let station = self.station(&mut transaction).await?;
        let last: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(job), 0) FROM events WHERE station = $1")
            .bind(&station)
            .fetch_one(&mut *transaction)
            .await
            .map_err(|error| self.failed(error))?;
        let job = JobNumber(last.unsigned_abs() + 1);
        // Before anybody can see the job.
        let lock = self.locks.take(&station, job)?;
        self.insert(&mut transaction, station, OffsetDateTime::now_utc(), Some(job), &Event::JobStarted(started))
            .await?;
        transaction.commit().await.map_err(|error| self.failed(error))?;
        self.locks.hold(job, lock);
        Ok(job)
    }

    /// Writes `event` at the end of the station's chain. It is on the disk when this returns.
    ///
    /// A future that is dropped before leaves the event either wholly written or not at all.
    pub async fn append(&self, job: Option<JobNumber>, event: &Event) -> Result<Sequence, LedgerError> {
        let written = self.append_at(OffsetDateTime::now_utc(), job, event).await;
        if let (Some(job), Event::JobEnded { .. }) = (job, event) {
            self.locks.let_go(job);
        }
        written
    }

    /// The lock on a job of this station, so that no other process works on it meanwhile. What was read of the job before
    /// may have changed by then.
    ///
    /// # Errors
    /// [`LedgerError::AtWork`] where another process, or this one, works on it. Else as of every reading.
    pub async fn lock(&self, job: JobNumber) -> Result<JobLock, LedgerError> {
        let station = self.own_station().await?.unwrap_or_default();
        self.locks.take(&station.to_string(), job)
    }

    pub(super) fn is_at_work(&self, station: Uuid, job: JobNumber) -> bool {
        self.locks.is_taken(&station.to_string(), job)
    }

    async fn append_at(
        &self,
        now: OffsetDateTime,
        job: Option<JobNumber>,
        event: &Event,
    ) -> Result<Sequence, LedgerError> {
        let mut transaction = self.begin().await?;
        let station = self.station(&mut transaction).await?;
        let sequence = self.insert(&mut transaction, station.clone(), now, job, event).await?;
        transaction.commit().await.map_err(|error| self.failed(error))?;
        if let (Some(job), Event::JobEnded { outcome: Outcome::Done, .. }) = (job, event) {
            self.locks.remove(&station, job);
        }
        Ok(sequence)
    }

    /// The one kind of transaction there is: it has the file for writing from its first moment.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, LedgerError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(|error| self.failed(error))
    }

    async fn station(&self, transaction: &mut Transaction<'static, Sqlite>) -> Result<String, LedgerError> {
        let known = sqlx::query_scalar("SELECT id FROM stations WHERE label = $1")
            .bind(&self.label)
            .fetch_optional(&mut **transaction)
            .await
            .map_err(|error| self.failed(error))?;
        if let Some(id) = known {
            return Ok(id);
        }
        let id = Uuid::new_v4().to_string();
        sqlx::query("INSERT INTO stations (id, label) VALUES ($1, $2)")
            .bind(&id)
            .bind(&self.label)
            .execute(&mut **transaction)
            .await
            .map_err(|error| self.failed(error))?;
        Ok(id)
    }

    async fn insert(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        station: String,
        now: OffsetDateTime,
        job: Option<JobNumber>,
        event: &Event,
    ) -> Result<Sequence, LedgerError> {
        let last: Option<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT sequence, hash FROM events WHERE station = $1 ORDER BY sequence DESC LIMIT 1")
                .bind(&station)
                .fetch_optional(&mut **transaction)
                .await
                .map_err(|error| self.failed(error))?;
        let (last, previous) = last.unwrap_or_else(|| (0, NOTHING_BEFORE.to_vec()));
        let (kind, body) = event.to_parts().map_err(|source| LedgerError::Unwritable { source })?;
        let mut row = Row {
            station,
            sequence: last + 1,
            time: i64::try_from(now.unix_timestamp_nanos() / 1000).expect("a year before 10000"),
            job: job.map(|job| i64::try_from(job.0).expect("fewer jobs than 2^63")),
            kind,
            standing: event.standing().as_str().to_owned(),
            device: event.device().map(|device| device.to_string()),
            transaction_id: event.transaction().map(|id| id.to_string()),
            body: body.to_string(),
            previous,
            hash: Vec::new(),
        };
        row.hash = row.digest().to_vec();
        sqlx::query(
            "INSERT INTO events \
             (station, sequence, time, job, kind, standing, device, transaction_id, body, previous, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(row.station)
        .bind(row.sequence)
        .bind(row.time)
        .bind(row.job)
        .bind(row.kind)
        .bind(row.standing)
        .bind(row.device)
        .bind(row.transaction_id)
        .bind(row.body)
        .bind(row.previous)
        .bind(row.hash)
        .execute(&mut **transaction)
        .await
        .map_err(|error| self.failed(error))?;
        Ok(Sequence(row.sequence.unsigned_abs()))
    }

    /// The events that pass the filter, by station, each station's in order.
    pub async fn events(&self, filter: Filter) -> Result<Vec<Record>, LedgerError> {
        let mut query = QueryBuilder::new("SELECT * FROM events WHERE 1 = 1");
        if let Some(station) = filter.station {
            query.push(" AND station = ").push_bind(station.to_string());
        }
        if let Some(job) = filter.job {
            query.push(" AND job = ").push_bind(i64::try_from(job.0).unwrap_or(i64::MAX));
        }
        if let Some(id) = filter.transaction {
            query.push(" AND transaction_id = ").push_bind(id.to_string());
        }
        if let Some(device) = filter.device {
            query.push(" AND device = ").push_bind(device.to_string());
        }
        if let Some(after) = filter.after {
            query.push(" AND sequence > ").push_bind(i64::try_from(after.0).unwrap_or(i64::MAX));
        }
        self.fetch(query).await
    }

    /// All jobs, by station, each station's in order.
    pub async fn jobs(&self) -> Result<Vec<JobSummary>, LedgerError> {
        let mut query = QueryBuilder::new("SELECT * FROM events WHERE kind IN (");
        let mut kinds = query.separated(", ");
        view::SUMMARISED.iter().for_each(|kind| {
            kinds.push_bind(*kind);
        });
        query.push(")");
        let records = self.fetch(query).await?;
        Ok(view::summaries(records, &self.last_of_each().await?))
    }

    /// The last event of each job, of the kinds that this version knows.
    async fn last_of_each(&self) -> Result<LastOfEach, LedgerError> {
        let mut query = QueryBuilder::new("SELECT station, job, MAX(sequence) FROM events WHERE kind IN (");
        let mut kinds = query.separated(", ");
        Event::KINDS.iter().for_each(|kind| {
            kinds.push_bind(*kind);
        });
        query.push(") AND job IS NOT NULL GROUP BY station, job");
        let rows: Vec<(String, i64, i64)> =
            query.build_query_as().fetch_all(&self.pool).await.map_err(|error| self.failed(error))?;
        let read = |(station, job, last): (String, i64, i64)| {
            let station = station.parse().ok()?;
            Some(((station, JobNumber(job.unsigned_abs())), Sequence(last.unsigned_abs())))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// The stations of this ledger with their labels.
    pub async fn stations(&self) -> Result<Vec<(Uuid, String)>, LedgerError> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT id, label FROM stations ORDER BY id")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.failed(error))?;
        rows.into_iter()
            .map(|(id, label)| match id.parse() {
                Ok(station) => Ok((station, label)),
                Err(_) => Err(LedgerError::Unreadable { path: self.path.clone(), station: id, sequence: 0 }),
            })
            .collect()
    }

    /// The station that this handle writes for, once it has written.
    pub async fn own_station(&self) -> Result<Option<Uuid>, LedgerError> {
        Ok(self.stations().await?.into_iter().find(|(_, label)| *label == self.label).map(|(station, _)| station))
    }

    /// All that is known of a transaction.
    pub async fn transaction(&self, id: TransactionId) -> Result<Option<TransactionView>, LedgerError> {
        let records = self.events(Filter { transaction: Some(id), ..Filter::default() }).await?;
        Ok(TransactionView::of(id, view::in_order(records)))
    }

    /// The job that met the phone with this device UUID last, when it had a factory key that vouched for it.
    ///
    /// # Errors
    /// As of every reading.
    pub async fn last_vouched(&self, device: Uuid) -> Result<Option<(Option<JobNumber>, ProvedKeys)>, LedgerError> {
        let mut query = QueryBuilder::new("SELECT * FROM events WHERE kind = 'phone_identified' AND device = ");
        query.push_bind(device.to_string());
        let mut met = self.fetch(query).await?;
        met.retain(|record| vouched_keys(&record.event).is_some());
        Ok(view::newest(met).and_then(|record| Some((record.job, vouched_keys(&record.event)?))))
    }

    /// The newest transaction of a phone whose publication was at least intended, unless it came to its end.
    ///
    /// An older one is never given: a newer certificate has taken its place.
    pub async fn pending_for(&self, device: Uuid) -> Result<Option<TransactionView>, LedgerError> {
        Ok(self.newest_publication(device, None).await?.filter(|view| view.phase.is_pending()))
    }

    /// The newest transaction of a phone for which a publication was at least intended, for this user or for any, however
    /// it ended.
    pub async fn newest_publication(
        &self,
        device: Uuid,
        user: Option<&SipAddress>,
    ) -> Result<Option<TransactionView>, LedgerError> {
        let mut query = QueryBuilder::new("SELECT * FROM events WHERE kind = 'publish_intended' AND device = ");
        query.push_bind(device.to_string());
        let mut intents = self.fetch(query).await?;
        intents.retain(|record| match &record.event {
            Event::PublishIntended { publication, .. } => user.is_none_or(|user| publication.user == *user),
            _ => false,
        });
        let Some(id) = view::newest(intents).and_then(|record| record.event.transaction()) else { return Ok(None) };
        self.transaction(id).await
    }

    /// Walks every chain from its first event and compares all hashes.
    pub async fn verify(&self) -> Result<Verified, LedgerError> {
        let mut rows = sqlx::query_as::<_, Row>("SELECT * FROM events ORDER BY station, sequence").fetch(&self.pool);
        let mut walk = Walk::default();
        while let Some(row) = rows.try_next().await.map_err(|error| self.failed(error))? {
            walk.step(row).map_err(|Stop { station, sequence, what }| {
                match (station.parse(), sequence.try_into()) {
                    (Ok(station), Ok(sequence)) => {
                        LedgerError::Broken { path: self.path.clone(), station, sequence, what }
                    }
                    _ => LedgerError::Unreadable { path: self.path.clone(), station, sequence },
                }
            })?;
        }
        Ok(walk.finish())
    }

    /// Lets go of the file. A ledger that is only dropped does so a moment later.
    pub async fn close(self) {
        self.pool.close().await;
    }

    async fn fetch(&self, mut query: QueryBuilder<Sqlite>) -> Result<Vec<Record>, LedgerError> {
        query.push(" ORDER BY station, sequence");
        let rows: Vec<Row> = query.build_query_as().fetch_all(&self.pool).await.map_err(|error| self.failed(error))?;
        rows.into_iter()
            .map(|row| {
                row.read().ok_or_else(|| LedgerError::Unreadable {
                    path: self.path.clone(),
                    station: row.station,
                    sequence: row.sequence,
                })
            })
            .collect()
    }

    fn migration(&self, error: MigrateError) -> LedgerError {
        let path = self.path.clone();
        match error {
            MigrateError::VersionMissing(version) => LedgerError::NewerSchema { path, version },
            MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => LedgerError::NotALedger { path },
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => self.failed(source),
            other => LedgerError::Database { path, source: sqlx::Error::Migrate(Box::new(other)) },
        }
    }

    /// Sorts by SQLite's primary result code, the low byte of what it gives (sqlite.org/rescode.html).
    fn failed(&self, source: sqlx::Error) -> LedgerError {
        let path = self.path.clone();
        let code = source.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            // READONLY, PERM, CANTOPEN
            Some(8 | 3 | 14) => LedgerError::NotWritable { path, source: source.into() },
            // FULL
            Some(13) => LedgerError::DiskFull { path, source },
            // BUSY, LOCKED
            Some(5 | 6) => LedgerError::Busy { path, source },
            // NOTADB
            Some(26) => LedgerError::NotALedger { path },
            _ => LedgerError::Database { path, source },
        }
    }
}

fn vouched_keys(event: &Event) -> Option<ProvedKeys> {
    match event {
        Event::PhoneIdentified { keys, .. } => keys.filter(|keys| keys.factory.is_some()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
