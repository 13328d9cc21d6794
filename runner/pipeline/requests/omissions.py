"""Owns what a run does about answers that lack the log probabilities it asked for: stop, or go on and say so once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.endpoints import find_omission

if TYPE_CHECKING:
    from runner.config import RunConfig
    from runner.endpoints import Endpoint
    from runner.errors import UnsupportedError
    from runner.records import Request, Response

# The same words in every session, so that the summary of a run says it once.
OMITTED = (
    "the server left out the log probabilities that were asked for: they are null "
    "(request.on_unsupported: fail stops a run instead)"
)


@dataclass(slots=True)
class OmissionWatch:
    """Looks at accepted answers until the first that lacks what its request asked for."""

    endpoint: Endpoint
    stops: bool
    found: bool = False

    def look(self, request: Request, response: Response | None) -> UnsupportedError | None:
        """Return the error that stops the run, at the first such answer and where the config says so."""
        if self.found or response is None:
            return None
        try:
            omission = find_omission(self.endpoint, request, response.body)
        except Exception:  # noqa: BLE001 - the answer is not in the journal yet: nothing here may keep it from there
            return None
        self.found = omission is not None
        return omission if self.stops else None


def watch_for(config: RunConfig, endpoint: Endpoint, *, asks: bool) -> OmissionWatch | None:
    """Return the watch of a session; null where no request asks for log probabilities."""
    stops = config.request.on_unsupported == "fail" or endpoint.find_omission is not None
    return OmissionWatch(endpoint, stops=stops) if asks else None
