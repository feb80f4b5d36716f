import pytest
import torch
from networks import built, copy_of, same_bits
from test_train_adversarial import images_for

import basinbridge as bb
from basinbridge.evaluate.along import score
from basinbridge.evaluate.batchnorm import reestimate
from basinbridge.evaluate.robust import best_point, held_out_accuracy

ATTACK = bb.Attack(epsilon=0.1, step=0.04, steps=3, random_start=False)


def test_the_best_point_is_chosen_on_held_out_data_and_scored_on_others():
    curve = bb.Bezier.between(built("digits"), built("digits", seed=1))
    held_out, test, training = (images_for("digits", 40, seed=seed) for seed in (1, 2, 3))
    stronger = bb.Attack(epsilon=0.2, step=0.04, steps=6, random_start=False)
    found = best_point(
        curve, held_out, test, ATTACK, test_attack=stronger, batchnorm_data=training, points=5
    )

    def network(t):
        one = curve.network_at(t)
        reestimate(one, [training], ATTACK)
        return one

    places = [0, 0.25, 0.5, 0.75, 1]
    chosen = [score(network(t), [held_out], ATTACK) for t in places]
    ranks = [(one.accuracy, -one.loss) for one in chosen]
    assert found.t == places[ranks.index(max(ranks))]
    for name, t in (("start", 0.0), ("best", found.t), ("end", 1.0)):
        for got, wanted in (
            (found.scores[name].clean, score(network(t), [test])),
            (found.scores[name].robust, score(network(t), [test], stronger)),
            (found.scores[name].clean, score(found.networks[name], [test])),
        ):
            assert got.accuracy == wanted.accuracy
            assert got.loss == pytest.approx(wanted.loss, rel=1e-12)
    lines = str(found).splitlines()
    assert [line.split()[0].strip(",") for line in lines[1:]] == ["start", "best", "end"]
    assert len({len(line) for line in lines}) == 1


@pytest.mark.parametrize("name", ["mlp", "digits"])
def test_the_held_out_score_is_the_robust_accuracy(name):
    network, data, training = built(name), images_for(name, 30), images_for(name, 20, seed=5)
    before = copy_of(network)
    found = held_out_accuracy(data, ATTACK)(network)
    assert same_bits(network, before)
    assert found == score(built(name), [data], ATTACK).accuracy
    renewed = built(name)
    reestimate(renewed, [training], ATTACK)
    found = held_out_accuracy(data, ATTACK, batchnorm_data=training)(network)
    assert found == score(renewed, [data], ATTACK).accuracy


def test_early_stopping_keeps_the_most_robust_epoch():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(120, 6, generator=generator, dtype=torch.float64)
    labels = (inputs[:, 0] > 0.5).long()
    data, held_out = (inputs[:40], labels[:40]), (inputs[40:], labels[40:])
    watched, scores = held_out_accuracy(held_out, ATTACK), []

    def noted(network):
        scores.append(watched(network))
        return scores[-1]

    found = bb.train(
        built("mlp"),
        data,
        epochs=30,
        batch_size=8,
        objective=bb.adversarial(0.1, 0.04, 3, random_start=False),
        early_stopping=bb.EarlyStopping(noted, patience=3),
    )
    assert watched(found) == max(scores) > scores[0]
    assert scores.index(max(scores)) == len(scores) - 4
