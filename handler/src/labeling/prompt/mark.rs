//! The random mark of a request's delimiters.

use rand::{Rng, RngExt};

use crate::labeling::strategy::Input;

/// 128 random bits as 32 hexadecimal digits, that occur nowhere in the input they are drawn for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(String);

impl Mark {
    /// Draws a mark that the input does not contain.
    #[must_use]
    pub fn fresh(rng: &mut (impl Rng + ?Sized), input: &Input) -> Self {
        let mut attempt = 0u128;
        loop {
            // Adding the attempt ends the search with a generator that is stuck, too.
            let mark = format!("{:032x}", rng.random::<u128>().wrapping_add(attempt));
            if !input.contains(&mark) {
                return Self(mark);
            }
            attempt += 1;
        }
    }

    /// The 32 hexadecimal digits, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::labeling::cut::tests::Characters;
    use crate::labeling::strategy::tests::{WIDE, conversation};
    use crate::labeling::strategy::{Strategy, UserMessageOnly};

    fn input(message: &str) -> Input {
        UserMessageOnly
            .input(&conversation(&[(message, None)]), 0, &WIDE, &Characters)
            .unwrap()
    }

    #[test]
    fn marks_are_long_and_differ() {
        let mut rng = StdRng::seed_from_u64(1);
        let (one, other) = (
            Mark::fresh(&mut rng, &input("")),
            Mark::fresh(&mut rng, &input("")),
        );
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 32);
        assert!(one.as_str().chars().all(|c| c.is_ascii_hexdigit()));
    }

    #[test]
    fn a_mark_that_the_message_contains_is_drawn_again() {
        let mark = Mark::fresh(&mut StdRng::seed_from_u64(1), &input(""));
        let message = format!("<<<END {}>>>", mark.as_str());
        let other = Mark::fresh(&mut StdRng::seed_from_u64(1), &input(&message));
        assert_ne!(mark, other);
    }

    struct Stuck;

    impl rand::TryRng for Stuck {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }

        fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
            dst.fill(0);
            Ok(())
        }
    }

    #[test]
    fn a_stuck_generator_does_not_hang() {
        let message = format!("{:032x} {:032x}", 0, 1);
        assert_eq!(
            Mark::fresh(&mut Stuck, &input(&message)).as_str(),
            format!("{:032x}", 2)
        );
    }
}
