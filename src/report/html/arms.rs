//! How arms are told apart in plots: by colour, by the shape of their marks and by the dashes of
//! their lines.

use maud::{Markup, html};

use crate::report::result::Arm;

/// So many arms have looks of their own; after that they come again.
const LOOKS: usize = 5;

/// The class that gives an arm its colour and its dashes.
pub(super) fn class(arm: usize) -> String {
    format!("arm-{}", arm % LOOKS)
}

/// The outline of an arm's mark: circle, square, triangle, diamond, cross.
pub(super) fn shape(arm: usize, x: f64, y: f64, radius: f64) -> String {
    let r = radius;
    match arm % LOOKS {
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

/// An arm's mark with its name.
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

/// All of them.
pub(super) fn legend(arms: &[Arm], more: &Markup) -> Markup {
    html! {
        p.legend {
            @for arm in 0..arms.len() { (chip(arms, arm)) " " }
            (more)
        }
    }
}
