//! What a phone holds, proved and judged, and where it is asked for signed in with; nothing is changed.

use super::planning::judge_in_use;
use super::rehearsal::{Rehearsal, Rehearsed, Rehearser, rehearse};
use super::trust::{ServerJudgement, ServerSeen};
use super::{ProvisionError, Stop};
use crate::credential::{Certificate, Refusal, SipAddress};
use crate::phone::{Authenticity, Consent, ConsentWanted, Driver, Identity, PhoneState};
use crate::service::{Enrolment, ServiceError, Survey};
use crate::world::World;
use secrecy::SecretString;
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
    /// How the rehearsal of the sign-in went, where one was asked for.
    pub rehearsed: Option<Rehearsed>,
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

/// A sign-in that is to be rehearsed.
pub struct SignInAsked<'a> {
    /// Where.
    pub rehearsal: Rehearsal,
    /// For phones that want it.
    pub administrator_code: Option<SecretString>,
    /// Hears what is waited for.
    pub tell: &'a mut (dyn FnMut(&str) + Send),
    /// Ends it.
    pub stop: Stop,
}

/// Looks at a phone, has it prove its key, and judges a pool through its eyes.
///
/// # Errors
/// Only what keeps it from looking: a proof that fails is a finding.
pub async fn check_up<D: Driver, E: Enrolment>(
    phone: &mut D,
    service: Option<&mut E>,
    sign_in: Option<SignInAsked<'_>>,
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
    let rehearsed = match sign_in {
        None => None,
        Some(asked) => Some(rehearse_with(phone, &identified.identity, &state, certificate.as_ref(), asked).await),
    };
    // The phone has said all that it was asked; a lost farewell changes nothing of it.
    let _ = phone.leave(crate::phone::Parting::Leave).await;
    Ok(Checkup {
        identity: identified.identity,
        authenticity: identified.authenticity,
        state,
        certificate,
        refusal,
        rehearsed,
        server,
    })
}

async fn rehearse_with<D: Driver>(
    phone: &mut D,
    identity: &Identity,
    state: &PhoneState,
    certificate: Option<&(Certificate, Proof)>,
    asked: SignInAsked<'_>,
) -> Rehearsed {
    let user = state.identity.as_ref().and_then(|in_use| in_use.user.parse::<SipAddress>().ok());
    let (Some((certificate, Proof::Given)), Some(user)) = (certificate, user) else {
        let next = "give the phone an identity that it can prove: tethercert provision --user …";
        return Rehearsed::not_tried("the phone has no identity that it has proved", next);
    };
    let consent = match (identity.consent, asked.administrator_code) {
        (ConsentWanted::Nothing, _) => Consent::NotWanted,
        (ConsentWanted::KeyPress, _) => Consent::KeyPress,
        (ConsentWanted::AdministratorCode, Some(code)) => Consent::Code(code),
        (ConsentWanted::AdministratorCode, None) => {
            let why = "the phone wants its administrator code before it signs, and none is given";
            return Rehearsed::not_tried(why, "give --admin-code-file");
        }
    };
    let registrar = state.settings.as_ref().and_then(|settings| settings.registrar.as_deref());
    let who = Rehearser { user: &user, identity, certificate, registrar, consent: &consent };
    rehearse(&asked.rehearsal, &who, phone, asked.tell, &asked.stop).await
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
