//! Histograms as SVG, drawn with attributes and classes alone: the page allows no styles in its markup.

use crate::dataset::histogram::{BARS, Histogram};
use std::fmt::Write;

/// Width of a bar with the gap after it, and height of the highest, in units of the picture.
const STEP: u64 = 12;
const HEIGHT: u64 = 100;

/// The picture of a histogram. Heights are linear; bars that would be invisible get a height of one unit.
pub(super) fn svg(histogram: &Histogram, title: &str) -> String {
    let highest = histogram.bars().map(|(zeros, ones)| zeros + ones).max();
    let highest = highest.unwrap_or_default().max(1);
    let height = |count: u64| match count {
        0 => 0.0,
        _ => (count as f64 / highest as f64 * HEIGHT as f64).max(1.0),
    };
    let width = STEP * BARS as u64;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {}\" role=\"img\" aria-label=\"{}\" class=\"histogram\">",
        HEIGHT + 14,
        escaped(title)
    );
    for (bar, (zeros, ones)) in (0_u64..).zip(histogram.bars()) {
        let (x, low, high) = (bar * STEP, height(zeros), height(ones));
        let mut rect = |class: &str, y: f64, height: f64, label: u8, count: u64| {
            if count > 0 {
                // Writing into a text never fails.
                let _ = write!(
                    svg,
                    "<rect class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" width=\"{}\" height=\"{height:.1}\">\
                     <title>{:.2} to {:.2}, hard label {label}: {count}</title></rect>",
                    STEP - 1,
                    bar as f64 / BARS as f64,
                    (bar + 1) as f64 / BARS as f64,
                );
            }
        };
        rect("zero", HEIGHT as f64 - low, low, 0, zeros);
        rect("one", (HEIGHT as f64 - low - high).max(0.0), high, 1, ones);
    }
    let _ = write!(
        svg,
        "<line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{width}\" y2=\"{HEIGHT}\"/>\
         <text x=\"0\" y=\"{below}\">0</text><text x=\"{}\" y=\"{below}\" text-anchor=\"middle\">0.5</text>\
         <text x=\"{width}\" y=\"{below}\" text-anchor=\"end\">1</text></svg>",
        width / 2,
        below = HEIGHT + 12,
    );
    svg
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_that_is_there_is_seen_and_names_are_text() {
        let mut histogram = Histogram::default();
        (0..5_000).for_each(|_| histogram.count(1, 0.99));
        histogram.count(0, 0.01);
        let svg = svg(&histogram, "a\"<b>&");
        assert!(
            svg.contains("aria-label=\"a&quot;&lt;b&gt;&amp;\""),
            "{svg}"
        );
        assert!(
            svg.contains("height=\"1.0\"") && svg.contains("height=\"100.0\""),
            "{svg}"
        );
        assert_eq!(svg.matches("<rect").count(), 2);
    }
}
