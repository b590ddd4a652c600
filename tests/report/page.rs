//! The HTML page: well formed, consistent with the JSON, and safe with untrusted text.

use ringpoll::report::html;
use ringpoll::result::{ComparisonResult, LoadLevel};
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::Value;

use crate::fixture;

/// Parses the page with a strict XML parser.
pub(crate) fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap()
}

pub(crate) fn text_of(node: Node) -> String {
    node.descendants().filter_map(|it| if it.is_text() { it.text() } else { None }).collect()
}

/// Compares each number of a page with its result. Returns the number of numbers.
pub(crate) fn check_numbers(document: &Document, results: &[Value]) -> usize {
    let numbers: Vec<Node> =
        document.descendants().filter(|node| node.has_attribute("data-from")).collect();
    for node in &numbers {
        let from = node.attribute("data-from").unwrap();
        let (index, pointer) = from.split_once(':').unwrap_or(("0", from));
        let result = &results[index.parse::<usize>().unwrap()];
        let expected = result.pointer(pointer).and_then(Value::as_f64);
        let expected = expected.unwrap_or_else(|| panic!("{from} is not a number"));
        let value = node.attribute("value").or(node.attribute("data-value")).unwrap();
        assert_eq!(value.parse::<f64>().unwrap(), expected, "{from}");
        if node.has_tag_name("data") {
            let factor = node.attribute("data-times").map_or(1.0, |it| it.parse().unwrap());
            check_digits(from, expected * factor, &text_of(*node));
        }
    }
    numbers.len()
}

/// Checks that the text is the number, rounded to the digits shown.
fn check_digits(from: &str, number: f64, shown: &str) {
    let digits = shown.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let parsed: f64 = shown.replace(',', "").parse().unwrap();
    let half = 0.5 * 10_f64.powi(-(digits as i32)) * (1.0 + 1e-6) + number.abs() * 1e-12;
    assert!((parsed - number).abs() <= half, "{from}: {number} is shown as {shown}");
}

#[test]
fn numbers_equal_json_values() {
    for result in fixture::all() {
        let page = html::page(result);
        let value: Value = serde_json::from_str(&fixture::json(result)).unwrap();
        let checked = check_numbers(&parsed(&page), &[value]);
        let metrics: usize = result
            .experiments
            .iter()
            .flat_map(|it| &it.comparisons)
            .map(|it| it.metrics.len())
            .sum();
        // Both values, the ratio, the ends of its interval, and its mark.
        assert!(checked > metrics * 6, "{checked}");
    }
}

#[test]
fn table_cells_with_numbers_have_json_pointers() {
    for result in fixture::all() {
        let page = html::page(result);
        let document = parsed(&page);
        let cells = document.descendants().filter(|node| {
            node.has_tag_name("td")
                && node.attribute("class").is_some_and(|class| class.contains("number"))
        });
        for cell in cells {
            let text = text_of(cell);
            let has_data = cell.descendants().any(|node| node.has_tag_name("data"));
            assert!(has_data || text == "–", "{text}");
        }
    }
}

#[test]
fn marks_are_at_their_ratios() {
    let page = html::page(fixture::all()[1]);
    let document = parsed(&page);
    let tables = document
        .descendants()
        .filter(|node| node.has_tag_name("table") && node.attribute("class") == Some("metrics"));
    let mut checked = 0;
    for table in tables {
        let mut marks: Vec<(f64, f64)> = table
            .descendants()
            .filter(|node| node.attribute("class") == Some("point") && node.has_attribute("data-x"))
            .map(|node| {
                let number = |name| node.attribute(name).unwrap().parse::<f64>().unwrap();
                (number("data-value").ln(), number("data-x"))
            })
            .collect();
        // The axis is logarithmic: 1 is in the middle, at 130 of 260. The margins are 14 wide.
        marks.retain(|(_, x)| *x > 14.01 && *x < 245.99);
        let slopes: Vec<f64> = marks
            .iter()
            .filter(|(logarithm, _)| logarithm.abs() > 0.02)
            .map(|(logarithm, x)| (x - 130.0) / logarithm)
            .collect();
        let first = *slopes.first().expect("some ratio is not 1");
        assert!(first > 0.0);
        for slope in &slopes {
            assert!((slope / first - 1.0).abs() < 0.01, "{slopes:?}");
        }
        checked += slopes.len();
    }
    assert!(checked >= 4, "{checked}");
}

#[test]
fn conclusion_precedes_tables() {
    for result in fixture::all() {
        let page = html::page(result);
        let document = parsed(&page);
        let first = document
            .descendants()
            .find(|node| node.has_tag_name("p") && node.attribute("class") == Some("conclusion"));
        assert_eq!(text_of(first.unwrap()), result.conclusion);
        let table = document.descendants().find(|node| node.has_tag_name("table")).unwrap();
        assert!(first.unwrap().range().start < table.range().start);
    }
}

#[test]
fn gates_are_shown_with_remedies() {
    let mut result = fixture::two().clone();
    for round in
        result.experiments[0].rounds.iter_mut().filter(|it| it.load_level == LoadLevel::Saturation)
    {
        round.client.cpu_utilization = 0.999;
        round.server.cpu_utilization = 0.7;
    }
    let rounds = result.experiments[0].rounds.clone();
    result.experiments[0] = fixture::analysed(&result.arms, rounds);
    let gates = &result.experiments[0].gates;
    assert!(!gates.is_empty());
    let page = html::page(&result);
    let text = text_of(parsed(&page).root_element());
    for gate in gates {
        assert!(text.contains(&gate.reason) && text.contains(&gate.remedy), "{gate:?}");
    }
    assert!(!text.contains("All gates passed"));
}

#[test]
fn text_from_file_is_escaped() {
    let attack = "\"'><script>alert(1)</script><!-- & ]]>";
    let mut value: Value = serde_json::from_str(&fixture::json(fixture::swept())).unwrap();
    append_to_all_texts(&mut value, attack);
    let result: ComparisonResult = serde_json::from_value(value).unwrap();
    let page = html::page(&result);
    let document = parsed(&page);
    assert!(!document.descendants().any(|node| node.has_tag_name("script")));
    assert!(text_of(document.root_element()).contains(attack));
    assert!(document.descendants().flat_map(|node| node.attributes()).all(|attribute| {
        let name = attribute.name();
        !name.starts_with("on") && !["href", "src", "style"].contains(&name)
    }));
}

/// Appends to all strings except those of enums and histograms.
fn append_to_all_texts(value: &mut Value, attack: &str) {
    match value {
        Value::Object(entries) => {
            let excluded = [
                "outcome",
                "metric",
                "load_level",
                "verdict",
                "kind",
                "effect",
                "stop_reason",
                "histogram",
            ];
            for (key, value) in entries.iter_mut() {
                if !excluded.contains(&key.as_str()) {
                    append_to_all_texts(value, attack);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|it| append_to_all_texts(it, attack)),
        Value::String(text) => text.push_str(attack),
        _ => {}
    }
}

#[test]
fn page_is_self_contained() {
    for result in fixture::all() {
        let page = html::page(result);
        let document = parsed(&page);
        for node in document.descendants().filter(Node::is_element) {
            let name = node.tag_name().name();
            let external = ["script", "link", "img", "iframe", "object", "embed", "image", "use"];
            assert!(!external.contains(&name), "{name}");
        }
        assert!(!page.contains("url(") && !page.contains("@import"));
    }
}

#[test]
fn plots_have_accessible_descriptions() {
    let page = html::page(fixture::swept());
    let document = parsed(&page);
    let pictures = document.descendants().filter(|node| node.has_tag_name("svg"));
    let mut plots = 0;
    for picture in pictures {
        if picture.attribute("aria-hidden") == Some("true") {
            continue;
        }
        assert_eq!(picture.attribute("role"), Some("img"));
        assert!(picture.attribute("aria-label").is_some_and(|it| !it.is_empty()));
        plots += 1;
    }
    // The crossover map, and for each of the five values four plots, nine ratios and their axis.
    assert_eq!(plots, 1 + 5 * (4 + 9 + 1));
}

#[test]
#[ignore = "writes example pages to view in a browser"]
fn write_example_pages() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let names = ["two_arms", "three_arms", "sweep", "ladder"];
    for (name, result) in names.into_iter().zip(fixture::all()) {
        let path = directory.join(name);
        std::fs::write(path.with_extension("json"), fixture::json(result)).unwrap();
        std::fs::write(path.with_extension("html"), html::page(result)).unwrap();
        println!("{}", path.with_extension("html").display());
    }
}
