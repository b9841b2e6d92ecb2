//! What the events add up to: jobs and transactions. Nothing here is stored; a view is made when it is asked for.

use super::chain::Record;
use super::event::{Authenticity, Event, Outcome, Terms};
use super::{JobNumber, Sequence, TransactionId};
use crate::credential::{Fingerprint, SipAddress};
use crate::phone::{Again, ProvedKeys};
use crate::service::Publication;
use time::OffsetDateTime;
use uuid::Uuid;

/// One job, in a line.
#[derive(Debug, Clone, PartialEq)]
pub struct JobSummary {
    /// The station that did it.
    pub station: Uuid,
    /// Its number at that station.
    pub job: JobNumber,
    /// When it began.
    pub began: OffsetDateTime,
    /// The user the phone was to get.
    pub user: SipAddress,
    /// Where the phone was plugged in.
    pub slot: String,
    /// Whether it was all the lab.
    pub lab: bool,
    /// Whether nothing was to be changed.
    pub dry_run: bool,
    /// What it takes to go on with it, where the ledger has it.
    pub terms: Option<Terms>,
    /// The phone, once it was identified.
    pub phone: Option<JobPhone>,
    /// The certificate that the phone proved.
    pub proved: Option<Fingerprint>,
    /// How it ended. Nothing: it runs still, or was cut short, whatever was written of its end before it went on.
    pub end: Option<JobEnd>,
}

/// The phone of a job, by its own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPhone {
    /// Who made it.
    pub maker: String,
    /// The model's name.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Its Ethernet address.
    pub mac: Option<String>,
    /// The UUID under which it registers.
    pub device: Uuid,
    /// What vouches for it.
    pub authenticity: Authenticity,
    /// By what it is known again. Nothing: a ledger of the first version wrote it.
    pub keys: Option<ProvedKeys>,
}

impl JobPhone {
    /// Whether this phone, met later, may be `other`: it goes by the same device UUID, and nothing shows that it is another.
    pub fn may_be(&self, other: &Self) -> bool {
        let another = match (&self.keys, &other.keys) {
            (Some(keys), Some(before)) => matches!(keys.again(before), Again::Another(_)),
            (None, _) | (_, None) => false,
        };
        self.device == other.device && !another
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    /// When.
    pub time: OffsetDateTime,
    /// How.
    pub outcome: Outcome,
    /// The exit code.
    pub exit_code: i32,
    /// What the operator read.
    pub message: String,
    /// What the operator was told to do next.
    pub next_step: Option<String>,
}

/// All that is known of one transaction of one phone.
#[derive(Debug, Clone, PartialEq)]
pub struct TransactionView {
    /// Its id.
    pub id: TransactionId,
    /// How far it got.
    pub phase: Phase,
    /// The jobs that worked on it, by station, oldest first. More than one: it was resumed.
    pub jobs: Vec<(Uuid, JobNumber)>,
    /// The phone.
    pub device: Option<Uuid>,
    /// The user the phone gets.
    pub user: Option<SipAddress>,
    /// The phone's PKCS#10, DER.
    pub signing_request: Option<Vec<u8>>,
    /// What was, or was about to be, sent to the service. The same must be sent again, and nothing else.
    pub publication: Option<Publication>,
    /// What the service published.
    pub published: Option<PublishedView>,
    /// How many publications were sent whose answer never came: each may have happened.
    pub lost: u32,
    /// Whether the last publication was about to be sent, and nothing is known of it since.
    pub open: bool,
    /// Certificates that nobody uses, by fingerprint where it is known.
    pub orphaned: Vec<Option<Fingerprint>>,
    /// Every certificate of the server chain that the phone was given for it.
    pub staged: Vec<Fingerprint>,
}

/// A certificate that the service published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedView {
    /// X.509, DER.
    pub certificate: Vec<u8>,
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// The server that published it.
    pub server: Option<String>,
}

/// How far a transaction got, by the last event about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The phone was, or was about to be, asked.
    Begun,
    /// The phone's signing request is here. Nothing is published.
    Requested,
    /// A publication was about to be sent, and nothing is known of it since: it may have happened.
    PublishIntended,
    /// A publication was sent without an answer: it may have happened.
    PublishUnknown,
    /// The service said that it did not publish.
    PublishRefused,
    /// The user's certificate is published; the phone does not use it yet.
    Published,
    /// The phone was about to be told to use it: it may have happened.
    CommitIntended,
    /// The phone says that it uses it.
    Committed,
    /// The phone proved that it uses it. The end.
    Proved,
    /// The phone dropped it. The end.
    Aborted,
}

impl Phase {
    /// Whether something may have happened at the service or in the phone that still has to be brought to its end.
    pub fn is_pending(self) -> bool {
        match self {
            Self::PublishIntended | Self::PublishUnknown | Self::Published | Self::CommitIntended | Self::Committed => {
                true
            }
            Self::Begun | Self::Requested | Self::PublishRefused | Self::Proved | Self::Aborted => false,
        }
    }
}

impl TransactionView {
    /// Adds up the records of `id`, which are each station's in order. Nothing, where there are none.
    pub(super) fn of(id: TransactionId, records: Vec<Record>) -> Option<Self> {
        let mut view = Self {
            id,
            phase: Phase::Begun,
            jobs: Vec::new(),
            device: None,
            user: None,
            signing_request: None,
            publication: None,
            published: None,
            lost: 0,
            open: false,
            orphaned: Vec::new(),
            staged: Vec::new(),
        };
        let known = !records.is_empty();
        records.into_iter().for_each(|record| view.add(record));
        known.then_some(view)
    }

    /// Whether the service may have published for it, however it ended.
    pub fn may_be_published(&self) -> bool {
        self.published.is_some() || self.unanswered() > 0
    }

    /// How many publications may have happened without anybody knowing.
    pub fn unanswered(&self) -> u32 {
        self.lost + u32::from(self.open)
    }

    /// What is to be thought of the publication after a try that came to nothing.
    fn not_published(&self) -> Phase {
        match (&self.published, self.lost) {
            (Some(_), _) => self.phase,
            (None, 0) => Phase::PublishRefused,
            (None, _) => Phase::PublishUnknown,
        }
    }

    fn add(&mut self, record: Record) {
        if let Some(job) = record.job.map(|job| (record.station, job))
            && !self.jobs.contains(&job)
        {
            self.jobs.push(job);
        }
        self.phase = match record.event {
            Event::TransactionBegun { device, user, .. } => {
                self.device = Some(device);
                self.user = Some(user);
                // A resuming job says it again.
                self.phase
            }
            Event::SigningRequestReceived { signing_request, .. } => {
                self.signing_request = Some(signing_request);
                if self.phase == Phase::Begun { Phase::Requested } else { self.phase }
            }
            Event::PublishIntended { publication, .. } => {
                self.device = Some(publication.device);
                self.user = Some(publication.user.clone());
                self.signing_request = Some(publication.signing_request.clone());
                self.publication = Some(publication);
                // The one before had neither an answer nor a failure: the program was killed.
                self.lost += u32::from(self.open);
                self.open = true;
                if self.published.is_some() { self.phase } else { Phase::PublishIntended }
            }
            Event::Published { certificate, fingerprint, not_after, server, .. } => {
                self.published = Some(PublishedView { certificate, fingerprint, not_after, server });
                self.open = false;
                Phase::Published
            }
            Event::PublishUnknown { .. } => {
                self.lost += u32::from(self.open || self.lost == 0);
                self.open = false;
                self.not_published()
            }
            Event::PublishRefused { .. } | Event::StoreUnavailable { .. } => {
                self.open = false;
                self.not_published()
            }
            Event::Orphaned { fingerprint, .. } => {
                self.orphaned.push(fingerprint);
                self.phase
            }
            Event::TrustStaged { anchors, intermediates, .. } => {
                self.staged.extend(anchors.into_iter().chain(intermediates));
                self.phase
            }
            Event::CommitIntended { .. } => Phase::CommitIntended,
            Event::Committed { .. } => Phase::Committed,
            Event::Proved { .. } => Phase::Proved,
            Event::Aborted { .. } => Phase::Aborted,
            Event::JobStarted(_)
            | Event::JobResumed { .. }
            | Event::PhoneIdentified { .. }
            | Event::IdentityReplaceIntended { .. }
            | Event::ClockSet { .. }
            | Event::ServerJudged { .. }
            | Event::Endorsed { .. }
            | Event::SignInRehearsed { .. }
            | Event::TicketIssued { .. }
            | Event::JobEnded { .. }
            | Event::Other { .. } => self.phase,
        };
    }
}

/// The kinds of event that [`summaries`] reads.
pub(super) const SUMMARISED: [&str; 5] = ["job_started", "phone_identified", "proved", "job_ended", "job_resumed"];

/// Which event of a job is its last.
pub(super) type LastOfEach = std::collections::HashMap<(Uuid, JobNumber), Sequence>;

/// One summary per job; the records are each station's in order. An end that something of its job follows is none.
pub(super) fn summaries(records: Vec<Record>, last: &LastOfEach) -> Vec<JobSummary> {
    let mut jobs: Vec<JobSummary> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for Record { station, sequence, job, time, event, .. } in records {
        let Some(job) = job else { continue };
        if let Event::JobStarted(started) = event {
            places.insert((station, job), jobs.len());
            jobs.push(JobSummary {
                station,
                job,
                began: time,
                user: started.user,
                slot: started.slot,
                lab: started.lab,
                dry_run: started.dry_run,
                terms: started.terms.map(|terms| *terms),
                phone: None,
                proved: None,
                end: None,
            });
            continue;
        }
        let Some(summary) = places.get(&(station, job)).and_then(|place: &usize| jobs.get_mut(*place)) else {
            continue;
        };
        match event {
            Event::PhoneIdentified { maker, model, serial, mac, device, authenticity, keys, .. } => {
                summary.phone = Some(JobPhone { maker, model, serial, mac, device, authenticity, keys });
            }
            // It runs again; how it ended before is history.
            Event::JobResumed { .. } => summary.end = None,
            Event::Proved { fingerprint, .. } => summary.proved = Some(fingerprint),
            Event::JobEnded { .. } if last.get(&(station, job)).is_some_and(|last| *last > sequence) => {}
            Event::JobEnded { outcome, exit_code, message, next_step } => {
                summary.end = Some(JobEnd { time, outcome, exit_code, message, next_step });
            }
            _ => {}
        }
    }
    jobs
}

/// Puts the stations of a view in the order in which they first wrote, and keeps each station's own order.
pub(super) fn in_order(mut records: Vec<Record>) -> Vec<Record> {
    let mut first = std::collections::HashMap::new();
    records.sort_by_key(|record| (record.station, record.sequence));
    for record in &records {
        first.entry(record.station).or_insert(record.time);
    }
    records.sort_by_key(|record| (first[&record.station], record.station, record.sequence));
    records
}

/// The newest of the records: the last of each station, and of those the one with the latest clock.
pub(super) fn newest(records: Vec<Record>) -> Option<Record> {
    let mut last: std::collections::HashMap<Uuid, Record> = std::collections::HashMap::new();
    for record in records {
        let place = last.entry(record.station).or_insert_with(|| record.clone());
        if place.sequence < record.sequence {
            *place = record;
        }
    }
    last.into_values().max_by_key(|record: &Record| -> (OffsetDateTime, Sequence) { (record.time, record.sequence) })
}
