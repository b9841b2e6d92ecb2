use proptest::prelude::*;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SanType};
use time::OffsetDateTime;
use time::macros::datetime;

use super::*;
use crate::credential::test_ca::{Ca, NOW, WEB, ca_params, issuer_url, read, server_params};

const ROOT_SHA1: &[u8] = include_bytes!("../../../tests/fixtures/certificates/root-sha1.der");
const SERVER_SHA1: &[u8] = include_bytes!("../../../tests/fixtures/certificates/server-sha1.der");
const SERVER_1024: &[u8] = include_bytes!("../../../tests/fixtures/certificates/server-1024.der");
const SERVER_SHA256: &[u8] = include_bytes!("../../../tests/fixtures/certificates/server-sha256.der");
const SHORT_CA: &[u8] = include_bytes!("../../../tests/fixtures/certificates/short-ca.der");
const SERVER_OF_SHORT_CA: &[u8] = include_bytes!("../../../tests/fixtures/certificates/server-of-short-ca.der");

fn fixture(der: &[u8]) -> Certificate {
    Certificate::from_der(der).unwrap()
}

fn view(anchors: &[Certificate]) -> PhoneView<'_> {
    PhoneView { anchors, clock: NOW, refuses_sha1: false, min_rsa_bits: 1024 }
}

fn chain(presented: impl IntoIterator<Item = Certificate>) -> ServerChain {
    ServerChain { names: vec![WEB.to_owned()], presented: presented.into_iter().collect(), known: Vec::new() }
}

fn reason(verdict: Verdict) -> Flaw {
    match verdict {
        Verdict::Refused { reason, also } => {
            assert_eq!(also, Vec::new(), "besides {reason}");
            reason
        }
        Verdict::Good { path } => panic!("good: {path:?}"),
    }
}

fn culprit(place: Place, certificate: &Certificate) -> Culprit {
    Culprit::new(place, certificate)
}

/// Root, issuing CA and server, as most pools have them.
struct Contoso {
    root: Ca,
    issuing: Ca,
    server: Certificate,
}

impl Contoso {
    fn new() -> Self {
        let root = Ca::root("Contoso Root");
        let issuing = root.intermediate("Contoso Issuing CA 2");
        let server = issuing.server();
        Self { root, issuing, server }
    }

    fn full(&self) -> ServerChain {
        chain([self.server.clone(), self.issuing.certificate.clone()])
    }

    fn server_only(&self) -> ServerChain {
        chain([self.server.clone()])
    }

    fn anchors(&self) -> [Certificate; 1] {
        [self.root.certificate.clone()]
    }
}

#[test]
fn a_whole_chain_to_a_root_the_phone_holds_is_good_and_shows_its_way() {
    let contoso = Contoso::new();
    let path = vec![contoso.server.clone(), contoso.issuing.certificate.clone(), contoso.root.certificate.clone()];
    assert_eq!(contoso.full().judge(&view(&contoso.anchors())), Verdict::Good { path: path.clone() });

    let remedy = contoso.full().remedy(&view(&contoso.anchors()), &[]).unwrap();
    assert!(remedy.is_empty());
    assert_eq!(remedy.path, path);
}

#[test]
fn a_root_that_the_server_sends_and_the_phone_lacks_is_named() {
    let contoso = Contoso::new();
    let root = contoso.root.certificate.clone();
    let mut chain = contoso.full();
    chain.presented.push(root.clone());
    let flaw = reason(chain.judge(&view(&[])));
    assert_eq!(flaw, Flaw::UnknownRoot { name: "Contoso Root".into(), root: Some(root.clone()) });

    let trusted = [root.clone()];
    let remedy = chain.remedy(&view(&[]), &trusted).unwrap();
    assert_eq!((remedy.anchors.as_slice(), remedy.intermediates.as_slice()), (&trusted[..], &[][..]));
    assert_eq!(chain.remedy(&view(&[]), &[]), Err(Unremedied::RootNotTrusted { root }));
}

#[test]
fn a_root_that_nobody_sends_is_named_by_the_intermediate_it_issued() {
    let contoso = Contoso::new();
    let mut chain = contoso.full();
    let flaw = reason(chain.judge(&view(&[])));
    assert_eq!(flaw, Flaw::UnknownRoot { name: "Contoso Root".into(), root: None });
    let unknown = Unremedied::IssuerUnknown { issuer: "Contoso Root".into(), urls: Vec::new() };
    assert_eq!(chain.remedy(&view(&[]), &[]), Err(unknown));

    chain.known.push(contoso.root.certificate.clone());
    let root = Some(contoso.root.certificate.clone());
    assert_eq!(reason(chain.judge(&view(&[]))), Flaw::UnknownRoot { name: "Contoso Root".into(), root });
}

#[test]
fn a_missing_intermediate_is_named_with_where_to_fetch_it() {
    let contoso = Contoso::new();
    let mut params = server_params();
    params.custom_extensions.push(issuer_url("http://pki.contoso.example/issuing.cer"));
    let chain = chain([contoso.issuing.server_with(&params)]);

    let issuer = "Contoso Issuing CA 2".to_owned();
    let urls = vec!["http://pki.contoso.example/issuing.cer".to_owned()];
    let missing = Flaw::MissingIntermediate { issuer: issuer.clone(), urls: urls.clone(), certificate: None };
    assert_eq!(reason(chain.judge(&view(&contoso.anchors()))), missing);
    let unremedied = chain.remedy(&view(&contoso.anchors()), &contoso.anchors()).unwrap_err();
    assert_eq!(unremedied, Unremedied::IssuerUnknown { issuer, urls });
    assert!(unremedied.next_step().starts_with("fetch the issuer"));
}

#[test]
fn a_missing_intermediate_that_this_computer_knows_is_given_and_shown_to_suffice() {
    let contoso = Contoso::new();
    let issuing = contoso.issuing.certificate.clone();
    let stranger = Ca::root("Fabrikam Root").certificate;
    let mut chain = contoso.server_only();
    chain.known = vec![stranger, issuing.clone(), contoso.root.certificate.clone()];
    let anchors = contoso.anchors();

    let flaw = reason(chain.judge(&view(&anchors)));
    let certificate = Some(issuing.clone());
    assert_eq!(flaw, Flaw::MissingIntermediate { issuer: issuing.label(), urls: vec![], certificate });

    let remedy = chain.remedy(&view(&anchors), &anchors).unwrap();
    assert_eq!(remedy.anchors, []);
    assert_eq!(remedy.intermediates, [issuing]);
    assert!(chain.judge_with(&view(&anchors), &remedy.intermediates).is_good());
}

#[test]
fn a_phone_with_nothing_gets_one_root_and_one_intermediate() {
    let contoso = Contoso::new();
    let mut chain = contoso.server_only();
    chain.known = vec![contoso.issuing.certificate.clone()];
    let trusted = [Ca::root("Fabrikam Root").certificate, contoso.root.certificate.clone()];

    let remedy = chain.remedy(&view(&[]), &trusted).unwrap();

    assert_eq!(remedy.anchors, contoso.anchors());
    assert_eq!(remedy.intermediates, chain.known);
    assert_eq!(remedy.path.len(), 3);
}

#[test]
fn a_root_that_is_only_known_is_never_given() {
    let contoso = Contoso::new();
    let mut chain = contoso.full();
    chain.known = vec![contoso.root.certificate.clone()];
    let root = contoso.root.certificate.clone();
    assert_eq!(chain.remedy(&view(&[]), &[]), Err(Unremedied::RootNotTrusted { root }));
    // Nor does an intermediate become an anchor because somebody calls it trusted.
    assert!(chain.remedy(&view(&[]), std::slice::from_ref(&contoso.issuing.certificate)).is_err());
}

#[test]
fn a_cross_certificate_is_given_rather_than_a_new_root() {
    let contoso = Contoso::new();
    let old = Ca::root("Old Public Root");
    let cross = old.cross_sign(&contoso.root);
    let mut chain = contoso.full();
    chain.known = vec![cross.clone(), contoso.root.certificate.clone()];
    let anchors = [old.certificate.clone()];

    let flaw = reason(chain.judge(&view(&anchors)));
    assert!(matches!(flaw, Flaw::MissingIntermediate { certificate: Some(c), .. } if c == cross));
    let remedy = chain.remedy(&view(&anchors), &contoso.anchors()).unwrap();
    assert_eq!((remedy.anchors, remedy.intermediates), (vec![], vec![cross]));
}

#[test]
fn a_phone_that_holds_another_certificate_of_the_roots_key_trusts_it() {
    let contoso = Contoso::new();
    let mut params = contoso.root.params.clone();
    params.not_after = datetime!(2040-01-01 00:00 UTC);
    let reissued = read(&params.self_signed(&contoso.root.key).unwrap());
    let mut sends_root = contoso.full();
    sends_root.presented.push(contoso.root.certificate.clone());
    assert_ne!(reissued, contoso.root.certificate);
    assert!(sends_root.judge(&view(std::slice::from_ref(&reissued))).is_good());

    let cross = Ca::root("Old Public Root").cross_sign(&contoso.root);
    let mut sends_cross = contoso.full();
    sends_cross.presented.push(cross.clone());
    assert!(sends_cross.judge(&view(&contoso.anchors())).is_good());
    // The other way round: the phone holds the cross-signed certificate as its anchor.
    assert!(sends_root.judge(&view(&[cross])).is_good());
}

#[test]
fn an_expired_root_of_the_phone_is_replaced_by_its_reissue() {
    let contoso = Contoso::new();
    let mut params = contoso.root.params.clone();
    params.not_after = datetime!(2029-06-01 00:00 UTC);
    let old = read(&params.self_signed(&contoso.root.key).unwrap());
    let anchors = [old.clone()];

    let flaw = reason(contoso.full().judge(&view(&anchors)));
    let which = culprit(Place::Root, &old);
    assert_eq!(flaw, Flaw::Expired { which, not_after: params.not_after, clock: NOW });
    let remedy = contoso.full().remedy(&view(&anchors), &contoso.anchors()).unwrap();
    assert_eq!(remedy.anchors, contoso.anchors());
}

#[test]
fn a_ca_that_changed_its_key_is_not_the_root_the_phone_holds() {
    let contoso = Contoso::new();
    let namesake = Ca::root("Contoso Root");
    let flaw = reason(contoso.full().judge(&view(&[namesake.certificate])));
    assert_eq!(flaw, Flaw::UnknownRoot { name: "Contoso Root".into(), root: None });
}

#[test]
fn an_expired_certificate_is_named_and_no_remedy_is_offered() {
    let contoso = Contoso::new();
    let mut params = server_params();
    params.not_after = datetime!(2029-12-31 00:00 UTC);
    let server = contoso.issuing.server_with(&params);
    let chain = chain([server.clone(), contoso.issuing.certificate.clone()]);

    let expired = Flaw::Expired { which: culprit(Place::Server, &server), not_after: params.not_after, clock: NOW };
    assert_eq!(reason(chain.judge(&view(&contoso.anchors()))), expired);
    let unremedied = chain.remedy(&view(&contoso.anchors()), &[]).unwrap_err();
    assert_eq!(unremedied, Unremedied::Flawed { reason: Box::new(expired), also: vec![] });
    assert_eq!(unremedied.next_step(), "have the server's certificate renewed");
    // Without the root too, what no cable can mend still comes first.
    let verdict = chain.judge(&view(&[]));
    assert!(matches!(verdict, Verdict::Refused { reason: Flaw::Expired { .. }, also } if also[0].is_a_gap()));
}

#[test]
fn an_expired_intermediate_is_told_from_an_expired_server() {
    let root = Ca::root("Contoso Root");
    let mut params = ca_params("Contoso Issuing CA 2");
    params.not_after = datetime!(2029-12-31 00:00 UTC);
    let issuing = root.intermediate_with(params);
    let flaw = reason(chain([issuing.server(), issuing.certificate.clone()]).judge(&view(&[root.certificate])));
    assert!(matches!(flaw, Flaw::Expired { which, .. } if which == culprit(Place::Intermediate, &issuing.certificate)));
}

#[test]
fn a_phone_whose_clock_was_never_set_is_told_from_a_certificate_of_tomorrow() {
    let contoso = Contoso::new();
    let at = |clock: OffsetDateTime| match contoso.full().judge(&PhoneView { clock, ..view(&contoso.anchors()) }) {
        Verdict::Refused { reason, .. } => reason,
        Verdict::Good { .. } => panic!("good at {clock}"),
    };
    let never_set = at(datetime!(2008-01-01 00:00 UTC));
    assert!(matches!(&never_set, Flaw::NotYetValid { which, .. } if which.place == Place::Server));
    assert!(never_set.is_the_clocks_fault());
    assert_eq!(never_set.next_step(), "set the phone's clock, then judge again");
    assert!(never_set.to_string().contains("it was never set"));

    let too_early = at(datetime!(2028-12-31 00:00 UTC));
    assert!(matches!(&too_early, Flaw::NotYetValid { .. }));
    assert!(!too_early.is_the_clocks_fault());
}

#[test]
fn the_last_second_still_counts_and_the_next_does_not() {
    let contoso = Contoso::new();
    let last = datetime!(2031-01-01 00:00:00.7 UTC);
    let anchors = contoso.anchors();
    assert!(contoso.full().judge(&PhoneView { clock: last, ..view(&anchors) }).is_good());
    let over = last + time::Duration::SECOND;
    assert!(!contoso.full().judge(&PhoneView { clock: over, ..view(&anchors) }).is_good());
}

#[test]
fn a_server_must_be_good_for_every_name_it_is_called_by() {
    let contoso = Contoso::new();
    let mut chain = contoso.full();
    chain.names.push("sip.contoso.example".into());
    let mismatch = Flaw::NameMismatch { wanted: vec!["sip.contoso.example".into()], found: vec![WEB.into()] };
    assert_eq!(reason(chain.judge(&view(&contoso.anchors()))), mismatch);

    chain.names.clear();
    assert!(!chain.judge(&view(&contoso.anchors())).is_good());

    let mut params = server_params();
    params.subject_alt_names.clear();
    let cn_only = contoso.issuing.server_with(&params);
    let flaw =
        reason(super::tests::chain([cn_only, contoso.issuing.certificate.clone()]).judge(&view(&contoso.anchors())));
    let found = vec!["web.contoso.example (as common name only)".to_owned()];
    assert_eq!(flaw, Flaw::NameMismatch { wanted: vec![WEB.into()], found });
}

#[test]
fn a_wildcard_is_good_for_one_label() {
    let contoso = Contoso::new();
    let mut params = server_params();
    params.subject_alt_names = vec![SanType::DnsName("*.contoso.example".try_into().unwrap())];
    let server = contoso.issuing.server_with(&params);
    assert!(chain([server, contoso.issuing.certificate.clone()]).judge(&view(&contoso.anchors())).is_good());
}

#[test]
fn a_sha1_signature_is_named_and_never_called_good() {
    let (root, server) = (fixture(ROOT_SHA1), fixture(SERVER_SHA1));
    let which = culprit(Place::Server, &server);
    let anchors = [root];
    let chain = chain([server]);
    for refuses_sha1 in [false, true] {
        let flaw = reason(chain.judge(&PhoneView { refuses_sha1, ..view(&anchors) }));
        assert_eq!(flaw, Flaw::Sha1 { which: which.clone(), phone_refuses: refuses_sha1 });
    }
    let unremedied = chain.remedy(&view(&[]), &anchors).unwrap_err();
    assert!(matches!(unremedied, Unremedied::Flawed { reason, .. } if matches!(*reason, Flaw::Sha1 { .. })));
}

#[test]
fn the_own_signature_of_a_root_is_never_judged() {
    let root = fixture(ROOT_SHA1);
    assert!(root.signature_algorithm().is_sha1_or_older() && root.is_self_signed());
    let chain = chain([fixture(SERVER_SHA256), root.clone()]);
    assert!(chain.judge(&view(std::slice::from_ref(&root))).is_good());
    assert_eq!(chain.remedy(&view(&[]), std::slice::from_ref(&root)).unwrap().anchors, [root]);
}

#[test]
fn a_key_of_1024_bits_is_too_short_wherever_it_stands() {
    let anchors = [fixture(ROOT_SHA1)];
    let server = fixture(SERVER_1024);
    let which = culprit(Place::Server, &server);
    let flaw = reason(chain([server]).judge(&view(&anchors)));
    assert_eq!(flaw, Flaw::KeyTooShort { which, bits: 1024, least: 2048 });

    let short = fixture(SHORT_CA);
    let which = culprit(Place::Intermediate, &short);
    let flaw = reason(chain([fixture(SERVER_OF_SHORT_CA), short.clone()]).judge(&view(&anchors)));
    assert_eq!(flaw, Flaw::KeyTooShort { which, bits: 1024, least: 2048 });

    let anchors = [short];
    let flaw = reason(chain([fixture(SERVER_OF_SHORT_CA)]).judge(&view(&anchors)));
    assert!(matches!(flaw, Flaw::KeyTooShort { which, .. } if which.place == Place::Root));
}

#[test]
fn a_phone_that_wants_longer_keys_is_believed() {
    let anchors = [fixture(ROOT_SHA1)];
    let strict = PhoneView { min_rsa_bits: 3072, ..view(&anchors) };
    let verdict = chain([fixture(SERVER_SHA256)]).judge(&strict);
    assert!(matches!(verdict, Verdict::Refused { reason: Flaw::KeyTooShort { bits: 2048, least: 3072, .. }, .. }));
}

#[test]
fn a_certificate_changed_on_its_way_is_a_bad_signature() {
    let contoso = Contoso::new();
    let mut der = contoso.server.der().to_vec();
    let last = der.len() - 1;
    der[last] ^= 1;
    let changed = fixture(&der);
    let chain = chain([changed.clone(), contoso.issuing.certificate.clone()]);
    let flaw = reason(chain.judge(&view(&contoso.anchors())));
    let which = culprit(Place::Server, &changed);
    assert_eq!(flaw, Flaw::BadSignature { which, issuer: "Contoso Issuing CA 2".into() });
}

#[test]
fn a_client_certificate_is_not_for_servers() {
    let contoso = Contoso::new();
    let mut params = server_params();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let server = contoso.issuing.server_with(&params);
    let which = culprit(Place::Server, &server);
    let flaw = reason(chain([server, contoso.issuing.certificate.clone()]).judge(&view(&contoso.anchors())));
    assert_eq!(flaw, Flaw::NotForServers { which, found: "client authentication".into() });
}

#[test]
fn a_user_cannot_issue_a_server() {
    let root = Ca::root("Contoso Root");
    let alice = root.intermediate_with(server_params());
    let flaw = reason(chain([alice.server(), alice.certificate.clone()]).judge(&view(&[root.certificate])));
    assert!(matches!(&flaw, Flaw::Forbidden { rule } if rule.contains("may not issue")), "{flaw}");
}

#[test]
fn an_issuer_limited_to_other_names_is_a_broken_rule() {
    let root = Ca::root("Contoso Root");
    let mut params = ca_params("Fabrikam only");
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("fabrikam.example".into())],
        excluded_subtrees: vec![],
    });
    let issuing = root.intermediate_with(params);
    let flaw = reason(chain([issuing.server(), issuing.certificate.clone()]).judge(&view(&[root.certificate])));
    assert_eq!(flaw, Flaw::Forbidden { rule: "an issuer may not issue for these names".into() });
}

#[test]
fn a_server_certificate_of_version_1_is_malformed() {
    // The fields of a version 1 certificate in DER, as rcgen writes only version 3.
    let contoso = Contoso::new();
    let tlv = |tag: u8, content: &[u8]| {
        let head = match content.len().to_be_bytes() {
            [.., 0, length @ 0..=127] => vec![tag, length],
            [.., 0, length] => vec![tag, 0x81, length],
            [.., high, low] => vec![tag, 0x82, high, low],
        };
        [&head, content].concat()
    };
    let validity = tlv(0x30, &[tlv(0x17, b"290101000000Z"), tlv(0x17, b"310101000000Z")].concat());
    let ecdsa_sha256 = [0x30, 0x0a, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let issuer = contoso.root.certificate.subject_der();
    let server = &contoso.server;
    let fields = [&[2, 1, 9], &ecdsa_sha256[..], issuer, &validity, server.subject_der(), server.spki_der()].concat();
    let tbs = tlv(0x30, &fields);
    let signature = rcgen::SigningKey::sign(&contoso.root.key, &tbs).unwrap();
    let old = fixture(&tlv(0x30, &[tbs, ecdsa_sha256.to_vec(), tlv(3, &[vec![0], signature].concat())].concat()));
    assert_eq!(old.version(), 1);

    let verdict = chain([old.clone()]).judge(&view(&contoso.anchors()));

    let which = culprit(Place::Server, &old);
    let malformed = Flaw::Malformed { which, why: "it is not of version 3" };
    assert!(matches!(verdict, Verdict::Refused { reason, .. } if reason == malformed));
}

#[test]
fn a_server_that_presents_nothing_is_no_mystery() {
    let nothing = chain([]);
    assert_eq!(reason(nothing.judge(&view(&[]))), Flaw::Empty);
    assert!(nothing.remedy(&view(&[]), &[]).is_err());
}

#[test]
fn the_order_and_the_surplus_of_what_a_server_sends_do_not_matter() {
    let contoso = Contoso::new();
    let middle = contoso.issuing.intermediate("Contoso Issuing CA 3");
    let stranger = Ca::root("Fabrikam Root").certificate;
    let presented = [
        middle.server(),
        contoso.root.certificate.clone(),
        contoso.issuing.certificate.clone(),
        stranger,
        middle.certificate.clone(),
    ];
    assert!(chain(presented).judge(&view(&contoso.anchors())).is_good());
}

#[test]
fn certificates_that_issue_each_other_end_the_walk() {
    let (a, b) = (Ca::root("A"), Ca::root("B"));
    let ring = [a.cross_sign(&b), b.cross_sign(&a)];
    let chain = chain([a.server()].into_iter().chain(ring));
    assert!(!chain.judge(&view(&[])).is_good());
    assert!(chain.remedy(&view(&[]), &[]).is_err());
}

#[test]
fn a_tangle_of_namesakes_is_judged_in_bounded_time() {
    let cas: Vec<Ca> = (0..7).map(|_| Ca::root("Contoso Root")).collect();
    let crossed = cas.iter().flat_map(|a| cas.iter().map(move |b| a.cross_sign(b)));
    let chain = chain([cas[0].server()].into_iter().chain(crossed));
    assert!(!chain.judge(&view(&[])).is_good());
    assert!(chain.remedy(&view(&[]), &[]).is_err());
}

#[test]
fn a_server_that_signed_itself_never_becomes_an_anchor() {
    let key = KeyPair::generate().unwrap();
    let own = read(&server_params().self_signed(&key).unwrap());
    let chain = chain([own.clone()]);
    assert_eq!(reason(chain.judge(&view(&[]))), Flaw::UnknownRoot { name: WEB.into(), root: Some(own.clone()) });
    assert_eq!(chain.remedy(&view(&[]), &[]), Err(Unremedied::RootNotTrusted { root: own.clone() }));
    let trusted = std::slice::from_ref(&own);
    assert_eq!(chain.remedy(&view(&[]), trusted), Err(Unremedied::NotARoot { certificate: own.clone() }));
}

#[test]
fn a_verdict_reads_as_lines() {
    let contoso = Contoso::new();
    let good = contoso.full().judge(&view(&contoso.anchors())).to_string();
    assert_eq!(good, "good: web.contoso.example → Contoso Issuing CA 2 → Contoso Root");
    let mut chain = contoso.full();
    chain.names = vec!["sip.contoso.example".into()];
    assert_eq!(
        chain.judge(&view(&[])).to_string(),
        "refused: the server certificate is not for sip.contoso.example: it names web.contoso.example\n\
         also: the root Contoso Root is not among the phone's trust anchors"
    );
}

#[test]
fn what_is_said_to_a_technician_has_no_control_characters() {
    let key = KeyPair::generate().unwrap();
    let evil = read(&ca_params("Evil\u{1b}[2J\nRoot").self_signed(&key).unwrap());
    let flaw = reason(chain([Contoso::new().server, evil]).judge(&view(&[])));
    assert!(!flaw.to_string().chars().any(char::is_control));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_damaged_chain_is_ever_good(which in 0_usize..2, at in 0_usize..600, bit in 0_u8..8) {
        let anchors = [fixture(ROOT_SHA1)];
        let originals = [SERVER_OF_SHORT_CA, SERVER_SHA256];
        let mut der = originals[which].to_vec();
        let at = at % der.len();
        der[at] ^= 1 << bit;
        if let Ok(server) = Certificate::from_der(&der) {
            prop_assert!(!chain([server, fixture(SHORT_CA)]).judge(&view(&anchors)).is_good());
        }
    }
}
