"""Owns the workflow of GitHub Actions. Source: "Workflow syntax for GitHub Actions", `on.schedule` with `timezone`.

Schedules there are best effort: late at full hours, sometimes left out, switched off after 60 days without activity.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import UsageError
from runner.schedule.project import inside, project_root
from runner.schedule.quoting import shell_word, yaml_text

if TYPE_CHECKING:
    from runner.schedule.entry import ScheduleEntry

_LONGEST_JOB_MIN = 360  # of a runner that GitHub hosts


def write(entry: ScheduleEntry) -> str:
    """Return the workflow. Raises UsageError for a path that the workflow would read as an expression."""
    root = project_root(entry)
    configs = [inside(path, root) for path in entry.configs]
    outputs = [inside(path, root) for path in entry.outputs]
    for path in (*configs, *outputs):
        if "${{" in path:
            raise UsageError(f"{path}: GitHub reads ${{{{ in a path as an expression", hint="rename it")
    minutes = _LONGEST_JOB_MIN if entry.longest_s is None else min(_LONGEST_JOB_MIN, -(-entry.longest_s // 60))
    folders = "\n".join(f"            {path}" for path in outputs)
    secrets = "\n".join(f"          {name}: ${{{{ secrets.{name} }}}}" for name in entry.variables)
    environment = f"        env:\n{secrets}\n" if secrets else ""
    late = "    # Minute 0 is the busiest: another minute starts sooner.\n" if 0 in entry.cron.minutes else ""
    command = "evalrunner nightly " + " ".join(shell_word(path) for path in configs)
    return f"""\
# .github/workflows/evalrunner-{entry.id}.yml, on the default branch
# Schedules of GitHub are best effort, and end after 60 days without activity in a public repository.
name: {yaml_text(f"evalrunner {entry.id}")}
on:
  schedule:
{late}    - cron: {yaml_text(entry.cron.text)}
      timezone: {yaml_text(entry.zone)}
  workflow_dispatch:
permissions:
  contents: read
concurrency:
  group: evalrunner-{entry.id}
  cancel-in-progress: false
jobs:
  nightly:
    runs-on: ubuntu-latest
    timeout-minutes: {minutes}
    steps:
      # Pinned by tag; a commit's hash pins harder.
      - uses: actions/checkout@v4
        with:
          persist-credentials: false
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install 'evalrunner[notify,scores]'
      # The last good runs, and what an interrupted night left.
      - uses: actions/cache/restore@v4
        with:
          path: |
{folders}
          key: evalrunner-{entry.id}-${{{{ github.run_id }}}}
          restore-keys: evalrunner-{entry.id}-
      - name: Nightly
{environment}        run: {yaml_text(command)}
      - uses: actions/cache/save@v4
        if: always()
        with:
          path: |
{folders}
          key: evalrunner-{entry.id}-${{{{ github.run_id }}}}-${{{{ github.run_attempt }}}}
      # With the JUnit files, for whatever shows test results.
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: evalrunner-{entry.id}
          path: |
{folders}
          if-no-files-found: warn
          retention-days: 30
"""
