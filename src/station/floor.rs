//! The floor of a station: the ports, who is plugged in there, and one loop that hears all that happens.

use super::board::{Board, Left, Past, Refusal, Standing, Verdict};
use super::office::{Concluded, Ending, Office, RowEnd, StationEvent};
use super::roster::{PhoneKeys, Roster};
use super::work::{Met, News, Shared, guarded, meet, take_leave, work};
use crate::ledger::Ledger;
use crate::phone::Finder;
use crate::provision::Stop;
use crate::usb::{Attached, Change, Slot, UsbError, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

/// How long phones that have said who they are wait for others that were plugged in with them, so that twins are seen
/// together. A silent phone holds nobody up for longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Many phones and a roster.
pub struct Station<O> {
    /// How phones are reached.
    pub finder: Finder,
    /// Whom they are for.
    pub roster: Arc<Roster>,
    /// What the ledger says of the rows: [`look_up`](super::look_up).
    pub past: Vec<Past>,
    /// Whether what is done is done again.
    pub renew: bool,
    /// How many jobs are done at the same time, at least one.
    pub at_once: usize,
    /// Where all of it is written.
    pub ledger: Ledger,
    /// Who runs it.
    pub office: Arc<O>,
    /// Stops it: no new job is begun, and those at work end at their next safe point.
    pub stop: Stop,
}

/// When a station ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When the phones that are plugged in at the beginning are through.
    PluggedInAreThrough,
    /// When every row is done, however often phones are exchanged.
    AllRowsAreDone,
}

/// How a station ended.
#[derive(Debug)]
pub struct Closing {
    /// Each row, in the order of the roster.
    pub rows: Vec<RowEnd>,
    /// The phones that have their rows' identities, of this run.
    pub finished: BTreeSet<Uuid>,
}

/// A port with something on it.
struct Place {
    /// The number on the bus, vendor and product: what tells a phone that was plugged in again.
    plugged: (u32, u16, u16),
    state: State,
    /// It was seen leaving the bus while a worker had it.
    gone: bool,
    /// What was plugged in meanwhile.
    next: Option<Attached>,
}

enum State {
    /// A worker finds out who it is.
    Meeting,
    /// It waits to be told what it gets; `later`: until its own job at another port has ended.
    Met { met: Box<Met>, later: bool },
    /// A worker does its job.
    AtWork,
    /// Nothing more is done with it until it is plugged in again.
    Idle { keys: Option<PhoneKeys> },
}

struct Floor<'a, O> {
    board: Board<'a>,
    shared: Arc<Shared<O>>,
    workers: JoinSet<(Slot, News)>,
    places: BTreeMap<Slot, Place>,
    /// Phones that left the bus while they were at work. Some servers hide a device that is in use: then it comes back as it was.
    hidden: BTreeMap<Slot, (u32, u16, u16)>,
    /// Since when somebody waits to be told what they get.
    waiting_since: Option<Instant>,
    /// The last word on each row, beside what the board has.
    words: Vec<Option<RowEnd>>,
    finished: BTreeSet<Uuid>,
    stopping: bool,
}

impl<O: Office> Station<O> {
    /// Works until the end, or until it is stopped. Jobs at work are always brought to theirs.
    ///
    /// # Errors
    /// Where the bus cannot be looked at in the beginning.
    pub async fn run(&self, until: Until) -> Result<Closing, UsbError> {
        let mut floor = Floor::new(self);
        let mut watch = match until {
            Until::AllRowsAreDone => Some(self.finder.usb.watch().await?),
            Until::PluggedInAreThrough => {
                self.finder.usb.list().await?.into_iter().for_each(|attached| floor.came(attached));
                None
            }
        };
        let mut in_trouble = false;
        loop {
            floor.hand_out().await;
            if floor.is_idle() && (floor.stopping || watch.is_none() || floor.board.is_done()) {
                return Ok(floor.close());
            }
            let patience = floor.patience();
            tokio::select! {
                change = next(&mut watch), if !floor.stopping => match change {
                    Ok(change) => {
                        in_trouble = false;
                        floor.changed(change);
                    }
                    // It is looked at again every second, and once is enough to say so.
                    Err(_) if in_trouble => {}
                    Err(error) => {
                        in_trouble = true;
                        self.office.event(StationEvent::Trouble(error));
                    }
                },
                Some(told) = floor.workers.join_next() => {
                    if let Ok((slot, news)) = told {
                        floor.heard(slot, news);
                    }
                }
                () = sleep_until(patience) => {}
                () = self.stop.asked(), if !floor.stopping => floor.stopping = true,
            }
        }
    }
}

async fn next(watch: &mut Option<Watch>) -> Result<Change, UsbError> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

impl<'a, O: Office> Floor<'a, O> {
    fn new(station: &'a Station<O>) -> Self {
        let turns = || Semaphore::new(station.at_once.clamp(1, Semaphore::MAX_PERMITS));
        Self {
            board: Board::new(&station.roster, station.past.clone(), station.renew),
            shared: Arc::new(Shared {
                finder: station.finder.clone(),
                ledger: station.ledger.clone(),
                office: Arc::clone(&station.office),
                stop: station.stop.clone(),
                meetings: turns(),
                jobs: turns(),
            }),
            workers: JoinSet::new(),
            places: BTreeMap::new(),
            hidden: BTreeMap::new(),
            waiting_since: None,
            words: vec![None; station.roster.rows().len()],
            finished: BTreeSet::new(),
            stopping: false,
        }
    }

    fn changed(&mut self, change: Change) {
        match change {
            Change::Arrived(attached) | Change::Returned(attached) => self.came(attached),
            Change::Left(slot) => self.left(slot),
        }
    }

    /// Something was plugged in: a worker finds out what it is.
    fn came(&mut self, attached: Attached) {
        let slot = attached.slot.clone();
        let plugged = (attached.address, attached.vendor_id, attached.product_id);
        if let Some(place) = self.places.get_mut(&slot) {
            if place.plugged == plugged {
                place.gone = false;
                return;
            }
            if matches!(place.state, State::Meeting | State::AtWork) {
                place.next = Some(attached);
                return;
            }
        }
        if self.hidden.remove(&slot) == Some(plugged) {
            let state = State::Idle { keys: None };
            self.places.insert(slot, Place { plugged, state, gone: false, next: None });
            return;
        }
        self.places.insert(slot.clone(), Place { plugged, state: State::Meeting, gone: false, next: None });
        let meeting = meet(Arc::clone(&self.shared), attached);
        self.workers.spawn(guarded(slot, None, meeting));
    }

    fn left(&mut self, slot: Slot) {
        let Some(place) = self.places.get_mut(&slot) else { return };
        match place.state {
            State::Meeting | State::AtWork => {
                place.gone = true;
                place.next = None;
            }
            State::Met { .. } | State::Idle { .. } => {
                self.places.remove(&slot);
                self.shared.office.event(StationEvent::Left { slot });
            }
        }
    }

    fn heard(&mut self, slot: Slot, news: News) {
        let state = match news {
            News::Nothing => None,
            News::Unspoken => Some(State::Idle { keys: None }),
            News::Met(met) => {
                self.waiting_since.get_or_insert_with(Instant::now);
                Some(State::Met { met, later: false })
            }
            News::NotMet(error) => {
                self.shared.office.event(StationEvent::NotMet { slot: slot.clone(), error });
                Some(State::Idle { keys: None })
            }
            News::Worked { row, concluded } => Some(self.worked(row, &slot, concluded)),
            News::NotBegun { row } => {
                self.board.ended(row, Left::Free, None);
                self.words[row] = Some(RowEnd::NotBegun { slot: slot.clone() });
                self.shared.office.event(StationEvent::NotBegun { slot: slot.clone(), row });
                Some(State::Idle { keys: None })
            }
            News::Broke { row: Some(row) } => {
                let concluded = Concluded {
                    job: None,
                    ending: Ending::Unknown,
                    message: "this program failed in the middle of the job".into(),
                    next_step: Some("unplug the phone and plug it in again: what was begun goes on".into()),
                };
                Some(self.worked(row, &slot, concluded))
            }
            News::Broke { row: None } => Some(State::Idle { keys: None }),
        };
        let Some(place) = self.places.get_mut(&slot) else { return };
        let (gone, next) = (place.gone, place.next.take());
        match state {
            Some(state) => place.state = state,
            None => drop(self.places.remove(&slot)),
        }
        if let Some(next) = next {
            self.places.remove(&slot);
            self.came(next);
        } else if gone && let Some(place) = self.places.remove(&slot) {
            self.hidden.insert(slot.clone(), place.plugged);
            self.shared.office.event(StationEvent::Left { slot });
        }
    }

    /// A job has ended: its row is done, this phone's alone, or what it was before.
    fn worked(&mut self, row: usize, slot: &Slot, concluded: Concluded) -> State {
        let left = match concluded.ending {
            // Of a dry run too: nobody else gets the row in it.
            Ending::Done { .. } | Ending::Planned => Left::Done,
            Ending::NotDone(_) => Left::Free,
            Ending::Unknown => Left::Begun,
        };
        if let (Ending::Done { .. }, Standing::AtWork { device, .. }) = (concluded.ending, &self.board.standings()[row])
        {
            self.finished.insert(*device);
        }
        self.board.ended(row, left, concluded.job);
        let claim = self.board.standings()[row].claim();
        self.words[row] = Some(RowEnd::Ended { slot: slot.clone(), concluded, claim });
        for place in self.places.values_mut() {
            if let State::Met { later, .. } = &mut place.state {
                *later = false;
            }
        }
        State::Idle { keys: None }
    }

    /// Whoever has said who they are gets a row or a word, all that have come together at once.
    async fn hand_out(&mut self) {
        let waiting = |place: &Place| matches!(place.state, State::Met { later: false, .. });
        let slots: Vec<Slot> =
            self.places.iter().filter(|(_, place)| waiting(place)).map(|(slot, _)| slot.clone()).collect();
        if slots.is_empty() {
            self.waiting_since = None;
            return;
        }
        let meeting = self.places.values().any(|place| matches!(place.state, State::Meeting));
        let patient = self.waiting_since.is_some_and(|since| since.elapsed() < PATIENCE);
        if meeting && patient && !self.stopping {
            return;
        }
        self.waiting_since = None;
        let mut phones = Vec::new();
        for slot in slots {
            let Some(place) = self.places.get_mut(&slot) else { continue };
            let idle = State::Idle { keys: None };
            if let State::Met { mut met, .. } = std::mem::replace(&mut place.state, idle) {
                if self.stopping {
                    take_leave(&mut met.phone).await;
                } else {
                    phones.push(met);
                }
            }
        }
        let keys: Vec<PhoneKeys> = phones.iter().map(|met| met.keys.clone()).collect();
        let bystanders = self.places.values().filter_map(|place| match &place.state {
            State::Idle { keys } => keys.clone(),
            _ => None,
        });
        let verdicts = self.board.assign(&keys, &bystanders.collect::<Vec<_>>());
        for (met, verdict) in phones.into_iter().zip(verdicts) {
            self.tell(met, verdict).await;
        }
    }

    async fn tell(&mut self, mut met: Box<Met>, verdict: Verdict) {
        let (slot, keys) = (met.keys.slot.clone(), met.keys.clone());
        let office = Arc::clone(&self.shared.office);
        let state = match verdict {
            Verdict::Gets(row) => {
                self.words[row] = None;
                office.event(StationEvent::Given { slot: slot.clone(), row });
                self.workers.spawn(guarded(slot.clone(), Some(row), work(Arc::clone(&self.shared), row, *met)));
                State::AtWork
            }
            Verdict::Later => State::Met { met, later: true },
            Verdict::Has(row) => {
                take_leave(&mut met.phone).await;
                office.event(StationEvent::Has { slot: slot.clone(), row });
                State::Idle { keys: None }
            }
            Verdict::Refused(refusal) => {
                take_leave(&mut met.phone).await;
                self.remember(&slot, &refusal);
                office.event(StationEvent::Refused { slot: slot.clone(), refusal });
                State::Idle { keys: Some(keys) }
            }
        };
        if let Some(place) = self.places.get_mut(&slot) {
            place.state = state;
        }
    }

    /// What kept a row from its phone, unless something better is known of it.
    fn remember(&mut self, slot: &Slot, refusal: &Refusal) {
        for row in refusal.rows() {
            let word = &mut self.words[row];
            if matches!(word, None | Some(RowEnd::Refused { .. })) {
                *word = Some(RowEnd::Refused { slot: slot.clone(), refusal: refusal.clone() });
            }
        }
    }

    /// Until when phones that wait are patient with those that are being met.
    fn patience(&self) -> Option<Instant> {
        self.waiting_since.map(|since| since + PATIENCE)
    }

    /// Whether nobody is being met, waits or is at work.
    fn is_idle(&self) -> bool {
        self.workers.is_empty() && self.places.values().all(|place| matches!(place.state, State::Idle { .. }))
    }

    fn close(self) -> Closing {
        let words = self.words.into_iter().zip(self.board.standings());
        let rows = words.map(|(word, standing)| match (word, standing) {
            (_, Standing::Done { job, port, before: true, .. }) => RowEnd::Before { job: *job, port: port.clone() },
            (Some(word), _) => word,
            (None, standing) => RowEnd::NoPhone { claim: standing.claim() },
        });
        Closing { rows: rows.collect(), finished: self.finished }
    }
}
