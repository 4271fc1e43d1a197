"""CycleGAN from pairs and unpaired images together."""

from __future__ import annotations

from typing import Any, ClassVar

from ganatomy.game import Batch
from synthesis.cyclegan import CycleGAN

Tensor = Any
UNPAIRED = {"scan": "unpaired_scan", "target": "unpaired_target"}


class MixedCycleGAN(CycleGAN):
    """A CycleGAN whose generators also learn from aligned pairs, where there are some.

    The adversarial, cycle and identity terms are those of the unpaired images, identity with weight
    0; the image losses compare what either generator makes of one side of a pair with the other,
    `l1` with weight 100.

    Args: those of `CycleGAN`.

    Reference: Jin et al. 2018, Deep CT to MR synthesis using paired and unpaired data, and the
    weights of their code: 100 for the image loss, none for an identity term. Their second cycle,
    that of the pairs, and the critics of pairs are here the image loss alone.
    """

    roles: ClassVar[dict[str, str]] = {
        "scan": "joined",
        "target": "joined",
        "unpaired_scan": "independent",
        "unpaired_target": "independent",
    }
    default_weights: ClassVar[dict[str, Any]] = {
        **CycleGAN.default_weights,
        "generator/identity": 0.0,
        "generator/l1": 100.0,
    }

    def play(self, batch: Batch) -> dict[str, Tensor]:
        return {
            **super().play(_unpaired(batch)),
            "paired_target": self.networks["to_target"](batch["scan"], training=True),
            "paired_scan": self.networks["to_scan"](batch["target"], training=True),
        }

    def generator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        paired = {"target": played["paired_target"], "scan": played["paired_scan"]}
        terms = super().generator_terms(_unpaired(batch), played)
        return terms | self.image_terms_of_both(paired, batch)

    def discriminator_terms(self, batch: Batch, played: dict[str, Tensor]) -> dict[str, Any]:
        return super().discriminator_terms(_unpaired(batch), played)


def _unpaired(batch: Batch) -> dict[str, Tensor]:
    return {**batch, **{kind: batch[role] for kind, role in UNPAIRED.items()}}
