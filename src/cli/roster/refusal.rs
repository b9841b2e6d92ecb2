//! Why a phone got no row, in words, with what to do.

use crate::cli::text::count;
use tethercert::station::board::Refusal;
use tethercert::station::roster::{Key, Roster};

/// What to do where a row's phone will not come back.
pub(super) const GONE: &str = "if that phone is gone for good, name the one that takes its place in the row by its MAC address and repeat the command";

/// A refusal for people: what it is, and the next step.
pub(super) fn text(refusal: &Refusal, roster: &Roster) -> (String, String) {
    let row =
        |at: usize| roster.rows().get(at).map(|row| format!("{} for {}", row.name(), row.user)).unwrap_or_default();
    let keys = |keys: &[Key]| keys.iter().map(Key::to_string).collect::<Vec<_>>().join(" and ");
    match refusal {
        Refusal::NoRow => ("the roster has no row for this phone".to_owned(), "add one, or unplug it".to_owned()),
        Refusal::Conflict { row: at, agree, differ } => {
            let meant = roster.rows().get(*at).map(|row| row.keys.to_string()).unwrap_or_default();
            let text = format!("its {} fits {}, and its {} does not ({meant})", keys(agree), row(*at), keys(differ));
            (text, "correct the row, or plug the phone in where the row says".to_owned())
        }
        Refusal::SeveralRows { rows } => {
            let rows: Vec<String> = rows.iter().map(|at| row(*at)).collect();
            (format!("several rows fit this phone: {}", rows.join("; ")), "leave one of them in the roster".to_owned())
        }
        Refusal::SeveralPhones { row: at, ports } => {
            let on: Vec<String> = ports.iter().map(|slot| slot.port()).collect();
            let text = format!("{} fits {}, on ports {}", row(*at), count(ports.len(), "phone"), on.join(", "));
            (
                text,
                "give the row a MAC address or a port, or leave only the right one plugged in and plug it in anew"
                    .to_owned(),
            )
        }
        Refusal::OneDevice { ports } => {
            let on: Vec<String> = ports.iter().map(|slot| slot.port()).collect();
            let text = format!("the phones on ports {} say that they are one and the same", on.join(", "));
            (text, "find out which is the real one, and plug in only that".to_owned())
        }
        Refusal::Taken { row: at } => {
            let text = format!("{} belongs to another phone", row(*at));
            (text, format!("plug in the phone that has the row; {GONE}"))
        }
        Refusal::HasAnother { row: at, own } => {
            let text = format!("this phone has {} and would fit {}", row(*own), row(*at));
            (text, "plug in the phone that the row means".to_owned())
        }
    }
}
