"""An unlearning run that missed its target ends with a code and a last line of its own."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("missed", "stalled", "code", "advice"),
    [
        (True, False, 4, "give more --steps than 40 or a higher --learning-rate, and train again"),
        (True, True, 4, "take the --method that the warning names, and train again"),
        (False, False, 0, None),
    ],
)
def test_a_missed_target_is_the_last_line_and_an_exit_code(
    missed, stalled, code, advice, monkeypatch, capsys, tmp_path
):
    import edgeproof.release.unlearn as job
    from edgeproof.cli.unlearn import command
    from edgeproof.unlearn import UnlearnResult

    nlls = ((0.5, 3.0), (1.0, 1.1), (2.0, 2.1))
    result = UnlearnResult(tmp_path, 40, *nlls, 6.0, 2, 100, 9.0, "all steps", missed, stalled)
    monkeypatch.setattr(job, "unlearn", lambda **_: result)
    files = [word for name in ("base", "forget", "retain", "out") for word in (f"--{name}", str(tmp_path / name))]
    assert command.main(files, standalone_mode=False) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("MISSED ITS TARGET: expect FAIL, never unlearned") == missed
    assert advice is None or last.endswith(advice)
