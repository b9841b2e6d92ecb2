//! The first line: which columns there are.

use super::{Finding, Place};

/// A column that a roster may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The phone's Ethernet address.
    Mac,
    /// The phone's serial number.
    Serial,
    /// The port that the phone is plugged into.
    Port,
    /// The user's SIP address.
    User,
    /// The user's Windows account.
    Login,
    /// The number that goes with the user's PIN.
    PhoneNumber,
    /// What people call the phone or its place.
    Label,
}

/// Words that name a secret in the first line of a list, whatever its author speaks.
const SECRETS: [&str; 21] = [
    "password",
    "passwd",
    "passwort",
    "passphrase",
    "pass",
    "pwd",
    "pw",
    "kennwort",
    "secret",
    "geheim",
    "geheimnis",
    "pin",
    "token",
    "key",
    "credential",
    "credentials",
    "contrasena",
    "contraseña",
    "motdepasse",
    "wachtwoord",
    "code",
];

/// The columns of a file, by their place in it.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// What each is called in the file.
    names: Vec<String>,
    /// Which it is; nothing for one that was refused.
    known: Vec<Option<Column>>,
}

impl Column {
    /// All, in the order in which they are usually written.
    pub const ALL: [Self; 7] =
        [Self::Mac, Self::Serial, Self::Port, Self::User, Self::Login, Self::PhoneNumber, Self::Label];

    /// As the first line has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mac => "mac",
            Self::Serial => "serial",
            Self::Port => "port",
            Self::User => "user",
            Self::Login => "login",
            Self::PhoneNumber => "phone_number",
            Self::Label => "label",
        }
    }
}

/// All of them, for people.
fn all() -> String {
    Column::ALL.map(Column::as_str).join(", ")
}

impl Columns {
    /// Reads the first line. Case does not count, nor whether words are parted by `_`, `-` or a blank.
    pub(super) fn of(line: u64, cells: &[String], findings: &mut Vec<Finding>) -> Self {
        let mut columns = Self::default();
        let known = |name: &str| Column::ALL.into_iter().find(|column| column.as_str() == plain(name));
        if !cells.iter().any(|name| known(name).is_some() || is_secret(name)) {
            let text = format!("the first line names none of the columns: begin the file with {}", all());
            findings.push(Finding::error(Place::line(line), text));
            return columns;
        }
        for (index, name) in cells.iter().enumerate() {
            let place = Place::cell(line, index, name);
            let mut column = known(name);
            match column {
                Some(found) if columns.place(found).is_some() => {
                    findings.push(Finding::error(place, "this column is there already"));
                    column = None;
                }
                Some(_) => {}
                None if is_secret(name) => findings.push(Finding::error(
                    place,
                    "it looks like a secret, and a roster has none: it is copied and mailed. Take the column out, \
                     change what was in it where others may have seen it, and give the secrets with --secrets",
                )),
                // What a spreadsheet leaves behind the last column.
                None if name.is_empty() => {}
                None => findings.push(Finding::error(place, format!("there is no such column: there are {}", all()))),
            }
            columns.names.push(name.clone());
            columns.known.push(column);
        }
        if columns.place(Column::User).is_none() {
            findings.push(Finding::error(Place::line(line), "the column user is missing: whom the phones are for"));
        }
        if [Column::Mac, Column::Serial, Column::Port].into_iter().all(|key| columns.place(key).is_none()) {
            let text = "one of the columns mac, serial and port is needed: which phone is meant";
            findings.push(Finding::error(Place::line(line), text));
        }
        columns
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is a column that nothing is known of, without a name: what is in its cells is too much.
    pub(super) fn is_nameless(&self, index: usize) -> bool {
        self.names.get(index).is_none_or(String::is_empty)
    }

    pub(super) fn place(&self, column: Column) -> Option<usize> {
        self.known.iter().position(|known| *known == Some(column))
    }

    /// The place of a cell.
    pub(super) fn cell(&self, line: u64, index: usize) -> Place {
        Place::cell(line, index, self.names.get(index).map_or("", String::as_str))
    }
}

/// `Phone Number` is `phone_number`.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

/// Whether a column is called like a secret: one of its words is, or all of it without the blanks.
fn is_secret(name: &str) -> bool {
    let name = plain(name);
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let joined: String = words.clone().collect();
    words.chain([joined.as_str()]).any(|word| {
        let one = word.strip_suffix('s').unwrap_or(word);
        SECRETS.contains(&word) || SECRETS.contains(&one) || word.contains("passwor") || word.contains("kennwort")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_called_like_a_secret_is_known_in_any_dress() {
        for secret in [
            "password",
            "Password",
            "PASSWORT",
            "kennwort",
            "pin",
            "PIN",
            "user_pin",
            "PIN-Code",
            "secret",
            "Secrets",
            "userpassword",
            "initial password",
            "mot de passe",
            "pwd",
            "Contraseña",
        ] {
            assert!(is_secret(secret), "{secret}");
        }
        for plain in ["mac", "serial", "port", "user", "login", "phone_number", "label", "shipping", "opinion", "city"]
        {
            assert!(!is_secret(plain), "{plain}");
        }
    }
}
