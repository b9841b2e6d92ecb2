//! One order a row: the pool of its user, how the user signs in, and the secret for it.

use super::office::{Counter, RosterOffice};
use super::secrets::{self, Vault};
use crate::cli::ask::Person;
use crate::cli::bench::{Bench, ChosenPool};
use crate::cli::error::CliError;
use crate::cli::job::{Auth, Decisions, Order, SignInArgs, auth, no_pool, refuse_mixed_worlds, secret_from, who};
use crate::cli::provision::Args;
use crate::cli::screen::Screen;
use crate::cli::text::count;
use secrecy::SecretString;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use tethercert::credential::SipAddress;
use tethercert::lab::Lab;
use tethercert::ledger::{Ledger, RosterLine};
use tethercert::pool::{Origin, PoolsError, Setting};
use tethercert::provision::Stop;
use tethercert::station::roster::{Column, Finding, Place, Roster, Row};

/// The orders of all rows, in the order of the roster.
pub(super) struct Orders {
    orders: Vec<Order>,
    vault: Vault,
}

impl Orders {
    /// What is to be done for each row. Findings: what keeps a row from having an order; then there are fewer of them.
    pub(super) fn of(
        rows: &[Row],
        path: &Path,
        args: &Args,
        decisions: &Decisions,
        bench: &Bench,
    ) -> Result<(Self, Vec<Finding>), CliError> {
        let (mut orders, mut findings) = (Vec::new(), Vec::new());
        // Pools are shared: what one user's enrolment has learned of the pool serves the next.
        let mut pools: HashMap<String, Result<Arc<ChosenPool>, String>> = HashMap::new();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for row in rows {
            let at = |column| Place::named(row.line, column);
            let domain = row.user.domain().to_owned();
            let chosen = match pools.get(&domain) {
                Some(known) => known.clone(),
                None => {
                    let chosen = choose(row, args, bench)?;
                    pools.entry(domain).or_insert(chosen).clone()
                }
            };
            let chosen = match chosen {
                Ok(chosen) => chosen,
                Err(why) => {
                    findings.push(Finding::error(at(Column::User), why));
                    continue;
                }
            };
            let auth = auth(&chosen.settings)?;
            let account = match account(row, auth, &chosen, bench.lab.as_ref()) {
                Ok(account) => account,
                Err((column, why)) => {
                    findings.push(Finding::error(at(column), why));
                    continue;
                }
            };
            let line = RosterLine { file: file.clone(), line: row.line, label: row.label.clone() };
            let (user, decisions, typed) = (row.user.clone(), decisions.clone(), args.pool.clone());
            let lab_phones = bench.lab_phones;
            orders.push(Order { user, chosen, auth, account, decisions, typed, lab_phones, row: Some(line) });
        }
        Ok((Self { orders, vault: Vault::default() }, findings))
    }

    /// Whether the pools are a lab's.
    pub(super) fn are_lab(&self) -> bool {
        self.orders.iter().any(|order| order.chosen.lab)
    }

    /// Reads the secrets of these rows' users, where they are in a folder or the lab knows them. Findings: what is missing there.
    pub(super) fn read_secrets(
        &mut self,
        rows: &[&Row],
        folder: Option<&Path>,
        bench: &Bench,
    ) -> Result<Vec<Finding>, CliError> {
        let mut findings = Vec::new();
        if let Some(folder) = folder {
            secrets::check_folder(folder)?;
        }
        for row in rows {
            let Some(kind) = self.kind(&row.user) else { continue };
            if self.vault.has(&row.user) {
                continue;
            }
            match (bench.lab.as_ref().and_then(|lab| lab_user(lab, &row.user)), folder) {
                (Some(user), _) => {
                    let secret = if kind == "pin" { user.pin.clone() } else { user.password.clone() };
                    self.vault.put(row.user.clone(), secret);
                }
                (None, Some(folder)) => match secrets::of_user(folder, &row.user, kind) {
                    Ok(secret) => self.vault.put(row.user.clone(), secret),
                    Err(why) => findings.push(Finding::error(Place::named(row.line, Column::User), why)),
                },
                (None, None) => {}
            }
        }
        Ok(findings)
    }

    /// Asks once for the secret of each of these rows' users that is not known yet.
    pub(super) async fn ask_for_secrets(&mut self, rows: &[Row], screen: &Screen, stop: &Stop) -> Result<(), CliError> {
        let mut missing: Vec<(&SipAddress, &'static str)> = Vec::new();
        for row in rows {
            let known = self.vault.has(&row.user) || missing.iter().any(|(user, _)| **user == row.user);
            if let Some(kind) = self.kind(&row.user).filter(|_| !known) {
                missing.push((&row.user, kind));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if Person::at(screen, stop).is_none() {
            return Err(CliError::NeedsPerson {
                message: format!(
                    "the secrets of {} are needed, and there is nobody to ask",
                    count(missing.len(), "user")
                ),
                next: "give --secrets with a folder that has a file for each user, or run the command at a terminal"
                    .into(),
            });
        }
        for (user, kind) in missing {
            let secret = secrets::ask(user, kind, screen, stop).await?;
            self.vault.put(user.clone(), secret);
        }
        Ok(())
    }

    /// Whoever runs the station by these orders.
    pub(super) fn office(
        self,
        roster: Arc<Roster>,
        admin_code: Option<SecretString>,
        counter: Counter,
        ledger: Ledger,
        screen: Screen,
    ) -> RosterOffice {
        RosterOffice::new(roster, (self.orders, self.vault, admin_code), counter, ledger, screen)
    }

    /// What the secret of a user is, where one is needed.
    fn kind(&self, user: &SipAddress) -> Option<&'static str> {
        self.orders.iter().find(|order| order.user == *user)?.auth.secret()
    }
}

/// The administrator code of all phones, where it was given.
pub(super) async fn administrator_code(args: &SignInArgs, stop: &Stop) -> Result<Option<SecretString>, CliError> {
    match args.admin_code_file.clone() {
        Some(path) => secret_from(path, "the phones' administrator code".to_owned(), stop).await.map(Some),
        None => Ok(None),
    }
}

/// The pool of a user's domain; why there is none, where that is the row's fault.
fn choose(row: &Row, args: &Args, bench: &Bench) -> Result<Result<Arc<ChosenPool>, String>, CliError> {
    let user = Setting::new(row.user.clone(), Origin::Roster);
    let chosen = match bench.pool_for(&args.pool, who(&user, &args.as_user, &args.retry, None)) {
        Ok(chosen) => chosen.ok_or_else(no_pool)?,
        Err(CliError::Pools(error @ (PoolsError::OtherDomain { .. } | PoolsError::Ambiguous { .. }))) => {
            return Ok(Err(format!("{error}")));
        }
        Err(error) => return Err(error),
    };
    refuse_mixed_worlds(bench, &chosen)?;
    Ok(Ok(Arc::new(chosen)))
}

/// The Windows account or phone number of a row's user; the column that lacks it.
fn account(row: &Row, auth: Auth, chosen: &ChosenPool, lab: Option<&Lab>) -> Result<Option<String>, (Column, String)> {
    let of_lab = match lab {
        Some(lab) => Some(lab_user(lab, &row.user).ok_or_else(|| {
            let names: Vec<&str> = lab.web().users().iter().map(|user| user.sip.as_str()).collect();
            (Column::User, format!("the lab does not know {}: its users are {}", row.user, names.join(", ")))
        })?),
        None => None,
    };
    match auth {
        Auth::Certificate => Ok(None),
        Auth::Ntlm | Auth::Negotiate | Auth::Basic => {
            let usual = || of_lab.map_or_else(|| chosen.settings.login_of(&row.user), |user| user.login.clone());
            Ok(Some(row.login.clone().unwrap_or_else(usual)))
        }
        Auth::Pin => match row.phone_number.clone().or_else(|| of_lab.map(|user| user.number.clone())) {
            Some(number) => Ok(Some(number)),
            None => {
                Err((Column::PhoneNumber, format!("{} signs in with a PIN, and its phone number is missing", row.user)))
            }
        },
    }
}

fn lab_user<'a>(lab: &'a Lab, sip: &SipAddress) -> Option<&'a tethercert::lab::web_services::User> {
    lab.web().users().iter().find(|user| user.sip == *sip)
}
