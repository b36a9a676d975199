"""What a processor does next."""

from __future__ import annotations

from aerodrome.airflow.agenda import Agenda
from aerodrome.airflow.watch import Seen
from aerodrome.store import Current, Head, now


def _current(snapshot: str, number: int) -> Current:
    return Current(snapshot=snapshot, previous=None, when=now(), why="gate", who="test", number=number)


def test_its_own_move_is_not_undone_by_an_older_look_at_the_store() -> None:
    agenda = Agenda()
    agenda.stored_in_database("b" * 40, 0.0, complete=True)
    agenda.moved(_current("b" * 40, 2))
    head = Head(snapshot="b" * 40, commit="b" * 40, ref="main", seen=now())
    late = Seen(head=head, current=_current("a" * 40, 1))
    assert getattr(agenda.next(late, 1.0), "kind", None) != "follow"
    # somebody else's move after it counts
    rolled = Seen(head=head, current=_current("a" * 40, 3))
    task = agenda.next(rolled, 2.0)
    assert task is not None and (task.kind, task.snapshot) == ("follow", "a" * 40)
