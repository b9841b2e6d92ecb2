//! What discovery found, as lines: for people and for programs.

use crate::cli::exit::Exit;
use crate::cli::screen::{Screen, Tone};
use crate::cli::text::dotted;
use serde::Serialize;
use tethercert::credential::SipAddress;
use tethercert::diagnose::{Finding, Verdict};
use tethercert::discovery::dhcp::Asked;
use tethercert::discovery::dns::{Found, Kind, LookedUp};
use tethercert::discovery::{Discovered, Hearing, Source};

#[derive(Serialize)]
struct AskedLine<'a> {
    interface: Option<&'a str>,
    address: Option<std::net::Ipv4Addr>,
    mac: Option<String>,
    vlan: Option<String>,
    server: Option<String>,
    hearing: Option<Hearing>,
    problem: Option<&'static str>,
}

#[derive(Serialize)]
struct AnswerLine<'a> {
    server: std::net::Ipv4Addr,
    interface: Option<&'a str>,
    after_ms: u128,
    registrars: Vec<&'a str>,
    registrar_problem: Option<String>,
    web_services: Option<String>,
    web_services_problem: Option<String>,
    options: &'a [u8],
    /// Whether it is the one that a phone takes.
    taken: bool,
}

#[derive(Serialize)]
struct RecordLine<'a> {
    name: &'a str,
    kind: Kind,
    purpose: &'static str,
    found: Vec<String>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct DiscoveredLine<'a> {
    web_services: Option<String>,
    web_services_source: Option<&'a Source>,
    registrar: Option<String>,
    registrar_source: Option<&'a Source>,
    outside_domain: Vec<&'a str>,
    exit_code: u8,
}

/// Where DHCP was asked.
pub(super) fn asked(discovered: &Discovered, screen: &Screen) {
    for asked in &discovered.dhcp.asked {
        let line = AskedLine {
            interface: asked.interface.as_ref().map(|it| it.name.as_str()),
            address: asked.interface.as_ref().map(|it| it.address),
            mac: asked.interface.as_ref().map(|it| it.mac_text()),
            vlan: asked.interface.as_ref().map(|it| it.vlan.to_string()),
            server: asked.server.map(|it| it.to_string()),
            hearing: asked.how.as_ref().ok().copied(),
            problem: asked.how.as_ref().err().map(|cannot| cannot.trouble.text()),
        };
        screen.json("asked", &line);
        screen.line("asked", &place(asked));
    }
    if discovered.dhcp.asked.iter().any(|asked| asked.interface.is_some() && asked.how.is_ok()) {
        screen.line("", "what is found holds in this VLAN, and says nothing of the phones' own if it is another");
    }
}

fn place(asked: &Asked) -> String {
    let how = match &asked.how {
        Ok(Hearing::Port68) => "",
        Ok(Hearing::Beside) => "beside the program that has port 68",
        Ok(Hearing::OwnPort) => "straight",
        Err(_) => "not possible",
    };
    match (&asked.interface, &asked.server) {
        (Some(it), _) => {
            dotted(&[it.name.clone(), it.address.to_string(), it.mac_text(), it.vlan.to_string(), how.to_owned()])
        }
        (None, Some(server)) => dotted(&[server.to_string(), how.to_owned()]),
        (None, None) => how.to_owned(),
    }
}

/// What each DHCP server said.
pub(super) fn answers(discovered: &Discovered, screen: &Screen) {
    for (index, answer) in discovered.dhcp.answers.iter().enumerate() {
        let taken = discovered.taken == Some(index);
        let problem = |bad: Option<String>, missing: bool, code: u8| match (bad, missing) {
            (Some(bad), _) => Some(bad),
            (None, true) => Some(format!("option {code} is missing")),
            (None, false) => None,
        };
        let bad = |it: &dyn std::fmt::Display| it.to_string();
        let registrars = match &answer.registrars {
            Some(Ok(names)) => names.iter().map(|name| name.as_str()).collect(),
            Some(Err(_)) | None => Vec::new(),
        };
        let registrar_problem = answer.registrars.as_ref().and_then(|it| it.as_ref().err()).map(|it| bad(it));
        let web_problem = answer.web_services.as_ref().and_then(|it| it.as_ref().err()).map(|it| bad(it));
        let line = AnswerLine {
            server: answer.server,
            interface: answer.interface.as_deref(),
            after_ms: answer.after.as_millis(),
            registrars,
            registrar_problem: problem(registrar_problem, answer.registrars.is_none(), 120),
            web_services: answer.web().map(|web| web.url()),
            web_services_problem: problem(web_problem, answer.web_services.is_none(), 43),
            options: &answer.options,
            taken,
        };
        screen.json("dhcp_answer", &line);
        let role = match (taken, discovered.taken) {
            (true, _) => "a phone takes this one",
            (false, Some(taken)) if index > taken => "too late for a phone",
            (false, _) => "no name in it that a phone could use",
        };
        let place = answer.interface.clone().unwrap_or_default();
        let tone = if taken { Tone::Good } else { Tone::Plain };
        let after = format!("{} ms", line.after_ms);
        screen.toned(tone, "answer", &dotted(&[answer.server.to_string(), place, after, role.to_owned()]));
        let registrar = line.registrar_problem.clone().unwrap_or_else(|| line.registrars.join(", "));
        screen.columns(Tone::Plain, "        120 ", &registrar);
        let web = line.web_services_problem.clone().or_else(|| line.web_services.clone()).unwrap_or_default();
        screen.columns(Tone::Plain, "        43  ", &web);
    }
}

/// What DNS said.
pub(super) fn records(discovered: &Discovered, screen: &Screen) {
    let servers: Vec<String> = discovered.dns_servers.iter().map(ToString::to_string).collect();
    let width = discovered.dns.iter().map(|record| record.name.len()).max().unwrap_or(0).min(50);
    for (index, record) in discovered.dns.iter().enumerate() {
        let found = found(record);
        let line = RecordLine {
            name: &record.name,
            kind: record.record.kind,
            purpose: record.record.purpose,
            problem: record.answer.as_ref().err().map(|why| why.text()),
            found: found.clone(),
        };
        screen.json("dns_record", &line);
        if index == 0 {
            screen.line("dns", &format!("asked {}", servers.join(", ")));
        }
        let answer = line.problem.unwrap_or_else(|| found.join(", "));
        screen.columns(Tone::Plain, &format!("{:8}{:width$}  ", "", record.name), &answer);
    }
}

fn found(record: &LookedUp) -> Vec<String> {
    match &record.answer {
        Ok(Found::Targets(targets)) => targets.iter().map(|it| format!("{}:{}", it.host, it.port)).collect(),
        Ok(Found::Addresses(addresses)) => addresses.iter().map(ToString::to_string).collect(),
        Err(_) => Vec::new(),
    }
}

/// Each finding with what was seen and the next step.
pub(super) fn findings(findings: &[Finding], screen: &Screen) {
    for finding in findings {
        screen.json("finding", finding);
        // People have seen it among the answers.
        if finding.verdict == Verdict::Good && ["dhcp", "registrar", "web services"].contains(&finding.check) {
            continue;
        }
        let (tone, word) = match finding.verdict {
            Verdict::Good => (Tone::Good, "good"),
            Verdict::Bad => (Tone::Bad, "BAD"),
            Verdict::Unknown => (Tone::Unsure, "unknown"),
        };
        screen.toned(tone, word, &finding.says);
        for evidence in &finding.evidence {
            screen.line("", evidence);
        }
        if let Some(next) = &finding.next_step {
            screen.line("", &format!("next: {next}"));
        }
    }
}

/// What came out, and the command that goes on from it.
pub(super) fn result(discovered: &Discovered, user: Option<&SipAddress>, exit: Exit, screen: &Screen) {
    let web = discovered.web_services.as_ref();
    let registrar = discovered.registrar.as_ref();
    let address = registrar.map(|registrar| format!("{}:{}", registrar.value.host, registrar.value.port));
    let line = DiscoveredLine {
        web_services: web.map(|web| web.value.url()),
        web_services_source: web.map(|web| &web.source),
        registrar: address.clone(),
        registrar_source: registrar.map(|registrar| &registrar.source),
        outside_domain: discovered.outside().into_iter().map(|name| name.as_str()).collect(),
        exit_code: exit.code(),
    };
    screen.json("discovered", &line);
    screen.blank();
    match (&address, registrar) {
        (Some(address), Some(registrar)) => {
            screen.line("found", &format!("registrar {address} ({})", registrar.source))
        }
        _ => screen.line("found", "no registrar"),
    }
    let Some(web) = web else { return screen.line("", "no Web Services") };
    screen.line("", &format!("Web Services {} ({})", web.value.url(), web.source));
    if !discovered.outside().is_empty() && user.is_some() {
        return;
    }
    let user = user.map_or("alice@contoso.example", SipAddress::as_str);
    screen.line("next", &format!("tethercert provision --user {user}"));
}
