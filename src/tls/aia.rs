//! Fetches an issuer's certificate from the address that a certificate names (AIA caIssuers, RFC 5280 4.2.2.1).
//!
//! What comes back is only a hint for finding a path; webpki judges it like anything else. DER, PEM and
//! PKCS#7 (`.p7c`) are read.

use super::proxy::Proxy;
use super::trust::certificates;
use rustls::pki_types::CertificateDer;
use std::time::Duration;
use url::Url;

/// Largest answer read, bytes.
const MAX_ANSWER: usize = 64 << 10;
/// For one fetch, connection included.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The certificates at `address`, or why there are none, in a few words.
pub(super) async fn fetch(address: &str, proxy: &Proxy) -> Result<Vec<CertificateDer<'static>>, String> {
    let url = Url::parse(address).map_err(|error| error.to_string())?;
    let client = reqwest::Client::builder().timeout(TIME_LIMIT).redirect(reqwest::redirect::Policy::limited(2));
    let client = proxy.applied(client, &url, false).and_then(|client| client.build());
    let client = client.map_err(|error| error.without_url().to_string())?;
    let mut answer = client.get(url).send().await.map_err(|error| error.without_url().to_string())?;
    if !answer.status().is_success() {
        return Err(format!("HTTP {}", answer.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| error.without_url().to_string())? {
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(format!("longer than {} KiB", MAX_ANSWER >> 10));
        }
        bytes.extend_from_slice(&chunk);
    }
    let found = certificates(&bytes).map_err(|(_, problem)| problem)?;
    if found.is_empty() { Err("no certificate in the answer".to_owned()) } else { Ok(found) }
}
