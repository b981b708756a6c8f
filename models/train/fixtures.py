"""Writes the ONNX files of internal/model's tests, as the usual exporters write them.

    python models/train/fixtures.py internal/model/testdata/onnx

Each fixture is NAME.onnx, possibly NAME.onnx.data, and an entry in fixtures.json with the
columns in order, some rows, and their scores by Python's ONNX Runtime. Everything is seeded;
requirements.txt and fixtures.txt have the packages.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")
SEED = 20261129
COLUMNS = ["f0", "f1", "f2", "f3"]
rng = np.random.default_rng(SEED)
X = rng.normal(size=(400, 4)).astype(np.float32)
Y = (X[:, 0] + 0.5 * X[:, 1] * X[:, 2] + rng.normal(scale=0.5, size=400) > 0.2).astype(int)
TEST = rng.normal(size=(24, 4)).astype(np.float32)


class Fixtures:
    def __init__(self, folder: Path):
        self.folder, self.entries = folder, []
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name, model, inputs, columns, rows, output, pick, **manifest):
        """inputs turns a row into ONNX Runtime's feed; pick takes the score from its answer."""
        path = self.folder / f"{name}.onnx"
        if not isinstance(model, Path):
            path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString(deterministic=True))
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        scores = [float(pick(session.run([output], inputs(row))[0])) for row in rows]
        rows = [[v if isinstance(v, str) else float(v) for v in row] for row in rows]
        self.entries.append({"name": name, "columns": columns, "output": output, "manifest": manifest, "rows": rows, "scores": scores})
        print(f"{name}: {path.stat().st_size} bytes, scores {min(scores):.3f} to {max(scores):.3f}")

    def write(self):
        body = ",\n".join(json.dumps(e) for e in self.entries)
        (self.folder / "fixtures.json").write_text("[\n" + body + "\n]\n")


def one(name, dtype=np.float32):
    return lambda row: {name: np.array([row], dtype=dtype)}


def column(i):
    return lambda answer: np.asarray(answer).reshape(-1)[i]


def sklearn(fix):
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    floats, doubles = [("X", FloatTensorType([None, 4]))], [("X", DoubleTensorType([None, 4]))]

    def add(name, model, y=Y, types=floats, zipmap=False, columns=COLUMNS, dtype=np.float32, pick=None, **manifest):
        model.fit(X, y)
        onx = to_onnx(model, initial_types=types, options={id(model): {"zipmap": zipmap}})
        output = [o.name for o in onx.graph.output][1]
        fix.add(name, onx, one("X", dtype), columns, TEST, output, pick or column(1), **manifest)

    add("sklearn-logistic", LogisticRegression(), output_column=1)
    add("sklearn-logistic-zipmap", LogisticRegression(), zipmap=True, pick=lambda a: a[0][1], output_class="1")
    words = np.where(Y == 1, "leaves", "stays")
    add("sklearn-words-zipmap", LogisticRegression(), y=words, zipmap=True, pick=lambda a: a[0]["leaves"], output_class="leaves")
    add("sklearn-words", GradientBoostingClassifier(n_estimators=5, random_state=1), y=words, pick=column(0), output_column=0)
    add("sklearn-boosting", GradientBoostingClassifier(n_estimators=10, max_depth=3, random_state=1), output_column=1)
    add("sklearn-forest-float64", RandomForestClassifier(n_estimators=8, max_depth=4, random_state=1), types=doubles,
        dtype=np.float64, output_column=1)
    add("sklearn-calibrated", CalibratedClassifierCV(RandomForestClassifier(n_estimators=4, max_depth=3, random_state=1), cv=2),
        output_column=1)

    import pandas as pd
    frame = pd.DataFrame({"stake": X[:, 0], "rounds": (X[:, 1] * 10).astype(np.int64), "tier": np.where(X[:, 2] > 0, "gold", "base")})
    pipe = make_pipeline(ColumnTransformer([("n", StandardScaler(), ["stake", "rounds"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["tier"])]),
                         LogisticRegression()).fit(frame, Y)
    onx = to_onnx(pipe, initial_types=[("stake", FloatTensorType([None, 1])), ("rounds", Int64TensorType([None, 1])), ("tier", StringTensorType([None, 1]))],
                  options={id(pipe): {"zipmap": False}})
    rows = [[float(a), int(b * 10), t] for a, b, t in zip(TEST[:, 0], TEST[:, 1], np.resize(["gold", "base", "", "nobody knows"], len(TEST)))]
    fix.add("sklearn-columns", onx, lambda r: {"stake": np.array([[r[0]]], np.float32), "rounds": np.array([[r[1]]], np.int64), "tier": np.array([[r[2]]], object)},
            ["stake", "rounds", "player.tier"], rows, onx.graph.output[1].name, column(1), output_column=1)


def boosters(fix):
    import lightgbm
    import xgboost
    from catboost import CatBoostClassifier
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    types = [("input", FloatTensorType([None, 4]))]
    quiet = {"random_state": SEED, "n_estimators": 8, "max_depth": 3}
    model = lightgbm.LGBMClassifier(verbose=-1, num_leaves=7, n_jobs=1, **quiet).fit(X, Y)
    fix.add("lightgbm-zipmap", convert_lightgbm(model, initial_types=types), one("input"), COLUMNS, TEST, "probabilities", lambda a: a[0][1], output_class="1")
    fix.add("lightgbm", convert_lightgbm(model, initial_types=types, zipmap=False), one("input"), COLUMNS, TEST, "probabilities", column(1), output_column=1)
    model = lightgbm.LGBMRegressor(verbose=-1, num_leaves=7, n_jobs=1, **quiet).fit(X, 100 * X[:, 0])
    fix.add("lightgbm-regressor", convert_lightgbm(model, initial_types=types), one("input"), COLUMNS, TEST, "variable", column(0))
    model = xgboost.XGBClassifier(n_jobs=1, **quiet).fit(X, Y)
    fix.add("xgboost", convert_xgboost(model, initial_types=types), one("input"), COLUMNS, TEST, "probabilities", column(1), output_column=1)
    model = CatBoostClassifier(iterations=8, depth=3, random_seed=SEED, thread_count=1, verbose=False, allow_writing_files=False).fit(X, Y)
    path = fix.folder / "catboost-zipmap.onnx"
    model.save_model(str(path), format="onnx")
    fix.add("catboost-zipmap", path, one("features"), COLUMNS, TEST, "probabilities", lambda a: a[0][1], output_class="1")


def graph(nodes, inputs, outputs, initializers=(), opset=17, ml=3, ir=10):
    g = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(*i) for i in inputs],
                          [helper.make_tensor_value_info(*o) for o in outputs], list(initializers))
    m = helper.make_model(g, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml)], ir_version=ir)
    return m


def layers(dtype=np.float32, columns=4):
    gen = np.random.default_rng(SEED)
    return [numpy_helper.from_array(gen.normal(size=s).astype(dtype), n) for n, s in (("w1", (columns, 6)), ("b1", (6,)), ("w2", (6, 1)), ("b2", (1,)))]


def mlp(x="x", out="y"):
    return [helper.make_node("Gemm", [x, "w1", "b1"], ["h"]), helper.make_node("Tanh", ["h"], ["t"]),
            helper.make_node("Gemm", ["t", "w2", "b2"], ["m"]), helper.make_node("Sigmoid", ["m"], [out])]


def networks(fix):
    F, D = TensorProto.FLOAT, TensorProto.DOUBLE
    fix.add("network-static", graph(mlp(), [("x", F, [1, 4])], [("y", F, [1, 1])], layers()), one("x"), COLUMNS, TEST, "y", column(0))
    fix.add("network-batch-of-8", graph(mlp(), [("x", F, [8, 4])], [("y", F, [8, 1])], layers()),
            lambda r: {"x": np.vstack([r] + [np.zeros(4)] * 7).astype(np.float32)}, COLUMNS, TEST, "y", column(0))
    fix.add("network-float64", graph(mlp(), [("x", D, ["N", 4])], [("y", D, ["N", 1])], layers(np.float64)), one("x", np.float64), COLUMNS, TEST, "y", column(0))
    flat = mlp(out="p") + [helper.make_node("Squeeze", ["p", "axis"], ["y"])]
    axis = numpy_helper.from_array(np.array([1], np.int64), "axis")
    fix.add("network-flat-output", graph(flat, [("x", F, ["N", 4])], [("y", F, ["N"])], layers() + [axis]), one("x"), COLUMNS, TEST, "y", column(0))
    newest = newest_opset()
    fix.add("network-newest-opset", graph(mlp(), [("x", F, ["N", 4])], [("y", F, ["N", 1])], layers(), opset=newest), one("x"), COLUMNS, TEST, "y", column(0))
    two = [helper.make_node("Concat", ["a", "b"], ["x"], axis=1)] + mlp()
    fix.add("network-two-inputs", graph(two, [("a", F, ["N", 3]), ("b", F, ["N", 1])], [("y", F, ["N", 1])], layers()),
            lambda r: {"a": np.array([r[:3]], np.float32), "b": np.array([r[3:]], np.float32)}, COLUMNS, TEST, "y", column(0))
    unshaped = graph(mlp(), [("x", F, ["N", 4])], [("y", F, None)], layers())
    fix.add("network-output-of-unknown-shape", unshaped, one("x"), COLUMNS, TEST, "y", column(0))
    name = "network-external"
    onnx.save(graph(mlp(), [("x", F, ["N", 4])], [("y", F, ["N", 1])], layers()), fix.folder / f"{name}.onnx",
              save_as_external_data=True, location=f"{name}.onnx.data", size_threshold=0)
    fix.add(name, fix.folder / f"{name}.onnx", one("x"), COLUMNS, TEST, "y", column(0))


def newest_opset():
    for opset in range(onnx.defs.onnx_opset_version(), 16, -1):
        m = graph(mlp(), [("x", TensorProto.FLOAT, ["N", 4])], [("y", TensorProto.FLOAT, ["N", 1])], layers(), opset=opset)
        try:
            onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
            print("newest operator set:", opset)
            return opset
        except Exception:
            continue


def trees(fix):
    """Trees as other exporters may write them, with each split mode, another order of columns, and ai.onnx.ml 5."""
    F, I = TensorProto.FLOAT, TensorProto.INT64
    n = 7  # a complete tree of depth 2
    common = dict(nodes_nodeids=list(range(n)), nodes_treeids=[0] * n, nodes_featureids=[0, 1, 3, 0, 0, 0, 0],
                  nodes_truenodeids=[1, 3, 5, 0, 0, 0, 0], nodes_falsenodeids=[2, 4, 6, 0, 0, 0, 0],
                  target_treeids=[0] * 4, target_nodeids=[3, 4, 5, 6], target_ids=[0] * 4, target_weights=[-1.5, 0.25, 0.75, 2.0],
                  base_values=[0.1], n_targets=1)
    names = ["f3", "f1", "f0", "f2"]
    for mode in ("LEQ", "LT", "GT", "GTE", "EQ", "NEQ"):
        ens = helper.make_node("TreeEnsembleRegressor", ["x"], ["m"], domain="ai.onnx.ml", nodes_values=[0.0, 1.0, -1.0, 0, 0, 0, 0],
                               nodes_modes=[f"BRANCH_{mode}"] * 3 + ["LEAF"] * 4, **common)
        nodes = [helper.make_node("Cast", ["f1"], ["f1f"], to=F), helper.make_node("Concat", ["f0", "f1f", "f2", "f3"], ["x"], axis=1),
                 ens, helper.make_node("Sigmoid", ["m"], ["y"])]
        model = graph(nodes, [(c, I if c == "f1" else F, ["N", 1]) for c in names], [("y", F, ["N", 1])])
        rows = np.random.default_rng(SEED).integers(-2, 3, size=(24, 4)).astype(np.float32)
        fix.add(f"trees-{mode.lower()}", model,
                lambda r: {c: np.array([[v]], np.int64 if c == "f1" else np.float32) for c, v in zip(names, r)}, names, rows, "y", column(0))
    values = lambda v: numpy_helper.from_array(np.array(v, np.float32))
    ens = helper.make_node("TreeEnsemble", ["x"], ["m"], domain="ai.onnx.ml", n_targets=1, aggregate_function=1, post_transform=0, tree_roots=[0],
                           nodes_featureids=[0, 1, 3], nodes_splits=values([0.0, 0.3, -0.5]),
                           nodes_modes=numpy_helper.from_array(np.array([0, 1, 3], np.uint8)),
                           nodes_truenodeids=[1, 0, 2], nodes_trueleafs=[0, 1, 1], nodes_falsenodeids=[2, 1, 3], nodes_falseleafs=[0, 1, 1],
                           leaf_targetids=[0] * 4, leaf_weights=values([-1.5, 0.25, 0.75, 2.0]))
    model = graph([ens, helper.make_node("Sigmoid", ["m"], ["y"])], [("x", F, ["N", 4])], [("y", F, ["N", 1])], ml=5)
    fix.add("trees-ml5", model, one("x"), COLUMNS, TEST, "y", column(0))


if __name__ == "__main__":
    fixtures = Fixtures(Path(sys.argv[1]))
    for make in (sklearn, boosters, networks, trees):
        make(fixtures)
    fixtures.write()
