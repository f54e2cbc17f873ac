"""Three minutes of mixed traffic with writes, erasures and new releases; `.ci/run` ends with it.

In three minutes a slope of megabytes per hour says little: what must hold is that nothing fails, no
process ends, files and threads stay, and no process grows as one that keeps something for each
request would. `./run bench soak` tells the slope, over hours.
"""

from benchmarks import soak

MINUTES = 3
GROWN = 30.0  # MB of a process after the warm-up; 4,000 requests that each leave 8 KB behind
SPARE = 4  # files of whoever asks while it is counted


def test_three_minutes_of_mixed_traffic_leave_nothing_behind():
    wanted = ["--minutes", str(MINUTES), "--rate", "30", "--refresh-seconds", "20"]
    result = soak.main(wanted)
    counts = result["ratios"]
    assert counts["failed"] == counts["processes that ended"] == 0, result["sent"]
    assert counts["refreshes that were swapped to"] >= 1
    assert counts["requests"] > 2_000
    for row in result["table"]:
        grown = row["MB/h"] * MINUTES * 0.75 / 60
        assert grown < GROWN, row
        for what in ("files", "threads"):
            first, second = (half.split(" to ") for half in row[what].split(" then "))
            assert int(second[0]) <= int(first[0]), row  # the fewest: what is never closed stays
            most = 2 * int(first[0]) if what == "files" else int(first[-1])  # two releases
            assert int(second[-1]) <= most + SPARE, row
        before, after = map(int, row["files, mostly"].split(" then "))
        assert after <= before + SPARE, row
