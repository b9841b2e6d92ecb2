//! Who may open a device on Linux: its node under `/dev/bus/usb`, owner, group, mode, access list, and what udev made of it.
//!
//! Nothing is changed, and the device is told nothing: a node is opened and closed, which the kernel keeps to itself.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::attached::Attached;

/// What udev is reached by while it runs.
const UDEV_CONTROL: &str = "/run/udev/control";
/// Where udev keeps what it knows of devices.
const UDEV_DATA: &str = "/run/udev/data";
/// Longer access lists are not read.
const MOST_ACL_BYTES: usize = 4096;

/// The node of a device, as it stands.
#[derive(Debug)]
pub struct Node {
    /// `/dev/bus/usb/001/004`.
    pub path: PathBuf,
    /// The user who owns it.
    pub owner: u32,
    /// Its group.
    pub group: u32,
    /// Permissions of owner, group and others; with an access list the group's are its mask.
    pub mode: u32,
    /// The access list, where it has one.
    pub acl: Vec<AclEntry>,
    /// What udev's rules have tagged the device with; nothing where udev does not know it.
    pub tags: Vec<String>,
    /// Whether this process may open it for reading and writing.
    pub opens: io::Result<()>,
}

/// One entry of a POSIX access list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AclEntry {
    /// Whom it is about.
    pub who: AclWho,
    /// Read 4, write 2, execute 1.
    pub permissions: u16,
}

/// Whom an entry of an access list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclWho {
    /// The owner of the file.
    Owner,
    /// This user.
    User(u32),
    /// The group of the file.
    OwningGroup,
    /// This group.
    Group(u32),
    /// The most that anybody but the owner and the others gets.
    Mask,
    /// Everybody else.
    Others,
}

/// Somebody who may want to open a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The user's number.
    pub user: u32,
    /// All groups, by number.
    pub groups: Vec<u32>,
}

const READ_AND_WRITE: u32 = 6;

impl Node {
    /// The node of a device of this computer. Nothing for a device that is reached another way.
    ///
    /// # Errors
    /// There is no such node, as in a container, or it may not be looked at.
    pub fn of(device: &Attached) -> Option<io::Result<Self>> {
        let bus: u32 = device.slot.system_bus()?.parse().ok()?;
        Some(Self::at(Path::new(&format!("/dev/bus/usb/{bus:03}/{:03}", device.address))))
    }

    fn at(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let mut bytes = [0; MOST_ACL_BYTES];
        let acl = match rustix::fs::getxattr(path, "system.posix_acl_access", &mut bytes) {
            Ok(length) => acl(bytes.get(..length).unwrap_or_default()).unwrap_or_default(),
            // It has none, or this system has none at all.
            Err(_) => Vec::new(),
        };
        let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
        let known = fs::read_to_string(format!("{UDEV_DATA}/c{major}:{minor}")).unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & 0o777,
            acl,
            tags: tags(&known),
            opens: fs::File::options().read(true).write(true).open(path).map(drop),
        })
    }

    /// Whether somebody else may open it for reading and writing, as the kernel judges it (acl(5), access check).
    pub fn lets_in(&self, who: &Who) -> bool {
        let enough = |permissions: u32| permissions & READ_AND_WRITE == READ_AND_WRITE;
        if who.user == 0 {
            return true;
        }
        if who.user == self.owner {
            return enough(self.mode >> 6);
        }
        let mask = self.acl.iter().find(|entry| entry.who == AclWho::Mask).map_or(7, |entry| entry.permissions.into());
        let granted = |entry: &AclEntry| enough(u32::from(entry.permissions) & mask);
        if let Some(entry) = self.acl.iter().find(|entry| entry.who == AclWho::User(who.user)) {
            return granted(entry);
        }
        let of_group = |entry: &&AclEntry| match entry.who {
            AclWho::OwningGroup => who.groups.contains(&self.group),
            AclWho::Group(group) => who.groups.contains(&group),
            AclWho::Owner | AclWho::User(_) | AclWho::Mask | AclWho::Others => false,
        };
        let mut groups = self.acl.iter().filter(of_group).peekable();
        if groups.peek().is_some() {
            return groups.any(granted);
        }
        match self.acl.is_empty() && who.groups.contains(&self.group) {
            true => enough(self.mode >> 3),
            false => enough(self.mode),
        }
    }
}

impl Who {
    /// The user and the groups of this process.
    pub fn this_process() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let numbers = |key: &str| -> Vec<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
            line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
        };
        // Real, effective, saved and that of the file system, which counts here.
        let last = |key| numbers(key).last().copied();
        let mut groups = numbers("Groups:");
        groups.extend(last("Gid:"));
        Self { user: last("Uid:").unwrap_or(u32::MAX), groups }
    }

    /// A user of this computer as a new login would make him, by `/etc/passwd` and `/etc/group`.
    pub fn logged_in_anew(user: u32) -> Self {
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let groups = fs::read_to_string("/etc/group").unwrap_or_default();
        let own = entries(&users).find(|fields| fields.get(2).and_then(|it| it.parse().ok()) == Some(user));
        let name = own.as_ref().and_then(|fields| fields.first().copied()).unwrap_or_default();
        let first = own.as_ref().and_then(|fields| fields.get(3)?.parse().ok());
        let member = |fields: &Vec<&str>| fields.get(3).is_some_and(|members| members.split(',').any(|it| it == name));
        let further = entries(&groups).filter(member).filter_map(|fields| fields.get(2)?.parse().ok());
        Self { user, groups: first.into_iter().chain(further).collect() }
    }
}

/// The name of a user, or the number where there is none.
pub fn user_name(user: u32) -> String {
    name("/etc/passwd", user)
}

/// The name of a group, or the number where there is none.
pub fn group_name(group: u32) -> String {
    name("/etc/group", group)
}

/// The number of a group of this computer.
pub fn group_number(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let found = entries(&groups).find(|fields| fields.first() == Some(&name))?;
    found.get(2)?.parse().ok()
}

/// Whether udev runs.
pub fn udev_runs() -> bool {
    Path::new(UDEV_CONTROL).exists()
}

fn name(file: &str, number: u32) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let found = entries(&text).find(|fields| fields.get(2).and_then(|it| it.parse().ok()) == Some(number));
    found.and_then(|fields| fields.first().map(|name| (*name).to_owned())).unwrap_or_else(|| number.to_string())
}

fn entries(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

/// What udev's file about a device says that it is tagged with now: `Q:`, and `G:` of versions before 247.
fn tags(known: &str) -> Vec<String> {
    let tagged = |prefix: &str| -> Vec<String> {
        known.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let now = tagged("Q:");
    if now.is_empty() { tagged("G:") } else { now }
}

/// Reads an access list as the kernel gives it: version 2, then tag, permissions and number of each entry.
fn acl(bytes: &[u8]) -> Option<Vec<AclEntry>> {
    let (version, entries) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*version) != 2 || entries.len() % 8 != 0 {
        return None;
    }
    let entry = |entry: &[u8]| {
        let [t0, t1, p0, p1, n0, n1, n2, n3] = *entry.first_chunk::<8>()?;
        let number = u32::from_le_bytes([n0, n1, n2, n3]);
        let who = match u16::from_le_bytes([t0, t1]) {
            0x01 => AclWho::Owner,
            0x02 => AclWho::User(number),
            0x04 => AclWho::OwningGroup,
            0x08 => AclWho::Group(number),
            0x10 => AclWho::Mask,
            0x20 => AclWho::Others,
            _ => return None,
        };
        Some(AclEntry { who, permissions: u16::from_le_bytes([p0, p1]) })
    };
    entries.chunks_exact(8).map(entry).collect()
}

impl fmt::Display for Node {
    /// `/dev/bus/usb/001/004 is root:plugdev 0660, user:alice:rw`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, owner, group, mode, acl, .. } = self;
        write!(f, "{} is {}:{} {mode:04o}", path.display(), user_name(*owner), group_name(*group))?;
        let named = acl.iter().filter(|entry| matches!(entry.who, AclWho::User(_) | AclWho::Group(_)));
        for AclEntry { who, permissions } in named {
            let may = |bit: u16, letter: char| if permissions & bit != 0 { letter } else { '-' };
            let whom = match who {
                AclWho::User(user) => format!("user:{}", user_name(*user)),
                AclWho::Group(group) => format!("group:{}", group_name(*group)),
                AclWho::Owner | AclWho::OwningGroup | AclWho::Mask | AclWho::Others => continue,
            };
            write!(f, ", {whom}:{}{}", may(4, 'r'), may(2, 'w'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(mode: u32, acl: Vec<AclEntry>) -> Node {
        Node { path: "/dev/bus/usb/001/004".into(), owner: 0, group: 46, mode, acl, tags: Vec::new(), opens: Ok(()) }
    }

    fn user(user: u32, groups: &[u32]) -> Who {
        Who { user, groups: groups.to_vec() }
    }

    #[test]
    fn a_node_lets_in_its_owner_its_group_or_whom_its_list_names() {
        let plain = node(0o664, Vec::new());
        assert!(plain.lets_in(&user(0, &[])) && !plain.lets_in(&user(1000, &[1000])));
        let shared = node(0o660, Vec::new());
        assert!(shared.lets_in(&user(1000, &[1000, 46])) && !shared.lets_in(&user(1001, &[1001])));

        let entry = |who, permissions| AclEntry { who, permissions };
        let list = |mask| {
            let entries = [(AclWho::Owner, 6), (AclWho::User(1000), 6), (AclWho::OwningGroup, 4), (AclWho::Others, 4)];
            let entries = entries.into_iter().map(|(who, permissions)| entry(who, permissions));
            node(0o664, entries.chain([entry(AclWho::Mask, mask)]).collect())
        };
        assert!(list(6).lets_in(&user(1000, &[])) && !list(4).lets_in(&user(1000, &[])), "the mask is the most");
        assert!(!list(6).lets_in(&user(1001, &[46])), "with a list its group's entry counts, and not the mode");
        assert_eq!(list(6).to_string().split(", ").nth(1), Some("user:1000:rw"));
    }

    #[test]
    fn an_access_list_is_read_as_the_kernel_writes_it() {
        let bytes = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 6, 0, 232, 3, 0, 0],
            &[0x10, 0, 6, 0, 255, 255, 255, 255],
        ]
        .concat();
        let read = acl(&bytes).unwrap();
        assert_eq!(read[1], AclEntry { who: AclWho::User(1000), permissions: 6 });
        assert_eq!(read[2].who, AclWho::Mask);
        assert!(acl(&bytes[..11]).is_none() && acl(&[1, 0, 0, 0]).is_none());
    }

    #[test]
    fn udevs_tags_are_those_of_now_where_it_tells_them_apart() {
        assert_eq!(tags("I:1\nE:ID_BUS=usb\nG:uaccess\nG:seat\nQ:seat\n"), ["seat"]);
        assert_eq!(tags("G:uaccess\n"), ["uaccess"]);
        assert!(tags("").is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_of_access_lists_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = acl(&bytes);
        }
    }
}
