"""f-AnoGAN in plain PyTorch, as public WGAN-GP repositories write it; the rival of fanogan_torch.

A process of its own that answers a line of JSON with a line of JSON, and imports nothing of ours:
`{"do": "build", …}`, `{"do": "adversarial", "steps": n}`, `{"do": "encoder", "steps": n}`,
`{"do": "score", "images": n}` -> seconds of the clock and of processors.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_process import clocked, serve  # pyright: ignore

HALVINGS, BASE = 3, 4  # 32×32 to 4×4


def norm_of(kind: str | None, channels: int) -> nn.Module:
    return {
        "batch": lambda: nn.BatchNorm2d(channels),
        "layer": lambda: nn.GroupNorm(1, channels),
        None: nn.Identity,
    }[kind]()


def widths_up(width: int) -> list[int]:
    return [width * 2 ** (HALVINGS - 1 - i) for i in range(HALVINGS)]


class DCGenerator(nn.Module):
    def __init__(self, latent: int, width: int):
        super().__init__()
        self.widths = widths_up(width)
        self.dense = nn.Linear(latent, BASE * BASE * self.widths[0], bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(self.widths[0]), nn.ReLU()]
        for before, after in zip(self.widths[:-1], self.widths[1:], strict=True):
            layers += [
                nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            ]
        layers += [nn.ConvTranspose2d(self.widths[-1], 1, 4, 2, 1), nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, z):
        return self.body(self.dense(z).view(-1, self.widths[0], BASE, BASE))


def dc_trunk(width: int, norm: str | None) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = []
    channels = 1
    for i in range(HALVINGS):
        own = norm if i else None
        after = width * 2**i
        layers += [
            nn.Conv2d(channels, after, 4, 2, 1, bias=own is None),
            norm_of(own, after),
            nn.LeakyReLU(0.2),
        ]
        channels = after
    return nn.Sequential(*layers), channels


class UpBlock(nn.Module):
    def __init__(self, before: int, after: int):
        super().__init__()
        self.shortcut = nn.Conv2d(before, after, 1, bias=False)
        self.norm_1, self.norm_2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv_1 = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.conv_2 = nn.Conv2d(after, after, 3, padding=1, bias=False)

    def forward(self, x):
        shortcut = functional.interpolate(self.shortcut(x), scale_factor=2)
        x = functional.interpolate(functional.relu(self.norm_1(x)), scale_factor=2)
        x = functional.relu(self.norm_2(self.conv_1(x)))
        return shortcut + self.conv_2(x)


class ResidualGenerator(nn.Module):
    def __init__(self, latent: int, width: int):
        super().__init__()
        self.widths = widths_up(width)
        self.dense = nn.Linear(latent, BASE * BASE * self.widths[0])
        pairs = zip([self.widths[0], *self.widths[:-1]], self.widths, strict=True)
        self.blocks = nn.Sequential(*[UpBlock(*pair) for pair in pairs])
        self.last = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 1, 3, padding=1), nn.Tanh()
        )

    def forward(self, z):
        x = self.dense(z).view(-1, self.widths[0], BASE, BASE)
        return self.last(self.blocks(x))


class DownBlock(nn.Module):
    def __init__(self, before: int, after: int, norm: str | None):
        super().__init__()
        self.shortcut = nn.Conv2d(before, after, 1)
        self.norm_1, self.norm_2 = norm_of(norm, before), norm_of(norm, before)
        self.conv_1 = nn.Conv2d(before, before, 3, padding=1, bias=norm is None)
        self.conv_2 = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x):
        shortcut = self.shortcut(functional.avg_pool2d(x, 2))
        x = self.conv_1(functional.relu(self.norm_1(x)))
        x = self.conv_2(functional.relu(self.norm_2(x)))
        return shortcut + functional.avg_pool2d(x, 2)


def residual_trunk(width: int, norm: str | None) -> tuple[nn.Module, int]:
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1)]
    channels = width
    for i in range(HALVINGS):
        after = width * 2 ** (i + 1)
        layers.append(DownBlock(channels, after, norm))
        channels = after
    return nn.Sequential(*layers), channels


class Headed(nn.Module):
    """A trunk and a dense layer; features are what the dense layer sees."""

    def __init__(self, trunk: tuple[nn.Module, int], out: int):
        super().__init__()
        self.trunk, channels = trunk
        self.head = nn.Linear(channels * BASE * BASE, out)

    def features(self, x):
        return self.trunk(x).flatten(1)

    def forward(self, x):
        return self.head(self.features(x))


class FAnoGAN:
    def __init__(self, told: dict):
        torch.manual_seed(0)
        torch.set_num_threads(told["threads"])
        self.samples = torch.from_numpy(np.load(told["samples"])).permute(0, 3, 1, 2).contiguous()
        self.latent, self.batch, self.critic_updates = (
            told["latent"],
            told["batch"],
            told["critic_updates"],
        )
        self.decay = told["decay"]
        generator, trunk = {
            "dcgan": (DCGenerator, dc_trunk),
            "residual": (ResidualGenerator, residual_trunk),
        }[told["network"]]
        self.generator = generator(self.latent, told["width"])
        self.critic = Headed(trunk(told["width"], told["critic_norm"]), 1)
        self.encoder = Headed(trunk(told["width"], "batch"), self.latent)
        self.average = copy.deepcopy(self.generator)
        self.moves = {
            name: torch.optim.Adam(getattr(self, name).parameters(), lr=1e-4, betas=(0.0, 0.9))
            for name in ("generator", "critic", "encoder")
        }

    def parameters(self) -> dict[str, int]:
        return {n: sum(p.numel() for p in getattr(self, n).parameters()) for n in self.moves}

    def real(self):
        return self.samples[torch.randint(len(self.samples), (self.batch,))]

    def penalty(self, real, fake):
        mix = torch.rand(len(real), 1, 1, 1)
        mixed = (mix * real + (1 - mix) * fake).requires_grad_(True)
        slope = torch.autograd.grad(
            self.critic(mixed).sum(), mixed, create_graph=True, retain_graph=True
        )[0]
        return ((slope.flatten(1).norm(2, dim=1) - 1) ** 2).mean()

    def adversarial(self) -> None:
        for _ in range(self.critic_updates):
            real = self.real()
            with torch.no_grad():
                fake = self.generator(torch.randn(self.batch, self.latent))
            loss = self.critic(fake).mean() - self.critic(real).mean()
            loss = loss + 10.0 * self.penalty(real, fake)
            self.moves["critic"].zero_grad()
            loss.backward()
            self.moves["critic"].step()
        for parameter in self.critic.parameters():
            parameter.requires_grad_(False)
        loss = -self.critic(self.generator(torch.randn(self.batch, self.latent))).mean()
        self.moves["generator"].zero_grad()
        loss.backward()
        self.moves["generator"].step()
        for parameter in self.critic.parameters():
            parameter.requires_grad_(True)
        if self.decay:
            with torch.no_grad():
                pairs = zip(self.average.parameters(), self.generator.parameters(), strict=True)
                for mean, now in pairs:
                    mean.lerp_(now, 1 - self.decay)

    def freeze(self) -> None:
        for network in (self.average, self.critic):
            network.eval().requires_grad_(False)

    def encoding(self) -> None:
        real = self.real()
        image = self.average(torch.tanh(self.encoder(real)))
        gap = self.critic.features(real) - self.critic.features(image)
        loss = ((real - image) ** 2).mean() + (gap**2).mean()
        self.moves["encoder"].zero_grad()
        loss.backward()
        self.moves["encoder"].step()

    @torch.no_grad()
    def score(self, images) -> list:
        scores = []
        for x in images.split(32):
            image = self.average(torch.tanh(self.encoder(x)))
            gap = self.critic.features(x) - self.critic.features(image)
            score = ((x - image) ** 2).flatten(1).mean(1) + (gap**2).mean(1)
            scores.append((image.numpy(), score.numpy()))
        return scores


def answer(state: dict, told: dict) -> dict:
    if told["do"] == "build":
        state["model"] = FAnoGAN(told)
        return {"parameters": state["model"].parameters(), "torch": torch.__version__}
    return clocked(lambda: work(state["model"], told))


def work(model: FAnoGAN, told: dict) -> None:
    if told["do"] == "adversarial":
        for _ in range(told["steps"]):
            model.adversarial()
    elif told["do"] == "encoder":
        model.freeze()
        model.encoder.train()
        for _ in range(told["steps"]):
            model.encoding()
    elif told["do"] == "score":
        model.freeze()
        model.encoder.eval()
        model.score(model.samples[: told["images"]])


if __name__ == "__main__":
    serve(answer)
