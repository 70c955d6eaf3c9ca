//! `AIGW_FASTAPI__TLS__SSL_CIPHERS`: OpenSSL's cipher list, as far as it means something to rustls. Pure.
//!
//! OpenSSL's list speaks of TLS 1.2 only; the three suites of TLS 1.3 stay on unless the list names one of them. What
//! only switches off that which rustls never does (`!aNULL`, `!MD5`) is taken; what would switch on such a thing, or a
//! keyword that is not known here, is refused: an administrator who asks for a cipher must not get another one.

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion, version};

/// Each suite under the names of OpenSSL and of the standard, in the order of preference.
const SUITES: [(&str, &str, SupportedCipherSuite); 9] = [
    ("TLS_AES_256_GCM_SHA384", "TLS13_AES_256_GCM_SHA384", cipher_suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_AES_128_GCM_SHA256", "TLS13_AES_128_GCM_SHA256", cipher_suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_CHACHA20_POLY1305_SHA256", "TLS13_CHACHA20_POLY1305_SHA256", cipher_suite::TLS13_CHACHA20_POLY1305_SHA256),
    (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    (
        "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    (
        "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];
/// How many of them are of TLS 1.3.
const TLS13: usize = 3;

/// Groups of suites by OpenSSL's keywords: parts that a suite's OpenSSL name must hold.
const GROUPS: [(&str, &[&str]); 15] = [
    ("DEFAULT", &["ECDHE"]),
    ("ALL", &["ECDHE"]),
    ("HIGH", &["ECDHE"]),
    ("SECURE", &["ECDHE"]),
    ("TLSv1.2", &["ECDHE"]),
    ("ECDHE", &["ECDHE"]),
    ("EECDH", &["ECDHE"]),
    ("kECDHE", &["ECDHE"]),
    ("aRSA", &["ECDHE-RSA"]),
    ("aECDSA", &["ECDHE-ECDSA"]),
    ("ECDSA", &["ECDHE-ECDSA"]),
    ("AESGCM", &["ECDHE", "GCM"]),
    ("AES256", &["ECDHE", "AES256"]),
    ("AES128", &["ECDHE", "AES128"]),
    ("CHACHA20", &["ECDHE", "CHACHA20"]),
];

/// What `!` may name without effect: rustls has none of it.
const NEVER: [&str; 28] = [
    "aNULL", "eNULL", "NULL", "EXPORT", "EXP", "LOW", "MEDIUM", "DES", "3DES", "RC2", "RC4", "MD5", "SHA1", "SHA",
    "PSK", "kPSK", "SRP", "kSRP", "DSS", "aDSS", "ADH", "AECDH", "DH", "kRSA", "CAMELLIA", "SEED", "IDEA", "ARIA",
];

/// The suites that are offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphers([bool; SUITES.len()]);

impl Default for Ciphers {
    /// All that rustls has, each of them good.
    fn default() -> Self {
        Self([true; SUITES.len()])
    }
}

impl Ciphers {
    /// Reads OpenSSL's list: names, groups, `+` between groups, `!` in front of what is not wanted; separated by `:`, `,`
    /// or blanks.
    ///
    /// # Errors
    /// A text naming the part that rustls has no suite for.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut wanted, mut unwanted) = ([false; SUITES.len()], [false; SUITES.len()]);
        for word in text.split([':', ',', ' ', ';']).filter(|word| !word.is_empty()) {
            if let Some(not) = word.strip_prefix(['!', '-']) {
                if NEVER.contains(&not) {
                    continue;
                }
                merge(&mut unwanted, &suites_of(not).ok_or_else(|| unknown(word))?);
            } else {
                merge(&mut wanted, &suites_of(word).ok_or_else(|| unknown(word))?);
            }
        }
        if !wanted[..TLS13].contains(&true) {
            wanted[..TLS13].fill(true);
        }
        let left = std::array::from_fn(|at| wanted[at] && !unwanted[at]);
        if left.contains(&true) { Ok(Self(left)) } else { Err("leaves no cipher at all".to_owned()) }
    }

    /// The provider with these suites.
    pub fn provider(&self) -> CryptoProvider {
        CryptoProvider {
            cipher_suites: self.chosen().map(|(.., suite)| *suite).collect(),
            ..aws_lc_rs::default_provider()
        }
    }

    /// The versions of TLS that have a suite.
    pub fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        match (self.0[..TLS13].contains(&true), self.0[TLS13..].contains(&true)) {
            (true, true) => vec![&version::TLS13, &version::TLS12],
            (true, false) => vec![&version::TLS13],
            (false, _) => vec![&version::TLS12],
        }
    }

    /// Names of the suites under OpenSSL.
    pub fn names(&self) -> String {
        self.chosen().map(|(name, ..)| *name).collect::<Vec<_>>().join(":")
    }

    fn chosen(&self) -> impl Iterator<Item = &'static (&'static str, &'static str, SupportedCipherSuite)> {
        SUITES.iter().zip(self.0).filter(|(_, on)| *on).map(|(suite, _)| suite)
    }
}

/// The suites that a name, a group or several groups joined by `+` stand for; `None` for a word that is not known, or
/// for groups that have nothing in common.
fn suites_of(word: &str) -> Option<[bool; SUITES.len()]> {
    let by_name: [bool; SUITES.len()] =
        std::array::from_fn(|at| word.eq_ignore_ascii_case(SUITES[at].0) || word.eq_ignore_ascii_case(SUITES[at].1));
    if by_name.contains(&true) {
        return Some(by_name);
    }
    let mut common = [true; SUITES.len()];
    for group in word.split('+') {
        let (_, parts) = GROUPS.iter().find(|(name, _)| *name == group)?;
        for (at, (name, ..)) in SUITES.iter().enumerate() {
            common[at] &= parts.iter().all(|part| name.contains(part));
        }
    }
    common.contains(&true).then_some(common)
}

fn merge(into: &mut [bool; SUITES.len()], more: &[bool; SUITES.len()]) {
    for (into, more) in into.iter_mut().zip(more) {
        *into |= more;
    }
}

fn unknown(word: &str) -> String {
    let names: Vec<&str> = SUITES.iter().map(|(name, ..)| *name).collect();
    format!("`{word}` is no cipher of this gateway's TLS 1.2 and 1.3; choose from {}", names.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_lists_mean_what_they_mean_to_openssl() {
        let tls13 = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
        let all = Ciphers::default().names();
        for (list, expected) in [
            ("ECDHE-RSA-AES128-GCM-SHA256", format!("{tls13}:ECDHE-RSA-AES128-GCM-SHA256")),
            ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", format!("{tls13}:ECDHE-RSA-AES128-GCM-SHA256")),
            ("TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256".into()),
            (
                "TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES256-GCM-SHA384",
                "TLS_AES_256_GCM_SHA384:ECDHE-RSA-AES256-GCM-SHA384".into(),
            ),
            ("HIGH:!aNULL:!MD5", all.clone()),
            ("DEFAULT", all.clone()),
            ("ECDHE+AESGCM:ECDHE+CHACHA20:!SHA1", all),
            ("HIGH:!AES128:!CHACHA20:!ECDSA", format!("{tls13}:ECDHE-RSA-AES256-GCM-SHA384")),
            ("aRSA+CHACHA20", format!("{tls13}:ECDHE-RSA-CHACHA20-POLY1305")),
            ("!ECDHE", tls13.into()),
            ("", tls13.into()),
        ] {
            assert_eq!(Ciphers::parse(list).map(|ciphers| ciphers.names()), Ok(expected), "{list}");
        }
    }

    #[test]
    fn what_rustls_does_not_have_is_refused_by_name() {
        for (list, word) in [
            ("ECDHE-RSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"),
            ("DHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384"),
            ("TLSv1", "TLSv1"),
            ("HIGH:RC4", "RC4"),
            ("HIGH:@STRENGTH", "@STRENGTH"),
            ("AESGCM+CHACHA20", "AESGCM+CHACHA20"),
            ("nonsense", "nonsense"),
        ] {
            let error = Ciphers::parse(list).unwrap_err();
            assert!(error.contains(&format!("`{word}`")), "{list}: {error}");
        }
        assert!(Ciphers::parse("TLS_AES_128_GCM_SHA256:!TLS_AES_128_GCM_SHA256").unwrap_err().contains("no cipher"));
    }

    #[test]
    fn only_versions_with_a_suite_are_offered() {
        assert_eq!(Ciphers::default().versions().len(), 2);
        assert_eq!(Ciphers::parse("TLS_AES_128_GCM_SHA256").unwrap().versions(), [&version::TLS13]);
        assert_eq!(Ciphers::parse("!ECDHE").unwrap().versions(), [&version::TLS13]);
    }
}
