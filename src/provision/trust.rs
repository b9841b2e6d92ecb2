//! The server chain through the phone's eyes: what it makes of it, and what it has to be given.

use super::ProvisionError;
use crate::credential::{Certificate, Fingerprint, PhoneView, Remedy, ServerChain, Verdict};
use crate::phone::{Driver, Identity, PhoneState};
use crate::service::Survey;
use time::OffsetDateTime;

/// The shortest RSA key that phones are assumed to take, bits.
const LEAST_RSA_BITS: u32 = 2048;
/// How many anchors are read whole at most: those that could be the root of this chain.
const MOST_READ: usize = 4;

/// The service's chain as this phone meets it.
pub(super) struct ServerSeen {
    chain: ServerChain,
    /// The root that this computer trusts.
    trusted: Vec<Certificate>,
    /// Those of the phone's anchors that matter for this chain.
    anchors: Vec<Certificate>,
    clock: OffsetDateTime,
}

impl ServerSeen {
    /// Reads what is needed of the phone's anchors; mostly nothing, since their fingerprints are known already.
    pub(super) async fn new(
        survey: &Survey,
        state: &PhoneState,
        clock: OffsetDateTime,
        phone: &mut impl Driver,
    ) -> Result<Self, ProvisionError> {
        let read = |ders: &[Vec<u8>]| -> Result<Vec<Certificate>, ProvisionError> {
            let certificates = ders.iter().map(|der| Certificate::from_der(der));
            certificates
                .collect::<Result<_, _>>()
                .map_err(|source| ProvisionError::Certificate { from: "that the server sent", source })
        };
        let (presented, completed) = (read(&survey.presented)?, read(&survey.completed)?);
        let seen: Vec<&Certificate> = presented.iter().chain(&completed).collect();
        let could_be_root = |subject: Fingerprint| {
            seen.iter().any(|c| c.subject_id() == subject || Fingerprint::of(c.issuer_der()) == subject)
        };

        let (mut anchors, mut read_whole) = (Vec::new(), 0);
        for held in state.anchors.iter().filter(|held| could_be_root(held.subject)) {
            match seen.iter().find(|certificate| certificate.fingerprint() == held.fingerprint) {
                Some(known) => anchors.push((*known).clone()),
                None if read_whole < MOST_READ => {
                    read_whole += 1;
                    anchors.push(phone.read_certificate(held.fingerprint).await?);
                }
                None => {}
            }
        }
        let trusted = completed.last().or(presented.last()).cloned().into_iter().collect();
        let chain = ServerChain { names: vec![survey.host.clone()], presented, known: completed };
        Ok(Self { chain, trusted, anchors, clock })
    }

    fn view(&self) -> PhoneView<'_> {
        PhoneView { anchors: &self.anchors, clock: self.clock, refuses_sha1: true, min_rsa_bits: LEAST_RSA_BITS }
    }

    /// The certificates as the server sends them.
    pub(super) fn presented(&self) -> &[Certificate] {
        &self.chain.presented
    }

    /// What the phone makes of it with the intermediates of its identity.
    pub(super) fn verdict_with(&self, installed: &[Fingerprint]) -> Verdict {
        let known = self.chain.known.iter().filter(|known| installed.contains(&known.fingerprint()));
        self.chain.judge_with(&self.view(), &known.cloned().collect::<Vec<_>>())
    }

    /// The least that the phone has to be given, shown to suffice; refused where the phone has not the room.
    pub(super) fn remedy(&self, identity: &Identity) -> Result<Remedy, ProvisionError> {
        let host = || self.chain.names.join(", ");
        let remedy = self.chain.remedy(&self.view(), &self.trusted);
        let remedy = remedy.map_err(|source| ProvisionError::Untrusted { host: host(), source })?;

        let limits = identity.limits;
        let too_long = |certificate: &&Certificate| certificate.der().len() > limits.certificate_bytes as usize;
        if let Some(long) = remedy.anchors.iter().chain(&remedy.intermediates).find(too_long) {
            let what =
                format!("{} has {} bytes, it takes {}", long.label(), long.der().len(), limits.certificate_bytes);
            return Err(ProvisionError::NoRoom { what });
        }
        for (what, wanted, room) in [
            ("trust anchors", remedy.anchors.len(), limits.free_anchors),
            ("intermediates", remedy.intermediates.len(), limits.intermediates),
        ] {
            if wanted > usize::from(room) {
                return Err(ProvisionError::NoRoom { what: format!("it needs {wanted} {what} and takes {room}") });
            }
        }
        Ok(remedy)
    }
}

/// What was added, for people: `server omits Contoso Issuing CA 2: added; root Contoso Root CA: added`.
pub(super) fn remedy_text(remedy: &Remedy) -> String {
    let between = remedy.intermediates.iter().map(|c| format!("server omits {}: added", c.label()));
    let roots = remedy.anchors.iter().map(|c| format!("root {}: added", c.label()));
    let parts: Vec<String> = between.chain(roots).collect();
    if parts.is_empty() { "the phone trusts the server already".into() } else { parts.join("; ") }
}
