//! The main job.

use super::ask::Person;
use super::bench::{Bench, ChosenPool, PhoneArgs, PoolArgs, host_label, ledger_path, refuse_in_lab};
use super::error::CliError;
use super::exit::Exit;
use super::operator::{Answers, Console, SignInAnswer};
use super::report;
use super::screen::{Screen, Tone};
use super::secret;
use super::settings::{PoolSettings, Who};
use super::stop::stop_on_signals;
use clap::{Args as ClapArgs, ValueEnum};
use secrecy::SecretString;
use std::path::PathBuf;
use std::time::Instant;
use tethercert::credential::SipAddress;
use tethercert::lab::Lab;
use tethercert::lab::web_services::User;
use tethercert::ledger::Ledger;
use tethercert::phone::{Driver, Found, Parting, Phone};
use tethercert::pool::{Origin, Setting};
use tethercert::provision::{Job, ProvisionError, Stop, provision};
use tethercert::service::SignInWay;

/// Enrol a user for one phone and install the certificate with the trust it needs
///
/// Shows the phone and who is on it, signs in to the pool as the user, has the phone make its key, publishes the
/// certificate, installs it with what the phone lacks of the server's chain, and has the phone prove it. On a finished
/// phone it changes nothing. Repeating the command is always right: what was begun goes on.
///
/// For scripts: --yes, secrets from files (also /dev/fd/N), --json. The last line is the outcome.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// User the phone is for, like alice@contoso.example [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "SIP-ADDRESS")]
    user: Option<SipAddress>,
    /// How the user signs in to the pool [default: as the pool's file says, else ntlm]
    #[arg(long, help_heading = "User", value_enum)]
    auth: Option<Auth>,
    /// Windows account, like 'CONTOSO\alice' [default: by the pool's login_domain, else the user's SIP address]
    #[arg(long, help_heading = "User", value_name = "LOGIN")]
    login: Option<String>,
    /// File whose first line is the user's password [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Phone number or extension that goes with the PIN
    #[arg(long, help_heading = "User", value_name = "NUMBER")]
    phone_number: Option<String>,
    /// File whose first line is the PIN [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// File whose first line is the phone's administrator code, for phones that want it
    #[arg(long, help_heading = "Phone", value_name = "FILE")]
    admin_code_file: Option<PathBuf>,
    /// Answer yes to "is this the phone"; replacing another user takes --replace
    #[arg(long, help_heading = "Decisions")]
    yes: bool,
    /// Replace another user's identity without asking
    #[arg(long, help_heading = "Decisions")]
    replace: bool,
    /// Publish a new certificate although the phone holds a good one
    #[arg(long, help_heading = "Decisions")]
    renew: bool,
    /// Say what would be done, and do nothing
    #[arg(long, help_heading = "Decisions")]
    dry_run: bool,
    /// Give up a job that another computer began on this phone
    #[arg(long, help_heading = "Decisions")]
    abort_pending: bool,
    /// Refuse a phone that nothing vouches for
    #[arg(long, help_heading = "Decisions")]
    require_authentic: bool,
    /// Have the phone sign in when it is done
    #[arg(long, help_heading = "Phone", conflicts_with = "restart")]
    sign_in: bool,
    /// Have the phone restart when it is done
    #[arg(long, help_heading = "Phone")]
    restart: bool,
    /// Ledger to write [env: TETHERCERT_LEDGER] [default: in this user's data folder]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    pool: PoolArgs,
    #[command(flatten)]
    phone: PhoneArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Auth {
    /// Windows account and password
    Ntlm,
    /// The certificate on the phone, which is renewed: the phone signs for itself, and no password is asked for
    Certificate,
    /// Phone number and PIN; its message is not public, so it goes only to a lab
    Pin,
}

/// Runs the job. Whatever happens, the last thing said is the outcome.
pub(crate) async fn run(args: Args, screen: &Screen) -> Exit {
    match job(&args, screen).await {
        Ok(exit) => exit,
        Err(error) => {
            report::not_begun(&error, args.user.as_ref(), screen);
            error.exit()
        }
    }
}

async fn job(args: &Args, screen: &Screen) -> Result<Exit, CliError> {
    let stop = Stop::default();
    stop_on_signals(stop.clone(), screen.clone())?;
    if args.phone.bus.lab {
        screen.mark_lab();
    }
    refuse_real_in_lab(args)?;
    let bench = Bench::for_a_phone(&args.phone, screen).await?;
    let (user, lab_user) = user(args, bench.lab.as_ref(), screen, &stop).await?;
    let chosen = pool(&bench, args, &user, screen, &stop).await?;
    let user = user.value;
    refuse_mixed_worlds(&bench, &chosen)?;
    let auth = auth(&chosen.settings)?;
    let login = login(auth, args, &chosen.settings, screen, &stop).await?;
    let answers = answers(args, auth, login, &stop).await?;
    let ledger = match &bench.lab {
        Some(_) => Ledger::temporary(&host_label()).await?,
        None => Ledger::open(&ledger_path(args.ledger.as_ref())?, &host_label()).await?,
    };

    let started = Instant::now();
    if bench.lab.is_some() {
        screen.columns(Tone::Plain, "", "a virtual phone and Web Services inside this command, nothing real");
    }
    let (found, mut phone) = tokio::select! {
        opened = open(&bench, args, &stop) => opened?,
        () = stop.asked() => return Err(ProvisionError::Stopped.into()),
    };
    let job = Job {
        user: user.clone(),
        sign_in: match auth {
            Auth::Ntlm => SignInWay::Ntlm,
            Auth::Certificate => SignInWay::Certificate,
            Auth::Pin => SignInWay::Pin,
        },
        dry_run: args.dry_run,
        replace: args.replace,
        renew: args.renew,
        abort_pending: args.abort_pending,
        compare_code: screen.can_ask() && !args.yes && bench.lab.is_none(),
        require_authentic: args.require_authentic,
        registrar: chosen.settings.registrar.as_ref().map(|registrar| registrar.value.to_string()),
        web_services: chosen.url.clone(),
        parting: match (args.sign_in, args.restart) {
            (true, _) => Parting::SignIn,
            (false, true) => Parting::Restart,
            (false, false) => Parting::Leave,
        },
        slot: found.slot().to_string(),
        lab: chosen.lab,
        publish_tries: 4,
        publish_wait: std::time::Duration::from_secs(30),
        jitter: tethercert::provision::Jitter::random(),
        terms: None,
    };
    let mut service = chosen.pool.enrolment();
    let mut console = Console::new(screen.clone(), stop.clone(), answers, lab_user);
    let outcome = provision(&job, phone.driver(), &mut service, &ledger, &mut console, &stop).await;
    screen.stop_spinner();

    let spent = report::Spent {
        took: started.elapsed().saturating_sub(console.waited()),
        traffic: phone.driver().traffic(),
        cost: service.cost(),
    };
    let exit = report::outcome(&outcome, &user, &spent, &ledger, screen).await;
    ledger.close().await;
    Ok(exit)
}

async fn open(bench: &Bench, args: &Args, stop: &Stop) -> Result<(Found, Phone), CliError> {
    let found = bench.pick_with_help(args.phone.device.as_ref(), stop).await?;
    let phone = bench.finder.open(&found).await?;
    Ok((found, phone))
}

/// The pool that is meant; on a terminal its address is asked for where none is.
async fn pool(
    bench: &Bench,
    args: &Args,
    user: &Setting<SipAddress>,
    screen: &Screen,
    stop: &Stop,
) -> Result<ChosenPool, CliError> {
    let auth = args.auth.and_then(|auth| Some(auth.to_possible_value()?.get_name().to_owned()));
    let who = |certprov_url| Who {
        certprov_url,
        user: Some(user.clone()),
        auth: Setting::of_option("--auth", auth.clone()),
        login: Setting::of_option("--login", args.login.clone()),
    };
    if let Some(chosen) = bench.pool_for(&args.pool, who(None))? {
        return Ok(chosen);
    }
    let no_pool = || {
        CliError::usage(
            "no pool is configured, and finding it by DHCP or DNS is not built yet",
            "set it up once with tethercert setup pool NAME, or give its address: --certprov-url \
             https://web.contoso.example/CertProv/CertProvisioningService.svc",
        )
    };
    let person = Person::at(screen, stop).ok_or_else(no_pool)?;
    screen.note("no pool is configured; tethercert setup pool NAME keeps what is asked for here");
    let address = person.text("address of its certificate provisioning service (https://…):", None).await?;
    bench.pool_for(&args.pool, who(Some(Setting::new(address, Origin::Asked))))?.ok_or_else(no_pool)
}

/// How the user signs in.
fn auth(settings: &PoolSettings) -> Result<Auth, CliError> {
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
async fn login(
    auth: Auth,
    args: &Args,
    settings: &PoolSettings,
    screen: &Screen,
    stop: &Stop,
) -> Result<String, CliError> {
    let Some(login) = &settings.login else { return Ok(String::new()) };
    match Person::at(screen, stop) {
        // A file with the password is a script's.
        Some(person) if auth == Auth::Ntlm && login.origin == Origin::Default && args.password_file.is_none() => {
            person.text("Windows account:", Some(&login.value)).await
        }
        Some(_) | None => Ok(login.value.clone()),
    }
}

/// What reaches for something real, or brings a real secret, has no place in the embedded lab.
fn refuse_real_in_lab(args: &Args) -> Result<(), CliError> {
    if !args.phone.bus.lab {
        return Ok(());
    }
    refuse_in_lab(args.ledger.is_some(), "--ledger")?;
    refuse_in_lab(args.login.is_some(), "--login")?;
    refuse_in_lab(args.password_file.is_some(), "--password-file")?;
    refuse_in_lab(args.phone_number.is_some(), "--phone-number")?;
    refuse_in_lab(args.pin_file.is_some(), "--pin-file")?;
    refuse_in_lab(args.admin_code_file.is_some(), "--admin-code-file")?;
    // The same for the pool, before a lab is started for nothing.
    refuse_in_lab(args.pool.at.certprov_url.is_some(), "--certprov-url")?;
    refuse_in_lab(!args.pool.at.trust_anchor.is_empty(), "--trust-anchor")
}

/// A lab's anchors and certificates go only to a lab's phone.
fn refuse_mixed_worlds(bench: &Bench, chosen: &ChosenPool) -> Result<(), CliError> {
    if !chosen.lab || bench.lab_phones {
        return Ok(());
    }
    Err(CliError::refused(
        "the pool is a lab on this computer, and the phone is a real one: a lab's trust anchors go only to lab phones",
        "name the lab's phones with --usbip 127.0.0.1:PORT, or give the address of a real pool",
    ))
}

async fn user(
    args: &Args,
    lab: Option<&Lab>,
    screen: &Screen,
    stop: &Stop,
) -> Result<(Setting<SipAddress>, Option<User>), CliError> {
    let Some(lab) = lab else {
        let user = match (Setting::of_option("--user", args.user.clone()), Person::at(screen, stop)) {
            (Some(user), _) => user,
            (None, Some(person)) => {
                let question = "user the phone is for, like alice@contoso.example:";
                Setting::new(person.value(question, None).await?, Origin::Asked)
            }
            (None, None) => {
                return Err(CliError::usage("no user is given", "give --user, like --user alice@contoso.example"));
            }
        };
        return Ok((user, None));
    };
    let users = lab.web().users();
    let found = match &args.user {
        Some(wanted) => users.iter().find(|user| user.sip == *wanted),
        None => users.first(),
    };
    let user = found.cloned().ok_or_else(|| {
        let names: Vec<&str> = users.iter().map(|user| user.sip.as_str()).collect();
        CliError::usage("the lab does not know this user", format!("give one of the lab's: {}", names.join(", ")))
    })?;
    let origin = if args.user.is_some() { Origin::Option("--user") } else { Origin::Lab };
    Ok((Setting::new(user.sip.clone(), origin), Some(user)))
}

async fn answers(args: &Args, auth: Auth, login: String, stop: &Stop) -> Result<Answers, CliError> {
    let read = async |path: &Option<PathBuf>, what: String| match path.clone() {
        Some(path) => secret_from(path, what, stop).await.map(Some),
        None => Ok(None),
    };
    let sign_in = match auth {
        Auth::Ntlm => {
            let password = read(&args.password_file, format!("the password of {login}")).await?;
            SignInAnswer::Ntlm { login, password }
        }
        Auth::Certificate => SignInAnswer::Phone,
        Auth::Pin => {
            let number = match (&args.phone_number, args.phone.bus.lab) {
                (Some(number), _) => number.clone(),
                (None, true) => String::new(),
                (None, false) => {
                    let next = "give the number or extension that the PIN belongs to: --phone-number";
                    return Err(CliError::usage("a PIN signs in a phone number, and none is given", next));
                }
            };
            let pin = read(&args.pin_file, format!("the PIN of {number}")).await?;
            SignInAnswer::Pin { number, pin }
        }
    };
    let administrator_code = read(&args.admin_code_file, "the phone's administrator code".to_owned()).await?;
    Ok(Answers { yes: args.yes, sign_in, administrator_code })
}

/// A pipe may stay without a writer: a stop ends the wait.
async fn secret_from(path: PathBuf, what: String, stop: &Stop) -> Result<SecretString, CliError> {
    tokio::select! {
        read = tokio::task::spawn_blocking(move || secret::from_file(&path, &what)) => {
            Ok(read.expect("reading a file does not panic")?)
        }
        () = stop.asked() => Err(ProvisionError::Stopped.into()),
    }
}
