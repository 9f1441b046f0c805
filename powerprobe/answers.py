# SPDX-License-Identifier: MIT
"""Questions to a library that may hang, asked by one daemon thread so that nobody else ever waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Generic, TypeVar

from .errors import PowerprobeError

T = TypeVar("T")

_PATIENCE = 2.0  # seconds: a call that takes longer hangs, and nothing more is asked until it returns


class Answer(Generic[T]):
    """What a question came to, as soon as it is answered. Any thread.

    Attributes:
        value: None until then, and where there is no answer.
        reason: why there is none; "" where there is one.
        asked: when, in seconds of `monotonic()`.
    """

    __slots__ = ("_done", "asked", "reason", "value")

    def __init__(self, name: str) -> None:
        self._done = threading.Event()
        self.asked = monotonic()
        self.value: T | None = None
        self.reason = f"{name} has not answered yet"

    def is_done(self) -> bool:
        return self._done.is_set()

    def wait(self, seconds: float) -> bool:
        """Returns when it is answered, or after so many seconds at most: then False."""
        return self._done.wait(max(0.0, seconds))

    def _settle(self, value: T | None, reason: str) -> None:
        self.value, self.reason = value, reason
        self._done.set()


class Answerer:
    """The thread; it starts with the first question and, being a daemon, holds up no exit. Any thread may ask.

    Not across a fork: the child makes a new one.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()  # guards the start of the thread
        self._thread: threading.Thread | None = None
        self._questions: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._called: float | None = None  # when the call that goes on began; written by the thread only

    def is_hung(self) -> bool:
        called = self._called
        return called is not None and monotonic() - called > _PATIENCE

    def ask(self, question: Callable[[], T]) -> Answer[T]:
        """Has the thread call this; what it raises is the reason for having no answer. Never waits."""
        answer: Answer[T] = Answer(self._name)
        if self.is_hung():
            answer._settle(None, f"{self._name} does not answer: a call has been hanging for {_PATIENCE:g} s or more")
            return answer
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"powerprobe {self._name}", daemon=True)
                self._thread.start()
        self._questions.put(lambda: _answer(question, answer))
        return answer

    def _run(self) -> None:
        while True:
            question = self._questions.get()
            self._called = monotonic()
            question()
            self._called = None
            del question  # holds an answer, and what is in it, until the next one comes


def _answer(question: Callable[[], T], answer: Answer[T]) -> None:
    try:
        answer._settle(question(), "")
    except PowerprobeError as error:
        answer._settle(None, "; ".join(part for part in (error.message, error.remedy) if part))
    except Exception as error:  # whatever it was: the thread must go on
        answer._settle(None, str(error) or type(error).__name__)
