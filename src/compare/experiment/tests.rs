use super::*;

#[test]
fn interim_analyses_are_few_and_have_enough_pairs() {
    let analyses = |planned: usize| -> Vec<usize> {
        (1..=planned).filter(|&blocks| is_analysis_due(blocks, planned)).collect()
    };
    assert_eq!(analyses(14), [7, 11, 14]);
    assert_eq!(analyses(8), [5, 6, 8]);
    assert_eq!(analyses(5), [5]);
    assert!(analyses(4).is_empty(), "the last block is always analysed");
}
