use super::*;

#[test]
fn looks_are_few_and_never_too_early() {
    let looks = |planned: usize| -> Vec<usize> {
        (1..=planned).filter(|&blocks| is_look(blocks, planned)).collect()
    };
    assert_eq!(looks(14), [7, 11, 14]);
    assert_eq!(looks(8), [5, 6, 8]);
    assert_eq!(looks(5), [5]);
    assert!(looks(4).is_empty(), "the end is a look of its own");
}
