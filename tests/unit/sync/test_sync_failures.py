from __future__ import annotations

import pytest

from aerodrome.sync.failures import CredentialsRefused, failure, names_for_people, reason, too_slow


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("fatal: Authentication failed for 'https://h/'", "credentials"),
        ("fatal: could not read Username for 'https://h': terminal prompts disabled", "credentials"),
        ("error: The requested URL returned error: 403", "credentials"),
        ("error: RPC failed; HTTP 429 curl 22 The requested URL returned error: 429", "throttles"),
        ("fatal: unable to access 'https://h/': The requested URL returned error: 502", "an error of its own"),
        ("fatal: unable to access 'https://h/': Could not resolve host: h", "can not be resolved"),
        ("fatal: unable to access 'https://h/': Failed to connect to h port 443 after 3 ms: Couldn't", "be reached"),
        ("fatal: unable to access 'https://h/': server certificate verification failed.", "not trusted"),
        ("No ED25519 host key is known for h and you have requested strict checking.\nHost key verification failed.\n"
         "fatal: Could not read from remote repository.", "SSH host key"),
        ("git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.", "the SSH key"),
        ("remote: Repository not found.\nfatal: repository 'https://h/x/' not found", "no such repository"),
        ("fatal: protocol error: bad line length character: <htm", "broke off"),
        ("error: object 1: hasDotdot: contains '..'\nfatal: fsck error in packed object", "fsck"),
        ("fatal: write error: No space left on device", "disk of sync is full"),
        ("fatal: something new", "something new"),
    ],
)  # fmt: skip
def test_words_for_what_git_says(said: str, what: str) -> None:
    error = failure("look at https://h/x", said)
    assert what in error.what
    assert error.what.startswith("Can not look at https://h/x: ")
    assert error.remedy
    assert "\n" not in error.what
    assert error.throttled == ("429" in said)


def test_kinds() -> None:
    assert isinstance(failure("x", "fatal: Authentication failed for 'u'"), CredentialsRefused)
    assert too_slow("x", 3).slow


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("", "it ended without a word"),
        ("warning: x\nerror: first\nfatal: last", "fatal: last"),
        ("hint\nerror: first\nerror: second", "error: first"),
        ("only this", "only this"),
        ("fatal: https://me:pw@h/ is bad", "fatal: https://h/ is bad"),
        ("fatal: Failed to connect to h port 1 after 17 ms: x", "fatal: Failed to connect to h port 1: x"),
    ],
)
def test_reason(said: str, line: str) -> None:
    assert reason(said) == line


def test_names_for_people() -> None:
    assert names_for_people({"b", "a"}) == "a, b"
    assert names_for_people([str(number) for number in range(9)]) == "0, 1, 2, 3, 4 and 4 more"
    assert names_for_people(["a\nb"]) == r"'a\nb'"
