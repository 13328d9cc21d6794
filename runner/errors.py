"""Owns the error tree: every failure the package raises or records, and what each one means for the run.

RunnerError                       code, message, hint; `exit_code` of the command
├── UsageError            (2)     the caller's request cannot be met; nothing was sent
│   ├── ConfigError               config file or --set: every problem at once, with file and line
│   ├── DatasetError              bad rows, duplicate ids, missing files
│   ├── TemplateError             a template that cannot be compiled or rendered
│   ├── RunFolderError            the folder is not a run, or is a run of another identity
│   └── NotRunningError           no process runs the run, or none that can be talked to
├── CannotCreateError     (73)    the run folder or a file in it cannot be created
├── StorageError          (74)    a write, fsync or rename failed; nothing after it is claimed
│   └── DamagedError              a journal, commit or part fails its checksum before its end
├── BusyError             (75)    another process holds the run
├── EngineError           (6)     the embedded model server does not start
├── BudgetError           (5)     the run has taken what it may: tokens, cost, or time (6)
└── RequestError                  one request failed; `error_kind` in the output is its class name
    ├── (retry, costs no attempt)     RateLimitError OverloadError StaleConnectionError
    ├── (retry, costs an attempt)     ServerError RequestTimeoutError ConnectError DisconnectError InvalidResponseError
    ├── (ends the row)                BadRequestError ContextLengthError NotFoundError RequestTooLargeError
    │                                 RedirectError BodyTooLargeError PermissionDeniedError NoChoicesError
    │                                 MissingChoiceError CancelledError ParseError
    └── (stops the run)               AuthError ModelNotFoundError QuotaError UnsupportedError

`error_kind` is the class name without `Error`, in snake_case, so the tree, the column
and the documents share one vocabulary.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable

# The gravest first. What needs a person stands before what the next attempt may mend.
_PRECEDENCE = (1, 74, 73, 143, 130, 2, 5, 75, 6, 3, 4, 0)


class RunnerError(Exception):
    """Root of the tree. `message` says what happened and where, `hint` what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def code(self) -> str:
        """Snake-case name of the class, e.g. `config` for `ConfigError`."""
        return kind_of(type(self))


class UsageError(RunnerError):
    """The caller asked for something that cannot be done; nothing was sent."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a config: where it stands (`file:line:column`, or `--set KEY`), what, and how to mend it."""

    where: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """Return the problem on one line."""
        return f"{self.where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(UsageError):
    """Everything wrong in a config, at once: `problems` in file order."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class DatasetError(UsageError):
    """The dataset cannot be read, or its rows cannot be used."""


class TemplateError(UsageError):
    """A template cannot be compiled, or cannot be rendered for a row."""


class RunFolderError(UsageError):
    """The folder is not a run folder, or it belongs to a run of another identity."""


class NotRunningError(UsageError):
    """A command is for a running run, and there is no process of it that can be talked to."""


class CannotCreateError(RunnerError):
    """An output file or folder cannot be created."""

    exit_code = 73


class StorageError(RunnerError):
    """A write, fsync or rename failed. Never retried: after a failed fsync the kernel may have dropped the pages."""

    exit_code = 74


class DamagedError(StorageError):
    """A file of the run fails its checksum somewhere before its end. It is kept as it is, never cut."""


class BusyError(RunnerError):
    """Another process holds the run folder."""

    exit_code = 75


class EngineError(RunnerError):
    """The embedded model server did not start or went away."""

    exit_code = 6


class BudgetError(RunnerError):
    """The run has used up what it may take. It is resumable, with a larger budget."""

    exit_code = 5


class Action(Enum):
    """What the run does after a request failed."""

    RETRY_FREE = "retry, without using up an attempt"
    RETRY = "retry, while attempts are left"
    END_ROW = "record the failure; the row is finished"
    STOP_RUN = "stop the run; the row stays unsent and the run resumable"


class RequestError(RunnerError):
    """One request failed.

    `action` decides what happens next. `resend` says whether a later session sends the row again: true for passing
    troubles, false for a failure that the same request would meet again. `http_status` is null where no answer came;
    `retry_after_s` is the server's own wish in seconds, already checked to be finite and not negative. `final` marks a
    passing trouble that this row meets whenever it is sent: no later session sends it again by itself.
    """

    action: ClassVar[Action] = Action.END_ROW
    resend: ClassVar[bool] = False

    def __init__(
        self, message: str, *, hint: str = "", http_status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.http_status = http_status
        self.retry_after_s = retry_after_s
        self.final = False


class RateLimitError(RequestError):
    """429: too fast. The limiter's business, not the row's."""

    action = Action.RETRY_FREE
    resend = True


class OverloadError(RequestError):
    """503, 529 or 498: the server is full or still loading."""

    action = Action.RETRY_FREE
    resend = True


class StaleConnectionError(RequestError):
    """A kept-alive connection turned out to be closed by the server: nobody read the request."""

    action = Action.RETRY_FREE
    resend = True


class ServerError(RequestError):
    """Any other 5xx, 409, 424, 425, and an error object inside a 200."""

    action = Action.RETRY
    resend = True


class RequestTimeoutError(RequestError):
    """No complete answer in time, after the request may have been sent; it may have been billed."""

    action = Action.RETRY
    resend = True


class ConnectError(RequestError):
    """No connection (refused, DNS, TLS, connect time-out): nothing was sent."""

    action = Action.RETRY
    resend = True


class DisconnectError(RequestError):
    """The connection broke after the request went out: no answer, or a body that was cut."""

    action = Action.RETRY
    resend = True


class InvalidResponseError(RequestError):
    """A 2xx whose body is empty or no JSON."""

    action = Action.RETRY
    resend = True


class BadRequestError(RequestError):
    """400, 422 and other 4xx: the same request would be refused again."""


class ContextLengthError(RequestError):
    """The prompt, or prompt and maximum answer, do not fit the model's context."""


class NotFoundError(RequestError):
    """404, 405 or 501 that is about the path, not the model."""

    action = Action.STOP_RUN
    resend = True


class RequestTooLargeError(RequestError):
    """413: the request's body is too large for the server."""


class PermissionDeniedError(RequestError):
    """403 for one request while others are answered."""


class RedirectError(RequestError):
    """3xx: never followed, since it would carry the key to another host."""

    action = Action.STOP_RUN
    resend = True


class BodyTooLargeError(RequestError):
    """The answer's body is larger than the cap."""


class NoChoicesError(RequestError):
    """A 2xx JSON body without an answer in it."""


class MissingChoiceError(RequestError):
    """The server returned fewer choices than were asked for."""


class ParseError(RequestError):
    """An accepted answer could not be turned into columns; its raw bytes are kept, `reseal` parses them again."""


class CancelledError(RequestError):
    """The run was interrupted while the request was under way."""

    resend = True


class AuthError(RequestError):
    """401, or 403 before any answer: the key is missing, wrong or not allowed."""

    action = Action.STOP_RUN
    resend = True


class ModelNotFoundError(RequestError):
    """The server does not know the model, or it is none for this endpoint."""

    action = Action.STOP_RUN
    resend = True


class QuotaError(RequestError):
    """Credit, quota or spend limit is used up."""

    action = Action.STOP_RUN
    resend = True


class UnsupportedError(RequestError):
    """The server answers and silently leaves out what was asked for. The answer itself is kept as an ok row."""

    action = Action.STOP_RUN
    resend = True


def internal_error(doing: str, bug: BaseException) -> RunnerError:
    """Return the error that stands for a bug. It names the place, not the values, which may hold model output."""
    place = bug.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" at {place.tb_frame.f_code.co_name}:{place.tb_lineno}" if place else ""
    return RunnerError(
        f"internal error while {doing}: {type(bug).__name__}{where}",
        hint="every answer that was received is safe in the run folder; running again continues it. Please report this",
    )


def gravest(codes: Iterable[int]) -> int:
    """Return the exit code that stands for those of several runs, 0 for none; one that is not ours counts as a bug."""
    places = {code: place for place, code in enumerate(_PRECEDENCE)}
    return _PRECEDENCE[min((places.get(code, 0) for code in codes), default=-1)]


def kind_of(error: type[RunnerError]) -> str:
    """Return the class name without `Error`, in snake_case: `RateLimitError` → `rate_limit`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", error.__name__.removesuffix("Error")).lower()


def request_errors() -> dict[str, type[RequestError]]:
    """Return every request error by its `error_kind`."""
    return {kind_of(error): error for error in RequestError.__subclasses__()}
