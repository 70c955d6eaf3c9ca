//! Prices as whole numbers: what is read as a decimal number is counted without rounding.

use crate::Price;

/// Digits behind the point that a price may have.
const DECIMALS: usize = 6;
/// Digits in front of it.
const WHOLE: usize = 9;

/// A price, or a sum, in 10⁻⁶ of a currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

impl Micros {
    /// Reads `"3"`, `"0.25"`, `"12.000001"`: digits, at most nine of them before a point and six behind it.
    ///
    /// # Errors
    /// What is wrong, for an error that names the field.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) {
            return Err("is not a decimal number without a sign, such as \"3.00\"");
        }
        if fraction.len() > DECIMALS {
            return Err("has more than six digits behind the point");
        }
        if whole.len() > WHOLE {
            return Err("has more than nine digits before the point");
        }
        // fifteen digits at most
        format!("{whole}{fraction:0<DECIMALS$}").parse().map(Self).map_err(|_| "is too large")
    }
}

/// What a model's tokens cost: a million of them, each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Read.
    pub input: Micros,
    /// Written.
    pub output: Micros,
    /// Read from the prompt cache.
    pub cache_read: Micros,
    /// Written to the prompt cache.
    pub cache_write: Micros,
}

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, those of the cache included.
    pub input: u64,
    /// Written.
    pub output: u64,
    /// Of those read: from the prompt cache.
    pub cache_read: u64,
    /// Of those read: written to the prompt cache.
    pub cache_write: u64,
}

impl Rates {
    /// Reads a price; the cache's parts are as the input's where they are left out.
    ///
    /// # Errors
    /// The field and what is wrong with it.
    pub fn read(price: &Price) -> Result<Self, (&'static str, &'static str)> {
        let read = |field, text: &str| Micros::parse(text).map_err(|problem| (field, problem));
        let input = read("inputPerMillion", &price.input_per_million)?;
        let or_input = |field, text: &Option<String>| text.as_deref().map_or(Ok(input), |text| read(field, text));
        Ok(Self {
            input,
            output: read("outputPerMillion", &price.output_per_million)?,
            cache_read: or_input("cacheReadPerMillion", &price.cache_read_per_million)?,
            cache_write: or_input("cacheWritePerMillion", &price.cache_write_per_million)?,
        })
    }

    /// What tokens cost, in 10⁻¹² of the currency: exact, because a million is 10⁶.
    pub fn pico(&self, tokens: &Tokens) -> u128 {
        let fresh = tokens.input.saturating_sub(tokens.cache_read).saturating_sub(tokens.cache_write);
        [
            (fresh, self.input),
            (tokens.output, self.output),
            (tokens.cache_read, self.cache_read),
            (tokens.cache_write, self.cache_write),
        ]
        .into_iter()
        // 2⁶⁴ tokens of 10¹⁵ stay below 2¹²⁸
        .map(|(count, rate)| u128::from(count) * u128::from(rate.0))
        .sum()
    }
}

/// 10⁻¹² of a currency as a decimal number, exactly, without zeros at its end.
pub fn decimal(pico: u128) -> String {
    const UNIT: u128 = 1_000_000_000_000;
    let mut text = format!("{}.{:012}", pico / UNIT, pico % UNIT);
    text.truncate(text.trim_end_matches('0').len());
    if text.ends_with('.') {
        text.push('0');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_are_read_exactly() {
        for (text, micros) in [
            ("0", 0),
            ("3", 3_000_000),
            ("3.00", 3_000_000),
            ("0.25", 250_000),
            ("0.000001", 1),
            ("00.10", 100_000),
            ("999999999.999999", 999_999_999_999_999),
        ] {
            assert_eq!(Micros::parse(text), Ok(Micros(micros)), "{text}");
        }
        for text in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", " 1", "0.0000001", "1000000000", "½", "1.2.3", "NaN"]
        {
            assert!(Micros::parse(text).is_err(), "{text}");
        }
    }

    fn rates(input: &str, output: &str, read: Option<&str>, write: Option<&str>) -> Rates {
        Rates::read(&Price {
            input_per_million: input.into(),
            output_per_million: output.into(),
            cache_read_per_million: read.map(str::to_owned),
            cache_write_per_million: write.map(str::to_owned),
        })
        .unwrap()
    }

    #[test]
    fn cost_is_exact_and_counts_the_cache_at_its_own_price() {
        let tokens = Tokens { input: 1000, output: 100, cache_read: 600, cache_write: 200 };
        // 200 × 3 + 100 × 15 + 600 × 0.3 + 200 × 3.75 = 3030 per million
        assert_eq!(decimal(rates("3", "15", Some("0.30"), Some("3.75")).pico(&tokens)), "0.00303");
        assert_eq!(decimal(rates("3", "15", None, None).pico(&tokens)), "0.0045");
        // a server that counts the cache beside the input does not make the price negative
        let odd = Tokens { input: 1, output: 0, cache_read: 5, cache_write: 5 };
        assert_eq!(rates("1", "1", Some("0"), Some("0")).pico(&odd), 0);
        let most = Tokens { input: u64::MAX, output: u64::MAX, cache_read: 0, cache_write: 0 };
        assert!(rates("999999999.999999", "999999999.999999", None, None).pico(&most) > 0);
    }

    #[test]
    fn a_million_small_sums_are_the_large_one() {
        let rates = rates("0.1", "0.2", None, None);
        let one = rates.pico(&Tokens { input: 1, output: 1, ..Tokens::default() });
        assert_eq!(decimal(one * 1_000_000), "0.3");
        assert_eq!(
            (decimal(0), decimal(1), decimal(10u128.pow(13))),
            ("0.0".into(), "0.000000000001".into(), "10.0".into())
        );
    }
}
