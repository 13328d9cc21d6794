"""Owns the CronJob of Kubernetes (batch/v1, `timeZone` as of 1.27), by the restricted Pod Security Standard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.schedule.project import inside, project_root
from runner.schedule.quoting import yaml_text

if TYPE_CHECKING:
    from runner.schedule.entry import ScheduleEntry

_HOME = "/srv/evals"
_LONGEST_NAME = 52  # eleven characters of a Job's 63 are the CronJob's own


def write(entry: ScheduleEntry) -> str:
    """Return the CronJob and the claim for its outputs."""
    root = project_root(entry)
    name = f"evalrunner-{entry.id}".lower()[-_LONGEST_NAME:].strip("-")
    words = ["nightly", *(f"{_HOME}/{inside(path, root)}" for path in entry.configs)]
    # $(NAME) in an argument would be replaced by a variable.
    arguments = "\n".join(f"                - {yaml_text(word.replace('$(', '$$('))}" for word in words)
    mounts = "\n".join(
        f"                - name: outputs\n                  mountPath: {yaml_text(f'{_HOME}/{inside(path, root)}')}\n"
        f"                  subPath: {yaml_text(f'outputs-{number}')}"
        for number, path in enumerate(entry.outputs)
    )
    deadline = "" if entry.longest_s is None else f"      activeDeadlineSeconds: {entry.longest_s}\n"
    return f"""\
# kubectl apply -f FILE. The image holds evalrunner and the project in {_HOME}; put its name in place of evals:latest.
# Keys: kubectl create secret generic {name} --from-literal=NAME=…
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {name}
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: 20Gi
---
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}
spec:
  schedule: {yaml_text(entry.cron.text)}
  timeZone: {yaml_text(entry.zone)}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 5
  jobTemplate:
    spec:
      # A night that ends with exit 4 has found something: running it again would not unfind it.
      backoffLimit: 0
{deadline}      template:
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          securityContext:
            runAsNonRoot: true
            runAsUser: 10001
            fsGroup: 10001
            seccompProfile:
              type: RuntimeDefault
          containers:
            - name: evalrunner
              image: evals:latest
              command: [evalrunner]
              args:
{arguments}
              env:
                - name: HOME
                  value: /tmp
{_secrets(entry, name)}              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities:
                  drop: [ALL]
              resources:
                requests:
                  cpu: 500m
                  memory: 512Mi
                limits:
                  memory: 2Gi
              volumeMounts:
{mounts}
                - name: tmp
                  mountPath: /tmp
          volumes:
            - name: outputs
              persistentVolumeClaim:
                claimName: {name}
            - name: tmp
              emptyDir: {{}}
"""


def _secrets(entry: ScheduleEntry, name: str) -> str:
    return "".join(
        f"                - name: {variable}\n                  valueFrom:\n                    secretKeyRef:\n"
        f"                      name: {name}\n                      key: {variable}\n"
        for variable in entry.variables
    )
