"""Writes a trained model as the files that Pitboss serves: model.onnx, model.yaml and golden.json.

The graph is plain: one float32 input [N, features], one float32 output [N, 1]
(no ZipMap, no label), operator sets 17 and ai.onnx.ml 3, IR version 9, which
every ONNX Runtime since 1.15 accepts. Pitboss reads the trees from the same file to
explain a score, so the file holds nothing but what scoring needs.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import yaml
from onnx import TensorProto, helper

OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 9
GOLDEN_ROWS = 64


def float32_at_most(x: float) -> float:
    """The largest float32 not above x, so that `v <= x` is the same for every float32 v."""
    f = np.float32(x)
    return float(np.nextafter(f, np.float32(-np.inf)) if float(f) > x else f)


class _Ensemble:
    """The parallel arrays of ONNX's TreeEnsembleRegressor."""

    def __init__(self):
        self.nodes = {k: [] for k in ("treeids", "nodeids", "featureids", "values", "modes",
                                      "truenodeids", "falsenodeids")}
        self.target = {k: [] for k in ("treeids", "nodeids", "ids", "weights")}

    def add(self, tree: int, node: dict, ids) -> int:
        n = next(ids)
        leaf = "leaf_value" in node
        row = {"treeids": tree, "nodeids": n, "featureids": 0, "values": 0.0, "modes": "LEAF",
               "truenodeids": 0, "falsenodeids": 0}
        at = len(self.nodes["treeids"])
        for k, v in row.items():
            self.nodes[k].append(v)
        if leaf:
            for k, v in zip(self.target, (tree, n, 0, float(node["leaf_value"]))):
                self.target[k].append(v)
            return n
        if node["decision_type"] != "<=" or node["missing_type"] != "None":
            raise ValueError(f"only numeric splits without missing values are exported, got {node}")
        self.nodes["featureids"][at] = node["split_feature"]
        self.nodes["values"][at] = float32_at_most(node["threshold"])
        self.nodes["modes"][at] = "BRANCH_LEQ"
        self.nodes["truenodeids"][at] = self.add(tree, node["left_child"], ids)
        self.nodes["falsenodeids"][at] = self.add(tree, node["right_child"], ids)
        return n


def lightgbm_to_onnx(booster) -> onnx.ModelProto:
    """A binary LightGBM model as TreeEnsembleRegressor → Sigmoid."""
    dump = booster.dump_model()
    ensemble = _Ensemble()
    for i, t in enumerate(dump["tree_info"]):
        ensemble.add(i, t["tree_structure"], iter(range(1 << 20)))
    attributes = {f"nodes_{k}": v for k, v in ensemble.nodes.items()}
    attributes |= {f"target_{k}": v for k, v in ensemble.target.items()}
    trees = helper.make_node("TreeEnsembleRegressor", ["features"], ["margin"], domain="ai.onnx.ml",
                             n_targets=1, aggregate_function="SUM", post_transform="NONE", **attributes)
    sigmoid = helper.make_node("Sigmoid", ["margin"], ["probability"])
    return _model([trees, sigmoid], [], dump["max_feature_idx"] + 1, "probability", 1)


def _model(nodes, initializers, columns: int, output: str, outputs: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "pitboss",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", columns])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", outputs])],
        initializers)
    model = helper.make_model(graph, opset_imports=OPSETS, producer_name="pitboss models/train")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model


def run_onnx(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"features": x.astype(np.float32)})[0]


def parity(model: onnx.ModelProto, x: np.ndarray, want: np.ndarray, tolerance: float = 2e-5) -> float:
    """The largest difference between ONNX Runtime and Python; raises above tolerance."""
    diff = float(np.abs(run_onnx(model, x).reshape(want.shape) - want).max())
    if not diff <= tolerance:
        raise AssertionError(f"ONNX Runtime differs from Python by {diff}")
    return diff


def histograms(x: np.ndarray, names: list[str], bins: int = 10) -> dict:
    """For each feature, bin edges at the training set's quantiles and the share of each bin."""
    out = {}
    for i, name in enumerate(names):
        v = x[:, i].astype(np.float32)
        edges = np.unique(np.quantile(v, np.linspace(0, 1, bins + 1)[1:-1], method="lower")).astype(np.float32)
        edges = edges[edges < v.max()]
        if len(edges) == 0:
            continue  # a constant has only one bin
        shares = np.bincount(np.searchsorted(edges, v, side="left"), minlength=len(edges) + 1) / len(v)
        out[name] = {"edges": [float(e) for e in edges], "shares": [round(float(s), 6) for s in shares]}
    return out


def reference(x: np.ndarray) -> list[float]:
    """The median of each feature over the training set. Explanations compare a player with it."""
    return [float(v) for v in np.median(x, axis=0).astype(np.float32)]


def write(folder: Path, model: onnx.ModelProto, manifest: dict, golden: list[dict]) -> None:
    """Writes the three files of a model version."""
    folder.mkdir(parents=True, exist_ok=True)
    body = model.SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(body)
    manifest = {"name": folder.parent.name, "version": folder.name} | manifest
    at = list(manifest).index("output") + 1
    entries = list(manifest.items())
    entries[at:at] = [("file", "model.onnx"), ("sha256", _Quoted(hashlib.sha256(body).hexdigest())), ("golden", "golden.json")]
    if "feature_set" in manifest["trained"]:
        entries = [(k, v | {"feature_set": _Quoted(v["feature_set"])} if k == "trained" else v) for k, v in entries]
    (folder / "model.yaml").write_text(_yaml(dict(entries)))
    (folder / "golden.json").write_text(
        '{"rows": [\n' + ",\n".join(json.dumps(r) for r in golden) + "\n]}\n")


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(list, lambda d, v: d.represent_sequence(
    "tag:yaml.org,2002:seq", v, flow_style=all(isinstance(e, (int, float)) for e in v)))
class _Quoted(str):
    """A string that is quoted even where it looks like a number."""


_Dumper.add_representer(_Quoted, lambda d, v: d.represent_scalar("tag:yaml.org,2002:str", str(v), style='"'))
_Dumper.add_representer(float, lambda d, v: d.represent_scalar("tag:yaml.org,2002:float", repr(v)))


def _yaml(manifest: dict) -> str:
    return ("# Written by models/train; do not edit.\n"
            + yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))
