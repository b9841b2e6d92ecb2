//! The run of a test: Web Services, ticket, certificate, registrar.

use super::report::{AddressReport, Remains, Report, Step, StepReport, StepResult, Trouble};
use super::test_device::{TestDevice, TestDeviceError};
use crate::credential::{Certificate, SigningRequest, SipAddress, UserView, judge_user_certificate};
use crate::provision::{NoAnswer, Stop};
use crate::registrar::{Account, Client, Credential, Facts, Failure, Passed, RegistrarError, Rules, Server, Stage};
use crate::service::ocauth::commands;
use crate::service::{Enrolment, ErrorClass, Publication, ServiceError, SignIn, SignInWay};
use crate::tls::Connector;
use crate::world::World;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who is told, and asked for the secret.
pub trait Tester: Send {
    /// A step is done.
    fn done(&mut self, step: &StepReport);

    /// The user's secret, which goes to this host and no other.
    fn credential(&mut self, host: &str) -> impl Future<Output = Result<SignIn, NoAnswer>> + Send;

    /// The user's Windows account, of which only a proof goes to this registrar and no other host.
    fn account(&mut self, host: &str) -> impl Future<Output = Result<Account, NoAnswer>> + Send;
}

/// What the user signs in with at the registrar.
#[derive(Debug, Clone)]
pub enum Source {
    /// A certificate that is published by this test.
    Fetched(SignInWay),
    /// A certificate that is left of an earlier test.
    Kept(Box<Certificate>),
    /// The Windows account itself, by NTLM: the Web Services are asked for nothing, and nothing is published.
    Account,
}

/// What is done at the registrar.
#[derive(Debug, Clone)]
pub struct AtRegistrar {
    /// The registrar.
    pub server: Server,
    /// Every address of its name is tried, one after the other.
    pub each_address: bool,
    /// How long the user stays registered.
    pub stay: Duration,
    /// Ends that before its time.
    pub stop: Stop,
    /// The limits.
    pub rules: Rules,
}

/// A test of one user.
pub struct Transaction<'a, T> {
    /// The user.
    pub user: SipAddress,
    /// Where the certificate comes from.
    pub source: Source,
    /// What is done at the registrar.
    pub registrar: AtRegistrar,
    /// The device that it is done with.
    pub device: &'a TestDevice,
    /// Who is told and asked.
    pub tester: &'a mut T,
    /// Time and random numbers.
    pub world: World,
    /// What was done before: discovery, where it was needed.
    pub steps: Vec<StepReport>,
}

/// A step did not go well, and has been told.
struct Stopped;

/// How long what changes something on a server may go on when somebody stops the test: a publication, or a registration
/// with its end.
const GRACE: Duration = Duration::from_secs(10);

/// Somebody stopped the test.
#[derive(Debug, thiserror::Error)]
#[error("it was stopped")]
struct Interrupted;

/// The end of it, unless somebody stops the test before.
async fn unless_stopped<T>(work: impl Future<Output = T>, stop: &Stop) -> Option<T> {
    tokio::select! {
        ended = work => Some(ended),
        () = stop.asked() => None,
    }
}

/// The end of it, unless somebody stops the test and it goes on for longer than it may.
async fn to_its_end<T>(work: impl Future<Output = T>, stop: &Stop) -> Option<T> {
    let mut work = Box::pin(work);
    tokio::select! {
        ended = &mut work => Some(ended),
        () = stop.asked() => tokio::time::timeout(GRACE, work).await.ok(),
    }
}

impl<T: Tester> Transaction<'_, T> {
    /// Runs it to its end, or to the step that does not go well.
    pub async fn run<E: Enrolment>(mut self, service: &mut E, connector: &Arc<Connector>) -> Report {
        let mut remains = None;
        let (mut addresses, mut registrar) = (Vec::new(), None);
        if let Ok(credential) = self.credential(service, &mut remains).await {
            addresses = self.at_the_registrar(credential, connector, &mut registrar).await;
        }
        Report { steps: self.steps, addresses, registrar, remains }
    }

    async fn credential<E: Enrolment>(
        &mut self,
        service: &mut E,
        remains: &mut Option<Remains>,
    ) -> Result<Credential, Stopped> {
        let certificate = match self.source.clone() {
            Source::Fetched(way) => self.fetch(way, service, remains).await?,
            Source::Kept(certificate) => {
                let until = certificate.not_after().date();
                let said = format!("{}, kept from an earlier test, until {until}", certificate.fingerprint().short());
                self.good(Step::Certificate, None, Duration::ZERO, said);
                *remains = Some(self.remains(Some(&certificate)));
                *certificate
            }
            Source::Account => {
                let host = self.registrar.server.host.clone();
                let stop = self.registrar.stop.clone();
                return match unless_stopped(self.tester.account(&host), &stop).await {
                    None => Err(self.interrupted(Step::Handshake, Some(host), Instant::now())),
                    Some(Ok(account)) => Ok(Credential::Password(account)),
                    Some(Err(error)) => Err(self.nothing_given(Step::Handshake, host, &error)),
                };
            }
        };
        Ok(Credential::Certificate(self.device.identity(&certificate)))
    }

    async fn fetch<E: Enrolment>(
        &mut self,
        way: SignInWay,
        service: &mut E,
        remains: &mut Option<Remains>,
    ) -> Result<Certificate, Stopped> {
        let user = self.user.clone();
        let began = Instant::now();
        let looked = async {
            let survey = service.survey().await?;
            let host = service.sign_in_host(&user, way).await?;
            Ok((survey, host))
        };
        let stop = self.registrar.stop.clone();
        let (survey, host) = match unless_stopped(looked, &stop).await {
            None => return Err(self.interrupted(Step::WebServices, None, began)),
            Some(Ok(looked)) => looked,
            Some(Err(error)) => return Err(self.service_failed(Step::WebServices, None, began.elapsed(), &error)),
        };
        let server = Some(format!("{}:{}", survey.host, survey.port));
        let clock = match survey.clock_offset_seconds {
            Some(offset) if offset.abs() > crate::registrar::SKEW_WORTH_SAYING => {
                format!(
                    "; its clock is {} s {} this computer's",
                    offset.abs(),
                    if offset > 0 { "ahead of" } else { "behind" }
                )
            }
            Some(_) | None => String::new(),
        };
        let said = format!("trusted by this computer, offers {way}{clock}");
        self.good(Step::WebServices, server, began.elapsed(), said);

        let credential = match unless_stopped(self.tester.credential(&host), &stop).await {
            None => return Err(self.interrupted(Step::WebTicket, Some(host), Instant::now())),
            Some(Ok(credential)) => credential,
            Some(Err(error)) => return Err(self.nothing_given(Step::WebTicket, host, &error)),
        };
        let began = Instant::now();
        let ticket = match unless_stopped(service.sign_in(&user, &credential), &stop).await {
            None => return Err(self.interrupted(Step::WebTicket, Some(host), began)),
            Some(Ok(ticket)) => ticket,
            Some(Err(error)) => return Err(self.service_failed(Step::WebTicket, Some(host), began.elapsed(), &error)),
        };
        let until = ticket.expires().time();
        let said = format!("for {user}, by {way}, until {:02}:{:02} UTC", until.hour(), until.minute());
        self.good(Step::WebTicket, Some(host), began.elapsed(), said);

        let began = Instant::now();
        let request = match self.device.request(&user) {
            Ok(request) => request,
            Err(error) => return Err(self.device_failed(began.elapsed(), &error)),
        };
        let publication = Publication {
            user: user.clone(),
            device: self.device.endpoint(&user).device,
            signing_request: request.clone(),
            request_id: uuid::Builder::from_random_bytes(self.world.random("publication")).into_uuid(),
        };
        if stop.is_asked() {
            return Err(self.interrupted(Step::Certificate, None, began));
        }
        let Some(published) = to_its_end(service.publish(&ticket, &publication), &stop).await else {
            *remains = Some(self.remains(None));
            let next = format!("see whether it was published: {}", commands::published_certificates(&user));
            let trouble = Trouble::of(&Interrupted, None, next, ErrorClass::Unknown);
            return Err(self.stop(Step::Certificate, Some(survey.host), began.elapsed(), trouble));
        };
        let published = match published {
            Ok(published) => published,
            Err(error) => {
                if error.outcome_unknown() {
                    *remains = Some(self.remains(None));
                }
                return Err(self.service_failed(Step::Certificate, None, began.elapsed(), &error));
            }
        };
        *remains = Some(self.remains(None));
        let certificate = match Certificate::from_der(&published.certificate) {
            Ok(certificate) => certificate,
            Err(error) => {
                let trouble = Trouble::of(&error, None, error.next_step(), ErrorClass::Failed);
                return Err(self.stop(Step::Certificate, published.server, began.elapsed(), trouble));
            }
        };
        *remains = Some(self.remains(Some(&certificate)));
        if let Some(refusal) = self.refusal(&request, &certificate, service.clock_offset_seconds()) {
            let trouble = Trouble::of(&refusal, None, refusal.next_step(), ErrorClass::Failed);
            return Err(self.stop(Step::Certificate, published.server, began.elapsed(), trouble));
        }
        if let Err(error) = self.device.keep(&user, &certificate) {
            return Err(self.device_failed(began.elapsed(), &error));
        }
        let until = certificate.not_after().date();
        let said = format!("{} made and published, until {until}", certificate.fingerprint().short());
        self.good(Step::Certificate, published.server, began.elapsed(), said);
        Ok(certificate)
    }

    /// Why the certificate is not the one that was asked for, if it is not.
    fn refusal(
        &self,
        request: &[u8],
        certificate: &Certificate,
        offset: Option<i64>,
    ) -> Option<crate::credential::Refusal> {
        let clock = self.world.now() + time::Duration::seconds(offset.unwrap_or_default());
        let request = SigningRequest::from_der(request).ok()?;
        let view = UserView::of(&request, &self.user, clock)?;
        judge_user_certificate(certificate, &view).refusals().next().cloned()
    }

    async fn at_the_registrar(
        &mut self,
        credential: Credential,
        connector: &Arc<Connector>,
        facts: &mut Option<Facts>,
    ) -> Vec<AddressReport> {
        let credentials = vec![credential];
        if self.registrar.stop.is_asked() {
            let server = self.registrar.server.to_string();
            self.interrupted(Step::Connect, Some(server), Instant::now());
            return Vec::new();
        }
        let endpoint = self.device.endpoint(&self.user);
        let AtRegistrar { server, each_address, rules, .. } = self.registrar.clone();
        let client = Arc::new(Client::new(connector.clone(), endpoint, credentials, rules, self.world.clone()));
        if !each_address {
            let _ = self.registration(&client, &server, facts).await;
            return Vec::new();
        }
        let began = Instant::now();
        let addresses = match connector.addresses(&server.host, server.port).await {
            Ok(addresses) => addresses,
            Err(error) => {
                let error = RegistrarError::Connection(error);
                let trouble = Trouble::of(&error, None, error.next_step(), error.class());
                self.stop(Step::Connect, Some(server.to_string()), began.elapsed(), trouble);
                return Vec::new();
            }
        };
        let mut reports: Vec<AddressReport> = Vec::new();
        for address in addresses {
            if self.registrar.stop.is_asked() {
                break;
            }
            if reports.iter().all(|report| report.address != address) {
                reports.push(self.at_address(&client, &server, address, facts).await);
            }
        }
        reports
    }

    async fn at_address(
        &mut self,
        client: &Arc<Client>,
        server: &Server,
        address: SocketAddr,
        facts: &mut Option<Facts>,
    ) -> AddressReport {
        let began = Instant::now();
        let server = Server { at: Some(address), ..server.clone() };
        let stopped_at = self.registration(client, &server, facts).await.err();
        let targetname = facts.as_ref().and_then(|facts| facts.targetname.clone());
        AddressReport { address, targetname, stopped_at, latency: began.elapsed() }
    }

    /// Registers, stays as long as was asked for, and signs off; or says where it stopped.
    async fn registration(
        &mut self,
        client: &Arc<Client>,
        server: &Server,
        facts: &mut Option<Facts>,
    ) -> Result<(), Step> {
        let (stay, stop) = (self.registrar.stay, self.registrar.stop.clone());
        let (steps, tester) = (&mut self.steps, &mut *self.tester);
        let (began, reached) = (Instant::now(), Mutex::new(None));
        let last = || -> Option<Stage> { *reached.lock().unwrap_or_else(PoisonError::into_inner) };
        let mut watch = |passed: &Passed| {
            *reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(passed.stage);
            let step = StepReport {
                step: passed.stage.into(),
                server: Some(passed.server.to_string()),
                latency: passed.took,
                result: StepResult::Good { said: passed.said.clone() },
            };
            tester.done(&step);
            steps.push(step);
        };
        let went = async {
            let mut registration = client.register(server, &mut watch).await?;
            if !stay.is_zero() {
                let began = Instant::now();
                tokio::select! {
                    stayed = registration.stay(stay, &mut watch) => stayed?,
                    () = stop.asked() => {}
                }
                let server = registration.facts().server.clone().unwrap_or_else(|| server.clone());
                let said = format!("was registered for {} s", began.elapsed().as_secs());
                watch(&Passed { stage: Stage::Stay, server, took: began.elapsed(), said });
            }
            Ok::<_, Box<Failure>>(registration.sign_off(&mut watch).await?.facts)
        };
        let mut went = Box::pin(went);
        let ended = tokio::select! {
            ended = &mut went => Some(ended),
            () = stop.asked() => match last() {
                None | Some(Stage::Connect | Stage::Ask) => None,
                // Whoever may be registered by now is signed off first.
                Some(_) => tokio::time::timeout(GRACE, &mut went).await.ok(),
            },
        };
        drop(went);
        let reached = last();
        match ended {
            None => {
                let step = match reached {
                    None => Step::Connect,
                    Some(Stage::Connect) => Step::Challenge,
                    Some(Stage::Ask) => Step::Handshake,
                    Some(Stage::Handshake) => Step::Register,
                    Some(Stage::Register | Stage::Renew | Stage::Stay | Stage::SignOff) => Step::SignOff,
                };
                let _ = self.interrupted(step, Some(server.to_string()), began);
                Err(step)
            }
            Some(Ok(shown)) => {
                *facts = Some(shown);
                Ok(())
            }
            Some(Err(failure)) => {
                let step = failure.stage.into();
                self.registrar_failed(&failure);
                *facts = Some(failure.facts);
                Err(step)
            }
        }
    }

    fn registrar_failed(&mut self, failure: &Failure) {
        let error = &failure.error;
        let diagnosis = error.refusal().and_then(|refusal| refusal.diagnostics.as_ref()).map(ToString::to_string);
        let refused = matches!(error, RegistrarError::HandshakeRefused { .. });
        let next = match refused && matches!(self.source, Source::Fetched(_)) {
            true => format!(
                "it was published a moment ago, and this server may not have it yet: in half a minute, tethercert test \
                 client-auth --kept --user {}; if it stays, replication in the pool is out of order",
                self.user
            ),
            false => error.next_step().to_owned(),
        };
        let trouble = Trouble::of(error, diagnosis, next, error.class());
        self.stop(failure.stage.into(), Some(failure.server.to_string()), failure.after, trouble);
    }

    fn service_failed(
        &mut self,
        step: Step,
        server: Option<String>,
        latency: Duration,
        error: &ServiceError,
    ) -> Stopped {
        let diagnosis = error.diagnosis().map(ToString::to_string);
        let next = match error.outcome_unknown() {
            // What a job would do next is another thing: a test goes on with nothing.
            true => format!(
                "see what is published, then repeat the test: it publishes for the same device. {}",
                commands::published_certificates(&self.user)
            ),
            false => error.next_step(),
        };
        let trouble = Trouble::of(error, diagnosis, next, error.class());
        self.stop(step, server, latency, trouble)
    }

    /// Somebody stopped it in this step. Whoever may be registered then is so until that ends by itself.
    fn interrupted(&mut self, step: Step, server: Option<String>, began: Instant) -> Stopped {
        let (next, class) = match step {
            Step::Register | Step::SignOff => {
                ("nothing: a registration that nobody renews ends by itself", ErrorClass::Unknown)
            }
            _ => ("repeat the command", ErrorClass::Temporary),
        };
        self.stop(step, server, began.elapsed(), Trouble::of(&Interrupted, None, next, class))
    }

    /// The secret that this step needs is not there.
    fn nothing_given(&mut self, step: Step, host: String, error: &NoAnswer) -> Stopped {
        let class = match error {
            NoAnswer::Nobody { .. } => ErrorClass::NeedsPerson,
            NoAnswer::Unreadable { .. } | NoAnswer::Empty { .. } => ErrorClass::Failed,
        };
        let trouble = Trouble::of(error, None, error.next_step(), class);
        self.stop(step, Some(host), Duration::ZERO, trouble)
    }

    fn device_failed(&mut self, latency: Duration, error: &TestDeviceError) -> Stopped {
        let trouble = Trouble::of(error, None, error.next_step(), ErrorClass::Failed);
        self.stop(Step::Certificate, None, latency, trouble)
    }

    fn remains(&self, certificate: Option<&Certificate>) -> Remains {
        Remains {
            user: self.user.clone(),
            device: self.device.endpoint(&self.user).device,
            certificate: certificate.map(|it| (it.fingerprint(), it.not_after())),
        }
    }

    fn good(&mut self, step: Step, server: Option<String>, latency: Duration, said: String) {
        self.tell(StepReport { step, server, latency, result: StepResult::Good { said } });
    }

    fn stop(&mut self, step: Step, server: Option<String>, latency: Duration, trouble: Trouble) -> Stopped {
        self.tell(StepReport { step, server, latency, result: trouble.result() });
        Stopped
    }

    fn tell(&mut self, step: StepReport) {
        self.tester.done(&step);
        self.steps.push(step);
    }
}
