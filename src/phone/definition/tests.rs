use super::*;
use proptest::prelude::*;

const TETHER: (u8, u8, u8) = (0xff, 0x54, 0x01);

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn name<'a>(recognition: &Recognition<'a>) -> &'a str {
    match recognition {
        Recognition::Phone(definition) => &definition.name,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> String {
    file::parse(Path::new("drivers/acme.toml"), text).unwrap_err().to_string()
}

#[test]
fn every_shipped_file_is_in_the_program() {
    let mut files: Vec<String> = std::fs::read_dir(repository().join("drivers"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|file| file.ends_with(".toml"))
        .collect();
    files.sort();
    assert_eq!(files, file::SHIPPED.map(|(file, _)| file));
    assert_eq!(Definitions::shipped().iter().count(), files.len());
}

#[test]
fn no_device_matches_two_shipped_files() {
    let definitions = Definitions::shipped();
    let rules: Vec<&UsbRule> = definitions.iter().flat_map(|definition| &definition.usb).collect();
    // Every device that fulfils two rules at once, or one (a rule with itself).
    for one in &rules {
        for two in &rules {
            let interfaces: Vec<_> = one.interface.into_iter().chain(two.interface).collect();
            for (vendor, product) in [one.device, two.device].map(|device| device.unwrap_or((0x1209, 0x0001))) {
                let seen = Seen { vendor, product, interfaces: &interfaces, ..Seen::default() };
                assert!(!matches!(definitions.recognise(&seen), Recognition::Candidates(_)), "{one:?} {two:?}");
            }
        }
    }
    for definition in definitions.iter() {
        for part in &definition.text_contains {
            let seen = Seen { product_name: Some(part), ..Seen::default() };
            assert_eq!(definitions.recognise(&seen), Recognition::Candidates(vec![definition]), "{part}");
        }
    }
}

#[test]
fn a_phone_is_known_by_its_interface_whoever_made_it() {
    let definitions = Definitions::shipped();
    let interfaces = [(0x01, 0x01, 0x00), TETHER];
    let seen = Seen { vendor: 0x1209, product: 0x7e7e, interfaces: &interfaces, ..Seen::default() };
    let recognition = definitions.recognise(&seen);
    assert_eq!(name(&recognition), "tether");
}

#[test]
fn a_cx300_is_known_and_never_spoken_to() {
    let definitions = Definitions::shipped();
    let seen = Seen { vendor: 0x095d, product: 0x9201, interfaces: &[(1, 1, 0), (3, 0, 0)], ..Seen::default() };
    let Recognition::Phone(definition) = definitions.recognise(&seen) else { panic!() };
    assert_eq!((definition.name.as_str(), definition.protocol), ("polycom-cx300", Protocol::None));
}

#[test]
fn a_string_makes_a_candidate_whatever_its_case_and_never_a_phone() {
    let definitions = Definitions::shipped();
    let seen = Seen { vendor: 0x045e, product_name: Some("Polycom cx600 IP Phone"), ..Seen::default() };
    let Recognition::Candidates(candidates) = definitions.recognise(&seen) else { panic!() };
    assert_eq!(candidates.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["polycom-cx600"]);
    let seen = Seen { manufacturer: Some("LG-Nortel IP8540"), ..Seen::default() };
    assert!(matches!(definitions.recognise(&seen), Recognition::Candidates(one) if one[0].name == "polycom-cx700"));
    let seen = Seen { product_name: Some("Mouse"), ..Seen::default() };
    assert_eq!(definitions.recognise(&seen), Recognition::Unknown);
}

#[test]
fn every_phone_we_cannot_provision_says_what_can_be_done_and_where_its_facts_are_from() {
    for definition in Definitions::shipped().iter() {
        assert!(!definition.facts.is_empty(), "{}", definition.name);
        assert!(definition.facts.iter().all(|fact| !fact.says.is_empty() && !fact.source.is_empty()));
        assert_eq!(definition.what_can_be_done.is_none(), definition.protocol == Protocol::Tether);
    }
}

#[test]
fn a_makers_file_wins_over_the_one_for_any_maker() {
    let mut definitions = Definitions::shipped();
    let root = "4f".repeat(32);
    let text = format!(
        "name = 'acme'\nmaker = 'Acme'\nmodel = 'Kite'\nprotocol = 'tether'\n\
         [[usb]]\nvendor = 0x1209\nproduct = 1\ninterface = {{ class = 0xff, subclass = 0x54, protocol = 1 }}\n\
         [authenticity]\nroots = ['{root}']\n"
    );
    definitions.add(Path::new("acme.toml"), &text).unwrap();
    let seen = Seen { vendor: 0x1209, product: 1, interfaces: &[TETHER], ..Seen::default() };
    assert_eq!(name(&definitions.recognise(&seen)), "acme");
    assert_eq!(definitions.get("acme").unwrap().maker_roots[0].fingerprint.to_string(), root);

    definitions.add(Path::new("acme-2.toml"), &text.replace("'acme'", "'acme-2'")).unwrap();
    assert!(matches!(definitions.recognise(&seen), Recognition::Candidates(both) if both.len() == 2));
}

#[test]
fn a_root_may_be_a_whole_certificate() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    let leaf = params.self_signed(&key).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let text = |pem: &str| {
        format!(
            "name = 'acme'\nmaker = 'Acme'\nmodel = 'Kite'\nprotocol = 'tether'\n[[usb]]\nvendor = 1\nproduct = 1\n\
             [authenticity]\nroots = ['''{pem}''']\n"
        )
    };
    let definition = file::parse(Path::new("acme.toml"), &text(&root.pem())).unwrap();
    let expected = MakerRoot { fingerprint: Fingerprint::of(root.der()), der: Some(root.der().to_vec()) };
    assert_eq!(definition.maker_roots, [expected]);
    assert!(refused(&text(&leaf.pem())).contains("`roots`: takes a root certificate"));
}

#[test]
fn a_users_file_wins_over_the_shipped_one_of_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let text = file::SHIPPED[4].1.replace("\"CX300\"", "\"CX300 R2\"");
    std::fs::write(folder.path().join("polycom-cx300.toml"), text).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "not a definition").unwrap();

    let definitions = Definitions::load(Some(folder.path()), &[]).unwrap();
    assert_eq!(definitions.get("polycom-cx300").unwrap().model, "CX300 R2");
    assert_eq!(definitions.iter().count(), file::SHIPPED.len());
}

#[test]
fn a_folder_that_was_asked_for_has_to_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    assert!(Definitions::load(Some(&missing), &[]).is_ok());
    let error = Definitions::load(None, &[missing]).unwrap_err();
    assert!(matches!(error, DefinitionError::Unreadable { .. }));
    assert!(error.next_step().contains("--drivers"));
}

#[test]
fn an_error_names_file_line_key_and_what_is_allowed() {
    let whole =
        "name = 'acme'\nmaker = 'Acme'\nmodel = 'Kite'\nprotocol = 'tether'\n[[usb]]\nvendor = 1\nproduct = 1\n";
    assert!(file::parse(Path::new("drivers/acme.toml"), whole).is_ok());
    let change = |from: &str, to: &str| refused(&whole.replace(from, to));
    let errors = [
        change("product = 1", "product = 70000"),
        change("vendor = 1", "interface = { class = 256, subclass = 1, protocol = 1 }"),
        change("product = 1", "prodcut = 1"),
        change("product = 1\n", ""),
        change("vendor = 1\nproduct = 1\n", ""),
        change("[[usb]]\nvendor = 1\nproduct = 1\n", ""),
        change("'tether'", "'telepathy'"),
        change("'tether'", "'undocumented'"),
        change("name = 'acme'", "name = 'ACME'"),
        change("'Kite'", "''"),
        change("'Kite'", "\"Kite\\u0007\""),
        change("[[usb]]", "[[candidate]]\ntext_contains = ['IP']\n[[usb]]"),
        change("[[usb]]", "[authenticity]\nroots = ['4f2a']\n[[usb]]"),
        change("[[usb]]", "[[usb"),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r"
    drivers/acme.toml:7: `product`: takes a number from 0x0000 to 0xffff
    drivers/acme.toml:6: `interface`: takes a number from 0x00 to 0xff
    drivers/acme.toml:7: `prodcut`: unknown field `prodcut`, expected one of `vendor`, `product`, `interface`
    drivers/acme.toml:5: `usb`: takes vendor and product together, or neither
    drivers/acme.toml:5: `usb`: needs an interface, or vendor and product, or all of them
    drivers/acme.toml:1: `usb`: is missing: give at least one [[usb]] or [[candidate]]
    drivers/acme.toml:4: `protocol`: unknown variant `telepathy`, expected one of `tether`, `undocumented`, `none`
    drivers/acme.toml:4: `what_can_be_done`: is missing: say what a technician can do with a phone that is not spoken to
    drivers/acme.toml:1: `name`: is the file's name without .toml, in a-z, 0-9 and -; this file is called `acme`
    drivers/acme.toml:3: `model`: is 1 to 64 printable characters
    drivers/acme.toml:3: `model`: is 1 to 64 printable characters
    drivers/acme.toml:6: `text_contains`: takes texts of at least 4 characters
    drivers/acme.toml:6: `roots`: takes a root certificate as PEM, or its SHA-256 as 64 hexadecimal digits
    drivers/acme.toml:5: `[[usb`: unclosed array table, expected `]]`
    ");
}

const KEYBOARD: InterfaceKind = InterfaceKind { number: 2, class: 3, subclass: 1, protocol: 1 };

fn kind(number: u8, (class, subclass, protocol): (u8, u8, u8)) -> InterfaceKind {
    InterfaceKind { number, class, subclass, protocol }
}

#[test]
fn what_a_file_does_not_expect_beside_the_tether_interface_is_unexpected() {
    let definitions = Definitions::shipped();
    let tether = definitions.get("tether").unwrap();
    let plain = [kind(0, TETHER), kind(1, (0xfe, 1, 1))];
    assert_eq!(tether.unexpected(plain), []);
    assert_eq!(tether.unexpected(plain.into_iter().chain([KEYBOARD])), [KEYBOARD]);
    // Another setting of the tether interface, a second tether interface, another mode of the update interface.
    assert_eq!(tether.unexpected([kind(0, TETHER), kind(0, TETHER)]), []);
    assert_eq!(tether.unexpected([kind(0, TETHER), kind(0, (8, 6, 0x50))]), [kind(0, (8, 6, 0x50))]);
    assert_eq!(tether.unexpected([kind(0, TETHER), kind(1, TETHER), kind(1, TETHER)]), [kind(1, TETHER)]);
    assert_eq!(tether.unexpected([kind(0, TETHER), kind(1, (0xfe, 1, 2))]), [kind(1, (0xfe, 1, 2))]);
}

#[test]
fn a_makers_file_expects_what_it_gives_a_reason_for_and_nothing_else() {
    let text = |expects: &str| {
        format!(
            "name = 'acme'\nmaker = 'Acme'\nmodel = 'Kite'\nprotocol = 'tether'\nexpects = {expects}\n\
             [[usb]]\nvendor = 1\nproduct = 1\n"
        )
    };
    let hid = "{ class = 3, subclass = 1, protocol = 1, why = 'its keys dial' }";
    let acme = file::parse(Path::new("acme.toml"), &text(&format!("[{hid}]"))).unwrap();
    assert_eq!(acme.unexpected([kind(0, TETHER), KEYBOARD]), []);
    assert_eq!(acme.unexpected([kind(1, (0xfe, 1, 1))]), [kind(1, (0xfe, 1, 1))]);
    let errors = [
        refused(&text(&format!("[{hid}, {hid}]"))),
        refused(&text("[{ class = 3, subclass = 1, protocol = 1, why = '' }]")),
        refused(&text("[{ class = 3, subclass = 1, protocol = 1 }]")),
        refused(&text("[{ class = 3, why = 'its keys dial' }]")),
        refused(&text("[{ class = 0xff, subclass = 0x54, protocol = 1, why = 'itself' }]")),
        refused(&text(&format!("[{hid}]")).replace("'tether'", "'none'\nwhat_can_be_done = 'nothing'")),
    ];
    insta::assert_snapshot!(errors.join("\n"), @r"");
}

proptest! {
    #[test]
    fn any_text_is_a_definition_or_an_error(text in "(\\[\\[usb\\]\\]|name|=|'acme'|\n|[a-z0-9'\" .{}#é]){0,30}") {
        let _ = file::parse(Path::new("acme.toml"), &text);
    }

    #[test]
    fn any_device_is_recognised_or_not(vendor: u16, product: u16, interfaces: Vec<(u8, u8, u8)>, product_name: String) {
        let seen = Seen { vendor, product, interfaces: &interfaces, manufacturer: None, product_name: Some(&product_name) };
        let _ = Definitions::shipped().recognise(&seen);
    }
}
