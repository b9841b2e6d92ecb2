//! What the services say about themselves to anybody: two GETs, once for all enrolments of a pool.

use super::error::{ServiceError, Step};
use super::http::{Answer, Ask, Repeat};
use super::metadata::{self, MetadataError};
use super::pool::Known;
use super::{OcAuth, host_of, redirected};
use std::sync::Arc;
use std::time::Instant;
use url::Url;

impl OcAuth {
    /// From the pool's memory, or by reading. Of several enrolments that begin at the same time one reads and the others
    /// wait for it; where it fails, each finds out for itself.
    pub(super) async fn known(&mut self) -> Result<Arc<Known>, ServiceError> {
        if let Some(known) = self.pool.known() {
            return Ok(known);
        }
        let pool = self.pool.clone();
        let Ok(_reading) = pool.reading_metadata().try_lock() else {
            drop(pool.reading_metadata().lock().await);
            return match pool.known() {
                Some(known) => Ok(known),
                None => self.read_metadata().await,
            };
        };
        match pool.known() {
            Some(known) => Ok(known),
            None => self.read_metadata().await,
        }
    }

    async fn read_metadata(&mut self) -> Result<Arc<Known>, ServiceError> {
        let url = self.pool.certprov_url().clone();
        let certprov = self.mex(&url, metadata::certprov).await?;
        let ports = self.mex(&certprov.issuer, metadata::web_ticket).await?;
        let chain = self.lines.chain(&url).cloned().expect("an answer came from this server");
        Ok(self.pool.learn(Known { certprov, ports, chain, read_at: Instant::now() }))
    }

    async fn mex<T>(
        &mut self,
        service: &Url,
        read: impl FnOnce(&str) -> Result<T, MetadataError>,
    ) -> Result<T, ServiceError> {
        let mut url = service.clone();
        url.set_path(&format!("{}/mex", service.path().trim_end_matches('/')));
        let ask = Ask { step: Step::Metadata, url, soap: None, authorization: None, repeat: Repeat::Freely };
        let answer = self.lines.ask(ask).await.map_err(|unanswered| unanswered.error)?;
        self.pool.note_clock(answer.clock_offset);
        self.refused_metadata(service, &answer)?;
        let read = answer.text().map_err(MetadataError::Bad).and_then(|text| read(&text));
        read.map_err(|error| metadata_error(service, error))
    }

    fn refused_metadata(&self, service: &Url, answer: &Answer) -> Result<(), ServiceError> {
        if let Some(redirected) = redirected(answer, &host_of(service), Step::Metadata) {
            return Err(redirected);
        }
        match answer.status {
            200 => Ok(()),
            404 => Err(ServiceError::NothingThere { url: service.to_string() }),
            _ => Err(ServiceError::Refused { step: Step::Metadata, diagnosis: self.diagnosis(answer) }),
        }
    }
}

/// Metadata of `url` that is of no use.
pub(super) fn metadata_error(url: &Url, error: MetadataError) -> ServiceError {
    let host = host_of(url);
    match error {
        MetadataError::Bad(source) => ServiceError::BadAnswer { host, step: Step::Metadata, source },
        MetadataError::NoPort(port) => ServiceError::NoProvisioning { host, port },
        MetadataError::Insecure(address) => ServiceError::InsecureAddress { host, address },
    }
}
