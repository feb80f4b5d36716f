"""The paper's Table 1 as data."""

import pytest

from basinbridge.experiments.exhibits import ALIGNED, EXHIBITS, UNALIGNED
from basinbridge.experiments.published import TABLE_1, published
from basinbridge.experiments.specs import Case

TABLE = EXHIBITS["table1"]


@pytest.mark.parametrize("case", TABLE.cases, ids=lambda case: case.name)
def test_every_row_that_is_made_is_published_and_no_other(case):
    rows = {method.name for method in TABLE.methods_for(case)} | {"endpoints"}
    assert rows == {method for dataset, method in TABLE_1[case.model] if dataset == case.dataset}


@pytest.mark.parametrize("case", TABLE.cases, ids=lambda case: case.name)
def test_published_minimum_is_below_the_average_and_alignment_helps(case):
    for method in TABLE.methods_for(case):
        row = published(case, method.name)
        assert row.minimum[0] < row.average[0]
    aligned, unaligned = (published(case, one.name) for one in (ALIGNED, UNALIGNED))
    assert aligned.average[0] > unaligned.average[0]
    assert aligned.minimum[0] > unaligned.minimum[0]


def test_the_row_to_beat_first():
    case = Case("TinyTen", "cifar10")
    names = ("unaligned", "pam_unaligned", "pam_aligned", "aligned")
    found = [(published(case, name).average[0], published(case, name).minimum[0]) for name in names]
    assert found == [(87.4, 82.8), (87.6, 84.0), (88.4, 87.6), (88.5, 87.8)]
    assert published(case, "endpoints").average == (89.0, 0.1)
    assert published(Case("DigitsNet", "digits"), "aligned") is None
