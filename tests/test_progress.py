"""Progress: nothing when silent, lines with the right arithmetic in a log, a bar on a terminal."""

import io
import subprocess
import sys

import pytest

from hume_ssl.progress import Plain, duration, track


def test_durations_read_as_a_person_writes_them() -> None:
    assert [duration(s) for s in (0.4, 59.4, 60, 185, 3600, 7620)] == ["0s", "59s", "1m00s", "3m05s", "1h00m", "2h07m"]


def test_plain_line_gives_share_and_time_left_by_hand() -> None:
    """12 s for 3 of 12 units: 25 %, and 9 units to go at 4 s each are 36 s."""
    now = 0.0
    stream = io.StringIO()
    plain = Plain(12, "searches", stream, clock=lambda: now)
    now = 9.0
    plain.advance(2)
    assert stream.getvalue() == ""  # ten seconds have not passed
    now = 12.0
    plain.advance(1, loss="0.5")
    assert stream.getvalue() == "searches: 25% (3 of 12), loss 0.5, 12s, 36s left\n"
    now = 13.0
    plain.advance(9)
    plain.finish()
    assert stream.getvalue().splitlines()[1] == "searches: 100% (12 of 12), loss 0.5, 13s"


def test_without_a_terminal_the_last_line_comes_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with track(3, "embedding") as progress:
        for _ in range(3):
            progress.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "embedding: 100% (3 of 3), 0s\n"


def test_no_last_line_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError), track(3, "embedding"):
        raise RuntimeError
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with track(2, "search[es]") as progress:  # brackets are no markup
        progress.advance(loss="0.25")
        progress.advance()
    assert "search[es]" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert "loss 0.25" in terminal.getvalue()


def test_silent_prints_and_imports_nothing() -> None:
    code = (
        "import sys; from hume_ssl.progress import track\n"
        "with track(1, 'x', show=False) as p: p.advance(loss='1')\n"
        "print('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
