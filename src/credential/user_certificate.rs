//! The judgement on the *user's* certificate: key, user, dates and purpose.
//!
//! The Web Services sign it with a key of their own and compare it with their store, so its issuer need not be known here
//! (confirmed: "signed by the private key of the Web Services"). Nothing judged here ever becomes a trust anchor.

use std::fmt;

use time::{Duration, OffsetDateTime};

use super::text::printable;
use super::{Certificate, Fingerprint, KeyKind, SigningRequest, SipAddress};

/// What the user's certificate is judged by.
#[derive(Debug, Clone, Copy)]
pub struct UserView<'a> {
    /// The SHA-256 of the SubjectPublicKeyInfo of the key that the phone holds.
    pub key_id: Fingerprint,
    /// The kind of that key.
    pub kind: KeyKind,
    /// Whose certificate it should be.
    pub user: &'a SipAddress,
    /// The clock to judge by.
    pub clock: OffsetDateTime,
    /// How far that clock may be behind the service's: the certificate may begin so much later.
    pub allowance: Duration,
    /// How much longer than now it must be valid. One hour is what a known client asks for
    /// (confirmed: SIPE, sipe_certificate_tls_dsk_find).
    pub least_remaining: Duration,
}

impl<'a> UserView<'a> {
    /// The usual view of the certificate that answers `request`: five minutes of allowance, one hour of remaining validity.
    ///
    /// None when the request's key is of no kind that phones make.
    pub fn of(request: &SigningRequest, user: &'a SipAddress, clock: OffsetDateTime) -> Option<Self> {
        Some(Self {
            key_id: request.key_id(),
            kind: request.key_kind().key_kind()?,
            user,
            clock,
            allowance: Duration::minutes(5),
            least_remaining: Duration::hours(1),
        })
    }
}

/// What one look at the certificate found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// As it should be, with what was seen.
    Good(String),
    /// Not as it should be: the certificate is refused.
    Bad(Refusal),
    /// The certificate does not say. It is not refused for that.
    Unknown(String),
}

/// Why a user's certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It certifies another key.
    #[error("it certifies another key ({found}) than the phone's ({wanted})", found = found.short(), wanted = wanted.short())]
    OtherKey {
        /// The phone's key.
        wanted: Fingerprint,
        /// The certificate's key.
        found: Fingerprint,
    },
    /// Its key is of another kind or length.
    #[error("its key is {found}, not {wanted}")]
    OtherKind {
        /// The kind that was asked for.
        wanted: KeyKind,
        /// What it holds.
        found: String,
    },
    /// It names somebody else.
    #[error("it names {found}, not {wanted}")]
    OtherUser {
        /// The user.
        wanted: SipAddress,
        /// Whom it names, safe to print.
        found: String,
    },
    /// Its time has not come.
    #[error("it is not valid before {}, and the clock says {}", date(*.not_before), date(*.clock))]
    NotYetValid {
        /// Its first second.
        not_before: OffsetDateTime,
        /// The clock it was judged by.
        clock: OffsetDateTime,
    },
    /// Its time is over, or nearly so.
    #[error("it is valid until {}, and the clock says {}", date(*.not_after), date(*.clock))]
    Expired {
        /// Its last second.
        not_after: OffsetDateTime,
        /// The clock it was judged by.
        clock: OffsetDateTime,
    },
    /// It ends before it begins.
    #[error("it ends ({}) before it begins ({})", date(*.not_after), date(*.not_before))]
    EndsBeforeItBegins {
        /// Its first second.
        not_before: OffsetDateTime,
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// It may not be used by a client.
    #[error("it is limited to {found}, which does not include client authentication")]
    NotForClients {
        /// What it is limited to.
        found: String,
    },
    /// Its key may not sign.
    #[error("its key usage does not allow signing, so it cannot prove a client's key")]
    MayNotSign,
    /// It is the certificate of a CA.
    #[error("it is the certificate of a CA, not of a user")]
    Ca,
    /// It signed itself.
    #[error("it is signed by its own key, so no service issued it")]
    SelfSigned,
}

impl Refusal {
    /// What the technician does next.
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::OtherKey { .. } | Self::OtherKind { .. } => {
                "enrol again with the request of this phone; this certificate belongs to another key"
            }
            Self::OtherUser { .. } => "check the user's address and sign in as that user, then enrol again",
            Self::NotYetValid { .. } => "check the clocks of this computer and of the service",
            Self::Expired { .. } => {
                "enrol again; if the new one ends soon too, ask for a longer validity at the service"
            }
            Self::EndsBeforeItBegins { .. } => "report this to the administrator of the Web Services",
            Self::NotForClients { .. } | Self::MayNotSign => {
                "report this to the administrator of the Web Services: phones sign in with a client certificate"
            }
            Self::Ca | Self::SelfSigned => {
                "do not install it: make sure that the answer came from the Web Services, then enrol again"
            }
        }
    }
}

/// The judgement on a user's certificate, look by look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserVerdict {
    /// Its key is the one that the phone holds, and of the kind asked for.
    pub key: Finding,
    /// It names the user.
    pub user: Finding,
    /// The clock lies within its dates.
    pub dates: Finding,
    /// A client may use it.
    pub purpose: Finding,
    /// It is a user's certificate and not a CA's or its own issuer's.
    pub standing: Finding,
}

impl UserVerdict {
    /// Whether nothing speaks against the certificate.
    pub fn accepted(&self) -> bool {
        self.refusals().next().is_none()
    }

    /// What speaks against it.
    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.findings().into_iter().filter_map(|(_, finding)| match finding {
            Finding::Bad(refusal) => Some(refusal),
            Finding::Good(_) | Finding::Unknown(_) => None,
        })
    }

    /// Each finding with its name.
    pub fn findings(&self) -> [(&'static str, &Finding); 5] {
        [
            ("key", &self.key),
            ("user", &self.user),
            ("dates", &self.dates),
            ("purpose", &self.purpose),
            ("standing", &self.standing),
        ]
    }
}

/// One line for each finding: `user      good: alice@contoso.example`.
impl fmt::Display for UserVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (line, (name, finding)) in self.findings().into_iter().enumerate() {
            let newline = if line == 0 { "" } else { "\n" };
            write!(f, "{newline}{name:<9} {finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good(seen) => write!(f, "good: {seen}"),
            Self::Bad(refusal) => write!(f, "bad: {refusal}"),
            Self::Unknown(why) => write!(f, "unknown: {why}"),
        }
    }
}

/// Judges `certificate` as the certificate of `view.user` for the phone's key.
pub fn judge_user_certificate(certificate: &Certificate, view: &UserView<'_>) -> UserVerdict {
    UserVerdict {
        key: judge_key(certificate, view),
        user: judge_user(certificate, view.user),
        dates: judge_dates(certificate, view),
        purpose: judge_purpose(certificate),
        standing: judge_standing(certificate),
    }
}

fn judge_key(certificate: &Certificate, view: &UserView<'_>) -> Finding {
    let found = certificate.key_kind();
    if certificate.key_id() != view.key_id {
        Finding::Bad(Refusal::OtherKey { wanted: view.key_id, found: certificate.key_id() })
    } else if found.key_kind() != Some(view.kind) {
        Finding::Bad(Refusal::OtherKind { wanted: view.kind, found: found.to_string() })
    } else {
        Finding::Good(format!("{found}, the phone's own"))
    }
}

/// Subject *or* alternative name identifies the user (confirmed: Get-CsClientCertificate); which of them is not public.
fn judge_user(certificate: &Certificate, user: &SipAddress) -> Finding {
    let names = certificate.alternative_names();
    let sip = |uri: &String| uri.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sip:"));
    let common_name = certificate.common_name().filter(|name| name.contains('@')).map(str::to_owned);
    let named: Vec<String> = common_name
        .into_iter()
        .chain(names.uri.iter().filter(|uri| sip(uri)).cloned())
        .chain(names.email.clone())
        .collect();
    let others: Vec<String> = named
        .iter()
        .filter(|name| name.parse::<SipAddress>().as_ref() != Ok(user))
        .map(|name| printable(name))
        .collect();
    match (named.len(), others.len()) {
        (0, _) => Finding::Unknown("it names no user; the service knows it by its store".to_owned()),
        (named, others) if others < named => Finding::Good(user.to_string()),
        _ => Finding::Bad(Refusal::OtherUser { wanted: user.clone(), found: others.join(", ") }),
    }
}

fn judge_dates(certificate: &Certificate, view: &UserView<'_>) -> Finding {
    let (not_before, not_after, clock) = (certificate.not_before(), certificate.not_after(), view.clock);
    if not_after < not_before {
        Finding::Bad(Refusal::EndsBeforeItBegins { not_before, not_after })
    } else if clock.saturating_add(view.allowance) < not_before {
        Finding::Bad(Refusal::NotYetValid { not_before, clock })
    } else if not_after < clock.saturating_add(view.least_remaining) {
        Finding::Bad(Refusal::Expired { not_after, clock })
    } else {
        let days = (not_after - clock).whole_days();
        Finding::Good(format!("until {} ({days} days)", not_after.date()))
    }
}

fn judge_purpose(certificate: &Certificate) -> Finding {
    if certificate.key_usage().is_some_and(|usage| !usage.digital_signature) {
        return Finding::Bad(Refusal::MayNotSign);
    }
    match certificate.purposes() {
        None => Finding::Unknown("it names no purpose, so it is limited to none".to_owned()),
        Some(purposes) if purposes.client_auth => Finding::Good("client authentication".to_owned()),
        Some(purposes) if purposes.any => Finding::Good("any purpose".to_owned()),
        Some(purposes) => {
            let server = purposes.server_auth.then_some("server authentication");
            let found: Vec<&str> = server.into_iter().chain(purposes.others.iter().map(String::as_str)).collect();
            Finding::Bad(Refusal::NotForClients { found: found.join(", ") })
        }
    }
}

fn judge_standing(certificate: &Certificate) -> Finding {
    if certificate.is_ca() {
        Finding::Bad(Refusal::Ca)
    } else if certificate.is_self_signed() {
        Finding::Bad(Refusal::SelfSigned)
    } else {
        Finding::Good(format!("issued by {}", certificate.issuer_label()))
    }
}

fn date(time: OffsetDateTime) -> String {
    super::text::moment(time)
}

#[cfg(test)]
mod tests {
    use super::super::test_ca::{Ca, NOW, ca_params, params, read};
    use super::*;
    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
    use time::macros::datetime;

    const ALICE: &str = "alice@contoso.example";

    /// A phone's request, and a Web Service with a key of its own that nobody trusts.
    struct Enrolment {
        key: KeyPair,
        request: SigningRequest,
        service: Ca,
        user: SipAddress,
    }

    impl Enrolment {
        fn new() -> Self {
            let key = KeyPair::generate().unwrap();
            let request = SigningRequest::from_der(&crate::credential::signing_request(ALICE, &key).unwrap()).unwrap();
            Self { key, request, service: Ca::root("Communications Server"), user: ALICE.parse().unwrap() }
        }

        fn view(&self) -> UserView<'_> {
            UserView::of(&self.request, &self.user, NOW).unwrap()
        }

        fn judge(&self, params: &CertificateParams) -> UserVerdict {
            judge_user_certificate(&self.service.issue(params, &self.key), &self.view())
        }
    }

    fn user_params() -> CertificateParams {
        let mut params = params(ALICE);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params
    }

    fn refusals(verdict: &UserVerdict) -> Vec<Refusal> {
        verdict.refusals().cloned().collect()
    }

    #[test]
    fn a_certificate_from_an_issuer_that_nobody_knows_is_accepted() {
        let verdict = Enrolment::new().judge(&user_params());
        assert!(verdict.accepted());
        assert_eq!(
            verdict.to_string(),
            "key       good: P-256, the phone's own\n\
             user      good: alice@contoso.example\n\
             dates     good: until 2031-01-01 (364 days)\n\
             purpose   good: client authentication\n\
             standing  good: issued by Communications Server"
        );
    }

    #[test]
    fn subject_or_alternative_name_tells_the_user_whatever_the_case() {
        let enrolment = Enrolment::new();
        let mut by_uri = user_params();
        by_uri.distinguished_name = params("Alice").distinguished_name;
        by_uri.subject_alt_names = vec![SanType::URI("SIP:Alice@Contoso.Example".try_into().unwrap())];
        assert_eq!(enrolment.judge(&by_uri).user, Finding::Good(ALICE.into()));

        by_uri.subject_alt_names = vec![SanType::Rfc822Name("ALICE@contoso.example".try_into().unwrap())];
        assert_eq!(enrolment.judge(&by_uri).user, Finding::Good(ALICE.into()));

        let mut by_subject = user_params();
        by_subject.distinguished_name = params("Alice@CONTOSO.example").distinguished_name;
        assert_eq!(enrolment.judge(&by_subject).user, Finding::Good(ALICE.into()));
    }

    #[test]
    fn a_certificate_that_names_nobody_is_unknown_and_one_of_another_user_is_bad() {
        let enrolment = Enrolment::new();
        let mut nobody = user_params();
        nobody.distinguished_name = params("4f2a91").distinguished_name;
        let verdict = enrolment.judge(&nobody);
        assert!(matches!(verdict.user, Finding::Unknown(_)) && verdict.accepted());

        let mut bob = user_params();
        bob.distinguished_name = params("bob@contoso.example").distinguished_name;
        let found = "bob@contoso.example".to_owned();
        let wanted = enrolment.user.clone();
        assert_eq!(refusals(&enrolment.judge(&bob)), [Refusal::OtherUser { wanted, found }]);
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        let enrolment = Enrolment::new();
        let other = KeyPair::generate().unwrap();
        let certificate = enrolment.service.issue(&user_params(), &other);
        let verdict = judge_user_certificate(&certificate, &enrolment.view());
        let (wanted, found) = (enrolment.request.key_id(), certificate.key_id());
        assert_eq!(refusals(&verdict), [Refusal::OtherKey { wanted, found }]);

        let view = UserView { kind: KeyKind::Rsa2048, ..enrolment.view() };
        let verdict = judge_user_certificate(&enrolment.service.issue(&user_params(), &enrolment.key), &view);
        assert_eq!(refusals(&verdict), [Refusal::OtherKind { wanted: KeyKind::Rsa2048, found: "P-256".into() }]);
    }

    #[test]
    fn dates_are_judged_with_an_allowance_and_an_hour_to_spare() {
        let enrolment = Enrolment::new();
        let at = |clock| {
            let certificate = enrolment.service.issue(&user_params(), &enrolment.key);
            refusals(&judge_user_certificate(&certificate, &UserView { clock, ..enrolment.view() }))
        };
        let (not_before, not_after) = (datetime!(2029-01-01 00:00 UTC), datetime!(2031-01-01 00:00 UTC));
        assert_eq!(at(not_before - Duration::minutes(5)), []);
        let clock = not_before - Duration::minutes(6);
        assert_eq!(at(clock), [Refusal::NotYetValid { not_before, clock }]);
        assert_eq!(at(not_after - Duration::hours(1)), []);
        let clock = not_after - Duration::minutes(59);
        assert_eq!(at(clock), [Refusal::Expired { not_after, clock }]);
    }

    #[test]
    fn a_certificate_that_ends_before_it_begins_is_refused() {
        let mut params = user_params();
        std::mem::swap(&mut params.not_before, &mut params.not_after);
        let refusals = refusals(&Enrolment::new().judge(&params));
        assert!(matches!(refusals[..], [Refusal::EndsBeforeItBegins { .. }]));
    }

    #[test]
    fn the_purpose_counts_only_where_one_is_named() {
        let enrolment = Enrolment::new();
        let mut params = user_params();
        params.extended_key_usages = vec![];
        let verdict = enrolment.judge(&params);
        assert!(matches!(verdict.purpose, Finding::Unknown(_)) && verdict.accepted());

        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let found = "server authentication".to_owned();
        assert_eq!(refusals(&enrolment.judge(&params)), [Refusal::NotForClients { found }]);

        let mut decrypts_only = user_params();
        decrypts_only.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        assert_eq!(refusals(&enrolment.judge(&decrypts_only)), [Refusal::MayNotSign]);
    }

    #[test]
    fn a_ca_or_a_certificate_that_signed_itself_is_no_users_certificate() {
        let enrolment = Enrolment::new();
        let mut ca = ca_params(ALICE);
        ca.key_usages = vec![];
        assert_eq!(refusals(&enrolment.judge(&ca)), [Refusal::Ca]);

        let own = read(&user_params().self_signed(&enrolment.key).unwrap());
        assert_eq!(refusals(&judge_user_certificate(&own, &enrolment.view())), [Refusal::SelfSigned]);
    }
}
