//! Ctrl-C, SIGTERM and a closed terminal; on Windows Ctrl-C, Ctrl-Break, a closed console and the system going down.

use super::error::CliError;
use super::screen::Screen;
use tethercert::provision::Stop;
#[cfg(windows)]
use tokio::signal::windows;

/// Asks for a stop at the first signal and says at each further one that the job ends by itself.
pub(crate) fn stop_on_signals(stop: Stop, screen: Screen) -> Result<(), CliError> {
    let mut signals = Signals::new()?;
    tokio::spawn(async move {
        signals.next().await;
        stop.ask();
        screen.note("stopping at the next safe point");
        loop {
            signals.next().await;
            screen.note("still stopping: the job ends at its next safe point");
        }
    });
    Ok(())
}

/// Signals that mean: stop.
pub(crate) struct Signals {
    #[cfg(unix)]
    kinds: [tokio::signal::unix::Signal; 3],
    #[cfg(windows)]
    kinds: (windows::CtrlC, windows::CtrlBreak, windows::CtrlClose, windows::CtrlShutdown),
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> Result<Self, CliError> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(CliError::Signals);
        let kinds = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        Ok(Self { kinds })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.kinds;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(windows)]
impl Signals {
    pub(crate) fn new() -> Result<Self, CliError> {
        let kinds = (
            windows::ctrl_c().map_err(CliError::Signals)?,
            windows::ctrl_break().map_err(CliError::Signals)?,
            windows::ctrl_close().map_err(CliError::Signals)?,
            windows::ctrl_shutdown().map_err(CliError::Signals)?,
        );
        Ok(Self { kinds })
    }

    /// Waits for the next one. After the last two, Windows ends the process some five seconds later whatever it does: a job
    /// that is not over by then was cut short, and `resume` ends it.
    pub(crate) async fn next(&mut self) {
        let (interrupt, stop, close, shutdown) = &mut self.kinds;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = stop.recv() => {}
            _ = close.recv() => {}
            _ = shutdown.recv() => {}
        }
    }
}
