use super::*;

fn blocks(msn: Option<u64>, part: Option<u64>) -> Result<Option<(u64, u64)>, &'static str> {
    let grid = Grid::new(0, (25, 1), 2000, 200).unwrap();
    let cursor = Cursor { msn: 10, part: 4 };
    wanted(
        &grid,
        Kind::Video,
        cursor,
        Directives {
            msn,
            part,
            skip: false,
        },
    )
    .map(|until| until.map(|until| (until.msn, until.part)))
}

#[test]
fn blocking_follows_the_rules() {
    assert_eq!(blocks(None, None), Ok(None));
    assert!(blocks(None, Some(0)).is_err());
    // An old one is there already; the answer comes at once.
    assert_eq!(blocks(Some(3), None), Ok(Some((4, 0))));
    assert_eq!(blocks(Some(10), None), Ok(Some((11, 0))));
    assert_eq!(blocks(Some(10), Some(4)), Ok(Some((10, 5))));
    // Past the end of the segment: part 0 of the next.
    assert_eq!(blocks(Some(10), Some(10)), Ok(Some((11, 1))));
    assert_eq!(blocks(Some(10), Some(77)), Ok(Some((11, 1))));
    assert_eq!(blocks(Some(11), Some(9)), Ok(Some((11, 10))));
    assert!(blocks(Some(12), None).is_err());
    assert!(blocks(Some(11), Some(10)).is_err());
}

#[test]
fn directives_are_plain_decimals() {
    let all = Directives {
        msn: Some(7),
        part: Some(2),
        skip: true,
    };
    assert_eq!(
        directives("_HLS_msn=7&_HLS_part=2&_HLS_skip=YES&x=1"),
        Some(all)
    );
    assert_eq!(directives(""), Some(Directives::default()));
    for bad in [
        "_HLS_msn=-1",
        "_HLS_msn=",
        "_HLS_part=1e3",
        "_HLS_msn=99999999999999999999",
        "_HLS_skip=NO",
    ] {
        assert_eq!(directives(bad), None, "{bad}");
    }
}

#[test]
fn ranges_are_cut_to_what_is_there() {
    assert_eq!(byte_range("bytes=0-3", 10), Some(Some((0, 4))));
    assert_eq!(byte_range("bytes=4-", 10), Some(Some((4, 10))));
    assert_eq!(byte_range("bytes=-3", 10), Some(Some((7, 10))));
    assert_eq!(byte_range("bytes=9-99", 10), Some(Some((9, 10))));
    assert_eq!(byte_range("bytes=10-", 10), Some(None));
    for ignored in [
        "bytes=-",
        "bytes=3-1",
        "bytes=1-2,4-5",
        "items=1-2",
        "bytes=+1-2",
    ] {
        assert_eq!(byte_range(ignored, 10), None, "{ignored}");
    }
}
