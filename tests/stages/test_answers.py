"""`select --ask` and `--answers`: what is asked, what answers change, what they leave alone, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hume_ssl.files import read_csv
from hume_ssl.metrics import acc
from hume_ssl.run import RunFolder, sha256_file
from tests.conftest import DISCOVER, SELECT, TRAIN, Hume, artefacts_of

RUN = Path("hume-run")
ASKED = RUN / "selection/ask-20/labels.csv"
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def consensus() -> pd.DataFrame:
    return read_csv(RUN / "consensus.csv")


def fill(rows: int = 20, path: Path = ASKED, column: str = "class_name") -> None:
    """Answer the first `rows` of an ask by the truth."""
    table, truth = read_csv(path), np.load("truth.npy")
    table[column] = [NAMES[truth[i]] if row < rows else "" for row, i in enumerate(table["index"])]
    table.to_csv(path, index=False)


def accuracy() -> float:
    table = consensus()
    train = (table["split"] == "train").to_numpy()
    return acc(table["label"].to_numpy()[train], np.load("truth.npy")[train], 10)


def answers(*rows: str, columns: str = "index,label,class_name") -> None:
    Path("mine.csv").write_text("\n".join([columns, *rows, ""]), encoding="utf-8", errors="surrogateescape")


@pytest.fixture
def asked(done: Path, hume: Hume) -> Path:
    """The finished run with 20 items asked for."""
    answer = hume("select", "--ask", "20")
    assert answer.code == 0, answer.err
    return done


def test_an_ask_is_a_label_file_without_labels(asked: Path, hume: Hume) -> None:
    table = read_csv(ASKED)
    assert table.columns.tolist() == read_csv(RUN / "selection/per-class-2/labels.csv").columns.tolist()
    assert len(table) == table["index"].nunique() == 20
    assert table["label"].isna().all()
    assert (table["class_name"] == "").all()
    assert table["rank"].tolist() == list(range(1, 21))
    assert table["reason"].str.contains("speaks for").all()
    found = consensus()
    assert found["label"][table["index"][:10]].nunique() == 10  # one of each class first
    assert (found["split"][table["index"]] == "train").all()
    assert "nothing to do" in hume("select", "--ask", "20").out
    assert json.loads(hume("select", "--ask", "3", "--json").out)["n"] == 3


def test_an_ask_is_no_selection(asked: Path, hume: Hume) -> None:
    assert "nothing to do" in hume(*TRAIN).out
    evaluated = hume("evaluate", "--truth", "truth.npy", "--json").json
    assert evaluated["selection"]["path"].endswith("per-class-2/labels.csv")


def test_answers_name_and_correct(asked: Path, hume: Hume) -> None:
    before, old = accuracy(), consensus()
    fill()
    answer = hume("select", "--answers", str(ASKED), "--json")
    assert answer.code == 0, answer.err
    truth, new, index = np.load("truth.npy"), consensus(), read_csv(ASKED)["index"].to_numpy()
    assert accuracy() >= before
    names = read_csv(RUN / "classes.csv")["name"].tolist()
    resolved = [i for i in index if NAMES[truth[i]] in names]
    assert len(resolved) >= 15
    assert [names[new["label"][i]] for i in resolved] == [NAMES[truth[i]] for i in resolved]
    assert new["reliable"][resolved].all()
    assert answer.json["corrected_items"] == (new["label"] != old["label"]).sum()
    assert sum(answer.json["class_sizes"]) == (new["split"] == "train").sum()
    assert read_csv(RUN / "answers.csv")["index"].tolist() == sorted(index)
    assert "selection/per-class-2" in answer.json["stale"]
    assert RunFolder(RUN).stage("train/fixmatch-per-class-2")["stale"]
    assert RunFolder(RUN).stage("discover")["artefacts"]["consensus.csv"] == sha256_file(RUN / "consensus.csv")
    assert "older consensus" in hume("train-fixmatch").err


def test_the_same_answers_again_change_nothing_and_their_order_does_not_matter(asked: Path, hume: Hume) -> None:
    fill()
    table = read_csv(ASKED)
    table[:10].to_csv("first.csv", index=False)
    table[10:].to_csv("second.csv", index=False)
    assert hume("select", "--answers", "first.csv").code == 0
    assert hume("select", "--answers", "second.csv").code == 0
    before = artefacts_of(RUN)
    for path in (str(ASKED), "second.csv", str(RUN / "answers.csv")):
        assert "nothing to do" in hume("select", "--answers", path).out
        assert artefacts_of(RUN) == before


def test_later_answers_override_earlier_ones(asked: Path, hume: Hume) -> None:
    item = int(read_csv(ASKED)["index"][0])
    for label in (3, 5):
        answers(f"{item},{label},")
        assert hume("select", "--answers", "mine.csv").code == 0
        assert consensus()["label"][item] == label
    assert read_csv(RUN / "answers.csv")["label"].tolist() == [5]


def test_wrong_takes_an_item_out_and_moves_nothing(done: Path, hume: Hume) -> None:
    before = consensus()
    item = int(read_csv(RUN / "selection/per-class-2/labels.csv")["index"][0])
    answers(f"{item},wrong,")
    answer = hume("select", "--answers", "mine.csv", "--per-class", "2", "--overwrite")
    assert answer.code == 0, answer.err
    after = consensus()
    np.testing.assert_array_equal(before["label"], after["label"])
    assert np.flatnonzero(before["reliable"] != after["reliable"]).tolist() == [item]
    assert item not in read_csv(RUN / "selection/per-class-2/labels.csv")["index"].tolist()


def test_what_a_person_labelled_is_picked_first(asked: Path, hume: Hume) -> None:
    item = int(read_csv(ASKED)["index"][12])
    answers(f"{item},4,fours")
    answer = hume("select", "--answers", "mine.csv", "--per-class", "2", "--overwrite", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["answers"]["named"] == {"fours": 4}
    table = read_csv(RUN / "selection/per-class-2/labels.csv").set_index("index")
    assert table["rank"][item] == 1
    assert table["reason"][item] == "labelled by a person"
    assert table["class_name"][item] == "fours"
    assert table["agreement"][item] == consensus()["agreement"][item]  # what machines say stays what they say


def test_names_of_the_user_are_not_overwritten(asked: Path, hume: Hume) -> None:
    table = read_csv(RUN / "classes.csv")
    table["name"] = [f"mine {label}" for label in range(9)] + ["class-09"]
    table.to_csv(RUN / "classes.csv", index=False)
    answers("1,0,other", "3,,mine 7")
    answer = hume("select", "--answers", "mine.csv")
    assert answer.code == 0, answer.err
    assert "class 0 keeps its name mine 0, not other" in answer.out
    assert read_csv(RUN / "classes.csv")["name"].tolist() == table["name"].tolist()
    assert consensus()["label"][[1, 3]].tolist() == [0, 7]


def test_a_run_killed_between_two_writes_is_mended_by_the_same_command(
    asked: Path, hume: Hume, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill()
    assert hume("select", "--answers", str(ASKED), "--run", str(_copy("whole"))).code == 0
    wanted = artefacts_of(Path("whole"))
    for killed in ("answers.csv", "classes.csv", "consensus.csv"):
        folder = _copy(f"killed-{killed}")
        write = RunFolder.write_csv

        def stop(path: Path, table: pd.DataFrame, last: str = killed, write=write) -> None:  # type: ignore[no-untyped-def]
            write(path, table)
            if path.name == last:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "write_csv", staticmethod(stop))
            assert hume("select", "--answers", str(ASKED), "--run", str(folder)).code == 130
        assert hume("select", "--answers", str(ASKED), "--run", str(folder)).code == 0
        assert artefacts_of(folder) == wanted
        assert hume("status", "--json", "--run", str(folder)).json["stages"]["discover"].keys() == {
            *("status", "seconds", "stop_reason")
        }


def test_a_new_consensus_keeps_the_answers_and_says_so(asked: Path, hume: Hume) -> None:
    fill()
    assert hume("select", "--answers", str(ASKED)).code == 0
    kept = (RUN / "answers.csv").read_bytes()
    for how in (["--overwrite"], ["--resume", "--searches", "5"]):
        answer = hume(*DISCOVER, *how)
        assert answer.code == 0, answer.err
        assert "has 20 answers: apply them with hume-ssl select --answers hume-run/answers.csv" in answer.out
        assert (RUN / "answers.csv").read_bytes() == kept
        assert not (RUN / "consensus-searches.csv").exists()
        assert hume("select", "--answers", "hume-run/answers.csv").code == 0
        said = read_csv(RUN / "answers.csv").dropna(subset="label")
        assert consensus()["label"][said["index"]].tolist() == said["label"].astype(int).tolist()


def test_answers_not_merged_are_never_written_over(asked: Path, hume: Hume) -> None:
    fill(5)
    before = ASKED.read_bytes()
    assert hume("select", "--ask", "20").code == 0
    answer = hume("select", "--ask", "20", "--overwrite")
    assert answer.code == 2
    assert "not merged yet" in answer.err
    assert ASKED.read_bytes() == before
    assert hume("select", "--answers", str(ASKED)).code == 0
    assert hume("select", "--ask", "20", "--overwrite").code == 0
    assert not set(read_csv(RUN / "answers.csv")["index"]) & set(read_csv(ASKED)["index"])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (["1,10,"], "row 1: label 10 is no class from 0 to 9"),
        (["1,2,", "1,3,"], "row 2: item 1 has another answer in row 1"),
        (["1,2,", "9999,3,"], "row 2: index 9999 is not an item from 0 to 399"),
        (["x,3,"], "row 1: index x is not an item"),
        (["1,-1,cat"], "row 1: label -1 says that the class is unknown"),
        (["1,cat,dog"], "row 1: label 'cat' and class_name 'dog' name two classes"),
        (["1,2,class-03"], "row 1: label 2 is class-02, class_name 'class-03' is class 3"),
        (["1,2,cat", "3,2,dog"], "class 2 is called 'cat' and 'dog'"),
        (["1,,", "3,,"], "has no answers"),
        ([f"{i},,n{i}" for i in range(11)], "11 new names"),
        (["1,2,cat", "3,4,cat"], "classes 2 and 4 are both called 'cat'"),
        (["1,,class-99"], "row 1: no class is called class-99"),
        (["1,3.5,"], "row 1: label 3.5 is no class from 0 to 9"),
        (["1,2,cat,,", "3,2,cat"], "more fields than its header"),
        (["1,,caf\udce9"], "row 1: 'caf\\udce9' has the sign '\\udce9': save the file as CSV in UTF-8"),
    ],
)
def test_answers_that_cannot_be_are_refused(done: Path, hume: Hume, rows: list[str], told: str) -> None:
    before = artefacts_of(RUN)
    train = np.flatnonzero((consensus()["split"] == "train").to_numpy())
    items = {str(i): str(train[i]) for i in range(11)}  # rows name train items by their rank
    answers(*(",".join([items.get(row.split(",")[0], row.split(",")[0]), *row.split(",")[1:]]) for row in rows))
    answer = hume("select", "--answers", "mine.csv")
    assert answer.code == 2
    assert told.replace("item 1 ", f"item {train[1]} ") in answer.err
    assert artefacts_of(RUN) == before


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_what_spreadsheets_make_of_a_file_is_read(done: Path, hume: Hume, separator: str) -> None:
    """A byte-order mark, other separators and line ends, numbers with decimals, capitals, blanks, spare columns."""
    train = np.flatnonzero((consensus()["split"] == "train").to_numpy())[:6]
    said = ["2.0", " 3 ", "Wrong", "big  cat ", "", "inf"]
    rows = [
        ["index", "label", "class_name", "note", ""],
        *([f"{i}.0", s, "", "", ""] for i, s in zip(train, said, strict=True)),
    ]
    text = "\r\n".join(separator.join(row) for row in rows)
    Path("mine.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    answer = hume("select", "--answers", "mine.csv", "--json")
    assert answer.code == 0, answer.err
    kept = read_csv(RUN / "answers.csv")
    assert kept["index"].tolist() == train[[0, 1, 2, 3, 5]].tolist()
    assert kept["label"][:3].tolist() == [2, 3, -1]
    assert {*answer.json["unnamed"], *answer.json["named"]} == {"big cat", "inf"}


def test_names_of_classes_are_read_in_any_separation(done: Path, hume: Hume) -> None:
    """A number that is a class's name, in class_name, is that class and not the number."""
    table = read_csv(RUN / "classes.csv")
    table["name"] = ["9", "8", *table["name"][2:]]
    table.to_csv(RUN / "classes.csv", index=False)
    item = int(np.flatnonzero((consensus()["split"] == "train").to_numpy())[0])
    answers(f"{item},,9")
    assert hume("select", "--answers", "mine.csv").code == 0
    assert consensus()["label"][item] == 0


def test_numbers_that_were_seen_are_told_from_classes(done: Path, hume: Hume) -> None:
    found = consensus()
    train = np.flatnonzero((found["split"] == "train").to_numpy())[:8]
    for step, told in ((1, True), (0, False)):
        answers(*(f"{i},{(found['label'][i] + step) % 10}," for i in train))
        answer = hume("select", "--answers", "mine.csv")
        assert answer.code == 0, answer.err
        assert ("8 of 8 numbers in label are against the consensus" in answer.out) == told


def test_answers_not_applied_are_told_of(asked: Path, hume: Hume) -> None:
    fill()
    assert hume("select", "--answers", str(ASKED)).code == 0
    assert "not heard" not in hume("select", "--ask", "2").out
    assert hume(*DISCOVER, "--overwrite").code == 0
    assert hume("status").out.endswith("next: hume-ssl select --answers hume-run/answers.csv\n")
    for command in (["--ask", "3"], ["--per-class", "1"]):
        answer = hume("select", *command, "--json")
        assert "not heard here: hume-run/answers.csv has 20 answers: apply them" in answer.err
    assert hume("select", "--answers", "hume-run/answers.csv").code == 0
    path = RUN / "answers.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))  # one taken back by hand
    assert "has 19 answers: apply them" in hume("select", "--ask", "4").out


def test_an_ask_that_cannot_be_read_is_not_written_over(asked: Path, hume: Hume) -> None:
    for text in ("index,label,class_name\nx,2,\n", "index;class_name\n3;cat\n", "item\n3\n", "\n"):
        ASKED.write_text(text)
        answer = hume("select", "--ask", "20", "--overwrite")
        assert answer.code == 2
        assert "move" in answer.err
        assert ASKED.read_text() == text


def test_where_nothing_is_left_to_ask_nothing_is_written(done: Path, hume: Hume) -> None:
    found = consensus()
    train = np.flatnonzero((found["split"] == "train").to_numpy())
    answers(*(f"{i},{found['label'][i]}," for i in train))
    before = artefacts_of(RUN)
    for command in (["--answers", "mine.csv"], []):
        if not command:
            assert hume("select", "--answers", "mine.csv").code == 0
            before = artefacts_of(RUN)
        answer = hume("select", *command, "--ask", "2", "--per-class", "1")
        assert answer.code == 2
        assert "nothing left to ask" in answer.err
        assert artefacts_of(RUN) == before


def test_all_answers_taken_back(asked: Path, hume: Hume) -> None:
    before = (RUN / "consensus.csv").read_bytes()
    fill()
    assert hume("select", "--answers", str(ASKED)).code == 0
    path = RUN / "answers.csv"
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    answer = hume("select", "--answers", str(path))
    assert answer.code == 0, answer.err
    assert (RUN / "consensus.csv").read_bytes() == before
    assert hume("select", "--per-class", "1").code == 0
    assert hume("select", "--ask", "5").code == 0


def test_a_run_from_before_votes_had_weights(done: Path, hume: Hume) -> None:
    table = read_csv(RUN / "searches/searches.csv").drop(columns=["weight", "stability", "left_out"])
    table.to_csv(RUN / "searches/searches.csv", index=False)
    digest = sha256_file(RUN / "searches/searches.csv")
    RunFolder(RUN).update(lambda r: r["stages"]["discover"]["artefacts"].update({"searches/searches.csv": digest}))
    answers("3,2,")
    answer = hume("select", "--answers", "mine.csv")
    assert answer.code == 0, answer.err


def test_an_ask_says_the_same_again_and_speaks_for_no_more_than_there_are(done: Path, hume: Hume) -> None:
    first = hume("select", "--ask", "300", "--json").json
    assert first["n"] == 300 and first["settles"] <= 320
    assert hume("select", "--ask", "300", "--json").json == first


def test_rows_of_other_items_are_refused(done: Path, hume: Hume) -> None:
    answers("1,other.png,2", columns="index,filepath,label")
    assert "item 1 is without a file, not other.png" in hume("select", "--answers", "mine.csv").err
    test_item = int(np.flatnonzero((consensus()["split"] == "test").to_numpy())[0])
    answers(f"{test_item},2,")
    assert "is a test item" in hume("select", "--answers", "mine.csv").err
    answers("1,2", columns="item,label")
    assert "needs the columns index and label" in hume("select", "--answers", "mine.csv").err
    assert hume("select", "--answers", "nowhere.csv").code == 2


def test_what_to_do_must_be_said_and_nothing_is_written_if_half_of_it_cannot_be(asked: Path, hume: Hume) -> None:
    answer = hume("select")
    assert answer.code == 2
    assert all(flag in answer.err for flag in ("--per-class", "--ask", "--answers"))
    assert hume("select", "--ask", "0").code == 2
    fill()
    before = artefacts_of(RUN)
    assert hume("select", "--answers", str(ASKED), *SELECT[1:]).code == 2  # the selection there is another one
    assert hume("select", "--answers", str(ASKED), "--per-class", "399").code == 2
    assert artefacts_of(RUN) == before


def _copy(name: str) -> Path:
    import shutil

    return Path(shutil.copytree(RUN, name))


def test_a_label_of_thousands_of_digits_is_no_class(done: Path, hume: Hume) -> None:
    answers(f"3,{'9' * 5000},")
    answer = hume("select", "--answers", "mine.csv")
    assert answer.code == 2 and "is no class from 0 to 9" in answer.err
