"""UNIT: two variational autoencoders that share their codes, and a critic for each."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from ganatomy import losses
from ganatomy.game import Batch, Critic, Noise, Player, Stage
from ganatomy.networks import patch_critic
from ganatomy.networks.block_generator import HALVINGS, ascend, chain_block, descend
from ganatomy.networks.grid import halvable
from ganatomy.objectives import check_critic, objective, per_sample
from synthesis.judging import fooled, told_apart
from synthesis.translation import Translation

Tensor = Any
KINDS = {"scan": "target", "target": "scan"}  # each kind, and the other


class UNIT(Translation):
    """Scans and targets are two views of one code; who changes the decoder translates.

    Each kind has an encoder to a grid of codes, a quarter of the image's a side, and a decoder. The
    last residual blocks of both encoders are one network, and so are the first of both decoders:
    that is what makes a code mean the same for both. A code is a mean to which noise of variance 1
    is added, also where it is translated, in training; afterwards nothing is added.

    Terms of the generator, each the sum over both kinds, with the weights of the published code:
    `adversarial`; `image`, the mean absolute error of what comes back of a kind's own code (10);
    `code`, the mean over the code's elements of the squared means (0.01); `cycle` and `cycle_code`,
    the same of what was translated there and back (10 and 0.01). A mean with 0.01 is not the sum
    over the elements with 0.1 that the paper writes. Least squares are halved here; at weight 2,
    for either side, they are the published ones. Also the image losses that need
    no pair, of scans to targets.

    Args:
        shape: of one sample of the scan, (*size, C).
        target_channels: of the target; those of the scan where None.
        width: channels at the image's grid; 64 as published.
        blocks: residual blocks of an encoder, and of a decoder; 4 as published.
        shared: how many of them are tied; 1 as in the paper, 0 as in the later published code.
        up: how the decoders double a grid, see `ganatomy.networks.unet_generator.rises`; "resize"
            as in the published code.
        critic_width: channels of the critics' first convolution; 64 as published.
        critic_depth: how often their grid halves; 4 as published.
        scales: at how many sizes of the image they judge; 3 as published.
        spectral: divide their kernels by their largest singular values.
        adversary: the adversarial objective, a name of `ganatomy.objectives.objective`.
        **translation: `features` of `Translation`; `term_weights`, `optimizers`, `averages`.

    Raises:
        ValueError: settings that do not fit the grid or each other.

    Reference: Liu, Breuel, Kautz 2017, section 3, whose cycle terms hold the code of a kind's own
    image once more, here not; the published code of 2018 for terms, weights, reductions, scales
    and rates. Its critics end in a convolution of kernel 1, its decoders normalise over layers and
    its encoders and decoders begin with Kaiming's weights; here all are those of the other
    translation models. Its weight decay of 1e-4 and its term of VGG's activations are left out.
    """

    roles: ClassVar[dict[str, str]] = {"scan": "joined", "target": "independent"}
    default_weights: ClassVar[dict[str, Any]] = {
        **Translation.default_weights,
        "generator/adversarial": 2.0,
        "generator/image": 10.0,
        "generator/code": 0.01,
        "generator/cycle": 10.0,
        "generator/cycle_code": 0.01,
        "discriminator/adversarial": 2.0,
    }
    default_optimizer: ClassVar[dict[str, float]] = {
        "learning_rate": 1e-4,
        "beta_1": 0.5,
        "beta_2": 0.999,
    }

    def __init__(
        self,
        shape: tuple[int, ...],
        target_channels: int | None = None,
        width: int = 64,
        blocks: int = 4,
        shared: int = 1,
        up: str | None = "resize",
        critic_width: int = 64,
        critic_depth: int = 4,
        scales: int = 3,
        spectral: bool = False,
        adversary: str = "least_squares",
        **translation: Any,
    ):
        super().__init__(shape, target_channels, **translation)
        if not 0 <= shared <= blocks:
            raise ValueError(f"of {blocks} blocks 0 to {blocks} can be shared, not {shared}")
        check_critic(adversary, 0.0, bounded=spectral)
        self.width, self.blocks, self.shared, self.up = width, blocks, shared, up
        self.critic_width, self.critic_depth = critic_width, critic_depth
        self.scales, self.spectral = scales, spectral
        self.adversary = objective(adversary)
        self.shapes = {"scan": self.shape, "target": self.target_shape}
        factor = 2**HALVINGS
        grid = tuple(-(-side // factor) for side in self.shape[:-1])
        self.code_shape = (*grid, width * factor)
        self.assemble()

    @property
    def noise(self) -> dict[str, Noise]:
        names = ("scan_code", "target_code", "scan_cycle", "target_cycle")
        return {name: Noise("normal", self.code_shape) for name in names}

    def build_networks(self) -> dict[str, keras.Model]:
        networks = {}
        for kind, shape in self.shapes.items():
            networks[f"encoder_of_{kind}s"] = self._encoder(kind, shape)
            networks[f"decoder_of_{kind}s"] = self._decoder(kind, shape)
        if self.shared:
            networks["shared_encoder"] = self._chain("shared_encoder")
            networks["shared_decoder"] = self._chain("shared_decoder")
        for kind, shape in self.shapes.items():
            networks[f"critic_of_{kind}s"] = patch_critic(
                shape,
                self.critic_width,
                self.critic_depth,
                None,
                self.spectral,
                self.scales,
                name=f"critic_of_{kind}s",
            )
        return networks

    def _encoder(self, kind: str, shape: tuple[int, ...]) -> keras.Model:
        image = keras.Input(shape, name="image")
        x, _ = halvable(image, 2**HALVINGS)
        x = descend(x, self.width, "bare")
        for i in range(1, self.blocks - self.shared + 1):
            x = chain_block(x, "residual", "bare", f"block_{i}")
        return keras.Model(image, x, name=f"encoder_of_{kind}s")

    def _decoder(self, kind: str, shape: tuple[int, ...]) -> keras.Model:
        code = x = keras.Input(self.code_shape, name="code")
        for i in range(1, self.blocks - self.shared + 1):
            x = chain_block(x, "residual", "bare", f"block_{i}")
        made = ascend(x, shape[-1], self.width, "bare", self.up)
        _, cut = halvable(keras.Input(shape), 2**HALVINGS)
        return keras.Model(code, cut(made), name=f"decoder_of_{kind}s")

    def _chain(self, name: str) -> keras.Model:
        code = x = keras.Input(self.code_shape, name="code")
        for i in range(1, self.shared + 1):
            x = chain_block(x, "residual", "bare", f"block_{i}")
        return keras.Model(code, x, name=name)

    def stages(self) -> list[Stage]:
        generators = [name for name in self.networks if not name.startswith("critic")]
        critics = [name for name in self.networks if name.startswith("critic")]
        return [
            Stage(
                "adversarial",
                Critic("discriminator", self.discriminator_terms, tuple(critics)),
                Player("generator", self.generator_terms, tuple(generators)),
            )
        ]

    # Codes and images --------------------------------------------------------------------------

    def encode(self, kind: str, images: Tensor, *, training: bool = False) -> Tensor:
        """The mean code of images of a kind, "scan" or "target", [B, *grid, channels]."""
        part = self.networks.__getitem__ if training else self.network
        code = part(f"encoder_of_{kind}s")(images, training=training)
        return part("shared_encoder")(code, training=training) if self.shared else code

    def decode(self, kind: str, code: Tensor, *, training: bool = False) -> Tensor:
        """The image of a kind that a code stands for, [B, *size, C]."""
        part = self.networks.__getitem__ if training else self.network
        if self.shared:
            code = part("shared_decoder")(code, training=training)
        return part(f"decoder_of_{kind}s")(code, training=training)

    # Training ----------------------------------------------------------------------------------

    def play(self, batch: Batch) -> dict[str, dict[str, Tensor]]:
        means, again, made = {}, {}, {}
        for kind, other in KINDS.items():
            means[kind] = self.encode(kind, batch[kind], training=True)
            code = means[kind] + batch[f"{kind}_code"]
            again[kind] = self.decode(kind, code, training=True)
            made[other] = self.decode(other, code, training=True)
        return {"means": means, "again": again, "made": made}

    def judge(self, kind: str, images: Tensor) -> Any:
        """What the critic of a kind says of images."""
        return self.networks[f"critic_of_{kind}s"](images, training=True)

    def discriminator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        return {
            "adversarial": sum(
                told_apart(self.adversary, self.judge(kind, batch[kind]), self.judge(kind, image))
                for kind, image in played["made"].items()
            )
        }

    def generator_terms(self, batch: Batch, played: dict[str, Any]) -> dict[str, Any]:
        made, means = played["made"], played["means"]
        # Of a kind: the code of what was made of it, and what that gives back.
        codes = {
            kind: self.encode(other, made[other], training=True) for kind, other in KINDS.items()
        }
        back = {
            kind: self.decode(kind, code + batch[f"{kind}_cycle"], training=True)
            for kind, code in codes.items()
        }
        return {
            "adversarial": sum(
                fooled(self.adversary, self.judge(kind, image)) for kind, image in made.items()
            ),
            "image": sum(losses.l1(played["again"][kind], batch[kind]) for kind in KINDS),
            "code": sum(per_sample(ops.square(code)) for code in means.values()),
            "cycle": sum(losses.l1(back[kind], batch[kind]) for kind in KINDS),
            "cycle_code": sum(per_sample(ops.square(code)) for code in codes.values()),
            **self.image_terms(made["target"], batch),
        }

    # Translation -------------------------------------------------------------------------------

    def generate(self, x: Tensor) -> Tensor:
        return self.decode("target", self.encode("scan", x))
