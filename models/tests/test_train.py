"""Trains on some thousand made-up rows and holds what train.py writes to what can be computed by other means.

    .venv/bin/python -m unittest discover -s models/tests
"""

import csv
import hashlib
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xgboost as xgb
from scipy.stats import binomtest

MODELS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(MODELS))

from training.errors import Wrong  # noqa: E402
from training.files import known_labels, parse_moment, read_labels  # noqa: E402
from training.measures import threshold_at, wilson  # noqa: E402
from training.reference import BINS, column, cut  # noqa: E402

ROWS = 4_000
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
COUNTRIES = ["DE", "FR", "GB"]
FUNDINGS = ["credit", "debit", "prepaid"]


def make_files(folder):
    """Transactions, labels and features of 40 days. Fraud hangs on both numbers, and is more frequent on prepaid cards."""
    random = np.random.default_rng(7)
    first, second = random.normal(size=ROWS), random.exponential(size=ROWS)
    countries, fundings = random.integers(0, 3, ROWS), random.integers(0, 3, ROWS)
    chance = 1 / (1 + np.exp(-(-4.5 + 1.8 * first + second + 1.0 * (fundings == 2))))
    frauds = random.random(ROWS) < chance
    moments = [START + timedelta(days=40) * row / ROWS for row in range(ROWS)]
    with (folder / "tx.ndjson").open("w") as out:
        for row in range(ROWS):
            body = {"transaction_id": f"t{row}", "occurred_at": moments[row].isoformat(),
                    "card": {"funding": FUNDINGS[fundings[row]], "issuer_country": COUNTRIES[countries[row]]}}
            out.write(json.dumps(body) + "\n")
    with (folder / "labels.ndjson").open("w") as out:
        for row in np.flatnonzero(frauds):
            known = (moments[row] + timedelta(days=3)).isoformat()
            out.write(json.dumps({"transaction_id": f"t{row}", "label": "fraud", "occurred_at": known}) + "\n")
    with (folder / "features.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["transaction_id", "first", "second", "word"])
        for row in range(ROWS):
            writer.writerow([f"t{row}", f"{first[row]:.6f}", "" if row % 50 == 0 else f"{second[row]:.6f}", "text"])
    pq.write_table(pa.table({"transaction_id": [f"t{row}" for row in range(ROWS)], "ts": pa.array(moments, pa.timestamp("us", "UTC")),
                             "is_fraud": frauds.astype(np.int8), "country": [COUNTRIES[at] for at in countries]}), folder / "tx.parquet")
    (folder / "features.yaml").write_text("version: 1\n")
    return frauds, np.array([COUNTRIES[at] for at in countries]), np.array([FUNDINGS[at] for at in fundings]), moments


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = pathlib.Path(cls.folder.name)
        cls.frauds, cls.countries, cls.fundings, cls.moments = make_files(cls.path)
        cls.model = cls.path / "model"
        cls.done = cls.train("model")
        if cls.done.returncode:
            raise AssertionError(cls.done.stderr)
        cls.manifest = json.loads((cls.model / "manifest.json").read_text())
        cls.metrics = json.loads((cls.model / "metrics.json").read_text())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    @classmethod
    def train(cls, output, *words, **replaced):
        options = {"--features": "features.csv", "--labels": "labels.ndjson", "--transactions": "tx.ndjson",
                   "--catalogue": "features.yaml", "--split-at": "2026-01-25T00:00:00Z", "--trees": "30", "--depth": "3",
                   "--name": "tried", "--subsample": "0.8", "--output": output}
        options |= {"--" + name.replace("_", "-"): value for name, value in replaced.items()}
        given = [word for name, value in options.items() if value is not None for word in (name, value)]
        return subprocess.run([sys.executable, MODELS / "train.py", *given, *words], cwd=cls.path, capture_output=True, text=True, check=False)

    def test_the_same_inputs_give_the_same_files(self):
        again = self.train("again")
        self.assertEqual(again.returncode, 0, again.stderr)
        for name in ("model.json", "manifest.json", "metrics.json", "README.md"):
            hashes = {hashlib.sha256((self.path / folder / name).read_bytes()).hexdigest() for folder in ("model", "again")}
            self.assertEqual(len(hashes), 1, name)
        other = self.train("other", "--seed", "2")
        self.assertEqual(other.returncode, 0, other.stderr)
        self.assertNotEqual((self.path / "other/model.json").read_bytes(), (self.model / "model.json").read_bytes())

    def test_the_manifest_says_what_was_done(self):
        data = (self.model / "model.json").read_bytes()
        self.assertEqual(self.manifest["model_sha256"], "sha256:" + hashlib.sha256(data).hexdigest())
        self.assertEqual(self.manifest["features_sha256"], "sha256:" + hashlib.sha256(b"version: 1\n").hexdigest())
        self.assertEqual(self.manifest["feature_names"], ["first", "second"])
        self.assertEqual(self.manifest["training"]["left_out"], {"word": "holds string"})
        self.assertEqual(self.manifest["training"]["rows"], 2_400)
        self.assertEqual(self.manifest["test"]["rows"], 900)
        self.assertEqual(self.manifest["training"]["window"]["from"], "2026-01-01T00:00:00Z")
        self.assertEqual(self.manifest["training"]["libraries"]["xgboost"], xgb.__version__)
        self.assertIsNone(self.manifest["parity"])

    def naive_counts(self, values, edges):
        """Value by value: how many edges are not above it; the last count is of what is missing."""
        counts = [0] * (len(edges) + 2)
        for value in values:
            counts[-1 if math.isnan(value) else sum(edge <= value for edge in edges)] += 1
        return counts

    def test_the_reference_is_how_the_training_rows_and_the_test_scores_are_distributed(self):
        reference = self.manifest["reference"]
        self.assertEqual((reference["rows"], reference["score_rows"], reference["score_of"]), (2_400, 900, "test rows"))
        self.assertEqual(list(reference["features"]), ["first", "second"])
        with (self.path / "features.csv").open() as lines:
            rows = list(csv.DictReader(lines))[:2_400]
        for name, found in reference["features"].items():
            values = [np.float32(row[name] or "nan") for row in rows]
            self.assertEqual(found["counts"], self.naive_counts(values, np.array(found["edges"], np.float32)), name)
            known = sum(found["counts"][:-1])
            self.assertTrue(all(abs(count - known / BINS) <= 1 for count in found["counts"][:-1]), found)
        self.assertEqual([column["counts"][-1] for column in reference["features"].values()], [0, 48])
        scores, _ = self.scores()
        self.assertEqual(reference["score"]["counts"], self.naive_counts(scores, np.array(reference["score"]["edges"], np.float32)))

    def test_a_reference_is_added_to_a_manifest_and_nothing_else_is_changed(self):
        again = self.path / "added"
        again.mkdir()
        (again / "model.json").write_bytes((self.model / "model.json").read_bytes())
        bare = {key: value for key, value in self.manifest.items() if key != "reference"}
        (again / "manifest.json").write_text(json.dumps(bare))
        words = [sys.executable, MODELS / "add_reference.py", "--model", again, "--features", self.path / "features.csv"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        written = json.loads((again / "manifest.json").read_text())
        reference = written.pop("reference")
        self.assertEqual(written, bare)
        self.assertEqual((reference["rows"], reference["score_of"]), (ROWS, "features.csv"))
        self.assertEqual(sum(reference["score"]["counts"]), ROWS)
        self.assertEqual(sum(reference["features"]["second"]["counts"]), ROWS)
        (again / "model.json").unlink()
        failed = subprocess.run(words, capture_output=True, text=True, check=False)
        self.assertIn("must have one of model.json and model.ubj, has 0", failed.stderr)

    def scores(self):
        """The test rows' scores, by the model file alone."""
        booster = xgb.Booster(model_file=self.model / "model.json")
        with (self.path / "features.csv").open() as lines:
            rows = [[float(row[name]) if row[name] else math.nan for name in ("first", "second")] for row in csv.DictReader(lines)]
        test = np.array([moment >= datetime(2026, 2, 1, tzinfo=timezone.utc) for moment in self.moments])
        return booster.inplace_predict(np.array(rows, np.float32)[test]), test

    def test_error_rates_by_group_are_those_of_the_scores(self):
        scores, test = self.scores()
        high = np.float32(self.manifest["thresholds"]["high"])
        for name, values in (("card.issuer_country", self.countries[test]), ("card.funding", self.fundings[test])):
            groups = self.metrics["test"]["groups"][name]
            self.assertEqual(set(groups), set(values))
            for value, part in groups.items():
                chosen, fraud = values == value, self.frauds[test]
                self.assertEqual((part["rows"], part["frauds"]), (chosen.sum(), (chosen & fraud).sum()))
                wrongly, legitimate = int((chosen & ~fraud & (scores >= high)).sum()), int((chosen & ~fraud).sum())
                self.assertAlmostEqual(part["high"]["false_positive_rate"], wrongly / legitimate)
                interval = binomtest(wrongly, legitimate).proportion_ci(method="wilson")
                np.testing.assert_allclose(part["high"]["false_positive_rate_95"], interval, atol=1e-12)
                caught = int((chosen & fraud & (scores >= high)).sum())
                self.assertAlmostEqual(part["high"]["recall"], caught / int((chosen & fraud).sum()))
        card = (self.model / "README.md").read_text()
        self.assertIn("By `card.funding`:", card)
        self.assertIn("| prepaid | ", card)

    def test_training_knows_only_labels_that_had_arrived(self):
        # Fraud is known three days later; with one day of gap, the frauds of the last two training days are not known yet.
        short = self.train("short", gap_days="1")
        self.assertEqual(short.returncode, 0, short.stderr)
        known = json.loads((self.path / "short/manifest.json").read_text())["training"]["frauds"]
        limit = datetime(2026, 1, 23, tzinfo=timezone.utc)
        self.assertEqual(known, sum(fraud and moment < limit for fraud, moment in zip(self.frauds, self.moments)))
        self.assertLess(known, self.manifest["training"]["frauds"])

    def test_a_table_of_transactions_gives_the_same_model(self):
        table = self.train("table", "--label-column", "is_fraud", "--time-column", "ts", "--group-by", "country",
                           labels=None, transactions="tx.parquet")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.assertEqual((self.path / "table/model.json").read_bytes(), (self.model / "model.json").read_bytes())
        groups = json.loads((self.path / "table/metrics.json").read_text())["test"]["groups"]["country"]
        self.assertEqual(groups, self.metrics["test"]["groups"]["card.issuer_country"])

    def test_mistakes_are_named(self):
        for words, replaced, expected in (
            (["--group-by", "card.fundung"], {}, "card.fundung"),
            ([], {"labels": "nothing.ndjson"}, "nothing.ndjson"),
            ([], {"split_at": "2026-01-25"}, "2026-03-01T00:00:00Z"),
            ([], {"split_at": "2026-02-09T00:00:00Z"}, "both kinds are needed"),
            ([], {"features": "tx.ndjson"}, "neither .csv"),
            (["--depth", "99"], {}, "within 1..16"),
        ):
            failed = self.train("failed", *words, **replaced)
            self.assertNotEqual(failed.returncode, 0, words)
            self.assertIn(expected, failed.stderr)
            self.assertNotIn("Traceback", failed.stderr)
            self.assertFalse((self.path / "failed").exists())


class Parts(unittest.TestCase):
    def test_bins_have_equal_shares_as_far_as_values_allow(self):
        nothing = float("nan")
        for values, edges, counts in (
            ([0, 1, 1, nothing], [1], [1, 2, 1]),
            ([5] * 7, [], [7, 0]),
            ([nothing] * 3, [], [0, 3]),
            (range(10), range(1, 10), [1] * 10 + [0]),
            # One value has most rows: it has a bin, and 9 others have the other 90 values.
            ([0] * 900 + list(range(1, 91)), range(1, 82, 10), [900] + [10] * 9 + [0]),
            # The same with the frequent value at the upper end.
            (list(range(90)) + [99] * 900, None, None),
        ):
            values = np.array(list(values), np.float32)
            found = column(values)
            if edges is None:
                self.assertEqual(found["counts"][len(found["edges"])], 900)
                continue
            self.assertEqual((found["edges"], found["counts"]), (list(edges), counts))
        random = np.random.default_rng(3)
        for values in (random.exponential(size=5_000), random.poisson(2, 5_000), random.normal(size=5_000).round(1)):
            edges = cut(values.astype(np.float32))
            self.assertTrue(len(edges) < BINS and (np.diff(edges) > 0).all())
            self.assertTrue(edges[0] > values.min(), "no bin is empty")

    def test_wilson(self):
        for part, whole in ((0, 10), (5, 10), (81, 263), (10, 10)):
            np.testing.assert_allclose(wilson(part, whole), binomtest(part, whole).proportion_ci(method="wilson"), atol=1e-12)
        self.assertIsNone(wilson(0, 0))

    def test_a_threshold_keeps_ties_together(self):
        labels = np.array([1, 0, 0, 1, 0])
        scores = np.array([0.9, 0.9, 0.5, 0.5, 0.1], np.float32)
        self.assertEqual(threshold_at(labels, scores, 0.4), np.float32(0.9))
        self.assertIsNone(threshold_at(labels, scores, 0.3))

    def test_the_latest_label_that_is_known_counts(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "labels.ndjson"
            path.write_text('{"transaction_id": "a", "label": "legitimate", "occurred_at": "2026-01-09T00:00:00Z"}\n'
                            '{"transaction_id": "a", "label": "fraud", "occurred_at": "2026-01-05T00:00:00Z"}\n')
            labels = read_labels([path])
            moment = lambda day: parse_moment(f"2026-01-{day:02}T00:00:00Z", "test")
            self.assertEqual(known_labels(labels), {"a": 0})
            self.assertEqual(known_labels(labels, moment(8)), {"a": 1})
            with self.assertRaises(Wrong):
                known_labels(labels, moment(5))


if __name__ == "__main__":
    unittest.main()
