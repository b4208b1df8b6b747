"""Inputs that broke a promise once, as the fuzzer and the property tests found them and as small as they could be made;
each is held by ``test_fuzzed.py``."""

FOUND: dict[str, tuple[bytes, ...]] = {
    "artifact": (
        b'{"files":{},"label":{},"step":""}',
        b'{"files":5,"step":""}',
        b"8",
        b'"',
        b"{}",
        b'{"step":""}',
        b'{"created_unix_s":null,"files":{},"step":1}',
        b'{"step":{}}',
        b'{"files":{"":6},"step":""}',
        b"\x80",
        b'{"":Infinity,"own_sha256":""}',
        b'{"created_unix_s":"","files":{},"step":""}',
    ),
    "begun": (
        b'{"steps": null}',
        b'{"steps":[[]]}',
    ),
    "cell": (
        b'{"status":"failed","stage":"","overrides":[9]}',
        b'{"status":"done","stage":"","overrides":[6],"roles":{"":""}}',
        b'{"status":"done","stage":"","roles":"h"}',
        b'{"status":"skipped","stage":"","overrides":[{}]}',
        b'{"status":"done","stage":"","fingerprint":[8]}',
        b'{"status":"failed","store":5}',
        b'{"status":"failed","why":[""]}',
        b'{"status":"done","stage":"","folder":[]}',
    ),
    "config": (
        b'{"model_type":"distilbert","dim":8,"n_heads":2,"n_layers":2,"max_position_embeddings":[]}',
        b"1",
        b'{"model_type":"distilbert","quantization_config":6}',
        b'"',
        b'{"model_type":"bert","hidden_size":"","num_hidden_layers":2}',
        b"\xa3",
        b'{"model_type":"bert","num_hidden_layers":2}',
    ),
    "digests": (
        b'{"":NaN}',
    ),
    "gpu": (
        b"\rb",
        b" 0",
        b"G",
        b"/",
        b"\xc2\xb2",
    ),
    "json": (
        b'[{"context":"d","question":"s","answers":{"text":null,"answer_start":[]}}]',
        b'[{"id":[],"text":"s","label":""}]',
        b'[{"text":"g","label":""},{"text":"\\ud800","label":"d"}]',
        b'[{"context":"d","question":"r","answers":{"text":[],"answer_start":[""]}}]',
    ),
    "jsonl": (
        b'{"id":[[]],"sentence":"c","":"","label":3}',
        b'{"":1,"text":"a","label":""}\n{"":"","text":"\\ud800","label":"d"}\n{"":3,"text":"c","label":""}',
    ),
    "kernel": (
        b"5 6 7 8 9 0\rcpu0",
        b"u 1",
        b"MemTotal",
        b"\xff",
        b"\n",
        b"5 6 7 8 9 0\ncpu0 n",
        b"0\ncpu\xc2\xb2 1 2 3 4 5 6 7 8",
        b"1 \xc3\xa9",
        b"MemTotal \x00",
    ),
    "lock_owner": (
        b"a\rb",
    ),
    "manifest": (
        b'{"jobs": [["a=1"], ["b=1"]], "command": ["bench.py", "\\ud800"]}',
        b'{"jobs": [["a=\\ud800"], 3], "command": ["bench.py"], "directory": "\\ud800"}',
        b"0",
    ),
    "model_folder": (
        b'{"config.json":{},"artifact.json":"{\\"files\\":null,\\"\\":{\\"\\":{\\"\\":\\"\\",\\"\\":6}},\\"\\":8}"}',
        b'{"config.json":{},"artifact.json":"{\\"\\":\\"\\",\\"inputs\\":8}"}',
        b'{"config.json":{},"edgedistil.json":"{\\"files\\":{\\"model.onnx\\":\\"\\"}}"}',
        b'{"config.json":"{\\"\\":\\"\\",\\"\\":[\\"\\"],\\"\\":6,\\"id2label\\":2,\\"\\":{\\"\\":1}}"}',
        b'{"config.json":{},"artifact.json":"{\\"\\":{\\"\\":{\\"\\":\\"\\",\\"\\":6}},\\"inputs\\":\\"a\\"}"}',
    ),
    "phone": (
        b"\xc2\xb2",
        b"[ro.product.cpu.abi]: [arm64-v8a]\n\xc2\xb2 : f",
    ),
    "predict_lines": (
        b"\x85",
    ),
    "progress": (
        b'{"done":3,"total":Infinity}',
    ),
    "results_csv": (
        b'status,model,task,compression\n"',
    ),
    "runner_manifest": (
        b'{"target":"linux-arm64","onnxruntime":"","files":{},"start":""}',
        b'{"target":"linux-arm64","onnxruntime":"","files":""}',
        b'{"target":"linux-arm64","onnxruntime":"","files":{}}',
        b'{"target":"linux-arm64","files":{}}',
        b'{"target":"linux-arm64","onnxruntime":"","files":{"edgedistil_runner":{}}}',
        b'{"target":"linux-arm64","onnxruntime":"","files":{},"start":0}',
        b'{"target":"linux-arm64","onnxruntime":"","files":{"edgedistil_runner":""}}',
        b'{"target":"linux-arm64","files":[[]]}',
        b'{"target":"linux-arm64","onnxruntime":NaN,"files":{}}',
    ),
}
