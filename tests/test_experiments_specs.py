"""The paper's exhibits as data."""

import pytest

from basinbridge.data.datasets import is_local
from basinbridge.errors import InputError
from basinbridge.experiments.exhibits import (
    ALIGNED,
    DATASETS,
    EXHIBITS,
    NETWORKS,
    PAM_ALIGNED,
    PAM_UNALIGNED,
    SCHEDULES,
    UNALIGNED,
    chosen_cases,
    chosen_exhibits,
)
from basinbridge.experiments.specs import Case, pairs_of

TABLE = EXHIBITS["table1"]


def test_table_1_has_nine_cases_and_three_pairs():
    assert len(TABLE.cases) == len(NETWORKS) * len(DATASETS) == 9
    assert TABLE.pairs == 3


def test_the_papers_curves_learn_faster_on_cifar100_only():
    paper = SCHEDULES["paper"]
    rates = [
        paper.curve_training(Case("TinyTen", dataset), ALIGNED).learning_rate
        for dataset in DATASETS
    ]
    assert rates == [0.01, 0.1, 0.01]
    assert paper.endpoint.epochs == paper.curve.epochs == 250
    assert {paper.endpoint.schedule, paper.curve.schedule} == {"halving"}


def test_a_variation_changes_its_field_and_nothing_else():
    paper = SCHEDULES["paper"]
    for method in EXHIBITS["appendix-f"].methods:
        changed = paper.curve_training(Case("TinyTen", "cifar100"), method)
        plain = paper.curve_training(Case("TinyTen", "cifar100"), UNALIGNED)
        different = {
            name: value for name, value in vars(changed).items() if value != vars(plain)[name]
        }
        assert different == dict(method.changes)


def test_mixed_precision_reaches_every_training():
    mixed = SCHEDULES["short"].with_mixed_precision()
    assert mixed.endpoint.mixed_precision
    assert mixed.curve_training(Case("TinyTen", "cifar10"), PAM_ALIGNED).mixed_precision


def test_robust_training_is_the_papers_and_googlenet_stops_before_it_overfits():
    paper = SCHEDULES["paper"]
    small, large = (
        paper.curve_training(Case(model, "cifar100"), ALIGNED, robust=True)
        for model in ("TinyTen", "GoogLeNet")
    )
    assert small == paper.robust
    assert (small.epochs, small.learning_rate) == (200, 0.1)
    assert small.attack == (8 / 255, 2 / 255, 5)
    assert (large.epochs, large.schedule, large.attack) == (20, "constant", small.attack)
    robust = [one.name for one in EXHIBITS.values() if one.robust]
    assert robust == ["figure4", "figure8", "figure9"]


def test_googlenet_has_no_pam():
    assert TABLE.methods_for(Case("GoogLeNet", "cifar10")) == (UNALIGNED, ALIGNED)
    assert PAM_UNALIGNED in TABLE.methods_for(Case("ResNet32", "cifar10"))


def test_only_chooses_cases_by_pattern_whatever_the_letters_case():
    assert [case.name for case in chosen_cases(TABLE, "TinyTen/CIFAR10")] == ["tinyten/cifar10"]
    assert len(chosen_cases(TABLE, "*/cifar100")) == 3
    assert chosen_cases(TABLE, "tinyten") == ()
    assert chosen_cases(TABLE, None) == TABLE.cases


def test_all_is_every_exhibit_and_a_wrong_name_lists_them():
    assert chosen_exhibits("all") == tuple(EXHIBITS.values())
    assert chosen_exhibits("figure2") == (EXHIBITS["figure2"],)
    with pytest.raises(InputError, match="table1, table2, figure1"):
        chosen_exhibits("table3")


@pytest.mark.parametrize("seeds", [(), (1,), (0, 1, 2), (0, 0), (0, 1, 1, 2)])
def test_seeds_must_make_pairs_of_different_networks(seeds):
    with pytest.raises(InputError, match="two for each pair"):
        pairs_of(seeds)


def test_every_data_set_is_one_that_can_be_loaded(tmp_path):
    for dataset in {case.dataset for one in EXHIBITS.values() for case in one.cases}:
        assert not is_local(dataset, tmp_path)
        (tmp_path / dataset).mkdir()
        assert is_local(dataset, tmp_path)
