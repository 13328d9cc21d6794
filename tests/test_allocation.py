from __future__ import annotations

import os
import subprocess
import sys

import pytest

# What counts is the process: the setting has to be there before the libraries are.
_PROGRAM = """
import sys
import runner.__main__
early = {"numpy", "pyarrow"} & set(sys.modules)
from runner.allocation import settle_allocation
settle_allocation()
import pyarrow
print(sorted(early), pyarrow.default_memory_pool().backend_name)
"""


@pytest.mark.parametrize(("asked", "pool"), [("", "system"), ("mimalloc", "mimalloc")])
def test_a_command_settles_where_memory_comes_from_before_anything_takes_it(asked: str, pool: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    environment |= {"ARROW_DEFAULT_MEMORY_POOL": asked} if asked else {}
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == ["[]", pool]


def test_the_command_begins_with_it() -> None:
    program = "import sys, runner.__main__ as m; sys.argv = ['evalrunner', '--version']\ntry: m.main()\n"
    program += "except SystemExit: pass\nimport os; print(os.environ['ARROW_DEFAULT_MEMORY_POOL'])"
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split()[-1] == "system"
