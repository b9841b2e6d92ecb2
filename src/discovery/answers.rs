//! What a phone makes of the answers, and what is wrong with them.

use super::dhcp::{Answer, AskDhcp, Asked, Heard};
use super::dns::{Found, LookedUp, NotFound, REGISTRARS, Target, UPDATES};
use super::{Discovered, Located, Options, Source, Trouble};
use crate::diagnose::{Finding, Verdict};

/// Which answer counts, and what is to be said.
pub(super) struct Judged {
    pub(super) taken: Option<usize>,
    pub(super) findings: Vec<Finding>,
}

/// What DHCP said.
pub(super) fn judge(heard: &Heard, options: &Options) -> Judged {
    let mut findings: Vec<Finding> = heard.asked.iter().filter_map(cannot_ask).collect();
    let asked: Vec<&Asked> = heard.asked.iter().filter(|asked| asked.how.is_ok()).collect();
    if asked.is_empty() {
        return Judged { taken: None, findings };
    }
    if heard.answers.is_empty() {
        findings.push(no_answer(&asked, options));
        return Judged { taken: None, findings };
    }
    for answer in &heard.answers {
        let place = answer.interface.as_ref().map(|name| format!(" on {name}")).unwrap_or_default();
        let text = format!("{} answered{place} after {} ms", answer.server, answer.after.as_millis());
        findings.push(Finding::good("dhcp", text));
    }
    let taken = heard.answers.iter().position(Answer::has_a_name);
    // Without one that has a name, the first is as good as any to say what is wrong.
    let answer = &heard.answers[taken.unwrap_or(0)];
    findings.push(registrar(answer, heard));
    findings.push(web_services(answer, heard));
    findings.extend(disagreement(heard));
    if options.dhcp == AskDhcp::Everybody || !heard.vlans.is_empty() {
        findings.push(voice_vlan(heard));
    }
    Judged { taken, findings }
}

fn cannot_ask(asked: &Asked) -> Option<Finding> {
    let cannot = asked.how.as_ref().err()?;
    let place = match (&asked.interface, &asked.server) {
        (Some(interface), _) => interface.name.clone(),
        (None, Some(server)) => server.to_string(),
        (None, None) => String::new(),
    };
    let evidence = match &cannot.detail {
        Some(detail) => format!("{place}: {detail}"),
        None => place,
    };
    let finding = cannot.trouble.found("dhcp").with(evidence);
    Some(match (cannot.trouble, std::env::current_exe()) {
        (Trouble::PortNotAllowed | Trouble::PortTaken, Ok(program)) if cfg!(target_os = "linux") => finding.with_next(format!(
            "repeat as root, or give the program the right once: sudo setcap cap_net_bind_service,cap_net_raw=ep {}",
            program.display()
        )),
        _ => finding,
    })
}

fn no_answer(asked: &[&Asked], options: &Options) -> Finding {
    let places: Vec<String> = asked
        .iter()
        .map(|asked| match (&asked.interface, &asked.server) {
            (Some(it), _) => format!("{} ({}, {})", it.name, it.address, it.vlan),
            (None, Some(server)) => format!("{server}"),
            (None, None) => String::new(),
        })
        .collect();
    let finding = Trouble::NoAnswer.found("dhcp").with(format!(
        "asked {} for {} s",
        places.join(", "),
        options.wait.as_secs_f32()
    ));
    match options.dhcp {
        AskDhcp::Server(_) => Finding { verdict: Verdict::Unknown, ..finding }
            .with("it was asked straight, from a port that not every server answers to")
            .with_next("ask as phones do, without --dhcp-server, from a port in their VLAN"),
        AskDhcp::Everybody | AskDhcp::Nobody => finding,
    }
}

/// Whether what is not in the answers is not in DHCP: somebody answered, or nobody did where phones are heard.
fn says_all(heard: &Heard, options: &Options) -> bool {
    let was_asked = heard.asked.iter().any(|asked| asked.how.is_ok());
    !heard.answers.is_empty() || was_asked && options.dhcp == AskDhcp::Everybody
}

/// What else the answer had, so that it shows whether it is another product's.
fn had(answer: &Answer) -> String {
    let codes: Vec<String> = answer.options.iter().map(ToString::to_string).collect();
    format!("{} answered with options {}", answer.server, codes.join(", "))
}

/// That another server has it does not help the phone.
fn elsewhere(finding: Finding, heard: &Heard, answer: &Answer, has: impl Fn(&Answer) -> bool) -> Finding {
    match heard.answers.iter().find(|other| other.server != answer.server && has(other)) {
        Some(other) => {
            finding.with(format!("{} has it, and phones listen to {}, which was first", other.server, answer.server))
        }
        None => finding,
    }
}

fn registrar(answer: &Answer, heard: &Heard) -> Finding {
    const CHECK: &str = "registrar";
    match &answer.registrars {
        None => {
            let finding = Trouble::RegistrarMissing.found(CHECK).with(had(answer));
            elsewhere(finding, heard, answer, |other| other.registrar().is_some())
        }
        Some(Err(bad)) => bad.trouble().found(CHECK).with(format!("{}: {bad}", answer.server)),
        Some(Ok(names)) => {
            let names: Vec<&str> = names.iter().map(super::HostName::as_str).collect();
            let good = Finding::good(CHECK, format!("option 120 names {}", names[0]));
            if names.len() > 1 { good.with(format!("further names in it: {}", names[1..].join(", "))) } else { good }
        }
    }
}

fn web_services(answer: &Answer, heard: &Heard) -> Finding {
    const CHECK: &str = "web services";
    match &answer.web_services {
        None => {
            let finding = Trouble::WebMissing.found(CHECK).with(had(answer));
            elsewhere(finding, heard, answer, |other| other.web().is_some())
        }
        Some(Err(bad)) => {
            let finding = bad.trouble().found(CHECK).with(format!("{}: {bad}", answer.server));
            elsewhere(finding, heard, answer, |other| other.web().is_some())
        }
        Some(Ok(web)) => Finding::good(CHECK, format!("option 43 names {}", web.url())),
    }
}

/// Among the answers that have a name: phones pass over the others.
pub(super) fn disagreement(heard: &Heard) -> Option<Finding> {
    let said = |answer: &Answer| (answer.registrars.clone(), answer.web_services.clone());
    let named = || heard.answers.iter().filter(|answer| answer.has_a_name());
    let first = said(named().next()?);
    if named().all(|answer| said(answer) == first) {
        return None;
    }
    let finding = named().fold(Trouble::ServersDisagree.found("dhcp"), |finding, answer| {
        let registrar = answer.registrar().map_or("no registrar", super::HostName::as_str);
        let web = answer.web().map_or_else(|| "no Web Services".to_owned(), super::options::WebServices::url);
        finding.with(format!("{} says {registrar}, {web}", answer.server))
    });
    Some(finding)
}

fn voice_vlan(heard: &Heard) -> Finding {
    const CHECK: &str = "voice VLAN";
    for answer in &heard.vlans {
        match &answer.vlan {
            Ok(Some(vlan)) => {
                return Finding::good(CHECK, format!("{} sends phones to VLAN {vlan}", answer.server))
                    .with("what is said here holds for phones only if this computer asks in that VLAN");
            }
            Ok(None) => {}
            Err(bad) => return bad.trouble().found(CHECK).with(format!("{}: {bad}", answer.server)),
        }
    }
    Trouble::NoVlan.found(CHECK).with("asked as CPE-OCPHONE")
}

/// The registrar by DNS: the first record that is there.
pub(super) fn registrar_of(records: &[LookedUp], port: u16) -> Option<Located<Target>> {
    records.iter().filter(|it| REGISTRARS.contains(&it.record)).find_map(|it| {
        let value = match it.answer.as_ref().ok()? {
            Found::Targets(targets) => targets.first()?.clone(),
            Found::Addresses(_) => Target { host: it.name.parse().ok()?, port },
        };
        Some(Located { value, source: Source::Dns { record: it.name.clone() } })
    })
}

/// What DNS said.
pub(super) fn judge_dns(discovered: &Discovered, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    if options.domain.is_none() {
        if options.dns != super::dns::AskDns::Nobody {
            findings.push(Trouble::NoDomain.found("dns"));
        }
        return findings;
    }
    if discovered.dns.is_empty() {
        return findings;
    }
    let servers: Vec<String> = discovered.dns_servers.iter().map(ToString::to_string).collect();
    // Each trouble once, with every record that has it.
    let mut troubled: Vec<(Trouble, Finding)> = Vec::new();
    for it in &discovered.dns {
        let Some((trouble, text)) = it.answer.as_ref().err().and_then(|it| Some((it.trouble()?, it.text()))) else {
            continue;
        };
        let seen = format!("asked {} for {}: {text}", servers.join(", "), it.name);
        match troubled.iter_mut().find(|(other, _)| *other == trouble) {
            Some((_, finding)) => finding.evidence.push(seen),
            None => troubled.push((trouble, trouble.found("dns").with(seen))),
        }
    }
    findings.extend(troubled.into_iter().map(|(_, finding)| finding));
    // What DHCP was not heard to leave out, it may say.
    let unless_by_dhcp = |finding: Finding| match says_all(&discovered.dhcp, options) {
        true => finding,
        false => Finding { verdict: Verdict::Unknown, ..finding }
            .with("DHCP may name it: it was not heard as phones hear it"),
    };
    let registrars = || discovered.dns.iter().filter(|it| REGISTRARS.contains(&it.record));
    match (registrar_of(&discovered.dns, options.registrar_port), discovered.taken) {
        (Some(registrar), None) => {
            let Target { host, port } = &registrar.value;
            findings.push(
                Finding::good("registrar", format!("DNS names {host}:{port}")).with(registrar.source.to_string()),
            );
        }
        // By DHCP there is one, which is stronger.
        (_, Some(_)) => {}
        (None, None) if registrars().all(|it| it.answer == Err(NotFound::None)) => {
            let names: Vec<&str> = registrars().map(|it| it.name.as_str()).collect();
            let finding = Trouble::NoRegistrarInDns.found("registrar").with(format!("none of {}", names.join(", ")));
            findings.push(unless_by_dhcp(finding));
        }
        (None, None) => {}
    }
    if discovered.web_services.is_none() && discovered.registrar.is_some() && discovered.taken.is_none() {
        findings.push(unless_by_dhcp(Trouble::WebServicesUnknown.found("web services")));
    }
    if let Some(updates) = discovered.dns.iter().find(|it| UPDATES.contains(&it.record) && it.answer.is_ok()) {
        findings.push(Finding::good("updates", format!("{} is there", updates.name)));
    }
    findings
}
