"""Everything else, through Apprise: more than a hundred services behind one kind of address.

Owns the conversation with the library: a worker thread for each attempt within a deadline, what
its answer means, and that nothing it logs is seen. The library is optional (the extra ``apprise``)
and is loaded when the first channel of this type is made. Leaves the words to ``wording.py``.

Apprise opens connections by itself: the guard of ``guarded.py``, the cap on replies and the CA
file of other channels do not hold for it, and it may reach private addresses. So there are such
channels in the configuration file only, whose author may look inside anyway: a rule cannot name
such an address (``rule_checks.py``). Redirects are switched off for those services that let us.
"""

from __future__ import annotations

import importlib.util
import logging
import re
from typing import TYPE_CHECKING, Final

import trio

from alertd.channels import wording
from alertd.channels.http_client import REFUSALS, RETRYABLE_STATUSES
from alertd.channels.message import Message
from alertd.channels.protocol import Delivered, Outcome, Permanent, Retryable
from alertd.channels.secret import Secret
from alertd.channels.words import Words

if TYPE_CHECKING:
    from apprise import AppriseAsset

MAX_THREADS: Final = 4
"""At a time for one channel, with those whose deadline has passed."""
INSTALL: Final = "pip install -c constraints.txt '.[apprise]'"
HOW_TO_INSTALL: Final = f"needs Apprise; where alertd's sources are: {INSTALL}"

_STATUS: Final = re.compile(r"\berror=(\d{3})\b")
_SCHEME: Final = re.compile(r"([a-zA-Z0-9]{1,32})://")
_SEVERE: Final = frozenset({"critical", "error"})

# Apprise logs addresses and replies, and urllib3 below it addresses. What becomes of an attempt is
# read from its result instead.
for _name in ("apprise", "urllib3"):
    logging.getLogger(_name).addHandler(logging.NullHandler())
    logging.getLogger(_name).setLevel(logging.WARNING)
    logging.getLogger(_name).propagate = False


def is_installed() -> bool:
    """Return whether the library is there."""
    return importlib.util.find_spec("apprise") is not None


def understands(url: str) -> bool:
    """Return whether Apprise knows what ``url`` means. The library has to be installed."""
    from apprise import Apprise

    return Apprise.instantiate(url, asset=_asset()) is not None


class AppriseChannel:
    """Tells the service behind ``url``, which is a secret."""

    def __init__(self, url: Secret, *, timeout_s: float, words: Words) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._words = words
        self._threads = trio.CapacityLimiter(MAX_THREADS)
        scheme = _SCHEME.match(url.reveal())
        self._scheme = scheme[1].lower() if scheme else "apprise"

    def __repr__(self) -> str:
        return f"AppriseChannel({self.redacted_endpoint})"

    @property
    def redacted_endpoint(self) -> str:
        """The kind of service: everything behind it may be the secret."""
        return f"{self._scheme}://…"

    async def send(self, message: Message) -> Outcome:
        """Make one attempt. A thread whose deadline passes ends by Apprise's own timeouts."""
        worded = self._words.of(message)
        title = worded.title or wording.subject(message)
        body = wording.plain_text(message) if worded.body is None else worded.body
        outcome: Outcome = Retryable(f"{self._scheme} gave no answer within {self._timeout_s:g} s")
        with trio.move_on_after(self._timeout_s):
            outcome = await trio.to_thread.run_sync(
                self._notify, title, body, _type_of(message),
                abandon_on_cancel=True, limiter=self._threads,
            )  # fmt: skip
        return worded.noted(outcome)

    async def aclose(self) -> None:
        """Do nothing: no connection outlives its attempt."""

    def _notify(self, title: str, body: str, kind: str) -> Outcome:
        from apprise import Apprise, NotifyFormat, NotifyType

        service = Apprise.instantiate(self._url.reveal(), asset=_asset())
        if service is None:
            return Permanent("Apprise does not understand the address any more")
        notifier = Apprise(asset=_asset())
        notifier.add(service)
        result = notifier.notify(
            body=body, title=title, notify_type=NotifyType(kind), body_format=NotifyFormat.TEXT
        )
        if result:
            return Delivered()
        # Its words could hold parts of the address; a status cannot.
        found = (_STATUS.search(entry.message) for entry in result.logs())
        status = next((int(match[1]) for match in found if match), None)
        if status is None:
            return Retryable(f"{self._scheme} could not be reached, or did not take it")
        reason = f"{self._scheme} answered {status}"
        if 400 <= status < 500 and status not in RETRYABLE_STATUSES:
            return Permanent(reason)
        return Retryable(reason, was_refused=status in REFUSALS)


def _asset() -> AppriseAsset:
    from apprise import AppriseAsset

    return AppriseAsset(
        app_id="alertd", app_desc="alertd", app_url="", async_mode=False, http_redirects=False,
        storage_mode="memory", service_timeout=0, allow_templates=False,
    )  # fmt: skip


def _type_of(message: Message) -> str:
    """Return Apprise's kind of message: the worst of what it tells."""
    incidents = wording.latest(message)
    firing = [incident for incident in incidents if incident.state != "resolved"]
    if any(incident.severity in _SEVERE for incident in firing):
        return "failure"
    if any(incident.severity == "warning" for incident in firing):
        return "warning"
    recovered = incidents and all(map(wording.is_recovered, incidents))
    return "success" if recovered else "info"
