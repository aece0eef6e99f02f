"""Training: the loop, how good the result is, the folder of a run, and the main job that puts them together."""

from gpunet.train.callbacks import EarlyStopping, SameWeights
from gpunet.train.checkpoint import Checkpoint, CheckpointFolder
from gpunet.train.config import OPTIMIZERS, SCHEDULES, RunOptions, TrainConfig, read_toml
from gpunet.train.ema import AveragedWeights
from gpunet.train.fine_tuning import PREPROCESSING
from gpunet.train.job import TrainingRun, evaluate_run, saved_config, saved_options
from gpunet.train.metrics import Evaluation, evaluate
from gpunet.train.progress import EpochResult, Progress
from gpunet.train.run_data import changed_data, find_run_data, read_input
from gpunet.train.run_folder import RunFolder, new_run_path
from gpunet.train.saving import CheckpointWriter, MetricsWriter, TensorBoardWriter
from gpunet.train.snapshot import restore, take
from gpunet.train.trainer import Callback, Trainer
from gpunet.weights import load_weights, save_weights

__all__ = [
    "OPTIMIZERS",
    "PREPROCESSING",
    "SCHEDULES",
    "AveragedWeights",
    "Callback",
    "Checkpoint",
    "CheckpointFolder",
    "CheckpointWriter",
    "EarlyStopping",
    "EpochResult",
    "Evaluation",
    "MetricsWriter",
    "Progress",
    "RunFolder",
    "RunOptions",
    "SameWeights",
    "TensorBoardWriter",
    "TrainConfig",
    "Trainer",
    "TrainingRun",
    "changed_data",
    "evaluate",
    "evaluate_run",
    "find_run_data",
    "load_weights",
    "new_run_path",
    "read_input",
    "read_toml",
    "restore",
    "save_weights",
    "saved_config",
    "saved_options",
    "take",
]
