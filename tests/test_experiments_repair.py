from basinbridge.data.datasets import load
from basinbridge.experiments.repair import repair_study
from basinbridge.models import DigitsNet


def test_a_curve_leads_from_the_backdoor_to_a_clean_network():
    found = repair_study(
        DigitsNet,
        load("digits", "train"),
        load("digits", "test"),
        epochs=8,
        curve_epochs=10,
        points=5,
    )
    assert set(found) == {"unaligned", "aligned"}
    for one in found.values():
        assert one.backdoor.accuracy[0] > 0.9  # the tampered network obeys
        assert one.backdoor.accuracy[-1] < 0.1  # the clean one does not
        assert min(one.clean.accuracy[0], one.clean.accuracy[-1]) > 0.9
        assert len(str(one).splitlines()) == 6
    lowest = {name: one.clean.minimum_accuracy for name, one in found.items()}
    assert lowest["aligned"] > lowest["unaligned"]
