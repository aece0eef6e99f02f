"""What depth does to the gradient: how much of it reaches the first layers of plain and of residual networks."""

from gpunet.gradients.claims import Claim, check_claims
from gpunet.gradients.degradation import TrainingCurve, train_curve
from gpunet.gradients.experiment import DEPTHS, Experiment, Findings
from gpunet.gradients.network import ACTIVATIONS, DeepNetwork, Design
from gpunet.gradients.pictures import plot_curves, plot_gradient_norms, plot_gradients_during_training
from gpunet.gradients.report import claims_text, table_text
from gpunet.gradients.trace import DTYPES, GradientTrace, LayerNorms, gradient_norms, trace_gradients
from gpunet.gradients.training import IMAGES, Budget

__all__ = [
    "ACTIVATIONS",
    "DEPTHS",
    "DTYPES",
    "IMAGES",
    "Budget",
    "Claim",
    "DeepNetwork",
    "Design",
    "Experiment",
    "Findings",
    "GradientTrace",
    "LayerNorms",
    "TrainingCurve",
    "check_claims",
    "claims_text",
    "gradient_norms",
    "plot_curves",
    "plot_gradient_norms",
    "plot_gradients_during_training",
    "table_text",
    "trace_gradients",
    "train_curve",
]
