//! What is said of a test: each step as it is done, and at the end the lines that administrators know.

use super::super::exit::Exit;
use super::super::operator::Console;
use super::super::screen::{Screen, Tone};
use super::super::text::{date, took};
use serde::Serialize;
use std::time::Duration;
use tethercert::credential::{Fingerprint, SipAddress};
use tethercert::diagnose::{AddressReport, Report, Step, StepReport, StepResult, Tester};
use tethercert::provision::{NoAnswer, Operator as _};
use tethercert::registrar::{Account, Facts};
use tethercert::service::SignIn;
use time::OffsetDateTime;
use uuid::Uuid;

/// Tells the steps, and asks for the secret as every job does.
pub(super) struct Told {
    console: Console,
    screen: Screen,
    user: SipAddress,
}

impl Told {
    pub(super) fn new(console: Console, screen: Screen, user: SipAddress) -> Self {
        Self { console, screen, user }
    }
}

impl Tester for Told {
    fn done(&mut self, step: &StepReport) {
        show(step, &self.screen);
    }

    async fn credential(&mut self, host: &str) -> Result<SignIn, NoAnswer> {
        self.console.credential(host, &self.user).await
    }

    async fn account(&mut self, host: &str) -> Result<Account, NoAnswer> {
        match self.console.credential(host, &self.user).await? {
            SignIn::Ntlm { login, password }
            | SignIn::Negotiate { login, password }
            | SignIn::Basic { login, password } => Ok(Account { login, password }),
            SignIn::Pin { .. } | SignIn::Certificate(_) => {
                let (what, option) = (format!("the Windows account of {}", self.user), "--password-file".to_owned());
                Err(NoAnswer::Nobody { what, option })
            }
        }
    }
}

#[derive(Serialize)]
struct StepLine<'a> {
    step: Step,
    server: Option<&'a str>,
    result: &'static str,
    latency_ms: u128,
    text: &'a str,
    error: Option<&'a str>,
    causes: &'a [String],
    diagnosis: Option<&'a str>,
    next_step: Option<&'a str>,
}

#[derive(Serialize)]
struct OutcomeLine<'a> {
    test: &'static str,
    outcome: &'static str,
    exit_code: u8,
    user: &'a SipAddress,
    stopped_at: Option<Step>,
    target_uri: &'a str,
    target_fqdn: &'a str,
    latency_ms: u128,
    error: Option<&'a str>,
    diagnosis: Option<&'a str>,
    next_step: Option<&'a str>,
    /// What the registrar showed last.
    registrar: Option<RegistrarLine<'a>>,
    addresses: Vec<AddressLine<'a>>,
    remains: Option<RemainsLine>,
}

/// What a registrar showed of itself.
#[derive(Serialize)]
struct RegistrarLine<'a> {
    server: Option<String>,
    redirects: Vec<String>,
    targetname: Option<&'a str>,
    kind: Option<&'a str>,
    product: Option<&'static str>,
    offered: &'a [String],
    sts_uri: Option<&'a str>,
    scheme: Option<&'static str>,
    version: Option<u32>,
    tls: Option<String>,
    tls_inside: Option<String>,
    signatures: Option<&'static str>,
    expires_seconds: Option<u64>,
    keep_alive_seconds: Option<u64>,
    gruu: Option<&'a str>,
    gruu_fits: Option<bool>,
    clock_offset_seconds: Option<i64>,
}

impl<'a> RegistrarLine<'a> {
    fn of(facts: &'a Facts) -> Self {
        Self {
            server: facts.server.as_ref().map(ToString::to_string),
            redirects: facts.redirects.iter().map(ToString::to_string).collect(),
            targetname: facts.targetname.as_deref(),
            kind: facts.kind.as_deref(),
            product: facts.product(),
            offered: &facts.offered,
            sts_uri: facts.sts_uri.as_deref(),
            scheme: facts.scheme.map(|scheme| scheme.name()),
            version: facts.version,
            tls: facts.outer.as_ref().map(ToString::to_string),
            tls_inside: facts.inner.as_ref().map(ToString::to_string),
            signatures: facts.method,
            expires_seconds: facts.expires.map(|time| time.as_secs()),
            keep_alive_seconds: facts.keep_alive.map(|time| time.as_secs()),
            gruu: facts.gruu.as_deref(),
            gruu_fits: facts.gruu_fits,
            clock_offset_seconds: facts.clock_offset_seconds,
        }
    }
}

#[derive(Serialize)]
struct AddressLine<'a> {
    address: String,
    result: &'static str,
    targetname: Option<&'a str>,
    stopped_at: Option<Step>,
    latency_ms: u128,
}

#[derive(Serialize)]
struct RemainsLine {
    device: Uuid,
    certificate_sha256: Option<Fingerprint>,
    #[serde(with = "time::serde::rfc3339::option")]
    not_after: Option<OffsetDateTime>,
    advice: String,
}

/// The words of administrators.
fn word(result: &StepResult) -> (Tone, &'static str) {
    match result {
        StepResult::Good { .. } => (Tone::Good, "Success"),
        StepResult::Bad(_) => (Tone::Bad, "Failure"),
        StepResult::Unknown(_) => (Tone::Unsure, "Unknown"),
    }
}

/// Shows a step.
pub(super) fn show(step: &StepReport, screen: &Screen) {
    let (tone, word) = word(&step.result);
    let (text, trouble) = match &step.result {
        StepResult::Good { said } => (said.as_str(), None),
        StepResult::Bad(trouble) | StepResult::Unknown(trouble) => (trouble.error.as_str(), Some(trouble)),
    };
    screen.json(
        "step",
        &StepLine {
            step: step.step,
            server: step.server.as_deref(),
            result: json_word(&step.result),
            latency_ms: step.latency.as_millis(),
            text,
            error: trouble.map(|trouble| trouble.error.as_str()),
            causes: trouble.map(|trouble| trouble.causes.as_slice()).unwrap_or_default(),
            diagnosis: trouble.and_then(|trouble| trouble.diagnosis.as_deref()),
            next_step: trouble.map(|trouble| trouble.next_step.as_str()),
        },
    );
    let label = format!("{word:8}{:13}{:>6}  ", step.step.name(), took(step.latency));
    let server = match (&step.server, step.step) {
        // Its name is above.
        (Some(server), Step::WebServices | Step::Connect) => format!("{server}: "),
        (Some(server), Step::Certificate) => format!("by {server}: "),
        (Some(_) | None, _) => String::new(),
    };
    screen.columns(tone, &label, &format!("{server}{text}"));
    if let Some(trouble) = trouble {
        trouble.causes.iter().for_each(|cause| screen.line("", &format!("cause: {cause}")));
        screen.line("", &format!("next: {}", trouble.next_step));
    }
}

fn json_word(result: &StepResult) -> &'static str {
    match result {
        StepResult::Good { .. } => "success",
        StepResult::Bad(_) => "failure",
        StepResult::Unknown(_) => "unknown",
    }
}

/// The end of a test, in the form that administrators know.
pub(super) fn outcome(
    test: &'static str,
    report: &Report,
    user: &SipAddress,
    target_uri: &str,
    target_fqdn: &str,
    screen: &Screen,
) -> Exit {
    let exit = exit(report);
    let stopped = report.stopped_at();
    let trouble = stopped.and_then(|step| step.result.trouble());
    let result = stopped.map_or((Tone::Good, "Success"), |step| word(&step.result));
    let error = trouble.map(|trouble| {
        // The first one is this program's own; those below it are with the step.
        let cause = trouble.causes.first().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{}{cause}", trouble.error)
    });
    let diagnosis = trouble.and_then(|trouble| trouble.diagnosis.as_deref());
    screen.json(
        "outcome",
        &OutcomeLine {
            test,
            outcome: stopped.map_or("success", |step| json_word(&step.result)),
            exit_code: exit.code(),
            user,
            stopped_at: stopped.map(|step| step.step),
            target_uri,
            target_fqdn,
            latency_ms: report.latency().as_millis(),
            error: error.as_deref(),
            diagnosis,
            next_step: trouble.map(|trouble| trouble.next_step.as_str()),
            registrar: report.registrar.as_ref().map(RegistrarLine::of),
            addresses: report.addresses.iter().map(line).collect(),
            remains: report.remains.as_ref().map(|remains| RemainsLine {
                device: remains.device,
                certificate_sha256: remains.certificate.map(|(fingerprint, _)| fingerprint),
                not_after: remains.certificate.map(|(_, not_after)| not_after),
                advice: remains.advice(),
            }),
        },
    );
    screen.blank();
    let row = |tone, name: &str, text: &str| screen.columns(tone, &format!("{name:11}: "), text);
    row(Tone::Plain, "TargetUri", target_uri);
    row(Tone::Plain, "TargetFqdn", target_fqdn);
    row(result.0, "Result", result.1);
    row(Tone::Plain, "Latency", &latency(report.latency()));
    let error = stopped.zip(error).map(|(step, error)| format!("{}: {error}", step.step));
    row(Tone::Plain, "Error", error.as_deref().unwrap_or_default());
    row(Tone::Plain, "Diagnosis", diagnosis.unwrap_or_default());
    if !report.addresses.is_empty() {
        screen.blank();
    }
    for address in &report.addresses {
        let (tone, word) = if address.stopped_at.is_none() { (Tone::Good, "Success") } else { (Tone::Bad, "Failure") };
        let text = match (&address.stopped_at, &address.targetname) {
            (Some(step), _) => format!("stopped at {step}"),
            (None, Some(name)) => format!("by {name}"),
            (None, None) => String::new(),
        };
        let label = format!("{word:8}{:21}{:>6}  ", address.address.to_string(), took(address.latency));
        screen.columns(tone, &label, &text);
    }
    if let Some(remains) = &report.remains {
        screen.blank();
        let what = match &remains.certificate {
            Some((fingerprint, until)) => format!("certificate {} until {}", fingerprint.short(), date(*until)),
            None => "perhaps a certificate".to_owned(),
        };
        let text = format!("{what} of {user} for the test device {}: {}", remains.device, remains.advice());
        screen.line("remains", &text);
    }
    exit
}

fn line(address: &AddressReport) -> AddressLine<'_> {
    AddressLine {
        address: address.address.to_string(),
        result: if address.stopped_at.is_none() { "success" } else { "failure" },
        targetname: address.targetname.as_deref(),
        stopped_at: address.stopped_at,
        latency_ms: address.latency.as_millis(),
    }
}

/// Where every address was tried, what all share; else that of the step it stopped at.
fn exit(report: &Report) -> Exit {
    let of = |step: &StepReport| step.result.trouble().map(|trouble| Exit::from(trouble.class));
    let first = report.stopped_at().and_then(of).unwrap_or(Exit::Done);
    let good = report.addresses.iter().filter(|address| address.stopped_at.is_none()).count();
    if good > 0 && good < report.addresses.len() {
        return Exit::SomeFailed;
    }
    first
}

/// `00:00:06.3981276`, as the cmdlets have it.
fn latency(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:07}", seconds % 60, time.subsec_nanos() / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_written_as_administrators_read_it() {
        assert_eq!(latency(Duration::from_nanos(6_398_127_650)), "00:00:06.3981276");
        assert_eq!(latency(Duration::from_secs(3_725)), "01:02:05.0000000");
    }
}
