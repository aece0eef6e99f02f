"""`gpunet report`: what a training run came to, as one HTML file that needs nothing beside itself."""

from gpunet.report.calibration import Reliability, reliability
from gpunet.report.page import write_report
from gpunet.report.record import RunRecord, read_record

__all__ = ["Reliability", "RunRecord", "read_record", "reliability", "write_report"]
