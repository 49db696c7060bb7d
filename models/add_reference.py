#!/usr/bin/env python3
"""Adds to a model's manifest.json how its features and its score are distributed in some rows, so that the service can measure drift:

    python models/add_reference.py --model models/mine --features features.parquet

For a model that `train.py` has not made, or that is to be held to other traffic than it was trained on. The rows are what
`tollgate features` writes. The scores are those of these rows: best are some that the model was not trained on.
Libraries: models/requirements.txt.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import xgboost as xgb

from training.errors import Wrong
from training.files import read_table
from training.reference import manifest_text, reference_of
from training.rows import matrix_of

MODEL_FILES = ("model.json", "model.ubj")


def run(arguments):
    directory = pathlib.Path(arguments.model)
    manifest_file = directory / "manifest.json"
    found = [directory / name for name in MODEL_FILES if (directory / name).exists()]
    if len(found) != 1:
        raise Wrong(f"{directory}: must have one of {' and '.join(MODEL_FILES)}, has {len(found)}")
    try:
        manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
        booster = xgb.Booster(model_file=found[0])
    except (OSError, ValueError) as error:
        raise Wrong(f"{manifest_file}: cannot be read: {error}") from error
    except xgb.core.XGBoostError as error:
        raise Wrong(f"{found[0]}: cannot be read: {str(error).splitlines()[0]}") from error
    names = booster.feature_names
    if not names:
        raise Wrong(f"{found[0]}: does not name its features")
    matrix = matrix_of(read_table(arguments.features), names, arguments.features)
    booster.set_param({"nthread": 1})
    # Log-odds in both objectives that the service reads.
    margins = booster.inplace_predict(matrix, predict_type="margin", validate_features=False).astype(np.float64)
    scores = 1 / (1 + np.exp(-margins))
    manifest["reference"] = reference_of(matrix, names, scores, pathlib.Path(arguments.features).name)
    try:
        draft = directory / ".manifest.json.new"
        draft.write_text(manifest_text(manifest), encoding="utf-8")
        draft.replace(manifest_file)
    except OSError as error:
        raise Wrong(f"{manifest_file}: cannot be written: {error}") from error
    print(f"{manifest_file}: reference of {len(matrix):,} rows, {len(names)} features and the score")


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, metavar="DIR", help="the model directory whose manifest.json is added to")
    parser.add_argument("--features", required=True, metavar="FILE", help="rows of features (.csv, .csv.gz, .parquet)")
    try:
        run(parser.parse_args(words))
    except Wrong as error:
        sys.exit(f"add_reference.py: {error}")


if __name__ == "__main__":
    main()
