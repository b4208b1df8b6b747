"""README.md and docs/: every command in a bash block is one that the scripts take, every link leads somewhere."""

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import open_dict

from edgedistil import __main__
from edgedistil.config.schemas import register
from edgedistil.config.validation import validate

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
# Results are records of runs and the log tells of what was tried: both stay as they were written.
PAGES = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").glob("*.md")) if p.name != "log.md")]
MARKDOWN = [*PAGES, ROOT / "docs" / "log.md", *sorted(ROOT.glob("mobile/**/*.md")), ROOT / "CONTRIBUTING.md",
            ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/results/**/*.md"))]
# Programs that are not ours, as users call them around ours.
OTHERS = {"adb", "cat", "cd", "conda", "eval", "export", "git", "ls", "pip", "pytest", "source", "srun", "tail",
          "pip-audit", "tensorboard", "wandb", "xargs"}
# Hydra's own flags, and what follows those that take a value.
FLAGS = {"-m": 0, "--multirun": 0, "--help": 0, "--cfg": 1, "--info": 1, "-sc": 1, "--config-dir": 1}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_SCRIPT = re.compile(r"(train|compress|bench)\.py")


def lines_of(block: str) -> list[str]:
    """The commands of a bash block, continued lines joined; `#SBATCH` and other comments are none."""
    joined = block.replace("\\\n", " ")
    return [line for line in map(str.strip, joined.splitlines()) if line and not line.startswith("#")]


def commands_of(line: str) -> Iterator[list[str]]:
    """The words of each command of a line, without comments, redirections, assignments before it and `...`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in lexer:
        if word.startswith("#"):
            break
        if set(word) <= set("&|;<>"):
            yield words
            words = []
            if set(word) & set("<>"):
                return
        elif word != "..." and (words or not re.fullmatch(r"[A-Z_]+=.*", word)):
            words.append(word)
    if words:
        yield words


def found() -> list[tuple[str, list[str]]]:
    blocks = [(page, block) for page in PAGES for kind, block in _FENCE.findall(page.read_text()) if kind == "bash"]
    return [(f"{page.name}: {line}", words) for page, block in blocks for line in lines_of(block)
            for words in commands_of(re.split(r"\s#\s", line)[0])]


FOUND = found()


def script_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The entry script that a command starts, also below torchrun and srun, and its arguments."""
    for index, word in enumerate(words[:20]):
        if match := _SCRIPT.fullmatch(word):
            return match[1], words[index + 1:]
    return None


def composable(arguments: list[str]) -> tuple[list[str], list[str]]:
    """(overrides to compose, each with the first of several values; the group options named besides)."""
    overrides, others, rest = [], [], iter(arguments)
    for word in rest:
        if word in FLAGS:
            for _ in range(FLAGS[word]):
                next(rest)
            continue
        name, equals, value = word.partition("=")
        values = value.split(",") if equals and not set(value) & set("[{'") else [value]
        group = name.partition("@")[0]
        others += [f"{group}/{v}" for v in values[1:] if (CONF / group).is_dir()]
        overrides.append(f"{name}{equals}{values[0]}")
    return overrides, others


def with_plugins_that_are_here(arguments: Sequence[str]) -> list[str]:
    """The arguments without a launcher and its options, where its plugin, which is optional, is not installed."""
    chosen = next((a.split("=")[1].split("_")[0] for a in arguments if a.startswith("hydra/launcher=")), None)
    if not chosen or find_spec(f"hydra_plugins.hydra_{chosen}_launcher"):
        return list(arguments)
    return [a for a in arguments if not a.lstrip("+").startswith(("hydra/launcher", "hydra.launcher"))]


SCRIPTS = {(called[0], tuple(called[1])): where for where, words in FOUND if (called := script_of(words))}


def shared_out() -> list[Any]:
    """Every command once. A composition takes a third of a second, so commands that name no group, key, experiment or
    objective that a longer one of the same script does not are for the long tests; each option composes elsewhere."""
    seen: set[tuple[str, str]] = set()
    cases = []
    for script, arguments in sorted(SCRIPTS, key=lambda called: -len(called[1])):
        new = {(script, word if word.startswith(("experiment=", "sweep=", "objective=", "model=")) else
                word.partition("=")[0]) for word in arguments}
        marks = [] if new - seen or not arguments else [pytest.mark.long]
        cases.append(pytest.param((script, arguments), marks=marks, id=SCRIPTS[script, arguments][:100]))
        seen |= new
    return cases


@pytest.fixture(scope="module", autouse=True)
def hydra_conf():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def test_the_reader_of_blocks_sees_what_a_shell_would() -> None:
    assert lines_of("# why\na b \\\n  c\n\nd\n") == ["a b    c", "d"]
    assert list(commands_of("A=1 python x.py a='b c' && make y ARGS=\"k=v l\" > out.txt")) == [
        ["python", "x.py", "a=b c"], ["make", "y", "ARGS=k=v l"]]
    assert list(commands_of("python x.py a=[1,2] ... # and so on")) == [["python", "x.py", "a=[1,2]"]]
    assert list(commands_of("eval \"$(python train.py -sc install=bash)\"")) == [
        ["eval", "$(python train.py -sc install=bash)"]]
    assert composable(["-m", "task=sst2,rte", "model.layers=[0,2]", "--cfg", "job", "~callbacks.x"]) == (
        ["task=sst2", "model.layers=[0,2]", "~callbacks.x"], ["task/rte"])
    assert script_of(["srun", "torchrun", "--nnodes", "2", "train.py", "a=b"]) == ("train", ["a=b"])
    assert len(SCRIPTS) > 60
    assert {page.name for page in PAGES} >= {"README.md", "distillation.md", "configuration.md"}


@pytest.mark.parametrize("called", shared_out())
def test_a_command_of_a_script_composes_and_validates(called: tuple[str, tuple[str, ...]]) -> None:
    script, arguments = called
    overrides, others = composable(with_plugins_that_are_here(arguments))
    assert not others or {"-m", "--multirun"} & set(arguments) or any(
        a.startswith(("sweep=", "experiment=")) for a in arguments), "several values need -m"
    cfg: Any = compose(script, overrides, return_hydra_config=True)
    with open_dict(cfg):
        del cfg.hydra
    validate(cfg)


def test_every_option_of_a_group_that_a_command_names_is_there() -> None:
    for (_, arguments), where in SCRIPTS.items():
        overrides, others = composable(list(arguments))
        for word in overrides:
            name, _, value = word.partition("=")
            group = name.partition("@")[0]
            # Several options of one group at once stand in brackets; null is none of them.
            some = [v for v in value.strip("[]").split(",") if v != "null"]
            others += [f"{group}/{v}" for v in some] if (CONF / group).is_dir() else []
        for option in others:
            assert (CONF / f"{option}.yaml").is_file(), f"{where}: no conf/{option}.yaml"


def test_commands_of_the_module_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for name, command in __main__._COMMANDS.items():
        monkeypatch.setattr(command, "run", lambda chosen, name=name: ran.append(name) or 0)
    ours = [(where, words[3:]) for where, words in FOUND if words[:3] == ["python", "-m", "edgedistil"]]
    for where, arguments in ours:
        if "--help" not in arguments:
            ran.clear()
            # SystemExit, with what it does not know, when the command does not take these.
            __main__.main(arguments)
            assert ran == [arguments[0]], where
    assert len(ours) > 8


def test_targets_and_variables_of_make_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*##", makefile, re.MULTILINE))
    called = [(where, words[1:]) for where, words in FOUND if words[0] == "make"]
    inline = [(page.name, words.split()[1:]) for page in PAGES
              for words in re.findall(r"`(make [^`]+)`", _FENCE.sub("", page.read_text()))]
    assert len(called) > 3
    for where, words in called + inline:
        for word in words:
            name, equals, _ = word.partition("=")
            if equals and name.isupper():
                assert f"$({name})" in makefile, f"{where}: make has no variable {name}"
            elif re.fullmatch(r"[a-z-]+", word):
                assert word in targets, f"{where}: make has no target {word}"


def test_other_programs_are_known() -> None:
    for where, words in FOUND:
        ours = script_of(words) or words[:3] == ["python", "-m", "edgedistil"] or words[0] == "make"
        file = words[0] == "python" and (ROOT / words[1]).is_file()
        assert ours or file or words[0] in OTHERS, where


def test_commands_named_within_a_sentence_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`python -m edgedistil ([a-z-]+)", page.read_text()):
            assert name in __main__._COMMANDS, f"{page.name}: python -m edgedistil {name}"


def slug(heading: str) -> str:
    """The anchor of a heading as GitHub makes it."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    seen: dict[str, int] = {}
    result = set()
    for name in map(slug, headings):
        result.add(f"{name}-{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return result


def test_anchors_are_as_github_makes_them(tmp_path: Path) -> None:
    page = tmp_path / "p.md"
    page.write_text("# One `two`: [three](x.md)!\n## compression/pruning\n```\n# no\n```\n## A\n## A\n")
    assert anchors(page) == {"one-two-three", "compressionpruning", "a", "a-1"}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text()))
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}, which is not there"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}: no such heading"


def _templates() -> list[str]:
    """Every text in our source, with … for what is filled in."""
    found: list[str] = []
    for file in [*(ROOT / "src" / "edgedistil").rglob("*.py"), *(ROOT / "mobile").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return [*found, (ROOT / "Makefile").read_text()]


def test_messages_of_troubleshooting_are_in_the_source() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text().split("## Messages of others")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)
    assert len(messages) > 80
    templates, gone = _templates(), []
    for message in messages:
        parts = [part.strip() for part in message.split("…") if part.strip()]
        assert sum(map(len, parts)) >= 12, f"{message!r} could be anything"
        pattern = re.compile("[^\\n]*".join(map(re.escape, parts)))
        if not any(pattern.search(text) for text in templates):
            gone.append(message)
    assert not gone, f"no longer in src/: {gone}"


def test_files_that_docs_name_are_there() -> None:
    roots = [ROOT, ROOT / "src" / "edgedistil", ROOT / "src", ROOT / "tests"]
    for page in PAGES:
        for name in re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|yaml))`", page.read_text()):
            assert Path(name).stem.isupper() or any((root / name).is_file() for root in roots), (
                f"{page.name} names {name}, which is not there")


def test_the_index_leads_to_every_page() -> None:
    links = {link.partition("#")[0] for link in _LINK.findall((ROOT / "docs" / "index.md").read_text())}
    missing = {page.name for page in (ROOT / "docs").glob("*.md")} - links - {"index.md"}
    assert not missing, f"docs/index.md does not name {', '.join(sorted(missing))}"


def test_every_option_that_methods_names_exists() -> None:
    page = (ROOT / "docs" / "methods.md").read_text()
    named = re.findall(r"`((?:compression/[\w/]+|objective|augmentation|sweep|measurement)=[\w|]+)", page)
    assert len(named) >= 20
    for word in named:
        group, _, values = word.partition("=")
        for value in values.split("|"):
            assert (CONF / group / f"{value}.yaml").is_file(), word
