//! The client against the lab's registrar, over real TLS: in good weather, and in each of its deviations.

use super::challenge::Scheme;
use super::*;
use crate::credential::SipAddress;
use crate::lab::web_services::LabTls;
use crate::lab::{Lab, LabOptions};
use crate::service::ErrorClass;
use crate::tls::tunnel::{ClientIdentity, ClientKey, TunnelError};
use crate::tls::{Connector, Distrust, Engine, TlsError, Trust};
use crate::world::World;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;
use zeroize::Zeroizing;

/// A lab without phones, and who signs in there.
struct Bench {
    lab: Lab,
    connector: Arc<Connector>,
    identity: ClientIdentity,
    user: SipAddress,
    rules: Rules,
}

impl Bench {
    async fn with(faults: &[&str]) -> Self {
        Self::speaking(LabTls::Modern, Engine::Modern, faults).await
    }

    async fn speaking(tls: LabTls, engine: Engine, faults: &[&str]) -> Self {
        let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
        let options = LabOptions { phones: 0, fresh_keys: false, tls, faults, ..LabOptions::default() };
        let lab = Lab::start(&options).await.unwrap();
        let user: SipAddress = "alice@contoso.example".parse().unwrap();
        let (certificate, key) = lab.enrolled(&user).await;
        let mut trust = Trust::only_given();
        trust.add_der("lab", &lab.web_root_der()).unwrap();
        let identity = ClientIdentity {
            certificate: CertificateDer::from(certificate),
            key: ClientKey::Here(Zeroizing::new(key.to_vec())),
        };
        let connector = Arc::new(Connector::new(trust, Vec::new()).with_engine(engine));
        Self { lab, connector, identity, user, rules: Rules::default() }
    }

    fn server(&self) -> Server {
        Server { host: "localhost".into(), port: self.lab.registrar().address().port(), at: None }
    }

    fn client(&self) -> Arc<Client> {
        let device: Uuid = "34d859db-6585-5f91-a3b4-de853c15347d".parse().unwrap();
        let endpoint = Endpoint::of_device(self.user.clone(), device);
        let credentials = vec![Credential::Certificate(self.identity.clone())];
        Arc::new(Client::new(self.connector.clone(), endpoint, credentials, self.rules.clone(), World::system()))
    }

    async fn register(&self) -> Result<Registration, Box<Failure>> {
        self.client().register(&self.server(), &mut |_| {}).await
    }

    async fn fails(&self) -> Box<Failure> {
        self.register().await.expect_err("the client refuses this")
    }
}

#[tokio::test]
async fn a_user_registers_with_a_certificate_renews_and_signs_off() {
    let bench = Bench::with(&[]).await;
    let mut seen = Vec::new();
    let mut watch = |passed: &Passed| seen.push(passed.stage);
    let mut registration = bench.client().register(&bench.server(), &mut watch).await.unwrap();
    let facts = registration.facts().clone();
    assert_eq!((facts.scheme, facts.version, facts.method), (Some(Scheme::TlsDsk), Some(4), Some("HMAC-SHA-384")));
    assert_eq!(facts.targetname.as_deref(), Some("fe02.contoso.example"));
    assert!(facts.sts_uri.as_deref().unwrap().ends_with("/CertProv/CertProvisioningService.svc"));
    assert_eq!((facts.gruu_fits, facts.skew()), (Some(true), None));
    assert!(facts.product().is_some() && facts.expires.is_some() && facts.keep_alive.is_some());
    assert_eq!(facts.inner.unwrap().version, "TLS 1.2");
    let registered = bench.lab.registrar().registrations();
    assert_eq!(registered.len(), 1);
    registration.renew(&mut |_| {}).await.unwrap();
    let ended = registration.sign_off(&mut |_| {}).await.unwrap();
    let stages: Vec<Stage> = ended.passed.iter().map(|passed| passed.stage).collect();
    use Stage::{Ask, Connect, Handshake, Register, Renew, SignOff};
    assert_eq!(stages, [Connect, Ask, Handshake, Register, Renew, SignOff]);
    assert_eq!(seen, [Connect, Ask, Handshake, Register]);
    assert!(bench.lab.registrar().registrations().is_empty(), "nobody is registered any more");
}

#[tokio::test]
async fn version_three_and_a_proxy_and_other_offers_and_another_hash_are_no_obstacle() {
    for (fault, version, method) in [
        ("version-3", 3, "HMAC-SHA-384"),
        ("asks-as-proxy", 4, "HMAC-SHA-384"),
        ("kerberos-offered", 4, "HMAC-SHA-384"),
        ("no-ntlm", 4, "HMAC-SHA-384"),
    ] {
        let bench = Bench::with(&[fault]).await;
        let registration = bench.register().await.unwrap_or_else(|failure| panic!("{fault}: {failure:?}"));
        assert_eq!(
            (registration.facts().version, registration.facts().method),
            (Some(version), Some(method)),
            "{fault}"
        );
        registration.sign_off(&mut |_| {}).await.unwrap_or_else(|failure| panic!("{fault}: {failure:?}"));
    }
}

#[tokio::test]
async fn what_the_registrar_says_unsigned_wrongly_or_again_counts_for_nothing() {
    for (fault, said) in
        [("wrong-rspauth", SignatureFault::Wrong { bytes: 48 }), ("unsigned-answers", SignatureFault::Missing)]
    {
        let failure = Bench::with(&[fault]).await.fails().await;
        let RegistrarError::Unsigned { stage: Stage::Register, fault, .. } = &failure.error else {
            panic!("{:?}", failure.error)
        };
        assert_eq!((fault, failure.stage), (&said, Stage::Register));
        assert!(failure.error.next_step().starts_with("trust nothing"));
    }
    let bench = Bench::with(&["repeated-snum"]).await;
    let mut registration = bench.register().await.unwrap();
    let failure = registration.renew(&mut |_| {}).await.unwrap_err();
    let replayed = SignatureFault::Replayed { number: 1 };
    assert!(matches!(&failure.error, RegistrarError::Unsigned { fault, .. } if *fault == replayed), "{failure:?}");
    assert_eq!(failure.passed.len(), 4, "what went well before is told too");
}

#[tokio::test]
async fn a_wrong_certificate_inside_ends_the_sign_in_before_the_key_signs() {
    let failure = Bench::with(&["inner-wrong-name"]).await.fails().await;
    let RegistrarError::Negotiation { source: NegotiationError::Tunnel(error), .. } = &failure.error else {
        panic!("{:?}", failure.error)
    };
    assert!(matches!(error, TunnelError::Untrusted { reason: Distrust::WrongName { .. }, .. }), "{error:?}");
    assert_eq!(failure.stage, Stage::Handshake);
    let failure = Bench::with(&["whole-chain", "inner-unknown-root"]).await.fails().await;
    let RegistrarError::Negotiation { source: NegotiationError::Tunnel(error), .. } = &failure.error else {
        panic!("{:?}", failure.error)
    };
    assert!(matches!(error, TunnelError::Untrusted { reason: Distrust::UnknownIssuer { .. }, .. }), "{error:?}");
}

#[tokio::test]
async fn a_registration_of_unknown_length_is_refused() {
    let failure = Bench::with(&["no-expires"]).await.fails().await;
    assert!(failure.error.to_string().contains("by Expires how long"), "{}", failure.error);
}

#[tokio::test]
async fn a_certificate_that_is_not_there_yet_or_revoked_is_not_accepted() {
    for fault in ["not-replicated", "replication-delay=3600"] {
        let failure = Bench::with(&[fault]).await.fails().await;
        let refused =
            matches!(failure.error, RegistrarError::HandshakeRefused { .. } | RegistrarError::NotAccepted { .. });
        assert!(refused, "{fault}: {:?}", failure.error);
        assert!(failure.error.next_step().contains("replication"));
    }
    let bench = Bench::with(&[]).await;
    bench.lab.web().store().revoke(&bench.user);
    let failure = bench.fails().await;
    let refused = matches!(failure.error, RegistrarError::HandshakeRefused { .. } | RegistrarError::NotAccepted { .. });
    assert!(refused, "{:?}", failure.error);
}

#[tokio::test]
async fn another_users_certificate_registers_nobody() {
    let mut bench = Bench::with(&[]).await;
    bench.user = "bob@contoso.example".parse().unwrap();
    let failure = bench.fails().await;
    assert!(failure.error.refusal().is_some(), "{:?}", failure.error);
    assert!(bench.lab.registrar().registrations().is_empty());
}

#[tokio::test]
async fn a_user_at_home_elsewhere_is_followed_and_registered_there() {
    let bench = Bench::with(&["homed-elsewhere"]).await;
    let registration = bench.register().await.unwrap();
    let home = bench.lab.registrar().home().port();
    assert_eq!(registration.facts().redirects.iter().map(|server| server.port).collect::<Vec<_>>(), [home]);
    assert_eq!(registration.facts().targetname.as_deref(), Some("fe01.contoso.example"));
    assert_eq!(registration.passed().len(), 8);
    registration.sign_off(&mut |_| {}).await.unwrap();
    let mut stubborn = Bench::with(&["homed-elsewhere"]).await;
    stubborn.rules.most_redirects = 0;
    let failure = stubborn.fails().await;
    assert!(matches!(failure.error, RegistrarError::TooManyRedirects { .. }), "{:?}", failure.error);
}

#[tokio::test]
async fn refusals_have_the_registrars_words_and_only_some_are_temporary() {
    for (fault, stage, status, class, said) in [
        ("user-disabled", Stage::Register, 403, ErrorClass::Failed, "99020"),
        ("user-not-found", Stage::Register, 404, ErrorClass::Failed, "4005"),
        ("registrar-unavailable=503", Stage::Ask, 503, ErrorClass::Temporary, "99021"),
        ("registrar-unavailable=504", Stage::Ask, 504, ErrorClass::Temporary, "1007"),
        ("registrar-refuses", Stage::Ask, 403, ErrorClass::Failed, ""),
    ] {
        let failure = Bench::with(&[fault]).await.fails().await;
        let refusal = failure.error.refusal().unwrap_or_else(|| panic!("{fault}: {:?}", failure.error));
        assert_eq!((failure.stage, refusal.status, failure.error.class()), (stage, status, class), "{fault}");
        let code = refusal.diagnostics.as_ref().map(|it| it.code.to_string()).unwrap_or_default();
        assert_eq!(code, said, "{fault}");
    }
    let failure = Bench::with(&["no-tls-dsk"]).await.fails().await;
    assert_eq!(failure.stage, Stage::Ask);
    assert!(failure.error.to_string().ends_with("offers NTLM, and not TLS-DSK"), "{}", failure.error);
}

#[tokio::test]
async fn a_registrar_that_hangs_is_given_up_in_time() {
    for (answers, stage) in [(0, Stage::Ask), (1, Stage::Handshake), (3, Stage::Register)] {
        let mut bench = Bench::with(&[&format!("registrar-hangs={answers}")]).await;
        bench.rules.transaction = Duration::from_millis(400);
        let failure = bench.fails().await;
        assert!(matches!(failure.error, RegistrarError::TimedOut { .. }), "{:?}", failure.error);
        assert_eq!((failure.stage, failure.error.class()), (stage, ErrorClass::Temporary));
    }
}

#[tokio::test]
async fn clocks_that_differ_are_a_fact() {
    let bench = Bench::with(&["registrar-clock=300"]).await;
    let registration = bench.register().await.unwrap();
    let offset = registration.facts().clock_offset_seconds.unwrap();
    assert!((295..=300).contains(&offset), "{offset}");
    assert!(registration.facts().skew().unwrap().ends_with("ahead of this computer's"));
}

#[tokio::test]
async fn keys_that_the_registrar_has_forgotten_are_made_anew() {
    let bench = Bench::with(&[]).await;
    let mut registration = bench.register().await.unwrap();
    bench.lab.registrar().faults().association_dropped = 1;
    registration.renew(&mut |_| {}).await.unwrap();
    let stages: Vec<Stage> = registration.passed().iter().skip(4).map(|passed| passed.stage).collect();
    assert_eq!(stages, [Stage::Ask, Stage::Handshake, Stage::Register]);
    bench.lab.registrar().faults().association_dropped = 1;
    registration.sign_off(&mut |_| {}).await.unwrap();
    assert!(bench.lab.registrar().registrations().is_empty());
}

#[tokio::test]
async fn who_stays_renews_before_the_end() {
    let bench = Bench::with(&["expires=1"]).await;
    let mut registration = bench.register().await.unwrap();
    registration.stay(Duration::from_millis(700), &mut |_| {}).await.unwrap();
    assert_eq!(registration.passed().last().unwrap().stage, Stage::Renew);
    registration.sign_off(&mut |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_not_trusted_carries_nothing() {
    let mut bench = Bench::with(&[]).await;
    bench.connector = Arc::new(Connector::new(Trust::only_given(), Vec::new()));
    let failure = bench.fails().await;
    assert!(matches!(failure.error, RegistrarError::Connection(TlsError::NoAnchors)), "{:?}", failure.error);
    assert!(bench.lab.registrar().requests().is_empty());
}

#[tokio::test]
async fn each_address_of_a_name_is_a_server_of_its_own() {
    let bench = Bench::with(&[]).await;
    let addresses = bench.connector.addresses("localhost", bench.server().port).await.unwrap();
    assert!(!addresses.is_empty());
    for at in addresses.into_iter().filter(|at| at.is_ipv4()) {
        let server = Server { at: Some(at), ..bench.server() };
        let registration = bench.client().register(&server, &mut |_| {}).await.unwrap();
        assert_eq!(registration.facts().server.as_ref().unwrap().at, Some(at));
        registration.sign_off(&mut |_| {}).await.unwrap();
    }
}

#[cfg(feature = "legacy-tls")]
#[tokio::test]
async fn a_registrar_of_old_tls_is_registered_at_by_the_old_engine_and_by_no_other() {
    let bench = Bench::speaking(LabTls::OnlyTls10, Engine::Legacy, &[]).await;
    let registration = bench.register().await.unwrap();
    let facts = registration.facts();
    assert_eq!(facts.outer.as_ref().unwrap().version, "TLS 1.0");
    assert_eq!((facts.inner.as_ref().unwrap().version.as_str(), facts.method), ("TLS 1.0", Some("HMAC-SHA-1")));
    registration.sign_off(&mut |_| {}).await.unwrap();
    let failure = Bench::speaking(LabTls::OnlyTls10, Engine::Legacy, &["wrong-rspauth"]).await.fails().await;
    let wrong = SignatureFault::Wrong { bytes: 20 };
    assert!(matches!(&failure.error, RegistrarError::Unsigned { fault, .. } if *fault == wrong), "{failure:?}");
    let failure = Bench::speaking(LabTls::OnlyTls10, Engine::Modern, &[]).await.fails().await;
    let no_common = matches!(failure.error, RegistrarError::Connection(TlsError::NoCommonCipher { .. }));
    assert!(no_common && failure.stage == Stage::Connect, "{failure:?}");
}

#[tokio::test]
async fn keep_alives_keep_the_connection_and_are_no_messages() {
    let bench = Bench::with(&[]).await;
    let mut registration = bench.register().await.unwrap();
    registration.keep_alive_after(Duration::from_millis(20));
    let requests = bench.lab.registrar().requests().len();
    registration.stay(Duration::from_millis(150), &mut |_| {}).await.unwrap();
    assert_eq!(bench.lab.registrar().requests().len(), requests);
    registration.sign_off(&mut |_| {}).await.unwrap();
}
