"""pix2pix and CycleGAN in plain PyTorch, as the well-known public repository trains them; the rival
of translation_torch.

A process of its own that answers a line of JSON with a line of JSON, and imports nothing of ours:
`{"do": "build", …}`, `{"do": "adversarial", "steps": n}` -> seconds of the clock and of processors,
`{"do": "memory"}` -> its peak.
"""

from __future__ import annotations

import itertools
import random

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_process import clocked, peak_memory, serve  # pyright: ignore

WIDEST = 8
DROPPED = 3
POOL = 50
CYCLE, IDENTITY = 10.0, 0.5


def norm_of(kind: str, channels: int) -> nn.Module:
    """Batch norm with gain and offset for pix2pix, instance norm without either for CycleGAN."""
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels)


class UNet(nn.Module):
    def __init__(self, width: int, depth: int):
        super().__init__()
        widths = [width * min(WIDEST, 2**i) for i in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for i, after in enumerate(widths):
            inner = 0 < i < depth - 1
            parts: list[nn.Module] = [nn.LeakyReLU(0.2)] if i else []
            parts.append(nn.Conv2d(widths[i - 1] if i else 1, after, 4, 2, 1, bias=not inner))
            self.down.append(nn.Sequential(*parts, *([nn.BatchNorm2d(after)] if inner else [])))
        for i in reversed(range(depth - 1)):
            before = widths[i + 1] * (1 if i == depth - 2 else 2)
            parts = [
                nn.ReLU(),
                nn.ConvTranspose2d(before, widths[i], 4, 2, 1, bias=False),
                nn.BatchNorm2d(widths[i]),
            ]
            if depth - 2 - i < DROPPED:
                parts.append(nn.Dropout(0.5))
            self.up.append(nn.Sequential(*parts))
        self.last = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(2 * width, 1, 4, 2, 1), nn.Tanh())

    def forward(self, x):
        seen = []
        for down in self.down:
            x = down(x)
            seen.append(x)
        for up, skip in zip(self.up, reversed(seen[:-1]), strict=True):
            x = torch.cat([skip, up(x)], 1)
        return self.last(x)


class Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.InstanceNorm2d(channels),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=False),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x):
        return x + self.body(x)


def resnet(width: int, blocks: int) -> nn.Module:
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(1, width, 7, bias=False)]
    layers += [nn.InstanceNorm2d(width), nn.ReLU(True)]
    for i in (1, 2):
        after = width * 2**i
        layers += [
            nn.Conv2d(after // 2, after, 3, 2, 1, bias=False),
            nn.InstanceNorm2d(after),
            nn.ReLU(True),
        ]
    layers += [Residual(4 * width) for _ in range(blocks)]
    for i in (1, 0):
        after = width * 2**i
        layers += [
            nn.ConvTranspose2d(2 * after, after, 4, 2, 1, bias=False),
            nn.InstanceNorm2d(after),
            nn.ReLU(True),
        ]
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, 1, 7), nn.Tanh())


def patch_critic(channels: int, width: int, depth: int, norm: str) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
    for i in range(1, depth + 1):
        before, after = (width * min(WIDEST, 2**n) for n in (i - 1, i))
        layers += [
            nn.Conv2d(before, after, 4, 2 if i < depth else 1, 1, bias=False),
            norm_of(norm, after),
            nn.LeakyReLU(0.2, True),
        ]
    return nn.Sequential(*layers, nn.Conv2d(after, 1, 4, 1, 1))


def normal(network: nn.Module) -> nn.Module:
    for part in network.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(part.weight, 0.0, 0.02)
    return network


def adam(*networks: nn.Module) -> torch.optim.Optimizer:
    parameters = itertools.chain(*(network.parameters() for network in networks))
    return torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))


def trained(wanted: bool, *networks: nn.Module) -> None:
    for network in networks:
        network.requires_grad_(wanted)


class ImagePool:
    def __init__(self):
        self.images: list[torch.Tensor] = []

    def query(self, images):
        given = []
        for image in images.split(1):
            if len(self.images) < POOL:
                self.images.append(image.clone())
                given.append(image)
            elif random.random() > 0.5:
                place = random.randrange(POOL)
                given.append(self.images[place].clone())
                self.images[place] = image.clone()
            else:
                given.append(image)
        return torch.cat(given)


class Images:
    """Scans and targets in memory, one of each a step."""

    def __init__(self, file: str):
        with np.load(file) as arrays:
            self.scans, self.targets = (
                torch.from_numpy(arrays[name]).permute(0, 3, 1, 2).contiguous()
                for name in ("scan", "target")
            )

    def pair(self):
        place = torch.randint(len(self.scans), (1,))
        return self.scans[place], self.targets[place]

    def any(self):
        count = len(self.scans)
        return self.scans[torch.randint(count, (1,))], self.targets[torch.randint(count, (1,))]


class Pix2Pix:
    def __init__(self, told: dict):
        self.images = Images(told["samples"])
        self.networks = {
            "generator": normal(UNet(told["width"], told["depth"])),
            "discriminator": normal(patch_critic(2, told["width"], told["critic_depth"], "batch")),
        }
        self.generator, self.critic = self.networks.values()
        self.move_generator, self.move_critic = map(adam, self.networks.values())
        self.told_apart = nn.BCEWithLogitsLoss()

    def judged(self, pair, real: bool):
        said = self.critic(pair)
        return self.told_apart(said, torch.full_like(said, float(real)))

    def step(self) -> None:
        scan, target = self.images.pair()
        made = self.generator(scan)
        trained(True, self.critic)
        self.move_critic.zero_grad()
        fake = self.judged(torch.cat([scan, made], 1).detach(), False)
        real = self.judged(torch.cat([scan, target], 1), True)
        (0.5 * (fake + real)).backward()
        self.move_critic.step()
        trained(False, self.critic)
        self.move_generator.zero_grad()
        loss = self.judged(torch.cat([scan, made], 1), True)
        (loss + 100.0 * functional.l1_loss(made, target)).backward()
        self.move_generator.step()


class CycleGAN:
    def __init__(self, told: dict):
        self.images = Images(told["samples"])
        width, depth = told["width"], told["critic_depth"]
        self.networks = {
            "to_target": normal(resnet(width, told["blocks"])),
            "to_scan": normal(resnet(width, told["blocks"])),
            "critic_of_targets": normal(patch_critic(1, width, depth, "instance")),
            "critic_of_scans": normal(patch_critic(1, width, depth, "instance")),
        }
        self.to_target, self.to_scan, self.of_targets, self.of_scans = self.networks.values()
        self.move_generators = adam(self.to_target, self.to_scan)
        self.move_critics = adam(self.of_targets, self.of_scans)
        self.pools = ImagePool(), ImagePool()

    def judged(self, critic, images, real: bool):
        said = critic(images)
        return functional.mse_loss(said, torch.full_like(said, float(real)))

    def step(self) -> None:
        l1 = functional.l1_loss
        scan, target = self.images.any()
        made_target = self.to_target(scan)
        scan_again = self.to_scan(made_target)
        made_scan = self.to_scan(target)
        target_again = self.to_target(made_scan)
        critics = self.of_targets, self.of_scans

        trained(False, *critics)
        self.move_generators.zero_grad()
        same = l1(self.to_target(target), target) + l1(self.to_scan(scan), scan)
        fooled = self.judged(self.of_targets, made_target, True)
        fooled = fooled + self.judged(self.of_scans, made_scan, True)
        back = l1(scan_again, scan) + l1(target_again, target)
        (fooled + CYCLE * back + CYCLE * IDENTITY * same).backward()
        self.move_generators.step()

        trained(True, *critics)
        self.move_critics.zero_grad()
        made = made_target.detach(), made_scan.detach()
        for critic, pool, real, fake in zip(critics, self.pools, (target, scan), made, strict=True):
            loss = self.judged(critic, real, True) + self.judged(critic, pool.query(fake), False)
            (0.5 * loss).backward()
        self.move_critics.step()


def answer(state: dict, told: dict) -> dict:
    if told["do"] == "build":
        torch.manual_seed(0)
        random.seed(0)
        torch.set_num_threads(told["threads"])
        state["model"] = {"pix2pix": Pix2Pix, "cyclegan": CycleGAN}[told["model"]](told)
        networks = state["model"].networks.items()
        counts = {name: sum(p.numel() for p in own.parameters()) for name, own in networks}
        return {"parameters": counts, "torch": torch.__version__}
    if told["do"] == "memory":
        return peak_memory()
    return clocked(lambda: [state["model"].step() for _ in range(told["steps"])])


if __name__ == "__main__":
    serve(answer)
