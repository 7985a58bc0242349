"""How much went lately."""

from relay.limits.flow import Flow


def test_a_burst_counts_by_its_own_rate() -> None:
    flow = Flow()
    for _ in range(100):
        flow.add(1, 1001.0)
    assert flow.rate(1002.0) == 10.0
    assert flow.rate(1055.0) == 10.0


def test_the_busiest_ten_seconds_count() -> None:
    flow = Flow()
    for second in range(60):
        flow.add(50 if 20 <= second < 30 else 2, 1000.0 + second)
    assert flow.rate(1060.0) == 50.0


def test_what_went_more_than_a_minute_ago_is_forgotten() -> None:
    flow = Flow()
    flow.add(500, 1000.0)
    assert flow.rate(1075.0) == 0.0
    flow.add(10, 1080.0)
    assert flow.rate(1081.0) == 1.0


def test_nothing_flows_at_first() -> None:
    assert Flow().rate(1000.0) == 0.0


def test_the_total_is_what_went_in_the_last_minute() -> None:
    flow = Flow()
    for second in range(120):
        flow.add(2, 1000.0 + second)
    assert flow.total(1119.0) == 120
    assert flow.total(1149.0) == 60
    assert flow.total(1200.0) == 0
