"""What a case of bad input is, where it is run, and whether it was answered as promised."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The promise of a case: one line on standard error and exit code 2, a cell that is skipped with its reason, a sweep
# whose cells all fail with their reasons and exit code 2, or a file that looks odd and simply works.
REFUSED, SKIPPED, FAILED, WORKS = "refused", "skipped", "failed", "works"
# Of the processor, with every process of the case.
LIMIT_S = 5.0


@dataclass(frozen=True)
class Place:
    """Where a case's files lie: ``here`` is its working folder; ``models`` are tiny model folders, by name."""

    here: Path
    models: Mapping[str, Path]

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in the working folder."""
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def copy(self, model: str, name: str = "model") -> Path:
        """A copy of a tiny model folder, to be spoilt."""
        shutil.copytree(self.models[model], self.here / name)
        return self.here / name


@dataclass(frozen=True)
class Case:
    """One bad input.

    Args:
        command: in which ``<here>`` stands for the working folder and ``<bert>`` and the like for a tiny model.
        says: what the answer must hold: what is wrong, its value, what is allowed or what to do.
        make: writes the files that the command reads.
        variables: more of its environment; ``<here>`` works there too.
        promise: :data:`REFUSED`, :data:`SKIPPED`, :data:`FAILED` or :data:`WORKS`.
        never: a file in the working folder that only foreign code would write.
    """

    kind: str
    name: str
    command: tuple[str, ...]
    says: tuple[str, ...]
    make: Callable[[Place], object] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    promise: str = REFUSED
    never: str = "ran"

    def filled(self, word: str, place: Place) -> str:
        """A word of the command, or a variable, with its places."""
        for name, path in (("here", place.here), *place.models.items()):
            word = word.replace(f"<{name}>", str(path))
        return word


def environment(case: Case, place: Place, scratch: Path) -> dict[str, str]:
    """All variables of a case's process; its store and temporary folder are its own."""
    dropped = ("EDGEDISTIL_", "WANDB_", "HYDRA_", "CUDA_", "HF_TOKEN")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    ours = {"EDGEDISTIL_STORE": str(scratch / "store"), "TMPDIR": str(scratch / "tmp"), "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return kept | ours | {k: case.filled(v, place) for k, v in case.variables.items()}


def listing(folder: Path) -> set[str]:
    """Everything below a folder, links unresolved."""
    return {str(Path(root, name).relative_to(folder)) for root, dirs, files in os.walk(folder) for name in dirs + files}


def broken_promises(
    case: Case, answer: tuple[int, str, str, float], place: Place, scratch: Path, before: set[str],
    limit_s: float = LIMIT_S,
) -> list[str]:
    """What a case promised and did not keep; empty when all is well."""
    code, out, err, cpu_s = answer
    lines = [line for line in err.splitlines() if line.strip()]
    wrong = []
    said = err if case.promise == REFUSED else out + err
    if code != (2 if case.promise in (REFUSED, FAILED) else 0):
        wrong.append(f"exit code {code}")
    if case.promise == REFUSED and (len(lines) != 1 or not lines[0].startswith("error: ")):
        wrong.append(f"{len(lines)} lines on standard error, not one error:")
    if case.promise == SKIPPED and "skipped" not in said:
        wrong.append("not skipped")
    if "Traceback" in out + err:
        wrong.append("a traceback")
    if len(err) > 2000 and case.promise == REFUSED:
        wrong.append(f"a line of {len(err)} characters")
    wrong += [f"does not say {what!r}" for what in case.says if case.filled(what, place) not in said]
    if (place.here / case.never).exists():
        wrong.append("foreign code was run")
    if case.promise == REFUSED and (new := sorted(listing(place.here) - before)):
        wrong.append(f"left behind: {', '.join(new[:3])}")
    if left := sorted(listing(scratch / "tmp")):
        wrong.append(f"temporary files left: {', '.join(left[:3])}")
    store = scratch / "store"
    kept = [*store.glob("work/*"), *store.glob("failures/*")]
    if case.promise == REFUSED:
        kept += store.glob("artifacts/*/*")
    if kept:
        wrong.append(f"left in the store: {kept[0].relative_to(store)}")
    if cpu_s >= limit_s:
        wrong.append(f"{cpu_s:.1f} s of the processor")
    return wrong
