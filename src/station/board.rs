//! The board: which row is whose. No row is given to two phones, and no phone gets two rows.
//!
//! Pure: it is told which phones have come and how their jobs have ended, and says who gets what. What an earlier run has
//! done it knows from the ledger ([`Past`]).

use super::roster::{Key, PhoneKeys, Roster};
use crate::ledger::JobNumber;
use crate::usb::Slot;
use uuid::Uuid;

/// How a row stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// No phone has come for it, or the one that had it was let go with nothing published.
    Open,
    /// Only this phone can have it, and nobody is at work for it.
    Claimed {
        /// The phone.
        device: Uuid,
        /// Why.
        claim: Claim,
    },
    /// A phone is at work for it.
    AtWork {
        /// The phone.
        device: Uuid,
        /// Where it is plugged in.
        slot: Slot,
        /// What made the row this phone's before: it stays so, however little comes of this job.
        claim: Option<Claim>,
    },
    /// A phone has it.
    Done {
        /// The phone.
        device: Uuid,
        /// The job.
        job: Option<JobNumber>,
        /// Where the phone was plugged in then.
        port: String,
        /// Whether it was in an earlier run.
        before: bool,
    },
}

/// Why a row is one phone's alone that is not done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// This job may have published for it and has not come to its end. No number: the program failed in the job.
    Begun(Option<JobNumber>),
    /// It has what this job gave it, and is to get it anew.
    Renewal(JobNumber),
}

/// What the ledger says of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Past {
    /// Nothing that counts.
    Nothing,
    /// A job may have published for this phone and has not come to its end.
    Begun {
        /// The phone.
        device: Uuid,
        /// The job.
        job: JobNumber,
    },
    /// A phone has proved it, and its certificate ends soon, or has ended.
    Due {
        /// The phone.
        device: Uuid,
        /// The job.
        job: JobNumber,
    },
    /// A phone has proved it, and its certificate is good for some time.
    Done {
        /// The phone.
        device: Uuid,
        /// The job.
        job: JobNumber,
        /// Where it was plugged in.
        port: String,
    },
}

/// How a job left its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The phone has it.
    Done,
    /// This job has published nothing: another phone may come for it, unless it was this one's before.
    Free,
    /// Something may be published for this phone.
    Begun,
}

/// Who gets what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The phone works on this row from now on.
    Gets(usize),
    /// The phone has what this row wants.
    Has(usize),
    /// The phone's own job is still winding down at another port: ask again when it has.
    Later,
    /// The phone gets nothing.
    Refused(Refusal),
}

/// Why a phone gets nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No row means it.
    NoRow,
    /// A row means it by one key and not by another.
    Conflict {
        /// The row.
        row: usize,
        /// What fits.
        agree: Vec<Key>,
        /// What does not.
        differ: Vec<Key>,
    },
    /// Several rows mean it.
    SeveralRows {
        /// The rows.
        rows: Vec<usize>,
    },
    /// The row means several phones that are plugged in.
    SeveralPhones {
        /// The row.
        row: usize,
        /// Where they are.
        ports: Vec<Slot>,
    },
    /// Several phones that are plugged in say that they are one and the same.
    OneDevice {
        /// Where they are.
        ports: Vec<Slot>,
    },
    /// The row is another phone's.
    Taken {
        /// The row.
        row: usize,
    },
    /// The phone has another row's identity, or is to get it.
    HasAnother {
        /// The row that this phone fits now.
        row: usize,
        /// The row that is its own.
        own: usize,
    },
}

impl Refusal {
    /// The rows that it is about.
    pub fn rows(&self) -> Vec<usize> {
        match self {
            Self::NoRow | Self::OneDevice { .. } => Vec::new(),
            Self::SeveralRows { rows } => rows.clone(),
            Self::Conflict { row, .. } | Self::SeveralPhones { row, .. } | Self::Taken { row } => vec![*row],
            Self::HasAnother { row, .. } => vec![*row],
        }
    }
}

/// All rows, and whose they are.
#[derive(Debug)]
pub struct Board<'a> {
    roster: &'a Roster,
    standings: Vec<Standing>,
}

impl Standing {
    /// The phone that the row belongs to, if it belongs to one.
    fn holder(&self) -> Option<Uuid> {
        match self {
            Self::Open => None,
            Self::Claimed { device, .. } | Self::AtWork { device, .. } | Self::Done { device, .. } => Some(*device),
        }
    }

    /// Why only one phone can have the row, though no phone has it and none is at work for it.
    pub fn claim(&self) -> Option<Claim> {
        match self {
            Self::Claimed { claim, .. } => Some(*claim),
            Self::Open | Self::AtWork { .. } | Self::Done { .. } => None,
        }
    }
}

impl<'a> Board<'a> {
    /// The rows as the ledger has them. `renew`: what is done is done again, by the same phones.
    pub fn new(roster: &'a Roster, past: Vec<Past>, renew: bool) -> Self {
        let standing = |past| match past {
            Past::Nothing => Standing::Open,
            Past::Begun { device, job } => Standing::Claimed { device, claim: Claim::Begun(Some(job)) },
            Past::Due { device, job } => Standing::Claimed { device, claim: Claim::Renewal(job) },
            Past::Done { device, job, .. } if renew => Standing::Claimed { device, claim: Claim::Renewal(job) },
            Past::Done { device, job, port } => Standing::Done { device, job: Some(job), port, before: true },
        };
        let mut standings: Vec<Standing> = past.into_iter().map(standing).collect();
        standings.resize(roster.rows().len(), Standing::Open);
        Self { roster, standings }
    }

    /// How each row stands, in the order of the roster.
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Whether every row is done.
    pub fn is_done(&self) -> bool {
        self.standings.iter().all(|standing| matches!(standing, Standing::Done { .. }))
    }

    /// Says what each of the phones that have come together gets. A row that one gets is at work from then on.
    ///
    /// `bystanders` are plugged in still and were refused before: they get nothing, and keep what they may be meant by from
    /// being given to another.
    pub fn assign(&mut self, phones: &[PhoneKeys], bystanders: &[PhoneKeys]) -> Vec<Verdict> {
        let all: Vec<PhoneKeys> = phones.iter().chain(bystanders).cloned().collect();
        let wanted: Vec<Result<usize, Refusal>> = all.iter().map(|phone| self.wanted(phone)).collect();
        let verdicts: Vec<Verdict> = phones
            .iter()
            .zip(&wanted)
            .map(|(phone, meant)| match meant {
                _ if same(phone, &all).len() > 1 => Verdict::Refused(Refusal::OneDevice { ports: same(phone, &all) }),
                Err(refusal) => Verdict::Refused(refusal.clone()),
                Ok(row) => self.verdict(*row, phone, &rivals(*row, &all, &wanted)),
            })
            .collect();
        for (phone, verdict) in phones.iter().zip(&verdicts) {
            if let Verdict::Gets(row) = verdict {
                let standing = &mut self.standings[*row];
                let claim = standing.claim();
                *standing = Standing::AtWork { device: phone.device, slot: phone.slot.clone(), claim };
            }
        }
        verdicts
    }

    /// A phone's job for a row has ended.
    pub fn ended(&mut self, row: usize, left: Left, job: Option<JobNumber>) {
        let Some(standing @ Standing::AtWork { .. }) = self.standings.get_mut(row) else { return };
        let Standing::AtWork { device, slot, claim } = standing.clone() else { return };
        *standing = match (left, claim) {
            (Left::Done, _) => Standing::Done { device, job, port: slot.port(), before: false },
            (Left::Free, None) => Standing::Open,
            (Left::Free, Some(claim)) => Standing::Claimed { device, claim },
            (Left::Begun, Some(Claim::Begun(before))) => {
                Standing::Claimed { device, claim: Claim::Begun(job.or(before)) }
            }
            (Left::Begun, _) => Standing::Claimed { device, claim: Claim::Begun(job) },
        };
    }

    /// The one row that means a phone with all its keys.
    fn wanted(&self, phone: &PhoneKeys) -> Result<usize, Refusal> {
        let fits: Vec<_> = self.roster.rows().iter().map(|row| row.keys.fit(phone)).collect();
        let whole: Vec<usize> = (0..fits.len()).filter(|row| fits[*row].is_whole()).collect();
        match whole[..] {
            [row] => Ok(row),
            [] => {
                // The most telling: by what the phone says of itself, before where it is plugged in.
                let touched = (0..fits.len()).filter(|row| !fits[*row].agree.is_empty());
                match touched.min_by_key(|row| fits[*row].agree.first().copied()) {
                    None => Err(Refusal::NoRow),
                    Some(row) => {
                        let fit = fits[row].clone();
                        Err(Refusal::Conflict { row, agree: fit.agree, differ: fit.differ })
                    }
                }
            }
            _ => Err(Refusal::SeveralRows { rows: whole }),
        }
    }

    /// What a phone gets that is meant by one row, beside others that have come for the same.
    fn verdict(&self, row: usize, phone: &PhoneKeys, rivals: &[&PhoneKeys]) -> Verdict {
        let standing = &self.standings[row];
        let own = self.standings.iter().position(|standing| standing.holder() == Some(phone.device));
        if let Some(own) = own.filter(|own| *own != row) {
            return Verdict::Refused(Refusal::HasAnother { row, own });
        }
        if standing.holder().is_some_and(|holder| holder != phone.device) {
            return Verdict::Refused(Refusal::Taken { row });
        }
        // Where the row is a phone's already, the others are refused for that and are no rivals.
        let rivals = rivals.iter().filter(|rival| standing.holder().is_none_or(|holder| holder == rival.device));
        let ports: Vec<Slot> = rivals.map(|rival| rival.slot.clone()).collect();
        if ports.len() > 1 {
            return Verdict::Refused(Refusal::SeveralPhones { row, ports });
        }
        match standing {
            Standing::Open | Standing::Claimed { .. } => Verdict::Gets(row),
            Standing::Done { .. } => Verdict::Has(row),
            Standing::AtWork { .. } => Verdict::Later,
        }
    }
}

/// Where phones are that say they are this one.
fn same(phone: &PhoneKeys, phones: &[PhoneKeys]) -> Vec<Slot> {
    phones.iter().filter(|other| other.device == phone.device).map(|other| other.slot.clone()).collect()
}

/// All phones that a row means, among those that have come.
fn rivals<'p>(row: usize, phones: &'p [PhoneKeys], wanted: &[Result<usize, Refusal>]) -> Vec<&'p PhoneKeys> {
    phones.iter().zip(wanted).filter(|(_, wanted)| **wanted == Ok(row)).map(|(phone, _)| phone).collect()
}

#[cfg(test)]
mod tests {
    use super::super::roster::Draft;
    use super::*;
    use proptest::prelude::*;

    fn roster(rows: &[&str]) -> Roster {
        let rows = rows.iter().zip(1..).map(|(keys, n)| format!("{keys},user{n}@contoso.example\n"));
        let text = format!("mac,serial,port,user\n{}", rows.collect::<String>());
        Draft::of("roster.csv", text.as_bytes()).unwrap().approved().unwrap_or_else(|| panic!("{text}"))
    }

    fn mac(n: u8) -> String {
        format!("00:04:f2:aa:bb:{n:02x}")
    }

    /// The phone of this number, with this serial number, on this port.
    fn phone(n: u8, serial: &str, port: u8) -> PhoneKeys {
        PhoneKeys {
            mac: mac(n).parse().unwrap(),
            serial: serial.to_owned(),
            slot: format!("1-{port}").parse().unwrap(),
            device: Uuid::from_u128(n.into()),
        }
    }

    #[test]
    fn all_keys_of_a_row_have_to_fit() {
        let roster = roster(&[&format!("{},A,1-1", mac(1)), ",B,"]);
        let mut board = Board::new(&roster, Vec::new(), false);
        let conflict = |agree: &[Key], differ: &[Key]| {
            Verdict::Refused(Refusal::Conflict { row: 0, agree: agree.to_vec(), differ: differ.to_vec() })
        };
        assert_eq!(board.assign(&[phone(1, "A", 2)], &[]), [conflict(&[Key::Mac, Key::Serial], &[Key::Port])]);
        assert_eq!(board.assign(&[phone(9, "X", 1)], &[]), [conflict(&[Key::Port], &[Key::Mac, Key::Serial])]);
        assert_eq!(board.assign(&[phone(9, "X", 9)], &[]), [Verdict::Refused(Refusal::NoRow)]);
        assert_eq!(board.assign(&[phone(1, "A", 1), phone(2, "B", 7)], &[]), [Verdict::Gets(0), Verdict::Gets(1)]);
    }

    #[test]
    fn twins_are_both_refused_and_a_late_twin_finds_the_row_taken() {
        let roster = roster(&[",A,", ",B,"]);
        let mut board = Board::new(&roster, Vec::new(), false);
        let verdicts = board.assign(&[phone(1, "A", 1), phone(2, "A", 2), phone(3, "B", 3)], &[]);
        let ports = vec!["1-1".parse().unwrap(), "1-2".parse().unwrap()];
        let twins = Verdict::Refused(Refusal::SeveralPhones { row: 0, ports });
        assert_eq!(verdicts, [twins.clone(), twins, Verdict::Gets(1)]);

        let beside = [phone(2, "A", 2)];
        assert!(
            matches!(board.assign(&[phone(1, "A", 1)], &beside)[..], [Verdict::Refused(_)]),
            "its twin is there still"
        );
        assert_eq!(board.assign(&[phone(1, "A", 1)], &[]), [Verdict::Gets(0)]);
        assert_eq!(board.assign(&[phone(2, "A", 2)], &[]), [Verdict::Refused(Refusal::Taken { row: 0 })]);
        board.ended(0, Left::Done, None);
        assert_eq!(board.assign(&[phone(2, "A", 2)], &[]), [Verdict::Refused(Refusal::Taken { row: 0 })]);
        assert_eq!(board.assign(&[phone(1, "A", 5)], &[]), [Verdict::Has(0)]);
    }

    #[test]
    fn a_phone_that_two_rows_mean_gets_neither() {
        let roster = roster(&[",A,", ",,1-1"]);
        let mut board = Board::new(&roster, Vec::new(), false);
        let refused = Verdict::Refused(Refusal::SeveralRows { rows: vec![0, 1] });
        assert_eq!(board.assign(&[phone(1, "A", 1)], &[]), [refused]);
    }

    #[test]
    fn a_finished_phone_on_another_rows_port_keeps_what_it_has() {
        let roster = roster(&[",,1-1", ",,1-2"]);
        let mut board = Board::new(&roster, Vec::new(), false);
        assert_eq!(board.assign(&[phone(1, "A", 1)], &[]), [Verdict::Gets(0)]);
        assert_eq!(board.assign(&[phone(1, "A", 1)], &[]), [Verdict::Later], "it came back before its job had ended");
        board.ended(0, Left::Done, None);
        let refused = Verdict::Refused(Refusal::HasAnother { row: 1, own: 0 });
        assert_eq!(board.assign(&[phone(1, "A", 2)], &[]), [refused]);
        assert_eq!(board.assign(&[phone(2, "B", 1)], &[]), [Verdict::Refused(Refusal::Taken { row: 0 })]);
        assert_eq!(board.assign(&[phone(2, "B", 2)], &[]), [Verdict::Gets(1)]);
        board.ended(1, Left::Free, None);
        assert_eq!(
            board.assign(&[phone(3, "C", 2)], &[]),
            [Verdict::Gets(1)],
            "nothing was published for the one before"
        );
        board.ended(1, Left::Begun, None);
        assert_eq!(board.assign(&[phone(2, "B", 2)], &[]), [Verdict::Refused(Refusal::Taken { row: 1 })]);
        assert_eq!(board.assign(&[phone(3, "C", 2)], &[]), [Verdict::Gets(1)]);
    }

    #[test]
    fn what_an_earlier_run_has_done_stays_done_and_is_renewed_only_for_the_same_phone() {
        let roster = roster(&[",A,"]);
        let done = |device| Past::Done { device, job: JobNumber::new(7), port: "1-1".into() };
        let past = vec![done(Uuid::from_u128(1))];
        let mut board = Board::new(&roster, past.clone(), false);
        assert!(board.is_done());
        assert_eq!(board.assign(&[phone(1, "A", 1), phone(2, "A", 2)], &[])[0], Verdict::Has(0));
        let mut board = Board::new(&roster, past, true);
        assert!(!board.is_done());
        let verdicts = board.assign(&[phone(1, "A", 1), phone(2, "A", 2)], &[]);
        assert_eq!(verdicts, [Verdict::Gets(0), Verdict::Refused(Refusal::Taken { row: 0 })]);
    }

    #[test]
    fn a_job_that_comes_to_nothing_leaves_the_row_to_the_phone_that_had_it() {
        let roster = roster(&[",A,"]);
        let (device, job) = (Uuid::from_u128(1), JobNumber::new(7));
        let (begun, renewal) = (Claim::Begun(Some(job)), Claim::Renewal(job));
        let done = Past::Done { device, job, port: "1-1".into() };
        for (past, renew, claim) in [
            (Past::Begun { device, job }, false, begun),
            (Past::Due { device, job }, false, renewal),
            (done, true, renewal),
        ] {
            let mut board = Board::new(&roster, vec![past], renew);
            assert_eq!(board.assign(&[phone(1, "A", 1)], &[]), [Verdict::Gets(0)]);
            board.ended(0, Left::Free, Some(JobNumber::new(8)));
            assert_eq!(board.standings(), [Standing::Claimed { device, claim }]);
            assert_eq!(board.assign(&[phone(2, "A", 2)], &[]), [Verdict::Refused(Refusal::Taken { row: 0 })]);
            assert_eq!(board.assign(&[phone(1, "A", 3)], &[]), [Verdict::Gets(0)], "it can try again");
        }
    }

    #[test]
    fn a_row_that_was_begun_in_this_run_names_the_job_that_has_begun_it() {
        let roster = roster(&[",A,"]);
        let mut board = Board::new(&roster, Vec::new(), false);
        let steps = [
            (Left::Free, Some(1), None),
            (Left::Begun, Some(2), Some(2)),
            (Left::Free, Some(3), Some(2)),
            (Left::Begun, None, Some(2)),
            (Left::Begun, Some(5), Some(5)),
        ];
        for (left, job, begun) in steps {
            assert_eq!(board.assign(&[phone(1, "A", 1)], &[]), [Verdict::Gets(0)]);
            board.ended(0, left, job.map(JobNumber::new));
            assert_eq!(
                board.standings()[0].claim(),
                begun.map(|job| Claim::Begun(Some(JobNumber::new(job)))),
                "{left:?}"
            );
        }
        assert_eq!(board.assign(&[phone(2, "A", 2)], &[]), [Verdict::Refused(Refusal::Taken { row: 0 })]);
    }

    proptest! {
        /// Whatever comes, goes, ends and comes back: a row has one phone, and a phone one row.
        #[test]
        fn no_row_is_given_to_two_phones(
            steps in prop::collection::vec((prop::collection::vec((0u8..5, 0u8..4), 0..5), 0usize..4, 0u8..3), 0..30),
        ) {
            let roster = roster(&[",S0,", ",S1,1-1", ",,1-2", &format!("{},,", mac(3))]);
            let mut board = Board::new(&roster, Vec::new(), false);
            let mut first: [Option<Uuid>; 4] = [None; 4];
            for (phones, row, how) in steps {
                let before = board.standings().to_vec();
                let mut ports = std::collections::BTreeSet::new();
                let phones: Vec<PhoneKeys> = phones
                    .into_iter()
                    .filter(|(_, port)| ports.insert(*port))
                    .map(|(n, port)| phone(n, &format!("S{}", n % 2), port))
                    .collect();
                for (phone, verdict) in phones.iter().zip(board.assign(&phones, &[])) {
                    if let Verdict::Gets(row) = verdict {
                        prop_assert!(before[row].holder().is_none_or(|holder| holder == phone.device));
                        prop_assert!(first[row].is_none_or(|first| first == phone.device));
                        let closed = matches!(before[row], Standing::Done { .. } | Standing::AtWork { .. });
                        prop_assert!(!closed);
                        let others = before.iter().enumerate().filter(|(other, _)| *other != row);
                        prop_assert!(others.into_iter().all(|(_, it)| it.holder() != Some(phone.device)));
                    }
                }
                let holders: Vec<_> = board.standings().iter().filter_map(Standing::holder).collect();
                prop_assert!(holders.iter().all(|it| holders.iter().filter(|other| *other == it).count() == 1));
                let left = [Left::Done, Left::Free, Left::Begun][usize::from(how)];
                if left != Left::Free && matches!(board.standings()[row], Standing::AtWork { .. }) {
                    first[row] = board.standings()[row].holder();
                }
                board.ended(row, left, None);
            }
        }
    }
}
