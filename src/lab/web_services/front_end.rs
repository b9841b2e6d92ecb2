//! The servers behind the pool's one address, and which of them answers.

use super::answer::Call;
use std::fmt;

/// A server of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontEnd {
    /// `fe01.contoso.example`.
    Fe01,
    /// `fe02.contoso.example`.
    Fe02,
}

/// How many servers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FrontEnds {
    /// `fe02` alone.
    #[default]
    One,
    /// Both: a request goes where its load balancer's cookie says, and without one `fe02` has every odd connection and
    /// `fe01` every even one.
    Two,
}

/// One server that is ill while the other is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illness {
    /// Which.
    pub server: FrontEnd,
    /// What it has.
    pub what: Ailment,
}

/// What an ill server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ailment {
    /// It does not reach the data store: LAB 99006.
    Store,
    /// It answers everything with 503.
    Down,
    /// It does not know the tickets of the other: 28020.
    Tickets,
}

impl FrontEnd {
    /// Who answers a request on the connection of this number.
    pub(super) fn of(front_ends: FrontEnds, connection: u64, call: &Call) -> Self {
        let named = call.affinity().and_then(|cookie| [Self::Fe01, Self::Fe02].into_iter().find(|it| it.is_in(cookie)));
        match front_ends {
            FrontEnds::One => Self::Fe02,
            FrontEnds::Two if connection.is_multiple_of(2) => named.unwrap_or(Self::Fe01),
            FrontEnds::Two => named.unwrap_or(Self::Fe02),
        }
    }

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::Fe01 => Self::Fe02,
            Self::Fe02 => Self::Fe01,
        }
    }

    /// Its name as the load balancer's cookie has it.
    pub(super) fn short(self) -> &'static str {
        match self {
            Self::Fe01 => "fe01",
            Self::Fe02 => "fe02",
        }
    }

    fn is_in(self, cookie: &str) -> bool {
        cookie.starts_with(self.short())
    }
}

impl fmt::Display for FrontEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.contoso.example", self.short())
    }
}
