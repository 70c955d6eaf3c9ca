//! Private keys under a password: PKCS #8 with PBES2, PBKDF2 and AES-CBC, which is what OpenSSL 3 and its like write
//! (`BEGIN ENCRYPTED PRIVATE KEY`; RFC 8018, RFC 5958). Older forms are refused with the command that converts them.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_128, AES_192, AES_256, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256, PBKDF2_HMAC_SHA384, PBKDF2_HMAC_SHA512};

use crate::secret::Secret;

const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// `2.16.840.1.101.3.4.1`: AES; the last byte says which.
const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
/// `1.2.840.113549.2`: HMACs; the last byte says which.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
/// More rounds would only keep the gateway from starting.
const MOST_ROUNDS: u32 = 10_000_000;

const CONVERT: &str = "is encrypted in an old or unusual form; convert it with \
                       `openssl pkcs8 -topk8 -v2 aes-256-cbc -in KEY -out NEW`";

/// The key without its password. A key that has none is given back as it is.
///
/// # Errors
/// What is wrong and the cure; never anything of the key or the password.
pub fn decrypted(key: &Secret, password: &Secret) -> Result<Secret, String> {
    let text = key.expose();
    if text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(CONVERT.to_owned());
    }
    if !text.contains("BEGIN ENCRYPTED PRIVATE KEY") {
        return Ok(key.clone());
    }
    let block = pem::parse(text).map_err(|_| "is not PEM".to_owned())?;
    let sealed = Sealed::read(block.contents()).ok_or_else(|| CONVERT.to_owned())?;
    let mut derived = vec![0; sealed.key_length];
    pbkdf2::derive(sealed.prf, sealed.rounds, sealed.salt, password.expose().as_bytes(), &mut derived);
    let open = || {
        let algorithm = match sealed.key_length {
            16 => &AES_128,
            24 => &AES_192,
            _ => &AES_256,
        };
        let key = PaddedBlockDecryptingKey::cbc_pkcs7(UnboundCipherKey::new(algorithm, &derived).ok()?).ok()?;
        let iv = DecryptionContext::Iv128(FixedLength::from(<&[u8; 16]>::try_from(sealed.iv).ok()?));
        let mut data = sealed.data.to_vec();
        let plain = key.decrypt(&mut data, iv).ok()?;
        // a wrong password may unpad by chance; it does not give a sequence
        (plain.first() == Some(&0x30)).then(|| plain.to_vec())
    };
    let plain = open().ok_or_else(|| "cannot be decrypted with this password".to_owned())?;
    Ok(Secret::new(pem::encode(&pem::Pem::new("PRIVATE KEY", plain))))
}

struct Sealed<'a> {
    salt: &'a [u8],
    rounds: NonZeroU32,
    prf: pbkdf2::Algorithm,
    key_length: usize,
    iv: &'a [u8],
    data: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Reader(Reader(der).take(0x30)?);
        let mut scheme = Reader(outer.take(0x30)?);
        let data = outer.take(0x04)?;
        if scheme.take(0x06)? != PBES2 {
            return None;
        }
        let mut parameters = Reader(scheme.take(0x30)?);
        let (mut derivation, mut cipher) = (Reader(parameters.take(0x30)?), Reader(parameters.take(0x30)?));
        if derivation.take(0x06)? != PBKDF2 {
            return None;
        }
        let mut rules = Reader(derivation.take(0x30)?);
        let salt = rules.take(0x04)?;
        let rounds = rules.number().filter(|rounds| *rounds <= MOST_ROUNDS).and_then(NonZeroU32::new)?;
        if rules.next_is(0x02) {
            // the key's length, which the cipher says, too
            rules.number()?;
        }
        let prf = match rules.take(0x30) {
            None => PBKDF2_HMAC_SHA1,
            Some(prf) => match Reader(prf).take(0x06)?.strip_prefix(HMAC)? {
                [7] => PBKDF2_HMAC_SHA1,
                [9] => PBKDF2_HMAC_SHA256,
                [10] => PBKDF2_HMAC_SHA384,
                [11] => PBKDF2_HMAC_SHA512,
                _ => return None,
            },
        };
        let key_length = match cipher.take(0x06)?.strip_prefix(AES)? {
            [2] => 16,
            [22] => 24,
            [42] => 32,
            _ => return None,
        };
        Some(Self { salt, rounds, prf, key_length, iv: cipher.take(0x04)?, data })
    }
}

/// Reads DER values one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next_is(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    /// The content of the next value, which must have this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (&[first, length], rest) = self.0.split_first_chunk::<2>()?;
        if first != tag {
            return None;
        }
        let (length, rest) = match length {
            short @ 0..=0x7f => (usize::from(short), rest),
            long @ 0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x0f))?;
                (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(content)
    }

    fn number(&mut self) -> Option<u32> {
        let bytes = self.take(0x02)?;
        (bytes.len() <= 5).then(|| bytes.iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte)))?.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes-256-cbc -pass pass:correct-horse
    const ENCRYPTED: &str = include_str!("../tests/data/encrypted-key.pem");
    // the same by: openssl pkcs8 -topk8 -v2 aes-128-cbc -v2prf hmacWithSHA1
    const OTHER: &str = include_str!("../tests/data/encrypted-key-aes128-sha1.pem");
    const PLAIN: &str = include_str!("../tests/data/plain-key.pem");

    fn open(key: &str, password: &str) -> Result<String, String> {
        decrypted(&Secret::new(key), &Secret::new(password)).map(|key| key.expose().to_owned())
    }

    #[test]
    fn keys_of_openssl_open_with_their_password_and_no_other() {
        let der = |text: &str| pem::parse(text).unwrap().contents().to_vec();
        for key in [ENCRYPTED, OTHER] {
            assert_eq!(der(&open(key, "correct-horse").unwrap()), der(PLAIN));
            let wrong = open(key, "wrong").unwrap_err();
            assert_eq!(wrong, "cannot be decrypted with this password");
        }
        assert_eq!(open(PLAIN, "any").unwrap(), PLAIN);
    }

    #[test]
    fn old_forms_and_broken_ones_are_refused_with_the_cure() {
        let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
        assert!(open(old, "x").unwrap_err().contains("openssl pkcs8"));
        let whole = pem::parse(ENCRYPTED).unwrap();
        for cut in 0..whole.contents().len() {
            let part = pem::encode(&pem::Pem::new("ENCRYPTED PRIVATE KEY", &whole.contents()[..cut]));
            assert!(open(&part, "correct-horse").is_err(), "cut at {cut}");
        }
    }
}
