//! What was to be done, by whom, and how it ended: the entries of a recording that nobody carries.

use crate::credential::{Certificate, Fingerprint, SipAddress};
use crate::ledger::{self, Filter, JobNumber, Ledger, LedgerError, Record, TransactionId};
use crate::phone::tether::{Host, HostKey};
use crate::phone::{Meant, Parting};
use crate::provision::{Jitter, Job, LabPhone, Outcome};
use crate::service::SignInWay;
use crate::tape::{Kind, Tape, Value};
use crate::world::World;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Takes the recording of one job.
#[derive(Debug, Clone)]
pub struct Recorder {
    tape: Tape,
}

impl Recorder {
    /// For a job that is about to begin with a phone that this host is `host` to. The job has to have [`Recorder::world`].
    pub fn begin(job: &Job, host: &Host, meant: &Meant) -> Self {
        let tape = Tape::blank();
        tape.note(Kind::Job, job_value(job));
        tape.note(Kind::Host, host_value(host, meant));
        Self { tape }
    }

    /// What everything is noted on.
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// Time and random bytes for the job.
    pub fn world(&self) -> World {
        World::of(&self.tape)
    }

    /// Notes how the job ended, and what the ledger knew of the phone before it.
    ///
    /// # Errors
    /// Those of the ledger.
    pub async fn end(&self, outcome: &Outcome, device: Option<Uuid>, ledger: &Ledger) -> Result<(), LedgerError> {
        self.tape.note(Kind::Outcome, outcome_value(outcome));
        let Some(job) = job_of(outcome) else { return Ok(()) };
        let seen = match device {
            Some(device) => Some(device),
            // It said who it is, and was gone before anybody saw it.
            None => identified_in(job, ledger).await?,
        };
        let Some(device) = seen else { return Ok(()) };
        let known = known_before(device, job, ledger).await?;
        for event in known.into_iter().rev() {
            self.tape.note_first(Kind::Known, event);
        }
        Ok(())
    }
}

fn job_of(outcome: &Outcome) -> Option<JobNumber> {
    match outcome {
        Outcome::Done(receipt) => Some(receipt.job),
        Outcome::NotDone(failure) | Outcome::Unknown(failure) => failure.job,
        Outcome::Planned(plan) => plan.job,
    }
}

async fn identified_in(job: JobNumber, ledger: &Ledger) -> Result<Option<Uuid>, LedgerError> {
    let Some(station) = ledger.own_station().await? else { return Ok(None) };
    let records = ledger.events(Filter { station: Some(station), job: Some(job), ..Filter::default() }).await?;
    Ok(records.iter().find_map(|record| match record.event {
        ledger::Event::PhoneIdentified { device, .. } => Some(device),
        _ => None,
    }))
}

/// What other jobs have written of the phone and its transactions, each with the number of its job.
async fn known_before(device: Uuid, job: JobNumber, ledger: &Ledger) -> Result<Vec<Value>, LedgerError> {
    let all = ledger.events(Filter { device: Some(device), ..Filter::default() }).await?;
    let transactions: BTreeSet<TransactionId> = all.iter().filter_map(|record| record.event.transaction()).collect();
    let mut records: Vec<Record> =
        all.into_iter().filter(|record| matches!(record.event, ledger::Event::PhoneIdentified { .. })).collect();
    for id in transactions {
        let of_it = ledger.events(Filter { transaction: Some(id), ..Filter::default() }).await?;
        records.extend(of_it);
    }
    records.retain(|record| record.job != Some(job));
    records.sort_by_key(|record| record.sequence);
    let events = records.iter().filter_map(|record| {
        let event = of_json(&serde_json::to_value(&record.event).ok()?);
        let number = record.job.map_or(Value::Null, |job| Value::Int(job.get().into()));
        Some(Value::map([("job", number), ("event", event)]))
    });
    Ok(events.collect())
}

fn of_json(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(yes) => Value::Bool(*yes),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Value::Int(number.into()),
            (None, Some(number)) => Value::Int(number.into()),
            (None, None) => Value::text(number),
        },
        serde_json::Value::String(text) => Value::text(text),
        serde_json::Value::Array(items) => Value::Array(items.iter().map(of_json).collect()),
        serde_json::Value::Object(map) => {
            Value::Map(map.iter().map(|(key, value)| (Value::text(key), of_json(value))).collect())
        }
    }
}

fn to_json(value: &Value) -> Option<serde_json::Value> {
    Some(match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(yes) => (*yes).into(),
        Value::Int(number) => i64::try_from(*number).ok()?.into(),
        Value::Text(text) => text.clone().into(),
        Value::Bytes(_) => return None,
        Value::Array(items) => serde_json::Value::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        Value::Map(entries) => {
            let entry = |(key, value): &(Value, Value)| Some((key.as_text()?.to_owned(), to_json(value)?));
            serde_json::Value::Object(entries.iter().map(entry).collect::<Option<_>>()?)
        }
    })
}

/// An event that the ledger knew before the job, with the number of the job that wrote it.
pub(super) fn known_event(value: &Value) -> Option<(Option<u64>, ledger::Event)> {
    let event = serde_json::from_value(to_json(value.get("event")?)?).ok()?;
    Some((value.get("job").and_then(Value::as_number), event))
}

const WAYS: [(SignInWay, &str); 5] = [
    (SignInWay::Ntlm, "ntlm"),
    (SignInWay::Negotiate, "negotiate"),
    (SignInWay::Pin, "pin"),
    (SignInWay::Certificate, "certificate"),
    (SignInWay::Basic, "basic"),
];

pub(super) fn way_name(way: SignInWay) -> &'static str {
    WAYS.iter().find(|(known, _)| *known == way).map_or("ntlm", |(_, name)| name)
}

pub(super) fn way_named(name: &str) -> Option<SignInWay> {
    WAYS.iter().find(|(_, known)| *known == name).map(|(way, _)| *way)
}

const PARTINGS: [(Parting, &str); 3] =
    [(Parting::Leave, "leave"), (Parting::SignIn, "sign-in"), (Parting::Restart, "restart")];

const LAB_PHONES: [(LabPhone, &str); 3] =
    [(LabPhone::NotAsked, "not asked"), (LabPhone::ByItsMaker, "by its maker"), (LabPhone::Impossible, "impossible")];

fn job_value(job: &Job) -> Value {
    let parting = PARTINGS.iter().find(|(known, _)| *known == job.parting).map_or("leave", |(_, name)| name);
    let lab_phone = LAB_PHONES.iter().find(|(known, _)| *known == job.lab_phone).map_or("not asked", |(_, name)| name);
    Value::map([
        ("user", Value::text(&job.user)),
        ("sign_in", Value::text(way_name(job.sign_in))),
        ("dry_run", Value::Bool(job.dry_run)),
        ("replace", Value::Bool(job.replace)),
        ("renew", Value::Bool(job.renew)),
        ("abort_pending", Value::Bool(job.abort_pending)),
        ("compare_code", Value::Bool(job.compare_code)),
        ("require_authentic", Value::Bool(job.require_authentic)),
        ("registrar", Value::maybe(job.registrar.as_ref())),
        ("web_services", Value::text(&job.web_services)),
        ("parting", Value::text(parting)),
        ("slot", Value::text(&job.slot)),
        ("lab", Value::Bool(job.lab)),
        ("lab_phone", Value::text(lab_phone)),
        ("publish_tries", Value::Int(job.publish_tries.into())),
        ("publish_wait_seconds", Value::Int(job.publish_wait.as_secs().into())),
        ("jitter", Value::Int(job.jitter.seed().into())),
    ])
}

pub(super) fn job_from(value: &Value, world: World) -> Option<Job> {
    let text = |key| value.get(key).and_then(Value::as_text);
    let yes = |key| value.get(key).and_then(Value::as_bool);
    let (parting, lab_phone) = (text("parting")?, text("lab_phone")?);
    Some(Job {
        user: text("user")?.parse::<SipAddress>().ok()?,
        sign_in: way_named(text("sign_in")?)?,
        dry_run: yes("dry_run")?,
        replace: yes("replace")?,
        renew: yes("renew")?,
        abort_pending: yes("abort_pending")?,
        compare_code: yes("compare_code")?,
        require_authentic: yes("require_authentic")?,
        registrar: text("registrar").map(str::to_owned),
        web_services: text("web_services")?.to_owned(),
        // The registrar's side is not on the tape.
        rehearsal: None,
        parting: PARTINGS.iter().find(|(_, name)| *name == parting).map(|(parting, _)| *parting)?,
        slot: text("slot")?.to_owned(),
        lab: yes("lab")?,
        lab_phone: LAB_PHONES.iter().find(|(_, name)| *name == lab_phone).map(|(lab_phone, _)| *lab_phone)?,
        publish_tries: value.get("publish_tries")?.as_number()?,
        publish_wait: Duration::from_secs(value.get("publish_wait_seconds")?.as_number()?),
        jitter: Jitter::seeded(value.get("jitter")?.as_number()?),
        terms: None,
        world,
    })
}

/// Without the host's key: a session needs it, and a recording is above the session.
fn host_value(host: &Host, meant: &Meant) -> Value {
    let roots = host.maker_roots.iter().map(|root| Value::bytes(root.der())).collect();
    let named = host.maker_root_fingerprints.iter().map(|print| Value::bytes(print.as_bytes())).collect();
    Value::map([
        ("label", Value::text(&host.label)),
        ("maker_roots", Value::Array(roots)),
        ("maker_root_fingerprints", Value::Array(named)),
        ("meant_serial", Value::maybe(meant.serial.as_ref())),
        ("meant_mac", Value::maybe(meant.mac)),
    ])
}

pub(super) fn host_from(value: &Value) -> Option<(Host, Meant)> {
    let roots = value.get("maker_roots")?.as_list()?.iter();
    let named = value.get("maker_root_fingerprints")?.as_list()?.iter();
    let meant = Meant {
        serial: value.get("meant_serial").and_then(Value::as_text).map(str::to_owned),
        mac: value.get("meant_mac").and_then(Value::as_text).and_then(|mac| mac.parse().ok()),
        keys: None,
    };
    let host = Host {
        key: Arc::new(HostKey::ephemeral()),
        label: value.get("label")?.as_text()?.to_owned(),
        maker_roots: roots.map(|der| Certificate::from_der(der.as_bytes()?).ok()).collect::<Option<_>>()?,
        maker_root_fingerprints: named
            .map(|print| Some(Fingerprint::from_bytes(print.as_bytes()?.try_into().ok()?)))
            .collect::<Option<_>>()?,
    };
    Some((host, meant))
}

/// How a job ended. Wording may change and is left out; what is left out of `told` is compared.
pub(super) fn outcome_value(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done(receipt) => Value::map([
            ("done", Value::text(receipt.verified.user())),
            ("certificate", Value::bytes(receipt.verified.certificate().fingerprint().as_bytes())),
            ("unchanged", Value::Bool(receipt.unchanged)),
            ("exchanges", Value::Int(receipt.traffic.exchanges.into())),
        ]),
        Outcome::NotDone(failure) => failed("not done", failure),
        Outcome::Unknown(failure) => failed("unknown", failure),
        Outcome::Planned(plan) => {
            let names = |names: &[String]| Value::Array(names.iter().map(Value::text).collect());
            Value::map([
                ("planned", Value::text(&plan.user)),
                ("nothing_to_do", Value::Bool(plan.nothing_to_do)),
                ("sets_clock", Value::Bool(plan.sets_clock)),
                ("anchors", names(&plan.anchors)),
                ("intermediates", names(&plan.intermediates)),
            ])
        }
    }
}

fn failed(how: &'static str, failure: &crate::provision::Failure) -> Value {
    let steps = failure.steps.iter().map(|step| Value::text(step.step)).collect();
    Value::map([
        (how, Value::text(format!("{:?}", failure.error.remedyable()).to_lowercase())),
        ("steps_done", Value::Array(steps)),
    ])
}

/// How it ended, in a line for people.
pub(super) fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done(receipt) if receipt.unchanged => format!("done: nothing to do for {}", receipt.verified.user()),
        Outcome::Done(receipt) => format!("done: {} is on the phone, proved", receipt.verified.user()),
        Outcome::NotDone(failure) => format!("not done: {}", failure.error),
        Outcome::Unknown(failure) => format!("unknown: {}", failure.error),
        Outcome::Planned(plan) => format!("planned for {}", plan.user),
    }
}
