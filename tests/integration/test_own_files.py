"""Files of a user's own through the command: a text of any length trains, and bad data is one line and exit code 2."""

import json
from pathlib import Path
from typing import Any

import pytest

GOOD = "text,label\n" + "".join(f"the film number {i} is {'good' if i % 2 else 'bad'},{i % 2}\n" for i in range(40))
BAD = {
    "broken quote": ({"train": GOOD + '"the film,1\n', "validation": GOOD}, "begins on line 42 has a broken quote"),
    "name unseen in training": (
        {"train": GOOD.replace(",1\n", ",yes\n").replace(",0\n", ",no\n"),
         "validation": "text,label\na,yes\nb,maybe\n"},
        "row 2 of the validation split has label 'maybe'; known labels: no, yes",
    ),
}


@pytest.mark.parametrize(("files", "needle"), BAD.values(), ids=BAD.keys())
def test_bad_data_is_one_line(
    run: Any, models: dict[str, Path], tmp_path: Path, files: dict[str, str], needle: str
) -> None:
    for split, text in files.items():
        (tmp_path / f"{split}.csv").write_text(text)
    own = [f"task.{split}={tmp_path / f'{split}.csv'}" for split in files]
    model = ["model=folder", f"model.location={models['bert_encoder']}", "task=files"]
    ran = run("train.py", *model, *own, cwd=tmp_path / "cwd", store=tmp_path / "store")
    assert ran.code == 2
    lines = [line for line in ran.err.splitlines() if line.strip()]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith("error: ")
    assert needle in lines[0]
    assert list((tmp_path / "cwd").iterdir()) == []


def test_a_pair_with_a_text_of_a_hundred_thousand_characters(
    run: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    long = "the film is long and dull " * 4000
    assert len(long) > 100_000
    verdicts = [("it was fun", "yes"), ("it was not", "no")]
    rows = [(f"film {i} was good", *verdicts[i % 2]) for i in range(40)]
    rows[3] = (long, *rows[3][1:])
    lines = ["first\tsecond\tverdict", *("\t".join(row) for row in rows)]
    (tmp_path / "own.tsv").write_text("\n".join(lines) + "\n")
    command = [
        "model=folder", f"model.location={models['bert_encoder']}", "task=files", "task.text_columns=[first,second]",
        "task.label_column=verdict", "task.max_length=32", "task.held_out=0.1", "trainer.max_epochs=1",
        *(f"task.{split}={tmp_path / 'own.tsv'}" for split in ("train", "validation")),
    ]
    ran = run("train.py", *command, cwd=tmp_path / "cwd", store=tmp_path / "store").ok()
    facts = ran.summary["facts"]
    assert facts["label_names"] == ["no", "yes"]
    assert facts["train_texts"] + facts["held_out_texts"] == 40
    assert facts["validation_texts_in_train"] == 40
    # Cut to 32 tokens: some ten a text and 32 for the long one, not 25,000.
    assert facts["tokens_seen"] < 40 * 32


def test_a_split_beside_validation_is_scored_as_validation_would_be(
    run: Any, models: dict[str, Path], tmp_path: Path
) -> None:
    rows = {"train": range(60), "validation": range(60, 90), "other": range(90, 130)}
    for split, numbers in rows.items():
        lines = [f"film {i} was {'good' if i % 3 else 'bad'} and {'fun' if i % 2 else 'dull'},{i % 2}" for i in numbers]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    command = [
        "model=folder", f"model.location={models['bert_encoder']}", "task=files", "task.max_length=32",
        f"task.train={tmp_path / 'train.csv'}", "trainer.max_epochs=1",
    ]

    def facts(script: str, validation: str, *more: str) -> dict[str, Any]:
        own = f"task.validation={tmp_path / validation}.csv"
        ran = run(script, *command, own, *more, cwd=tmp_path / "cwd", store=tmp_path / "store").ok()
        return dict(ran.summary)

    beside = f"task.more_splits={{other: {tmp_path / 'other.csv'}}}"
    trained = facts("train.py", "validation", beside)["facts"]
    alone = facts("train.py", "other")["facts"]
    assert trained["more_splits"] == {"other": alone["validation"]}
    assert trained["more_splits"]["other"]["n"] == 40
    assert trained["validation"]["n"] == 30
    place = Path(facts("bench.py", "validation", beside, "measurement=quality", "compression=none")["folder"])
    record = json.loads((place / "record.json").read_text())
    assert record["quality"]["accuracy"] == pytest.approx(trained["validation"]["accuracy"])
    scored = record["more_quality"]["other"]
    assert (scored["n"], scored["accuracy"]) == (40, pytest.approx(alone["validation"]["accuracy"]))
    assert scored["against_parent"]["accuracy_points"] == 0
