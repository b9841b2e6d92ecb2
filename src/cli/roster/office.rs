//! Who runs the station here: gives the orders, writes down how jobs end, and says on a line for each port what happens.

use super::clerk::Clerk;
use super::refusal;
use super::secrets::Vault;
use crate::cli::error::causes;
use crate::cli::job::Order;
use crate::cli::report::{self, OutcomeLine, Spent};
use crate::cli::screen::{Lines, Screen, Tone};
use crate::cli::text::{dotted, took};
use secrecy::SecretString;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tethercert::credential::SipAddress;
use tethercert::ledger::Ledger;
use tethercert::phone::{Found, Identity};
use tethercert::provision::{Job, Outcome};
use tethercert::service::ocauth::OcAuth;
use tethercert::station::roster::{Roster, Row};
use tethercert::station::{Concluded, Ending, Office, StationEvent, Worked};
use tethercert::usb::Slot;

/// What comes after unplugging.
const NEXT: &str = ", plug the next phone in";

/// The office of a roster.
pub(super) struct RosterOffice {
    roster: Arc<Roster>,
    orders: Vec<Order>,
    vault: Vault,
    admin_code: Option<SecretString>,
    counter: Mutex<Counter>,
    ledger: Ledger,
    screen: Screen,
    lines: Lines,
}

/// How the whole stands.
pub(super) struct Counter {
    rows: usize,
    watch: bool,
    done: usize,
    /// Rows whose last job did not end well, and where their phones are.
    failed: BTreeMap<usize, Slot>,
    /// Ports whose phones have a row and are not through.
    at_work: BTreeSet<Slot>,
    /// Ports whose phones are through.
    through: BTreeSet<Slot>,
}

/// Whose and where: on every line about a row's job.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Tag {
    pub(super) port: String,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Some events name it themselves.
    #[serde(skip)]
    pub(super) user: SipAddress,
}

/// Something that happened at a port, of `--json`.
#[derive(Serialize)]
struct PortLine<'a> {
    port: String,
    at: &'a Slot,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a SipAddress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a Identity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<String>,
}

/// The outcome of a row's job, of `--json`.
#[derive(Serialize)]
struct RowOutcomeLine<'a> {
    port: &'a str,
    line: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(flatten)]
    outcome: OutcomeLine<'a>,
}

impl Tag {
    fn of(row: &Row, slot: &Slot) -> Self {
        Self { port: slot.port(), line: row.line, label: row.label.clone(), user: row.user.clone() }
    }

    /// What a line about the port begins with.
    pub(super) fn label(&self) -> String {
        port_label(&self.port)
    }
}

fn port_label(port: &str) -> String {
    format!("{port:8}")
}

impl Counter {
    pub(super) fn new(rows: usize, done: usize, watch: bool) -> Self {
        Self { rows, watch, done, failed: BTreeMap::new(), at_work: BTreeSet::new(), through: BTreeSet::new() }
    }

    /// `12 of 32 done · 5 at work · 1 not done: plug 1-3 in anew to try again · unplug 1-2, 1-5, plug the next phone in`.
    fn text(&self) -> String {
        let named = |ports: &mut dyn Iterator<Item = &Slot>| ports.map(Slot::port).collect::<Vec<_>>().join(", ");
        let work = self.at_work.len();
        let at_work = if work > 0 { format!("{work} at work") } else { String::new() };
        let again = match (self.failed.len(), named(&mut self.failed.values())) {
            (0, _) => String::new(),
            (failed, ports) if self.watch => format!("{failed} not done: plug {ports} in anew to try again"),
            (failed, _) => format!("{failed} not done"),
        };
        let ports = named(&mut self.through.iter());
        let next = if ports.is_empty() || !self.waits() { String::new() } else { format!("unplug {ports}{NEXT}") };
        dotted(&[format!("{} of {} done", self.done, self.rows), at_work, again, next])
    }

    /// Whether there is a row left for a phone that is not there.
    fn waits(&self) -> bool {
        self.watch && self.rows > self.done + self.at_work.len() + self.failed.len()
    }

    /// Nothing more is done with the phone at this port.
    fn through_at(&mut self, slot: &Slot) {
        self.at_work.remove(slot);
        self.through.insert(slot.clone());
    }

    /// Nothing is at this port, or nothing that counts.
    fn gone_from(&mut self, slot: &Slot) {
        self.at_work.remove(slot);
        self.through.remove(slot);
    }
}

impl RosterOffice {
    pub(super) fn new(
        roster: Arc<Roster>,
        (orders, vault, admin_code): (Vec<Order>, Vault, Option<SecretString>),
        counter: Counter,
        ledger: Ledger,
        screen: Screen,
    ) -> Self {
        let lines = screen.lines();
        Self { roster, orders, vault, admin_code, counter: Mutex::new(counter), ledger, screen, lines }
    }

    /// Says that phones are waited for.
    pub(super) fn waits(&self) {
        let watch = self.counter().watch;
        if watch {
            self.screen.line("watch", "plug phones in; Ctrl-C ends it at a safe point");
        }
        self.total();
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.lines.end();
    }

    fn row(&self, row: usize) -> &Row {
        &self.roster.rows()[row]
    }

    fn counter(&self) -> MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, change: impl FnOnce(&mut Counter)) {
        change(&mut self.counter());
        self.total();
    }

    fn total(&self) {
        let text = self.counter().text();
        self.lines.total(&text);
    }

    /// A line about a port, here and now.
    fn say(&self, tone: Tone, slot: &Slot, text: &str) {
        self.screen.columns(tone, &port_label(&slot.port()), text);
    }

    /// `unplug 1-2, plug the next phone in`.
    fn unplug(&self, slot: &Slot) -> String {
        format!("unplug {}{}", slot.port(), if self.counter().waits() { NEXT } else { "" })
    }

    fn port_line<'a>(&'a self, slot: &'a Slot, row: Option<usize>) -> PortLine<'a> {
        let row = row.map(|row| self.row(row));
        PortLine {
            port: slot.port(),
            at: slot,
            line: row.map(|row| row.line),
            user: row.map(|row| &row.user),
            model: None,
            identity: None,
            message: None,
            next_step: None,
        }
    }

    /// A phone gets nothing, or could not be asked: said in full, and in its line.
    fn trouble(&self, slot: &Slot, what: (&str, &str), next: &str) {
        let (kind, message) = what;
        let line = PortLine {
            message: Some(message.to_owned()),
            next_step: Some(next.to_owned()),
            ..self.port_line(slot, None)
        };
        self.screen.json(kind, &line);
        self.say(Tone::Bad, slot, message);
        self.say(Tone::Plain, slot, &format!("next: {next}"));
        self.lines.rests(&slot.port(), message);
        self.count(|counter| counter.through_at(slot));
    }
}

impl Office for RosterOffice {
    type Service = OcAuth;
    type Operator = Clerk;

    fn job(&self, row: usize, found: &Found) -> Job {
        self.orders[row].job(found)
    }

    fn service(&self, row: usize) -> OcAuth {
        self.orders[row].chosen.pool.enrolment()
    }

    fn operator(&self, row: usize, slot: &Slot) -> Clerk {
        let order = &self.orders[row];
        let clerk = Clerk {
            screen: self.screen.clone(),
            lines: self.lines.clone(),
            tag: Tag::of(self.row(row), slot),
            auth: order.auth,
            account: order.account.clone(),
            secret: self.vault.of(&order.user),
            admin_code: self.admin_code.clone(),
        };
        self.lines.works(&clerk.tag.port, &format!("{}  begins", clerk.tag.user));
        clerk
    }

    async fn conclude(&self, row: usize, slot: &Slot, worked: Worked<OcAuth>) -> Concluded {
        let Worked { outcome, took: time, traffic, service } = worked;
        let spent = Spent { took: time, traffic, cost: service.cost() };
        let (job, end) = report::written(&outcome, &self.ledger, &self.screen).await;
        let (place, port) = (self.row(row), slot.port());
        let ending = ending(&outcome);
        self.count(|counter| {
            counter.gone_from(slot);
            match ending {
                Ending::Done { .. } | Ending::Planned => {
                    counter.done += 1;
                    counter.through_at(slot);
                }
                Ending::NotDone(_) | Ending::Unknown => {
                    counter.failed.insert(row, slot.clone());
                }
            }
        });
        self.screen.json(
            "outcome",
            &RowOutcomeLine {
                port: &port,
                line: place.line,
                label: place.label.as_deref(),
                outcome: report::line(&outcome, &place.user, job, &end, &spent),
            },
        );
        let number = job.map(|job| format!("job {job}")).unwrap_or_default();
        let label = place.label.clone().unwrap_or_default();
        let mut parts = vec![format!("{:8} {}", end.word, place.user), label, took(time), number.clone()];
        match &outcome {
            Outcome::Done(receipt) => {
                parts.extend(receipt.unchanged.then(|| "it had it all".to_owned()));
                parts.extend((!receipt.authenticity.is_vouched()).then(|| "unauthenticated device".to_owned()));
                parts.extend(receipt.rehearsed.as_ref().map(|tried| format!("sign-in {}", tried.grade.word())));
                parts.push(self.unplug(slot));
            }
            Outcome::Planned(plan) => parts.push(match plan.nothing_to_do {
                true => "nothing to do".to_owned(),
                false => "nothing was changed".to_owned(),
            }),
            Outcome::NotDone(failure) | Outcome::Unknown(failure) => {
                parts.push(failure.error.to_string());
                parts.extend(causes(&failure.error));
            }
        }
        self.say(end.tone, slot, &dotted(&parts));
        if let (Some(next), Outcome::NotDone(_) | Outcome::Unknown(_)) = (&end.next_step, &outcome) {
            self.say(Tone::Plain, slot, &format!("next: {next}"));
        }
        let next = if end.next_step.is_some() { "plug it in anew to try again".to_owned() } else { self.unplug(slot) };
        self.lines.rests(&port, &dotted(&[format!("{}  {}", place.user, end.word), number, next]));
        Concluded { job, ending, message: end.message, next_step: end.next_step }
    }

    fn event(&self, event: StationEvent) {
        match event {
            StationEvent::Came { slot, model } => {
                self.screen.json("came", &PortLine { model: Some(&model), ..self.port_line(&slot, None) });
                self.lines.works(&slot.port(), &format!("{model}: who is it?"));
            }
            StationEvent::Unspoken { slot, model } => {
                let message = format!("this may be a {model}, and nobody knows how to talk to it");
                self.trouble(&slot, ("refused", &message), "see tethercert info for what can be done with it");
            }
            StationEvent::Met { slot, identity } => {
                self.screen.json("met", &PortLine { identity: Some(&identity), ..self.port_line(&slot, None) });
                self.lines.works(&slot.port(), &format!("{} {}  {}", identity.maker, identity.model, identity.mac));
            }
            StationEvent::NotMet { slot, error } => {
                let mut message = vec![error.to_string()];
                message.extend(causes(&error));
                self.trouble(&slot, ("refused", &message.join(": ")), &error.next_step());
            }
            StationEvent::Given { slot, row } => {
                self.screen.json("given", &self.port_line(&slot, Some(row)));
                self.count(|counter| {
                    counter.through.remove(&slot);
                    counter.failed.remove(&row);
                    counter.at_work.insert(slot.clone());
                });
                let place = self.row(row);
                self.lines.works(&slot.port(), &format!("{}  waits for its turn", place.user));
                if !self.lines.are_shown() {
                    let parts = [place.name(), place.user.to_string(), place.keys.to_string()];
                    self.say(Tone::Plain, &slot, &dotted(&parts));
                }
            }
            StationEvent::Has { slot, row } => {
                self.screen.json("has", &self.port_line(&slot, Some(row)));
                self.count(|counter| counter.through_at(&slot));
                let place = self.row(row);
                let text = dotted(&[format!("done already  {}", place.user), place.name(), self.unplug(&slot)]);
                self.say(Tone::Good, &slot, &text);
                self.lines.rests(&slot.port(), &text);
            }
            StationEvent::Refused { slot, refusal } => {
                let (message, next) = refusal::text(&refusal, &self.roster);
                self.trouble(&slot, ("refused", &message), &next);
            }
            StationEvent::NotBegun { slot, row } => {
                self.screen.json("not_begun", &self.port_line(&slot, Some(row)));
                self.count(|counter| counter.gone_from(&slot));
                self.lines.rests(&slot.port(), "not begun");
            }
            StationEvent::Left { slot } => {
                self.screen.json("left", &self.port_line(&slot, None));
                self.lines.clear(&slot.port());
                self.count(|counter| counter.gone_from(&slot));
            }
            StationEvent::Trouble(error) => self.screen.error(&error.into()),
        }
    }
}

fn ending(outcome: &Outcome) -> Ending {
    match outcome {
        Outcome::Done(receipt) => {
            Ending::Done { unchanged: receipt.unchanged, vouched: receipt.authenticity.is_vouched() }
        }
        Outcome::Planned(_) => Ending::Planned,
        Outcome::NotDone(failure) => Ending::NotDone(failure.error.remedyable()),
        Outcome::Unknown(_) => Ending::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_is_one_line_that_says_what_hands_have_to_do() {
        let mut counter = Counter::new(4, 1, true);
        assert_eq!(counter.text(), "1 of 4 done");
        let slot = |port: &str| port.parse::<Slot>().unwrap();
        counter.at_work.insert(slot("1-3"));
        counter.through_at(&slot("1-2"));
        assert_eq!(counter.text(), "1 of 4 done · 1 at work · unplug 1-2, plug the next phone in");
        counter.gone_from(&slot("1-3"));
        counter.failed.insert(2, slot("1-3"));
        counter.done = 3;
        assert_eq!(counter.text(), "3 of 4 done · 1 not done: plug 1-3 in anew to try again");
    }
}
