//! One job, from what was said about it to its last word: what `provision` and `resume` have in common.

use super::ask::Person;
use super::bench::{Bench, ChosenPool, PoolArgs};
use super::discovery;
use super::error::CliError;
use super::exit::Exit;
use super::job_record::RecordFile;
use super::operator::{Answers, Console, Scheme, SignInAnswer};
use super::report;
use super::screen::Screen;
use super::secret;
use super::settings::{PoolSettings, Who};
use clap::{Args as ClapArgs, ValueEnum};
use secrecy::SecretString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tethercert::credential::SipAddress;
use tethercert::lab::web_services::User;
use tethercert::ledger::{Ledger, RosterLine, Terms, Unfinished};
use tethercert::phone::{Driver, Found, Parting, Phone};
use tethercert::pool::{Origin, Setting};
use tethercert::provision::{Jitter, Job, LabPhone, Outcome, ProvisionError, Stop, provision, resume};
use tethercert::recording::{Recorded, Recorder, Witnessed};
use tethercert::service::{SignIn, SignInWay};
use tethercert::world::World;

/// How often a publication is tried where nobody says otherwise, and how long is waited in between.
const PUBLISH_TRIES: u32 = 4;
const PUBLISH_WAIT_SECONDS: u64 = 30;

/// How the user signs in. No secret is an argument.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct SignInArgs {
    /// How the user signs in to the pool [default: as the pool's file says, else ntlm]
    #[arg(long, help_heading = "User", value_enum)]
    pub(crate) auth: Option<Auth>,
    /// Windows account, like 'CONTOSO\alice' [default: by the pool's login_domain, else the user's SIP address]
    #[arg(long, help_heading = "User", value_name = "LOGIN")]
    pub(crate) login: Option<String>,
    /// File whose first line is the user's password [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Phone number or extension that goes with the PIN
    #[arg(long, help_heading = "User", value_name = "NUMBER")]
    pub(crate) phone_number: Option<String>,
    /// File whose first line is the PIN [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
    /// File whose first line is the phone's administrator code, for phones that want it
    #[arg(long, help_heading = "Phone", value_name = "FILE")]
    pub(crate) admin_code_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// Windows account and password
    Ntlm,
    /// Windows account and password by SPNEGO, for a pool that wants it so; no Kerberos
    Negotiate,
    /// The certificate on the phone, which is renewed: the phone signs for itself, and no password is asked for
    Certificate,
    /// Phone number and PIN; its message is not public, so it goes only to a lab or by a --profile
    Pin,
    /// Windows account and password, which the server gets to read; only where it offers that
    Basic,
}

/// What is done when the service cannot store the certificate.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct RetryArgs {
    /// Tries to publish while the pool's data store is unavailable [default: as the pool's file says, else 4]
    #[arg(long, help_heading = "Pool", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) publish_tries: Option<u32>,
    /// Seconds between two such tries, give or take a fifth [default: as the pool's file says, else 30]
    #[arg(long, help_heading = "Pool", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(crate) publish_wait: Option<u64>,
}

/// The secrets that files hold, read once.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    password: Option<SecretString>,
    pin: Option<SecretString>,
    administrator_code: Option<SecretString>,
}

/// What a command does its jobs with.
pub(crate) struct Desk<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) ledger: &'a Ledger,
    pub(crate) screen: &'a Screen,
    pub(crate) stop: &'a Stop,
}

/// What was decided about a job on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Decisions {
    pub(crate) yes: bool,
    pub(crate) replace: bool,
    pub(crate) renew: bool,
    pub(crate) dry_run: bool,
    pub(crate) abort_pending: bool,
    pub(crate) require_authentic: bool,
    /// Nobody is asked to compare a short code, whoever is there.
    pub(crate) no_code: bool,
    pub(crate) parting: Option<Parting>,
    /// The sign-in is rehearsed after the proof.
    pub(crate) sign_in: bool,
}

/// What is asked for, before its phone is known.
pub(crate) struct Order {
    pub(crate) user: SipAddress,
    pub(crate) chosen: Arc<ChosenPool>,
    pub(crate) auth: Auth,
    /// Windows account or phone number.
    pub(crate) account: Option<String>,
    pub(crate) decisions: Decisions,
    /// The options of the pool as they were typed.
    pub(crate) typed: PoolArgs,
    /// Whether the way to the phones leads to a lab's.
    pub(crate) lab_phones: bool,
    /// The line of the roster that it is from.
    pub(crate) row: Option<RosterLine>,
}

/// All that is known before the phone is opened.
pub(crate) struct Asked {
    order: Order,
    answers: Answers,
    lab_user: Option<User>,
    /// Where the job is recorded.
    record: Option<RecordFile>,
}

/// Whether a job is new.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    Anew,
    Resumed(&'a Unfinished),
}

impl Secrets {
    /// A pipe may stay without a writer: a stop ends the wait.
    pub(crate) async fn read(args: &SignInArgs, whose: &str, stop: &Stop) -> Result<Self, CliError> {
        let read = async |path: &Option<PathBuf>, what: String| match path.clone() {
            Some(path) => secret_from(path, what, stop).await.map(Some),
            None => Ok(None),
        };
        Ok(Self {
            password: read(&args.password_file, format!("the password of {whose}")).await?,
            pin: read(&args.pin_file, format!("the PIN of {whose}")).await?,
            administrator_code: read(&args.admin_code_file, "the phone's administrator code".to_owned()).await?,
        })
    }
}

impl Asked {
    /// Puts together what options, pools, environment and the person at the terminal say.
    pub(crate) async fn about(
        desk: &Desk<'_>,
        user: &Setting<SipAddress>,
        lab_user: Option<User>,
        (sign_in, retry, typed): (&SignInArgs, &RetryArgs, &PoolArgs),
        secrets: Option<Secrets>,
        decisions: Decisions,
    ) -> Result<Self, CliError> {
        let chosen = pool(desk, user, (sign_in, retry, typed), decisions.yes).await?;
        refuse_mixed_worlds(desk.bench, &chosen)?;
        let auth = auth(&chosen.settings)?;
        let account = match auth {
            Auth::Ntlm | Auth::Negotiate | Auth::Basic => Some(login(sign_in, &chosen.settings, desk).await?),
            Auth::Certificate => None,
            Auth::Pin => match (&sign_in.phone_number, desk.bench.lab.is_some()) {
                (Some(number), _) => Some(number.clone()),
                (None, true) => Some(String::new()),
                (None, false) => {
                    let next = "give the number or extension that the PIN belongs to: --phone-number";
                    return Err(CliError::usage("a PIN signs in a phone number, and none is given", next));
                }
            },
        };
        let named = account.clone().unwrap_or_default();
        let secrets = match secrets {
            Some(secrets) => secrets,
            None => Secrets::read(sign_in, &named, desk.stop).await?,
        };
        let sign_in = match auth {
            Auth::Ntlm => SignInAnswer::windows(Scheme::Ntlm, named, secrets.password),
            Auth::Negotiate => SignInAnswer::windows(Scheme::Negotiate, named, secrets.password),
            Auth::Basic => SignInAnswer::windows(Scheme::Basic, named, secrets.password),
            Auth::Certificate => SignInAnswer::Phone,
            Auth::Pin => SignInAnswer::Pin { number: named, pin: secrets.pin },
        };
        let answers = Answers { yes: decisions.yes, sign_in, administrator_code: secrets.administrator_code };
        let (user, chosen) = (user.value.clone(), Arc::new(chosen));
        let (typed, lab_phones) = (typed.clone(), desk.bench.lab_phones);
        let order = Order { user, chosen, auth, account, decisions, typed, lab_phones, row: None };
        Ok(Self { order, answers, lab_user, record: None })
    }

    /// Does the job, or goes on with it, and says how it ended.
    pub(crate) async fn work(self, way: Way<'_>, found: &Found, mut phone: Phone, desk: &Desk<'_>) -> Exit {
        let started = Instant::now();
        let Self { order, answers, lab_user, record } = self;
        let compare_code = desk.screen.can_ask() && !order.decisions.no_code && desk.bench.lab.is_none();
        let mut job = Job { compare_code, ..order.job(found) };
        if let (true, Some(lab)) = (order.decisions.sign_in, &desk.bench.lab) {
            let rehearsal = order.chosen.rehearsal(Some(lab));
            // The phone signs only for a server of its own settings.
            job.registrar =
                rehearsal.registrar.as_ref().map(|registrar| format!("{}:{}", registrar.host, registrar.port));
            job.rehearsal = Some(rehearsal);
        }
        let mut service = order.chosen.pool.enrolment();
        let mut console = Console::new(desk.screen.clone(), desk.stop.clone(), answers, lab_user);
        let (driver, ledger, stop) = (phone.driver(), desk.ledger, desk.stop);
        let mut recording = record.map(|file| (Recorder::begin(&job, driver.host(), driver.meant()), file));
        let outcome = match (way, &mut recording) {
            (Way::Anew, None) => provision(&job, driver, &mut service, ledger, &mut console, stop).await,
            (Way::Anew, Some((recorder, _))) => {
                let tape = recorder.tape();
                driver.record_on(tape);
                job.world = recorder.world();
                let mut service = Recorded::new(&mut service, tape);
                let mut operator = Witnessed::new(&mut console, tape);
                let outcome = provision(&job, driver, &mut service, ledger, &mut operator, stop).await;
                let device = operator.device();
                if let Err(error) = recorder.end(&outcome, device, ledger).await {
                    desk.screen.note(&format!("the recording lacks what the ledger knew: {error}"));
                }
                outcome
            }
            (Way::Resumed(unfinished), _) => {
                resume(&job, unfinished, driver, &mut service, ledger, &mut console, stop).await
            }
        };
        desk.screen.stop_spinner();
        let outcome = match (way, outcome) {
            (Way::Resumed(unfinished), Outcome::NotDone(failure) | Outcome::Unknown(failure))
                if failure.error.is_about_another_phone() =>
            {
                return report::not_resumed(unfinished, &failure.error.into(), desk.screen);
            }
            (_, outcome) => outcome,
        };
        let spent = report::Spent {
            took: started.elapsed().saturating_sub(console.waited()),
            traffic: phone.driver().traffic(),
            cost: service.cost(),
        };
        let exit = report::outcome(&outcome, &order.user, &spent, ledger, desk.screen).await;
        if let Some((recorder, file)) = recording {
            file.fill(recorder.tape(), order.chosen.lab, desk).await;
        }
        exit
    }

    /// The same, recorded: the file is made now, so that a job is not done for a recording that cannot be written.
    pub(crate) fn recorded_to(self, path: Option<&Path>) -> Result<Self, CliError> {
        Ok(Self { record: path.map(RecordFile::create).transpose()?, ..self })
    }
}

impl Order {
    /// The job on the phone that was found for it; nobody compares a short code.
    pub(crate) fn job(&self, found: &Found) -> Job {
        let (settings, decisions) = (&self.chosen.settings, &self.decisions);
        Job {
            user: self.user.clone(),
            sign_in: match self.auth {
                Auth::Ntlm => SignInWay::Ntlm,
                Auth::Negotiate => SignInWay::Negotiate,
                Auth::Basic => SignInWay::Basic,
                Auth::Certificate => SignInWay::Certificate,
                Auth::Pin => SignInWay::Pin,
            },
            dry_run: decisions.dry_run,
            replace: decisions.replace,
            renew: decisions.renew,
            abort_pending: decisions.abort_pending,
            compare_code: false,
            require_authentic: decisions.require_authentic,
            registrar: settings.registrar.as_ref().map(|registrar| registrar.value.to_string()),
            web_services: self.chosen.url.clone(),
            rehearsal: decisions.sign_in.then(|| self.chosen.rehearsal(None)),
            parting: decisions.parting.unwrap_or(Parting::Leave),
            slot: found.slot().to_string(),
            lab: self.chosen.lab,
            lab_phone: match found.spoken() {
                _ if !self.chosen.lab || self.lab_phones => LabPhone::NotAsked,
                Some(model) if model.lab_maker => LabPhone::ByItsMaker,
                Some(_) | None => LabPhone::Impossible,
            },
            publish_tries: settings.publish_tries.as_ref().map_or(PUBLISH_TRIES, |tries| tries.value),
            publish_wait: Duration::from_secs(
                settings.publish_wait_seconds.as_ref().map_or(PUBLISH_WAIT_SECONDS, |wait| wait.value),
            ),
            jitter: Jitter::random(),
            terms: Some(self.terms(found)),
            world: World::system(),
        }
    }

    /// What `resume` needs, in the words of the options.
    fn terms(&self, found: &Found) -> Terms {
        let (settings, typed) = (&self.chosen.settings, &self.typed.at);
        let kept = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
        Terms {
            web_services: self.chosen.url.clone(),
            pool: settings.choice.as_ref().map(|choice| choice.pool.name.to_string()),
            registrar: settings.registrar.as_ref().map(|registrar| registrar.value.to_string()),
            sign_in: self.auth.to_possible_value().map(|it| it.get_name().to_owned()).unwrap_or_default(),
            account: self.account.clone(),
            model: found.spoken().map(|model| model.name.clone()),
            trust_anchors: typed.trust_anchor.iter().map(kept).collect(),
            resolve: typed.resolve.iter().map(ToString::to_string).collect(),
            allowed_hosts: typed.allow_host.clone(),
            tls: typed.tls.map(|engine| engine.to_string()),
            proxy: typed.proxy.as_ref().map(ToString::to_string),
            profile: typed.profile.as_ref().map(kept),
            require_authentic: self.decisions.require_authentic,
            parting: match self.decisions.parting {
                None | Some(Parting::Leave) => None,
                Some(Parting::SignIn) => Some("sign-in".to_owned()),
                Some(Parting::Restart) => Some("restart".to_owned()),
            },
            row: self.row.clone(),
        }
    }
}

impl Auth {
    /// What the user's secret is, in a word, where there is one.
    pub(crate) const fn secret(self) -> Option<&'static str> {
        match self {
            Self::Ntlm | Self::Negotiate | Self::Basic => Some("password"),
            Self::Pin => Some("pin"),
            Self::Certificate => None,
        }
    }

    /// The sign-in with what was given; nothing where the phone signs for itself.
    pub(crate) fn sign_in(self, account: String, secret: SecretString) -> Option<SignIn> {
        Some(match self {
            Self::Ntlm => SignIn::Ntlm { login: account, password: secret },
            Self::Negotiate => SignIn::Negotiate { login: account, password: secret },
            Self::Basic => SignIn::Basic { login: account, password: secret },
            Self::Pin => SignIn::Pin { number: account, pin: secret },
            Self::Certificate => return None,
        })
    }
}

/// The pool that is meant; where none is, the one that discovery finds; on a terminal its address is asked for at last.
async fn pool(
    desk: &Desk<'_>,
    user: &Setting<SipAddress>,
    (sign_in, retry, typed): (&SignInArgs, &RetryArgs, &PoolArgs),
    yes: bool,
) -> Result<ChosenPool, CliError> {
    let who = |certprov_url| who(user, sign_in, retry, certprov_url);
    if let Some(chosen) = desk.bench.pool_for(typed, who(None))? {
        return Ok(chosen);
    }
    if let Some(found) = discovery::for_user(&user.value, &typed.at, yes, desk.screen, desk.stop).await? {
        return desk.bench.pool_for(typed, found.told(who(None)))?.ok_or_else(no_pool);
    }
    let person = Person::at(desk.screen, desk.stop).ok_or_else(no_pool)?;
    desk.screen.note("no pool is configured; tethercert setup pool NAME keeps what is asked for here");
    let address = person.text("address of its certificate provisioning service (https://…):", None).await?;
    desk.bench.pool_for(typed, who(Some(Setting::new(address, Origin::Asked))))?.ok_or_else(no_pool)
}

/// For whom a pool is looked for, as the command line says it.
pub(crate) fn who(
    user: &Setting<SipAddress>,
    sign_in: &SignInArgs,
    retry: &RetryArgs,
    certprov_url: Option<Setting<String>>,
) -> Who {
    let auth = sign_in.auth.and_then(|auth| Some(auth.to_possible_value()?.get_name().to_owned()));
    Who {
        certprov_url,
        registrar: None,
        user: Some(user.clone()),
        auth: Setting::of_option("--auth", auth),
        login: Setting::of_option("--login", sign_in.login.clone()),
        publish_tries: Setting::of_option("--publish-tries", retry.publish_tries),
        publish_wait_seconds: Setting::of_option("--publish-wait", retry.publish_wait),
    }
}

pub(crate) fn no_pool() -> CliError {
    CliError::usage(
        "no pool is configured, and discovery found none",
        "set it up once with tethercert setup pool NAME, or give its address: --certprov-url \
         https://web.contoso.example/CertProv/CertProvisioningService.svc; tethercert discovery says why none was found",
    )
}

/// How the user signs in.
pub(crate) fn auth(settings: &PoolSettings) -> Result<Auth, CliError> {
    let Setting { value, origin } = &settings.auth;
    Auth::from_str(value, true).map_err(|_| {
        let ways: Vec<String> = Auth::value_variants()
            .iter()
            .filter_map(|way| Some(way.to_possible_value()?.get_name().to_owned()))
            .collect();
        CliError::usage(
            format!("`{value}` ({origin}) is no way to sign in"),
            format!("write one of: {}", ways.join(", ")),
        )
    })
}

/// The Windows account; on a terminal a guess is proposed.
async fn login(sign_in: &SignInArgs, settings: &PoolSettings, desk: &Desk<'_>) -> Result<String, CliError> {
    let Some(login) = &settings.login else { return Ok(String::new()) };
    match Person::at(desk.screen, desk.stop) {
        // A file with the password is a script's.
        Some(person) if login.origin == Origin::Default && sign_in.password_file.is_none() => {
            person.text("Windows account:", Some(&login.value)).await
        }
        Some(_) | None => Ok(login.value.clone()),
    }
}

/// A lab's anchors and certificates go only to a lab's phone. On this computer's own USB a phone shows by its maker's
/// certificate that it is one, and without the definition of such a phone none can.
pub(crate) fn refuse_mixed_worlds(bench: &Bench, chosen: &ChosenPool) -> Result<(), CliError> {
    if !chosen.lab || bench.may_have_lab_phones() {
        return Ok(());
    }
    Err(CliError::refused(
        "the pool is a lab on this computer, and the phone is a real one: a lab's trust anchors go only to lab phones",
        "name the lab's phones with --usbip 127.0.0.1:PORT, or give the address of a real pool",
    ))
}

pub(crate) async fn secret_from(path: PathBuf, what: String, stop: &Stop) -> Result<SecretString, CliError> {
    tokio::select! {
        read = tokio::task::spawn_blocking(move || secret::from_file(&path, &what)) => {
            Ok(read.expect("reading a file does not panic")?)
        }
        () = stop.asked() => Err(ProvisionError::Stopped.into()),
    }
}
