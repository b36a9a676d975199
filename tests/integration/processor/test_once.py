from __future__ import annotations

from kit import Workshop, dag


def test_a_push_goes_live(workshop: Workshop) -> None:
    first = workshop.push("first", {"dags/a.py": dag("a"), "dags/b.py": dag("b")})
    done = workshop.once()
    assert done.returncode == 0, done.stdout + done.stderr
    assert workshop.live() == {"a": first, "b": first}
