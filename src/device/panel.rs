//! What a person at the phone sees and does.

use crate::phone::tether::binding::ShortCode;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Becomes what the person at the phone decides. Dropping it withdraws the question.
pub type Agreement = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Light, screen and keys of a phone. The calls are quick: they come while the phone is locked.
pub trait Panel: Send + Sync {
    /// Draws attention for so long; zero ends it.
    fn attention(&self, lasting: Duration);

    /// Shows the short code, or takes it away.
    fn show_code(&self, code: Option<&ShortCode>);

    /// A line was written into the phone's log.
    fn log(&self, line: &str);

    /// Asks the person at the phone whether this host may set it up.
    fn ask(&self, host: &str) -> Agreement;
}

/// Nobody looks at this phone, and nobody agrees to anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPanel;

impl Panel for NoPanel {
    fn attention(&self, _lasting: Duration) {}

    fn show_code(&self, _code: Option<&ShortCode>) {}

    fn log(&self, _line: &str) {}

    fn ask(&self, _host: &str) -> Agreement {
        Box::pin(std::future::ready(false))
    }
}
