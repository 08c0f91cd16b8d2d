"""The moving average of weights."""

import torch
from torch import nn

from samkit.training.average import WeightAverage


def test_frozen_weights_stay_as_they_are_to_the_bit():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(False)
    module[0].weight.data[0, 0] = -0.0
    average = WeightAverage(module, decay=0.9, device=torch.device("cpu"))
    for _ in range(3):
        average.update_parameters(module)
    weight = average.module[0].weight
    assert torch.equal(weight, module[0].weight)
    assert torch.signbit(weight[0, 0])


def test_learning_weights_and_buffers_are_those_of_torchs_own_average():
    module = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = WeightAverage(module, decay=0.9, device=torch.device("cpu"))
    multi_avg_fn = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    reference = torch.optim.swa_utils.AveragedModel(module, multi_avg_fn=multi_avg_fn)
    for _ in range(4):
        for tensor in [*module.parameters(), module[1].running_mean]:
            tensor.data.add_(torch.randn_like(tensor))
        average.update_parameters(module)
        reference.update_parameters(module)
    expected = reference.state_dict()
    assert average.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in average.state_dict().items())
