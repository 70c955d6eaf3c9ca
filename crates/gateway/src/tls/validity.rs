//! When a certificate begins and ends, read from its DER (RFC 5280). Pure; no more of X.509 is needed here.

/// Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub not_before: i64,
    /// Not after.
    pub not_after: i64,
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]` of `TBSCertificate`.
const VERSION: u8 = 0xa0;

impl Validity {
    /// Of a certificate in DER; `None` when it is not one.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (certificate, _) = element(der, SEQUENCE)?;
        let (mut tbs, _) = element(certificate, SEQUENCE)?;
        if let Some((_, rest)) = element(tbs, VERSION) {
            tbs = rest;
        }
        // serial number, signature algorithm, issuer
        for tag in [INTEGER, SEQUENCE, SEQUENCE] {
            tbs = element(tbs, tag)?.1;
        }
        let (validity, _) = element(tbs, SEQUENCE)?;
        let (not_before, rest) = time(validity)?;
        let (not_after, _) = time(rest)?;
        Some(Self { not_before, not_after })
    }
}

/// Content of the element that stands first, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f)).filter(|(bytes, _)| bytes.len() <= 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

/// `YYMMDDHHMMSSZ` (years 1950 to 2049) or `YYYYMMDDHHMMSSZ`.
fn time(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, century) = match element(der, UTC_TIME) {
        Some((text, rest)) => (text, rest, if text.first()? >= &b'5' { "19" } else { "20" }),
        None => element(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, ""))?,
    };
    let text = format!("{century}{}", std::str::from_utf8(text).ok()?);
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    Some((time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(begins: (i32, u8, u8), ends: (i32, u8, u8)) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(begins.0, begins.1, begins.2);
        params.not_after = rcgen::date_time_ymd(ends.0, ends.1, ends.2);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn day(year: i16, month: i8, day: i8) -> i64 {
        jiff::civil::date(year, month, day).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        for (begins, ends) in
            [((1975, 1, 1), (2049, 12, 31)), ((2026, 11, 23), (2027, 2, 21)), ((2049, 6, 1), (4096, 1, 1))]
        {
            let expected =
                Validity { not_before: day(begins.0, begins.1, begins.2), not_after: day(ends.0, ends.1, ends.2) };
            let of = |(year, month, day): (i16, i8, i8)| (i32::from(year), month as u8, day as u8);
            assert_eq!(Validity::of(&certificate(of(begins), of(ends))), Some(expected));
        }
    }

    #[test]
    fn no_piece_of_a_certificate_is_taken_for_a_whole_one() {
        let der = certificate((2026, 1, 1), (2027, 1, 1));
        let whole = Validity::of(&der).unwrap();
        for end in 0..der.len() {
            assert_eq!(Validity::of(&der[..end]), None, "{end}");
        }
        // any byte may be wrong; none may bring it down
        for at in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut other = der.clone();
                other[at] = byte;
                let _ = Validity::of(&other);
            }
        }
        assert!(whole.not_before < whole.not_after);
    }
}
