//! Everything that is wrong with a roster, at once.

use super::columns::{Column, Columns};
use super::text::Sheet;
use super::{Finding, Keys, Place, Row};
use crate::credential::SipAddress;
use crate::usb::{MacAddress, Slot};
use std::collections::BTreeMap;

/// The longest cell, characters.
const LONGEST_CELL: usize = 254;

/// A line as far as it could be read, and where its cells stand, for findings about several lines.
struct Read {
    line: u64,
    keys: Keys,
    user: Option<SipAddress>,
    login: Option<String>,
    phone_number: Option<String>,
    label: Option<String>,
    places: Places,
}

struct Places {
    mac: Option<Place>,
    serial: Option<Place>,
    port: Option<Place>,
    user: Place,
    login: Place,
}

/// The rows that could be read, and all findings.
pub(super) fn lint(sheet: &Sheet) -> (Vec<Row>, Vec<Finding>) {
    let mut findings = Vec::new();
    let Some(((line, names), lines)) = sheet.lines.split_first() else {
        let text = "the file is empty: its first line names the columns, then there is a line for each phone";
        return (Vec::new(), vec![Finding::error(Place::line(1), text)]);
    };
    let columns = Columns::of(*line, names, &mut findings);
    if columns.len() == 0 {
        return (Vec::new(), findings);
    }
    if lines.is_empty() {
        findings.push(Finding::error(Place::line(*line), "there is no phone in it"));
    }
    let read: Vec<Read> = lines.iter().filter_map(|(line, cells)| row(*line, cells, &columns, &mut findings)).collect();
    repeated_keys(&read, &mut findings);
    repeated_users(&read, &mut findings);
    (read.into_iter().filter_map(Read::row).collect(), findings)
}

impl Read {
    fn row(self) -> Option<Row> {
        let Self { line, keys, user, login, phone_number, label, .. } = self;
        Some(Row { line, keys, user: user?, login, phone_number, label })
    }
}

/// One line; nothing where it cannot be read.
fn row(line: u64, cells: &[String], columns: &Columns, findings: &mut Vec<Finding>) -> Option<Read> {
    let too_many = cells.iter().skip(columns.len()).any(|cell| !cell.is_empty());
    if cells.len() < columns.len() || too_many {
        // Shifted cells would be taken for what they are not, and might be shown.
        let text = format!("it has {} cells and the first line {}", cells.len(), columns.len());
        findings.push(Finding::error(Place::line(line), text));
        return None;
    }
    let before = findings.len();
    for (index, cell) in cells.iter().enumerate().take(columns.len()) {
        if columns.is_nameless(index) && !cell.is_empty() {
            findings.push(Finding::error(columns.cell(line, index), "this column has no name in the first line"));
        } else if cell.chars().any(char::is_control) {
            let text = "the cell holds a line's end or another control character; perhaps a quote is not closed";
            findings.push(Finding::error(columns.cell(line, index), text));
        } else if cell.chars().count() > LONGEST_CELL {
            let text = format!("the cell is longer than {LONGEST_CELL} characters");
            findings.push(Finding::error(columns.cell(line, index), text));
        }
    }
    if findings.len() > before {
        return None;
    }
    let cell = |column: Column| {
        let index = columns.place(column)?;
        let text = cells.get(index).filter(|text| !text.is_empty())?;
        Some((columns.cell(line, index), text.as_str()))
    };
    let mac = read(cell(Column::Mac), findings, |text| match text.parse::<MacAddress>() {
        Ok(mac) if *mac.as_bytes() == [0; 6] || mac.as_bytes()[0] & 1 == 1 => {
            Err("no phone has this address".to_owned())
        }
        Ok(mac) => Ok(mac),
        Err(error) => Err(format!("{error}")),
    });
    let serial = read(cell(Column::Serial), findings, |text| not_mangled(text).map(|()| text.to_owned()));
    let port = read(cell(Column::Port), findings, |text| text.parse::<Slot>().map_err(|error| error.to_string()));
    let phone_number = read(cell(Column::PhoneNumber), findings, |text| number(text).map(|()| text.to_owned()));
    let user = read(cell(Column::User), findings, |text| text.parse::<SipAddress>().map_err(|error| error.to_string()));
    let at = |column: Column| columns.place(column).map_or_else(|| Place::line(line), |at| columns.cell(line, at));
    if cell(Column::User).is_none() && columns.place(Column::User).is_some() {
        findings.push(Finding::error(at(Column::User), "the user is missing: whom the phone is for"));
    }
    let keys = [Column::Mac, Column::Serial, Column::Port];
    if keys.into_iter().any(|key| columns.place(key).is_some()) && keys.into_iter().all(|key| cell(key).is_none()) {
        let text = "none of mac, serial and port is given: which phone is meant";
        findings.push(Finding::error(Place::line(line), text));
    }
    let text = |column| cell(column).map(|(_, text): (Place, &str)| text.to_owned());
    let place = |column: Column, read: bool| read.then(|| at(column));
    Some(Read {
        places: Places {
            mac: place(Column::Mac, mac.is_some()),
            serial: place(Column::Serial, serial.is_some()),
            port: place(Column::Port, port.is_some()),
            user: at(Column::User),
            login: at(Column::Login),
        },
        line,
        keys: Keys { mac, serial, port },
        user,
        login: text(Column::Login),
        phone_number,
        label: text(Column::Label),
    })
}

/// A cell, if there is one; what is wrong with it becomes a finding.
fn read<T>(
    cell: Option<(Place, &str)>,
    findings: &mut Vec<Finding>,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let (place, text) = cell?;
    parse(text).map_err(|message| findings.push(Finding::error(place, message))).ok()
}

/// Spreadsheets turn long numbers into `1.20656E+10`, and what they have dropped is gone.
fn not_mangled(text: &str) -> Result<(), String> {
    let (mantissa, exponent) = text.split_once(['E', 'e']).unwrap_or_default();
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','));
    let is_power = exponent.strip_prefix('+').is_some_and(|power| power.len() <= 3 && digits(power));
    match is_power && digits(mantissa) {
        true => Err("the spreadsheet has rounded this number: make the column text and type it again".to_owned()),
        false => Ok(()),
    }
}

fn number(text: &str) -> Result<(), String> {
    not_mangled(text)?;
    let bare = text.strip_prefix("tel:").unwrap_or(text);
    let (number, extension) = bare.split_once(";ext=").unwrap_or((bare, "0"));
    let plain = |c: char| c.is_ascii_digit() || "+-(). /".contains(c);
    let has_digit = |text: &str| text.chars().any(|c| c.is_ascii_digit());
    match number.chars().all(plain) && has_digit(number) && extension.chars().all(|c| c.is_ascii_digit()) {
        true if !extension.is_empty() => Ok(()),
        _ => Err("this is no phone number: write it like +1 206 555 1219, or 5551219;ext=19".to_owned()),
    }
}

/// One phone in two rows: a phone has one user.
fn repeated_keys(read: &[Read], findings: &mut Vec<Finding>) {
    let mut macs = BTreeMap::new();
    let mut ports = BTreeMap::new();
    let mut serials: BTreeMap<&str, Vec<&Read>> = BTreeMap::new();
    for it in read {
        if let (Some(mac), Some(place)) = (it.keys.mac, &it.places.mac)
            && let Some(first) = macs.insert(mac, it.line)
        {
            macs.insert(mac, first);
            findings.push(Finding::error(place.clone(), format!("line {first} has this MAC address too")));
        }
        if let (Some(port), Some(place)) = (&it.keys.port, &it.places.port)
            && let Some(first) = ports.insert(port, it.line)
        {
            ports.insert(port, first);
            let text = format!(
                "line {first} has this port too: for phones that follow each other there, leave the port out and give mac \
                 or serial"
            );
            findings.push(Finding::error(place.clone(), text));
        }
        let (Some(serial), Some(place)) = (&it.keys.serial, &it.places.serial) else { continue };
        let before = serials.entry(serial).or_default();
        if let Some(first) = before.iter().find(|other| !told_apart(&other.keys, &it.keys)) {
            let text =
                format!("line {} has this serial number too, and no MAC address or port tells them apart", first.line);
            findings.push(Finding::error(place.clone(), text));
        } else if let Some(first) = before.first() {
            let text =
                format!("line {} has this serial number too; only MAC address or port tells them apart", first.line);
            findings.push(Finding::warning(place.clone(), text));
        }
        before.push(it);
    }
}

/// Whether no phone can be both, by another key than the serial number.
fn told_apart(one: &Keys, other: &Keys) -> bool {
    let macs = one.mac.zip(other.mac).is_some_and(|(one, other)| one != other);
    macs || one.port.as_ref().zip(other.port.as_ref()).is_some_and(|(one, other)| one != other)
}

/// A second phone of a user is legitimate and seldom; two accounts of one user are not.
fn repeated_users(read: &[Read], findings: &mut Vec<Finding>) {
    let mut users: BTreeMap<&SipAddress, &Read> = BTreeMap::new();
    for it in read {
        let Some(user) = &it.user else { continue };
        let Some(first) = users.get(user) else {
            users.insert(user, it);
            continue;
        };
        if first.login != it.login {
            let text = format!("line {} has another login for {user}: a user has one password", first.line);
            findings.push(Finding::error(it.places.login.clone(), text));
        } else if first.phone_number != it.phone_number {
            let text = format!("line {} has another phone number for {user}: a user has one PIN", first.line);
            findings.push(Finding::error(it.places.user.clone(), text));
        } else {
            let text = format!("{user} is in line {} too: a second phone gets a certificate of its own", first.line);
            findings.push(Finding::warning(it.places.user.clone(), text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Draft, Severity};
    use proptest::prelude::*;

    fn told(text: &str) -> Vec<String> {
        let mut draft = Draft::of("roster.csv", text.as_bytes()).unwrap();
        draft.findings().iter().map(|it| format!("{} {}: {}", it.severity, it.place, it.message)).collect()
    }

    fn only(text: &str) -> String {
        let [told] = <[String; 1]>::try_from(told(text)).unwrap_or_else(|told| panic!("{told:#?}"));
        told
    }

    #[test]
    fn a_good_roster_is_read_whatever_the_order_of_its_columns() {
        let text = "Label;User;Phone Number;MAC\nReception;SIP:Alice@contoso.example;+1 206 555 1210;0004F2AABB01\n";
        let mut draft = Draft::of("roster.csv", text.as_bytes()).unwrap();
        assert_eq!(draft.findings(), []);
        let roster = draft.approved().unwrap();
        let [row] = roster.rows() else { panic!("{roster:?}") };
        assert_eq!(
            (row.line, row.user.as_str(), row.label.as_deref()),
            (2, "alice@contoso.example", Some("Reception"))
        );
        assert_eq!(row.keys.to_string(), "00:04:f2:aa:bb:01");
        assert_eq!(row.phone_number.as_deref(), Some("+1 206 555 1210"));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_with_line_and_column() {
        let text = "mac,serial,port,user,PIN,city\n\
            00:04:f2:aa:bb:01,,,alice@contoso.example,071257,\n\
            00:04:f2:aa:bb:1,,,bob,,\n\
            ,,,carol@contoso.example,,\n\
            00-04-F2-AA-BB-01,,1_4,dave@contoso.example,,\n\
            ,4711,1-4,,,\n\
            ,1.2E+11,1-4,erin@contoso.example,,\n\
            ,4711\n";
        let told = told(text);
        insta::assert_snapshot!(told.join("\n"), @"
        error line 1, column 5 (PIN): it looks like a secret, and a roster has none: it is copied and mailed. Take the column out, change what was in it where others may have seen it, and give the secrets with --secrets
        error line 1, column 6 (city): there is no such column: there are mac, serial, port, user, login, phone_number, label
        error line 3, column 1 (mac): a MAC address is 12 hexadecimal digits, like 00:04:f2:aa:bb:cc
        error line 3, column 4 (user): `bob` is not a SIP address: write it like alice@contoso.example
        error line 4: none of mac, serial and port is given: which phone is meant
        error line 5, column 1 (mac): line 2 has this MAC address too
        error line 5, column 3 (port): `1_4` is not a USB port: write it like 1-4.2, or 192.0.2.7:3240/1-4.2 for a USB/IP host
        error line 6, column 4 (user): the user is missing: whom the phone is for
        error line 7, column 2 (serial): the spreadsheet has rounded this number: make the column text and type it again
        error line 7, column 3 (port): line 6 has this port too: for phones that follow each other there, leave the port out and give mac or serial
        error line 8: it has 2 cells and the first line 6
        ");
        assert!(!told.join("\n").contains("071257"));
        assert!(Draft::of("r", text.as_bytes()).unwrap().approved().is_none());
    }

    #[test]
    fn twin_serials_are_taken_where_another_key_tells_them_apart() {
        let two = |one: &str, other: &str| {
            format!("mac,serial,port,user\n{one},alice@contoso.example\n{other},bob@contoso.example\n")
        };
        assert!(only(&two(",4711,", ",4711,1-2")).starts_with("error line 3, column 2 (serial): line 2 has this"));
        assert!(only(&two(",4711,1-1", ",4711,1-2")).starts_with("warning line 3, column 2 (serial): line 2"));
        assert!(only(&two("00:04:f2:aa:bb:01,4711,", ",4711,1-2")).starts_with("error"), "one phone may be both");
    }

    #[test]
    fn a_users_second_phone_is_a_warning_and_a_second_account_an_error() {
        let two = |one: &str, other: &str| {
            format!("port,user,login\n1-1,alice@contoso.example,{one}\n1-2,alice@contoso.example,{other}\n")
        };
        assert!(only(&two("", "")).starts_with("warning line 3, column 2 (user): alice@contoso.example is in line 2"));
        assert!(only(&two("CONTOSO\\alice", "CONTOSO\\root")).starts_with("error line 3, column 3 (login)"));
    }

    #[test]
    fn a_file_that_is_no_roster_is_called_so_in_one_sentence() {
        assert!(only("").contains("the file is empty"));
        assert!(only("00:04:f2:aa:bb:01,alice@contoso.example\n").contains("begin the file with mac, serial, port"));
        assert!(only("mac,user\n").contains("there is no phone in it"));
        assert!(only("port,port,user\n1-1,,alice@contoso.example\n").contains("there already"));
        assert!(only("mac,user\n00:04:f2:aa:bb:01,\"alice@contoso.example\n").contains("quote is not closed"));
        assert!(only("mac,user\n00:04:f2:aa:bb:01,alice@contoso.example,x\n").contains("3 cells and the first line 2"));
        assert!(only("mac,user\n01:00:5e:00:00:01,alice@contoso.example\n").contains("no phone has this address"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_linted_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Draft::of("roster.csv", &bytes);
        }

        #[test]
        fn any_cells_are_linted(
            cells in prop::collection::vec("[a-z0-9:@.;,\"\\-\n\u{0}-\u{1f}ü]{0,20}", 0..30),
            head in "(mac|serial|port|user|login|phone_number|label|pin|,|;){0,9}",
        ) {
            let text = format!("{head}\n{}", cells.join(","));
            if let Ok(mut draft) = Draft::of("roster.csv", text.as_bytes()) {
                let errors = draft.findings().iter().any(|it| it.severity == Severity::Error);
                prop_assert_eq!(errors, draft.has_errors());
                prop_assert!(draft.rows().len() <= text.lines().count());
            }
        }
    }
}
