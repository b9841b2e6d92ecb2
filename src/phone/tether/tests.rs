//! The driver against the lab's phone, over true USB transfers on loopback.

mod details;
mod endorsing;
mod signing;

use super::messages::{self, Operation, code};
use super::*;
use crate::credential::SipAddress;
use crate::lab::keys::Keys;
use crate::lab::phone::{self as lab, Lies, PhoneMaterial, VirtualPhone};
use crate::lab::pki::Maker;
use crate::lab::usbip::Exporter;
use crate::phone::{Authenticity, ConsentWanted, Preparation, Settings};
use crate::usb::Usb;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, SanType};

const BUS_ID: &str = "1-1";
const WEB: &str = "web.contoso.example";
const CONSENT: Consent = Consent::NotWanted;

/// A phone on a cable, and a computer.
struct Bench {
    exporter: Exporter,
    phone: VirtualPhone,
    host: Host,
    trust: ServerTrust,
}

fn material() -> PhoneMaterial {
    PhoneMaterial::new(1, Arc::new(|kind| Keys::recycled().take(kind)))
}

fn host() -> Host {
    Host {
        key: Arc::new(HostKey::ephemeral()),
        label: "station 3".into(),
        maker_roots: Vec::new(),
        maker_root_fingerprints: Vec::new(),
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn read_der(certificate: &rcgen::Certificate) -> Certificate {
    Certificate::from_der(certificate.der()).unwrap()
}

/// A server whose root the phone lacks.
fn server_trust() -> ServerTrust {
    let mut root = named("Contoso Root CA");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().unwrap();
    let root_certificate = root.self_signed(&root_key).unwrap();
    let mut server = named(WEB);
    server.subject_alt_names = vec![SanType::DnsName(WEB.try_into().unwrap())];
    let server = server.signed_by(&KeyPair::generate().unwrap(), &Issuer::from_params(&root, &root_key)).unwrap();
    ServerTrust {
        anchors: vec![read_der(&root_certificate)],
        intermediates: Vec::new(),
        presented: vec![read_der(&server)],
        server_name: WEB.into(),
        settings: Settings {
            sip_uri: "sip:alice@contoso.example".into(),
            registrar: None,
            web_services: format!("https://{WEB}/CertProv/CertProvisioningService.svc"),
        },
    }
}

/// A user's certificate for the key of `request`, from an issuer that nobody knows.
fn leaf_for(request: &SigningRequest) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let issuer = named("Communications Server");
    let mut leaf = named("alice@contoso.example");
    leaf.subject_alt_names = vec![SanType::URI("sip:alice@contoso.example".try_into().unwrap())];
    let parsed = rcgen::CertificateSigningRequestParams::from_der(&request.der().to_vec().into()).unwrap();
    read_der(&leaf.signed_by(&parsed.public_key, &Issuer::from_params(&issuer, &key)).unwrap())
}

fn preparation(transaction: TransactionId, replaces: Option<Fingerprint>, consent: Consent) -> Preparation {
    Preparation {
        transaction,
        user: "alice@contoso.example".parse::<SipAddress>().unwrap(),
        replaces,
        key: KeyKind::P256,
        consent,
        gives_up: None,
    }
}

impl Bench {
    async fn new(material: PhoneMaterial) -> Self {
        let exporter = Exporter::start().await.unwrap();
        let phone = VirtualPhone::new(material);
        exporter.plug(BUS_ID, Box::new(phone.device()));
        Self { exporter, phone, host: host(), trust: server_trust() }
    }

    /// Plugs the cable in again and opens the interface.
    async fn plugged(&self, host: &Host) -> Tether {
        self.exporter.replug(BUS_ID);
        let usb = Usb::usbip(self.exporter.address().into());
        let attached = usb.list().await.unwrap().remove(0);
        Tether::new(usb.open_kind(&attached, INTERFACE).await.unwrap(), host.clone()).await.unwrap()
    }

    /// With a session.
    async fn session(&self) -> (Tether, Identified) {
        let mut tether = self.plugged(&self.host).await;
        let identified = tether.identify().await.unwrap();
        (tether, identified)
    }

    /// A whole job; gives the certificate and the exchanges it took.
    async fn job(&self, replaces: Option<Fingerprint>) -> (TransactionId, Certificate, u64) {
        let (mut tether, _) = self.session().await;
        tether.look(Duration::from_secs(20)).await.unwrap();
        let id = TransactionId::random();
        let prepared = tether.prepare(&preparation(id, replaces, CONSENT)).await.unwrap();
        tether.stage_trust(id, &self.trust, Some(time::Duration::ZERO)).await.unwrap();
        let leaf = leaf_for(&prepared.request);
        tether.install(id, &leaf, &self.trust).await.unwrap();
        tether.prove(&leaf).await.unwrap();
        tether.leave(Parting::Leave).await.unwrap();
        (id, leaf, tether.traffic().exchanges)
    }

    /// A transaction with the server's trust staged, and the leaf that was made for its request.
    async fn ready(&self, tether: &mut Tether) -> (TransactionId, Certificate) {
        let id = TransactionId::random();
        let prepared = tether.prepare(&preparation(id, None, CONSENT)).await.unwrap();
        tether.stage_trust(id, &self.trust, Some(time::Duration::ZERO)).await.unwrap();
        (id, leaf_for(&prepared.request))
    }
}

fn with_factory(serial: Option<&str>) -> (PhoneMaterial, Vec<Certificate>) {
    let (maker, mut material) = (Maker::new(), material());
    let factory = maker.factory(&material.model, serial.unwrap_or(&material.serial), material.mac);
    material.factory = Some((factory.chain, factory.key));
    (material, vec![Certificate::from_der(maker.root_der()).unwrap()])
}

fn number(error: &PhoneError) -> u16 {
    match error {
        PhoneError::Refused { number, .. } => *number,
        other => panic!("no refusal: {other:?}"),
    }
}

#[tokio::test]
async fn a_whole_job_takes_seven_exchanges_and_the_phone_ends_with_certificate_trust_and_settings() {
    let bench = Bench::new(material()).await;
    let (_, leaf, exchanges) = bench.job(None).await;
    assert_eq!(exchanges, 7, "a short code makes it eight");
    assert_eq!(bench.phone.installed(), Some(leaf.fingerprint()));
    let memory = bench.phone.memory();
    assert_eq!(memory.installed_anchors.len(), 1);
    assert_eq!(memory.settings.unwrap().web_services, bench.trust.settings.web_services);
    assert_eq!(memory.pending, None);
}

#[tokio::test]
async fn a_key_that_takes_long_is_bridged_by_working_frames() {
    let mut slow = material();
    (slow.key_delay, slow.working_every) = (Duration::from_millis(30), Duration::from_millis(2));
    let bench = Bench::new(slow).await;
    let (mut tether, _) = bench.session().await;
    let before = tether.traffic().transfers;
    tether.prepare(&preparation(TransactionId::random(), None, CONSENT)).await.unwrap();
    assert!(tether.traffic().transfers > before + 2, "one transfer each way would be request and answer alone");
}

#[tokio::test]
async fn frames_of_whole_packets_arrive_in_both_directions() {
    // 8 of the header, 16 of the tag, 10 of CBOR before the certificate's bytes.
    let certificate = vec![0x30; 2 * 512 - 8 - 16 - 10];
    let mut material = material();
    material.anchors = vec![certificate.clone()];
    let bench = Bench::new(material).await;
    let (mut tether, _) = bench.session().await;

    let fingerprint = (*Fingerprint::of(&certificate).as_bytes()).into();
    let answer = tether.one(Step::Look, Operation::ReadCertificate { fingerprint }).await.unwrap();
    assert_eq!(read::<DerMap>(&answer, Step::Look).unwrap().der.to_vec(), certificate);

    for packets in 1..=3 {
        let request = |bytes: usize| Operation::SignHandshake { transcript: vec![0; bytes].into(), scheme: 0x0401 };
        let fits = |bytes: &usize| messages::encode_request(&[request(*bytes)]).len() + 8 + 16 == packets * 512;
        let bytes = (0..2000).find(fits).unwrap();
        let refused = tether.one(Step::Look, request(bytes)).await.unwrap_err();
        assert_eq!(number(&refused), code::CONSENT_NEEDED, "{packets} packets");
    }
}

#[tokio::test]
async fn a_phone_unplugged_in_the_middle_still_has_its_transaction_with_the_same_request() {
    let bench = Bench::new(material()).await;
    let id = TransactionId::random();
    let first = {
        let (mut tether, _) = bench.session().await;
        tether.prepare(&preparation(id, None, CONSENT)).await.unwrap()
    };
    let (mut tether, _) = bench.session().await;
    let pending = tether.look(Duration::ZERO).await.unwrap().pending.unwrap();
    assert!(pending.ours);
    assert_eq!(pending.id, id);
    let again = tether.prepare(&preparation(id, None, CONSENT)).await.unwrap();
    assert_eq!(again.request, first.request);
    assert_eq!(again.key_took, Duration::ZERO);
}

#[tokio::test]
async fn the_administrator_code_locks_after_its_tries_also_across_replugging() {
    let (mut material, roots) = with_factory(None);
    material.consent = lab::Consent::Code { code: "2580".into(), tries: 3 };
    let mut bench = Bench::new(material).await;
    bench.host.maker_roots = roots;
    let with = |code: &str| preparation(TransactionId::random(), None, Consent::Code(code.to_owned().into()));
    for left in [2, 1, 0] {
        let (mut tether, identified) = bench.session().await;
        assert_eq!(identified.identity.consent, ConsentWanted::AdministratorCode);
        match tether.prepare(&with("0000")).await.unwrap_err() {
            PhoneError::Refused { number: code::WRONG_CODE, tries_left, .. } => assert_eq!(tries_left, Some(left)),
            other => panic!("{other:?}"),
        }
    }
    let (mut tether, _) = bench.session().await;
    assert_eq!(number(&tether.prepare(&with("2580")).await.unwrap_err()), code::CODE_LOCKED);
}

#[tokio::test]
async fn the_administrator_code_is_withheld_from_a_phone_that_nothing_vouches_for() {
    let mut material = material();
    material.consent = lab::Consent::Code { code: "2580".into(), tries: 3 };
    let bench = Bench::new(material).await;
    let (mut tether, _) = bench.session().await;
    let with = || preparation(TransactionId::random(), None, Consent::Code("2580".to_owned().into()));
    let before = tether.traffic();
    assert!(matches!(tether.prepare(&with()).await, Err(PhoneError::CodeWithheld)));
    assert_eq!(tether.traffic(), before);
    tether.code_was_compared();
    tether.prepare(&with()).await.unwrap();
}

#[tokio::test]
async fn a_person_declines_and_later_agrees_and_the_host_is_remembered() {
    let mut material = material();
    material.consent = lab::Consent::Press { agrees: false };
    let bench = Bench::new(material).await;
    let id = TransactionId::random();
    let (mut tether, _) = bench.session().await;
    let declined = tether.prepare(&preparation(id, None, Consent::KeyPress)).await.unwrap_err();
    assert_eq!(number(&declined), code::DECLINED);
    let unasked = tether.prepare(&preparation(id, None, CONSENT)).await.unwrap_err();
    assert_eq!(number(&unasked), code::CONSENT_NEEDED);
    assert_eq!(bench.phone.memory().pending, None);

    bench.phone.set_consent(lab::Consent::Press { agrees: true });
    tether.prepare(&preparation(id, None, Consent::KeyPress)).await.unwrap();
    let (_, identified) = bench.session().await;
    assert!(identified.identity.host_known);
}

#[tokio::test]
async fn another_hosts_transaction_is_ended_only_by_consent_in_this_session() {
    let mut material = material();
    material.consent = lab::Consent::Press { agrees: true };
    let bench = Bench::new(material).await;
    let other = host();
    let theirs = TransactionId::random();
    for (host, id) in [(&bench.host, TransactionId::random()), (&other, theirs)] {
        let mut tether = bench.plugged(host).await;
        tether.identify().await.unwrap();
        tether.prepare(&preparation(id, None, Consent::KeyPress)).await.unwrap();
        if id != theirs {
            tether.abort(id).await.unwrap();
        }
    }

    // This host is remembered by now; that is not enough.
    let (mut tether, identified) = bench.session().await;
    assert!(identified.identity.host_known);
    let pending = tether.prepare(&preparation(TransactionId::random(), None, CONSENT)).await.unwrap_err();
    assert_eq!(number(&pending), code::OTHER_PENDING);
    assert_eq!(number(&tether.abort(theirs).await.unwrap_err()), code::CONSENT_NEEDED);

    let id = TransactionId::random();
    let asks_again = Preparation { gives_up: Some(theirs), ..preparation(id, None, Consent::KeyPress) };
    tether.prepare(&asks_again).await.unwrap();
    assert_eq!(bench.phone.memory().pending.map(|pending| *pending.id), Some(*id.as_bytes()));
}

#[tokio::test]
async fn both_sides_show_the_same_short_code_once_a_session() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    let shown = tether.show_code().await.unwrap();
    assert_eq!(Some(shown), bench.phone.code_on_screen());
    assert_eq!(number(&tether.show_code().await.unwrap_err()), code::OUT_OF_ORDER);
}

#[tokio::test]
async fn short_codes_cannot_be_asked_for_until_one_fits() {
    let bench = Bench::new(material()).await;
    let mut tether = bench.plugged(&bench.host).await;
    for _ in 0..20 {
        tether.identify().await.unwrap();
        tether.show_code().await.unwrap();
    }
    tether.identify().await.unwrap();
    assert_eq!(number(&tether.show_code().await.unwrap_err()), code::CODE_LATER);
}

#[tokio::test]
async fn a_phone_that_reveals_another_nonce_than_it_committed_to_is_found_out() {
    let bench = Bench::new(material()).await;
    bench.phone.lie(Lies { breaks_its_commitment: true, ..Lies::default() });
    let (mut tether, _) = bench.session().await;
    assert!(matches!(tether.show_code().await, Err(PhoneError::BrokenCommitment)));
}

#[tokio::test]
async fn a_host_that_reveals_another_nonce_than_it_committed_to_is_shown_nothing() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    let broken = tether.one(Step::ShowCode, Operation::ShowCode { nonce: [1; 32].into() }).await.unwrap_err();
    assert_eq!(number(&broken), code::BROKEN_COMMITMENT);
    assert_eq!(bench.phone.code_on_screen(), None);
}

#[tokio::test]
async fn a_factory_key_vouches_for_this_session_and_this_serial_alone() {
    let (material, roots) = with_factory(None);
    let mut bench = Bench::new(material).await;
    bench.host.maker_roots = roots;
    assert!(matches!(bench.session().await.1.authenticity, Authenticity::Maker { .. }));

    bench.phone.lie(Lies { replays_device_proof: true, ..Lies::default() });
    match bench.session().await.1.authenticity {
        Authenticity::Nothing { reason } => assert!(reason.contains("did not sign this session"), "{reason}"),
        other => panic!("{other:?}"),
    }

    let (material, roots) = with_factory(Some("LAB99999"));
    let mut bench = Bench::new(material).await;
    bench.host.maker_roots = roots;
    match bench.session().await.1.authenticity {
        Authenticity::Nothing { reason } => assert!(reason.contains("another serial number"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_does_not_decrypt_ends_the_session() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    bench.phone.lie(Lies { garbles_answers: true, ..Lies::default() });
    let error = tether.look(Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, PhoneError::Session { .. }) && error.ends_session(), "{error:?}");
    bench.phone.lie(Lies::default());
    assert!(tether.look(Duration::ZERO).await.is_err());
    let (mut tether, _) = bench.session().await;
    tether.look(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_done_and_may_be_repeated() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    let (id, leaf) = bench.ready(&mut tether).await;
    bench.phone.lie(Lies { garbles_answers: true, ..Lies::default() });
    tether.install(id, &leaf, &bench.trust).await.unwrap_err();
    bench.phone.lie(Lies::default());

    let (mut tether, _) = bench.session().await;
    assert_eq!(tether.look(Duration::ZERO).await.unwrap().committed, Some(id));
    let steps = bench.phone.flash_steps();
    let again = tether.one(Step::Commit, Operation::Commit { id: (*id.as_bytes()).into() }).await.unwrap();
    let again: messages::Committed = read(&again, Step::Commit).unwrap();
    assert_eq!(&*again.fingerprint, leaf.fingerprint().as_bytes());
    assert_eq!(bench.phone.flash_steps(), steps, "nothing was written again");
}

#[tokio::test]
async fn power_lost_at_any_step_of_the_install_leaves_the_old_identity_or_the_new_one() {
    let bench = Bench::new(material()).await;
    let (_, old, _) = bench.job(None).await;
    let mut current = old.fingerprint();
    for step in 1..=9 {
        let (mut tether, _) = bench.session().await;
        let id = TransactionId::random();
        let prepared = tether.prepare(&preparation(id, Some(current), CONSENT)).await.unwrap();
        tether.stage_trust(id, &bench.trust, Some(time::Duration::ZERO)).await.unwrap();
        let leaf = leaf_for(&prepared.request);
        bench.phone.cut_power_at(bench.phone.flash_steps() + step);
        let power_goes = async {
            while bench.phone.has_power() {
                tokio::task::yield_now().await;
            }
            bench.exporter.pull(BUS_ID);
        };
        let (installed, ()) = tokio::join!(tether.install(id, &leaf, &bench.trust), power_goes);
        installed.unwrap_err();
        assert_eq!(bench.phone.installed(), Some(current), "step {step}");

        bench.phone.power_on();
        let (mut tether, _) = bench.session().await;
        assert_eq!(tether.look(Duration::ZERO).await.unwrap().pending.map(|pending| pending.id), Some(id));
        tether.install(id, &leaf, &bench.trust).await.unwrap();
        tether.prove(&leaf).await.unwrap();
        current = leaf.fingerprint();
        assert_eq!(bench.phone.installed(), Some(current));
    }
}

#[tokio::test]
async fn an_identity_that_was_removed_meanwhile_is_not_replaced() {
    let bench = Bench::new(material()).await;
    let (_, old, _) = bench.job(None).await;
    let (mut tether, _) = bench.session().await;
    let id = TransactionId::random();
    let prepared = tether.prepare(&preparation(id, Some(old.fingerprint()), CONSENT)).await.unwrap();
    tether.stage_trust(id, &bench.trust, Some(time::Duration::ZERO)).await.unwrap();
    let fingerprint = (*old.fingerprint().as_bytes()).into();
    tether.one(Step::Leave, Operation::RemoveIdentity { fingerprint }).await.unwrap();
    let refused = tether.install(id, &leaf_for(&prepared.request), &bench.trust).await.unwrap_err();
    assert_eq!(number(&refused), code::IDENTITY_CHANGED);
}

#[tokio::test]
async fn a_phone_that_takes_only_short_frames_is_served_in_pieces() {
    let mut short = material();
    short.max_body_bytes = frames::MIN_BODY_LIMIT_BYTES;
    let mut bench = Bench::new(short).await;
    // Presented thrice, the server's certificate makes stage, check and commit too long for one frame.
    let padding = bench.trust.presented[0].clone();
    while bench.trust.presented.len() * padding.der().len() + 700 < 4096 {
        bench.trust.presented.push(padding.clone());
    }
    let (_, leaf, exchanges) = bench.job(None).await;
    assert_eq!(bench.phone.installed(), Some(leaf.fingerprint()));
    assert!(exchanges > 7);
}

#[tokio::test]
async fn a_phones_request_has_one_name_and_no_attributes() {
    let bench = Bench::new(material()).await;
    let (mut tether, _) = bench.session().await;
    let prepared = tether.prepare(&preparation(TransactionId::random(), None, CONSENT)).await.unwrap();
    let der = prepared.request.der();
    let name = [b"\x0c\x15".as_slice(), b"alice@contoso.example"].concat();
    assert!(der.windows(name.len()).any(|at| at == name), "the common name is a UTF8String");
    let attributes_and_algorithm = [0xa0, 0x00, 0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    assert!(der.windows(14).any(|at| at == attributes_and_algorithm), "no attributes, ecdsa-with-SHA256");
}

fn prefixed(width: usize, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes()[4 - width..], body].concat()
}

/// A TLS 1.2 client handshake up to ClientKeyExchange.
fn handshake(server: &Certificate, client: &Certificate) -> Vec<u8> {
    let message = |kind: u8, body: &[u8]| [vec![kind], prefixed(3, body)].concat();
    let certificate = |one: &Certificate| message(11, &prefixed(3, &prefixed(3, one.der())));
    let asked = [prefixed(1, &[64]), prefixed(2, &[4, 3, 4, 1]), prefixed(2, &[])].concat();
    let [hello, answer, request, done, exchange] =
        [(1, vec![3, 3, 9]), (2, vec![3, 3, 8]), (13, asked), (14, vec![]), (16, vec![7])]
            .map(|(kind, body)| message(kind, &body));
    [hello, answer, certificate(server), request, done, certificate(client), exchange].concat()
}

#[tokio::test]
async fn a_phone_signs_a_handshake_with_its_own_server_once_for_each_consent() {
    let bench = Bench::new(material()).await;
    let (_, leaf, _) = bench.job(None).await;
    let (mut tether, _) = bench.session().await;
    let sign =
        |server: &Certificate| Operation::SignHandshake { transcript: handshake(server, &leaf).into(), scheme: 0x0403 };
    let server = &bench.trust.presented[0];
    assert_eq!(number(&tether.one(Step::Prove, sign(server)).await.unwrap_err()), code::CONSENT_NEEDED);

    let consent = || (Step::Consent, Operation::Consent { code: None });
    let answers = tether.request(&[consent(), (Step::Prove, sign(server))]).await.unwrap();
    let signed: messages::SignatureMap = read(&answers[1], Step::Prove).unwrap();
    let (algorithm, message) = (messages::ECDSA_SHA256, handshake(server, &leaf));
    assert!(proof::verifies(leaf.spki_der(), algorithm, &message, &signed.signature));
    assert_eq!(number(&tether.one(Step::Prove, sign(server)).await.unwrap_err()), code::CONSENT_NEEDED);

    let stranger = server_trust().presented.remove(0);
    let refused = tether.request(&[consent(), (Step::Prove, sign(&stranger))]).await.unwrap_err();
    assert_eq!(number(&refused), code::HANDSHAKE_REFUSED);
    let log: Vec<String> = bench.phone.log().into_iter().map(|entry| entry.text).collect();
    assert!(log.iter().any(|text| text.contains(&format!("signed a sign-in at {WEB}"))), "{log:?}");
    assert!(log.iter().any(|text| text.contains("refused to sign")), "{log:?}");
}
