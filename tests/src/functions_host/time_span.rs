//! Times as `host.json` writes them: `hh:mm:ss`, with days in front and fractions behind where needed.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};

pub(super) fn parse(text: &str) -> Result<Duration> {
    let wrong = || format!("{text:?} is no time of the form hh:mm:ss");
    let number = |text: &str| text.parse::<u64>().with_context(wrong);
    let parts = text.split(':').collect::<Vec<_>>();
    let [hours, minutes, seconds] = parts.as_slice() else {
        bail!(wrong());
    };
    let (days, hours) = hours.split_once('.').unwrap_or(("0", hours));
    let (seconds, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let [days, hours, minutes, seconds] = [days, hours, minutes, seconds].map(number);
    let (hours, minutes, seconds) = (hours?, minutes?, seconds?);
    if hours > 23 || minutes > 59 || seconds > 59 || fraction.len() > 7 {
        bail!(wrong());
    }
    let fraction = number(&format!("{fraction:0<9}"))?;
    let seconds = ((days? * 24 + hours) * 60 + minutes) * 60 + seconds;
    Ok(Duration::from_secs(seconds) + Duration::from_nanos(fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_millisecond_and_beyond_a_day() {
        assert_eq!(parse("00:00:02").unwrap(), Duration::from_secs(2));
        assert_eq!(parse("00:30:00").unwrap(), Duration::from_secs(1_800));
        assert_eq!(parse("00:00:00.05").unwrap(), Duration::from_millis(50));
        assert_eq!(
            parse("1.02:00:00").unwrap(),
            Duration::from_secs(26 * 3_600)
        );
        for wrong in [
            "",
            "30",
            "00:00",
            "24:00:00",
            "00:60:00",
            "a:b:c",
            "-00:00:01",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
