//! The sign-in is rehearsed with the key inside the phone: over USB/IP and SIP over TLS, at the lab's registrar.

use crate::answers::Answers;
use crate::bench::{Bench, HOST, PORT, alice, done};
use std::sync::Arc;
use tethercert::credential::{Certificate, SipAddress};
use tethercert::lab::phone::{Consent, Lies};
use tethercert::lab::registrar::{InnerFault, Proof, Refusal, SignatureFault};
use tethercert::phone::tether::messages::capability;
use tethercert::provision::{
    Event, Grade, Job, Receipt, Rehearsal, Rehearsed, Rehearser, SignInAsked, Stop, check_up, rehearse,
};
use tethercert::registrar::Server;
use tethercert::service::ocauth::OcAuth;
use tethercert::tls::{Connector, Resolve, Trust};
use tethercert::world::World;
use time::OffsetDateTime;

/// The registrar's name, which its certificate is for.
const SIP: &str = "sip.contoso.example";

fn connector(bench: &Bench) -> Connector {
    let mut trust = Trust::only_given();
    trust.add_file(&bench.lab.ready().trust_anchor).unwrap();
    let registrar = bench.lab.registrar();
    let to = |address: std::net::SocketAddr| Resolve { host: SIP.into(), port: address.port(), address };
    Connector::new(trust, vec![to(registrar.address()), to(registrar.home())])
}

fn rehearsal(bench: &Bench) -> Rehearsal {
    let registrar = Server { host: SIP.into(), port: bench.lab.registrar().address().port(), at: None };
    Rehearsal { by: Arc::new(connector(bench)), registrar: Some(registrar) }
}

/// Alice on the first phone, with a rehearsal at the registrar of the phone's settings.
fn job(bench: &Bench) -> Job {
    let registrar = format!("{SIP}:{}", bench.lab.registrar().address().port());
    Job { rehearsal: Some(rehearsal(bench)), registrar: Some(registrar), ..bench.job() }
}

async fn run(bench: &Bench, job: &Job, answers: &mut Answers<'_>) -> (Box<Receipt>, Rehearsed) {
    let receipt = done(bench.run(job, answers).await);
    let rehearsed = receipt.rehearsed.clone().expect("it was asked for");
    (receipt, rehearsed)
}

async fn rehearsed(bench: &Bench) -> Rehearsed {
    run(bench, &job(bench), &mut bench.answers()).await.1
}

fn logged(bench: &Bench, text: &str) -> usize {
    bench.phone().log().iter().filter(|line| line.text.contains(text)).count()
}

#[tokio::test]
async fn a_phone_that_was_just_provisioned_signs_its_user_in_and_off_again_and_its_key_stays_where_it_is() {
    let bench = Bench::new().await;
    let mut news = bench.lab.registrar().news();
    let mut answers = bench.answers();
    let (receipt, rehearsed) = run(&bench, &job(&bench), &mut answers).await;
    assert_eq!(rehearsed.grade, Grade::Good, "{rehearsed:?}");
    assert_eq!((rehearsed.signatures, rehearsed.signed_off), (1, Some(true)));
    assert_eq!(rehearsed.scheme.as_deref(), Some("TLS-DSK version 4"));
    assert!(rehearsed.inner_tls.as_deref().unwrap().starts_with("TLS 1.2, TLS_ECDHE_RSA"), "{rehearsed:?}");
    let port = bench.lab.registrar().address().port();
    let said = [
        format!("alice@contoso.example at {SIP}:{port}"),
        "Skype for Business Server 2015, by TLS-DSK version 4".to_owned(),
        "inside TLS 1.2, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".to_owned(),
        "signed in the phone: its key never left it".to_owned(),
        "registered for 600 s, and signed off again".to_owned(),
    ];
    assert_eq!(rehearsed.said, said);
    let steps: Vec<&str> = rehearsed.steps.iter().map(|step| step.step).collect();
    assert_eq!(steps, ["connect", "challenge", "handshake", "register", "sign-off"]);
    assert_eq!(receipt.traffic.exchanges, 8, "one more than without");

    let registered = news.try_recv().unwrap();
    assert_eq!(registered.user, alice());
    assert!(matches!(registered.proof, Proof::TlsDsk { .. }), "{registered:?}");
    assert!(bench.lab.registrar().registrations().is_empty(), "signed off");
    assert_eq!(logged(&bench, &format!("signed a sign-in at {SIP} over USB")), 1);

    let written = bench.written("sign_in_rehearsed").await;
    assert_eq!(written.len(), 1);
    assert_eq!((written[0]["grade"].as_str(), written[0]["user"].as_str()), (Some("good"), Some(alice().as_str())));
    let mut waits = answers.events.iter().filter_map(|event| match event {
        Event::Rehearsing { waiting } => Some(waiting.as_str()),
        _ => None,
    });
    assert!(waits.next_back().unwrap().contains("the key that never leaves it"));
}

#[tokio::test]
async fn a_phone_that_had_it_all_signs_in_too_and_nothing_is_published_for_it() {
    let bench = Bench::new().await;
    let job = job(&bench);
    run(&bench, &job, &mut bench.answers()).await;
    let published = bench.published();
    let (receipt, rehearsed) = run(&bench, &job, &mut bench.answers()).await;
    assert!(receipt.unchanged);
    assert_eq!(rehearsed.grade, Grade::Good, "{rehearsed:?}");
    assert_eq!(bench.published(), published);
}

#[tokio::test]
async fn a_user_who_is_at_home_elsewhere_is_followed_there_and_the_phone_signs_for_each_server() {
    let bench = Bench::new().await;
    bench.lab.registrar().faults().homed_elsewhere = true;
    let rehearsed = rehearsed(&bench).await;
    assert_eq!((rehearsed.grade, rehearsed.signatures), (Grade::Good, 2), "{rehearsed:?}");
    let home = bench.lab.registrar().home().port().to_string();
    assert!(rehearsed.registrar.as_deref().unwrap().ends_with(&home), "{rehearsed:?}");
}

#[tokio::test]
async fn whatever_the_registrar_does_the_job_is_done_and_the_finding_says_what_it_was() {
    type Cause = fn(&Bench);
    let faults: [(Cause, Grade, &str, u32); 9] = [
        (|b| b.lab.registrar().faults().refusal = Some(Refusal::UserDisabled), Grade::Bad, "403", 1),
        (|b| b.lab.registrar().faults().refusal = Some(Refusal::UserNotFound), Grade::Bad, "404", 1),
        (|b| b.lab.registrar().faults().refusal = Some(Refusal::Unavailable), Grade::Unknown, "503", 0),
        (|b| b.lab.registrar().faults().signature = SignatureFault::Wrong, Grade::Bad, "sign", 1),
        (|b| b.lab.registrar().faults().signature = SignatureFault::Missing, Grade::Bad, "sign", 1),
        (|b| b.lab.registrar().faults().inner = InnerFault::WrongName, Grade::Bad, "other.contoso.example", 0),
        (|b| b.lab.registrar().faults().no_tls_dsk = true, Grade::Bad, "offer", 0),
        (|b| b.lab.registrar().faults().not_replicated = u32::MAX, Grade::Bad, "401", 1),
        (|b| b.lab.registrar().faults().no_expires = true, Grade::Bad, "Expires", 1),
    ];
    for (cause, grade, word, signatures) in faults {
        let bench = Bench::new().await;
        cause(&bench);
        let rehearsed = rehearsed(&bench).await;
        assert_eq!((rehearsed.grade, rehearsed.signatures), (grade, signatures), "{word}: {rehearsed:?}");
        assert!(rehearsed.line().contains(word), "{word}: {rehearsed:?}");
        assert!(rehearsed.next_step.is_some(), "{rehearsed:?}");
        let written = bench.written("sign_in_rehearsed").await;
        assert_eq!(written[0]["grade"].as_str(), Some(grade.word()));
    }
}

/// Something happens when the phone is about to be asked to sign.
async fn when_asked(bench: &Bench, happens: impl Fn() + Send) -> Rehearsed {
    let mut answers = bench.answers();
    answers.hook = Some(Box::new(move |event| {
        if let Event::Rehearsing { waiting } = event
            && waiting.contains("never leaves it")
        {
            happens();
        }
    }));
    run(bench, &job(bench), &mut answers).await.1
}

#[tokio::test]
async fn a_person_who_declines_is_told_of_as_one_and_nobody_is_signed_in() {
    let bench = Bench::new().await;
    bench.phone().set_consent(Consent::Press { agrees: true });
    let declined = when_asked(&bench, || bench.phone().set_consent(Consent::Press { agrees: false })).await;
    assert_eq!((declined.grade, declined.signatures), (Grade::Unknown, 0), "{declined:?}");
    assert!(declined.line().contains("refused asking for consent"), "{declined:?}");
    assert!(declined.next_step.as_deref().unwrap().contains("press the key"), "{declined:?}");
    assert!(bench.lab.registrar().registrations().is_empty());
}

#[tokio::test]
async fn a_phone_unplugged_in_the_middle_of_the_handshake_is_told_of_as_unplugged() {
    let bench = Bench::new().await;
    let pulled = when_asked(&bench, || assert!(bench.lab.exporter().pull(PORT))).await;
    assert_eq!((pulled.grade, pulled.signatures), (Grade::Unknown, 0), "{pulled:?}");
    assert!(pulled.line().contains("unplugged"), "{pulled:?}");
    assert!(pulled.line().starts_with("the cable failed during signing the sign-in"), "{pulled:?}");
    assert_eq!(bench.phone().installed(), bench.published(), "the job is done all the same");
}

#[tokio::test]
async fn a_phone_that_signs_with_another_key_is_found_out_before_the_registrar_hears_of_it() {
    let bench = Bench::new().await;
    let lies = Lies { signs_in_with_another_key: true, ..Lies::default() };
    let lied = when_asked(&bench, || bench.phone().lie(lies)).await;
    assert_eq!((lied.grade, lied.signatures), (Grade::Bad, 0), "{lied:?}");
    assert!(lied.line().contains("does not fit the certificate's key"), "{lied:?}");
    assert!(bench.lab.registrar().requests().iter().all(|request| !request.signed));
}

#[tokio::test]
async fn a_phone_signs_only_for_the_servers_of_its_own_settings() {
    let bench = Bench::new().await;
    let job = Job { registrar: None, ..job(&bench) };
    let (_, refused) = run(&bench, &job, &mut bench.answers()).await;
    assert_eq!((refused.grade, refused.signatures), (Grade::Bad, 0), "{refused:?}");
    assert!(refused.line().starts_with("the phone refused signing the sign-in"), "{refused:?}");
    assert!(refused.next_step.as_deref().unwrap().contains("its own settings"), "{refused:?}");
    assert_eq!(logged(&bench, "refused to sign a sign-in over USB"), 1);
}

#[tokio::test]
async fn a_stop_while_somebody_is_awaited_ends_the_rehearsal_and_not_the_job() {
    let bench = Bench::new().await;
    let mut answers = bench.answers();
    answers.stop_at = Some((|event| matches!(event, Event::Rehearsing { .. }), None));
    let (_, stopped) = run(&bench, &job(&bench), &mut answers).await;
    assert_eq!(stopped.grade, Grade::Unknown, "{stopped:?}");
    assert!(stopped.line().contains("stopped"), "{stopped:?}");
}

#[tokio::test]
async fn what_keeps_a_rehearsal_from_being_tried_is_unknown_and_says_what_to_do() {
    let bench = Bench::new().await;
    // The key has to be in memory for the engine of old TLS.
    #[cfg(feature = "legacy-tls")]
    {
        let by = Arc::new(connector(&bench).with_engine(tethercert::tls::Engine::Legacy));
        let old = Job { rehearsal: Some(Rehearsal { by, ..rehearsal(&bench) }), ..job(&bench) };
        let (_, old) = run(&bench, &old, &mut bench.answers()).await;
        assert_eq!(old.grade, Grade::Unknown);
        assert!(old.line().contains("cannot use a key inside the phone"), "{old:?}");
    }
    let nowhere = Rehearsal { registrar: None, ..rehearsal(&bench) };
    let (_, nowhere) = run(&bench, &Job { rehearsal: Some(nowhere), ..bench.job() }, &mut bench.answers()).await;
    assert_eq!(nowhere.grade, Grade::Unknown);
    assert!(nowhere.next_step.as_deref().unwrap().contains("--registrar"), "{nowhere:?}");

    bench.phone().rebuild(|material| material.capabilities &= !capability::HANDSHAKE);
    let (_, unable) = run(&bench, &job(&bench), &mut bench.answers()).await;
    assert_eq!(unable.grade, Grade::Unknown);
    assert!(unable.next_step.as_deref().unwrap().contains("by itself"), "{unable:?}");
    assert!(bench.lab.registrar().requests().is_empty(), "nobody was connected to");
}

#[tokio::test]
async fn the_certificate_of_one_user_signs_in_no_other() {
    let bench = Bench::new().await;
    let job = job(&bench);
    let (receipt, _) = run(&bench, &job, &mut bench.answers()).await;
    let mut phone = bench.open().await.unwrap();
    let driver = phone.driver();
    let identity = tethercert::phone::Driver::identify(driver).await.unwrap().identity;
    let bob: SipAddress = "bob@contoso.example".parse().unwrap();
    let consent = tethercert::phone::Consent::NotWanted;
    let who = Rehearser {
        user: &bob,
        identity: &identity,
        certificate: receipt.verified.certificate(),
        registrar: None,
        consent: &consent,
    };
    let as_bob = rehearse(&rehearsal(&bench), &who, driver, &mut |_| {}, &Stop::default()).await;
    assert_eq!((as_bob.grade, as_bob.signatures), (Grade::Bad, 1), "{as_bob:?}");
    assert!(bench.lab.registrar().registrations().is_empty());

    // A certificate of somebody else's, with this phone's signature: the phone does not give it.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(9);
    let another = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
    let who = Rehearser { user: &alice(), certificate: &another, ..who };
    let with_another = rehearse(&rehearsal(&bench), &who, driver, &mut |_| {}, &Stop::default()).await;
    assert_eq!((with_another.grade, with_another.signatures), (Grade::Bad, 0), "{with_another:?}");
}

#[tokio::test]
async fn a_check_up_signs_in_at_the_registrar_of_the_phones_settings() {
    let bench = Bench::new().await;
    run(&bench, &job(&bench), &mut bench.answers()).await;
    let mut phone = bench.open().await.unwrap();
    let mut waits = Vec::new();
    let mut tell = |waiting: &str| waits.push(waiting.to_owned());
    let asked = SignInAsked {
        rehearsal: Rehearsal { registrar: None, ..rehearsal(&bench) },
        administrator_code: None,
        tell: &mut tell,
        stop: Stop::default(),
    };
    let checkup = check_up::<_, OcAuth>(phone.driver(), None, Some(asked), &World::system()).await.unwrap();
    let rehearsed = checkup.rehearsed.unwrap();
    assert_eq!(rehearsed.grade, Grade::Good, "{rehearsed:?}");
    assert!(waits[0].contains(SIP) && !waits[0].contains(HOST), "{waits:?}");
}
