"""`gpunet report`: what training runs came to, as one HTML file that needs nothing beside itself."""

from gpunet.report.calibration import Reliability, reliability
from gpunet.report.record import RunRecord, read_record
from gpunet.report.reporting import report
from gpunet.report.result import Report

__all__ = ["Reliability", "Report", "RunRecord", "read_record", "reliability", "report"]
