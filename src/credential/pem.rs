//! PEM, as every tool takes it (RFC 7468).

use base64::Engine as _;

/// A certificate's DER as PEM.
pub fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (at, c) in text.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::super::Certificate;
    use super::super::test_ca::Ca;

    #[test]
    fn what_is_written_is_read_again() {
        let root = Ca::root("Contoso Root").certificate;
        let text = super::pem(root.der());
        assert!(text.lines().all(|line| line.len() <= 64));
        assert_eq!(Certificate::from_pem_or_der(text.as_bytes()).unwrap()[0].der(), root.der());
    }
}
