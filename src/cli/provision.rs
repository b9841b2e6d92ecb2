//! The main job.

use super::ask::Person;
use super::bench::{Bench, PhoneArgs, PoolArgs, host_label, ledger_path, refuse_in_lab};
use super::error::CliError;
use super::exit::Exit;
use super::job::{Asked, Decisions, Desk, RetryArgs, SignInArgs, Way};
use super::report;
use super::roster::{self, RosterArgs};
use super::screen::{Screen, Tone};
use super::stop::stop_on_signals;
use clap::Args as ClapArgs;
use std::path::PathBuf;
use tethercert::credential::SipAddress;
use tethercert::lab::Lab;
use tethercert::lab::web_services::User;
use tethercert::ledger::Ledger;
use tethercert::phone::{Found, Parting, Phone};
use tethercert::pool::{Origin, Setting};
use tethercert::provision::{ProvisionError, Stop};

/// Enrol a user for one phone and install the certificate with the trust it needs
///
/// Shows the phone and who is on it, signs in to the pool as the user, has the phone make its key, publishes the
/// certificate, installs it with what the phone lacks of the server's chain, and has the phone prove it. On a finished
/// phone it changes nothing. Repeating the command is always right: what was begun goes on.
///
/// For scripts: --yes, secrets from files (also /dev/fd/N), --json. The last line is the outcome.
///
/// Many phones: --roster with a CSV file that says which phone is for whom. Nobody has to be at the keyboard.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) many: RosterArgs,
    /// User the phone is for, like alice@contoso.example [default: asked at the terminal]
    #[arg(long, help_heading = "User", value_name = "SIP-ADDRESS")]
    user: Option<SipAddress>,
    #[command(flatten)]
    pub(super) as_user: SignInArgs,
    /// Answer yes to "is this the phone"; replacing another user takes --replace
    #[arg(long, help_heading = "Decisions")]
    pub(super) yes: bool,
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
    /// Sign the user in at the registrar after the proof, by the key in the phone, and off again
    ///
    /// The registration is made from here, with the certificate on the phone; the phone reads the handshake, judges the
    /// server itself and signs, once somebody there agrees. A sign-in that fails does not undo the job: the identity is
    /// installed and proved. A recording has no room for it.
    #[arg(long, help_heading = "Decisions", conflicts_with = "record")]
    sign_in: bool,
    /// Have the phone sign in by itself when it is done
    #[arg(long, help_heading = "Phone", conflicts_with = "restart")]
    phone_signs_in: bool,
    /// Have the phone restart when it is done
    #[arg(long, help_heading = "Phone")]
    restart: bool,
    /// Keep the job as a text that `replay` runs again without phone and pool; no secret is in it
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Ledger to write [env: TETHERCERT_LEDGER] [default: in this user's data folder]
    #[arg(long, value_name = "FILE")]
    pub(super) ledger: Option<PathBuf>,
    #[command(flatten)]
    pub(super) pool: PoolArgs,
    #[command(flatten)]
    pub(super) retry: RetryArgs,
    #[command(flatten)]
    pub(super) phone: PhoneArgs,
}

impl Args {
    /// Whether nothing may be changed.
    pub(super) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// Runs the job. Whatever happens, the last thing said is the outcome.
pub(crate) async fn run(args: Args, screen: &Screen) -> Exit {
    let ran = match &args.many.roster {
        Some(roster) => roster::run(roster, &args, screen).await,
        None => job(&args, screen).await,
    };
    match ran {
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
    let ledger = match &bench.lab {
        Some(_) => Ledger::temporary(&host_label()).await?,
        None => Ledger::open(&ledger_path(args.ledger.as_ref())?, &host_label()).await?,
    };
    let desk = Desk { bench: &bench, ledger: &ledger, screen, stop: &stop };
    let said = (&args.as_user, &args.retry, &args.pool);
    let asked = Asked::about(&desk, &user, lab_user, said, None, decisions(args)).await?;
    if bench.lab.is_some() {
        screen.columns(Tone::Plain, "", "a virtual phone and Web Services inside this command, nothing real");
    }
    let (found, phone) = tokio::select! {
        opened = open(&bench, args, &stop) => opened?,
        () = stop.asked() => return Err(ProvisionError::Stopped.into()),
    };
    let asked = asked.recorded_to(args.record.as_deref())?;
    let exit = asked.work(Way::Anew, &found, phone, &desk).await;
    ledger.close().await;
    Ok(exit)
}

pub(super) fn decisions(args: &Args) -> Decisions {
    Decisions {
        yes: args.yes,
        replace: args.replace,
        renew: args.renew,
        dry_run: args.dry_run,
        abort_pending: args.abort_pending,
        require_authentic: args.require_authentic,
        no_code: args.yes,
        sign_in: args.sign_in,
        parting: match (args.phone_signs_in, args.restart) {
            (true, _) => Some(Parting::SignIn),
            (false, true) => Some(Parting::Restart),
            (false, false) => None,
        },
    }
}

async fn open(bench: &Bench, args: &Args, stop: &Stop) -> Result<(Found, Phone), CliError> {
    let found = bench.pick_with_help(args.phone.device.as_ref(), stop).await?;
    let phone = bench.finder.open(&found).await?;
    Ok((found, phone))
}

/// What reaches for something real, or brings a real secret, has no place in the embedded lab.
pub(super) fn refuse_real_in_lab(args: &Args) -> Result<(), CliError> {
    if !args.phone.bus.lab {
        return Ok(());
    }
    refuse_in_lab(args.ledger.is_some(), "--ledger")?;
    refuse_in_lab(args.as_user.login.is_some(), "--login")?;
    refuse_in_lab(args.as_user.password_file.is_some(), "--password-file")?;
    refuse_in_lab(args.as_user.phone_number.is_some(), "--phone-number")?;
    refuse_in_lab(args.as_user.pin_file.is_some(), "--pin-file")?;
    refuse_in_lab(args.as_user.admin_code_file.is_some(), "--admin-code-file")?;
    // The same for the pool, before a lab is started for nothing.
    refuse_in_lab(args.pool.at.certprov_url.is_some(), "--certprov-url")?;
    refuse_in_lab(!args.pool.at.trust_anchor.is_empty(), "--trust-anchor")
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
