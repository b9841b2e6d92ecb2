//! What the phone has for a person: the terminal it runs on, and a light where the board has one.

use crate::keyboard::Keyboard;
use crate::led::Light;
use crate::screen;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tethercert::device::{Agreement, Panel};
use tethercert::phone::tether::binding::ShortCode;
use tokio::task::JoinHandle;

/// Terminal and light.
pub(crate) struct Terminal {
    light: Option<Light>,
    blinking: Mutex<Option<JoinHandle<()>>>,
    keyboard: Option<Keyboard>,
}

impl Terminal {
    pub(crate) fn new(light: Option<Light>, keyboard: Option<Keyboard>) -> Self {
        Self { light, blinking: Mutex::new(None), keyboard }
    }
}

impl Panel for Terminal {
    fn attention(&self, lasting: Duration) {
        let mut blinking = self.blinking.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = blinking.take() {
            before.abort();
        }
        if lasting.is_zero() {
            return;
        }
        screen::line(&format!("a host asks which phone this is: this one, for {} s", lasting.as_secs()));
        *blinking = self.light.clone().map(|light| tokio::spawn(light.blink(lasting)));
    }

    fn show_code(&self, code: Option<&ShortCode>) {
        if let Some(code) = code {
            screen::line(&format!("short code  {code}"));
        }
    }

    fn log(&self, text: &str) {
        screen::line(text);
    }

    fn ask(&self, host: &str) -> Agreement {
        // Who answers at once is heard too.
        let agreement: Agreement = match &self.keyboard {
            Some(keyboard) => Box::pin(keyboard.agreement()),
            None => Box::pin(std::future::ready(false)),
        };
        screen::line(&format!("{host} wants to set up this phone. Agree? y, or anything else, within two minutes:"));
        agreement
    }
}
