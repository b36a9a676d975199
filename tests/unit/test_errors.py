from __future__ import annotations

from aerodrome.errors import AerodromeError, ConfigError, Mistake, Temporary, UsageError


def test_an_error_says_what_and_what_to_do() -> None:
    error = AerodromeError("the store is gone", "Bring it back.")
    assert str(error) == "the store is gone\nBring it back."
    assert str(AerodromeError("only this", "")) == "only this"


def test_exit_codes() -> None:
    assert AerodromeError.exit_code == Temporary.exit_code == 1
    assert UsageError.exit_code == ConfigError.exit_code == 2


def test_every_mistake_has_its_line() -> None:
    error = ConfigError("a.yaml", [Mistake(3, "sync.poll", "is wrong", "did you mean 10s?"), Mistake(7, "", "is bad")])
    assert str(error).splitlines() == [
        "a.yaml:3: sync.poll: is wrong (did you mean 10s?)",
        "a.yaml:7: is bad",
        "Mend the 2 mistakes above and run the command again.",
    ]
    assert "1 mistake above" in ConfigError("a.yaml", [Mistake(1, "", "x")]).remedy
