//! What a phone holds, proved and judged; nothing is changed.

use super::ProvisionError;
use super::planning::judge_in_use;
use super::trust::{ServerJudgement, ServerSeen};
use crate::credential::{Certificate, Refusal, SipAddress};
use crate::phone::{Authenticity, Driver, Identity, PhoneState};
use crate::service::{Enrolment, ServiceError, Survey};
use crate::world::World;
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
    /// Why the certificate in use is not one to leave there, judged for the user that the phone names.
    pub refusal: Option<Refusal>,
    /// What the phone makes of the pool's chain, where a pool was asked.
    pub server: Option<Result<ServerJudged, ServiceError>>,
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
    /// Every server, the Web Services first.
    pub servers: Vec<ServerJudgement>,
}

/// Looks at a phone, has it prove its key, and judges a pool through its eyes.
///
/// # Errors
/// Only what keeps it from looking: a proof that fails is a finding.
pub async fn check_up<D: Driver, E: Enrolment>(
    phone: &mut D,
    service: Option<&mut E>,
    world: &World,
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
    let user = state.identity.as_ref().and_then(|in_use| in_use.user.parse::<SipAddress>().ok());
    let refusal = certificate
        .as_ref()
        .zip(user)
        .and_then(|((certificate, _), user)| judge_in_use(certificate, &user, world.now()));
    let server = match service {
        None => None,
        Some(service) => Some(judge_server(phone, &state, service).await?),
    };
    // The phone has said all that it was asked; a lost farewell changes nothing of it.
    let _ = phone.leave(crate::phone::Parting::Leave).await;
    Ok(Checkup {
        identity: identified.identity,
        authenticity: identified.authenticity,
        state,
        certificate,
        refusal,
        server,
    })
}

/// A pool that cannot be looked at is a finding, not the end of the check-up.
async fn judge_server<D: Driver, E: Enrolment>(
    phone: &mut D,
    state: &PhoneState,
    service: &mut E,
) -> Result<Result<ServerJudged, ServiceError>, ProvisionError> {
    let survey = match service.survey().await {
        Ok(survey) => survey,
        Err(error) => return Ok(Err(error)),
    };
    let clock = state.clock.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let seen = ServerSeen::new(&survey.servers(), &survey.download, state, clock, phone).await?;
    let installed = state.identity.as_ref().map(|identity| identity.intermediates.as_slice());
    let installed = installed.unwrap_or_default();
    let (verdict, servers) = (seen.verdict_with(installed), seen.judgements_with(installed));
    Ok(Ok(ServerJudged { survey, verdict, servers }))
}
