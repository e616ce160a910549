//! US dollars in whole numbers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

/// Billionths in a dollar.
const NANOS: u64 = 1_000_000_000;

/// Decimal places of an amount.
const PLACES: usize = 9;

/// An amount of US dollars, a whole number of billionths, up to 18 billion dollars.
///
/// A sum that would be larger stays at the largest amount, which no cap allows, and is logged as an error.
/// In JSON an amount is a number of dollars. Only there it is a `f64`, and every amount below two million
/// dollars is read as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(u64);

/// A text or number that is no amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an amount is a number of US dollars from 0 to 18 billion, such as 12.50")]
pub struct NotAnAmount;

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// `nanos` billionths of a dollar.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The amount in billionths of a dollar.
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The difference, or nothing where `other` is more.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The amount times `numerator / denominator`, rounded up; times `numerator` for a denominator of 0.
    pub fn times(self, numerator: u64, denominator: u64) -> Self {
        let product = u128::from(self.0) * u128::from(numerator);
        Self::from_wide(product.div_ceil(u128::from(denominator.max(1))))
    }

    /// An amount that may be too large for the type.
    pub(crate) fn from_wide(nanos: u128) -> Self {
        u64::try_from(nanos).map_or_else(|_| Self::too_large(), Self)
    }

    fn too_large() -> Self {
        tracing::error!("an amount of money exceeds 18 billion US dollars and is cut to that");
        Self(u64::MAX)
    }

    /// The amount in dollars, to be shown or compared roughly.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / NANOS as f64
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let sum = self.0.checked_add(other.0);
        sum.map_or_else(Self::too_large, Self)
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Usd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Usd {
    /// Dollars as a decimal: every place that is not 0, or as many places as the format asks for, rounded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = f.precision().unwrap_or(PLACES).min(PLACES);
        let unit = 10_u128.pow((PLACES - places) as u32);
        let rounded = (u128::from(self.0) + unit / 2) / unit * unit;
        let (dollars, nanos) = (rounded / u128::from(NANOS), rounded % u128::from(NANOS));
        let fraction = format!("{nanos:09}");
        let fraction = match f.precision() {
            Some(_) => fraction.get(..places).unwrap_or_default(),
            None => fraction.trim_end_matches('0'),
        };
        match fraction {
            "" => write!(f, "{dollars}"),
            _ => write!(f, "{dollars}.{fraction}"),
        }
    }
}

impl FromStr for Usd {
    type Err = NotAnAmount;

    /// Reads a decimal such as `12.5`. Places beyond the ninth are cut off.
    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        let (dollars, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(dollars) || !digits(fraction) || dollars.len() + fraction.len() == 0 {
            return Err(NotAnAmount);
        }
        let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(PLACES);
        let mut amount = 0_u64;
        for digit in dollars.bytes().chain(nanos) {
            let shifted = amount.checked_mul(10).ok_or(NotAnAmount)?;
            let digit = u64::from(digit - b'0');
            amount = shifted.checked_add(digit).ok_or(NotAnAmount)?;
        }
        Ok(Self(amount))
    }
}

impl TryFrom<f64> for Usd {
    type Error = NotAnAmount;

    /// The nearest amount to a number of dollars.
    fn try_from(dollars: f64) -> Result<Self, NotAnAmount> {
        let nanos = (dollars * NANOS as f64).round();
        // The first number that is too large: 2^64.
        let fits = nanos >= 0.0 && nanos < u64::MAX as f64;
        fits.then_some(Self(nanos as u64)).ok_or(NotAnAmount)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let dollars = f64::deserialize(deserializer)?;
        Self::try_from(dollars).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_and_written_as_decimals() {
        for (text, nanos, written) in [
            ("0", 0, "0"),
            ("0.01", 10_000_000, "0.01"),
            ("12.50", 12_500_000_000, "12.5"),
            (".5", 500_000_000, "0.5"),
            ("3.", 3_000_000_000, "3"),
            ("0.0000000019", 1, "0.000000001"),
        ] {
            let usd = text.parse::<Usd>().unwrap();
            assert_eq!((usd.nanos(), usd.to_string().as_str()), (nanos, written));
        }
        for text in [
            "",
            ".",
            "-1",
            "+1",
            "1e3",
            "a lot",
            "1,5",
            "NaN",
            "18446744074",
            "1.5 ",
        ] {
            assert_eq!(text.parse::<Usd>(), Err(NotAnAmount), "{text}");
        }
    }

    #[test]
    fn an_amount_is_rounded_where_it_is_shown() {
        let usd = Usd::from_nanos(1_995_600_000);
        assert_eq!(format!("{usd:.2} {usd:.4} {usd:.0}"), "2.00 1.9956 2");
        assert_eq!(format!("{:.2}", Usd::ZERO), "0.00");
        assert_eq!(format!("{:.2}", Usd(u64::MAX)), "18446744073.71");
    }

    #[test]
    fn an_amount_that_is_too_large_stays_the_largest() {
        assert_eq!(Usd(u64::MAX) + Usd(1), Usd(u64::MAX));
        assert_eq!(Usd(u64::MAX).times(3, 2), Usd(u64::MAX));
        assert_eq!(Usd(10).times(1, 3), Usd(4));
        assert_eq!(Usd(7).times(2, 0), Usd(14));
        for wrong in ["-0.1", "1e11", "\"1\"", "null"] {
            assert!(serde_json::from_str::<Usd>(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_json_and_text(nanos in 0..2_000_000 * NANOS) {
            let usd = Usd(nanos);
            let json = serde_json::to_string(&usd).unwrap();
            prop_assert_eq!(serde_json::from_str::<Usd>(&json).unwrap(), usd);
            prop_assert_eq!(usd.to_string().parse::<Usd>(), Ok(usd));
        }
    }
}
