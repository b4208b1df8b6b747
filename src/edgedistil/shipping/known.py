"""What is known of the models and data sets that the configs name, for model cards: licences, languages, citations.

Licences as the hub writes them; None where a repository's card states none. Those of the embedded encoder, of MiniLM
with 6 and 12 layers and of TinyBERT with 4 were looked up; the others are what is commonly given, unchecked: look at
the base model's card before you publish, and say another with ``package --licence``. A model or a task that is not here
is described by what its artifacts say alone.
"""

from dataclasses import dataclass

EMBEDDED = "sentence-transformers/all-MiniLM-L6-v2"
_BERT = "Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL 2019"
_DISTILBERT = "Sanh et al., DistilBERT, a distilled version of BERT, arXiv:1910.01108, 2019"
_MINILM = "Wang et al., MiniLM: Deep Self-Attention Distillation, NeurIPS 2020"
_TINYBERT = "Jiao et al., TinyBERT: Distilling BERT for Natural Language Understanding, Findings of EMNLP 2020"
_GLUE = "Wang et al., GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding, ICLR 2019"


@dataclass(frozen=True)
class Base:
    """A pretrained model of the hub: its ``licence`` as the hub writes it."""

    licence: str | None
    citations: tuple[str, ...]
    language: str = "en"


@dataclass(frozen=True)
class DataSet:
    """What a task's option reads: ``hub`` and ``config`` as in ``conf/task``."""

    title: str
    hub: str
    config: str | None
    citations: tuple[str, ...]
    language: str = "en"


BASES = {
    EMBEDDED: Base("apache-2.0", ("Reimers and Gurevych, Sentence-BERT, EMNLP 2019", _MINILM)),
    "google-bert/bert-base-uncased": Base("apache-2.0", (_BERT,)),
    "distilbert/distilbert-base-uncased": Base("apache-2.0", (_DISTILBERT,)),
    "distilbert/distilbert-base-cased": Base("apache-2.0", (_DISTILBERT,)),
    "google/mobilebert-uncased": Base("apache-2.0", ("Sun et al., MobileBERT, ACL 2020",)),
    "microsoft/MiniLM-L12-H384-uncased": Base("mit", (_MINILM,)),
    "nreimers/MiniLM-L6-H384-uncased": Base("mit", (_MINILM,)),
    "huawei-noah/TinyBERT_General_4L_312D": Base(None, (_TINYBERT,)),
    "huawei-noah/TinyBERT_General_6L_768D": Base(None, (_TINYBERT,)),
}


def _glue(title: str, config: str, *citations: str) -> DataSet:
    return DataSet(f"{title} (GLUE)", "nyu-mll/glue", config, (*citations, _GLUE))


TASKS = {
    "sst2": _glue(
        "SST-2",
        "sst2",
        "Socher et al., Recursive Deep Models for Semantic Compositionality Over a Sentiment Treebank, EMNLP 2013",
    ),
    "cola": _glue("CoLA", "cola", "Warstadt et al., Neural Network Acceptability Judgments, TACL 2019"),
    "mnli": _glue(
        "MNLI", "mnli", "Williams et al., A Broad-Coverage Challenge Corpus for Sentence Understanding, 2018"
    ),
    "mrpc": _glue("MRPC", "mrpc", "Dolan and Brockett, Automatically Constructing a Corpus of Paraphrases, IWP 2005"),
    "qnli": _glue("QNLI", "qnli", "Rajpurkar et al., SQuAD, EMNLP 2016"),
    "qqp": _glue("QQP", "qqp", "Iyer et al., First Quora Dataset Release: Question Pairs, 2017"),
    "rte": _glue("RTE", "rte", "Dagan et al., The PASCAL Recognising Textual Entailment Challenge, 2006"),
    "stsb": _glue("STS-B", "stsb", "Cer et al., SemEval-2017 Task 1: Semantic Textual Similarity, SemEval 2017"),
    "wnli": _glue("WNLI", "wnli", "Levesque et al., The Winograd Schema Challenge, KR 2012"),
    "imdb": DataSet("IMDb", "stanfordnlp/imdb", None, ("Maas et al., Learning Word Vectors, ACL 2011",)),
    "squad": DataSet("SQuAD 1.1", "rajpurkar/squad", None, ("Rajpurkar et al., SQuAD, EMNLP 2016",)),
    "wikitext2": DataSet(
        "WikiText-2",
        "Salesforce/wikitext",
        "wikitext-2-v1",
        ("Merity et al., Pointer Sentinel Mixture Models, ICLR 2017",),
    ),
}
# Texts that are written by a program of ours: nobody's, and English.
GENERATED_LANGUAGE = "en"
# Scores by the names that the hub knows them by (hf.co/metrics).
METRICS = {
    "accuracy": "accuracy",
    "f1": "f1",
    "matthews_correlation": "matthews_correlation",
    "exact_match": "exact_match",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "perplexity": "perplexity",
}
