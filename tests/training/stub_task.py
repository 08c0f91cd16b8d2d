"""A small task whose steps draw random numbers, and a resumable loader."""

import torch

from samkit.files import write_tensors
from samkit.training.task import Batch, StepResult, Task


class StubTask(Task):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 1)
        self.drop = torch.nn.Dropout(0.3)

    def forward(self, batch, generator):
        noise = torch.rand(len(batch.masks), 1, generator=generator)
        values = batch.pixels.mean((2, 3))[batch.image_index]
        loss = (self.layer(self.drop(values)) - noise).square().mean()
        return StepResult(loss, {"noise": noise.mean()})

    def export(self, path):
        write_tensors(path, self.state_dict(), {})


class StubLoader:
    def __init__(self, masks=(2, 3), rank=0):
        self.position, self.masks, self.rank = 0, masks, rank

    def __iter__(self):
        while True:
            self.position += 1
            yield self.batch(self.position)

    def batch(self, number):
        generator = torch.Generator().manual_seed(1000 * self.rank + number)
        index = torch.repeat_interleave(torch.arange(len(self.masks)), torch.tensor(self.masks))
        return Batch(
            pixels=torch.randn(len(self.masks), 3, 8, 8, generator=generator),
            features=None,
            masks=torch.rand(len(index), 8, 8, generator=generator) > 0.5,
            image_index=index,
            keys=tuple(f"{number}.{i}" for i in range(len(self.masks))),
        )

    def state_dict(self):
        return {"position": self.position}

    def load_state_dict(self, state):
        self.position = state["position"]
