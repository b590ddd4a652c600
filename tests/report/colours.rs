//! Contrast of the colours of the page, light and dark.

use std::collections::HashMap;

use ringpoll::report::html;

use crate::fixture;

/// Returns the colour variables of the light and the dark scheme.
fn schemes(page: &str) -> [HashMap<String, [f64; 3]>; 2] {
    let (light, dark) = page.split_once("@media (prefers-color-scheme: dark)").unwrap();
    let dark = dark.split_once("}\n}").unwrap().0;
    [light, dark].map(|text| {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix("--")?.split_once(": #"))
            .map(|(name, value)| (name.to_owned(), channels(value)))
            .collect()
    })
}

fn channels(hexadecimal: &str) -> [f64; 3] {
    [0, 2, 4].map(|at| {
        let value = u8::from_str_radix(&hexadecimal[at..at + 2], 16).unwrap();
        let share = f64::from(value) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    })
}

/// Returns the contrast ratio of the Web Content Accessibility Guidelines.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |[red, green, blue]: [f64; 3]| 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    one.max(other) / one.min(other)
}

#[test]
fn text_and_marks_have_contrast_in_both_schemes() {
    let page = html::page(fixture::two());
    for scheme in schemes(&page) {
        let text = ["text", "muted", "better", "worse", "same", "open"];
        let marks = ["arm-0", "arm-1", "arm-2", "arm-3", "arm-4", "noise"];
        let minimums =
            text.map(|name| (name, 4.5)).into_iter().chain(marks.map(|name| (name, 3.0)));
        for (name, minimum) in minimums {
            for background in ["card", "page"] {
                let contrast = contrast(scheme[name], scheme[background]);
                assert!(contrast >= minimum, "{name} on {background}: {contrast:.2}");
            }
        }
    }
}
