use super::*;

const HOUR: i64 = 3_600_000_000;

fn time(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros()
}

fn days(zone: Tz) -> Grid {
    Grid { size_us: 24 * HOUR, slide_us: 24 * HOUR, offset_us: 0, zone: Some(zone) }
}

/// The windows that hold `at`, as (start, end).
fn windows(grid: Grid, at: i64) -> Vec<(i64, i64)> {
    grid.windows(grid.pane(at)).map(|w| (grid.edge(w), grid.end(w))).collect()
}

#[test]
fn a_hop_is_in_size_by_slide_windows_in_order() {
    let grid = Grid { size_us: 5, slide_us: 2, offset_us: 0, zone: None };
    assert_eq!(grid.pane_us(), 1);
    assert_eq!(windows(grid, 4), [(0, 5), (2, 7), (4, 9)]);
    assert_eq!(windows(grid, 5), [(2, 7), (4, 9)]);
    assert_eq!(windows(grid, -1), [(-4, 1), (-2, 3)]);
}

#[test]
fn a_window_takes_its_start_and_leaves_its_end_to_the_next() {
    let grid = Grid::tumble(10, 3);
    assert_eq!(windows(grid, 3), [(3, 13)]);
    assert_eq!(windows(grid, 12), [(3, 13)]);
    assert_eq!(windows(grid, 13), [(13, 23)]);
    assert_eq!(windows(grid, 2), [(-7, 3)]);
}

#[test]
fn a_local_day_has_23_or_25_hours_where_clocks_change() {
    let grid = days(Tz::Europe__Berlin);
    let spring = windows(grid, time("2026-03-29T10:00:00Z"));
    assert_eq!(spring, [(time("2026-03-28T23:00:00Z"), time("2026-03-29T22:00:00Z"))]);
    let autumn = windows(grid, time("2026-10-25T10:00:00Z"));
    assert_eq!(autumn, [(time("2026-10-24T22:00:00Z"), time("2026-10-25T23:00:00Z"))]);
}

#[test]
fn a_midnight_that_does_not_exist_is_the_instant_clocks_jump() {
    let grid = days(Tz::Asia__Beirut);
    let day = windows(grid, time("2025-03-30T10:00:00Z"));
    assert_eq!(day[0].0, time("2025-03-29T22:00:00Z"));
}

#[test]
fn every_instant_lies_in_the_pane_it_is_said_to_lie_in() {
    for zone in [Tz::Europe__Berlin, Tz::Asia__Beirut, Tz::Australia__Lord_Howe, Tz::UTC] {
        for pane_us in [HOUR / 2, HOUR, 24 * HOUR] {
            let grid = Grid { size_us: pane_us, slide_us: pane_us, offset_us: 0, zone: Some(zone) };
            let mut last = i64::MIN;
            for half in 0..2 * 24 * 366 {
                let at = time("2025-01-01T00:00:00Z") + half * HOUR / 2 + 7;
                let pane = grid.pane(at);
                assert!(grid.edge(pane) <= at && at < grid.edge(pane + 1), "{zone} {at}");
                assert!(pane >= last, "panes follow time");
                last = pane;
            }
        }
    }
}
