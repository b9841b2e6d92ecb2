//! The way to a registration: ask, agree on keys, register, and go where the user's home is.

use super::Failure;
use super::association::{Association, negotiating};
use super::challenge::{Challenge, Offer, Place, Scheme};
use super::connection::{Connection, Server};
use super::course::{Course, Facts, Watch};
use super::endpoint::{Endpoint, Lasting};
use super::error::{RegistrarError, Stage};
use super::message::Message;
use super::name_address::NameAddress;
use super::negotiation::{Credential, Negotiation, NegotiationError, Step};
use super::registration::Registration;
use super::session::{Proof, Session};
use crate::credential::Certificate;
use crate::tls::Connector;
use crate::world::World;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

/// Messages of a handshake, each with its answer. TLS takes two, NTLM one.
const MOST_ROUNDS: usize = 8;

/// The port of SIP over TLS.
pub const PORT: u16 = 5061;

/// What a registration is made by.
#[derive(Debug)]
pub struct Client {
    connector: Arc<Connector>,
    pub(super) endpoint: Endpoint,
    credentials: Vec<Credential>,
    rules: Rules,
    world: World,
}

/// The limits of a registration.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long an answer may take.
    pub transaction: Duration,
    /// How often the user may be sent to another server.
    pub most_redirects: usize,
    /// Hosts outside of the user's SIP domain that a secret may go to.
    pub allowed_hosts: Vec<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { transaction: Duration::from_secs(60), most_redirects: 3, allowed_hosts: Vec::new() }
    }
}

/// How a sign-in at one server ended, if it did not fail.
pub(super) enum SignedIn {
    /// The user is registered here.
    Here,
    /// The user's home is elsewhere.
    Elsewhere(Server),
}

impl Client {
    /// For one user at one device. The credentials are tried in the order in which schemes are preferred, as far as they are
    /// offered; the next one where the registrar does not accept the one before.
    pub fn new(
        connector: Arc<Connector>,
        endpoint: Endpoint,
        mut credentials: Vec<Credential>,
        rules: Rules,
        world: World,
    ) -> Self {
        credentials.sort_by_key(|credential| Scheme::ALL.iter().position(|s| *s == credential.scheme()));
        Self { connector, endpoint, credentials, rules, world }
    }

    /// Registers at `server`, or wherever it leads to.
    pub async fn register(self: &Arc<Self>, server: &Server, watch: Watch<'_>) -> Result<Registration, Box<Failure>> {
        let mut course = Course::new(server, Facts::default(), watch);
        match self.walk(server, &mut course).await {
            Ok(session) => Ok(Registration::new(self.clone(), session, course)),
            Err(error) => Err(course.failed(error)),
        }
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.world.now()
    }

    pub(super) fn limit(&self) -> Duration {
        self.rules.transaction
    }

    async fn walk(&self, server: &Server, course: &mut Course<'_>) -> Result<Session, RegistrarError> {
        let mut hops = vec![server.clone()];
        loop {
            let server = hops.last().expect("there is a first one").clone();
            course.begin(Stage::Connect, &server);
            let connection = Connection::open(&self.connector, &server).await?;
            course.facts.outer = Some(connection.negotiated().clone());
            course.facts.chain = Some(connection.chain().clone());
            course.pass(format!("trusted, {}", connection.negotiated()));
            let mut session = Session::new(connection, server, self.world.clone(), self.rules.transaction);
            let next = match self.sign_in(&mut session, course).await? {
                SignedIn::Here => return Ok(session),
                SignedIn::Elsewhere(next) => next,
            };
            let again = hops.contains(&next);
            hops.push(next.clone());
            if again || hops.len() > self.rules.most_redirects + 1 {
                return Err(RegistrarError::TooManyRedirects { hops: hops.iter().map(ToString::to_string).collect() });
            }
            course.facts.redirects.push(next);
        }
    }

    /// Signs in on a connection, from the very beginning.
    pub(super) async fn sign_in(
        &self,
        session: &mut Session,
        course: &mut Course<'_>,
    ) -> Result<SignedIn, RegistrarError> {
        session.association = None;
        let stage = Stage::Ask;
        course.begin(stage, &session.server);
        let answer = session.register(&self.endpoint, Lasting::Usual, Proof::None, stage).await?;
        course.facts.hear(&answer, self.now());
        let offer = match answer.status().unwrap_or_default() {
            401 | 407 => read(session, &answer)?,
            300..=399 => return self.elsewhere(session, &answer, course),
            // Whoever says yes to nobody is no registrar of a pool.
            200..=299 => return session.verified(&answer, stage).map(|()| SignedIn::Here),
            _ => return Err(self.refused(session, &answer, stage)),
        };
        course.facts.offered = offer.challenges.iter().map(|it| it.scheme.to_string()).collect();
        course.facts.offered.extend(offer.unknown.iter().cloned());
        course.facts.sts_uri = offer.challenges.iter().find_map(|challenge| challenge.sts_uri.clone());
        let kind = match (&course.facts.kind, course.facts.product()) {
            (Some(kind), Some(product)) => format!("{kind} ({product}), "),
            (Some(kind), None) => format!("{kind}, "),
            (None, _) => String::new(),
        };
        let skew = course.facts.skew().map(|skew| format!("; {skew}")).unwrap_or_default();
        course.pass(format!("{kind}offers {}{skew}", offer.names()));

        let mut refused = None;
        for credential in &self.credentials {
            let Some(challenge) = offer.of(credential.scheme()) else { continue };
            match self.by(credential, challenge.clone(), session, course).await {
                // The next one may be accepted.
                Err(error @ (RegistrarError::NotAccepted { .. } | RegistrarError::HandshakeRefused { .. })) => {
                    refused = Some(error);
                }
                other => return other,
            }
        }
        let server = session.server.to_string();
        Err(refused.unwrap_or_else(|| RegistrarError::NotOffered {
            server,
            offered: offer.names(),
            wanted: self.credentials.first().map_or(Scheme::TlsDsk, Credential::scheme),
        }))
    }

    /// Signs in by one scheme.
    async fn by(
        &self,
        credential: &Credential,
        mut challenge: Challenge,
        session: &mut Session,
        course: &mut Course<'_>,
    ) -> Result<SignedIn, RegistrarError> {
        let server = session.server.to_string();
        let (scheme, version) = (challenge.scheme, challenge.version);
        if !matches!(version, 3 | 4) {
            return Err(RegistrarError::UnknownVersion { server, scheme, version });
        }
        if credential.is_secret() {
            self.may_receive(&session.server, &session.server.host)?;
        }
        session.association = None;
        (course.facts.scheme, course.facts.version) = (Some(scheme), Some(version));
        course.facts.targetname = Some(challenge.targetname.clone());
        course.begin(Stage::Handshake, &session.server);
        let failed = |source| RegistrarError::Negotiation { source };
        let mut negotiation = credential.answer(&challenge, &self.connector).map_err(failed)?;
        for _ in 0..MOST_ROUNDS {
            let (back, step) = step(negotiation, challenge.data.take()).await;
            negotiation = back;
            match step.map_err(failed)? {
                Step::Send(data) => self.exchange(&mut challenge, &data, session, course).await?,
                Step::Agreed { data, keys, inner } => {
                    let inside = inner.as_ref().map(|inner| format!("inside {inner}, ")).unwrap_or_default();
                    let method = keys.method();
                    course.facts.inner = inner;
                    course.facts.method = Some(method);
                    let association = Association::new(&challenge, keys, self.now(), ends(credential));
                    session.association = Some(association);
                    course.pass(format!("{scheme} version {version}: {inside}signatures by {method}"));
                    course.begin(Stage::Register, &session.server);
                    let proof = Proof::Completing(data.as_deref());
                    let answer = session.register(&self.endpoint, Lasting::Usual, proof, Stage::Register).await?;
                    return self.concluded(session, &answer, course, Stage::Register);
                }
            }
        }
        Err(session.nonsense(Stage::Handshake, "the handshake comes to no end"))
    }

    /// One message of a handshake and its answer, which becomes the challenge of the next.
    async fn exchange(
        &self,
        challenge: &mut Challenge,
        data: &[u8],
        session: &mut Session,
        course: &mut Course<'_>,
    ) -> Result<(), RegistrarError> {
        let stage = Stage::Handshake;
        let proof = Proof::Handshake(challenge.place, negotiating(challenge, data));
        let answer = session.register(&self.endpoint, Lasting::Usual, proof, stage).await?;
        course.facts.hear(&answer, self.now());
        match answer.status().and_then(Place::of_status) {
            // That it is a 401 says nothing of success.
            Some(_) => {
                let offer = read(session, &answer)?;
                match offer.of(challenge.scheme).filter(|next| next.data.is_some()) {
                    Some(next) => {
                        challenge.opaque = next.opaque.clone().or(challenge.opaque.take());
                        challenge.data.clone_from(&next.data);
                        Ok(())
                    }
                    None => {
                        let (server, refusal) = (session.server.to_string(), session.refusal(&answer, stage)?);
                        Err(match challenge.scheme {
                            Scheme::TlsDsk => RegistrarError::HandshakeRefused { server, refusal },
                            scheme @ (Scheme::Ntlm | Scheme::Kerberos) => {
                                RegistrarError::NotAccepted { server, scheme, refusal }
                            }
                        })
                    }
                }
            }
            None => match answer.status().unwrap_or_default() {
                200..=299 => session.verified(&answer, stage),
                300..=399 => Err(session.nonsense(stage, "it sends elsewhere before anybody has proved who it is")),
                _ => Err(self.refused(session, &answer, stage)),
            },
        }
    }

    /// What the answer to a signed REGISTER means.
    pub(super) fn concluded(
        &self,
        session: &mut Session,
        answer: &Message,
        course: &mut Course<'_>,
        stage: Stage,
    ) -> Result<SignedIn, RegistrarError> {
        course.facts.hear(answer, self.now());
        match answer.status().unwrap_or_default() {
            200..=299 => {
                session.verified(answer, stage)?;
                self.registered(session, answer, course, stage)?;
                Ok(SignedIn::Here)
            }
            300..=399 => {
                session.verified(answer, stage)?;
                self.elsewhere(session, answer, course)
            }
            401 | 407 => {
                let (server, refusal) = (session.server.to_string(), session.refusal(answer, stage)?);
                let scheme = course.facts.scheme.unwrap_or(Scheme::TlsDsk);
                Err(RegistrarError::NotAccepted { server, scheme, refusal })
            }
            _ => Err(self.refused(session, answer, stage)),
        }
    }

    /// What a verified 200 says.
    fn registered(
        &self,
        session: &mut Session,
        answer: &Message,
        course: &mut Course<'_>,
        stage: Stage,
    ) -> Result<(), RegistrarError> {
        // What stands behind `expires=` of a contact is not signed; clients of the era ignore an answer without this header.
        let expires =
            answer.header("Expires").and_then(|value| value.parse().ok()).filter(|seconds: &u32| *seconds > 0);
        let Some(expires) = expires else {
            return Err(session.nonsense(stage, "it does not say by Expires how long the registration lasts"));
        };
        let gruu = self.endpoint.gruu_in(answer);
        course.facts.gruu_fits = gruu.as_ref().map(|gruu| *gruu == self.endpoint.gruu());
        course.facts.gruu = gruu;
        course.facts.expires = Some(Duration::from_secs(u64::from(expires)));
        // The server's signature may have shown another hash than the cipher did.
        course.facts.method = session.association.as_ref().map(Association::method).or(course.facts.method);
        let mut said = format!("registered for {expires} s, the answer's signature is right");
        if course.facts.gruu_fits == Some(false) {
            said.push_str("; its GRUU is not that of the device");
        }
        course.pass(said);
        Ok(())
    }

    /// Where an answer sends to.
    fn elsewhere(
        &self,
        session: &Session,
        answer: &Message,
        course: &mut Course<'_>,
    ) -> Result<SignedIn, RegistrarError> {
        let contacts: Vec<NameAddress> = answer.headers.all("Contact").flat_map(NameAddress::read_all).collect();
        let here = &session.server;
        let Some(next) = contacts.iter().find_map(|contact| target(&contact.uri, here)) else {
            let said = answer.header("Contact").unwrap_or("nothing").chars().take(120).collect();
            return Err(RegistrarError::BadRedirect { server: here.to_string(), said });
        };
        if self.credentials.iter().any(Credential::is_secret) {
            self.may_receive(here, &next.host)?;
        }
        course.pass(format!("sends to {next}, the home of {}", self.endpoint.user));
        Ok(SignedIn::Elsewhere(next))
    }

    /// A secret goes to the first server, which a person named; else only into the user's domain, and to hosts that are allowed.
    fn may_receive(&self, from: &Server, host: &str) -> Result<(), RegistrarError> {
        let domain = self.endpoint.user.domain();
        let host = host.to_ascii_lowercase();
        let in_domain = host == domain || host.strip_suffix(domain).is_some_and(|front| front.ends_with('.'));
        let named = from.host.eq_ignore_ascii_case(&host);
        if in_domain || named || self.rules.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host)) {
            return Ok(());
        }
        let (server, domain) = (from.to_string(), domain.to_owned());
        Err(RegistrarError::HostNotAllowed { server, to: host, domain })
    }

    pub(super) fn refused(&self, session: &mut Session, answer: &Message, stage: Stage) -> RegistrarError {
        let server = session.server.to_string();
        session.refusal(answer, stage).map_or_else(|error| error, |refusal| RegistrarError::Refused { server, refusal })
    }
}

/// A step of a negotiation, off the async threads: a key may be behind a cable, and a person before it.
async fn step(
    mut negotiation: Box<dyn Negotiation>,
    data: Option<Vec<u8>>,
) -> (Box<dyn Negotiation>, Result<Step, NegotiationError>) {
    let stepping = tokio::task::spawn_blocking(move || {
        let step = negotiation.step(data.as_deref());
        (negotiation, step)
    });
    stepping.await.expect("a negotiation does not panic")
}

fn read(session: &Session, answer: &Message) -> Result<Offer, RegistrarError> {
    Offer::read(answer).map_err(|source| RegistrarError::BadChallenge { server: session.server.to_string(), source })
}

/// When what a sign-in is made with ends.
fn ends(credential: &Credential) -> Option<OffsetDateTime> {
    match credential {
        Credential::Certificate(identity) => Certificate::from_der(&identity.certificate).ok().map(|it| it.not_after()),
        Credential::Password(_) => None,
    }
}

/// The server of `sip:fe02.contoso.example:5061;transport=tls`. An address without a name is another server of the same name:
/// its certificate has to be for that.
fn target(uri: &str, here: &Server) -> Option<Server> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") && !scheme.eq_ignore_ascii_case("sips") {
        return None;
    }
    let (place, parameters) = rest.split_once([';', '?']).unwrap_or((rest, ""));
    let transport = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("transport").then_some(value)
    });
    if transport.is_some_and(|transport| !transport.eq_ignore_ascii_case("tls")) {
        return None;
    }
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => PORT,
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Server { host: here.host.clone(), port, at: Some((address, port).into()) });
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let whole = !host.is_empty() && host.len() <= 253 && host.chars().all(plain);
    whole.then(|| Server { host: host.to_ascii_lowercase(), port, at: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn here() -> Server {
        Server { host: "pool.contoso.example".into(), port: 5061, at: None }
    }

    #[test]
    fn a_redirect_names_a_server_or_an_address_of_the_same_name() {
        let to = |uri| target(uri, &here()).map(|server| server.to_string());
        assert_eq!(to("sip:FE02.contoso.example:5061;transport=tls").as_deref(), Some("fe02.contoso.example:5061"));
        assert_eq!(to("sip:fe02.contoso.example").as_deref(), Some("fe02.contoso.example:5061"));
        assert_eq!(to("sip:ken@fe02.contoso.example:443;lr").as_deref(), Some("fe02.contoso.example:443"));
        assert_eq!(
            to("sip:192.0.2.7:5071;transport=TLS").as_deref(),
            Some("pool.contoso.example:5071 at 192.0.2.7:5071")
        );
        assert_eq!(to("sip:[2001:db8::7]").as_deref(), Some("pool.contoso.example:5061 at [2001:db8::7]:5061"));
        for bad in
            ["sip:fe02:5060;transport=tcp", "tel:+1", "sip:", "sip:fe 02", "sip:fe02:0", "sip:fe02:99999", "fe02"]
        {
            assert_eq!(to(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_contact_is_read_or_refused(uri in "\\PC{0,40}", like in "sip:[a-z@\\[\\]:;=0-9.]{0,30}") {
            let _ = target(&uri, &here());
            let _ = target(&like, &here());
        }
    }
}
