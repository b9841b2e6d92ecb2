//! The users of the lab's directory.

use crate::credential::SipAddress;
use crate::lab::keys::random;
use secrecy::{ExposeSecret, SecretString};

/// A user of the lab.
#[derive(Debug, Clone)]
pub struct User {
    /// `alice@contoso.example`; also the name by which the directory knows the user (UPN).
    pub sip: SipAddress,
    /// `CONTOSO\alice`.
    pub login: String,
    /// The password behind `login`.
    pub password: SecretString,
    /// The phone number for signing in with a PIN, digits only or as people write it.
    pub number: String,
    /// The PIN.
    pub pin: SecretString,
    /// Whether the user may use Lync at all; otherwise the web ticket service says 28000.
    pub sip_enabled: bool,
}

/// What the lab's first users are called.
const NAMES: [&str; 26] = [
    "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "kim", "lars", "mona", "nils",
    "olga", "peggy", "quinn", "rosa", "sven", "trent", "ursula", "victor", "wendy", "xaver", "yves", "zoe",
];

impl User {
    /// The lab's user of this number, from 0: alice, bob, carol and so on; after zoe come `user27` and so on.
    pub fn of_the_lab(number: u8) -> Self {
        let name = NAMES.get(usize::from(number));
        let name = name.map_or_else(|| format!("user{}", number + 1), |name| (*name).to_owned());
        let sip = format!("{name}@contoso.example").parse().expect("the lab's users have SIP addresses");
        Self::new(sip, &format!("+120655512{:02}", (number + 10) % 100))
    }

    /// A user of `CONTOSO` with a random password and a random PIN of six digits.
    pub fn new(sip: SipAddress, number: &str) -> Self {
        let name = sip.as_str().split('@').next().unwrap_or_default();
        let password: String = random::<12>().iter().map(|byte| format!("{byte:02x}")).collect();
        let pin = u32::from_be_bytes(random()) % 1_000_000;
        Self {
            login: format!("CONTOSO\\{name}"),
            password: password.into(),
            number: number.to_owned(),
            pin: format!("{pin:06}").into(),
            sip_enabled: true,
            sip,
        }
    }

    /// Whether this is the user behind the names of an NTLM message: domain and account, or UPN and no domain.
    pub(in crate::lab) fn is_account(&self, domain: &str, name: &str) -> bool {
        let (own_domain, own_name) = self.login.split_once('\\').unwrap_or(("", &self.login));
        let account = own_domain.eq_ignore_ascii_case(domain) && own_name.eq_ignore_ascii_case(name);
        account || domain.is_empty() && self.sip.as_str().eq_ignore_ascii_case(name)
    }

    /// Whether `entity` names this user: with or without `sip:`, in any case.
    pub(super) fn is_entity(&self, entity: &str) -> bool {
        let scheme = entity.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("sip:"));
        let address = scheme.map_or(entity, |_| &entity[4..]);
        address.eq_ignore_ascii_case(self.sip.as_str())
    }

    pub(super) fn has_number(&self, number: &str) -> bool {
        normalised(&self.number) == normalised(number)
    }

    pub(super) fn has_password(&self, password: &SecretString) -> bool {
        let (own, given) = (self.password.expose_secret().as_bytes(), password.expose_secret().as_bytes());
        aws_lc_rs::constant_time::verify_slices_are_equal(own, given).is_ok()
    }

    pub(super) fn has_pin(&self, pin: &str) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(self.pin.expose_secret().as_bytes(), pin.as_bytes()).is_ok()
    }
}

/// A number without `tel:`, `+`, blanks and brackets; the extension stays apart. LAB profile.
fn normalised(number: &str) -> (String, Option<&str>) {
    let (number, extension) = number.split_once(";ext=").map_or((number, None), |(n, ext)| (n, Some(ext)));
    let number = number.strip_prefix("tel:").unwrap_or(number);
    (number.chars().filter(|c| !"+ -()".contains(*c)).collect(), extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        let user = User::new("alice@contoso.example".parse().unwrap(), "+12065551219");
        assert!(user.has_number("tel:+1 (206) 555-1219"));
        assert!(user.has_number("12065551219"));
        assert!(!user.has_number("12065551219;ext=19"));
    }

    #[test]
    fn an_account_is_known_by_domain_and_name_or_by_upn() {
        let user = User::new("alice@contoso.example".parse().unwrap(), "1");
        assert!(user.is_account("contoso", "Alice"));
        assert!(user.is_account("", "ALICE@contoso.example"));
        assert!(!user.is_account("", "alice"));
        assert!(!user.is_account("FABRIKAM", "alice"));
    }
}
