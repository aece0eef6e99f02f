"""Training: the loop, how good the result is, the folder of a run, and the main job that puts them together."""

from gpunet.train.files import load_weights, save_weights
from gpunet.train.job import TrainConfig, TrainingRun, evaluate_run
from gpunet.train.metrics import Evaluation, evaluate
from gpunet.train.run_folder import RunFolder, new_run_path
from gpunet.train.trainer import EpochResult, Trainer

__all__ = [
    "EpochResult",
    "Evaluation",
    "RunFolder",
    "TrainConfig",
    "Trainer",
    "TrainingRun",
    "evaluate",
    "evaluate_run",
    "load_weights",
    "new_run_path",
    "save_weights",
]
