"""PyTorch's grid_sample; the rival of warp.

A process of its own that answers a line of JSON with a line of JSON, and imports nothing of ours:
`{"do": "build", …}`, then `{"do": "values" | "points" | "both", "passes": n}` -> seconds of the
clock and of processors; `{"do": "save", "file": …}` writes what it computed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional
from torch_process import clocked, serve  # pyright: ignore


class Sampling:
    def __init__(self, told: dict):
        torch.set_num_threads(told["threads"])
        with np.load(told["inputs"]) as stored:
            image, points = stored["image"], stored["points"]
            upstream = stored["upstream"]
        sides = np.array(image.shape[1:-1], "float32")
        # grid_sample counts from -1 to 1, and the last axis first.
        grid = (2 * points / (sides - 1) - 1)[..., ::-1].astype("float32")
        self.image, self.upstream = (
            torch.from_numpy(np.ascontiguousarray(np.moveaxis(a, -1, 1))) for a in (image, upstream)
        )
        self.grid = torch.from_numpy(np.ascontiguousarray(grid))

    def values(self):
        return functional.grid_sample(
            self.image, self.grid, mode="bilinear", padding_mode="border", align_corners=True
        )

    def repeat(self, what: str, passes: int) -> None:
        for _ in range(passes):
            self.run(what)

    def run(self, what: str) -> list:
        self.image.requires_grad_(what == "both")
        self.grid.requires_grad_(what != "values")
        if what == "values":
            with torch.no_grad():
                return [self.values()]
        asked = [self.grid, self.image] if what == "both" else [self.grid]
        found = self.values()
        return [found.detach(), *torch.autograd.grad(found, asked, self.upstream)]


def answer(state: dict, told: dict) -> dict:
    if told["do"] == "build":
        state["sampling"] = Sampling(told)
        return {"torch": torch.__version__}
    sampling = state["sampling"]
    if told["do"] == "save":
        values, grid, image = sampling.run("both")
        values, image = (np.moveaxis(a.detach().numpy(), 1, -1) for a in (values, image))
        sides = np.array(image.shape[1:-1])
        np.savez(
            told["file"],
            values=values,
            points=grid.numpy()[..., ::-1] * 2 / (sides - 1),
            image=image,
        )
        return {}
    return clocked(lambda: sampling.repeat(told["do"], told["passes"]))


if __name__ == "__main__":
    serve(answer)
