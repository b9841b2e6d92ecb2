//! Who on this Linux computer may open phones: udev's rules shown, installed, and looked at whether they took.

use super::file::{self, There};
use super::finding::{self, Finding};
use crate::cli::bench::{BusArgs, definitions};
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, Tone};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tethercert::phone::definition::{Access, Definitions, Group, RULES_FILE, is_unchanged, udev_rules};

/// Where an administrator's rules are.
const RULES: &str = "/etc/udev/rules.d";

/// Let the person at this computer, or a group, open phones (Linux)
///
/// Shows the udev rules, where they go and what has to be run. With --install does all of that, as root, and looks whether it
/// took; --check looks only, and for the user who runs it: the rules, udev, and each phone that is plugged in. The rules never
/// let everybody in.
#[derive(ClapArgs, Debug)]
#[command(
    after_help = "Exit codes: 0 it took · 6 somebody else's file is there · 8 something is to be put right, as shown"
)]
pub(crate) struct Args {
    /// Let this group in instead of the person at the computer: for a station that nobody is logged in to
    #[arg(long, value_name = "GROUP")]
    group: Option<Group>,
    /// Install the rules and have udev go by them; takes root
    #[arg(long, conflicts_with_all = ["check", "to"])]
    install: bool,
    /// Look whether it took, and change nothing
    #[arg(long, conflicts_with = "to")]
    check: bool,
    /// Write the rules into this folder, and run nothing
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Write over a file that somebody else has written or changed
    #[arg(long)]
    force: bool,
    /// Folder with further phone definitions; may be repeated [env: TETHERCERT_DRIVERS]
    #[arg(long, value_name = "DIR")]
    drivers: Vec<PathBuf>,
}

#[derive(Serialize)]
struct RulesLine<'a> {
    file: &'a Path,
    text: &'a str,
    commands: &'a [String],
}

#[derive(Serialize)]
struct WrittenLine<'a> {
    file: &'a Path,
    written: bool,
}

pub(crate) async fn run(args: Args, screen: &Screen) -> Result<Exit, CliError> {
    let definitions = definitions(&BusArgs { drivers: args.drivers.clone(), ..BusArgs::default() }, None)?;
    let access = args.group.clone().map_or(Access::Seat, Access::Group);
    let rules = udev_rules(&definitions, &access);
    let installed = Path::new(RULES).join(RULES_FILE);
    match &args.to {
        _ if args.check => check(&installed, &definitions, args.group.map(Access::Group), screen).await,
        _ if args.install => install(&installed, &rules, access, &definitions, args.force, screen).await,
        Some(folder) => {
            let path = folder.join(RULES_FILE);
            let written = file::put(&path, &rules, is_unchanged, args.force, screen)?;
            said(&path, written, screen);
            Ok(Exit::Done)
        }
        None => {
            print(&installed, &rules, &access, screen);
            Ok(Exit::Done)
        }
    }
}

/// The rules alone on stdout, so that they can be led into a file; what to do with them is for the person.
fn print(installed: &Path, rules: &str, access: &Access, screen: &Screen) {
    let group = match access {
        Access::Seat => String::new(),
        Access::Group(group) => format!(" --group {group}"),
    };
    let commands =
        [format!("sudo tethercert setup udev{group} --install"), format!("tethercert setup udev{group} --check")];
    screen.json("udev_rules", &RulesLine { file: installed, text: rules, commands: &commands });
    rules.lines().for_each(|line| screen.row(line));
    if !screen.is_json() {
        let [install, check] = &commands;
        screen.note(&format!("these are for {}", installed.display()));
        screen.note(&format!("to install: {install}"));
        screen.note(&format!("then: {check}"));
    }
}

fn said(path: &Path, written: bool, screen: &Screen) {
    screen.json("written", &WrittenLine { file: path, written });
    let text = match written {
        true => format!("written: {}", path.display()),
        false => format!("{} is there already, and the same", path.display()),
    };
    screen.toned(Tone::Good, "done", &text);
}

#[cfg(not(target_os = "linux"))]
async fn install(_: &Path, _: &str, _: Access, _: &Definitions, _: bool, _: &Screen) -> Result<Exit, CliError> {
    Err(not_here())
}

#[cfg(not(target_os = "linux"))]
async fn check(_: &Path, _: &Definitions, _: Option<Access>, _: &Screen) -> Result<Exit, CliError> {
    Err(not_here())
}

#[cfg(not(target_os = "linux"))]
fn not_here() -> CliError {
    let next = match cfg!(windows) {
        true => "on Windows see tethercert setup driver",
        false => "nothing has to be set up here: this system lets its users open such phones",
    };
    CliError::usage("udev is Linux's: there is none on this system", next)
}

#[cfg(target_os = "linux")]
use linux::{check, install};

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use std::process::Command;
    use tethercert::phone::{Finder, Found};
    use tethercert::usb::access::{Node, Who, group_name, group_number, udev_runs, user_name};

    const INSTALL: &str = "sudo tethercert setup udev --install";

    /// What makes udev go by rules that are new, also for what is plugged in already.
    const APPLY: [&[&str]; 3] =
        [&["control", "--reload"], &["trigger", "--subsystem-match=usb", "--action=add"], &["settle", "--timeout=30"]];

    pub(super) async fn install(
        installed: &Path,
        rules: &str,
        access: Access,
        definitions: &Definitions,
        force: bool,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        if let Access::Group(group) = &access
            && group_number(group.as_str()).is_none()
        {
            return Err(no_such_group(group));
        }
        let written = file::put(installed, rules, is_unchanged, force, screen)?;
        said(installed, written, screen);
        // Also where the rules were there: udev may not have read them yet.
        let mut findings = Vec::new();
        if udev_runs() {
            for arguments in APPLY {
                if let Err(why) = udevadm(arguments) {
                    let what = format!("udevadm {}: {why}", arguments.join(" "));
                    findings.push(Finding::bad(
                        "udev",
                        what,
                        "restart this computer, or unplug the phones and plug them in",
                    ));
                }
            }
        }
        findings.extend(look(installed, definitions, Some(access), &whose()).await?);
        Ok(finding::show(&findings, screen))
    }

    pub(super) async fn check(
        installed: &Path,
        definitions: &Definitions,
        access: Option<Access>,
        screen: &Screen,
    ) -> Result<Exit, CliError> {
        let findings = look(installed, definitions, access, &whose()).await?;
        Ok(finding::show(&findings, screen))
    }

    fn no_such_group(group: &Group) -> CliError {
        CliError::NeedsPerson {
            message: format!("this computer has no group {group}"),
            next: format!("make it: sudo groupadd --system {group}; then let users in: sudo usermod -aG {group} USER"),
        }
    }

    fn udevadm(arguments: &[&str]) -> Result<(), String> {
        let output = Command::new("udevadm").args(arguments).output().map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("it failed").to_owned()),
        }
    }

    /// For whom it is looked: who runs this, or who runs it by sudo.
    struct Whose {
        who: Who,
        /// This process is that user's: the node can be tried.
        itself: bool,
    }

    fn whose() -> Whose {
        let who = Who::this_process();
        let behind = std::env::var("SUDO_UID").ok().and_then(|user| user.parse().ok()).filter(|user| *user != 0);
        match behind {
            Some(user) if who.user == 0 => Whose { who: Who::logged_in_anew(user), itself: false },
            Some(_) | None => Whose { who, itself: true },
        }
    }

    async fn look(
        installed: &Path,
        definitions: &Definitions,
        wanted: Option<Access>,
        whose: &Whose,
    ) -> Result<Vec<Finding>, CliError> {
        let mut findings = Vec::new();
        let there = std::fs::read_to_string(installed).unwrap_or_default();
        // Without a word from the command line they are meant as they are.
        let access = wanted.clone().or_else(|| Access::of(&there)).unwrap_or(Access::Seat);
        let rules = udev_rules(definitions, &access);
        let again = match &access {
            Access::Seat => INSTALL.to_owned(),
            Access::Group(group) => format!("sudo tethercert setup udev --group {group} --install"),
        };
        let name = installed.display();
        let in_force = match file::look(installed, &rules, is_unchanged)? {
            There::Same => {
                let whom = match &access {
                    Access::Seat => "whoever sits at this computer".to_owned(),
                    Access::Group(group) => format!("the group {group}"),
                };
                findings
                    .push(Finding::good("rules", format!("{name} is as this version makes it, and lets in {whom}")));
                true
            }
            There::Nothing => {
                findings.push(Finding::bad("rules", format!("{name} is not there"), again));
                false
            }
            There::Ours => {
                findings.push(Finding::bad(
                    "rules",
                    format!("{name} is another version's, or lets in somebody else than asked for"),
                    again,
                ));
                false
            }
            There::Changed(_) => {
                findings.push(Finding::bad(
                    "rules",
                    format!("{name} was written or changed by somebody else"),
                    format!("see the difference: {again}; it is refused without --force"),
                ));
                false
            }
        };
        findings.push(match udev_runs() {
            true => Finding::good("udev", "udevd runs"),
            false => Finding::bad(
                "udev",
                "udevd does not run here, so no rule is acted upon",
                "start it; in a container the computer outside sets the rules, and passes /dev/bus/usb in",
            ),
        });
        if let Access::Group(group) = &access {
            findings.push(membership(group, whose));
        }
        findings.extend(phones(definitions, &access, in_force, whose).await);
        Ok(findings)
    }

    fn membership(group: &Group, whose: &Whose) -> Finding {
        let name = user_name(whose.who.user);
        let Some(number) = group_number(group.as_str()) else {
            return Finding::bad(
                "group",
                format!("this computer has no group {group}"),
                format!("sudo groupadd --system {group}"),
            );
        };
        if whose.who.user == 0 || whose.who.groups.contains(&number) {
            return Finding::good("group", format!("{name} is in the group {group}"));
        }
        match Who::logged_in_anew(whose.who.user).groups.contains(&number) {
            true => Finding::bad(
                "group",
                format!("{name} was put into the group {group} after logging in"),
                "log out and in again",
            ),
            false => Finding::bad(
                "group",
                format!("{name} is not in the group {group}"),
                format!("sudo usermod -aG {group} {name}, then log in anew"),
            ),
        }
    }

    async fn phones(definitions: &Definitions, access: &Access, in_force: bool, whose: &Whose) -> Vec<Finding> {
        let finder = Finder::to_list(definitions.clone());
        let found = match finder.list().await {
            Ok(found) => found,
            Err(error) => {
                let why = crate::cli::error::causes(&error).join(": ");
                return vec![Finding::unknown("phone", format!("{error} ({why})"), error.next_step())];
            }
        };
        let spoken: Vec<&Found> = found.iter().filter(|phone| phone.spoken().is_some()).collect();
        if spoken.is_empty() {
            let next = "plug one in and check again: only that shows whether it took";
            return vec![Finding::unknown("phone", "none is plugged in that is spoken to", next)];
        }
        spoken.into_iter().filter_map(|phone| node(phone, access, in_force, whose)).collect()
    }

    /// One phone: whether this user may open it, and if not, which of the things that have to hold does not.
    fn node(phone: &Found, access: &Access, in_force: bool, whose: &Whose) -> Option<Finding> {
        let port = phone.slot();
        let node = match Node::of(&phone.attached)? {
            Ok(node) => node,
            Err(error) => {
                return Some(Finding::bad(
                    "phone",
                    format!("port {port} has no node under /dev/bus/usb: {error}"),
                    "in a container pass /dev/bus/usb in; else unplug the phone and plug it in again",
                ));
            }
        };
        let name = user_name(whose.who.user);
        let seen = format!("port {port}: {node}");
        if whose.who.user == 0 {
            let reached = match access {
                Access::Seat => node.tags.iter().any(|tag| tag == "uaccess"),
                Access::Group(group) => group_name(node.group) == group.as_str() && node.mode & 0o660 == 0o660,
            };
            let next = "root may open everything: check as the user who will use phones";
            return Some(match reached {
                true => Finding::good("phone", format!("{seen}; the rules have reached it")),
                false if in_force => Finding::bad("phone", format!("{seen}; the rules have not reached it"), REPLUG),
                false => Finding::unknown("phone", seen, next),
            });
        }
        let opens = if whose.itself { node.opens.as_ref().map_err(ToString::to_string).copied() } else { Ok(()) };
        if opens.is_ok() && (whose.itself || node.lets_in(&whose.who)) {
            return Some(Finding::good("phone", format!("{seen}; {name} may open it")));
        }
        let why = opens.err().unwrap_or_else(|| "it lets somebody else in".to_owned());
        let says = format!("{seen}; {name} may not open it ({why})");
        let next = match access {
            _ if !in_force => "first the rules, as above".to_owned(),
            Access::Seat if !node.tags.iter().any(|tag| tag == "uaccess") => REPLUG.to_owned(),
            Access::Seat => format!(
                "the rules let in who sits at this computer, which {name} does not, or not in a session that logind knows (not by \
                 ssh, nor as a service): sudo tethercert setup udev --group GROUP --install"
            ),
            Access::Group(group) if group_name(node.group) != group.as_str() => REPLUG.to_owned(),
            Access::Group(_) => "first the group, as above".to_owned(),
        };
        Some(Finding::bad("phone", says, next))
    }

    const REPLUG: &str =
        "unplug the phone and plug it in again; if it stays so, another rule with a higher number undoes it";
}
