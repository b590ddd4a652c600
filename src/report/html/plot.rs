//! Frame, axes and accessible title of plots.

use maud::{Markup, html};

use super::scale::Scale;

/// A plot with two axes. Sizes are in SVG user units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot<'text> {
    /// Description for screen readers.
    pub(super) title: &'text str,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) x_label: &'text str,
    pub(super) y_label: &'text str,
}

impl Plot<'_> {
    /// Draws the axes with these ticks, and the content.
    pub(super) fn draw(
        &self,
        x_ticks: &[(f64, String)],
        y_ticks: &[(f64, String)],
        content: &Markup,
    ) -> Markup {
        let (left, right) = self.x.ends;
        let (bottom, top) = self.y.ends;
        html! {
            svg.plot viewBox={ "0 0 " (self.width) " " (self.height) } role="img" aria-label=(self.title) {
                title { (self.title) }
                g.grid {
                    @for (value, _) in y_ticks {
                        @let y = pixels(self.y.at(*value));
                        path d={ "M" (left) " " (y) "H" (right) } {}
                    }
                    @for (value, _) in x_ticks {
                        @let x = pixels(self.x.at(*value));
                        path d={ "M" (x) " " (bottom) "V" (top) } {}
                    }
                }
                path.axis d={ "M" (left) " " (top) "V" (bottom) "H" (right) } {}
                g.ticks {
                    @for (value, text) in y_ticks {
                        text.end x=(left - 8.0) y=(pixels(self.y.at(*value) + 4.0)) { (text) }
                    }
                    @for (value, text) in x_ticks {
                        text.middle x=(pixels(self.x.at(*value))) y=(bottom + 18.0) { (text) }
                    }
                }
                text.name x=(left - 8.0) y=(top - 12.0) text-anchor="start" { (self.y_label) }
                text.name.end x=(right) y=(bottom + 36.0) { (self.x_label) }
                (content)
            }
        }
    }
}

/// Formats a coordinate with two decimals.
pub(super) fn pixels(value: f64) -> String {
    format!("{value:.2}")
}

/// Returns the path of a line through points.
pub(super) fn line(points: impl IntoIterator<Item = (f64, f64)>) -> String {
    let mut path = String::new();
    for (x, y) in points {
        path += if path.is_empty() { "M" } else { "L" };
        path += &format!("{x:.2} {y:.2}");
    }
    path
}
