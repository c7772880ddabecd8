"""The one connection that writes, in the one thread that does.

Owns the write connection for as long as the store is open. A whole transaction is shipped to the
thread as one function, so none ever spans an await, and waiting for it cannot be cancelled: once
submitted it runs, and the caller learns how it ended.

Invariant: when ``run`` returns, the transaction is committed as durably as the connection was
opened for; when it raises anything but ``CommitUncertain``, the transaction was rolled back.
Leaves what to write to its callers, the WAL to ``wal.py``, the thread to ``blocking.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Generic, NamedTuple, TypeVar

import apsw
import structlog
import trio

from alertd.blocking import Worker
from alertd.errors import AlertdError, StoreUnavailable
from alertd.store.checkpointer import Checkpointer
from alertd.store.failures import is_sync_failure, translate
from alertd.store.portion import Portion
from alertd.store.wal import Wal

T = TypeVar("T")

_log = structlog.get_logger()

MAX_PENDING: Final = 1000
"""Transactions that may wait. Each has a task waiting for it, so only a stuck disk gets here."""

DEFAULT_WAL_BYTES: Final = 1 << 20
"""Room that a transaction is given in the WAL unless it asks for more."""


CHECKPOINT: Final = "checkpoint"
"""The ``work`` of a turn that is nobody's transaction."""


class Turn(NamedTuple):
    """For how long the writer was held by one transaction, or by a checkpoint."""

    work: str
    """The ``operation`` of the transaction."""
    submitted_s: float
    began_s: float
    ended_s: float
    """By the writer's stopwatch."""


class CommitUncertain(AlertdError):
    """COMMIT or an fsync failed, and nobody can say what is on disk.

    The process must end: opening the file again decides it. Senders repeat what was not
    acknowledged, and ids make that harmless.
    """


_NORMAL: Final = 1
"""Of ``PRAGMA synchronous``: no fsync at a commit, none left out at a checkpoint."""


@dataclass(slots=True)
class _Job(Generic[T]):
    operation: str
    work: Callable[[apsw.Connection], T]
    wal_bytes: int
    must_go_on: bool
    may_be_redone: bool
    portion: Portion | None
    submitted_s: float
    began_s: float = 0.0
    ended_s: float = 0.0
    done: trio.Event = field(default_factory=trio.Event)
    result: list[T] = field(default_factory=list)
    error: BaseException | None = None


class Writer:
    """Runs transactions in the order in which they were submitted."""

    def __init__(
        self,
        connection: apsw.Connection,
        wal: Wal,
        path: str,
        worker: Worker,
        checkpointer: Checkpointer,
        stopwatch_s: Callable[[], float],
        on_turn: Callable[[Turn], None],
    ) -> None:
        """From now on only ``worker`` uses ``connection``; it is closed at the end.

        ``on_turn`` is called in the writer's thread, after each transaction and checkpoint.
        """
        self._connection = connection
        self._wal = wal
        self._path = path
        self._worker = worker
        self._checkpointer = checkpointer
        self._stopwatch_s = stopwatch_s
        self._on_turn = on_turn
        self._opened_synchronous: int | None = None
        self._synchronous: int | None = None
        self._submitted = 0
        self._executed = 0
        self._failure: CommitUncertain | None = None

    @property
    def heartbeat_us(self) -> int:
        """When the thread last showed that it is alive; see ``Worker.heartbeat_us``."""
        return self._worker.heartbeat_us

    @property
    def pending(self) -> int:
        """How many transactions wait or run."""
        return self._submitted - self._executed

    @property
    def wal_bytes(self) -> int:
        """How much of the write-ahead log is in use."""
        return self._wal.size_bytes

    @property
    def has_room(self) -> bool:
        """Whether the disk has room for more than what must go on."""
        return self._wal.has_room

    @property
    def failure(self) -> CommitUncertain | None:
        """The failure after which nothing can be written any more, if there was one."""
        return self._failure

    async def run(
        self,
        operation: str,
        work: Callable[[apsw.Connection], T],
        *,
        wal_bytes: int = DEFAULT_WAL_BYTES,
        must_go_on: bool = False,
        may_be_redone: bool = False,
        portion: Portion | None = None,
    ) -> T:
        """Run ``work`` in a transaction of its own, in the writer thread, and commit it.

        ``operation`` completes "cannot …" in error messages; ``wal_bytes`` is about what it
        writes. On a full disk only what ``must_go_on`` has room. What ``may_be_redone`` is not
        fsynced for itself: after a loss of power it is there as a whole with everything before
        it, or nobody has seen it; and it waits for a checkpoint that is under way. ``portion``
        learns for how long the writer was held. A caller that is cancelled already submits
        nothing; once submitted, the wait is shielded. Raises ``StoreUnavailable`` when nothing
        was written and it may be tried again, ``CommitUncertain`` when the process must end, and
        whatever ``work`` raises.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if may_be_redone:
            await self._checkpointer.until_over()
        if self.pending >= MAX_PENDING:
            raise StoreUnavailable(
                f"cannot {operation}: {MAX_PENDING} transactions wait for the disk already"
            )
        submitted_s = self._stopwatch_s()
        job = _Job(operation, work, wal_bytes, must_go_on, may_be_redone, portion, submitted_s)
        self._submitted += 1
        self._worker.submit(partial(self._execute, job), job.done.set, partial(self._end, job))
        with trio.CancelScope(shield=True):
            await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result[0]

    async def run_in_portions(
        self,
        operation: str,
        work: Callable[[int, apsw.Connection], int],
        portion: Portion,
        rest: Callable[[], Awaitable[None]],
    ) -> None:
        """Run ``work``, given how much to do at most, until it has done nothing.

        Each time is a transaction of its own that must go on and may be redone; ``rest`` comes in
        between. Raises what ``run`` does.
        """
        while await self.run(
            operation,
            partial(work, portion.size),
            must_go_on=True,
            may_be_redone=True,
            portion=portion,
        ):
            await rest()

    async def aclose(self) -> None:
        """Finish what was submitted, close the connections and end the threads."""
        drained = trio.Event()
        self._worker.submit(_do_nothing, drained.set)
        with trio.CancelScope(shield=True):
            await drained.wait()
        await self._checkpointer.aclose()
        self._worker.submit(self._close)
        await self._worker.aclose()

    def _execute(self, job: _Job[T]) -> None:
        job.began_s = self._stopwatch_s()
        try:
            job.result.append(self._transact(job))
        except BaseException as error:  # whatever it is, it belongs to the task that waits
            job.error = error
        job.ended_s = self._stopwatch_s()
        if job.portion is not None:
            job.portion.took(job.ended_s - job.began_s)
        self._executed += 1

    def _end(self, job: _Job[T]) -> None:
        """Do what nobody waits for."""
        self._on_turn(Turn(job.operation, job.submitted_s, job.began_s, job.ended_s))
        self._checkpoint()

    def _checkpoint(self) -> None:
        """Have the WAL copied beside this thread if it has grown, and here where it must be."""
        if self._known_failure() is not None:
            return
        began_s = self._stopwatch_s()
        try:
            if self._is_checkpoint_due():
                self._wal.checkpoint()
                self._on_turn(Turn(CHECKPOINT, began_s, began_s, self._stopwatch_s()))
        except apsw.Error as error:
            _log.critical("checkpoint failed", error=str(self._uncertain("checkpoint", error)))

    def _is_checkpoint_due(self) -> bool:
        if self._wal.is_to_be_ended(is_awaited=self.pending > 0 or self._checkpointer.is_at_work):
            return True
        if self._wal.is_to_be_ended(is_awaited=False):
            return False  # soon, and then nothing else may be copying
        return self._wal.is_to_be_copied() and not self._checkpointer.start()

    def _transact(self, job: _Job[T]) -> T:
        if (failure := self._known_failure()) is not None:
            raise failure
        try:
            self._wal.make_room(job.wal_bytes, must_go_on=job.must_go_on)
        except apsw.Error as error:
            raise self._uncertain(job.operation, error) from error
        try:
            self._set_synchronous(may_be_redone=job.may_be_redone)
            self._connection.execute("BEGIN IMMEDIATE")
            result = job.work(self._connection)
        except BaseException as error:
            self._roll_back(job.operation, error)
            if isinstance(error, apsw.Error):
                meaning = translate(error, job.operation, self._path)
                if meaning is not None:
                    raise meaning from error
            raise
        try:
            self._connection.execute("COMMIT")
        except apsw.Error as error:
            raise self._uncertain(job.operation, error) from error
        return result

    def _set_synchronous(self, *, may_be_redone: bool) -> None:
        """Have the next commit fsynced as the connection was opened for, or not."""
        if self._opened_synchronous is None:
            self._opened_synchronous = self._connection.pragma("synchronous")
        wanted = _NORMAL if may_be_redone else self._opened_synchronous
        if wanted != self._synchronous:
            self._synchronous = None  # until it is certain: no commit may go by the wrong one
            self._connection.pragma("synchronous", wanted)
            self._synchronous = wanted

    def _roll_back(self, operation: str, cause: BaseException) -> None:
        """Undo the transaction, or raise ``CommitUncertain`` if that is not certain."""
        if is_sync_failure(cause):
            raise self._uncertain(operation, cause) from cause
        if not self._connection.in_transaction:
            return
        try:
            self._connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise self._uncertain(operation, error) from error

    def _known_failure(self) -> CommitUncertain | None:
        """Return ``failure``, after a look at the checkpoints beside this thread."""
        if self._failure is None and self._wal.checkpoints.failure is not None:
            self._uncertain("checkpoint", self._wal.checkpoints.failure)
        return self._failure

    def _uncertain(self, operation: str, error: BaseException) -> CommitUncertain:
        self._failure = CommitUncertain(
            f"could not {operation} in {self._path}, and whether it was written is uncertain "
            f"({error}); the process must end and read the file again"
        )
        return self._failure

    def _close(self) -> None:
        try:
            if self._known_failure() is not None:
                # What is in the WAL is in doubt: closing must not copy it into the database.
                self._connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            self._connection.close()
        except apsw.Error as error:
            _log.warning("closing the database failed", path=self._path, error=str(error))


def _do_nothing() -> None:
    pass
