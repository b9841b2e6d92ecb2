//! The service, recorded and replayed at the [`Enrolment`] trait: what it was asked and what it answered. Secrets and
//! tickets never get here.

use super::job::way_name;
use super::person::sign_in_value;
use crate::credential::{Certificate, KeyKind, SipAddress};
use crate::service::ocauth::{Diagnosis, ErrorClass, Meaning, Route, ServiceError, Step, WebTicket};
use crate::service::server_trust::{Bag, Compared, Download, Met, RootChains, ServerFound};
use crate::service::{
    EndorsementAlgorithm, EndorsementTerms, Enrolment, Publication, Published, SignIn, SignInWay, Survey, Ticket,
};
use crate::tape::{Difference, Kind, Tape, Value};
use crate::tls::{Distrust, ServerChain, TlsError};
use std::io;
use std::sync::Arc;
use time::OffsetDateTime;

/// A service whose answers are noted, or one that answers from a tape.
pub struct Recorded<'a, E> {
    service: Option<&'a mut E>,
    tape: Tape,
    kinds: Vec<KeyKind>,
    clock_offset: Option<i64>,
}

/// The service of a tape that plays: there is none behind it.
pub enum NoService {}

impl<'a, E: Enrolment> Recorded<'a, E> {
    /// Notes what `service` is asked and answers.
    pub fn new(service: &'a mut E, tape: &Tape) -> Self {
        let kinds = service.key_kinds().to_vec();
        let clock_offset = service.clock_offset_seconds();
        Self { service: Some(service), tape: tape.clone(), kinds, clock_offset }
    }

    /// Asks: of the service where there is one, and always of the tape.
    async fn call<T>(
        &mut self,
        asked: Value,
        call: impl AsyncFnOnce(&mut E) -> Result<T, ServiceError>,
        write: impl FnOnce(&T) -> Value,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, ServiceError> {
        self.tape.ask(Kind::ServiceAsked, asked).map_err(|difference| differs(&difference))?;
        let Some(service) = &mut self.service else { return self.taped_answer(read) };
        let answer = call(service).await;
        self.clock_offset = service.clock_offset_seconds();
        let (kind, said) = match &answer {
            Ok(answer) => (Kind::ServiceAnswered, write(answer)),
            Err(error) => (Kind::ServiceFailed, error_value(error)),
        };
        let kinds = self.kinds.iter().map(Value::text).collect();
        let offset = self.clock_offset.map_or(Value::Null, |seconds| Value::Int(seconds.into()));
        let about = Value::map([("clock_ahead_seconds", offset), ("key_kinds", Value::Array(kinds)), ("said", said)]);
        self.tape.note(kind, about);
        answer
    }

    fn taped_answer<T>(&mut self, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, ServiceError> {
        let entry = self.tape.answer(&[Kind::ServiceAnswered, Kind::ServiceFailed]);
        let entry = entry.map_err(|difference| differs(&difference))?;
        self.clock_offset = entry.value.get("clock_ahead_seconds").and_then(Value::as_number);
        let kinds = entry.value.get("key_kinds").and_then(Value::as_list).unwrap_or_default().iter();
        self.kinds = kinds.filter_map(|kind| kind_named(kind.as_text()?)).collect();
        let said = entry.value.get("said").unwrap_or(&Value::Null);
        match entry.kind {
            Kind::ServiceFailed => Err(error_from(said).unwrap_or_else(|| differs(&self.tape.nonsense(&entry)))),
            _ => read(said).ok_or_else(|| differs(&self.tape.nonsense(&entry))),
        }
    }
}

impl Recorded<'_, NoService> {
    /// The service of a tape that plays.
    pub fn played(tape: &Tape) -> Self {
        Self { service: None, tape: tape.clone(), kinds: Vec::new(), clock_offset: None }
    }
}

impl<E: Enrolment> Enrolment for Recorded<'_, E> {
    fn key_kinds(&self) -> &[KeyKind] {
        &self.kinds
    }

    async fn survey(&mut self) -> Result<Survey, ServiceError> {
        let asked = Value::Array(vec![Value::text("survey")]);
        self.call(asked, async |service| service.survey().await, survey_value, survey_from).await
    }

    async fn sign_in_host(&mut self, user: &SipAddress, way: SignInWay) -> Result<String, ServiceError> {
        let asked =
            Value::Array(vec![Value::text("host to sign in at"), Value::text(user), Value::text(way_name(way))]);
        let read = |said: &Value| said.as_text().map(str::to_owned);
        self.call(asked, async |service| service.sign_in_host(user, way).await, |host| Value::text(host), read).await
    }

    fn clock_offset_seconds(&self) -> Option<i64> {
        self.clock_offset
    }

    async fn endorsement_terms(&mut self, user: &SipAddress) -> Result<EndorsementTerms, ServiceError> {
        let asked = Value::Array(vec![Value::text("terms to endorse"), Value::text(user)]);
        let tape = self.tape.clone();
        let write = |terms: &EndorsementTerms| {
            // The phone's signature under these terms is as good as a password until they end.
            tape.hold_back_until(terms.expires);
            terms_value(terms)
        };
        self.call(asked, async |service| service.endorsement_terms(user).await, write, terms_from).await
    }

    async fn sign_in(&mut self, user: &SipAddress, with: &SignIn) -> Result<Ticket, ServiceError> {
        let asked = Value::Array(vec![Value::text("sign in"), Value::text(user), sign_in_value(with)]);
        let write = |ticket: &Ticket| {
            Value::map([
                ("user", Value::text(ticket.user())),
                ("expires", Value::Int(ticket.expires().unix_timestamp().into())),
            ])
        };
        let read = |said: &Value| {
            Some(Ticket {
                user: said.get("user")?.as_text()?.parse().ok()?,
                expires: moment(said.get("expires")?)?,
                ocauth: WebTicket::of_a_recording(),
            })
        };
        self.call(asked, async |service| service.sign_in(user, with).await, write, read).await
    }

    fn leave_server(&mut self) {
        let left = self.tape.ask(Kind::ServiceAsked, Value::Array(vec![Value::text("leave the server")]));
        if let (Ok(()), Some(service)) = (left, &mut self.service) {
            service.leave_server();
        }
    }

    async fn publish(&mut self, ticket: &Ticket, publication: &Publication) -> Result<Published, ServiceError> {
        let asked = Value::map([
            ("user", Value::text(&publication.user)),
            ("device", Value::text(publication.device)),
            ("signing_request", Value::bytes(&publication.signing_request)),
            ("request_id", Value::text(publication.request_id)),
        ]);
        let asked = Value::Array(vec![Value::text("publish"), asked]);
        let write = |published: &Published| {
            Value::map([
                ("certificate", Value::bytes(&published.certificate)),
                ("accompanying", ders(&published.accompanying)),
                ("server", Value::maybe(published.server.as_ref())),
            ])
        };
        let read = |said: &Value| {
            Some(Published {
                certificate: said.get("certificate")?.as_bytes()?.to_vec(),
                accompanying: ders_from(said.get("accompanying")?)?,
                server: text(said, "server"),
            })
        };
        self.call(asked, async |service| service.publish(ticket, publication).await, write, read).await
    }
}

/// Never called: there is no value of this type.
impl Enrolment for NoService {
    fn key_kinds(&self) -> &[KeyKind] {
        match *self {}
    }

    async fn survey(&mut self) -> Result<Survey, ServiceError> {
        match *self {}
    }

    async fn sign_in_host(&mut self, _: &SipAddress, _: SignInWay) -> Result<String, ServiceError> {
        match *self {}
    }

    fn clock_offset_seconds(&self) -> Option<i64> {
        match *self {}
    }

    async fn endorsement_terms(&mut self, _: &SipAddress) -> Result<EndorsementTerms, ServiceError> {
        match *self {}
    }

    async fn sign_in(&mut self, _: &SipAddress, _: &SignIn) -> Result<Ticket, ServiceError> {
        match *self {}
    }

    fn leave_server(&mut self) {
        match *self {}
    }

    async fn publish(&mut self, _: &Ticket, _: &Publication) -> Result<Published, ServiceError> {
        match *self {}
    }
}

fn differs(difference: &Difference) -> ServiceError {
    ServiceError::Recorded {
        message: format!("the recording differs: {difference}"),
        next_step: "see what was changed".into(),
        class: ErrorClass::Failed,
    }
}

fn kind_named(name: &str) -> Option<KeyKind> {
    [KeyKind::Rsa2048, KeyKind::Rsa3072, KeyKind::P256].into_iter().find(|kind| kind.to_string() == name)
}

fn moment(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(value.as_number()?).ok()
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_text).map(str::to_owned)
}

fn ders(ders: &[Vec<u8>]) -> Value {
    Value::Array(ders.iter().map(Value::bytes).collect())
}

fn ders_from(value: &Value) -> Option<Vec<Vec<u8>>> {
    value.as_list()?.iter().map(|der| der.as_bytes().map(<[u8]>::to_vec)).collect()
}

fn terms_value(terms: &EndorsementTerms) -> Value {
    let algorithm = match terms.algorithm {
        EndorsementAlgorithm::RsaSha1 => "rsa-sha1",
        EndorsementAlgorithm::RsaSha256 => "rsa-sha256",
    };
    Value::map([
        ("created", Value::Int(terms.created.unix_timestamp().into())),
        ("expires", Value::Int(terms.expires.unix_timestamp().into())),
        ("algorithm", Value::text(algorithm)),
    ])
}

fn terms_from(value: &Value) -> Option<EndorsementTerms> {
    let algorithm = match value.get("algorithm")?.as_text()? {
        "rsa-sha1" => EndorsementAlgorithm::RsaSha1,
        "rsa-sha256" => EndorsementAlgorithm::RsaSha256,
        _ => return None,
    };
    Some(EndorsementTerms {
        created: moment(value.get("created")?)?,
        expires: moment(value.get("expires")?)?,
        algorithm,
    })
}

fn survey_value(survey: &Survey) -> Value {
    Value::map([
        ("host", Value::text(&survey.host)),
        ("port", Value::Int(survey.port.into())),
        ("presented", ders(&survey.presented)),
        ("completed", ders(&survey.completed)),
        ("clock_ahead_seconds", survey.clock_offset_seconds.map_or(Value::Null, |it| Value::Int(it.into()))),
        ("sign_in_ports", Value::Array(survey.sign_in_ports.iter().map(Value::text).collect())),
        ("also", Value::Array(survey.also.iter().map(server_value).collect())),
        ("download", download_value(&survey.download)),
        ("named_root", compared_value(&survey.named_root)),
    ])
}

fn survey_from(value: &Value) -> Option<Survey> {
    let ports = value.get("sign_in_ports")?.as_list()?.iter();
    let also = value.get("also")?.as_list()?.iter();
    Some(Survey {
        host: text(value, "host")?,
        port: value.get("port")?.as_number()?,
        presented: ders_from(value.get("presented")?)?,
        completed: ders_from(value.get("completed")?)?,
        clock_offset_seconds: value.get("clock_ahead_seconds").and_then(Value::as_number),
        sign_in_ports: ports.map(|port| port.as_text().map(str::to_owned)).collect::<Option<_>>()?,
        also: also.map(server_from).collect::<Option<_>>()?,
        download: download_from(value.get("download")),
        named_root: compared_from(value.get("named_root")),
    })
}

/// A server that was asked for its chain. Why it was not trusted or not reached is kept in words.
fn server_value(server: &ServerFound) -> Value {
    let met = match &server.met {
        Met::Trusted(chain) => {
            Value::map([("presented", ders(&chain.presented)), ("completed", ders(&chain.completed))])
        }
        Met::Distrusted { presented, reason } => {
            Value::map([("presented", ders(presented)), ("distrusted", Value::text(reason))])
        }
        Met::Unreachable(error) => Value::map([("unreachable", Value::text(error))]),
    };
    Value::map([("host", Value::text(&server.host)), ("port", Value::Int(server.port.into())), ("met", met)])
}

fn server_from(value: &Value) -> Option<ServerFound> {
    let (host, port, met) = (text(value, "host")?, value.get("port")?.as_number()?, value.get("met")?);
    let presented = || met.get("presented").and_then(ders_from);
    let met = match (text(met, "unreachable"), text(met, "distrusted")) {
        (Some(how), _) => {
            let source = io::Error::other(how);
            Met::Unreachable(Arc::new(TlsError::Unreachable { host: host.clone(), port, source }))
        }
        (None, Some(_)) => Met::Distrusted { presented: presented()?, reason: Distrust::Unfit },
        (None, None) => {
            Met::Trusted(ServerChain { presented: presented()?, completed: ders_from(met.get("completed")?)? })
        }
    };
    Some(ServerFound { host, port, met, negotiated: None })
}

/// A download that failed is to a job what one is that was not asked for.
fn download_value(download: &Download) -> Value {
    let Some(chains) = download.got() else { return Value::Null };
    let certificates = |list: &[Certificate]| Value::Array(list.iter().map(|it| Value::bytes(it.der())).collect());
    Value::map([
        ("url", Value::text(&chains.url)),
        ("roots", certificates(&chains.bag.roots)),
        ("intermediates", certificates(&chains.bag.intermediates)),
        ("ignored", Value::Array(chains.bag.ignored.iter().map(Value::text).collect())),
        ("https", compared_value(&chains.https)),
        ("thumbprint", compared_value(&chains.thumbprint)),
    ])
}

fn download_from(value: Option<&Value>) -> Download {
    let read = |value: &Value| {
        let list = |key| -> Option<Vec<Certificate>> {
            ders_from(value.get(key)?)?.iter().map(|der| Certificate::from_der(der).ok()).collect()
        };
        let ignored = value.get("ignored")?.as_list()?.iter().filter_map(|it| it.as_text().map(str::to_owned));
        Some(RootChains {
            url: text(value, "url")?,
            bag: Bag { roots: list("roots")?, intermediates: list("intermediates")?, ignored: ignored.collect() },
            https: compared_from(value.get("https")),
            thumbprint: compared_from(value.get("thumbprint")),
        })
    };
    value.and_then(read).map_or(Download::NotAsked, |chains| Download::Got(Box::new(chains)))
}

fn compared_value(compared: &Compared) -> Value {
    match compared {
        Compared::Agrees { root, sure } => {
            Value::map([("agrees", Value::bytes(root.der())), ("sure", Value::Bool(*sure))])
        }
        Compared::Differs { how } => Value::map([("differs", Value::text(how))]),
        Compared::Nothing => Value::Null,
    }
}

fn compared_from(value: Option<&Value>) -> Compared {
    let Some(value) = value else { return Compared::Nothing };
    let root = value.get("agrees").and_then(Value::as_bytes).and_then(|der| Certificate::from_der(der).ok());
    match (root, text(value, "differs")) {
        (Some(root), _) => {
            let sure = value.get("sure").and_then(Value::as_bool).unwrap_or(false);
            Compared::Agrees { root: Box::new(root), sure }
        }
        (None, Some(how)) => Compared::Differs { how },
        (None, None) => Compared::Nothing,
    }
}

const STEPS: [(Step, &str); 3] =
    [(Step::Metadata, "metadata"), (Step::Ticket, "web ticket"), (Step::Publish, "publishing")];
const CLASSES: [(ErrorClass, &str); 5] = [
    (ErrorClass::Failed, "failed"),
    (ErrorClass::Unknown, "unknown"),
    (ErrorClass::Policy, "policy"),
    (ErrorClass::Temporary, "temporary"),
    (ErrorClass::NeedsPerson, "needs a person"),
];
const ROUTES: [(Route, &str); 4] =
    [(Route::Header, "header"), (Route::Fault, "fault"), (Route::ErrorInfo, "error info"), (Route::Status, "status")];
const MEANINGS: [(Meaning, &str); 12] = [
    (Meaning::NotSipEnabled, "not sip enabled"),
    (Meaning::InternalWindowsAuth, "internal windows auth"),
    (Meaning::TicketInvalid, "ticket invalid"),
    (Meaning::OauthInvalid, "oauth invalid"),
    (Meaning::OtherSipAddress, "other sip address"),
    (Meaning::PinWrong, "pin wrong"),
    (Meaning::PinLocked, "pin locked"),
    (Meaning::RequestMalformed, "request malformed"),
    (Meaning::KeySize, "key size"),
    (Meaning::EntityMismatch, "entity mismatch"),
    (Meaning::StoreUnavailable, "store unavailable"),
    (Meaning::Unknown, "unknown"),
];

fn named<T: Copy + PartialEq, const N: usize>(of: T, names: &[(T, &'static str); N]) -> Value {
    Value::maybe(names.iter().find(|(known, _)| *known == of).map(|(_, name)| *name))
}

fn by_name<T: Copy, const N: usize>(value: Option<&Value>, names: &[(T, &'static str); N]) -> Option<T> {
    let name = value?.as_text()?;
    names.iter().find(|(_, known)| *known == name).map(|(found, _)| *found)
}

fn diagnosis_value(diagnosis: &Diagnosis) -> Value {
    Value::map([
        ("number", diagnosis.number.map_or(Value::Null, |number| Value::Int(number.into()))),
        ("reason", Value::text(&diagnosis.reason)),
        ("server", Value::maybe(diagnosis.server.as_ref())),
        ("route", named(diagnosis.route, &ROUTES)),
        ("status", Value::Int(diagnosis.status.into())),
        ("fault_code", Value::maybe(diagnosis.fault_code.as_ref())),
        ("user", Value::maybe(diagnosis.user.as_ref())),
        ("meaning", named(diagnosis.meaning(), &MEANINGS)),
    ])
}

fn diagnosis_from(value: &Value) -> Option<Box<Diagnosis>> {
    Some(Box::new(Diagnosis {
        number: value.get("number").and_then(Value::as_number),
        reason: text(value, "reason")?,
        server: text(value, "server"),
        route: by_name(value.get("route"), &ROUTES)?,
        status: value.get("status")?.as_number()?,
        fault_code: text(value, "fault_code"),
        correlation: Vec::new(),
        user: text(value, "user").and_then(|user| user.parse().ok()),
        meaning: by_name(value.get("meaning"), &MEANINGS)?,
    }))
}

/// What a job tells apart comes back as what it was; of the rest its words, its class and its next step do.
fn error_value(error: &ServiceError) -> Value {
    match error {
        ServiceError::Refused { step, diagnosis } => {
            Value::map([("refused", named(*step, &STEPS)), ("diagnosis", diagnosis_value(diagnosis))])
        }
        ServiceError::TicketRefused { diagnosis } => {
            Value::map([("ticket refused", diagnosis.as_deref().map_or(Value::Bool(true), diagnosis_value))])
        }
        ServiceError::OutcomeUnknown { host, source } => {
            Value::map([("outcome unknown", Value::text(host)), ("because", error_value(source))])
        }
        ServiceError::UnfitCertificate { host, problem } => {
            Value::map([("unfit certificate", Value::text(host)), ("problem", Value::text(problem))])
        }
        other => Value::map([
            ("message", Value::text(crate::provision::full_text(other))),
            ("class", named(other.class(), &CLASSES)),
            ("next_step", Value::text(other.next_step())),
        ]),
    }
}

fn error_from(value: &Value) -> Option<ServiceError> {
    let step = by_name(value.get("refused"), &STEPS);
    if let (Some(step), Some(diagnosis)) = (step, value.get("diagnosis").and_then(diagnosis_from)) {
        return Some(ServiceError::Refused { step, diagnosis });
    }
    if let Some(diagnosis) = value.get("ticket refused") {
        return Some(ServiceError::TicketRefused { diagnosis: diagnosis_from(diagnosis) });
    }
    if let Some(host) = text(value, "outcome unknown") {
        let source = Box::new(error_from(value.get("because")?)?);
        return Some(ServiceError::OutcomeUnknown { host, source });
    }
    if let Some(host) = text(value, "unfit certificate") {
        return Some(ServiceError::UnfitCertificate { host, problem: text(value, "problem")? });
    }
    Some(ServiceError::Recorded {
        message: text(value, "message")?,
        next_step: text(value, "next_step")?,
        class: by_name(value.get("class"), &CLASSES)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_tells_apart_comes_back_as_what_it_was() {
        let diagnosis = || {
            Box::new(Diagnosis {
                number: Some(99006),
                reason: "the store is unavailable".into(),
                server: Some("fe01.contoso.example".into()),
                route: Route::Header,
                status: 500,
                fault_code: None,
                correlation: Vec::new(),
                user: Some("alice@contoso.example".parse().unwrap()),
                meaning: Meaning::StoreUnavailable,
            })
        };
        let recorded = || ServiceError::Recorded {
            message: "lost".into(),
            next_step: "repeat".into(),
            class: ErrorClass::Temporary,
        };
        let host = || "web.contoso.example".to_owned();
        for error in [
            ServiceError::Refused { step: Step::Publish, diagnosis: diagnosis() },
            ServiceError::TicketRefused { diagnosis: None },
            ServiceError::TicketRefused { diagnosis: Some(diagnosis()) },
            ServiceError::OutcomeUnknown { host: host(), source: Box::new(recorded()) },
            ServiceError::UnfitCertificate { host: host(), problem: "another key".into() },
            recorded(),
        ] {
            let again = error_from(&error_value(&error)).unwrap();
            assert_eq!(format!("{again:?}"), format!("{error:?}"));
        }
        let lost = ServiceError::TimedOut { host: host(), step: Step::Ticket, seconds: 30 };
        let again = error_from(&error_value(&lost)).unwrap();
        assert_eq!((again.class(), again.to_string()), (lost.class(), lost.to_string()));
    }
}
