//! The root-chain download: what a phone fetches over plain http before it can trust any https.
//!
//! That the anonymous http address of certificate provisioning exists for it is confirmed (its name) and inferred (its
//! purpose); that the answer is PKCS#7 is confirmed ([MS-OCAUTHWS] 1.5). Operation and elements are not public: LAB, and
//! data, so that a capture changes a profile and no logic.

use super::profile::RootChainsProfile;
use super::xml::{self, BadMessage, MAX_MESSAGE};
use crate::service::server_trust::Bag;
use crate::tls::{Proxy, Resolve, pkcs7};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;
use url::Url;

/// For the whole download, connecting included.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Most tokens and most certificates that are looked at; a pool has some CAs, not hundreds.
const MOST_TOKENS: usize = 16;
const MOST_CERTIFICATES: usize = 64;
/// Longest text of one token, characters of base64.
const LONGEST_TOKEN: usize = 512 << 10;

/// Why the root chains could not be had. None of it stops a job: the download only helps.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No answer.
    #[error("no answer over plain http")]
    Unanswered(#[source] reqwest::Error),
    /// An answer that is none.
    #[error("the server answered HTTP {status}{}", reason.as_deref().map(|it| format!(": {it}")).unwrap_or_default())]
    Refused {
        /// The status.
        status: u16,
        /// The fault's words, where it had some.
        reason: Option<String>,
    },
    /// Longer than any set of chains.
    #[error("the answer is longer than {} KiB", MAX_MESSAGE >> 10)]
    TooLong,
    /// Not the message that the profile describes.
    #[error("the answer cannot be read")]
    Bad(#[source] BadMessage),
}

impl DownloadError {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Unanswered(_) => "check that port 80 of the Web Services is open from here; phones need it too",
            Self::Refused { .. } => {
                "have the administrator look at EnableCertChainDownload: Get-CsWebServiceConfiguration"
            }
            Self::TooLong | Self::Bad(_) => {
                "the operation is not public: compare the profile with the pool's own /mex and ?wsdl"
            }
        }
    }
}

/// Where a phone finds the download: port 80 of the same host (its address is confirmed, its purpose inferred).
pub(super) fn usual_address(certprov: &Url, profile: &RootChainsProfile) -> Option<Url> {
    let mut url = certprov.clone();
    url.set_path(&profile.path);
    url.set_port(None).ok()?;
    url.set_scheme("http").ok()?;
    Some(url)
}

/// Asks once, without any credential, and follows no redirect.
pub(super) async fn download(
    url: &Url,
    profile: &RootChainsProfile,
    resolve: &[Resolve],
    proxy: &Proxy,
) -> Result<Bag, DownloadError> {
    let mut client = reqwest::Client::builder().timeout(TIME_LIMIT).redirect(reqwest::redirect::Policy::none());
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
    let meant = |it: &&Resolve| Some(it.port) == port && it.host.eq_ignore_ascii_case(host);
    let mut target = url.clone();
    let there = resolve.iter().find(meant);
    if let Some(there) = there {
        client = client.resolve(host, there.address);
        // A port in the URL would count instead of the one of the address.
        let _ = target.set_port(None);
    }
    let client = proxy.applied(client, url, there.is_some()).map_err(DownloadError::Unanswered)?;
    // The profile's names were checked to be names.
    let request = format!(
        r#"<soap:Envelope xmlns:soap="{}"><soap:Body><{} xmlns="{}"/></soap:Body></soap:Envelope>"#,
        super::names::SOAP,
        profile.request,
        profile.namespace
    );
    let unanswered = |error: reqwest::Error| DownloadError::Unanswered(error.without_url());
    let mut answer = client
        .build()
        .map_err(unanswered)?
        .post(target)
        .header("Content-Type", "text/xml; charset=utf-8")
        .header("SOAPAction", format!("\"{}\"", profile.soap_action))
        .body(request)
        .send()
        .await
        .map_err(unanswered)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > MAX_MESSAGE {
            return Err(DownloadError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    let status = answer.status().as_u16();
    if status != 200 {
        let reason = std::str::from_utf8(&body).ok().and_then(super::diagnostics::reason_of);
        return Err(DownloadError::Refused { status, reason: reason.filter(|reason| !reason.is_empty()) });
    }
    read(&body, profile).map_err(DownloadError::Bad)
}

/// Takes every certificate from every token.
pub(super) fn read(message: &[u8], profile: &RootChainsProfile) -> Result<Bag, BadMessage> {
    let message = xml::text_of(message, None)?;
    let document = xml::parse(&message)?;
    let body = xml::body(&document)?;
    let is_response = |node: &roxmltree::Node<'_, '_>| node.has_tag_name((&*profile.namespace, &*profile.response));
    let response = body.children().find(is_response).ok_or(BadMessage::Missing("answer to the root-chain download"))?;
    let is_token = |node: &roxmltree::Node<'_, '_>| node.has_tag_name((&*profile.token_namespace, &*profile.token));
    let mut ders = Vec::new();
    for token in response.descendants().filter(is_token).take(MOST_TOKENS) {
        let bad = |problem: &str| BadMessage::BadValue { what: "PKCS#7 of a chain", problem: problem.to_owned() };
        let text: String = xml::text(token).split_whitespace().collect();
        if text.len() > LONGEST_TOKEN {
            return Err(bad("it is too long"));
        }
        let der = STANDARD.decode(text).map_err(|_| bad("it is not base64"))?;
        let certificates = pkcs7::certificates(&der).ok_or_else(|| bad("it is no PKCS#7 with certificates"))?;
        ders.extend(certificates.into_iter().map(|certificate| certificate.to_vec()));
    }
    if ders.is_empty() {
        return Err(BadMessage::Missing("certificate in any token"));
    }
    if ders.len() > MOST_CERTIFICATES {
        let problem = format!("{}, and {MOST_CERTIFICATES} are read at most", ders.len());
        return Err(BadMessage::BadValue { what: "number of certificates", problem });
    }
    Ok(Bag::sorted(ders))
}
