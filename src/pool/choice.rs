//! Which of the configured pools is meant.

use super::{NamedPool, Origin, PoolName, Pools, PoolsError, Setting};
use std::fmt;

/// A configured pool that was chosen.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The pool.
    pub pool: NamedPool,
    /// Why this one.
    pub why: Why,
}

/// Why a configured pool was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// It was named, there.
    Named(Origin),
    /// It serves the user's SIP domain.
    Serves {
        /// The domain.
        domain: String,
    },
    /// There is no other.
    OnlyOne,
}

impl Why {
    /// The kind of reason, for programs.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Named(origin) => origin.word(),
            Self::Serves { .. } => "user",
            Self::OnlyOne => "only_one",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(origin) => origin.fmt(f),
            Self::Serves { domain } => write!(f, "serves {domain}"),
            Self::OnlyOne => f.write_str("the only one there is"),
        }
    }
}

/// The pool that is meant: the named one; else the one that serves the user's domain; else the only one there is, unless it
/// says that it serves other domains.
///
/// An address given by hand (`by_hand`) without a name is a pool without a name: neither the anchors nor the TLS of
/// another server are meant for it.
pub fn choose(
    pools: &Pools,
    named: Option<Setting<PoolName>>,
    domain: Option<&str>,
    by_hand: bool,
) -> Result<Option<Choice>, PoolsError> {
    if let Some(Setting { value, origin }) = named {
        return Ok(Some(Choice { pool: pools.load(&value)?, why: Why::Named(origin) }));
    }
    if by_hand {
        return Ok(None);
    }
    let names = pools.names()?;
    // A file that cannot be read may be the one that is meant.
    let mut all = names.iter().map(|name| pools.load(name)).collect::<Result<Vec<_>, _>>()?;
    let name = |pool: &NamedPool| pool.name.clone();
    if let Some(domain) = domain {
        let serving: Vec<&NamedPool> = all.iter().filter(|pool| pool.file.serves(domain)).collect();
        match serving[..] {
            [one] => {
                return Ok(Some(Choice { pool: one.clone(), why: Why::Serves { domain: domain.to_owned() } }));
            }
            [] => {}
            [..] => {
                let candidates = serving.into_iter().map(name).collect();
                return Err(PoolsError::Ambiguous { domain: Some(domain.to_owned()), candidates });
            }
        }
        if !all.is_empty() && all.iter().all(|pool| !pool.file.sip_domains.is_empty()) {
            return Err(PoolsError::OtherDomain { domain: domain.to_owned(), known: names });
        }
        all.retain(|pool| pool.file.sip_domains.is_empty());
    }
    match all.len() {
        0 => Ok(None),
        1 => Ok(all.pop().map(|pool| Choice { pool, why: Why::OnlyOne })),
        _ => {
            Err(PoolsError::Ambiguous { domain: domain.map(str::to_owned), candidates: all.iter().map(name).collect() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PoolFile;
    use super::super::folder::Replace;
    use super::*;

    fn pools(these: &[(&str, &[&str])]) -> (tempfile::TempDir, Pools) {
        let home = tempfile::tempdir().unwrap();
        let pools = Pools::at(home.path());
        for (name, domains) in these {
            let mut file = PoolFile::new(format!("https://{name}.example/x"));
            file.sip_domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
            pools.save(&name.parse().unwrap(), file, &[], Replace::Never).unwrap();
        }
        (home, pools)
    }

    fn chosen(pools: &Pools, named: Option<&str>, domain: Option<&str>) -> Result<String, String> {
        let named = named.map(|name| Setting::new(name.parse().unwrap(), Origin::Option("--pool")));
        match choose(pools, named, domain, false) {
            Ok(choice) => Ok(choice.map(|it| format!("{} ({})", it.pool.name, it.why)).unwrap_or_default()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_named_pool_wins_then_the_users_domain_then_the_only_one() {
        let (_home, two) =
            pools(&[("contoso", &["contoso.example", "contoso.test"]), ("fabrikam", &["fabrikam.example"])]);
        assert_eq!(chosen(&two, Some("fabrikam"), Some("contoso.example")).unwrap(), "fabrikam (--pool)");
        assert_eq!(chosen(&two, None, Some("Contoso.test")).unwrap(), "contoso (serves Contoso.test)");
        let (_home, one) = pools(&[("contoso", &[])]);
        assert_eq!(chosen(&one, None, Some("fabrikam.example")).unwrap(), "contoso (the only one there is)");
        assert_eq!(chosen(&one, None, None).unwrap(), "contoso (the only one there is)");
        let (_home, none) = pools(&[]);
        assert_eq!(chosen(&none, None, Some("contoso.example")).unwrap(), "");
    }

    #[test]
    fn what_is_not_clear_is_refused_with_its_candidates() {
        let (_home, twins) = pools(&[("east", &["contoso.example"]), ("other", &[]), ("west", &["contoso.example"])]);
        let error = chosen(&twins, None, Some("contoso.example")).unwrap_err();
        assert!(error.contains("contoso.example: east, west"), "{error}");
        assert!(chosen(&twins, None, None).unwrap_err().contains("east, other, west"));
        assert_eq!(chosen(&twins, None, Some("fabrikam.example")).unwrap(), "other (the only one there is)");
        assert!(chosen(&twins, Some("north"), None).unwrap_err().contains("there is east, other, west"));
    }

    #[test]
    fn a_pool_that_serves_other_domains_is_not_taken_for_being_the_only_one() {
        let (_home, one) = pools(&[("contoso", &["contoso.example"])]);
        let error = chosen(&one, None, Some("fabrikam.example")).unwrap_err();
        assert!(error.contains("fabrikam.example") && error.contains("contoso"), "{error}");
        assert_eq!(chosen(&one, None, None).unwrap(), "contoso (the only one there is)");
    }

    #[test]
    fn an_address_by_hand_is_a_pool_of_its_own_and_reads_no_file() {
        let (home, one) = pools(&[("contoso", &[])]);
        assert!(choose(&one, None, Some("contoso.example"), true).unwrap().is_none());
        std::fs::write(home.path().join("broken.toml"), "x").unwrap();
        assert!(choose(&one, None, None, true).unwrap().is_none());
        assert!(choose(&one, None, None, false).is_err(), "the broken one may be the one that is meant");
    }
}
