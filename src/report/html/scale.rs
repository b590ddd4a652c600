//! Axes of plots and their ticks.

/// An axis, which maps values to coordinates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    /// Smallest and largest value.
    pub(super) range: (f64, f64),
    /// Coordinates of the smallest and the largest value.
    pub(super) ends: (f64, f64),
    pub(super) logarithmic: bool,
}

impl Scale {
    pub(super) fn linear(range: (f64, f64), ends: (f64, f64)) -> Self {
        Self { range, ends, logarithmic: false }
    }

    pub(super) fn logarithmic(range: (f64, f64), ends: (f64, f64)) -> Self {
        Self { range, ends, logarithmic: true }
    }

    /// Returns the coordinate of a value, clamped to the ends of the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let along = |value: f64| if self.logarithmic { value.max(1e-12).ln() } else { value };
        let (least, greatest) = (along(self.range.0), along(self.range.1));
        let share = (along(value) - least) / (greatest - least).max(1e-12);
        self.ends.0 + share.clamp(0.0, 1.0) * (self.ends.1 - self.ends.0)
    }

    /// Returns true if the value is within the range.
    pub(super) fn holds(&self, value: f64) -> bool {
        (self.range.0..=self.range.1).contains(&value)
    }

    /// Returns about `about` round values.
    pub(super) fn ticks(&self, about: usize) -> Vec<f64> {
        if self.logarithmic && self.range.1 / self.range.0 > 3.0 {
            powers(self.range, about)
        } else {
            steps(self.range, about)
        }
    }
}

/// Returns common ratios that are at least `room` apart on the axis.
pub(super) fn ratio_ticks(scale: &Scale, room: f64) -> Vec<f64> {
    let steps = steps(scale.range, 5);
    // A narrow axis has ticks at equal differences.
    if scale.range.1 < 1.3 {
        return steps;
    }
    const ROUND: [f64; 12] = [1.0, 0.5, 2.0, 0.8, 1.25, 0.67, 1.5, 0.33, 3.0, 0.2, 5.0, 10.0];
    let mut ticks: Vec<f64> = Vec::new();
    for tick in ROUND.into_iter().filter(|it| scale.holds(*it)) {
        if ticks.iter().all(|other| (scale.at(tick) - scale.at(*other)).abs() >= room) {
            ticks.push(tick);
        }
    }
    ticks
}

/// Returns multiples of 1, 2 or 5 times a power of ten.
fn steps((least, greatest): (f64, f64), about: usize) -> Vec<f64> {
    let rough = ((greatest - least) / about.max(1) as f64).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * power).into_iter().find(|it| *it >= rough);
    let step = step.unwrap_or(power * 10.0);
    let from = (least / step - 1e-6).ceil() as i64;
    let to = (greatest / step + 1e-6).floor() as i64;
    (from..=to).map(|it| it as f64 * step).collect()
}

/// Returns 1, 2 and 5 times each power of ten, or only the powers if there were too many.
fn powers((least, greatest): (f64, f64), about: usize) -> Vec<f64> {
    let exponents = least.log10().floor() as i32..=greatest.log10().ceil() as i32;
    let of = |factors: &[f64]| -> Vec<f64> {
        let all = exponents
            .clone()
            .flat_map(|exponent| factors.iter().map(move |factor| factor * 10_f64.powi(exponent)));
        all.filter(|it| (least * 0.999..=greatest * 1.001).contains(it)).collect()
    };
    let dense = of(&[1.0, 2.0, 5.0]);
    if dense.len() <= about * 2 { dense } else { of(&[1.0]) }
}

/// Formats a time with a suitable unit.
pub(super) fn time_text(microseconds: f64) -> String {
    match microseconds {
        it if it >= 1e6 => format!("{} s", tick_text(it / 1e6)),
        it if it >= 1e3 => format!("{} ms", tick_text(it / 1e3)),
        it => format!("{} µs", tick_text(it)),
    }
}

/// Formats a round value without trailing zeros.
pub(super) fn tick_text(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text.split_once('.') {
        None if text.len() > 3 => crate::compare::explanation::format_thousands(value),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within_range() {
        assert_eq!(
            Scale::linear((0.0, 10.0), (0.0, 1.0)).ticks(5),
            [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        );
        assert_eq!(Scale::logarithmic((30.0, 3000.0), (0.0, 1.0)).ticks(5).len(), 6);
        let close = Scale::logarithmic((0.97, 1.03), (0.0, 1.0)).ticks(4);
        let texts: Vec<String> = close.iter().map(|&it| tick_text(it)).collect();
        assert_eq!(texts, ["0.98", "1", "1.02"]);
        let wide = Scale::logarithmic((1.0, 1e9), (0.0, 1.0)).ticks(5);
        assert!(wide.contains(&1e6) && !wide.contains(&2e6), "{wide:?}");
    }

    #[test]
    fn ratio_ticks_keep_minimum_distance() {
        let wide = Scale::logarithmic((0.4, 2.5), (0.0, 300.0));
        assert_eq!(ratio_ticks(&wide, 25.0), [1.0, 0.5, 2.0, 0.8, 1.25, 0.67, 1.5]);
        assert_eq!(ratio_ticks(&wide, 80.0), [1.0, 0.5, 2.0]);
        let close = Scale::logarithmic((0.9, 1.1), (0.0, 300.0));
        assert_eq!(ratio_ticks(&close, 30.0).len(), 5);
    }

    #[test]
    fn time_text_chooses_unit() {
        assert_eq!([50.0, 2e3, 1e7].map(time_text), ["50 µs", "2 ms", "10 s"]);
    }

    #[test]
    fn logarithmic_scale_has_equal_distances_for_equal_factors() {
        let scale = Scale::logarithmic((0.5, 2.0), (0.0, 100.0));
        assert!((scale.at(1.0) - 50.0).abs() < 1e-9);
        assert!((scale.at(1.25) + scale.at(0.8) - 100.0).abs() < 1e-9);
        assert_eq!((scale.at(9.0), scale.at(0.0)), (100.0, 0.0));
        assert!(scale.holds(2.0) && !scale.holds(2.1));
    }
}
