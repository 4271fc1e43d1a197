"""What the ablation compares, on networks of a few pixels; nothing is trained."""

import numpy as np
import pytest

from benchmarks import ablation, detection_page
from benchmarks.ablation import Scores, as_variant, joined, rebuilt, section
from benchmarks.ablation_variants import RULES, Variant, parts
from ganatomy import registry
from ganatomy.artifacts import Artifact, build_model

SHAPE = (32, 32, 1)


def test_every_variant_is_made_of_settings_that_there_are():
    for part in parts().values():
        names = [variant.what for variant in part.variants]
        assert len(set(names)) == len(names)
        for place, variant in enumerate(part.variants):
            assert variant.reference is None or variant.reference in names[:place]
            assert bool(variant.members) == (variant.rule in RULES)
            for one in variant.members or [variant]:
                preset = registry.preset(one.trained).set(one.settings)
                scored = as_variant(preset, one)
                assert scored.preprocessing == preset.preprocessing, "it sees what it was taught"


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("density-chest-xray", Variant("planted", like="planted-chest-xray")),
        ("density-chest-xray", Variant("nearest", after=("density=neighbours",))),
        (
            "fanogan-chest-xray",
            Variant("encoder", like="gan-density-chest-xray",
                    after=("encoding=izi_f", "source=encoder")),
        ),
        ("vae-chest-xray", Variant("restored", like="vae-restoration-chest-xray")),
    ],
)  # fmt: skip
def test_a_variant_scores_with_the_networks_that_were_trained(name, variant):
    preset = registry.preset(name)
    own = build_model(preset, SHAPE, seed=1)
    draw = np.random.default_rng(0)
    for network in (*own.networks.values(), *own.averages.values()):
        network.set_weights([draw.normal(size=w.shape) for w in network.get_weights()])
    made = rebuilt(Artifact(preset, own, SHAPE, {}, {}), as_variant(preset, variant))
    shared = set(made.networks) - {"density"}
    assert shared
    for name in shared:
        pairs = zip(made.network(name).get_weights(), own.network(name).get_weights(), strict=True)
        assert all(np.array_equal(new, old) for new, old in pairs)


def test_members_are_joined_by_what_each_scores_of_healthy_scans():
    # The second member says the same on another scale.
    draw = np.random.default_rng(0)
    healthy, test = draw.uniform(1, 2, 50), np.array([1.5, 3.0, 9.0])
    one = Scores(healthy, test, test)
    other = Scores(10 * healthy, 10 * test, 10 * test)
    for rule in RULES:
        both, alone = joined(rule, [one, other]), joined(rule, [one])
        np.testing.assert_allclose(both.test, alone.test, atol=1e-12)
    # Ranks end with the highest healthy score, standard scores do not.
    assert joined("ranks", [one]).test[1] == joined("ranks", [one]).test[2]
    assert joined("standardised", [one]).test[1] < joined("standardised", [one]).test[2]
    assert RULES["ranks"](np.arange(9.0))(4.0) == pytest.approx(0)


def test_a_part_is_told_with_spread_interval_and_difference():
    def measured(value, **more):
        interval = {"value": value, "low": value - 0.02, "high": value + 0.02}
        return {"auroc": interval, "seeds": [value - 0.01, value + 0.01], **more}

    apart = {"difference": {"value": -0.1, "low": -0.2, "high": 0.05}}
    rows = [
        {"what": "own", "test": measured(0.9), "moved": measured(0.8)},
        {"what": "less", "test": measured(0.8, **apart), "moved": measured(0.7, **apart)},
    ]
    part = {"title": "Part", "says": "Of it.", "rows": rows, "left_out": [], "seeds": 2}
    text = section({**part, "minutes": 1.5, "commit": "abc"})
    assert "| own | 0.900 ± 0.014 (0.880–0.920) |  | 0.800 ± 0.014 (0.780–0.820) |  |" in text
    assert "| less | 0.800 ± 0.014 (0.780–0.820) | -0.100 (-0.200 to +0.050) |" in text
    assert "Left out" not in text
    text = section({**part, "minutes": 1.5, "commit": "abc", "left_out": ["a GAN"]})
    assert "not trained it here: a GAN." in text


def test_a_text_goes_between_its_own_marks(tmp_path, monkeypatch):
    page = tmp_path / "detection.md"
    monkeypatch.setattr(detection_page, "PAGE", page)
    page.write_text("before\n<!-- a -->\nold\n<!-- b -->\nafter\n")
    ablation.put("<!-- a -->", "<!-- b -->", "new")
    assert page.read_text() == "before\n<!-- a -->\n\nnew\n\n<!-- b -->\nafter\n"
    with pytest.raises(SystemExit, match="no place between"):
        ablation.put("<!-- a -->", "<!-- c -->", "new")
