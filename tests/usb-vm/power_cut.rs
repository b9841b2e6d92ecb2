//! What is on a disk when the power is cut: tests of the boot `power-cut`.

mod commit;

use super::guest::{self, Progress};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

#[test]
fn a_cut_keeps_what_was_synced_and_loses_what_was_not() {
    guest::here();
    let folder = Path::new(guest::DISK).join("a_cut");
    let progress = Progress::of("a_cut");
    if progress.step() == 0 {
        fs::create_dir(&folder).unwrap();
        for name in ["synced", "not synced"] {
            let mut file = File::create(folder.join(name)).unwrap();
            file.write_all(&[7; 5000]).unwrap();
            if name == "synced" {
                file.sync_all().unwrap();
                File::open(&folder).unwrap().sync_all().unwrap();
            }
        }
        progress.cut_power();
    }
    assert_eq!(fs::read(folder.join("synced")).unwrap(), [7; 5000]);
    let lost = fs::read(folder.join("not synced")).unwrap_or_default();
    assert!(lost.is_empty(), "{} bytes were never written to the disk, and are there", lost.len());
}
