"""Which writes may run beside any other: a list of its own, each with the reason that a review gave."""

from __future__ import annotations

import ast

from tests.house.tree import files, tree

SHARED = {
    # The gate by compare-and-set before all else; what it decided on is behind that gate.
    "broker/pipeline.py": 2,
    # Rows are locked by id without waiting, and one UPDATE repeats every condition.
    "broker/handover.py": 1,
    # Rows are locked by id, and their versions are compared with those that the entries were made from.
    "broker/acks.py": 1,
    # Gates ascending before all else; everything that it reads of a case changes behind the gate of that case.
    "broker/acts.py": 1,
    "broker/calls.py": 1,  # hands the word on
    # Entries and a call's answer are added; nothing is read.
    "broker/submit.py": 1,
    "broker/queries.py": 1,
    "broker/explaining.py": 1,
    "broker/foreseeing.py": 1,
    # The tail of each bucket is locked, ascending; what is trimmed is below a position that never goes back.
    "broker/stream/embedded.py": 2,
    # A node's own row, and the lease by one UPDATE with its condition.
    "broker/leading.py": 2,
    # The log's head by compare-and-set before all else.
    "broker/sealer.py": 1,
}


def shared_writes(source):
    """Calls that say `shared=` and something else than False."""
    return [
        node
        for node in ast.walk(source)
        if isinstance(node, ast.Call)
        for word in node.keywords
        if word.arg == "shared" and ast.unparse(word.value) != "False"
    ]


def test_only_reviewed_writes_leave_their_turn_out():
    found = {file: len(shared_writes(tree(file))) for file in files() if file.startswith("broker/")}
    assert {file: count for file, count in found.items() if count} == SHARED
    assert len(shared_writes(ast.parse("store.write(work, shared=True); store.write(work); f(shared=False)"))) == 1
