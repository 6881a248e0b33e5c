//! Two texts side by side, line by line.

/// Lines of both; `-` is expected and did not come, `+` came and is not expected.
pub(crate) fn diff(expected: &str, got: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), got.lines().collect());
    // common[i][j]: how many lines a[i..] and b[j..] share, in order.
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] = match a[i] == b[j] {
                true => common[i + 1][j + 1] + 1,
                false => common[i + 1][j].max(common[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < a.len() || j < b.len() {
        let (mark, line) = if i < a.len() && j < b.len() && a[i] == b[j] {
            (i, j) = (i + 1, j + 1);
            (' ', a[i - 1])
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            i += 1;
            ('-', a[i - 1])
        } else {
            j += 1;
            ('+', b[j - 1])
        };
        text.push_str(&format!("    {mark} {line}\n"));
    }
    text
}

#[test]
fn a_diff_shows_what_is_missing_and_what_is_too_much() {
    assert_eq!(diff("a\nb\nc\n", "a\nx\nc\n"), "      a\n    - b\n    + x\n      c\n");
}
