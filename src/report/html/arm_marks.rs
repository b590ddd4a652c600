//! Marks of arms in plots: each arm has a colour, a shape and a dash pattern.

use maud::{Markup, html};

use crate::result::Arm;

/// Number of distinct styles. More arms reuse them.
const STYLES: usize = 5;

/// Returns the CSS class of the colour and the dash pattern of an arm.
pub(super) fn class(arm: usize) -> String {
    format!("arm-{}", arm % STYLES)
}

/// Returns the path of the mark of an arm: circle, square, triangle, diamond or cross.
pub(super) fn shape(arm: usize, x: f64, y: f64, radius: f64) -> String {
    let r = radius;
    match arm % STYLES {
        0 => format!(
            "M{:.2} {y:.2}a{r:.2} {r:.2} 0 1 0 {:.2} 0a{r:.2} {r:.2} 0 1 0 {:.2} 0z",
            x - r,
            2.0 * r,
            -2.0 * r
        ),
        1 => format!(
            "M{:.2} {:.2}h{side:.2}v{side:.2}h-{side:.2}z",
            x - 0.9 * r,
            y - 0.9 * r,
            side = 1.8 * r
        ),
        2 => format!("M{x:.2} {:.2}l{:.2} {:.2}h{:.2}z", y - 1.2 * r, 1.2 * r, 2.1 * r, -2.4 * r),
        3 => format!(
            "M{x:.2} {:.2}l{s:.2} {s:.2}l-{s:.2} {s:.2}l-{s:.2} -{s:.2}z",
            y - 1.3 * r,
            s = 1.3 * r
        ),
        _ => format!("M{:.2} {y:.2}h{:.2}M{x:.2} {:.2}v{:.2}", x - r, 2.0 * r, y - r, 2.0 * r),
    }
}

/// Returns the mark and the name of an arm.
pub(super) fn chip(arms: &[Arm], arm: usize) -> Markup {
    html! {
        span.chip {
            svg class=(class(arm)) width="26" height="12" aria-hidden="true" {
                path.line d="M0 6H26" {}
                path.mark d=(shape(arm, 13.0, 6.0, 4.0)) {}
            }
            " " (arms[arm].label)
        }
    }
}

/// Returns the legend of all arms, followed by `more`.
pub(super) fn legend(arms: &[Arm], more: &Markup) -> Markup {
    html! {
        p.legend {
            @for arm in 0..arms.len() { (chip(arms, arm)) " " }
            (more)
        }
    }
}
