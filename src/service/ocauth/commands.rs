//! Commands of the Lync and Skype for Business Server Management Shell that a next step names, ready to be pasted. Names and
//! parameters are confirmed by the cmdlets' public reference.

use crate::credential::SipAddress;
use aws_lc_rs::digest;

/// Unlocks the user's PIN.
pub fn unlock_pin(user: &SipAddress) -> String {
    format!("Unlock-CsClientPin -Identity {}", quoted(&user.uri()))
}

/// Shows whether the user has a PIN, and whether it is locked or has expired.
pub fn pin_state(user: &SipAddress) -> String {
    format!("Get-CsClientPinInfo -Identity {}", quoted(&user.uri()))
}

/// Enables the user, who is looked for by the equal UPN: there is no SIP address to know them by yet.
pub fn enable_user(user: &SipAddress) -> String {
    let (name, uri) = (quoted(user.as_str()), quoted(&user.uri()));
    format!("Enable-CsUser -Identity {name} -RegistrarPool <pool> -SipAddress {uri}")
}

/// Shows the user with their home pool.
pub fn show_user(user: &SipAddress) -> String {
    format!("Get-CsUser -Identity {}", quoted(&user.uri()))
}

/// Shows the certificates that are published for the user.
pub fn published_certificates(user: &SipAddress) -> String {
    format!("Get-CsClientCertificate -Identity {}", quoted(&user.uri()))
}

/// Lets the pool take keys of these sizes, bits.
pub fn allow_key_sizes(smallest: u32, largest: u32) -> String {
    format!("Set-CsWebServiceConfiguration -Identity Global -MinCSRKeySize {smallest} -MaxCSRKeySize {largest}")
}

/// Switches a way to get a web ticket on: `UsePinAuth`, `UseCertificateAuth`.
pub fn use_for_tickets(switch: &str) -> String {
    format!("Set-CsWebServiceConfiguration -Identity Global -{switch} $true")
}

/// Has the pool offer this root (DER) to its phones, by its SHA-1 thumbprint. The root has to be in the server's own store.
pub fn trust_root(root: &[u8]) -> String {
    let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, root);
    let thumbprint: String = thumbprint.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    format!("New-CsWebTrustedCACertificate -Thumbprint {thumbprint} -CAStore TrustedRootCA")
}

/// For PowerShell: between single quotes where double ones would let `$` and the backtick mean something. An address holds
/// no quotes.
fn quoted(text: &str) -> String {
    match text.contains(['$', '`']) {
        true => format!("'{text}'"),
        false => format!("\"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_whatever_the_address_holds() {
        let user = |text: &str| text.parse::<SipAddress>().unwrap();
        assert_eq!(
            unlock_pin(&user("alice@contoso.example")),
            "Unlock-CsClientPin -Identity \"sip:alice@contoso.example\""
        );
        assert_eq!(unlock_pin(&user("al$ice@a.example")), "Unlock-CsClientPin -Identity 'sip:al$ice@a.example'");
    }

    #[test]
    fn a_root_is_named_by_its_sha1_thumbprint() {
        let expected = "-Thumbprint A9993E364706816ABA3E25717850C26C9CD0D89D -CAStore TrustedRootCA";
        assert!(trust_root(b"abc").ends_with(expected));
    }
}
