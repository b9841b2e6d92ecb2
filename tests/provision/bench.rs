//! A station on a lab: the ordinary code path over real USB/IP, HTTPS and SQLite, with answers given beforehand.

pub use crate::answers::Answers;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tethercert::credential::{Fingerprint, SipAddress};
use tethercert::lab::phone::{Clock, StoredIdentity, StoredKey, VirtualPhone};
use tethercert::lab::{Lab, LabOptions};
use tethercert::ledger::{self, Filter, Ledger, Unfinished};
use tethercert::phone::definition::Definitions;
use tethercert::phone::tether::HostKey;
use tethercert::phone::{Finder, Parting, Phone, PhoneError, Remedyable};
use tethercert::provision::{
    Jitter, Job, LabPhone, Outcome, ProvisionError, Receipt, Settled, Stage, Stop, provision, resume, settle,
};
use tethercert::service::SignInWay;
use tethercert::service::ocauth::{OcAuth, Pool, Profile, RefusedCredentials, Settings};
use tethercert::tls::{Resolve, Trust};
use tethercert::usb::Usb;
use tethercert::world::World;

/// The name by which the pool is known here.
pub const HOST: &str = "web.contoso.example";
/// The port of the lab's first phone.
pub const PORT: &str = "1-1";

/// A station with a lab at the other end of its wires.
pub struct Bench {
    pub lab: Lab,
    pub pool: Pool,
    pub finder: Finder,
    pub ledger: Ledger,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with_phones(1).await
    }

    pub async fn with_phones(phones: u8) -> Self {
        let options = LabOptions { phones, fresh_keys: false, ..LabOptions::default() };
        let lab = Lab::start(&options).await.unwrap();
        let pool = Pool::new(pool_settings(&lab)).unwrap();
        let finder = finder(&lab, HostKey::ephemeral());
        let ledger = Ledger::temporary("bench").await.unwrap();
        Self { lab, pool, finder, ledger }
    }

    /// With one phone that has somebody's identity.
    pub async fn holding(old: OldIdentity) -> Self {
        let mut bench = Self::with_phones(0).await;
        let mut material = bench.lab.material(1);
        material.identity = Some(old.0);
        bench.lab.plug(material);
        bench
    }

    /// Sets the first phone's clock back, as an empty battery does.
    pub fn reset_clock(&self) {
        self.phone().set_clock(Clock::Shows(time::macros::datetime!(2008-01-01 00:00 UTC)));
    }

    /// The first phone as it left the factory.
    pub fn reset_phone(&mut self) {
        let material = self.phone().material();
        self.lab.replace(PORT, material);
    }

    pub fn phone(&self) -> &VirtualPhone {
        self.lab.phone()
    }

    /// What the technician asks for: Alice on the first phone.
    pub fn job(&self) -> Job {
        Job {
            user: alice(),
            sign_in: SignInWay::Ntlm,
            dry_run: false,
            replace: false,
            renew: false,
            abort_pending: false,
            compare_code: false,
            require_authentic: false,
            registrar: None,
            web_services: self.lab.web().certprov_url(HOST),
            rehearsal: None,
            parting: Parting::Leave,
            slot: PORT.into(),
            lab: true,
            lab_phone: LabPhone::NotAsked,
            publish_tries: 1,
            publish_wait: Duration::ZERO,
            jitter: Jitter::seeded(1),
            terms: None,
            world: World::system(),
        }
    }

    pub fn answers(&self) -> Answers<'static> {
        let user = &self.lab.web().users()[0];
        Answers::yes(user.login.clone(), user.password.clone())
    }

    /// Opens the first phone; what every run of the program begins with.
    pub async fn open(&self) -> Result<Phone, PhoneError> {
        let found = self.finder.pick(None).await?;
        self.finder.open(&found).await
    }

    /// The job as a technician runs it, to its end.
    pub async fn run(&self, job: &Job, answers: &mut Answers<'_>) -> Outcome {
        self.run_with(job, answers, &mut self.pool.enrolment()).await
    }

    pub async fn run_with(&self, job: &Job, answers: &mut Answers<'_>, service: &mut OcAuth) -> Outcome {
        let stop = Stop::default();
        if let Some((_, waiting)) = &mut answers.stop_at {
            *waiting = Some(stop.clone());
        }
        match self.open().await {
            Ok(mut phone) => provision(job, phone.driver(), service, &self.ledger, answers, &stop).await,
            Err(error) => Outcome::NotDone(tethercert::provision::Failure {
                job: None,
                error: error.into(),
                already: None,
                steps: Vec::new(),
            }),
        }
    }

    /// Writes down how a job ended, as the command line does.
    pub async fn write_end(&self, outcome: &Outcome) {
        let (job, outcome, exit_code) = match outcome {
            Outcome::Done(receipt) => (Some(receipt.job), ledger::Outcome::Done, 0),
            Outcome::NotDone(failure) => {
                let exit = if failure.error.remedyable() == Remedyable::Temporary { 7 } else { 1 };
                (failure.job, ledger::Outcome::NotDone, exit)
            }
            Outcome::Unknown(failure) => (failure.job, ledger::Outcome::Unknown, 5),
            Outcome::Planned(plan) => (plan.job, ledger::Outcome::NotDone, 0),
        };
        let end = ledger::Event::JobEnded { outcome, exit_code, message: String::new(), next_step: None };
        self.ledger.append(job, &end).await.unwrap();
    }

    /// The jobs that are left, oldest first, brought to their ends on the first phone.
    pub async fn resume(&self) -> Vec<Resumed> {
        let mut ends = Vec::new();
        for unfinished in self.ledger.unfinished().await.unwrap() {
            ends.push(self.resume_one(&unfinished, &mut self.answers()).await);
        }
        ends
    }

    /// One of them.
    pub async fn resume_one(&self, unfinished: &Unfinished, answers: &mut Answers<'_>) -> Resumed {
        if let Some(settled) = settle(unfinished, &self.ledger).await.unwrap() {
            let end = ledger::Event::JobEnded {
                outcome: settled.outcome,
                exit_code: 1,
                message: String::new(),
                next_step: None,
            };
            self.ledger.append(Some(unfinished.job.job), &end).await.unwrap();
            return Resumed::Settled(settled);
        }
        Resumed::Ran(self.go_on(&self.job(), unfinished, answers).await)
    }

    /// One that the ledger alone cannot end, with these options.
    pub async fn go_on(&self, job: &Job, unfinished: &Unfinished, answers: &mut Answers<'_>) -> Outcome {
        let (stop, mut phone, mut service) = (Stop::default(), self.open().await.unwrap(), self.pool.enrolment());
        let job = Job { user: unfinished.job.user.clone(), replace: true, ..job.clone() };
        let outcome = resume(&job, unfinished, phone.driver(), &mut service, &self.ledger, answers, &stop).await;
        // As the command line does: a job waits for its own phone.
        let waits = match &outcome {
            Outcome::NotDone(failure) | Outcome::Unknown(failure) => failure.error.is_about_another_phone(),
            Outcome::Done(_) | Outcome::Planned(_) => false,
        };
        if !waits {
            self.write_end(&outcome).await;
        }
        outcome
    }

    /// Every event of one kind, in words.
    pub async fn written(&self, kind: &str) -> Vec<serde_json::Value> {
        let records = self.ledger.events(Filter::default()).await.unwrap();
        let values = records.iter().map(|record| serde_json::to_value(record).unwrap());
        values.filter(|value| value["kind"] == kind).map(|value| value["body"].clone()).collect()
    }

    /// Runs a plain job that has to end well.
    pub async fn done(&self) -> Box<Receipt> {
        done(self.run(&self.job(), &mut self.answers()).await)
    }

    /// Runs a plain job and drops it dead when a step has ended; whether it came so far.
    pub async fn killed_after(&self, stage: Stage) -> bool {
        let reached = Stop::default();
        let mut answers = self.answers();
        answers.reached = Some((stage, reached.clone()));
        let job = self.job();
        tokio::select! {
            // The kill is looked at first, so that it comes before the next step.
            biased;
            () = reached.asked() => true,
            _ = self.run(&job, &mut answers) => false,
        }
    }

    /// What the pool's store holds for Alice on the first phone.
    pub fn published(&self) -> Option<Fingerprint> {
        let device = self.phone().material().device;
        let published = self.lab.web().store().get(&alice(), device)?;
        Some(Fingerprint::of(&published.certificate))
    }
}

/// How an unfinished job ended.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a handful of them, and patterns reach through it")]
pub enum Resumed {
    /// By the ledger alone.
    Settled(Settled),
    /// With its phone.
    Ran(Outcome),
}

pub fn finder(lab: &Lab, key: HostKey) -> Finder {
    Finder {
        usb: Usb::usbip(lab.usbip().to_string().parse().unwrap()),
        definitions: Arc::new(Definitions::load(None, &[lab.drivers()]).unwrap()),
        host_key: Arc::new(key),
        host_label: "bench".into(),
    }
}

pub fn pool_settings(lab: &Lab) -> Settings {
    let mut trust = Trust::only_given();
    trust.add_file(&lab.ready().trust_anchor).unwrap();
    let address: SocketAddr = lab.web().address();
    Settings {
        resolve: vec![Resolve { host: HOST.into(), port: address.port(), address }],
        profile: Some(Profile::lab()),
        refused: RefusedCredentials::new(),
        ..Settings::new(lab.web().certprov_url(HOST), trust)
    }
}

pub fn alice() -> SipAddress {
    "alice@contoso.example".parse().unwrap()
}

pub fn done(outcome: Outcome) -> Box<Receipt> {
    match outcome {
        Outcome::Done(receipt) => receipt,
        other => panic!("not done: {}", told(&other)),
    }
}

pub fn not_done(outcome: Outcome) -> ProvisionError {
    match outcome {
        Outcome::NotDone(failure) => failure.error,
        other => panic!("not 'not done': {} ({other:?})", told(&other)),
    }
}

pub fn unknown(outcome: Outcome) -> ProvisionError {
    match outcome {
        Outcome::Unknown(failure) => failure.error,
        other => panic!("not unknown: {} ({other:?})", told(&other)),
    }
}

/// The identity of an earlier user.
#[derive(Clone)]
pub struct OldIdentity(StoredIdentity);

impl OldIdentity {
    pub fn of(user: &str) -> Self {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, user);
        let leaf = params.self_signed(&key).unwrap().der().to_vec().into();
        let key = StoredKey { kind: 3, pkcs8: key.serialize_der().into() };
        Self(StoredIdentity { user: user.into(), key, leaf, intermediates: Vec::new() })
    }

    pub fn stored(&self) -> StoredIdentity {
        self.0.clone()
    }

    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.0.leaf)
    }
}

/// What the outcome says, with everything under it.
pub fn told(outcome: &Outcome) -> String {
    let failure = match outcome {
        Outcome::Done(_) => return "done".into(),
        Outcome::Planned(plan) => return format!("planned: {plan:?}"),
        Outcome::NotDone(failure) | Outcome::Unknown(failure) => failure,
    };
    let mut text = failure.error.to_string();
    let mut below = std::error::Error::source(&failure.error);
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}
