//! The person at the phone's terminal.

use std::io::BufRead;
use tokio::sync::broadcast;

/// Lines that somebody types, for whoever waits for one.
#[derive(Clone)]
pub(crate) struct Keyboard(broadcast::Sender<String>);

impl Keyboard {
    /// Listens from now on.
    pub(crate) fn listen() -> Self {
        let (lines, _) = broadcast::channel(16);
        let heard = lines.clone();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let _ = heard.send(line);
            }
        });
        Self(lines)
    }

    /// Whether the next line that is typed says yes. Nobody there never answers.
    pub(crate) fn agreement(&self) -> impl Future<Output = bool> + Send + use<> {
        let mut lines = self.0.subscribe();
        async move {
            match lines.recv().await {
                Ok(line) => matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
                Err(_) => std::future::pending().await,
            }
        }
    }
}
