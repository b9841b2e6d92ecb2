//! A reference phone on one of the machine's device ports: the program `tethercert-phone`, as on a board.

use super::guest::{self, PATIENCE};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tethercert-phone");

/// The machine's device ports; each is on a bus of its own.
pub const PORTS: [&str; 2] = ["dummy_udc.0", "dummy_udc.1"];

/// Who vouches for the boards, and the definition that a computer knows them by.
pub struct Maker {
    folder: PathBuf,
    drivers: PathBuf,
}

impl Maker {
    /// A maker whose things are in `place`; made if it is not there yet. Its boards count as a lab's phones.
    pub fn in_folder(place: &Path) -> Self {
        let (folder, drivers) = (place.join("maker"), place.join("drivers"));
        if !folder.exists() {
            let root = told(Command::new(PROGRAM).args(["make-maker", "--name", "Boards (LAB)", "--out"]).arg(&folder));
            fs::create_dir_all(&drivers).unwrap();
            let definition = format!(
                "name = \"board\"\nmaker = \"tethercert\"\nmodel = \"reference phone\"\nprotocol = \"tether\"\n\
                 [[usb]]\nvendor = 0x1209\nproduct = 0x0001\n\
                 interface = {{ class = 0xff, subclass = 0x54, protocol = 0x01 }}\n\
                 [authenticity]\nlab = true\nroots = ['''\n{root}''']\n\
                 [[fact]]\nsays = \"a board\"\nsource = \"this test\"\nconfidence = \"lab\"\n"
            );
            fs::write(drivers.join("board.toml"), definition).unwrap();
        }
        Self { folder, drivers }
    }

    /// For `--drivers`.
    pub fn drivers(&self) -> &str {
        self.drivers.to_str().unwrap()
    }

    /// Gives the board with this storage its factory certificate.
    pub fn vouch_for(&self, board: &Options) {
        let place = self.folder.parent().unwrap();
        let (request, chain) = (place.join("request.pem"), place.join("chain.pem"));
        fs::write(&request, told(board.command().arg("factory-request"))).unwrap();
        let sign = told(Command::new(PROGRAM).arg("factory-sign").arg("--root").arg(&self.folder).arg(&request));
        fs::write(&chain, sign).unwrap();
        told(board.command().arg("factory-install").arg(&chain));
    }
}

fn told(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What a board is started with.
#[derive(Clone)]
pub struct Options {
    /// Where it keeps its keys.
    pub storage: PathBuf,
    /// Tells it from the others; its MAC, too.
    pub number: u8,
    /// More of them.
    pub more: Vec<String>,
    /// For a build with debug assertions: the step of a commit at which it stops for good.
    pub pause_at: Option<String>,
}

impl Options {
    /// Board `number` with a storage in `place`.
    pub fn new(place: &Path, number: u8) -> Self {
        Self { storage: place.join(format!("board-{number}")), number, more: Vec::new(), pause_at: None }
    }

    /// The same with more options.
    pub fn with(mut self, more: &[&str]) -> Self {
        self.more.extend(more.iter().map(|word| (*word).to_owned()));
        self
    }

    /// What it says its serial number is.
    pub fn serial(&self) -> String {
        format!("BOARD{:03}", self.number)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("--storage").arg(&self.storage).args(["--serial", &self.serial()]);
        command.args(["--mac", &format!("00:04:f2:bb:00:{:02x}", self.number)]);
        command
    }
}

/// A board that runs.
pub struct Board {
    program: Child,
    says: Receiver<String>,
    serial: String,
}

impl Board {
    /// Starts it on this device port and waits until the kernel has configured it on the host's side.
    pub fn start(options: &Options, port: &str) -> Self {
        let board = Self::begin(options, port);
        board.slot();
        board
    }

    /// Starts it.
    pub fn begin(options: &Options, port: &str) -> Self {
        let mut command = options.command();
        command.args(["--udc", port]).args(&options.more);
        if let Some(step) = &options.pause_at {
            command.env("TETHERCERT_PHONE_PAUSE_AT", step);
        }
        let mut program = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let (tell, says) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Self { program, says, serial: options.serial() }
    }

    /// Where it is on the host's bus, such as `3-1`, as selectors and the kernel write it.
    pub fn slot(&self) -> String {
        let folder = self.folder();
        folder.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// What the host's kernel says of it: its folder in sysfs.
    pub fn folder(&self) -> PathBuf {
        guest::wait_for(&format!("{} on the bus", self.serial), || on_bus(&self.serial))
    }

    /// Waits until it says a line with this in it, and gives the line.
    pub fn says(&self, text: &str) -> String {
        let (since, mut said) = (Instant::now(), Vec::new());
        loop {
            match self.says.recv_timeout(PATIENCE.saturating_sub(since.elapsed())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("it did not say {text:?} but {said:#?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("it ended, without {text:?}: {said:#?}"),
            }
        }
    }

    /// Types a line at its terminal.
    pub fn type_line(&mut self, line: &str) {
        writeln!(self.program.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Stops it as a service manager does, and waits until it is gone from the bus.
    pub fn stop(mut self) {
        signal(&self.program, "TERM");
        assert_eq!(self.program.wait().unwrap().code(), Some(0));
        self.is_gone();
    }

    /// Ends it at once, and waits until it is gone from the bus.
    pub fn kill(mut self) {
        self.program.kill().unwrap();
        self.program.wait().unwrap();
        self.is_gone();
    }

    /// Waits until it ends by itself; whether it says that all was well.
    pub fn ends_well(mut self) -> bool {
        guest::wait_for("its end", || self.program.try_wait().unwrap()).success()
    }

    fn is_gone(&self) {
        guest::wait_for("the board off the bus", || on_bus(&self.serial).is_none().then_some(()));
    }
}

impl Drop for Board {
    /// A test that failed leaves the port to the next one.
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn signal(program: &Child, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &program.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

fn on_bus(serial: &str) -> Option<PathBuf> {
    let is_it = |folder: &PathBuf| guest::attribute(folder, "serial").as_deref() == Some(serial);
    // Configured, not only addressed.
    guest::plugged()
        .into_iter()
        .find(|folder| is_it(folder) && guest::attribute(folder, "bConfigurationValue").is_some_and(|it| it == "1"))
}
