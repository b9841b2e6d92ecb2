//! One connection of a host: a list, or an import and then transfers until either side ends it.
//!
//! A session of transfers runs over any stream: TCP for hosts that import, a socket pair for this computer's own kernel.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use super::bus::Wanted;
use super::device::{Speed, Stall};
use super::port::{Fault, Imported};
use super::standard::{Handled, Standing};
use super::wire::{self, Command, CommandKind, HEADER, Listed, Nonsense, OK, Operation, STALLED, Submit};

/// How long a host that does not read may keep a session alive after its end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves one connection to its end.
pub(super) async fn serve(shared: Arc<Shared>, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let mut incoming = BytesMut::new();
    let operation = loop {
        match wire::operation(&incoming) {
            Ok(Some(operation)) => break operation,
            Ok(None) if reader.read_buf(&mut incoming).await? > 0 => {}
            Ok(None) | Err(Nonsense) => return Ok(()),
        }
    };
    match operation {
        Operation::List => writer.write_all(&list(&shared)).await,
        Operation::Import { bus_id } => match shared.import(&bus_id) {
            Err(refusal) => writer.write_all(&wire::refusal(refusal)).await,
            Ok(imported) => {
                let _ = incoming.split_to(40);
                let session = Session::new(imported);
                writer.write_all(&wire::import_reply(&session.listed())).await?;
                session.serve(reader, writer, incoming).await
            }
        },
    }
}

fn list(shared: &Shared) -> Vec<u8> {
    let ports = shared.ports();
    let listed = ports.values().filter_map(|port| {
        let (address, descriptors) = port.listed()?;
        let listed = Listed { bus_id: &port.bus_id, address, configuration: 0, descriptors: &descriptors };
        Some(wire::list_entry(&listed))
    });
    let entries: Vec<Vec<u8>> = listed.collect();
    let count = u32::try_from(entries.len()).expect("a lab has few devices");
    [wire::list_reply(count), entries.concat()].concat()
}

/// A host and the device it has. Dropping it gives the device back.
pub(super) struct Session {
    imported: Imported,
    standing: Standing,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.imported.port.release(&self.imported.bus);
    }
}

impl Session {
    pub(super) fn new(imported: Imported) -> Self {
        Self { imported, standing: Standing { configuration: 0 } }
    }

    /// The number that commands for the device bear.
    pub(super) fn id(&self) -> u32 {
        self.listed().id()
    }

    pub(super) fn address(&self) -> u32 {
        self.imported.address
    }

    pub(super) fn speed(&self) -> Speed {
        self.imported.descriptors.speed
    }

    fn listed(&self) -> Listed<'_> {
        let Imported { port, address, descriptors, .. } = &self.imported;
        Listed { bus_id: &port.bus_id, address: *address, configuration: 0, descriptors }
    }

    /// Obeys the host's commands until it or the cable is gone. `incoming` is what the host has sent already.
    pub(super) async fn serve(
        mut self,
        mut reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin + Send + 'static,
        mut incoming: BytesMut,
    ) -> io::Result<()> {
        let id = self.id();
        let (_, nothing) = tokio::sync::mpsc::unbounded_channel();
        let answers = std::mem::replace(&mut self.imported.answers, nothing);
        let writing = tokio::spawn(write(answers, writer));
        let ended = self.imported.ended.clone();
        let heard = async {
            loop {
                while let Some((command, data)) = take(&mut incoming)? {
                    if command.device != id {
                        return Err(Nonsense);
                    }
                    self.obey(&command, &data);
                    if ended.is_cancelled() {
                        return Ok(());
                    }
                }
                incoming.reserve(HEADER);
                tokio::select! {
                    biased;
                    () = ended.cancelled() => return Ok(()),
                    read = reader.read_buf(&mut incoming) => match read {
                        Ok(1..) => {}
                        Ok(0) | Err(_) => return Ok(()),
                    },
                }
            }
        };
        let _: Result<(), Nonsense> = heard.await;
        // The host may import again as soon as it sees the end, so the device is given back before.
        drop(self);
        let stopper = writing.abort_handle();
        if tokio::time::timeout(LAST_ANSWERS, writing).await.is_err() {
            stopper.abort();
        }
        Ok(())
    }

    fn obey(&mut self, command: &Command, data: &[u8]) {
        match &command.kind {
            CommandKind::Unlink { target } => self.imported.bus.withdraw(command.sequence, *target),
            CommandKind::Submit(submit) => match self.imported.port.count() {
                None => self.transfer(command.sequence, submit, data, false),
                Some(Fault::CutAfter) => self.transfer(command.sequence, submit, data, true),
                Some(Fault::CutBefore) => self.imported.bus.cut(),
                Some(Fault::Hang) => self.imported.bus.hang(command.sequence),
                Some(Fault::Stall) => {
                    if submit.endpoint & 0x0f != 0 {
                        self.imported.bus.stall(submit.endpoint);
                    }
                    self.answer(command.sequence, false, Err(Stall));
                }
            },
        }
    }

    /// Makes one transfer; with `cut` the cable is pulled in the place of its answer.
    fn transfer(&mut self, sequence: u32, submit: &Submit, data: &[u8], cut: bool) {
        let Imported { port, bus, .. } = &self.imported;
        let endpoint = submit.endpoint;
        if endpoint & 0x0f == 0 {
            let outcome = self.control(submit, data);
            return self.answer(sequence, cut, outcome);
        }
        if self.standing.configuration == 0 || !bus.has(endpoint) || bus.is_halted(endpoint) {
            return self.answer(sequence, cut, Err(Stall));
        }
        if endpoint & 0x80 != 0 {
            return bus.want(endpoint, Wanted { sequence, length: submit.length, cut, got: Vec::new() });
        }
        let outcome = port.with_device(|device| device.transfer_out(endpoint, data)).unwrap_or(Err(Stall));
        if outcome.is_err() {
            bus.stall(endpoint);
        }
        self.answer(sequence, cut, outcome.map(|()| (data.len(), Vec::new())));
    }

    /// Gives how much was transferred, and what the host reads of it.
    fn control(&mut self, submit: &Submit, data: &[u8]) -> Result<(usize, Vec<u8>), Stall> {
        let Imported { port, bus, descriptors, .. } = &self.imported;
        let setup = &submit.setup;
        let mut answer = match self.standing.handle(setup, descriptors, bus) {
            Handled::Here(answer) => answer?,
            Handled::HaltCleared(endpoint) => {
                port.with_device(|device| device.halt_cleared(endpoint));
                Vec::new()
            }
            Handled::Configured(interface) => {
                port.with_device(|device| device.configured(interface));
                Vec::new()
            }
            Handled::Device => port.with_device(|device| device.control(setup, data)).unwrap_or(Err(Stall))?,
        };
        if !setup.is_in() {
            return Ok((data.len(), Vec::new()));
        }
        answer.truncate(submit.length.min(setup.length.into()));
        Ok((answer.len(), answer))
    }

    fn answer(&self, sequence: u32, cut: bool, outcome: Result<(usize, Vec<u8>), Stall>) {
        let bus = &self.imported.bus;
        match (cut, outcome) {
            (true, _) => bus.cut(),
            (false, Ok((length, data))) => bus.answer(wire::submitted(sequence, OK, length, &data)),
            (false, Err(Stall)) => bus.answer(wire::submitted(sequence, STALLED, 0, &[])),
        }
    }
}

/// Takes one whole command from what has arrived.
fn take(incoming: &mut BytesMut) -> Result<Option<(Command, BytesMut)>, Nonsense> {
    let Some(header) = incoming.first_chunk::<HEADER>() else { return Ok(None) };
    let command = wire::command(header)?;
    let length = match &command.kind {
        CommandKind::Submit(submit) if submit.endpoint & 0x80 == 0 => submit.length,
        CommandKind::Submit(_) | CommandKind::Unlink { .. } => 0,
    };
    if incoming.len() < HEADER + length {
        return Ok(None);
    }
    let mut frame = incoming.split_to(HEADER + length);
    Ok(Some((command, frame.split_off(HEADER))))
}

async fn write(mut answers: UnboundedReceiver<Vec<u8>>, mut writer: impl AsyncWrite + Unpin) {
    while let Some(answer) = answers.recv().await {
        if writer.write_all(&answer).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}
