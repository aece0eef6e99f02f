"""Record from PyTorch what tests/test_optim.py compares with: `python tests/recorded/record_optim.py`.

The settings of every case are in the file's metadata: "cases", as JSON.

    start/{i}                       the parameters at first
    gradients/{i}                   (20, *shape of parameter i); all NaN at a step at which parameter i has no gradient
    optimizers/{case}/{dtype}/{i}   (20, *shape): the parameters after each step
    schedules/{case}                (steps + 1, groups, 2): learning rate and momentum (or beta1), at first and then
    metrics                         (40,): what ReduceLROnPlateau is told
    clips/{case}/norm               the norm of the gradients of step 1
    clips/{case}/{i}                the same gradients, clipped
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

SHAPES = [(3, 2), (4,), ()]
STEPS = 20

OPTIMIZERS = {
    "sgd": ["SGD", {}],
    "sgd_decay": ["SGD", {"lr": 0.1, "weight_decay": 0.3}],
    "sgd_momentum": ["SGD", {"lr": 0.1, "momentum": 0.9}],
    "sgd_dampening": ["SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.4}],
    "sgd_nesterov": ["SGD", {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.05, "nesterov": True}],
    "sgd_all": ["SGD", {"lr": 0.03, "momentum": 0.95, "dampening": 0.1, "weight_decay": 0.2}],
    "adam": ["Adam", {}],
    "adam_decay": ["Adam", {"lr": 0.05, "betas": [0.8, 0.95], "eps": 1e-4, "weight_decay": 0.1}],
    "adam_amsgrad": ["Adam", {"lr": 0.05, "betas": [0.9, 0.5], "amsgrad": True}],
    "adam_no_memory": ["Adam", {"lr": 0.05, "betas": [0.0, 0.0]}],
    "adamw": ["AdamW", {}],
    "adamw_decay": ["AdamW", {"lr": 0.05, "betas": [0.8, 0.95], "weight_decay": 0.3}],
    "adamw_amsgrad": ["AdamW", {"lr": 0.05, "betas": [0.9, 0.5], "weight_decay": 0.0, "amsgrad": True}],
}

WARM_UP = ["LinearLR", {"start_factor": 0.1, "total_iters": 5}]
SCHEDULES = {  # the optimizer, the schedule, its settings and the number of steps
    "step": ["SGD", "StepLR", {"step_size": 3}, 20],
    "step_gamma": ["Adam", "StepLR", {"step_size": 1, "gamma": 0.95}, 20],
    "multi_step": ["SGD", "MultiStepLR", {"milestones": [4, 5, 11], "gamma": 0.3}, 20],
    "multi_step_at_once": ["SGD", "MultiStepLR", {"milestones": [0, 2]}, 5],
    "cosine": ["SGD", "CosineAnnealingLR", {"T_max": 20}, 20],
    "cosine_beyond": ["SGD", "CosineAnnealingLR", {"T_max": 7, "eta_min": 0.001}, 30],
    "cosine_of_one": ["SGD", "CosineAnnealingLR", {"T_max": 1}, 5],
    "linear": ["SGD", "LinearLR", {}, 10],
    "linear_down": ["SGD", "LinearLR", {"start_factor": 0.9, "end_factor": 0.0, "total_iters": 8}, 12],
    "warm_up_cosine": [
        "SGD",
        "SequentialLR",
        {"schedulers": [WARM_UP, ["CosineAnnealingLR", {"T_max": 15}]], "milestones": [5]},
        20,
    ],
    "warm_up_cut_short": [
        "SGD",
        "SequentialLR",
        {"schedulers": [WARM_UP, ["StepLR", {"step_size": 2}], ["LinearLR", {}]], "milestones": [3, 9]},
        20,
    ],
    "warm_up_skipped": [
        "SGD",
        "SequentialLR",
        {"schedulers": [WARM_UP, ["MultiStepLR", {"milestones": [2, 4]}]], "milestones": [0]},
        6,
    ],
    "one_cycle": ["SGD", "OneCycleLR", {"max_lr": 0.5, "total_steps": 20}, 19],
    "one_cycle_then_step": [
        "SGD",
        "SequentialLR",
        {
            "schedulers": [["OneCycleLR", {"max_lr": 0.5, "total_steps": 10}], ["StepLR", {"step_size": 2}]],
            "milestones": [9],
        },
        15,
    ],
    "one_cycle_adam": ["Adam", "OneCycleLR", {"max_lr": [0.5, 0.2], "epochs": 3, "steps_per_epoch": 7}, 20],
    "one_cycle_linear": [
        "SGD",
        "OneCycleLR",
        {
            "max_lr": 0.5,
            "total_steps": 25,
            "pct_start": 0.4,
            "anneal_strategy": "linear",
            "base_momentum": [0.7, 0.6],
            "max_momentum": 0.9,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
        24,
    ],
    "one_cycle_three_phases": ["SGD", "OneCycleLR", {"max_lr": 0.5, "total_steps": 20, "three_phase": True}, 19],
    "one_cycle_momentum_kept": ["AdamW", "OneCycleLR", {"max_lr": 0.5, "total_steps": 9, "cycle_momentum": False}, 8],
    "one_cycle_falls_only": ["SGD", "OneCycleLR", {"max_lr": 0.5, "total_steps": 9, "pct_start": 0.0}, 8],
    "plateau": ["SGD", "ReduceLROnPlateau", {"patience": 2, "factor": 0.5}, 40],
    "plateau_cooldown": ["SGD", "ReduceLROnPlateau", {"patience": 1, "cooldown": 3, "min_lr": [0.01, 0.0]}, 40],
    "plateau_absolute": ["SGD", "ReduceLROnPlateau", {"patience": 0, "threshold": 0.3, "threshold_mode": "abs"}, 40],
    "plateau_max": ["SGD", "ReduceLROnPlateau", {"mode": "max", "patience": 4, "threshold": 0.05, "factor": 0.7}, 40],
    "plateau_max_absolute": [
        "SGD",
        "ReduceLROnPlateau",
        {"mode": "max", "patience": 3, "threshold": 0.1, "threshold_mode": "abs", "eps": 1e-3},
        40,
    ],
}

CLIPS = {
    "two": [1.0, 2.0],
    "one": [1.0, 1.0],
    "three": [0.5, 3.0],
    "largest": [0.1, math.inf],
    "small_enough": [1e3, 2.0],
    "nothing_left": [0.0, 2.0],
}


def build(library, optimizer, name, settings):
    """A schedule of that name from a library; the schedules inside a SequentialLR are given as [name, settings]."""
    if "schedulers" in settings:
        inner = [build(library, optimizer, *each) for each in settings["schedulers"]]
        settings = {**settings, "schedulers": inner}
    return getattr(library, name)(optimizer, **settings)


def gradients(rng):
    arrays = [rng.normal(size=(STEPS, *shape)) for shape in SHAPES]
    arrays[1][[0, 3, 4, 12]] = np.nan
    return arrays


def record_optimizer(name, settings, start, grads, dtype):
    params = [torch.tensor(values, dtype=dtype, requires_grad=True) for values in start]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.02}]
    optimizer = getattr(torch.optim, name)(groups, **settings)
    history = []
    for step in range(STEPS):
        for param, grad in zip(params, grads, strict=True):
            param.grad = None if np.isnan(grad[step]).any() else torch.tensor(grad[step], dtype=dtype)
        optimizer.step()
        history.append([param.detach().numpy().copy() for param in params])
    return [np.stack(values) for values in zip(*history, strict=True)]


def record_schedule(optimizer_name, name, settings, steps, metrics):
    first, second = (torch.zeros(1, requires_grad=True) for _ in range(2))
    optimizer = getattr(torch.optim, optimizer_name)([{"params": [first]}, {"params": [second], "lr": 0.02}], lr=0.1)
    scheduler = build(torch.optim.lr_scheduler, optimizer, name, settings)
    rows = [levels(optimizer)]
    for step in range(steps):
        optimizer.step()
        scheduler.step(*([metrics[step]] if name == "ReduceLROnPlateau" else []))
        rows.append(levels(optimizer))
    return np.array(rows)


def levels(optimizer):
    return [
        [group["lr"], group["betas"][0] if "betas" in group else group["momentum"]] for group in optimizer.param_groups
    ]


def main():
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape) for shape in SHAPES]
    grads = gradients(rng)
    metrics = np.round(np.exp(-np.arange(40) / 8) + 0.1 * rng.normal(size=40), 3)
    record = {"metrics": metrics}
    record |= {f"start/{i}": values for i, values in enumerate(start)}
    record |= {f"gradients/{i}": values for i, values in enumerate(grads)}
    for case, (name, settings) in OPTIMIZERS.items():
        for dtype in (torch.float32, torch.float64):
            for i, values in enumerate(record_optimizer(name, settings, start, grads, dtype)):
                record[f"optimizers/{case}/{str(dtype).removeprefix('torch.')}/{i}"] = values
    for case, schedule in SCHEDULES.items():
        record[f"schedules/{case}"] = record_schedule(*schedule, metrics)
    for case, (max_norm, norm_type) in CLIPS.items():
        params = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in SHAPES]
        for param, grad in zip(params, grads, strict=True):
            param.grad = torch.tensor(grad[1])
        norm = torch.nn.utils.clip_grad_norm_(params, max_norm, norm_type)
        record[f"clips/{case}/norm"] = norm.numpy()
        record |= {f"clips/{case}/{i}": param.grad.numpy() for i, param in enumerate(params)}
    cases = {"optimizers": OPTIMIZERS, "schedules": SCHEDULES, "clips": CLIPS, "pytorch": torch.__version__}
    arrays = {name: np.ascontiguousarray(values).reshape(values.shape) for name, values in record.items()}
    save_file(arrays, Path(__file__).with_name("optim.safetensors"), {"cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
