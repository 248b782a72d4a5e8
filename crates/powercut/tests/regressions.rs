//! Cases that once failed: what was wrong, and the seed that showed it.

use ringduct_powercut::case::{self, Effort};
use ringduct_powercut::library::Library;

#[test]
fn what_failed_once_does_not_fail_again() {
    let cases = [
        // Recovery within a boot erased what a slot frees that only the page cache had.
        (27, "the free space before the newest slots"),
        (275, "the same, in a plain ring: other bytes delivered"),
        (427, "the same: a tail behind what was acknowledged"),
        // Recovery wrote the next slot over a torn one of the same number and completed it.
        (327, "a torn slot revived"),
        (468, "a torn slot revived"),
        (1563, "a torn slot revived"),
        // Who attached after a clean close did not make good what had died before that.
        (100_002_317, "both slots unsafe"),
        // A consumer's attach counted a dead producer's last message, not its place.
        (123, "a tail behind the messages kept"),
        (574, "a tail behind the messages kept"),
        // Noise in a session led round to zero, as if nobody had been there: what a failed sync had
        // left undone was not made good.
        (2_026_126_871, "data that a successor took for synced"),
        // A recovery under the same boot took pages for synced because both ends had closed.
        (3_026_117_566, "data that a recovery took for synced"),
    ];
    for (seed, what) in cases {
        let found = case::run(&Library, seed, Effort::default(), None);
        let tally = found.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        assert!(tally.images > 1000);
    }
}
