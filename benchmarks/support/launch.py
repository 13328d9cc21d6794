"""Owns starting evalrunner on a chosen event loop: `launch.py {asyncio|uvloop} ARGUMENTS…`.

The command takes uvloop where it is installed. A module that is None counts as not installed.
"""

from __future__ import annotations

import sys

from runner.__main__ import main

if __name__ == "__main__":
    _, loop, *arguments = sys.argv
    if loop == "asyncio":
        sys.modules["uvloop"] = None  # type: ignore[assignment] # that is the point
    sys.argv = ["evalrunner", *arguments]
    main()
