//! The server chains through the phone's eyes: what it makes of each, and what it has to be given so that all suffice.

use super::ProvisionError;
use crate::credential::{Certificate, Fingerprint, PhoneView, Remedy, ServerChain, Unremedied, Verdict};
use crate::phone::{Driver, Identity, PhoneState};
use crate::service::server_trust::{Download, Met, ServerFound};
use serde::Serialize;
use time::OffsetDateTime;

/// The shortest RSA key that phones are assumed to take, bits.
const LEAST_RSA_BITS: u32 = 2048;
/// How many anchors are read whole at most: those that could be the root of one of the chains.
const MOST_READ: usize = 8;

/// What a phone makes of one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerJudgement {
    /// `sip.contoso.example:5061`.
    pub server: String,
    /// In a word.
    pub standing: Standing,
    /// Why, for people: `good: …` with the way to the root, `refused: …`, or what kept it from being judged.
    pub text: String,
    /// What the technician does about it, where something is to be done at the server or on the way there.
    pub next_step: Option<String>,
}

/// How a phone stands to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It trusts the server.
    Trusted,
    /// It does not.
    NotTrusted,
    /// The server could not be asked for its chain, so there is nothing to judge. Never good.
    Unknown,
}

/// The servers as this phone meets them, the Web Services first.
pub(super) struct ServerSeen {
    servers: Vec<Judged>,
    /// Roots that this computer trusts and that are at the top of one of the chains.
    trusted: Vec<Certificate>,
    /// Those of the phone's anchors that matter for these chains.
    anchors: Vec<Certificate>,
    /// Of them, those that are out of date and so count for nothing: `its root X expired 2020-05-30`.
    expired: Vec<String>,
    clock: OffsetDateTime,
}

struct Judged {
    host: String,
    address: String,
    chain: Result<ServerChain, NoChain>,
}

/// Why there is no chain to judge.
struct NoChain {
    reason: String,
    next: String,
}

impl ServerSeen {
    /// Reads what is needed of the phone's anchors; mostly nothing, since their fingerprints are known already.
    pub(super) async fn new(
        servers: &[ServerFound],
        download: &Download,
        state: &PhoneState,
        clock: OffsetDateTime,
        phone: &mut impl Driver,
    ) -> Result<Self, ProvisionError> {
        let mut seen = Self::without_phone(servers, download, clock)?;
        seen.read_anchors(state, phone).await?;
        Ok(seen)
    }

    fn without_phone(
        servers: &[ServerFound],
        download: &Download,
        clock: OffsetDateTime,
    ) -> Result<Self, ProvisionError> {
        let hints = download.got().map(|chains| chains.hints().to_vec()).unwrap_or_default();
        let mut seen =
            Self { servers: Vec::new(), trusted: Vec::new(), anchors: Vec::new(), expired: Vec::new(), clock };
        for (number, server) in servers.iter().enumerate() {
            let chain = match (chain(server, &mut seen.trusted), number) {
                // What cannot be read of the Web Services stops everything; of another server it is a finding.
                (Err(Broken::Certificate(error)), 0) => return Err(error),
                (Err(Broken::Certificate(error)), _) => {
                    Err(NoChain { reason: error.to_string(), next: error.next_step() })
                }
                (Err(Broken::NoChain(missing)), _) => Err(missing),
                (Ok(chain), _) => Ok(chain),
            };
            seen.servers.push(Judged { host: server.host.clone(), address: server.address(), chain });
        }
        seen.share(&hints);
        Ok(seen)
    }

    /// What one server sends, or the download holds, may complete another's chain: signatures decide.
    fn share(&mut self, hints: &[Certificate]) {
        let chains = || self.servers.iter().filter_map(|server| server.chain.as_ref().ok());
        let above = chains().flat_map(|chain| chain.presented.iter().skip(1).chain(&chain.known));
        let all: Vec<Certificate> = above.chain(hints).filter(|it| it.is_ca()).cloned().collect();
        for chain in self.servers.iter_mut().filter_map(|server| server.chain.as_mut().ok()) {
            for certificate in &all {
                if !chain.known.contains(certificate) && !chain.presented.contains(certificate) {
                    chain.known.push(certificate.clone());
                }
            }
        }
    }

    async fn read_anchors(&mut self, state: &PhoneState, phone: &mut impl Driver) -> Result<(), ProvisionError> {
        let chains = self.servers.iter().filter_map(|server| server.chain.as_ref().ok());
        let seen: Vec<Certificate> =
            chains.flat_map(|chain| chain.presented.iter().chain(&chain.known)).cloned().collect();
        let could_be_root = |subject: Fingerprint| {
            seen.iter().any(|c| c.subject_id() == subject || Fingerprint::of(c.issuer_der()) == subject)
        };
        let mut read_whole = 0;
        for held in state.anchors.iter().filter(|held| could_be_root(held.subject)) {
            match seen.iter().find(|certificate| certificate.fingerprint() == held.fingerprint) {
                Some(known) => self.anchors.push(known.clone()),
                None if read_whole < MOST_READ => {
                    read_whole += 1;
                    self.anchors.push(phone.read_certificate(held.fingerprint).await?);
                }
                None => {}
            }
        }
        let expired = self.anchors.iter().filter(|anchor| anchor.not_after() < self.clock);
        self.expired = expired.map(expired_root).collect();
        Ok(())
    }

    fn view<'a>(&self, anchors: &'a [Certificate]) -> PhoneView<'a> {
        PhoneView { anchors, clock: self.clock, refuses_sha1: true, min_rsa_bits: LEAST_RSA_BITS }
    }

    /// The Web Services' certificates as they send them: what the phone itself judges.
    pub(super) fn presented(&self) -> &[Certificate] {
        self.servers.first().and_then(|web| web.chain.as_ref().ok()).map_or(&[], |chain| &chain.presented)
    }

    /// Whether there are more servers than the Web Services.
    pub(super) fn are_several(&self) -> bool {
        self.servers.len() > 1
    }

    /// Roots of the phone that count for nothing, as sentences.
    pub(super) fn expired(&self) -> &[String] {
        &self.expired
    }

    /// What the phone makes of the Web Services with the intermediates of its identity.
    pub(super) fn verdict_with(&self, installed: &[Fingerprint]) -> Verdict {
        let nothing = ServerChain { names: Vec::new(), presented: Vec::new(), known: Vec::new() };
        let web = self.servers.first().and_then(|web| web.chain.as_ref().ok()).unwrap_or(&nothing);
        web.judge_with(&self.view(&self.anchors), &self.intermediates(installed))
    }

    /// What the phone makes of every server with the intermediates of its identity.
    pub(super) fn judgements_with(&self, installed: &[Fingerprint]) -> Vec<ServerJudgement> {
        self.judgements(&self.anchors, &self.intermediates(installed))
    }

    /// The first server that can be judged and that the phone does not trust with the intermediates of its identity.
    pub(super) fn distrusted_with(&self, installed: &[Fingerprint]) -> Option<String> {
        let judgements = self.judgements_with(installed).into_iter();
        judgements
            .map(|it| (it.standing, it.server))
            .find(|(it, _)| *it == Standing::NotTrusted)
            .map(|(_, server)| server)
    }

    /// What the phone will make of every server once it holds `given` besides its anchors.
    pub(super) fn judgements_given(&self, given: &Remedy) -> Vec<ServerJudgement> {
        let anchors: Vec<Certificate> = self.anchors.iter().chain(&given.anchors).cloned().collect();
        self.judgements(&anchors, &given.intermediates)
    }

    /// Whether what was read back of the phone suffices for every server that can be judged. `given` has the certificates
    /// behind the fingerprints.
    pub(super) fn suffices(&self, read_back: &PhoneState, given: &Remedy) -> Result<(), ProvisionError> {
        let held = |certificate: &&Certificate| {
            read_back.anchors.iter().any(|anchor| anchor.fingerprint == certificate.fingerprint())
        };
        let anchors: Vec<Certificate> = self.anchors.iter().chain(&given.anchors).filter(held).cloned().collect();
        let installed = read_back.identity.as_ref().map(|identity| identity.intermediates.as_slice());
        let judgements = self.judgements(&anchors, &self.intermediates(installed.unwrap_or_default()));
        match judgements.into_iter().find(|judgement| judgement.standing == Standing::NotTrusted) {
            None => Ok(()),
            Some(ServerJudgement { server, text, .. }) => {
                Err(ProvisionError::ReadBackDiffers { what: format!("it does not suffice for {server}: {text}") })
            }
        }
    }

    fn judgements(&self, anchors: &[Certificate], intermediates: &[Certificate]) -> Vec<ServerJudgement> {
        let judge = |server: &Judged| match &server.chain {
            Err(NoChain { reason, next }) => ServerJudgement {
                server: server.address.clone(),
                standing: Standing::Unknown,
                text: reason.clone(),
                next_step: Some(next.clone()),
            },
            Ok(chain) => {
                let verdict = chain.judge_with(&self.view(anchors), intermediates);
                let next_step = match &verdict {
                    Verdict::Good { .. } => None,
                    Verdict::Refused { reason, .. } => Some(reason.next_step().to_owned()),
                };
                ServerJudgement {
                    server: server.address.clone(),
                    standing: if verdict.is_good() { Standing::Trusted } else { Standing::NotTrusted },
                    text: verdict.to_string().replace('\n', "; "),
                    next_step,
                }
            }
        };
        self.servers.iter().map(judge).collect()
    }

    /// Every certificate that is known here, of these fingerprints.
    fn intermediates(&self, installed: &[Fingerprint]) -> Vec<Certificate> {
        let chains = self.servers.iter().filter_map(|server| server.chain.as_ref().ok());
        let mut found: Vec<Certificate> = Vec::new();
        for known in chains.flat_map(|chain| chain.known.iter().chain(&chain.presented)) {
            if installed.contains(&known.fingerprint()) && !found.contains(known) {
                found.push(known.clone());
            }
        }
        found
    }

    /// For each server: the least that the phone has to be given, or why nothing helps; nothing without a chain.
    pub(super) fn remedies(&self) -> Vec<Option<Result<Remedy, Unremedied>>> {
        let remedy = |chain: &ServerChain| chain.remedy(&self.view(&self.anchors), &self.trusted);
        self.servers.iter().map(|server| server.chain.as_ref().ok().map(remedy)).collect()
    }

    /// The least that the phone has to be given for all servers together, shown to suffice for each; refused where the
    /// phone has not the room.
    ///
    /// A server that can be judged and that nothing makes the phone trust stops the job: it was named because the phone
    /// needs it. One that could not be reached stops nothing, for there is nothing to judge.
    pub(super) fn remedy(&self, identity: &Identity) -> Result<Remedy, ProvisionError> {
        let mut union = Remedy { anchors: Vec::new(), intermediates: Vec::new(), path: Vec::new() };
        for server in &self.servers {
            let Ok(chain) = &server.chain else { continue };
            let untrusted = |source| ProvisionError::Untrusted { host: server.host.clone(), source };
            let anchors: Vec<Certificate> = self.anchors.iter().chain(&union.anchors).cloned().collect();
            let remedy = chain.remedy(&self.view(&anchors), &self.trusted).map_err(untrusted)?;
            let add = |to: &mut Vec<Certificate>, these: Vec<Certificate>| {
                these.into_iter().for_each(|it| {
                    if !to.contains(&it) {
                        to.push(it)
                    }
                });
            };
            add(&mut union.anchors, remedy.anchors);
            add(&mut union.intermediates, remedy.intermediates);
            if union.path.is_empty() {
                union.path = remedy.path;
            }
        }
        fits(&union, identity)?;
        // Shown, not concluded: each is asked once more with all of it.
        let anchors: Vec<Certificate> = self.anchors.iter().chain(&union.anchors).cloned().collect();
        for server in &self.servers {
            let Ok(chain) = &server.chain else { continue };
            if let Verdict::Refused { reason, also } = chain.judge_with(&self.view(&anchors), &union.intermediates) {
                let source = Unremedied::Flawed { reason: Box::new(reason), also };
                return Err(ProvisionError::Untrusted { host: server.host.clone(), source });
            }
        }
        Ok(union)
    }
}

enum Broken {
    Certificate(ProvisionError),
    NoChain(NoChain),
}

/// The chain as it can be judged; the root that this computer trusts, if it does, goes to `trusted`.
fn chain(server: &ServerFound, trusted: &mut Vec<Certificate>) -> Result<ServerChain, Broken> {
    if let Met::Unreachable(error) = &server.met {
        let reason = super::story::full_text(&**error);
        return Err(Broken::NoChain(NoChain { reason, next: error.next_step().to_owned() }));
    }
    let read = |ders: &[Vec<u8>]| -> Result<Vec<Certificate>, Broken> {
        let certificates = ders.iter().map(|der| Certificate::from_der(der));
        certificates
            .collect::<Result<_, _>>()
            .map_err(|source| Broken::Certificate(ProvisionError::Certificate { from: "that the server sent", source }))
    };
    let (presented, known) = (read(server.presented())?, read(server.completed())?);
    if let Met::Trusted(_) = server.met {
        trusted.extend(known.last().or(presented.last()).filter(|root| !trusted.contains(root)).cloned());
    }
    Ok(ServerChain { names: vec![server.host.clone()], presented, known })
}

fn fits(remedy: &Remedy, identity: &Identity) -> Result<(), ProvisionError> {
    let limits = identity.limits;
    let too_long = |certificate: &&Certificate| certificate.der().len() > limits.certificate_bytes as usize;
    if let Some(long) = remedy.anchors.iter().chain(&remedy.intermediates).find(too_long) {
        let what = format!("{} has {} bytes, it takes {}", long.label(), long.der().len(), limits.certificate_bytes);
        return Err(ProvisionError::NoRoom { what });
    }
    for (what, wanted, room) in [
        ("trust anchors", &remedy.anchors, limits.free_anchors),
        ("intermediates", &remedy.intermediates, limits.intermediates),
    ] {
        if wanted.len() > usize::from(room) {
            let names: Vec<String> = wanted.iter().map(Certificate::label).collect();
            let what = format!("it needs {} {what} ({}) and takes {room}", wanted.len(), names.join(", "));
            return Err(ProvisionError::NoRoom { what });
        }
    }
    Ok(())
}

fn expired_root(root: &Certificate) -> String {
    format!("its root {} expired {}", root.label(), super::planning::date(root.not_after()))
}

/// What was added, for people: `server omits Contoso Issuing CA 2: added; root Contoso Root CA: added`.
pub(super) fn remedy_text(remedy: &Remedy) -> String {
    let between = remedy.intermediates.iter().map(|c| format!("server omits {}: added", c.label()));
    let roots = remedy.anchors.iter().map(|c| format!("root {}: added", c.label()));
    let parts: Vec<String> = between.chain(roots).collect();
    if parts.is_empty() { "the phone trusts the server already".into() } else { parts.join("; ") }
}
