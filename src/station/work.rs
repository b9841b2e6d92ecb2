//! One worker a phone: it waits for its turn, does the job by `provision`, and says how it ended.

use super::office::{Concluded, Office, StationEvent, Worked};
use super::roster::PhoneKeys;
use crate::ledger::Ledger;
use crate::phone::{Driver, Finder, Found, Identified, Parting, Phone, PhoneError};
use crate::provision::{Stop, provision};
use crate::usb::{Attached, Slot};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// What all workers share.
pub(super) struct Shared<O> {
    pub(super) finder: Finder,
    pub(super) ledger: Ledger,
    pub(super) office: Arc<O>,
    pub(super) stop: Stop,
    /// Turns to be met, and turns to be worked on: a phone that waits for a person's key must not keep others from being met.
    pub(super) meetings: Semaphore,
    pub(super) jobs: Semaphore,
}

/// A phone that said who it is.
pub(super) struct Met {
    pub(super) found: Found,
    pub(super) phone: Phone,
    pub(super) keys: PhoneKeys,
}

/// What a worker has to tell.
pub(super) enum News {
    /// It is no phone.
    Nothing,
    /// Nobody knows how to talk to it.
    Unspoken,
    /// It said who it is.
    Met(Box<Met>),
    /// It could not be asked.
    NotMet(PhoneError),
    /// Its job has ended.
    Worked { row: usize, concluded: Concluded },
    /// The station was stopped before its turn.
    NotBegun { row: usize },
    /// The worker itself came to grief.
    Broke { row: Option<usize> },
}

/// Finds out whether a device is a phone, and which.
pub(super) async fn meet<O: Office>(shared: Arc<Shared<O>>, attached: Attached) -> News {
    let Ok(_turn) = shared.meetings.acquire().await else { return News::Nothing };
    let Some(found) = shared.finder.look_at(attached).await else { return News::Nothing };
    let slot = found.slot().clone();
    let names = found.models.iter().map(|model| format!("{} {}", model.maker, model.model));
    let model = names.collect::<Vec<_>>().join(" or ");
    if found.spoken().is_none() {
        shared.office.event(StationEvent::Unspoken { slot, model });
        return News::Unspoken;
    }
    shared.office.event(StationEvent::Came { slot: slot.clone(), model });
    match super::meeting::meet(&shared.finder, &found).await {
        Ok((phone, Identified { identity, .. })) => {
            let (mac, serial, device) = (identity.mac, identity.serial.clone(), identity.device);
            shared.office.event(StationEvent::Met { slot: slot.clone(), identity: Box::new(identity) });
            News::Met(Box::new(Met { found, phone, keys: PhoneKeys { mac, serial, slot, device } }))
        }
        Err(error) => News::NotMet(error),
    }
}

/// Does a row's job on its phone.
pub(super) async fn work<O: Office>(shared: Arc<Shared<O>>, row: usize, met: Met) -> News {
    let Met { found, mut phone, keys } = met;
    let turn = tokio::select! {
        biased;
        () = shared.stop.asked() => None,
        turn = shared.jobs.acquire() => turn.ok(),
    };
    let Some(_turn) = turn else {
        take_leave(&mut phone).await;
        return News::NotBegun { row };
    };
    let (office, slot) = (&shared.office, &keys.slot);
    let (job, started) = (office.job(row, &found), Instant::now());
    let (mut service, mut operator) = (office.service(row), office.operator(row, slot));
    let outcome = provision(&job, phone.driver(), &mut service, &shared.ledger, &mut operator, &shared.stop).await;
    let (took, traffic) = (started.elapsed(), phone.driver().traffic());
    // The port is free for others before anybody is told to unplug the phone.
    drop(phone);
    let concluded = office.conclude(row, slot, Worked { outcome, took, traffic, service }).await;
    News::Worked { row, concluded }
}

/// The phone was only asked who it is.
pub(super) async fn take_leave(phone: &mut Phone) {
    let _ = phone.driver().leave(Parting::Leave).await;
}

/// Runs a worker so that one that panics takes nobody with it.
pub(super) async fn guarded(
    slot: Slot,
    row: Option<usize>,
    work: impl Future<Output = News> + Send + 'static,
) -> (Slot, News) {
    let news = tokio::spawn(work).await.unwrap_or(News::Broke { row });
    (slot, news)
}
