"""How features and score were distributed: what the service holds its traffic to (`reference` in manifest.json)."""

import json
import re

import numpy as np

BINS = 10
"""Bins of a column, without the one for missing values; the service takes up to 20."""


def cut(values):
    """Where to cut a column: into `BINS` parts with about as many rows each. Equal values stay together, so that one that is frequent
    has a bin of its own, and the others share the rest evenly; up to `BINS` different values have a bin each.
    """
    known, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    if len(known) <= BINS:
        return known[1:]
    up_to = np.cumsum(counts)
    edges, start, taken = [], 0, 0
    for bins_left in range(BINS, 1, -1):
        # The bin begins at `start` and takes its share of what is left, at least one value; it ends where that share is nearest.
        wanted = taken + (up_to[-1] - taken) / bins_left
        end = max(int(np.searchsorted(up_to, wanted)), start)
        if end > start and wanted - up_to[end - 1] < up_to[end] - wanted:
            end -= 1
        if end + 1 >= len(known):
            break
        start, taken = end + 1, up_to[end]
        edges.append(known[start])
    return np.array(edges, np.float32)


def column(values):
    """Bin `i` has the rows with exactly `i` edges at or below their value; the last count is of the rows without a value."""
    edges = cut(values)
    known = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    # The text of an f32 is the shortest that reads back as the same f32.
    return {"edges": [float(str(edge)) for edge in edges], "counts": [int(count) for count in counts] + [len(values) - len(known)]}


def reference_of(matrix, names, scores, scores_of):
    """`scores` are those of rows that the model was not trained on, where there are any: on its own rows it is too sure."""
    return {
        "rows": len(matrix),
        "score_rows": len(scores),
        "score_of": scores_of,
        "features": {name: column(matrix[:, index]) for index, name in enumerate(names)},
        "score": column(np.asarray(scores, np.float32)),
    }


def manifest_text(manifest):
    """A manifest for people to read: with each column of its reference on a line of its own."""
    columns = []

    def mark(column):
        columns.append(json.dumps(column, allow_nan=False))
        return f"@column {len(columns) - 1}@"

    reference = manifest["reference"]
    features = {name: mark(column) for name, column in reference["features"].items()}
    marked = manifest | {"reference": reference | {"features": features, "score": mark(reference["score"])}}
    text = json.dumps(marked, indent=2, allow_nan=False)
    return re.sub(r'"@column (\d+)@"', lambda found: columns[int(found[1])], text) + "\n"
