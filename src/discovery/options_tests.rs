//! The options by the bytes that are known of real servers, and by bytes of any kind.

use super::*;
use proptest::prelude::*;

/// As Microsoft's tool writes them for `pool.contoso.example` and `web.contoso.example`, without code and length.
const OPTION_120: &str = "00 04 70 6f 6f 6c 07 63 6f 6e 74 6f 73 6f 07 65 78 61 6d 70 6c 65 00";
const OPTION_43: &str = "01 0c 4d 53 2d 55 43 2d 43 6c 69 65 6e 74 02 05 68 74 74 70 73 \
     03 13 77 65 62 2e 63 6f 6e 74 6f 73 6f 2e 65 78 61 6d 70 6c 65 04 03 34 34 33 \
     05 25 2f 43 65 72 74 50 72 6f 76 2f 43 65 72 74 50 72 6f 76 69 73 69 6f 6e 69 6e 67 53 65 72 76 69 63 65 2e 73 76 63";

fn bytes(hex: &str) -> Vec<u8> {
    hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn web() -> WebServices {
    WebServices { host: "web.contoso.example".parse().unwrap(), port: 443, path: CERTPROV_PATH.to_owned() }
}

fn option_43(parts: &[(u8, &str)]) -> Vec<u8> {
    parts.iter().flat_map(|(code, value)| [&[*code, value.len() as u8], value.as_bytes()].concat()).collect()
}

const WHOLE: [(u8, &str); 5] =
    [(1, UC_CLIENT), (2, "https"), (3, "web.contoso.example"), (4, "443"), (5, CERTPROV_PATH)];

fn trouble(parts: &[(u8, &str)]) -> Trouble {
    WebServices::read(&option_43(parts)).unwrap_err().trouble()
}

#[test]
fn the_known_bytes_are_written_and_read() {
    assert_eq!(web().bytes().unwrap(), bytes(OPTION_43));
    assert_eq!(web().bytes().unwrap().len(), 86);
    assert_eq!(WebServices::read(&bytes(OPTION_43)).unwrap(), web());
    assert_eq!(web().url(), "https://web.contoso.example:443/CertProv/CertProvisioningService.svc");
    let pool: HostName = "pool.contoso.example".parse().unwrap();
    assert_eq!(registrar_bytes(&pool).unwrap(), bytes(OPTION_120));
    assert_eq!(read_registrars(&bytes(OPTION_120)).unwrap(), [pool]);
}

#[test]
fn order_unknown_codes_padding_and_zeros_at_the_end_of_a_text_do_not_matter() {
    let mut parts: Vec<_> = WHOLE.into_iter().rev().collect();
    parts[1].1 = "443\0";
    parts.insert(2, (77, "other"));
    let mut option = option_43(&parts);
    option.splice(0..0, [0, 0]);
    option.extend([255, 1, 99]);
    assert_eq!(WebServices::read(&option).unwrap(), web());
}

#[test]
fn each_way_of_failing_is_its_own_finding() {
    let with = |code: u8, value: &'static str| {
        let mut parts = WHOLE;
        parts[usize::from(code) - 1].1 = value;
        trouble(&parts)
    };
    let without = |code: u8| trouble(&WHOLE.into_iter().filter(|part| part.0 != code).collect::<Vec<_>>());
    assert_eq!(without(1), Trouble::IdentifierMissing);
    assert_eq!(with(1, "ms-uc-client"), Trouble::IdentifierCase);
    assert_eq!(with(1, "MS-UC-Clients"), Trouble::IdentifierOther);
    assert_eq!(with(2, "http"), Trouble::SchemeNotHttps);
    assert_eq!(with(3, "web"), Trouble::WebNameUnreadable);
    assert_eq!(with(3, "192.0.2.1"), Trouble::WebNameUnreadable);
    assert_eq!(without(3), Trouble::WebNameUnreadable);
    for port in ["", "0", "70000", "+443", "443 ", "\u{1}\u{bb}"] {
        assert_eq!(with(4, port), Trouble::WebPortUnreadable, "{port:?}");
    }
    for path in ["", "CertProv/x.svc", "//elsewhere.example/x", "/a b", "/x?y"] {
        assert_eq!(with(5, path), Trouble::WebPathUnreadable, "{path:?}");
    }
    for code in [2, 4, 5] {
        assert_eq!(without(code), Trouble::WebIncomplete);
    }
    let cut = &bytes(OPTION_43)[..30];
    assert_eq!(WebServices::read(cut).unwrap_err().trouble(), Trouble::WebUnreadable);
    assert_eq!(WebServices::read(&[1]).unwrap_err().trouble(), Trouble::WebUnreadable);
    assert_eq!(WebServices::read(&[]).unwrap_err().trouble(), Trouble::IdentifierMissing);
}

#[test]
fn a_registrar_has_to_be_a_name_in_labels() {
    let read = |hex: &str| read_registrars(&bytes(hex)).map_err(|error| error.to_string());
    let two = read(&format!("{OPTION_120} {}", &OPTION_120[3..])).unwrap();
    assert_eq!(two.len(), 2);
    assert_eq!(read("01 c0 00 02 01").unwrap_err(), "it has 192.0.2.1");
    let text: Vec<u8> = b"pool.contoso.example".to_vec();
    let error = read_registrars(&text).unwrap_err();
    assert_eq!(error.to_string(), "it is the text `pool.contoso.example` instead of the encoding byte 00 and labels");
    assert_eq!(error.trouble(), Trouble::RegistrarUnreadable);
    for bad in
        ["", "00", "00 00", "00 04 70 6f", "00 04 70 6f 6f 6c", "00 04 70 6f 6f 6c 00", "00 c0 0c", "02 01 61 00"]
    {
        assert!(read(bad).is_err(), "{bad}");
    }
    let dotted = [&[0, 20][..], b"pool.contoso.example", &[0]].concat();
    assert!(read_registrars(&dotted).unwrap_err().to_string().contains("a label has a dot in it"));
}

#[test]
fn a_vlan_is_two_bytes() {
    assert_eq!(read_vlan(&[1, 1, b'x', 10, 2, 0, 100]), Ok(Some(100)));
    assert_eq!(read_vlan(&[1, 1, b'x']), Ok(None));
    for bad in [&[10, 3, b'1', b'0', b'0'][..], &[10, 2, 0, 0], &[10, 2, 0x0f, 0xff]] {
        assert_eq!(read_vlan(bad).unwrap_err().trouble(), Trouble::VlanUnreadable);
    }
}

#[test]
fn what_does_not_fit_an_option_is_refused() {
    let long = WebServices { path: format!("/{}", "x".repeat(220)), ..web() };
    assert_eq!(long.bytes().unwrap_err().to_string(), "option 43 would have 270 bytes, and 255 are the most");
}

fn name() -> impl Strategy<Value = HostName> {
    proptest::collection::vec("[a-z][a-z0-9]{0,19}", 2..6).prop_map(|labels| labels.join(".").parse().unwrap())
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(web) = WebServices::read(&bytes) {
            prop_assert!(url::Url::parse(&web.url()).is_ok());
        }
        let _ = (read_registrars(&bytes), read_vlan(&bytes));
    }

    #[test]
    fn what_is_written_reads_back(host in name(), port in 1u16.., path in "/[a-zA-Z0-9./_-]{0,40}") {
        prop_assume!(is_path(&path));
        let web = WebServices { host: host.clone(), port, path };
        prop_assert_eq!(WebServices::read(&web.bytes().unwrap()), Ok(web));
        prop_assert_eq!(read_registrars(&registrar_bytes(&host).unwrap()), Ok(vec![host]));
    }

    #[test]
    fn one_wrong_byte_never_panics(at in 0usize..86, byte: u8) {
        let mut option = bytes(OPTION_43);
        option[at] = byte;
        let _ = WebServices::read(&option);
    }
}
