//! The cookies of one enrolment. Load balancers steer by them; they go back to the host that set them and to no other.

use std::collections::HashMap;

/// The cookies of one enrolment, by host.
#[derive(Default)]
pub(super) struct Cookies(HashMap<String, Vec<(String, String)>>);

impl Cookies {
    /// What the host is sent, if it has set anything.
    pub(super) fn header(&self, host: &str) -> Option<String> {
        let cookies = self.0.get(host).filter(|cookies| !cookies.is_empty())?;
        let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Some(pairs.join("; "))
    }

    /// Takes one `Set-Cookie`.
    pub(super) fn keep(&mut self, host: &str, header: &str) {
        let mut parts = header.split(';');
        let Some((name, value)) = parts.next().and_then(|pair| pair.trim().split_once('=')) else { return };
        let cookies = self.0.entry(host.to_owned()).or_default();
        cookies.retain(|(known, _)| known != name);
        let gone = parts.any(|part| part.trim().eq_ignore_ascii_case("max-age=0"));
        if !gone && !value.is_empty() {
            cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_replaced_and_removed_by_its_name_and_stays_with_its_host() {
        let mut cookies = Cookies::default();
        cookies.keep("web", "MS-WSMAN=fe01; path=/; secure");
        cookies.keep("web", "MS-WSMAN=fe02; HttpOnly");
        cookies.keep("web", "other=1");
        assert_eq!(cookies.header("web").as_deref(), Some("MS-WSMAN=fe02; other=1"));
        cookies.keep("web", "other=1; Max-Age=0");
        assert_eq!(cookies.header("web").as_deref(), Some("MS-WSMAN=fe02"));
        assert_eq!(cookies.header("sts"), None);
    }
}
