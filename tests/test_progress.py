"""What people see while they wait: plain lines, a bar on a terminal, the same lines in the log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from augaware import progress
from augaware.progress import Display, amount, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (65, "1:05"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (4125, "1:08:45")],
)
def test_durations_read_as_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 KiB"),
        (5 << 19, "2.5 MiB"),
        (5 << 29, "2.5 GiB"),
        (3 << 40, "3.0 TiB"),
    ],
)
def test_sizes_read_as_a_number_and_a_unit(size: int, text: str) -> None:
    assert amount(size) == text


def test_without_a_terminal_plain_lines_go_to_stderr_and_to_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Display("job", 4, tmp_path / "log.txt", every=0.0) as display:
        display.line("a line [not markup]")
        for step in range(1, 5):
            display.update(step, f"loss {step}")
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0] == "a line [not markup]"
    assert len(lines) == 5
    assert lines[1].startswith("job  1/4  loss 1  left 0:")
    assert lines[4] == "job  4/4  loss 4  left 0:00"
    logged = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.split("  ", 1)[1] for line in logged] == lines
    assert "\x1b" not in captured.err


def test_updates_are_rare_but_the_last_step_is_always_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("job", 100, every=1000.0) as display:
        display.line("job starts")
        for step in range(1, 101):
            display.update(step, "")
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["starts", "100/100"]


def test_a_job_that_is_over_at_once_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Display("reading", 0) as display:
        display.reading(3, 6)
        display.reading(6, 6)
    assert capsys.readouterr().err == ""


def test_the_log_is_continued_not_replaced(tmp_path: Path) -> None:
    for number in range(2):
        with Display("job", 1, tmp_path / "log.txt") as display:
            display.line(f"line {number}")
    assert [line.split("  ", 1)[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["line 0", "line 1"]


def test_the_time_left_counts_the_steps_of_this_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    display = Display("job", 100, start=80)
    now[0] = 110.0
    assert display._left(90, now[0]) == "0:10"  # 10 steps in 10 s, 10 to go
    assert display._left(80, now[0]) == "0:00"


def test_on_a_terminal_a_bar_moves_and_lines_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(
        progress, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=160, color_system=None)
    )
    with Display("augself(targets=['crop'])", 10, tmp_path / "log.txt", every=0.0, start=3) as display:
        display.line("WARNING: [bold]not markup[/]")
        for step in range(4, 11):
            display.update(step, "loss 1.5")
    shown = screen.getvalue()
    assert "WARNING: [bold]not markup[/]" in shown
    assert "augself(targets=['crop'])" in shown
    assert "10/10" in shown
    assert "loss 1.5" in shown
    assert "WARNING: [bold]not markup[/]" in (tmp_path / "log.txt").read_text()
    assert "10/10" in (tmp_path / "log.txt").read_text()


def test_an_error_inside_is_not_swallowed_and_the_terminal_is_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda stderr: Console(file=screen, force_terminal=True, width=100))
    with pytest.raises(KeyboardInterrupt), Display("job", 10):
        raise KeyboardInterrupt
    assert screen.getvalue().rfind("\x1b[?25h") > screen.getvalue().rfind("\x1b[?25l")  # the cursor is shown again
