//! Exit codes: the whole list.

use tethercert::phone::Remedyable;

/// What the program tells the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All of it, proved; or there was nothing to do.
    Done = 0,
    /// It failed, and the same again will fail again.
    Failed = 1,
    /// The command line cannot be carried out as it is written.
    Usage = 2,
    /// The phone that is meant is not there.
    NotFound = 3,
    /// Of several phones, some failed.
    SomeFailed = 4,
    /// Something may have happened that could not be confirmed. The same command again finds out.
    Unknown = 5,
    /// Refused by a rule: this program's, the operator's, or because nobody knows how the phone talks.
    Refused = 6,
    /// The same later may work; also a job that was stopped at a safe point.
    Temporary = 7,
    /// A person has to decide or to correct something.
    NeedsPerson = 8,
}

impl Exit {
    /// The number.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Remedyable> for Exit {
    fn from(remedyable: Remedyable) -> Self {
        match remedyable {
            Remedyable::Failed => Self::Failed,
            Remedyable::NotFound => Self::NotFound,
            Remedyable::Policy => Self::Refused,
            Remedyable::Temporary => Self::Temporary,
            Remedyable::Person => Self::NeedsPerson,
        }
    }
}
