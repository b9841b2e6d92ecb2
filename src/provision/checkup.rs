//! What a phone holds, proved and judged; nothing is changed.

use super::ProvisionError;
use super::trust::ServerSeen;
use crate::credential::Certificate;
use crate::phone::{Authenticity, Driver, Identity, PhoneState};
use crate::service::{Enrolment, Survey};
use std::time::Duration;
use time::OffsetDateTime;

/// A phone that was looked at.
#[derive(Debug)]
pub struct Checkup {
    /// Who it says it is.
    pub identity: Identity,
    /// What vouches for it.
    pub authenticity: Authenticity,
    /// What it holds.
    pub state: PhoneState,
    /// The certificate in use, and whether the phone proved that it holds its key.
    pub certificate: Option<(Certificate, Proof)>,
    /// What the phone makes of the pool's chain, where a pool was asked.
    pub server: Option<ServerJudged>,
}

/// Whether a phone proved that it holds the key of its certificate.
#[derive(Debug)]
pub enum Proof {
    /// It did.
    Given,
    /// It did not.
    Failed(crate::phone::PhoneError),
}

/// What a phone makes of a pool.
#[derive(Debug)]
pub struct ServerJudged {
    /// The pool as it was found.
    pub survey: Survey,
    /// The verdict, with the intermediates that the phone holds.
    pub verdict: crate::credential::Verdict,
}

/// Looks at a phone, has it prove its key, and judges a pool through its eyes.
///
/// # Errors
/// Only what keeps it from looking: a proof that fails is a finding.
pub async fn check_up<D: Driver, E: Enrolment>(
    phone: &mut D,
    service: Option<&mut E>,
) -> Result<Checkup, ProvisionError> {
    let identified = phone.identify().await?;
    let state = phone.look(Duration::ZERO).await?;
    let certificate = match &state.identity {
        None => None,
        Some(in_use) => {
            let certificate = phone.read_certificate(in_use.fingerprint).await?;
            let proof = match phone.prove(&certificate).await {
                Ok(_) => Proof::Given,
                Err(error) if error.ends_session() => return Err(error.into()),
                Err(error) => Proof::Failed(error),
            };
            Some((certificate, proof))
        }
    };
    let server = match service {
        None => None,
        Some(service) => {
            let survey = service.survey().await?;
            let clock = state.clock.unwrap_or(OffsetDateTime::UNIX_EPOCH);
            let seen = ServerSeen::new(&survey, &state, clock, phone).await?;
            let installed = state.identity.as_ref().map(|identity| identity.intermediates.as_slice());
            let verdict = seen.verdict_with(installed.unwrap_or_default());
            Some(ServerJudged { survey, verdict })
        }
    };
    // The phone has said all that it was asked; a lost farewell changes nothing of it.
    let _ = phone.leave(crate::phone::Parting::Leave).await;
    Ok(Checkup { identity: identified.identity, authenticity: identified.authenticity, state, certificate, server })
}
