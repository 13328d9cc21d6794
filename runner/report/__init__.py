"""Owns the report: a run as one page of HTML that needs nothing beside it and runs nothing that a model wrote."""

from __future__ import annotations

from runner.report.making import ReportMade, write_report

__all__ = ["ReportMade", "write_report"]
