//! What both tests are put together from: the user, the pool, the registrar, and this computer's test device.

use super::super::ask::Person;
use super::super::bench::{ChosenPool, PoolArgs, ledger_path, refuse_in_lab};
use super::super::discovery;
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::job::no_pool;
use super::super::operator::{Answers, Console, SignInAnswer};
use super::super::screen::Screen;
use super::super::settings::Who;
use super::super::stop::stop_on_signals;
use super::told::{Told, outcome, show};
use clap::Args as ClapArgs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tethercert::credential::SipAddress;
use tethercert::diagnose::{
    AtRegistrar, Report, Source, Step, StepReport, StepResult, TestDevice, Transaction, Trouble,
};
use tethercert::lab::faults::Fault;
use tethercert::lab::web_services::User;
use tethercert::lab::{Lab, LabOptions};
use tethercert::pool;
use tethercert::provision::{ProvisionError, Stop};
use tethercert::registrar::Rules;
use tethercert::service::ErrorClass;
use tethercert::world::World;

/// What both tests take.
#[derive(ClapArgs, Debug)]
pub(super) struct TestArgs {
    /// Register at every address of the registrar's name, one after the other
    #[arg(long, help_heading = "Registrar")]
    pub(super) each_address: bool,
    /// Seconds to stay registered before signing off, renewed in time; Ctrl-C signs off sooner
    #[arg(long, help_heading = "Registrar", value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86400))]
    pub(super) stay: u64,
    /// Seconds that an answer of the registrar may take
    #[arg(long, help_heading = "Registrar", value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(super) timeout: u64,
    /// Folder with this computer's test device: its key, and the certificates that tests have left [default: beside the
    /// ledger]
    #[arg(long, help_heading = "Registrar", value_name = "DIR")]
    pub(super) test_device: Option<PathBuf>,
    #[command(flatten)]
    pub(super) pool: PoolArgs,
    /// Use a lab inside this command: Web Services and a registrar on loopback, nothing real
    #[arg(long, help_heading = "Lab")]
    pub(super) lab: bool,
    /// Fault to switch on in that lab; may be repeated; `lab --fault help` lists them
    #[arg(long, help_heading = "Lab", value_name = "NAME[=VALUE]", requires = "lab")]
    pub(super) fault: Vec<Fault>,
}

/// Whether a test can run.
pub(super) enum Begun {
    /// It can.
    Ready(Box<Setting>),
    /// It has stopped at looking for the pool, and that is told.
    Over(Exit),
}

/// A test, before it runs.
pub(super) struct Setting {
    pub(super) user: SipAddress,
    /// The embedded lab's user: the lab answers everything.
    pub(super) lab_user: Option<User>,
    pub(super) device: TestDevice,
    pub(super) stop: Stop,
    name: &'static str,
    chosen: ChosenPool,
    registrar: AtRegistrar,
    /// Discovery, where it was needed.
    steps: Vec<StepReport>,
    screen: Screen,
    /// Held while the test runs.
    _lab: Option<Lab>,
    _folder: Option<TempDir>,
}

impl Setting {
    pub(super) async fn of(
        name: &'static str,
        args: &TestArgs,
        user: Option<SipAddress>,
        login: Option<String>,
        screen: &Screen,
    ) -> Result<Begun, CliError> {
        let stop = Stop::default();
        stop_on_signals(stop.clone(), screen.clone())?;
        let lab = match args.lab {
            true => {
                refuse_in_lab(args.test_device.is_some(), "--test-device")?;
                let options = LabOptions { phones: 0, faults: args.fault.clone(), ..LabOptions::default() };
                Some(Lab::start(&options).await.map_err(CliError::Lab)?)
            }
            false => None,
        };
        let (user, lab_user) = who(user, lab.as_ref(), screen, &stop).await?;
        let login = pool::Setting::of_option("--login", login);
        let (chosen, steps) = match meant(args, &user, login, lab.as_ref(), screen, &stop).await? {
            Meant::Pool(chosen, steps) => (*chosen, steps),
            Meant::Nothing(step) => {
                let report = Report { steps: vec![step], addresses: Vec::new(), registrar: None, remains: None };
                return Ok(Begun::Over(outcome(name, &report, &user, "", "", screen)));
            }
        };
        let server = chosen.registrar(lab.as_ref()).ok_or_else(|| {
            CliError::usage(
                "the registrar is not known",
                "give it by --registrar sip.contoso.example:5061, or put it into the pool's file as `registrar`",
            )
        })?;
        let rules = Rules {
            transaction: Duration::from_secs(args.timeout),
            allowed_hosts: chosen.settings.allow_hosts.value.clone(),
            ..Rules::default()
        };
        let stay = Duration::from_secs(args.stay);
        let registrar = AtRegistrar { server, each_address: args.each_address, stay, stop: stop.clone(), rules };
        let folder = match &lab {
            Some(_) => Some(TempDir::new().map_err(CliError::Lab)?),
            None => None,
        };
        let place = match (&folder, &args.test_device) {
            (Some(folder), _) => folder.path().join("test-device"),
            (None, Some(place)) => place.clone(),
            (None, None) => ledger_path(None)?.with_file_name("test-device"),
        };
        let device = tokio::task::spawn_blocking(move || TestDevice::load_or_create(&place));
        let device = device.await.expect("making a key does not panic")?;
        let screen = screen.clone();
        let (_lab, _folder) = (lab, folder);
        let setting = Self { user, lab_user, device, stop, name, chosen, registrar, steps, screen, _lab, _folder };
        Ok(Begun::Ready(Box::new(setting)))
    }

    /// The Windows account.
    pub(super) fn login(&self) -> String {
        self.chosen.settings.login.as_ref().map(|login| login.value.clone()).unwrap_or_default()
    }

    /// Runs it, says what came of it, and gives its exit code.
    pub(super) async fn run(self, source: Source, sign_in: SignInAnswer) -> Result<Exit, CliError> {
        let Self { user, lab_user, device, stop, name, chosen, registrar, steps, screen, .. } = &self;
        if lab_user.is_some() {
            screen.line("", "Web Services and a registrar inside this command, nothing real");
        }
        let answers = Answers { yes: true, sign_in, administrator_code: None };
        let console = Console::new(screen.clone(), stop.clone(), answers, lab_user.clone());
        let mut told = Told::new(console, screen.clone(), user.clone());
        let (mut service, connector) = (chosen.pool.enrolment(), chosen.pool.connector());
        let transaction = Transaction {
            user: user.clone(),
            source,
            registrar: registrar.clone(),
            device,
            tester: &mut told,
            world: World::system(),
            steps: steps.clone(),
        };
        let report = transaction.run(&mut service, &connector).await;
        Ok(outcome(name, &report, user, &chosen.url, &registrar.server.host, screen))
    }
}

/// Whom the test is about.
async fn who(
    user: Option<SipAddress>,
    lab: Option<&Lab>,
    screen: &Screen,
    stop: &Stop,
) -> Result<(SipAddress, Option<User>), CliError> {
    let Some(lab) = lab else {
        return match (user, Person::at(screen, stop)) {
            (Some(user), _) => Ok((user, None)),
            (None, Some(person)) => Ok((person.value("user, like alice@contoso.example:", None).await?, None)),
            (None, None) => Err(CliError::usage("no user is given", "give --user, like --user alice@contoso.example")),
        };
    };
    let users = lab.web().users();
    let found = match &user {
        Some(wanted) => users.iter().find(|user| user.sip == *wanted),
        None => users.first(),
    };
    let found = found.cloned().ok_or_else(|| {
        let names: Vec<&str> = users.iter().map(|user| user.sip.as_str()).collect();
        CliError::usage("the lab does not know this user", format!("give one of the lab's: {}", names.join(", ")))
    })?;
    Ok((found.sip.clone(), Some(found)))
}

/// What came of looking for the pool.
enum Meant {
    Pool(Box<ChosenPool>, Vec<StepReport>),
    /// There is none, and the step that found none.
    Nothing(StepReport),
}

/// The pool that is meant: as configured or given; what is missing of it is looked for as a phone does.
async fn meant(
    args: &TestArgs,
    user: &SipAddress,
    login: Option<pool::Setting<String>>,
    lab: Option<&Lab>,
    screen: &Screen,
    stop: &Stop,
) -> Result<Meant, CliError> {
    let who =
        || Who { user: pool::Setting::of_option("--user", Some(user.clone())), login: login.clone(), ..Who::default() };
    let given = ChosenPool::without_phone(lab, &args.pool, who(), screen)?;
    let given = match given {
        Some(chosen) if lab.is_some() || chosen.settings.registrar.is_some() => {
            return Ok(Meant::Pool(Box::new(chosen), Vec::new()));
        }
        given => given,
    };
    let began = Instant::now();
    let found = discovery::for_user(user, &args.pool.at, false, screen, stop).await;
    let step = |result| {
        let step = StepReport { step: Step::Discovery, server: None, latency: began.elapsed(), result };
        show(&step, screen);
        step
    };
    let stopped = |error: &CliError| {
        let class = match error.exit() {
            Exit::Refused => ErrorClass::Policy,
            Exit::Temporary => ErrorClass::Temporary,
            Exit::NeedsPerson => ErrorClass::NeedsPerson,
            Exit::Done | Exit::Failed | Exit::Usage | Exit::NotFound | Exit::SomeFailed | Exit::Unknown => {
                ErrorClass::Failed
            }
        };
        Trouble::of(error, None, error.next_step(), class).result()
    };
    match (found, given) {
        (Ok(Some(found)), given) => {
            let mut said = Vec::new();
            if given.is_none() {
                said.push(format!("Web Services {} ({})", found.certprov_url.value, found.certprov_url.origin));
            }
            if let Some(registrar) = &found.registrar {
                said.push(format!("registrar {} ({})", registrar.value, registrar.origin));
            }
            let who = match given {
                None => found.told(who()),
                Some(_) => Who { registrar: found.registrar, ..who() },
            };
            let chosen = ChosenPool::without_phone(lab, &args.pool, who, screen)?.ok_or_else(no_pool)?;
            let said = said.join("; ");
            Ok(Meant::Pool(Box::new(chosen), vec![step(StepResult::Good { said })]))
        }
        // Which registrar it is nobody says: an option is missing.
        (Ok(None), Some(chosen)) => Ok(Meant::Pool(Box::new(chosen), Vec::new())),
        (Ok(None), None) => Ok(Meant::Nothing(step(stopped(&no_pool())))),
        (Err(error @ CliError::Job(ProvisionError::Stopped)), _) => Err(error),
        (Err(error), _) => Ok(Meant::Nothing(step(stopped(&error)))),
    }
}
