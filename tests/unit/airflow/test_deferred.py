"""What is left out of the imports of a task's process; each part in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

START = """
import sys
from aerodrome.airflow import deferred
deferred.load()
"""
LATER = ("libcst", "airflow.serialization.serialized_objects", "airflow.models.taskinstance")


def says(code: str, *, setup: str = START) -> str:
    done = subprocess.run(
        [sys.executable, "-c", setup + code], capture_output=True, text=True, check=False, env={"HOME": "/nonexistent"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_left_out_is_not_imported_and_can_be_imported_as_ever() -> None:
    code = f"""
names = {LATER}
print([name for name in names if name in sys.modules])
import libcst.matchers, airflow.serialization.serialized_objects as s
print(libcst.parse_module("a = 1").code, s.LazyDeserializedDAG.__module__)
"""
    assert says(code).splitlines() == ["[]", "a = 1 airflow.serialization.serialized_objects"]


def test_only_the_two_modules_know_the_stand_ins() -> None:
    code = """
found = {name for name, module in list(sys.modules.items()) for value in list(vars(module).values())
         if isinstance(value, (deferred._StandIn, deferred._Name)) or isinstance(type(value), deferred._Name)}
print(found == set(deferred._LATER))
"""
    assert says(code).strip() == "True"


def test_the_first_use_brings_the_real_one() -> None:
    code = """
from airflow.sdk.bases.decorator import remove_task_decorator
source = "@task.virtualenv(a=1)\\n@setup\\n@mine\\ndef f():\\n    pass\\n"
for _ in range(2):
    print(repr(remove_task_decorator(source, "@task.virtualenv")))
from airflow.dag_processing import dagbag
from airflow.serialization.serialized_objects import LazyDeserializedDAG as real
print(dagbag.LazyDeserializedDAG.from_dag == real.from_dag, dagbag.LazyDeserializedDAG is real)
"""
    plain = "from airflow.sdk import DAG\n"
    with_stand_ins, without = says(code), says(code, setup=plain)
    assert with_stand_ins == without
    assert with_stand_ins.splitlines() == [repr("@mine\ndef f():\n    pass\n")] * 2 + ["True True"]


def test_a_module_that_needs_it_at_once_is_imported_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "needed.py").write_text("class Kind: number = 1")
    (tmp_path / "user.py").write_text("import needed\nnumber = needed.Kind.number")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from aerodrome.airflow import deferred
deferred._LATER = {{"user": "needed"}}
deferred.load()
print("user" in sys.modules, "needed" in sys.modules)
import user
print(user.number)
"""
    assert says(code, setup="").split() == ["False", "False", "1"]
