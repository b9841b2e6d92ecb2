//! What `WWW-Authenticate` offers (RFC 9110 section 11.6.1): schemes, each with a token or parameters, in one header or several.

use super::super::http::Answer;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The schemes of a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offered(Vec<(String, Option<String>)>);

impl Offered {
    pub(super) fn read(answer: &Answer) -> Self {
        let mut schemes: Vec<(String, Option<String>)> = Vec::new();
        for value in answer.headers("www-authenticate") {
            let mut quoted = false;
            let items = value.split(move |c| {
                quoted ^= c == '"';
                c == ',' && !quoted
            });
            for item in items.map(str::trim) {
                let (name, rest) = item.split_once(char::is_whitespace).unwrap_or((item, ""));
                // `realm="x"` after a comma belongs to the scheme before it.
                if name.is_empty() || name.contains('=') {
                    continue;
                }
                let rest = rest.trim();
                let is_token = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
                schemes.push((name.to_owned(), is_token.then(|| rest.to_owned())));
            }
        }
        Self(schemes)
    }

    pub(super) fn has(&self, scheme: &str) -> bool {
        self.0.iter().any(|(name, _)| name.eq_ignore_ascii_case(scheme))
    }

    /// The token that came with a scheme.
    pub(super) fn token(&self, scheme: &str) -> Option<Vec<u8>> {
        self.0
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(scheme))
            .find_map(|(_, token)| Some(STANDARD.decode(token.as_ref()?).ok()?).filter(|token| !token.is_empty()))
    }

    /// For a person.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|(name, _)| super::diagnostics::one_line(name)).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offered(values: &[&str]) -> Offered {
        let headers: Vec<_> = values.iter().map(|value| ("WWW-Authenticate", *value)).collect();
        Offered::read(&Answer::example(401, &headers, ""))
    }

    #[test]
    fn schemes_are_read_from_one_header_and_from_several_in_any_case() {
        for values in
            [&["negotiate", "ntlm", "Basic realm=\"a, b\", charset=\"UTF-8\""][..], &["Negotiate, NTLM,BASIC realm=x"]]
        {
            let offered = offered(values);
            assert!(offered.has("NTLM") && offered.has("Negotiate") && offered.has("Basic") && !offered.has("Bearer"));
            assert!(offered.token("NTLM").is_none());
        }
        assert_eq!(offered(&["Negotiate, NTLM", "Basic realm=\"NTLM\""]).names(), "Negotiate, NTLM, Basic");
    }

    #[test]
    fn a_token_belongs_to_its_scheme() {
        let offered = offered(&["Negotiate", "NTLM TlRMTVNTUAAC", "Basic realm=\"x\""]);
        assert_eq!(offered.token("ntlm").as_deref(), Some(b"NTLMSSP\0\x02".as_slice()));
        assert_eq!((offered.token("Negotiate"), offered.token("Basic")), (None, None));
    }

    proptest! {
        #[test]
        fn any_header_is_read(value in "[ -~]{0,60}") {
            let offered = offered(&[&value]);
            let _ = (offered.token("NTLM"), offered.names());
        }
    }
}
