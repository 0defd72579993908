"""The operators of a model, as benchmark_model's profile lists them."""

import dataclasses
import math
from typing import Any


@dataclasses.dataclass
class Operators:
    """The model's operators, and which of them a delegate runs.

    Attributes:
      rows: For each operator its type, the name of its output, its share of the work, and whether a
        delegate runs it.
      partitions: Number of parts of the graph that the delegate runs.
    """

    rows: list[tuple[str, str, float, bool]]
    partitions: int

    @property
    def taken(self) -> int:
        return sum(row[3] for row in self.rows)

    def profiled(self) -> list[tuple[str, str, float]]:
        """Returns type, name and share of each row of the tool's profile."""
        named = []
        count = 0
        for index, (kind, name, share, delegated) in enumerate(self.rows):
            if delegated:
                kind = kind.replace("_", " ").title()
                named.append((kind, f"Delegate/{kind}:{count}", share))
                count += 1
            else:
                named.append((kind, f"[{name}]:{index}", share))
        return named


def operators_of(interpreter: Any, delegated_by: str) -> Operators:
    """Returns the operators of the main graph, of which the delegate's kernels are the last."""
    details = interpreter._get_ops_details()
    names = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    plain = [op for op in details if op["op_name"] != "DELEGATE"]
    kernels = [op for op in details if op["op_name"] == "DELEGATE"]
    maker = {int(tensor): op["index"] for op in plain for tensor in op["outputs"]}
    by_index = {op["index"]: op for op in plain}
    taken: set[int] = set()
    for kernel in kernels:
        stop = {int(tensor) for tensor in kernel["inputs"]}
        todo = [int(tensor) for tensor in kernel["outputs"]]
        while todo:
            op = maker.get(todo.pop())
            if op is not None and op not in taken:
                taken.add(op)
                todo += [int(t) for t in by_index[op]["inputs"] if int(t) not in stop]
    partitions = len(kernels)
    if delegated_by:
        taken, partitions = set(by_index), 1

    def size(op: dict[str, Any]) -> float:
        shapes = [names[int(t)]["shape"] for t in op["outputs"] if int(t) in names]
        return 1.0 + sum(math.prod(int(side) for side in shape) for shape in shapes)

    total = sum(size(op) for op in plain) or 1.0
    rows = [
        (
            op["op_name"],
            ", ".join(names[int(t)]["name"] for t in op["outputs"] if int(t) in names),
            size(op) / total,
            op["index"] in taken,
        )
        for op in plain
    ]
    return Operators(rows, partitions)
