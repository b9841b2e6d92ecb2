use super::*;
use crate::credential::{Certificate, ServerChain};
use crate::phone::definition::{Definitions, Protocol};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::path::Path;
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-23 12:00 UTC);
const WEB: &str = "web.contoso.example";

struct Ca {
    root: CertifiedIssuer<'static, KeyPair>,
    issuing: CertifiedIssuer<'static, KeyPair>,
    server: Certificate,
}

impl Ca {
    fn new() -> Self {
        let named = |kind: DnType, name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(kind, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let key = || KeyPair::generate().unwrap();
        // Some old roots have no common name.
        let root = named(DnType::OrganizationalUnitName, "Contoso Class 2 CA");
        let root = CertifiedIssuer::self_signed(root, key()).unwrap();
        let issuing = CertifiedIssuer::signed_by(named(DnType::CommonName, "Contoso Issuing"), key(), &root).unwrap();
        let server = CertificateParams::new([WEB.to_owned()]).unwrap().signed_by(&key(), &issuing).unwrap();
        Self { server: Certificate::from_der(server.der()).unwrap(), root, issuing }
    }

    fn chain(&self, above: &[&[u8]]) -> ServerChain {
        let above = above.iter().map(|der| Certificate::from_der(der).unwrap());
        let presented = std::iter::once(self.server.clone()).chain(above).collect();
        ServerChain { names: vec![WEB.into()], presented, known: Vec::new() }
    }
}

fn list(entry: &str) -> AnchorList {
    parse(Path::new("test.toml"), &text(entry)).unwrap()
}

fn text(entry: &str) -> String {
    let head = "name = 'test'\nsays = 'x'\nsource = 'x'\nconfidence = 'memory'\n";
    let rest = "owner = 'x'\nbits = 2048\nchecked = false\nsource = 'x'\nconfidence = 'memory'\n";
    format!("{head}[[anchor]]\n{rest}{entry}")
}

const OTHER: &str = "0000000000000000000000000000000000000000";

fn judged(entry: &str, chain: &ServerChain) -> (Likelihood, String) {
    let ListedVerdict { likelihood, text } = list(entry).judge(chain, NOW);
    (likelihood, text)
}

#[test]
fn a_chain_under_a_listed_root_in_date_is_probably_trusted_and_says_from_where() {
    let ca = Ca::new();
    let by_name = format!("name = 'Contoso Class 2 CA'\nends = 2034-06-29\nsha1 = '{OTHER}'");
    let (likelihood, text) = judged(&by_name, &ca.chain(&[ca.issuing.der()]));
    assert_eq!(likelihood, Likelihood::ProbablyTrusted);
    assert_eq!(text, "Contoso Class 2 CA is in the list of its roots until 2034-06-29 (a list from memory)");

    let root = Certificate::from_der(ca.root.der()).unwrap();
    let by_thumbprint = format!("name = 'Another name'\nends = 2034-06-29\nsha1 = '{}'", root.sha1_thumbprint());
    let with_root = ca.chain(&[ca.issuing.der(), ca.root.der()]);
    assert_eq!(judged(&by_thumbprint, &with_root).0, Likelihood::ProbablyTrusted);
    // The root itself says that it is another certificate than the listed one.
    assert_eq!(judged(&by_name, &with_root).0, Likelihood::Unknown);
}

#[test]
fn what_is_not_listed_or_over_is_not_trusted_and_what_depends_on_the_firmware_is_unknown() {
    let ca = Ca::new();
    let chain = ca.chain(&[ca.issuing.der()]);
    let entry = |rest: &str| format!("name = 'Contoso Class 2 CA'\nsha1 = '{OTHER}'\n{rest}");
    for (entry, likelihood, said) in [
        (entry("ends = 2020-05-30"), Likelihood::NotTrusted, "its root Contoso Class 2 CA expired 2020-05-30 (a list"),
        (
            entry("ends = 2014-01-28\nreissued_until = 2028-01-28"),
            Likelihood::Unknown,
            "its root Contoso Class 2 CA expired 2014-01-28; firmware that holds the later copy, until 2028-01-28",
        ),
        (entry("ends = 2014-01-28\nreissued_until = 2020-01-28"), Likelihood::NotTrusted, "its root"),
        (entry("ends = 2031-11-10\nlater = true"), Likelihood::Unknown, "Contoso Class 2 CA is said to be in later"),
        (
            format!("name = 'Other'\nends = 2034-06-29\nsha1 = '{OTHER}'"),
            Likelihood::NotTrusted,
            "OU=Contoso Class 2 CA is not in the list of its roots (a list from memory)",
        ),
    ] {
        let (found, text) = judged(&entry, &chain);
        assert_eq!(found, likelihood, "{text}");
        assert!(text.starts_with(said), "{text}");
    }
}

#[test]
fn a_phone_that_fetches_nothing_does_not_trust_a_server_that_omits_its_intermediate() {
    let ca = Ca::new();
    let entry = format!("name = 'Contoso Class 2 CA'\nends = 2034-06-29\nsha1 = '{OTHER}'");
    let mut chain = ca.chain(&[]);
    chain.known.push(Certificate::from_der(ca.issuing.der()).unwrap());
    let (likelihood, text) = judged(&entry, &chain);
    assert_eq!(likelihood, Likelihood::NotTrusted);
    assert!(text.starts_with("the server does not send Contoso Issuing, and this phone fetches no"), "{text}");
}

#[test]
fn no_list_makes_a_wrong_name_or_an_expired_server_good() {
    let ca = Ca::new();
    let entry = format!("name = 'Contoso Class 2 CA'\nends = 9999-06-29\nsha1 = '{OTHER}'");
    let mut chain = ca.chain(&[ca.issuing.der()]);
    let late = list(&entry).judge(&chain, datetime!(5000-01-01 00:00 UTC));
    assert!(late.likelihood == Likelihood::NotTrusted && late.text.contains("ended"), "{late:?}");
    chain.names = vec!["sip.contoso.example".into()];
    let (likelihood, text) = judged(&entry, &chain);
    assert!(likelihood == Likelihood::NotTrusted && text.contains("not for sip.contoso.example"), "{text}");
    chain.presented.clear();
    assert_eq!(judged(&entry, &chain).0, Likelihood::NotTrusted);
}

#[test]
fn every_shipped_list_is_in_the_program_and_every_phone_that_cannot_be_read_back_names_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers/anchors");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names.map(|name| format!("anchors/{name}")).collect();
    files.sort();
    assert_eq!(files, SHIPPED.map(|(file, _)| file));
    let definitions = Definitions::shipped();
    for definition in definitions.iter() {
        assert_eq!(definitions.anchors(definition).is_some(), definition.protocol == Protocol::Undocumented);
    }
}

#[test]
fn the_list_of_lync_phones_says_that_it_is_from_memory() {
    let definitions = Definitions::shipped();
    let list = definitions.anchors(definitions.get("polycom-cx600").unwrap()).unwrap();
    assert_eq!((list.confidence, list.anchors.len()), (Confidence::Memory, 19));
    assert!(list.anchors.iter().all(|anchor| anchor.confidence == Confidence::Memory && !anchor.source.is_empty()));
    assert_eq!(list.anchors.iter().filter(|anchor| anchor.checked).count(), 11);
    let today: Vec<&str> = list
        .anchors
        .iter()
        .filter(|anchor| anchor.ends >= NOW.date() && anchor.bits >= 2048 && !anchor.later)
        .map(|anchor| anchor.name.as_str())
        .collect();
    let three = [
        "AAA Certificate Services",
        "Go Daddy Class 2 Certification Authority",
        "Starfield Class 2 Certification Authority",
    ];
    assert_eq!(today, three);
}

#[test]
fn old_firmware_is_told_by_its_number() {
    let definitions = Definitions::shipped();
    let list = definitions.anchors(definitions.get("hp-4120").unwrap()).unwrap();
    let firmware = |text: &str| text.parse::<Firmware>().unwrap();
    assert!(list.too_old(&firmware("1.0.522.101")).is_some_and(|limit| limit.confidence == Confidence::Observed));
    assert!(list.too_old(&firmware("3.5.6907.187")).is_none() && list.too_old(&firmware("4.0.7577.4512")).is_none());
    assert_eq!(list.limits_of(Some(&firmware("4.0.7577.4512"))).count() + 1, list.limits_of(None).count());
    for wrong in ["", "4.", "4.0b", "-1"] {
        assert_eq!(wrong.parse::<Firmware>(), Err(ParseFirmwareError));
    }
}

#[test]
fn a_list_that_is_wrong_names_line_and_key() {
    let whole = text(&format!("name = 'x'\nends = 2034-06-29\nsha1 = '{OTHER}'"));
    for (from, to, said) in [
        ("name = 'test'", "name = 'other'", "test.toml:1: `name`"),
        ("says = 'x'", "says = ''", "`says`: is 1 to 200"),
        ("ends = 2034-06-29", "ends = '2034-06-29'", "`ends`"),
        ("ends = 2034-06-29", "ends = 2034-06-29T00:00:00", "`ends`: takes a day"),
        ("ends = 2034-06-29", "ends = 2034-06-29\nreissued_until = 2030-01-01", "`reissued_until`: is later"),
        (OTHER, "0000", "`sha1`: takes 40"),
        ("bits = 2048", "bits = 8", "`bits`"),
        ("checked = false", "", "missing field `checked`"),
        ("confidence = 'memory'\nname", "confidence = 'rumour'\nname", "`confidence`"),
        ("owner = 'x'", "owner = 'x'\nowned = 1", "unknown field `owned`"),
        ("[[anchor]]", "[[limit]]", "unknown field `bits`"),
    ] {
        assert!(whole.contains(from), "{from}");
        let error = parse(Path::new("test.toml"), &whole.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
}
