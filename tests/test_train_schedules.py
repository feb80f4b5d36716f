import itertools

import pytest

from basinbridge.train.schedules import cosine, halving, piecewise_linear


def test_schedules_rise_and_fall_as_they_say():
    assert [halving(epoch, 60) for epoch in (0, 19, 20, 59)] == [1, 1, 0.5, 0.25]
    shares = [cosine(epoch / 10, 20) for epoch in range(201)]
    top = shares.index(max(shares))
    assert (shares[0], top, shares[top]) == (0, 20, 1)
    assert shares[:top] == sorted(shares[:top])
    assert shares[top:] == sorted(shares[top:], reverse=True)
    assert shares[-1] == pytest.approx(0, abs=1e-15)
    shares = [piecewise_linear(epoch, 200) for epoch in range(200)]
    assert set(shares[:101]) == {1.0}
    assert shares[180:] == pytest.approx([0.01] * 20)
    steps = [one - other for one, other in itertools.pairwise(shares[100:181])]
    assert steps == pytest.approx([0.99 / 80] * 80)
