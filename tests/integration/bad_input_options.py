"""Bad input in options: typos, wrong types, values that can't be, cells that contradict themselves, and commands."""

import json

from bad_input import FAILED, REFUSED, SKIPPED, Case, Place

TINY = ("model=folder", "model.location=<bert_encoder>")
TUNED = ("model=folder", "model.location=<bert>")
# What the tiny models' 64 positions can take.
SHORT = ("measurement.lengths=[16]",)


def _cases(kind: str, rows: dict[str, tuple[tuple[str, ...], tuple[str, ...]]], promise: str = REFUSED) -> list[Case]:
    return [Case(kind, name, command, says, promise=promise) for name, (command, says) in rows.items()]


TYPOS = _cases("typo", {
    "top-level option": (("train.py", "seeed=3"), ("seeed", "did you mean 'seed'?")),
    "task option": (("train.py", "task.max_lenght=16"), ("max_lenght", "did you mean 'max_length'?")),
    "compression option": (
        ("compress.py", "compression.pruning.ration=0.5"), ("ration", "did you mean 'ratio'?")),
    "measurement option": (("bench.py", "measurement.round=5"), ("round", "did you mean 'rounds'?")),
    "device option": (("bench.py", "device.thread=1"), ("thread", "did you mean 'threads'?")),
    "phone option": (("bench.py", "device=android", "device.phone.serail=x"), ("serail", "did you mean 'serial'?")),
    "trainer option": (("train.py", "trainer.max_epoch=1"), ("max_epoch", "did you mean 'max_epochs'?")),
    "store option": (("train.py", "store.rot=x"), ("rot", "did you mean 'root'?")),
    "added option": (("train.py", "+task.colour=red"), ("task.colour", "Allowed", "max_length")),
    "added and forced option": (("train.py", "++model.typo=1"), ("model.typo", "Allowed", "location")),
    "added to a nested group": (
        ("compress.py", "++compression.pruning.stength=1"), ("stength", "Allowed", "importance")),
    "option of a table that is not set": (
        ("train.py", "task=sst2", "task.generator.train=200"), ("task.generator has nothing set", "={train: VALUE}")),
    "group": (("compress.py", "compression/prunning=structured"), ("compression/prunning",)),
    "group's choice": (("train.py", "model=distilbrt"), ("model/distilbrt", "distilbert", "folder")),
    "precision": (("bench.py", "compression/quantization=int9"), ("int9", "int8_dynamic")),
    "objective": (("train.py", "objective=fine_tunning"), ("fine_tunning", "fine_tuning")),
    "trainer": (("train.py", "trainer=ddpp"), ("ddpp", "ddp")),
    "logger": (("train.py", "logger=wandbb"), ("wandbb", "wandb", "csv")),
    "sweep": (("bench.py", "sweep=demoo"), ("demoo", "demo")),
    "experiment": (("bench.py", "experiment=sst2_minilmm"), ("sst2_minilmm", "sst2_minilm")),
    "device": (("bench.py", "device=gpu"), ("device/gpu", "cuda", "cpu")),
    "origin": (("train.py", "model.origin=foldr"), ("model.origin='foldr'", "did you mean 'folder'?")),
    "metric": (("train.py", "task.metrics=[acuracy]"), ("acuracy", "did you mean 'accuracy'?")),
    "flag": (("train.py", "--mutlirun"), ("--mutlirun", "--help")),
    "config folder": (("train.py", "--config-dir", "nowhere"), ("nowhere",)),
    "config name": (("train.py", "--config-name", "nope"), ("nope",)),
    "no value": (("train.py", "task"), ("task",)),
    "open bracket": (("bench.py", "measurement.lengths=[16"), ("[16",)),
    "open quote": (("train.py", "task.train='a.csv"), ("a.csv",)),
    "in a sweep": (("bench.py", "-m", "compresion=int8,none"), ("compresion", "compression")),
    "interpolation": (("train.py", "seed=${sede}"), ("sede",)),
    "references": (("bench.py", "report.references=[seed9]"), ("seed9", "seed0_cpu")),
})

TYPES = _cases("type", {
    "list for a number": (("train.py", "task.max_length=[1]"), ("task.max_length", "[1]")),
    "nothing for a number": (("train.py", "task.max_length=null"), ("task.max_length",)),
    "word for a number": (("train.py", "loader.batch_size=many"), ("loader.batch_size", "many")),
    "fraction for a whole number": (("train.py", "loader.batch_size=2.5"), ("loader.batch_size", "2.5")),
    "word for a list": (("train.py", "task.metrics=accuracy"), ("task.metrics", "accuracy")),
    "number for a list": (("bench.py", "measurement.batches=8"), ("measurement.batches", "8")),
    "word in a list of numbers": (("train.py", "model.layers=[first]"), ("model.layers", "first")),
    "word for a list of layers": (("train.py", "model.layers=all"), ("model.layers", "all")),
    "word for a switch": (("train.py", "loader.group_by_length=perhaps"), ("loader.group_by_length", "perhaps")),
    "word for plan": (("bench.py", "plan=maybe"), ("plan='maybe'", "true", "false")),
    "word for torch_compile": (("train.py", "torch_compile=maybe"), ("torch_compile='maybe'", "true")),
    "word for repair": (("train.py", "store.repair=maybe"), ("store.repair", "maybe")),
    "fraction for a seed": (("train.py", "seed=1.5"), ("seed=1.5", "seed=42")),
    "switch for a seed": (("train.py", "seed=true"), ("seed=True", "seed=42")),
    "several seeds without a sweep": (("train.py", "seed=1,2"), ("seed", "1,2")),
    "dictionary for a word": (("train.py", "task.label_column={a: 1}"), ("task.label_column",)),
    "word for a dictionary": (("train.py", "task.generator=reviews"), ("task.generator", "reviews")),
    "word for a group's node": (("train.py", "++task=5"), ("task", "5")),
    "no model": (("train.py", "model=null"), ("model",)),
    "no task": (("train.py", "task=null"), ("task",)),
    "no device": (("bench.py", "device=null"), ("device",)),
    "no compression": (("bench.py", "compression=null"), ("compression",)),
    "no measurement": (("bench.py", "measurement=null"), ("measurement",)),
    "no trainer": (("train.py", "trainer=null"), ("trainer",)),
    "no objective": (("train.py", "objective=null"), ("objective",)),
    "no optimizer": (("train.py", "optimizer=null"), ("optimizer",)),
    "no store": (("train.py", "store=null"), ("store",)),
    "two models": (("train.py", "model=[distilbert,minilm]"), ("model",)),
    "references that are no list": (("bench.py", "report.references=3"), ("report.references", "3")),
    "roles that are no table": (("bench.py", "report.roles=small"), ("report.roles", "small")),
    "a store's folder that is a list": (("train.py", "store.root=[a]"), ("store.root",)),
})

VALUES = _cases("value", {
    "no texts in a batch": (("train.py", "loader.batch_size=0"), ("loader.batch_size=0", "at least 1")),
    "very long texts": (("train.py", "task.max_length=100000"), ("task.max_length=100000", "at most 8192")),
    "nearly all held out": (("train.py", "task.held_out=0.9"), ("task.held_out=0.9", "at most 0.5")),
    "no threads": (("bench.py", "device.threads=0"), ("device.threads=0", "at least 1")),
    "one round": (("bench.py", "measurement.rounds=1"), ("measurement.rounds=1", "at least 2")),
    "batch of none": (("bench.py", "measurement.batches=[0]"), ("measurement.batches", "measurement.batches=[8,32]")),
    "texts of two tokens": (("bench.py", "measurement.lengths=[2]"), ("measurement.lengths holds 2", "at least 3")),
    "exact batch in words": (
        ("bench.py", "measurement.exact_batches=[big]"), ("measurement.exact_batches", "[256x128]")),
    "block of 48": (
        ("bench.py", "compression=int4", "compression.quantization.block_size=48"), ("block_size=48", "power of two")),
    "layer that is not there": (("train.py", *TINY, "model.layers=[0,9]"), ("layer 9", "0 to 1")),
    "layer below none": (("train.py", *TINY, "model.layers=[-1]"), ("-1",)),
    "no layers": (("train.py", *TINY, "model.layers=[]"), ("model.layers",)),
    "generator that is not there": (
        ("train.py", *TINY, "task.generator.name=poems"), ("task.generator.name='poems'", "reviews")),
    "generator of no texts": (("train.py", *TINY, "task.generator.train=0"), ("task.generator.train=0",)),
    "generator of less than no texts": (
        ("train.py", *TINY, "task.generator.validation=-5"), ("task.generator.validation=-5",)),
    "generator's unknown option": (("train.py", *TINY, "+task.generator.colour=1"), ("colour",)),
    "generator's noise of more than all": (
        ("train.py", *TINY, "task.generator.label_noise=2"), ("task.generator.label_noise=2",)),
    "no epochs": (("train.py", *TINY, "trainer.max_epochs=-5"), ("trainer.max_epochs=-5",)),
    "epochs in words": (("train.py", *TINY, "trainer.max_epochs=abc"), ("trainer.max_epochs", "abc")),
    "accelerator that is not there": (("train.py", *TINY, "trainer.accelerator=tpuu"), ("trainer.accelerator", "tpuu")),
    "precision that is not there": (("train.py", *TINY, "trainer.precision=7"), ("trainer.precision", "7")),
    "no devices": (("train.py", *TINY, "+trainer.devices=0"), ("trainer.devices=0", "auto")),
    "learning rate in words": (("train.py", *TINY, "optimizer.lr=fast"), ("optimizer.lr", "fast")),
    "learning rate below none": (("train.py", *TINY, "optimizer.lr=-1"), ("lr", "-1")),
    "class that is not there": (
        ("train.py", *TINY, "optimizer._target_=torch.optim.Adm"), ("optimizer", "torch.optim.Adm")),
    "module that is not there": (
        ("train.py", *TINY, "objective._target_=nowhere.Nothing"), ("objective", "nowhere.Nothing")),
    "revision that is none": (
        ("train.py", "model=distilbert", "model.revision=nope"), ("distilbert", "HF_HUB_OFFLINE")),
    "packaged model that is not there": (
        ("train.py", "model=minilm", "model.location=other"), ("model.location='other'", "all-MiniLM-L6-v2")),
    "rank of an embedding of none": (
        ("compress.py", "compression/embeddings=low_rank", "compression.embeddings.rank=-2"),
        ("rank=-2", "at least 1")),
    "percentile of 200": (
        ("compress.py", "compression=int8", "compression.quantization.percentile=200"),
        ("percentile=200", "at most 100")),
    "budget that is not there": (
        ("compress.py", "compression=structured_50", "compression.pruning.budget=energy"),
        ("budget", "energy", "ratio")),
    "target of none": (
        ("compress.py", "compression=structured_50", "compression.pruning.budget=latency_ms"), ("target",)),
    "phone's cores in words": (
        ("bench.py", "device=android_emulated", "device.phone.emulated_cpu=cortex-x9"), ("cortex-x9", "cortex-a76")),
    "run folder that can't be made": (("train.py", "hydra.run.dir=/proc/none/here"), ("/proc/none",)),
    "sweep folder that can't be made": (
        ("bench.py", "-m", "hydra.sweep.dir=/proc/none/here", "seed=1,2"), ("/proc/none",)),
    "one folder for all jobs of a sweep": (
        ("bench.py", "-m", "hydra.sweep.subdir=.", "seed=1,2"), ("hydra.sweep.subdir='.'", "${hydra.job.num}")),
    "launcher that is not there": (("bench.py", "-m", "hydra/launcher=rocket", "seed=1,2"), ("rocket", "basic")),
})

CONTRADICTIONS = [
    *_cases("contradiction", {
        "training texts alone": (("train.py", *TINY, "task=files", "task.train=a.csv"), ("task.validation",)),
        "test part of drawn texts": (
            ("train.py", "task.limit_train=50", "task.test_texts=10"), ("task.limit_train=50", "task.test_texts=10")),
        "distillation without a teacher": (
            ("train.py", *TINY, "objective=task_distillation"), ("model@teacher",)),
        "score of answers for labels": (
            ("train.py", "task.metrics=[exact_match]"), ("exact_match", "task.metrics")),
        "score of labels for numbers": (
            ("train.py", "task=similarity", "task.metrics=[accuracy]"), ("task.metrics", "accuracy")),
        "conversion of what is one already": (
            ("train.py", "model=folder", "model.location=<distilbert_encoder>", "model.convert_to=distilbert"),
            ("model.convert_to=distilbert", "is a distilbert")),
        "training of random weights": (
            ("train.py", *TINY, "model.weights=random"), ("model.weights=random", "bench.py")),
        "measured texts longer than positions": (
            ("bench.py", *TUNED, "measurement.lengths=[600]"), ("600", "64")),
        "three names for two classes": (
            ("compress.py", *TUNED, "task.labels=[a,b,c]"), ("2 classes", "a, b, c")),
        "a budget and an early stop": (
            ("bench.py", "compression=structured_50", "compression.pruning.budget=latency_ms",
             "compression.pruning.target=2", "compression.until=pruning"), ("compression.until=pruning",)),
        "masked texts without a masked model": (
            ("train.py", *TINY, "objective=masked_language_modelling"), ("masked_language_modelling",)),
        "a sweep's file in a single stage": (("train.py", "sweep=demo"), ("demo",)),
        "compression of a stage that has none": (
            ("train.py", "compression.pruning.ratio=0.5"), ("compression",)),
    }),
    *_cases("contradiction", {
        "every cell of a sweep wrong": (
            ("bench.py", "-m", *TUNED, "task.max_length=9000,9001"),
            ("task.max_length=9000 is out of range", "task.max_length=9001 is out of range", '"failed": 2')),
    }, FAILED),
    *_cases("contradiction", {
        "4 bits of PyTorch on ONNX Runtime": (
            ("bench.py", *TUNED, *SHORT, "compression/quantization=nf4"), ("nf4", "device.engine=torch")),
        "zeros that training would fill": (
            ("bench.py", *TUNED, *SHORT, "compression=magnitude_50", "compression/recovery=distillation"),
            ("compression/recovery=none",)),
        "8 bits on a PyTorch cell": (
            ("bench.py", *TUNED, *SHORT, "device=cpu_torch", "compression=int8"), ("device.engine",)),
    }, SKIPPED),
]


def _cell(place: Place) -> None:
    place.write("run/cell.json", '{"status": "do')


def _words(place: Place) -> None:
    place.write("a.json", "words")


def _lists(place: Place) -> None:
    place.write("a.json", "[1]")
    place.write("b.json", "[2]")


def _table(place: Place) -> None:
    place.write("results.csv", "colour,size\nred,1\n")


def _bytes(place: Place) -> None:
    place.write("results.csv", bytes(range(256)))


def _future(place: Place) -> None:
    place.write("records/a.json", json.dumps({"schema_version": 99, "status": "done"}))


def _sweep(place: Place) -> None:
    place.write("run/sweep.json", '{"jobs": 7}')


def _answers(place: Place) -> None:
    place.write("texts.txt", b"good\n\xff\xfe bad\n")


def _taken(place: Place) -> None:
    place.write("out/notes.txt", "mine")


def _key(place: Place) -> None:
    place.write("product/README.md", "---\nlicense: mit\n---\n" + "hf_" + "a" * 34)


E = ("-m", "edgedistil")
COMMANDS = [Case("command", name, (*E, *command), says, make) for name, command, says, make in (
    ("none", (), ("command", "--help"), None),
    ("unknown", ("reprot",), ("reprot", "report"), None),
    ("unknown flag", ("report", "x", "--fast"), ("--fast",), None),
    ("report: nothing named", ("report",), ("folders", "--help"), None),
    ("report: no folder", ("report", "nowhere"), ("nowhere", "multirun/"), None),
    ("report: an empty folder", ("report", "."), ("holds no cells",), None),
    ("report: an outcome cut off", ("report", "run"), ("cell.json",), _cell),
    ("report: no folder for its files", ("report", "run", "--output", "nowhere"), ("run",), _cell),
    ("report: bytes in place of an outcome", ("report", "run"), ("cell.json",),
     lambda place: place.write("run/cell.json", bytes(range(256)))),
    ("report: an outcome that is a list", ("report", "run"), ("cell.json",),
     lambda place: place.write("run/cell.json", "[]")),
    ("report: an outcome without its record", ("report", "run"), ("no longer in the store",),
     lambda place: place.write("run/cell.json", json.dumps({
         "status": "done", "stage": "bench", "step": "bench", "folder": "/nowhere", "names": {}, "label": "a"}))),
    ("goals: no such table", ("goals", "run", "--goals", "nope"), ("run",), None),
    ("reproduce: a role that is none", ("reproduce", "--roles", "=x"), ("'=x'", "full="), None),
    ("reproduce: a role without a model", ("reproduce", "--roles", "full"), ("full",), None),
    ("reproduce: no folder for its file", ("reproduce", "--output", "nowhere/a.md"), ("--output", "nowhere"), None),
    ("sensitivity: no folder", ("sensitivity", "nowhere"), ("nowhere",), None),
    ("agreement: no files", ("agreement", "a.json", "b.json"), ("a.json",), None),
    ("agreement: words", ("agreement", "a.json", "a.json"), ("a.json",), _words),
    ("agreement: lists", ("agreement", "a.json", "b.json"), ("a.json",), _lists),
    ("recommend: no folder", ("recommend", "nowhere"), ("nowhere", "results.csv"), None),
    ("recommend: a limit in words", ("recommend", ".", "--max-drop", "little"), ("--max-drop", "little"), None),
    ("recommend: another table", ("recommend", "results.csv"), ("results.csv",), _table),
    ("recommend: bytes", ("recommend", "results.csv"), ("results.csv",), _bytes),
    ("recommend: a record of the future", ("recommend", "."), ("schema_version=99",), _future),
    ("compare: a tolerance that is none", ("compare", "a", "b", "--tolerance", "colour=1"), ("colour",), None),
    ("compare: a tolerance without a value", ("compare", "a", "b", "--tolerance", "latency"), ("latency",), None),
    ("compare: a tolerance in words", ("compare", "a", "b", "--tolerance", "latency=some"), ("some",), None),
    ("compare: no folders", ("compare", "a", "b"), ("a is not there",), None),
    ("compare: lists", ("compare", "a.json", "b.json"), ("a.json",), _lists),
    ("status: no sweep", ("status",), ("multirun/",), None),
    ("status: no folder", ("status", "nowhere"), ("nowhere", "multirun/"), None),
    ("status: a file", ("status", "a.json"), ("a.json",), _words),
    ("status: a wait below none", ("status", "run", "--watch", "-1"), ("--watch",), _sweep),
    ("package: no cell", ("package", "nowhere", "--output", "out"), ("nowhere",), None),
    ("package: an empty folder", ("package", ".", "--output", "out"), ("cell",), None),
    ("package: no output named", ("package", "nowhere"), ("--output",), None),
    ("package: words in place of a record", ("package", "a.json", "--output", "out"), ("a.json",), _words),
    ("package: a record of the future", ("package", "run", "--output", "out"), ("record.json",),
     lambda place: place.write("run/record.json", '{"schema_version": 99}')),
    ("predict: no folder", ("predict", "nowhere", "a text"), ("nowhere",), None),
    ("predict: a folder without a graph", ("predict", "<bert>", "a text"), ("model.onnx", "compress.py"), None),
    ("predict: texts twice", ("predict", "<bert>", "a", "--file", "b"), ("--file",), None),
    ("predict: no threads", ("predict", "<bert>", "a", "--threads", "0"), ("--threads=0",), None),
    ("push: no folder", ("push", "nowhere", "me/model"), ("nowhere",), None),
    ("push: no owner", ("push", ".", "model"), ("'model'", "OWNER/NAME"), None),
    ("push: a name with spaces", ("push", ".", "me/my model"), ("my model",), None),
    ("push: an empty folder", ("push", ".", "me/model"), ("empty",), None),
    ("list: unknown", ("list", "animals"), ("animals", "references"), None),
    ("store: unknown", ("store", "sell"), ("sell", "gc"), None),
    ("store gc: days in words", ("store", "gc", "--days", "few"), ("--days", "few"), None),
    ("store gc: days below none", ("store", "gc", "--days", "-1"), ("--days=-1",), None),
    ("store gc: days that are no number", ("store", "gc", "--days", "nan"), ("--days=nan",), None),
    ("training-speed: no texts", ("training-speed", "--model", "minilm", "--texts", "no.txt"), ("no.txt",), None),
    ("training-speed: no model", ("training-speed", "--model", "nope", "--texts", "texts.txt"), ("nope",), _answers),
    ("pass-time: no task", ("pass-time", "--models", "minilm", "bert_base", "--task", "nope"), ("nope",), None),
    ("pass-time: no model", ("pass-time", "--models", "minilm", "nope", "--task", "reviews"), ("nope",), None),
    ("pass-time: one model", ("pass-time", "--models", "minilm", "--task", "reviews"), ("two or more",), None),
    ("dashboard: an empty project", ("dashboard", ""), ("project", "TEAM/"), None),
)]
COMMANDS += [
    Case("command", "predict: an empty text", (*E, "predict", "<onnx>", " "), ("text 1", "empty")),
    Case("command", "predict: a file that is no UTF-8", (*E, "predict", "<onnx>", "--file", "texts.txt"),
         ("line 2", "UTF-8"), _answers),
    Case("command", "predict: no such file", (*E, "predict", "<onnx>", "--file", "no.txt"), ("no.txt",)),
    Case("command", "predict: longer than it reads", (*E, "predict", "<onnx>", "a", "--max-length", "999"),
         ("--max-length=999", "64")),
    Case("command", "predict: broken JSON", (*E, "predict", "<onnx>", '{"text": '), ("text 1", "JSON")),
    Case("command", "package: a folder that is taken", (*E, "package", "out", "--output", "out"), ("out",), _taken),
    Case("command", "store: a store that is a file", (*E, "store", "ls"), ("EDGEDISTIL_STORE",), _words,
         {"EDGEDISTIL_STORE": "<here>/a.json"}),
]
SECRETS = [
    Case("value", "a secret by way of the environment, in a sweep", ("train.py", "-m", "task.train=${oc.env:MINE}"),
         ("holds a token of the model hub", "hf auth login"), variables={"MINE": "hf_" + "a" * 34}),
]
OPTIONS = [*TYPOS, *TYPES, *VALUES, *CONTRADICTIONS, *COMMANDS, *SECRETS]
