"""How the Practical Handbook (Le Borgne, Siblini, Lebichot, Bontempi, 2022) trains and judges: its weeks, which cards it leaves out
of a test, and its measures. Chapter 3 describes one test week, chapter 5 four.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import average_precision_score, roc_auc_score

DAY_S = 86_400
DELAY_DAYS = 7
"""A fraud becomes known so long after it happened."""
WEEK_DAYS = 7
"""Length of a test, and of the book's training stretch."""
CARDS_PER_DAY = 100


class Wrong(Exception):
    """What the user has to put right."""


@dataclass(frozen=True)
class Stretch:
    """Which days train a model and which test it: [train_from, train_to) and [test_from, test_from + 7 days), as dates (UTC)."""

    train_from: np.datetime64
    train_to: np.datetime64
    test_from: np.datetime64

    @classmethod
    def before(cls, test_from, train_days):
        """The `train_days` that end with the delay before a test week: what is fraud among them is known when the test begins."""
        test_from = np.datetime64(test_from, "D")
        train_to = test_from - DELAY_DAYS
        return cls(train_to - train_days, train_to, test_from)


@dataclass(frozen=True)
class Transactions:
    """One entry a transaction, in the order of the file."""

    ids: np.ndarray
    days: np.ndarray
    customers: np.ndarray
    frauds: np.ndarray

    @classmethod
    def read(cls, path):
        try:
            table = pq.read_table(path, columns=["tx_id", "ts", "customer_id", "is_fraud"])
        except (OSError, pa.ArrowException) as error:
            raise Wrong(f"{path}: cannot be read: {error}; give the Handbook's transactions as --transactions FILE") from error
        return cls(
            ids=table["tx_id"].to_numpy().astype(np.int64),
            days=table["ts"].to_numpy().astype("datetime64[D]"),
            customers=table["customer_id"].to_numpy(),
            frauds=table["is_fraud"].to_numpy().astype(np.int8),
        )

    def training(self, stretch):
        """Which rows train."""
        return np.flatnonzero((self.days >= stretch.train_from) & (self.days < stretch.train_to))

    def test(self, stretch):
        """Which rows test: those of the week, without the cards that the book takes to be blocked by then. On each day these are the
        customers with a fraud that is known: in the book's training week, or up to eight days before.
        """
        known_from = stretch.test_from - DELAY_DAYS - WEEK_DAYS
        chosen = []
        for day in np.arange(stretch.test_from, stretch.test_from + WEEK_DAYS):
            known = (self.frauds == 1) & (self.days >= known_from) & (self.days < day - DELAY_DAYS)
            rows = np.flatnonzero(self.days == day)
            chosen.append(rows[~np.isin(self.customers[rows], np.unique(self.customers[known]))])
        return np.concatenate(chosen)


@dataclass(frozen=True)
class Measures:
    """How well scores rank frauds, 0 to 1 each."""

    auc_roc: float
    average_precision: float
    card_precision: float
    recall: float

    @classmethod
    def of(cls, transactions, rows, scores):
        frauds = transactions.frauds[rows]
        return cls(
            auc_roc=float(roc_auc_score(frauds, scores)),
            average_precision=float(average_precision_score(frauds, scores)),
            card_precision=card_precision(transactions.days[rows], transactions.customers[rows], frauds, scores),
            recall=recall_at(frauds, scores, 0.001),
        )


def recall_at(frauds, scores, false_positive_rate):
    """The largest recall of a threshold at which at most that share of the legitimate rows is stopped; ties stay together."""
    order = np.argsort(-scores, kind="stable")
    caught = np.cumsum(frauds[order] == 1)
    stopped = np.cumsum(frauds[order] == 0)
    is_threshold = np.append(np.diff(scores[order]) != 0, True)
    allowed = is_threshold & (stopped <= false_positive_rate * stopped[-1])
    return float(caught[allowed].max(initial=0) / caught[-1])


def card_precision(days, customers, frauds, scores):
    """Card precision@100: each day's 100 customers with the highest score, and the share of them with a fraud that day. Who was found
    is not looked at again on later days. The mean over the days.
    """
    found, precisions = set(), []
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        highest, fraud = {}, {}
        for customer, score, is_fraud in zip(customers[rows], scores[rows], frauds[rows]):
            highest[customer] = max(score, highest.get(customer, -np.inf))
            fraud[customer] = bool(is_fraud) or fraud.get(customer, False)
        candidates = sorted((customer for customer in highest if customer not in found),
                            key=lambda customer: (-highest[customer], customer))[:CARDS_PER_DAY]
        caught = [customer for customer in candidates if fraud[customer]]
        found.update(caught)
        precisions.append(len(caught) / CARDS_PER_DAY)
    return float(np.mean(precisions))
