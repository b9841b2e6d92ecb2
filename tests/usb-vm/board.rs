//! The reference phone on a device port of `dummy_hcd`: a gadget of this kernel, and a phone to it.

use super::guest;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const PHONE: &str = match option_env!("CARGO_BIN_EXE_tethercert-phone") { Some(p) => p, None => "" };

/// The phone of hardware that the machine can have: `tethercert-phone` and its folder.
pub struct Board {
    folder: PathBuf,
    running: Option<Child>,
}

/// What the phone says that it is.
const SERIAL: &str = "BOARD0001";
const MAC: &str = "00:04:f2:bb:00:01";

impl Board {
    /// A phone that a maker vouches for whose phones are a lab's by the definition that is put into `drivers`.
    pub fn with_factory_key_of_a_lab(home: &Path, drivers: &Path) -> Self {
        let (folder, maker) = (home.join("phone"), home.join("maker"));
        let mut board = Self { folder, running: None };
        let root =
            said(Command::new(PHONE).args(["make-maker", "--name", "Board Makers Root (LAB)", "--out"]).arg(&maker));
        fs::write(drivers.join("board-lab.toml"), definition(&String::from_utf8(root).unwrap())).unwrap();
        let (request, chain) = (home.join("request.pem"), home.join("chain.pem"));
        fs::write(&request, said(board.command().arg("factory-request"))).unwrap();
        fs::write(&chain, said(Command::new(PHONE).arg("factory-sign").arg("--root").arg(&maker).arg(&request)))
            .unwrap();
        said(board.command().arg("factory-install").arg(&chain));
        board.start();
        board
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PHONE);
        command.arg("--storage").arg(&self.folder).args(["--serial", SERIAL, "--mac", MAC, "--model", "Board"]);
        command
    }

    /// Starts the phone, and waits until the kernel has configured it.
    pub fn start(&mut self) {
        let log =
            fs::OpenOptions::new().create(true).append(true).open(Path::new(guest::JOB).join("phone.log")).unwrap();
        let mut command = self.command();
        command.args(["--udc", "dummy_udc.0"]).stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        self.running = Some(command.spawn().unwrap());
        guest::wait_for("the kernel to configure the gadget", || {
            let place = guest::plugged().into_iter().find(|device| is_board(device))?;
            guest::attribute(&place, "bConfigurationValue").filter(|value| value == "1")
        });
    }

    /// Where it is on the kernel's bus: `17-1`.
    pub fn place(&self) -> String {
        let place = guest::plugged().into_iter().find(|device| is_board(device)).expect("the board is plugged in");
        place.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Ends the phone as its user would, which takes it off its port.
    pub fn stop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        let asked = Command::new("/bin/kill").arg(running.id().to_string()).status().unwrap();
        assert!(asked.success());
        running.wait().unwrap();
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = Command::new("/bin/kill").arg(running.id().to_string()).status();
            let _ = running.wait();
        }
    }
}

fn is_board(device: &Path) -> bool {
    guest::attribute(device, "serial").is_some_and(|serial| serial == SERIAL)
}

fn said(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

fn definition(root: &str) -> String {
    format!(
        "name     = \"board-lab\"\n\
         maker    = \"tethercert\"\n\
         model    = \"Board (LAB)\"\n\
         protocol = \"tether\"\n\n\
         [[usb]]\n\
         vendor    = 0x1209\n\
         product   = 0x0001\n\
         interface = {{ class = 0xff, subclass = 0x54, protocol = 0x01 }}\n\n\
         [authenticity]\n\
         lab   = true\n\
         roots = ['''\n{root}''']\n\n\
         [[fact]]\n\
         says       = \"the reference phone on a port that is no hardware\"\n\
         source     = \"docs/reference-phone.md\"\n\
         confidence = \"lab\"\n"
    )
}
