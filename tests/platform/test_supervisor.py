"""Children are restarted, given up, stopped in order, and never outlive their supervisor."""

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from naive_platform import supervisor
from naive_platform.supervisor import Program, StartFailed, Stopped, Supervisor
from tests.platform.conftest import until

type Shell = Callable[..., Program]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def children(said: list[str]) -> Iterator[Supervisor]:
    with Supervisor(say=said.append) as children:
        yield children


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    def program(name: str, script: str, **fields: object) -> Program:
        made = Program(
            name=name, argv=("/bin/sh", "-c", script), env={}, cwd=tmp_path, log=tmp_path / f"{name}.log"
        )
        return dataclasses.replace(made, **fields)  # type: ignore[arg-type]

    return program


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_child_that_is_killed_comes_back_and_its_end_is_said(
    children: Supervisor, shell: Shell, said: list[str]
) -> None:
    child = children.start(shell("worker", "sleep 60"))
    first = child.pid
    os.kill(first, signal.SIGKILL)
    children.wait(lambda: child.pid != first, timeout_s=5, what="worker")
    assert said[0].startswith("worker ended (Killed)")


def test_child_that_always_dies_at_start_ends_it_with_its_last_words(
    children: Supervisor, shell: Shell
) -> None:
    children.start(shell("worker", "echo no such table; exit 3"))
    with pytest.raises(StartFailed, match=r"5 starts.*worker ended \(exit code 3\)[\s\S]*no such table"):
        children.wait(lambda: False, timeout_s=20, what="worker")


def test_child_that_always_dies_later_does_not_end_the_others(children: Supervisor, shell: Shell) -> None:
    other = children.start(shell("other", "sleep 60"))
    child = children.start(shell("worker", "exit 3"))
    children.watch(lambda: len(child.deaths) > supervisor.DEATHS_AT_START - 2)
    assert other.process.poll() is None


def test_prepare_runs_before_every_start(children: Supervisor, shell: Shell) -> None:
    starts: list[int] = []
    children.start(shell("worker", "exit 0", prepare=lambda: starts.append(1)))
    children.wait(lambda: len(starts) == 3, timeout_s=10, what="worker")


def test_program_that_ends_badly_is_told_with_its_last_lines(children: Supervisor, shell: Shell) -> None:
    with pytest.raises(StartFailed, match=r"migrate ended \(exit code 2\)[\s\S]*\| column missing"):
        children.run(shell("migrate", "echo column missing >&2; exit 2"), timeout_s=10)


def test_program_that_takes_too_long_is_ended(children: Supervisor, shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="migrate did not come up in 0 s"):
        children.run(shell("migrate", f"echo $$ > {tmp_path}/pid; exec sleep 60"), timeout_s=0.3)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_stages_stop_from_the_highest_to_the_lowest(shell: Shell, tmp_path: Path, said: list[str]) -> None:
    with Supervisor(say=said.append) as children:
        for stage in (0, 2, 1):
            script = (
                f"trap 'sleep 0.2; echo {stage} >> order; exit' TERM; echo up; while :; do sleep 0.05; done"
            )
            program = shell(f"stage-{stage}", script, stage=stage)
            children.start(program)
            children.wait(lambda log=program.log: "up" in log.read_text(), timeout_s=5, what="child")  # type: ignore[misc]
    assert (tmp_path / "order").read_text().split() == ["2", "1", "0"]


def test_child_that_will_not_stop_is_killed_when_its_time_is_over(shell: Shell, said: list[str]) -> None:
    with Supervisor(say=said.append) as children:
        program = shell("stubborn", "trap '' TERM; echo up; sleep 60", stop_timeout_s=0.3)
        child = children.start(program)
        children.wait(lambda: "up" in program.log.read_text(), timeout_s=5, what="stubborn")
    assert is_gone(child.pid)
    assert said[-1].endswith("did not stop in time; killed.")


def test_signal_ends_a_wait_by_name(children: Supervisor) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        children.wait(lambda: False, timeout_s=5, what="nothing")
    assert stopped.value.signum == signal.SIGTERM


def test_handlers_of_before_are_back_after(shell: Shell, said: list[str]) -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    with Supervisor(say=said.append):
        pass
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before


def test_child_is_deaf_to_the_terminals_ctrl_c(children: Supervisor, shell: Shell) -> None:
    child = children.start(shell("worker", "sleep 60"))
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_last_runs_log_is_put_aside_and_readable_by_us_alone(children: Supervisor, shell: Shell) -> None:
    program = shell("worker", "echo new; sleep 60")
    program.log.write_text("old\n")
    children.start(program)
    children.wait(lambda: program.log.read_text() == "new\n", timeout_s=5, what="worker")
    assert program.log.with_name("worker.log.1").read_text() == "old\n"
    assert program.log.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_child_of_a_parent_that_died_before_the_wish_was_made_does_not_live_on() -> None:
    wish = supervisor.die_with_parent(signal.SIGTERM)
    assert wish is not None
    reader, writer = os.pipe()
    middle = os.fork()
    if middle == 0:
        # The parent that the wish was made for is our grandparent: as if our own had died meanwhile.
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
            wish()
            signal.pause()
        os._exit(0)
    os.waitpid(middle, 0)
    pid = int(os.read(reader, 20))
    os.close(reader)
    os.close(writer)
    assert until(lambda: is_gone(pid))
