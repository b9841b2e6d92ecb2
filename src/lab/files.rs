//! The files of a running lab, in its temporary folder: root, secrets, definition of its phones, roster.

use super::{Lab, pem};
use crate::credential::{Fingerprint, SipAddress};
use secrecy::ExposeSecret;
use std::io;
use std::path::{Path, PathBuf};

impl Lab {
    pub(super) fn secret_file(&self, user: &SipAddress, what: &str) -> PathBuf {
        self.secrets().join(format!("{user}.{what}"))
    }

    pub(super) fn write_files(&self) -> io::Result<()> {
        std::fs::write(self.folder.path().join("root.pem"), self.web.trust_anchor_pem())?;
        crate::folders::make_private(&self.secrets())?;
        for user in self.web.users() {
            write_secret(&self.secret_file(&user.sip, "password"), user.password.expose_secret())?;
            write_secret(&self.secret_file(&user.sip, "pin"), user.pin.expose_secret())?;
        }
        std::fs::create_dir(self.drivers())?;
        std::fs::write(self.drivers().join("acme-desk-2-lab.toml"), self.definition())
    }

    pub(super) fn write_roster(&self) -> io::Result<()> {
        let mut roster = "mac,user,label\n".to_owned();
        for ((_, phone), (user, number)) in self.phones.iter().zip(self.web.users().iter().zip(1..)) {
            let mac = crate::usb::MacAddress::from_bytes(phone.material().mac);
            roster.push_str(&format!("{mac},{},Desk {number}\n", user.sip));
        }
        std::fs::write(self.roster(), roster)
    }

    /// The definition of the lab's phones. It lives in the lab's folder and is gone with it, as is the maker's key.
    fn definition(&self) -> String {
        let pem = pem(self.maker.root_der());
        format!(
            "# LAB: the virtual phones of one running lab, and the root of the maker that it made up.\n\
             name     = \"acme-desk-2-lab\"\n\
             maker    = \"Acme\"\n\
             model    = \"Desk 2 (LAB)\"\n\
             protocol = \"tether\"\n\
             expects  = [{{ class = 0xfe, subclass = 0x01, protocol = 0x01, why = \"firmware update (DFU), run-time mode\" }}]\n\n\
             [[usb]]\n\
             vendor    = 0x1209\n\
             product   = 0x0001\n\
             interface = {{ class = 0xff, subclass = 0x54, protocol = 0x01 }}\n\n\
             [authenticity]\n\
             lab   = true\n\
             roots = ['''\n{pem}''']\n\n\
             [[fact]]\n\
             says       = \"a virtual phone; its maker's root is {}\"\n\
             source     = \"docs/tether-protocol.md\"\n\
             confidence = \"lab\"\n",
            Fingerprint::of(self.maker.root_der()).short(),
        )
    }
}

/// A file that only this user may read.
fn write_secret(path: &Path, secret: &str) -> io::Result<()> {
    let options = &mut std::fs::OpenOptions::new();
    let options = options.write(true).create_new(true);
    #[cfg(unix)]
    let options = std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    io::Write::write_all(&mut options.open(path)?, secret.as_bytes())
}
