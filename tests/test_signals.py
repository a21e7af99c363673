"""Signals are wishes: noted once, obeyed at once the second time."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from saesweep.signals import Wishes


def send(name: str) -> None:
    os.kill(os.getpid(), signal.Signals[name])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_is_noted_and_the_second_is_obeyed_at_once(name: str) -> None:
    wishes = Wishes()
    with wishes.listen():
        wishes.check()
        send(name)
        assert (wishes.stop, wishes.save) == (True, False)
        with pytest.raises(KeyboardInterrupt):
            wishes.check()
        with pytest.raises(KeyboardInterrupt):
            send(name)


def test_a_closed_terminal_and_what_closes_it_are_one_wish() -> None:
    wishes = Wishes()
    with wishes.listen():
        for name in ("SIGHUP", "SIGHUP", "SIGTERM", "SIGHUP"):
            send(name)
        assert wishes.stop
        with pytest.raises(KeyboardInterrupt):
            send("SIGTERM")


def test_a_wish_to_save_may_come_often() -> None:
    wishes = Wishes()
    with wishes.listen():
        for _ in range(3):
            send("SIGUSR1")
        assert (wishes.stop, wishes.save) == (False, True)
        wishes.check()


def test_signals_mean_what_they_meant_before() -> None:
    before = {name: signal.getsignal(signal.Signals[name]) for name in ("SIGINT", "SIGUSR1")}
    with pytest.raises(ValueError, match="mine"), Wishes().listen():
        raise ValueError("mine")
    assert {name: signal.getsignal(signal.Signals[name]) for name in before} == before


def test_what_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    wishes = Wishes()
    try:
        with wishes.listen():
            send("SIGHUP")
        assert not wishes.stop
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_listen_to_nothing() -> None:
    before, inside = signal.getsignal(signal.SIGINT), []

    def listen() -> None:
        with Wishes().listen():
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert inside == [before]
