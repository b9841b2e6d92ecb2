//! Asking a person for what is missing. Without a terminal nobody is asked, and the command says which option it needs.

use super::error::CliError;
use super::screen::Screen;
use std::io::{self, BufRead as _};
use std::str::FromStr;
use tethercert::provision::{ProvisionError, Stop};

/// What a person types at the end of the group, without its line's end. Nothing where the input has ended, or when a stop
/// ended the question: the thread that reads then stays behind.
pub(crate) async fn line(screen: &Screen, stop: &Stop, question: &str) -> Option<String> {
    screen.question(question);
    let read = || {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).ok().filter(|read| *read > 0).map(|_| line)
    };
    let line = tokio::select! {
        read = tokio::task::spawn_blocking(read) => read.ok().flatten(),
        () = stop.asked() => None,
    };
    screen.answered(line.is_some());
    line.map(|line| line.trim().to_owned())
}

/// One who can be asked.
pub(crate) struct Person<'a> {
    screen: &'a Screen,
    stop: &'a Stop,
}

impl<'a> Person<'a> {
    /// The person at the terminal, if there is one.
    pub(crate) fn at(screen: &'a Screen, stop: &'a Stop) -> Option<Self> {
        screen.can_ask().then_some(Self { screen, stop })
    }

    /// A value, asked for until it can be read; `example` shows its form. Enter alone is `default`, where there is one.
    pub(crate) async fn value<T: FromStr<Err: std::fmt::Display>>(
        &self,
        question: &str,
        default: Option<&str>,
    ) -> Result<T, CliError> {
        loop {
            match self.text(question, default).await?.parse() {
                Ok(value) => return Ok(value),
                Err(error) => self.screen.note(&format!("{error}")),
            }
        }
    }

    /// The same, where Enter alone means none.
    pub(crate) async fn optional<T: FromStr<Err: std::fmt::Display>>(
        &self,
        question: &str,
    ) -> Result<Option<T>, CliError> {
        loop {
            let text = self.text(&format!("{question} [none]"), Some("")).await?;
            match text.parse() {
                _ if text.is_empty() => return Ok(None),
                Ok(value) => return Ok(Some(value)),
                Err(error) => self.screen.note(&format!("{error}")),
            }
        }
    }

    /// A line, asked for until there is one.
    pub(crate) async fn text(&self, question: &str, default: Option<&str>) -> Result<String, CliError> {
        let shown = default.filter(|it| !it.is_empty()).map(|it| format!(" [{it}]")).unwrap_or_default();
        loop {
            match (line(self.screen, self.stop, &format!("{question}{shown}")).await, default) {
                (None, _) => return Err(ProvisionError::Stopped.into()),
                (Some(typed), Some(default)) if typed.is_empty() => return Ok(default.to_owned()),
                (Some(typed), _) if !typed.is_empty() => return Ok(typed),
                (Some(_), _) => {}
            }
        }
    }

    /// Yes or no; Enter alone is no.
    pub(crate) async fn agrees(&self, question: &str) -> Result<bool, CliError> {
        loop {
            match self.text(&format!("{question} [y/N]"), Some("")).await?.to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(true),
                "n" | "no" | "" => return Ok(false),
                _ => {}
            }
        }
    }

    /// One of several that are shown with their numbers, from 0.
    pub(crate) async fn number(&self, question: &str, of: usize) -> Result<usize, CliError> {
        loop {
            match self.text(&format!("{question} [1-{of}]"), None).await?.parse() {
                Ok(number @ 1..) if number <= of => return Ok(number - 1),
                Ok(_) | Err(_) => {}
            }
        }
    }
}
