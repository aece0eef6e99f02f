"""What a machine offers: the doctor's findings, and what NVRTC says of the kernels for GPUs that need not be there."""

from gpunet.doctor.findings import Finding, Report, examine

__all__ = ["Finding", "Report", "examine"]
