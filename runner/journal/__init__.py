"""Owns the journal: every answer's raw bytes, checksummed and synced before it counts as done.

A journal is a folder of numbered segments. `SegmentWriter` fills one in groups; `scan_segment` reads one back and
tells a torn tail from damage; `frames` describes the bytes.
"""

from runner.journal.frames import FrameType
from runner.journal.header import SegmentHeader
from runner.journal.listing import SegmentList, list_segments, segment_path
from runner.journal.scan import Damage, Frame, ScanEnd, SegmentScan, repair_tail, salvage_segment, scan_segment
from runner.journal.segment import Committed, SegmentWriter

__all__ = [
    "Committed",
    "Damage",
    "Frame",
    "FrameType",
    "ScanEnd",
    "SegmentHeader",
    "SegmentList",
    "SegmentScan",
    "SegmentWriter",
    "list_segments",
    "repair_tail",
    "salvage_segment",
    "scan_segment",
    "segment_path",
]
