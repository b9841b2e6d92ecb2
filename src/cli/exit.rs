//! Exit codes: the whole list.

use tethercert::phone::Remedyable;
use tethercert::service::ErrorClass;

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
    /// Of several phones, some failed; or all, for different reasons.
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

    /// What a number says, as the ledger keeps it.
    pub(crate) fn from_code(code: i32) -> Option<Self> {
        use Exit::{Done, Failed, NeedsPerson, NotFound, Refused, SomeFailed, Temporary, Unknown, Usage};
        let all = [Done, Failed, Usage, NotFound, SomeFailed, Unknown, Refused, Temporary, NeedsPerson];
        all.into_iter().find(|exit| i32::from(exit.code()) == code)
    }

    /// Of several: what all share; else that some failed, as soon as one is not done.
    pub(crate) fn of_several(all: &[Self]) -> Self {
        match all.split_first() {
            None => Self::Done,
            Some((first, others)) if others.iter().all(|exit| exit == first) => *first,
            Some(_) => Self::SomeFailed,
        }
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

impl From<ErrorClass> for Exit {
    fn from(class: ErrorClass) -> Self {
        match class {
            ErrorClass::Failed => Self::Failed,
            ErrorClass::Unknown => Self::Unknown,
            ErrorClass::Policy => Self::Refused,
            ErrorClass::Temporary => Self::Temporary,
            ErrorClass::NeedsPerson => Self::NeedsPerson,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written() {
        for code in 0..=8 {
            assert_eq!(Exit::from_code(code).map(|exit| i32::from(exit.code())), Some(code));
        }
        assert_eq!((Exit::from_code(9), Exit::from_code(-1)), (None, None));
    }

    #[test]
    fn several_share_a_code_or_some_failed() {
        use Exit::{Done, NotFound, SomeFailed, Temporary, Unknown};
        for (all, of_several) in [
            (&[][..], Done),
            (&[Done, Done], Done),
            (&[Done, Temporary], SomeFailed),
            (&[Temporary, Temporary], Temporary),
            (&[NotFound, NotFound], NotFound),
            (&[Unknown, Temporary], SomeFailed),
        ] {
            assert_eq!(Exit::of_several(all), of_several, "{all:?}");
        }
    }
}
