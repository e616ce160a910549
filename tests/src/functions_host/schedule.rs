//! Schedules of timers: NCRONTAB expressions, in UTC.

use anyhow::{Context as _, Result, bail};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Farther ahead nothing is looked for: the longest gap is that between two 29ths of February.
const DAYS: usize = 9 * 366;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// `{second} {minute} {hour} {day} {month} {weekday}`; with five fields the second is 0.
#[derive(Debug, Clone)]
pub(super) struct Schedule {
    seconds: Vec<i8>,
    minutes: Vec<i8>,
    hours: Vec<i8>,
    days: Vec<i8>,
    months: Vec<i8>,
    weekdays: Vec<i8>,
}

impl Schedule {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let fields = text.split_whitespace().collect::<Vec<_>>();
        let fields: [&str; 6] = match fields.as_slice() {
            [minute, hour, day, month, weekday] => ["0", minute, hour, day, month, weekday],
            [second, minute, hour, day, month, weekday] => {
                [second, minute, hour, day, month, weekday]
            }
            _ => bail!("the schedule {text:?} has neither six nor five fields"),
        };
        let field = |index: usize, lowest, highest, names: &[&str]| {
            parse_field(fields[index], lowest, highest, names)
                .with_context(|| format!("the schedule {text:?} cannot be read"))
        };
        Ok(Self {
            seconds: field(0, 0, 59, &[])?,
            minutes: field(1, 0, 59, &[])?,
            hours: field(2, 0, 23, &[])?,
            days: field(3, 1, 31, &[])?,
            months: field(4, 1, 12, &MONTHS)?,
            weekdays: field(5, 0, 6, &WEEKDAYS)?,
        })
    }

    /// Whether a minute or more lies between two occurrences.
    pub(super) fn is_at_most_every_minute(&self) -> bool {
        self.seconds.len() == 1
    }

    /// The first occurrence after a time. The far future where there is none.
    pub(super) fn next(&self, after: Timestamp) -> Timestamp {
        let after = TimeZone::UTC.to_datetime(after);
        let mut day = after.date();
        for _ in 0..DAYS {
            let fits = self.months.contains(&day.month())
                && self.days.contains(&day.day())
                && self
                    .weekdays
                    .contains(&day.weekday().to_sunday_zero_offset());
            if fits {
                let mut times = self.times().map(|(h, m, s)| day.at(h, m, s, 0));
                if let Some(found) = times.find(|time| *time > after) {
                    return timestamp(found);
                }
            }
            match day.checked_add(1.day()) {
                Ok(next) => day = next,
                Err(_) => break,
            }
        }
        Timestamp::MAX
    }

    fn times(&self) -> impl Iterator<Item = (i8, i8, i8)> {
        self.hours.iter().flat_map(move |hour| {
            self.minutes.iter().flat_map(move |minute| {
                self.seconds
                    .iter()
                    .map(move |second| (*hour, *minute, *second))
            })
        })
    }
}

fn timestamp(time: DateTime) -> Timestamp {
    TimeZone::UTC.to_timestamp(time).unwrap_or(Timestamp::MAX)
}

/// The values that a field allows, in order.
fn parse_field(text: &str, lowest: i8, highest: i8, names: &[&str]) -> Result<Vec<i8>> {
    let number = |text: &str| {
        let named = names
            .iter()
            .position(|name| text.to_ascii_lowercase().starts_with(name));
        let number = match named {
            Some(index) => lowest + index as i8,
            None => text
                .parse::<i8>()
                .with_context(|| format!("{text:?} is no number"))?,
        };
        if !(lowest..=highest).contains(&number) {
            bail!("{number} is not within {lowest} to {highest}");
        }
        Ok(number)
    };
    let mut values = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                let step = step.parse::<usize>().ok().filter(|step| *step > 0);
                (
                    range,
                    Some(step.with_context(|| format!("{part:?} has no step"))?),
                )
            }
            None => (part, None),
        };
        let (first, last) = match (range, range.split_once('-')) {
            ("*", _) => (lowest, highest),
            (_, Some((first, last))) => (number(first)?, number(last)?),
            // A step without a range goes on to the end.
            (first, None) if step.is_some() => (number(first)?, highest),
            (only, None) => (number(only)?, number(only)?),
        };
        values.extend((first..=last).step_by(step.unwrap_or(1)));
    }
    values.sort_unstable();
    values.dedup();
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str) -> String {
        let next = Schedule::parse(schedule)
            .unwrap()
            .next(after.parse().unwrap());
        next.to_string()
    }

    #[test]
    fn the_next_occurrence_is_found() {
        let tuesday = "2026-11-24T13:37:43.5Z";
        assert_eq!(next("0 * * * * *", tuesday), "2026-11-24T13:38:00Z");
        assert_eq!(next("*/20 * * * * *", tuesday), "2026-11-24T13:38:00Z");
        assert_eq!(next("*/10 * * * * *", tuesday), "2026-11-24T13:37:50Z");
        assert_eq!(next("0 */5 * * * *", tuesday), "2026-11-24T13:40:00Z");
        assert_eq!(next("0 30 9 * * 1-5", tuesday), "2026-11-25T09:30:00Z");
        assert_eq!(next("0 30 9 * Jan Mon", tuesday), "2027-01-04T09:30:00Z");
        assert_eq!(next("0 0 0 29 2 *", tuesday), "2028-02-29T00:00:00Z");
        assert_eq!(next("15,45 3 * * *", tuesday), "2026-11-25T03:15:00Z");
        assert_eq!(
            next("0 * * * * *", "2026-11-24T13:38:00Z"),
            "2026-11-24T13:39:00Z"
        );
        assert_eq!(next("0 0 0 30 2 *", tuesday), Timestamp::MAX.to_string());
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in [
            "",
            "* * *",
            "60 * * * * *",
            "x * * * * *",
            "*/0 * * * * *",
            "0 0 0 0 * *",
        ] {
            assert!(Schedule::parse(wrong).is_err(), "{wrong}");
        }
    }
}
