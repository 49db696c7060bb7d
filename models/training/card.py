"""The model card (Mitchell et al., 2019): the same numbers as manifest.json and metrics.json, for people."""


def figure(value, percent=False):
    if value is None:
        return "-"
    return f"{100 * value:.2f} %" if percent else f"{value:.4f}"


def with_interval(share, interval):
    """A share and its 95 % interval."""
    if share is None:
        return "-"
    return f"{100 * share:.2f} % ({100 * interval[0]:.2f} to {100 * interval[1]:.2f})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "/") for cell in row) + " |" for row in rows]


def period(window):
    return f", from {window['from']} to {window['to']}" if window else ""


def card(manifest, metrics, importance):
    measured = metrics["test"] or metrics["train"]
    lines = [f"# Model {manifest['name']}", "", *what_it_is(manifest), "", "## How good it is", "", *quality(manifest, metrics, measured)]
    if measured["groups"]:
        lines += ["", "## Whom it errs on", "", *fairness(measured, manifest["thresholds"])]
    lines += ["", "## What it looks at", "", "The features that lowered the training loss most:", "",
              *table(["feature", "share of gain", "splits"],
                     [(name, figure(gain, True), splits) for name, gain, splits in importance[:20]]),
              "", "## How it was made", "", *making(manifest), ""]
    return "\n".join(lines)


def what_it_is(manifest):
    training, thresholds = manifest["training"], manifest["thresholds"]
    is_probability = training["parameters"]["scale_pos_weight"] == 1
    return [
        f"XGBoost, {manifest['objective']}, {manifest['trees']} trees of depth {training['parameters']['max_depth']} at most, "
        f"{len(manifest['feature_names'])} features. Its score is "
        + ("the probability that a transaction is fraud." if is_probability
           else "no probability: frauds were weighted in training."),
        "",
        f"- Model: `{manifest['model_sha256']}`",
        f"- Feature catalogue: `{manifest['features_sha256']}`",
        f"- Trained on {training['rows']:,} rows, {training['frauds']:,} of them fraud{period(training['window'])}.",
        f"- Split: {training['split']}. A row without a label: {training['unlabelled']}.",
        f"- Risk is elevated from {thresholds['elevated']:.6g} and high from {thresholds['high']:.6g}.",
        "- It is meant for transactions like those it was trained on, to rank them by risk beside rules and people. It says nothing of "
        "a customer as a person, and a score alone is no proof of fraud.",
    ]


def quality(manifest, metrics, measured):
    if metrics["test"]:
        lines = [f"On {measured['rows']:,} test rows, {measured['frauds']:,} of them fraud{period(measured['window'])}:"]
    else:
        lines = ["There was no test: these figures are of the training rows, and too good."]
    points = [(f"at most {100 * float(rate):g} % false positives", point)
              for rate, point in measured["at_false_positive_rate"].items()]
    points += [(f"{name} risk", point) for name, point in measured["at_thresholds"].items()]
    lines += [
        "",
        *table(["AUC ROC", "average precision", "log loss", "Brier score", "mean score", "share of fraud"],
               [[figure(measured[key]) for key in ("auc_roc", "average_precision", "log_loss", "brier", "mean_score")]
                + [figure(measured["frauds"] / measured["rows"])]]),
        "",
        "Shares stand with their 95 % interval (Wilson).",
        "",
        *table(["at", "score from", "recall", "precision", "false positives", "alerts"],
               [(name, "-" if point["threshold"] is None else f"{point['threshold']:.6g}",
                 with_interval(point["recall"], point["recall_95"]), figure(point["precision"], True),
                 with_interval(point["false_positive_rate"], point["false_positive_rate_95"]), f"{point['alerts']:,}")
                for name, point in points]),
    ]
    if manifest["thresholds_from"] != "options":
        lines += ["", f"The risk levels were set on the {manifest['thresholds_from']} rows, so their figures lean to the good side."]
    return lines


def fairness(measured, thresholds):
    """Error rates by group, at the risk levels that are the same for all."""
    lines = ["The same thresholds for everyone. Where the intervals of two groups do not meet, the model treats them differently: ask why "
             "before it goes live."]
    for name, groups in measured["groups"].items():
        lines += ["", f"By `{name}`:", ""]
        head = ["", "rows", "frauds", "average precision"]
        for level in thresholds:
            head += [f"false positives, {level}", f"recall, {level}"]
        rows = []
        for value, part in groups.items():
            row = [value, f"{part['rows']:,}", f"{part['frauds']:,}", figure(part["average_precision"])]
            for level in thresholds:
                point = part[level]
                row += [with_interval(point["false_positive_rate"], point["false_positive_rate_95"]),
                        with_interval(point["recall"], point["recall_95"])]
            rows.append(row)
        lines += table(head, rows)
    return lines


def making(manifest):
    training = manifest["training"]
    return [
        "Parameters: " + ", ".join(f"{key} {value}" for key, value in sorted(training["parameters"].items())) + ".",
        "",
        "Libraries: " + ", ".join(f"{name} {version}" for name, version in training["libraries"].items()) + ".",
        "",
        "`manifest.json` and `metrics.json` hold the same numbers for programs; `models/train.py` wrote all of them. The manifest's `parity` is "
        "for what `tollgate model verify` finds when it holds the service's scores to libxgboost's: null until then.",
    ]
