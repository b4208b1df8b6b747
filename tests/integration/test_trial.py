def test_trial(trained, run, tiny, rapid, tmp_path):
    print(trained.train.out, trained.train.err, trained.train.seconds)
    r = run("bench.py", "-m", *tiny, *rapid, "compression/pruning=none,structured", "compression/quantization=none,int8_dynamic,int4_ort", "compression/recovery=distillation", "compression.recovery.steps=4", cwd=tmp_path, store=trained.store)
    print(r.code, r.out, r.err, r.seconds)
    import subprocess
    print((tmp_path/"multirun"), subprocess.run(["find", str(tmp_path/"multirun")],capture_output=True,text=True).stdout)
    print(open(r.summary["results"]).read())
