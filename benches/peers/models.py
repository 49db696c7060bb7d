"""Makes of an XGBoost model what the other evaluators load: `models.py MODEL.json DIRECTORY`.

tl2cgen.so           C by tl2cgen, compiled by gcc
tl2cgen_quantized.so the same with thresholds as whole numbers, which tl2cgen calls quantize
model.onnx           one TreeEnsembleRegressor that gives the margin
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import tl2cgen
import treelite
from onnx import TensorProto, helper

# Files that the C is spread over, as tl2cgen advises for large models.
UNITS = 4


def shared_library(model, quantize, directory, name):
    source = directory / f"{name}_c"
    tl2cgen.generate_c_code(model, dirpath=str(source), params={"quantize": quantize, "parallel_comp": UNITS})
    files = sorted(str(file) for file in source.glob("*.c"))
    flags = ["-O3", "-march=native", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", str(directory / f"{name}.so"), *files, "-lm"], check=True)


def onnx_model(document):
    learner = document["learner"]
    trees = learner["gradient_booster"]["model"]["trees"]
    features = int(learner["learner_model_param"]["num_feature"])
    base_score = np.float32(json.loads(learner["learner_model_param"]["base_score"])[0])
    nodes = {name: [] for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    missing, leaves = [], {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    for number, tree in enumerate(trees):
        if any(tree["split_type"]):
            sys.exit("categories are not translated to ONNX")
        for node, left in enumerate(tree["left_children"]):
            is_leaf = left < 0
            nodes["treeids"].append(number)
            nodes["nodeids"].append(node)
            nodes["featureids"].append(0 if is_leaf else tree["split_indices"][node])
            nodes["values"].append(0.0 if is_leaf else tree["split_conditions"][node])
            nodes["modes"].append("LEAF" if is_leaf else "BRANCH_LT")
            nodes["truenodeids"].append(0 if is_leaf else left)
            nodes["falsenodeids"].append(0 if is_leaf else tree["right_children"][node])
            missing.append(0 if is_leaf else tree["default_left"][node])
            if is_leaf:
                leaves["treeids"].append(number)
                leaves["nodeids"].append(node)
                leaves["ids"].append(0)
                leaves["weights"].append(tree["split_conditions"][node])
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        ["row"],
        ["margin"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=[float(-np.log(np.float32(1) / base_score - np.float32(1)))],
        nodes_missing_value_tracks_true=missing,
        **{f"nodes_{name}": values for name, values in nodes.items()},
        **{f"target_{name}": values for name, values in leaves.items()},
    )
    graph = helper.make_graph(
        [ensemble],
        "margin",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, features])],
        [helper.make_tensor_value_info("margin", TensorProto.FLOAT, [1, 1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    onnx.checker.check_model(model)
    return model


def main():
    file, directory = Path(sys.argv[1]), Path(sys.argv[2])
    directory.mkdir(parents=True, exist_ok=True)
    model = treelite.frontend.load_xgboost_model(str(file), format_choice="inspect")
    shared_library(model, 0, directory, "tl2cgen")
    shared_library(model, 1, directory, "tl2cgen_quantized")
    onnx.save(onnx_model(json.loads(file.read_text())), directory / "model.onnx")


main()
